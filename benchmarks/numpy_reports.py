"""NumPy as coursework reports write it: a Python loop over the steps, one small product each.

Lists of states, gradients added up step by step, one-hot vectors multiplied like any other input,
parameters in a dictionary. The work of many models is done one model after the other.
"""

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights
from benchmarks.contender import Form

LABEL = "NumPy, as reports write it"
# What the way back needs of a step: x, h and c before and after it, gates.
Step = tuple[Array, Array, Array, Array, Array, tuple[Array, ...]]


def missing() -> str:
    """NumPy is always there."""
    return ""


def versions() -> dict[str, str]:
    """NumPy's version."""
    return {"numpy": np.__version__}


def covers(case: Case) -> bool:
    """All cases."""
    return True


def forms(case: Case, threads: int) -> list[Form]:
    """There is one way."""
    return [{}]


def prepare(case: Case, problem: Problem, threads: int, form: Form) -> "Report":
    """The work, ready to be run."""
    return Report(case, problem)


def sigmoid(a: Array) -> Array:
    """1 / (1 + e^-a)."""
    return 1 / (1 + np.exp(-a))


class Report:
    """A coursework network, trained on the problem's data."""

    def __init__(self, case: Case, problem: Problem) -> None:
        self.case = case
        self.problem = problem
        x = problem.x
        self.x = np.eye(case.inputs, dtype=case.dtype)[x] if case.tokens else x
        self.forward, self.backward = {
            "elman": (self.elman_forward, self.elman_backward),
            "lstm": (self.lstm_forward, self.lstm_backward),
            "gru": (self.gru_forward, self.gru_backward),
        }[case.cell]
        self.ends: list[Weights] = []

    def run(self) -> None:
        """All models, one after the other."""
        self.ends = [self.train(m) for m in range(self.case.models)]

    def result(self) -> Weights:
        """Weights, or gradients, (M, ...)."""
        return {name: np.stack([end[name] for end in self.ends]) for name in self.ends[0]}

    def train(self, m: int) -> Weights:
        """All iterations of one model."""
        case = self.case
        self.p = {name: value[m].copy() for name, value in self.problem.weights.items()}
        memory = {name: np.zeros_like(value) for name, value in self.p.items()}
        velocity = {name: np.zeros_like(value) for name, value in self.p.items()}
        for n in range(self.problem.iterations):
            if case.optimizer == "rmsprop_nesterov":
                for name in self.p:
                    velocity[name] *= case.momentum
                    self.p[name] += velocity[name]
            self.g = {name: np.zeros_like(value) for name, value in self.p.items()}
            self.through_time(self.x[m, n], self.problem.y[m, n])
            for name in self.p:
                g = self.g[name]
                if case.optimizer == "sgd":
                    self.p[name] -= case.learning_rate * g
                elif case.optimizer == "adagrad":
                    memory[name] += g * g
                    root = np.sqrt(memory[name]) + case.epsilon
                    self.p[name] -= case.learning_rate * g / root
                elif case.optimizer == "rmsprop_nesterov":
                    memory[name] = case.decay * memory[name] + (1 - case.decay) * g * g
                    step = case.learning_rate * g / (np.sqrt(memory[name]) + case.epsilon)
                    velocity[name] -= step
                    self.p[name] -= step
        return self.p if case.trains else self.g

    def through_time(self, x: Array, y: Array) -> None:
        """Forward over all steps, then backward; leaves the gradients in self.g."""
        case, p, g = self.case, self.p, self.g
        zeros = np.zeros((case.batch, case.hidden), case.dtype)
        h, c = [zeros], [zeros]
        gates, deltas = [], []
        for t in range(case.steps):
            h_t, c_t, gates_t = self.forward(x[:, t], h[t], c[t])
            h.append(h_t)
            c.append(c_t)
            gates.append(gates_t)
            deltas.append(self.delta(h_t @ p["V"] + p["c"], y[:, t]))
        dh_next = dc_next = zeros
        for t in reversed(range(case.steps)):
            g["V"] += h[t + 1].T @ deltas[t]
            g["c"] += deltas[t].sum(axis=0)
            dh = deltas[t] @ p["V"].T + dh_next
            step = x[:, t], h[t], h[t + 1], c[t], c[t + 1], gates[t]
            dh_next, dc_next = self.backward(step, dh, dc_next)

    def delta(self, o: Array, y: Array) -> Array:
        """Derivative of the loss by the output before its nonlinearity."""
        case = self.case
        if case.output == "softmax":
            e = np.exp(o - o.max(axis=1, keepdims=True))
            d: Array = e / e.sum(axis=1, keepdims=True)
            d[np.arange(case.batch), y] -= 1
        else:
            d = (sigmoid(o) if case.output == "sigmoid" else o) - y
        return d / (case.batch * case.steps) if case.reduction == "mean" else d

    def elman_forward(self, x: Array, h: Array, c: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """h = tanh(x U + h W + b)."""
        p = self.p
        return np.tanh(x @ p["U"] + h @ p["W"] + p["b"]), c, ()

    def elman_backward(self, step: Step, dh: Array, dc: Array) -> tuple[Array, Array]:
        """Back through one step."""
        x, h, h_new, *_ = step
        da = dh * (1 - h_new * h_new)
        self.g["U"] += x.T @ da
        self.g["W"] += h.T @ da
        self.g["b"] += da.sum(axis=0)
        return da @ self.p["W"].T, dc

    def lstm_forward(self, x: Array, h: Array, c: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """c = f c + i g,  h = o tanh(c)."""
        p, size = self.p, self.case.hidden
        a = x @ p["U"] + h @ p["W"] + p["b"]
        i, f = sigmoid(a[:, :size]), sigmoid(a[:, size : 2 * size])
        g, o = np.tanh(a[:, 2 * size : 3 * size]), sigmoid(a[:, 3 * size :])
        c_new = f * c + i * g
        tanh_c = np.tanh(c_new)
        return o * tanh_c, c_new, (i, f, g, o, tanh_c)

    def lstm_backward(self, step: Step, dh: Array, dc: Array) -> tuple[Array, Array]:
        """Back through one step."""
        x, h, _, c, _, (i, f, g, o, tanh_c) = step
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        da = np.hstack(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dc * i * (1 - g * g),
                dh * tanh_c * o * (1 - o),
            ]
        )
        self.g["U"] += x.T @ da
        self.g["W"] += h.T @ da
        self.g["b"] += da.sum(axis=0)
        return da @ self.p["W"].T, dc * f

    def gru_forward(self, x: Array, h: Array, c: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """n = tanh(a_n + r q),  h = (1 - z) n + z h."""
        p, size = self.p, self.case.hidden
        b = p["b"]
        from_x, from_h = x @ p["U"] + b[: 3 * size], h @ p["W"]
        r = sigmoid(from_x[:, :size] + from_h[:, :size])
        z = sigmoid(from_x[:, size : 2 * size] + from_h[:, size : 2 * size])
        q = from_h[:, 2 * size :] + b[3 * size :]
        n = np.tanh(from_x[:, 2 * size :] + r * q)
        return (1 - z) * n + z * h, c, (r, z, n, q)

    def gru_backward(self, step: Step, dh: Array, dc: Array) -> tuple[Array, Array]:
        """Back through one step."""
        x, h, *_, (r, z, n, q) = step
        dn = dh * (1 - z) * (1 - n * n)
        dz = dh * (h - n) * z * (1 - z)
        dr = dn * q * r * (1 - r)
        dq = dn * r
        recurrent = np.hstack([dr, dz, dq])
        self.g["U"] += x.T @ np.hstack([dr, dz, dn])
        self.g["W"] += h.T @ recurrent
        self.g["b"] += np.hstack([dr, dz, dn, dq]).sum(axis=0)
        return recurrent @ self.p["W"].T + dh * z, dc
