"""The minimal gated unit: one gate both forgets and resets (Zhou, Wu, Zhang & Zhou, "Minimal gated
unit for recurrent neural networks", International Journal of Automation and Computing 13, 2016).

The gate multiplies h W, not h before the product, as in the GRU of PyTorch and of this package.
"""

import bptt
from bptt.functions import sigmoid, sigmoid_backward, tanh, tanh_backward


def forward(a, s):
    """f = sigmoid(a_f),  n = tanh(a_n + f q) with q = h W_n,  h = (1 - f) h_prev + f n."""
    f = sigmoid(a[0])
    n = tanh(a[1] + f * a[2])
    return (f, n, a[2]), (s[0] + f * (n - s[0]),)


def backward(gates, s, s_new, ds_new):
    """df = dh (n - h_prev) + da_n q,  da_n = dh f (1 - n^2),  dq = da_n f;  dh_prev = dh - dh f."""
    (f, n, q), (dh,) = gates, ds_new
    da_n = tanh_backward(n, dh * f)
    da_f = sigmoid_backward(f, dh * (n - s[0]) + da_n * q)
    return (da_f, da_n, da_n * f), (dh - dh * f,)


MGU = bptt.Cell("mgu", ("f", "n", "q"), 2, ("h",), forward, backward)

if __name__ == "__main__":
    print(bptt.check_cell(MGU))
    print(bptt.train(bptt.Addition(bits=4), cell=MGU, hidden=8, seed=1))
