"""Cells, outputs and rules as a user would write them, in a user's own file."""

from bptt.equations.cells import Cell, Parameter
from bptt.equations.functions import sigmoid, sigmoid_backward, tanh, tanh_backward, where
from bptt.equations.optimizers import Rule
from bptt.equations.outputs import Output


def _plain_forward(a, s):
    h = tanh(a[0])
    return (h,), (h,)


def _plain_backward(gates, s, s_new, ds_new):
    return (tanh_backward(gates[0], ds_new[0]),), (0 * ds_new[0],)


# One gate, kept as the state.
PLAIN = Cell("plain", ("a",), 1, ("h",), _plain_forward, _plain_backward)


def _leaky_forward(a, s, p):
    f = tanh(a[0])
    return (f,), (s[0] + p[0] * (f - s[0]),)


def _leaky_backward(gates, s, s_new, ds_new, p):
    (f,), (dh,) = gates, ds_new
    return (p[0] * tanh_backward(f, dh),), (dh - p[0] * dh,), (dh * (f - s[0]),)


def leaky(name, **parameter):
    """A leaky cell, whose leak is a parameter of these properties."""
    leak = Parameter("leak", "constant(0.3)", **parameter)
    return Cell(name, ("a",), 1, ("h",), _leaky_forward, _leaky_backward, (leak,))


LEAKY = leaky("leaky")
LEAKY_SHARED = leaky("leaky-shared", shared=True)
LEAKY_FIXED = leaky("leaky-fixed", shared=True, trained=False)


def _mixed_forward(a, s, p):
    """Three states, two gates, three preactivations, parameters of every sort."""
    z, n = sigmoid(a[0] + p[0] * s[1]), tanh(a[1] + p[2] * a[2])
    c = s[1] + z * (n - s[1])
    h = p[1] * c + s[2] * 0.25
    return (z, n, a[2]), (h, c, c * 0.5 + s[2] * 0.25)


def _mixed_backward(gates, s, s_new, ds_new, p):
    (z, n, q), (dh, dc, dr) = gates, ds_new
    c = s_new[1]
    dc = dc + dh * p[1] + 0.5 * dr
    da_z = sigmoid_backward(z, dc * (n - s[1]))
    da_n = tanh_backward(n, dc * z)
    ds = (0 * dh, dc - dc * z + da_z * p[0], 0.25 * dh + 0.25 * dr)
    return (da_z, da_n, da_n * p[2]), ds, (da_z * s[1], dh * c, da_n * q)


MIXED = Cell(
    "mixed", ("z", "n", "q"), 2, ("h", "c", "r"), _mixed_forward, _mixed_backward,
    (
        Parameter("peep", "normal(0.3)"), Parameter("scale", "constant(0.7)", trained=False),
        Parameter("mix", "constant(0.4)", shared=True),
    ),
)  # fmt: skip


def _one_gate_forward(a, s):
    """One gate and two preactivations: the input's and the hidden state's parts apart."""
    h = tanh(a[0]) * sigmoid(a[1])
    return (tanh(a[0]), sigmoid(a[1])), (h,)


def _one_gate_backward(gates, s, s_new, ds_new):
    x, q = gates
    return (tanh_backward(x, ds_new[0] * q), sigmoid_backward(q, ds_new[0] * x)), (0 * x,)


ONE_GATE = Cell("one-gate", ("x", "q"), 1, ("h",), _one_gate_forward, _one_gate_backward)

CELLS = (PLAIN, LEAKY, LEAKY_SHARED, LEAKY_FIXED, MIXED, ONE_GATE)


def huber(o, y):
    """The squared error near 0, the absolute error beyond (Huber 1964)."""
    e = o - y
    far = abs(e) > 1
    return o, where(far, abs(e) - 0.5, 0.5 * e * e), where(far, where(e > 0, 1, -1), e)


HUBER = Output("huber", huber, threshold=0.5)


def lion_update(theta, g, s0, s1, k):
    """Lion (Chen et al. 2023): theta -= lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g."""
    mean = k[6] * s0 + (1 - k[6]) * g
    sign = where(mean > 0, 1, where(mean < 0, -1, 0))
    return theta - k[0] * sign - k[5] * theta, k[7] * s0 + (1 - k[7]) * g, s1


LION = Rule("lion", lion_update)
LION_AHEAD = Rule("lion-ahead", lambda t, g, s0, s1, k: (t - k[0] * g, s0 - k[0] * g, s1), True)
RULES = (LION, LION_AHEAD)
