"""The LSTM with peepholes, whose gates see the cell state (Gers & Schmidhuber, "Recurrent nets that
time and count", IJCNN 2000): a vector of H weights for each gate."""

import bptt
from bptt.functions import sigmoid, sigmoid_backward, tanh, tanh_backward, zeros_like


def forward(a, s, p):
    """i, f see the cell state before the step, o the one after it."""
    i, f = sigmoid(a[0] + p[0] * s[1]), sigmoid(a[1] + p[1] * s[1])
    g = tanh(a[2])
    c = f * s[1] + i * g
    o = sigmoid(a[3] + p[2] * c)
    return (i, f, g, o), (o * tanh(c), c)


def backward(gates, s, s_new, ds_new, p):
    """Equations (13) to (15) of docs/derivation.md, and what reaches c through the peepholes."""
    (i, f, g, o), (dh, dc), c = gates, ds_new, s_new[1]
    tanh_c = tanh(c)
    da_o = sigmoid_backward(o, dh * tanh_c)
    dc = dc + tanh_backward(tanh_c, dh * o) + da_o * p[2]
    da_i = sigmoid_backward(i, dc * g)
    da_f = sigmoid_backward(f, dc * s[1])
    dc_prev = dc * f + da_i * p[0] + da_f * p[1]
    da = da_i, da_f, tanh_backward(g, dc * i), da_o
    return da, (zeros_like(dh), dc_prev), (da_i * s[1], da_f * s[1], da_o * c)


PEEPHOLE_LSTM = bptt.Cell(
    "peephole-lstm", ("i", "f", "g", "o"), 4, ("h", "c"), forward, backward,
    parameters=("peep_i", "peep_f", "peep_o"),
)  # fmt: skip

if __name__ == "__main__":
    print(bptt.check_cell(PEEPHOLE_LSTM))
    print(bptt.train(bptt.Addition(bits=4), cell=PEEPHOLE_LSTM, hidden=8, seed=1))
