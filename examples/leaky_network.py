"""The leaky network of neuroscience: units that forget at a rate of their own (Mozer, "Induction of
multiscale temporal structure", NIPS 4, 1992; Jaeger, Lukosevicius, Popovici & Siewert, Neural
Networks 20, 2007): h = (1 - a) h + a tanh(x U + h W + b)."""

import bptt
from bptt.functions import tanh, tanh_backward


def forward(a, s, p):
    """f = tanh(a),  h = h_prev + leak (f - h_prev)."""
    f = tanh(a[0])
    return (f,), (s[0] + p[0] * (f - s[0]),)


def backward(gates, s, s_new, ds_new, p):
    """da = dh leak (1 - f^2),  dh_prev = dh (1 - leak),  dleak = dh (f - h_prev)."""
    (f,), (dh,), (leak,) = gates, ds_new, p
    return (tanh_backward(f, dh * leak),), (dh - dh * leak,), (dh * (f - s[0]),)


def leaky(name, **leak):
    """A leaky cell. leak: as of `bptt.Parameter`."""
    parameter = bptt.Parameter("leak", "constant(0.5)", **leak)
    return bptt.Cell(name, ("a",), 1, ("h",), forward, backward, parameters=[parameter])


EACH = leaky("leaky")  # a trained leak for each unit
FIXED = leaky("leaky-fixed", shared=True, trained=False)  # one for all, that stays as it is

if __name__ == "__main__":
    print(bptt.check_cell(EACH))
    for cell in (EACH, FIXED):
        run = bptt.train(bptt.Addition(bits=4), cell=cell, initializers={"leak": "constant(0.8)"})
        print(cell.name, run.network["leak"].round(2), run)
