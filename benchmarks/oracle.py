"""The oracle: weights after training, or gradients, in float64, written to be obviously right.

One step at a time, all of a batch in rows, every derivative where its equation is. It shares no
line with the contenders nor with the product. Slow, and meant to be.
"""

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights


def expected(case: Case, problem: Problem) -> Weights:
    """Final weights after all iterations of the problem, or for 'none' the gradients, (M, ...)."""
    models = [_model(case, problem, m) for m in range(case.models)]
    return {name: np.stack([model[name] for model in models]) for name in models[0]}


def _model(case: Case, problem: Problem, m: int) -> Weights:
    weights = {name: value[m].astype(np.float64) for name, value in problem.weights.items()}
    mean_square = {name: np.zeros_like(value) for name, value in weights.items()}
    velocity = {name: np.zeros_like(value) for name, value in weights.items()}
    gradient: Weights = {}
    for n in range(problem.iterations):
        if case.optimizer == "rmsprop_nesterov":
            for name in weights:
                velocity[name] = case.momentum * velocity[name]
                weights[name] = weights[name] + velocity[name]
        gradient = gradients(case, weights, problem.x[m, n], problem.y[m, n])
        for name, g in gradient.items():
            if case.optimizer == "sgd":
                weights[name] = weights[name] - case.learning_rate * g
            elif case.optimizer == "adagrad":
                mean_square[name] = mean_square[name] + g**2
                scale = np.sqrt(mean_square[name]) + case.epsilon
                weights[name] = weights[name] - case.learning_rate * g / scale
            elif case.optimizer == "rmsprop_nesterov":
                mean_square[name] = case.decay * mean_square[name] + (1 - case.decay) * g**2
                step = case.learning_rate * g / (np.sqrt(mean_square[name]) + case.epsilon)
                velocity[name] = velocity[name] - step
                weights[name] = weights[name] - step
    return weights if case.trains else gradient


def gradients(case: Case, w: Weights, x: Array, y: Array) -> Weights:
    """Gradients of the loss of a batch x (B, T, D), y (B, T, O)."""
    forward, backward = CELLS[case.cell]
    x = np.eye(case.inputs)[x] if case.tokens else x.astype(np.float64)
    zeros = np.zeros((case.batch, case.hidden))
    weight = 1 / (case.batch * case.steps) if case.reduction == "mean" else 1.0
    state = {"h": zeros, "c": zeros}
    trace = []
    for t in range(case.steps):
        state, kept = forward(w, x[:, t], state)
        trace.append((state["h"], kept))
    g = {name: np.zeros_like(value) for name, value in w.items()}
    carried = {"h": zeros, "c": zeros}
    for t in reversed(range(case.steps)):
        h, kept = trace[t]
        do = weight * _output_delta(case, h @ w["V"] + w["c"], y[:, t])
        g["V"] += h.T @ do
        g["c"] += do.sum(axis=0)
        carried["h"] = carried["h"] + do @ w["V"].T
        carried = backward(w, g, kept, carried)
    return g


def _output_delta(case: Case, o: Array, y: Array) -> Array:
    """Derivative of the step's loss by the output before the nonlinearity: p - y in all three."""
    if case.output == "sigmoid":
        return _sigmoid(o) - y
    if case.output == "linear":
        return o - y
    e: Array = np.exp(o - o.max(axis=1, keepdims=True))
    p: Array = e / e.sum(axis=1, keepdims=True)
    return p - np.eye(case.outputs)[y]


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


State = dict[str, Array]


def _elman_forward(w: Weights, x: Array, s: State) -> tuple[State, State]:
    h = np.tanh(x @ w["U"] + s["h"] @ w["W"] + w["b"])
    return {"h": h, "c": s["c"]}, {"x": x, "h_prev": s["h"], "h": h}


def _elman_backward(w: Weights, g: Weights, k: State, d: State) -> State:
    da = d["h"] * (1 - k["h"] ** 2)
    g["U"] += k["x"].T @ da
    g["W"] += k["h_prev"].T @ da
    g["b"] += da.sum(axis=0)
    return {"h": da @ w["W"].T, "c": d["c"]}


def _lstm_forward(w: Weights, x: Array, s: State) -> tuple[State, State]:
    a_i, a_f, a_g, a_o = np.split(x @ w["U"] + s["h"] @ w["W"] + w["b"], 4, axis=1)
    i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
    c = f * s["c"] + i * g
    h = o * np.tanh(c)
    kept = {"x": x, "h_prev": s["h"], "c_prev": s["c"], "i": i, "f": f, "g": g, "o": o, "c": c}
    return {"h": h, "c": c}, kept


def _lstm_backward(w: Weights, g: Weights, k: State, d: State) -> State:
    dc = d["c"] + d["h"] * k["o"] * (1 - np.tanh(k["c"]) ** 2)
    da_i = dc * k["g"] * k["i"] * (1 - k["i"])
    da_f = dc * k["c_prev"] * k["f"] * (1 - k["f"])
    da_g = dc * k["i"] * (1 - k["g"] ** 2)
    da_o = d["h"] * np.tanh(k["c"]) * k["o"] * (1 - k["o"])
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
    g["U"] += k["x"].T @ da
    g["W"] += k["h_prev"].T @ da
    g["b"] += da.sum(axis=0)
    return {"h": da @ w["W"].T, "c": dc * k["f"]}


def _gru_forward(w: Weights, x: Array, s: State) -> tuple[State, State]:
    b_r, b_z, b_n, b_q = np.split(w["b"], 4)
    x_r, x_z, x_n = np.split(x @ w["U"], 3, axis=1)
    h_r, h_z, h_q = np.split(s["h"] @ w["W"], 3, axis=1)
    r, z = _sigmoid(x_r + h_r + b_r), _sigmoid(x_z + h_z + b_z)
    q = h_q + b_q
    n = np.tanh(x_n + b_n + r * q)
    h = (1 - z) * n + z * s["h"]
    return {"h": h, "c": s["c"]}, {"x": x, "h_prev": s["h"], "r": r, "z": z, "n": n, "q": q}


def _gru_backward(w: Weights, g: Weights, k: State, d: State) -> State:
    da_n = d["h"] * (1 - k["z"]) * (1 - k["n"] ** 2)
    da_z = d["h"] * (k["h_prev"] - k["n"]) * k["z"] * (1 - k["z"])
    da_r = da_n * k["q"] * k["r"] * (1 - k["r"])
    da_q = da_n * k["r"]
    from_input = np.concatenate([da_r, da_z, da_n], axis=1)
    from_hidden = np.concatenate([da_r, da_z, da_q], axis=1)
    g["U"] += k["x"].T @ from_input
    g["W"] += k["h_prev"].T @ from_hidden
    g["b"] += np.concatenate([da_r, da_z, da_n, da_q], axis=1).sum(axis=0)
    return {"h": from_hidden @ w["W"].T + d["h"] * k["z"], "c": d["c"]}


CELLS = {
    "elman": (_elman_forward, _elman_backward),
    "lstm": (_lstm_forward, _lstm_backward),
    "gru": (_gru_forward, _gru_backward),
}
