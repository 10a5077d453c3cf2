"""JAX, the whole training loop compiled: lax.scan over iterations around lax.scan over steps.

Forms that are tried, the fastest reported: how many steps are unrolled; matrix products as `dot`
or as a broadcast multiplication and a `sum`, which XLA fuses; input and output products `inside`
the step or for all steps at once; arrays in `rows` (B, features), in `vector`s (features) where B
is 1, with vmap over many models, or in `lanes` (features, B or M), samples or models innermost.
Many models on two threads: two halves, each in a thread of its own.
"""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights
from benchmarks.contender import Form

LABEL = "JAX, whole loop compiled"


def missing() -> str:
    """Why it cannot run here."""
    return "" if importlib.util.find_spec("jax") else "jax is not installed"


def versions() -> dict[str, str]:
    """JAX's versions."""
    import jax
    import jaxlib

    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def covers(case: Case) -> bool:
    """All cases."""
    return True


def forms(case: Case, threads: int) -> list[Form]:
    """Those that came out fastest for such cases when all were tried on one machine."""
    whole = case.steps
    rows = [("rows", "dot", False, 1), ("rows", "dot", False, 4 if case.tokens else 8)]
    inside, outside = ("vector", "dot", True, whole), ("vector", "dot", False, whole)
    lanes, fused = ("lanes", "sum", True, whole), ("vector", "sum", True, whole)
    if not case.trains:
        ways = rows
    elif case.tokens:
        ways = [rows[1], rows[0], ("rows", "dot", False, 8)]
    elif case.batch > 1:  # the last is how most would write it
        ways = [lanes, ("lanes", "sum", True, 1), ("rows", "dot", False, whole)]
    elif case.hidden <= 4:
        ways = [("lanes", "sum", False, 1), ("lanes", "sum", False, whole), lanes, fused]
    elif case.models > 1:
        ways = [inside, outside, ("lanes", "sum", True, 1)][: 3 if case.hidden <= 16 else 2]
    elif case.hidden <= 32:
        ways = [fused, lanes, inside]
    else:
        ways = [("rows", "dot", False, whole), outside, inside]
    shares = threads if case.models > 1 else 1
    return [
        {"layout": layout, "products": products, "inside": within, "unroll": n, "shares": shares}
        for layout, products, within, n in ways
    ]


def prepare(case: Case, problem: Problem, threads: int, form: Form) -> "Loop":
    """The work, compiled at its first run."""
    return Loop(case, problem, form)


class Loop:
    """A compiled training loop on the problem's data."""

    def __init__(self, case: Case, problem: Problem, form: Form) -> None:
        import jax

        if case.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        self.case = case
        self.lanes = form["layout"] == "lanes"
        self.vector = form["layout"] == "vector"
        self.mathematics = Mathematics(case, form)
        whole = self.mathematics.train
        if case.models > 1 and not self.lanes:
            whole = jax.vmap(whole)
        self.compiled = jax.jit(whole)
        self.pool = ThreadPoolExecutor(form["shares"]) if form["shares"] > 1 else None
        shares = np.array_split(np.arange(case.models), form["shares"])
        self.arguments = [self.arrange(problem, share) for share in shares]
        self.ends: list[Any] = []

    def arrange(self, problem: Problem, share: Array) -> Any:
        """Weights, x and y of these models, on the device, in this form's layout."""
        import jax

        weights = {name: value[share] for name, value in problem.weights.items()}
        x, y = problem.x[share].swapaxes(2, 3), problem.y[share].swapaxes(2, 3)  # M, N, T, B, ...
        if self.lanes:
            # Lanes are models (B is 1) or samples (M is 1): (N, T, features, lanes).
            weights = {name: np.moveaxis(value, 0, -1) for name, value in weights.items()}
            order = (1, 2, 4, 0, 3)
            x, y = (a.transpose(order).reshape(*a.shape[1:3], a.shape[4], -1) for a in (x, y))
            return jax.device_put((weights, np.ascontiguousarray(x), np.ascontiguousarray(y)))
        if self.vector:
            x, y = x[:, :, :, 0], y[:, :, :, 0]
        if self.case.models == 1:
            weights = {name: value[0] for name, value in weights.items()}
            x, y = x[0], y[0]
        return jax.device_put((weights, np.ascontiguousarray(x), np.ascontiguousarray(y)))

    def run(self) -> None:
        """All iterations of all models."""
        shares = map if self.pool is None else self.pool.map
        self.ends = list(shares(self.train, self.arguments))

    def train(self, share: Any) -> Any:
        """All iterations of a share of the models, finished."""
        import jax

        return jax.block_until_ready(self.compiled(*share))

    def result(self) -> Weights:
        """Weights, or gradients, (M, ...)."""
        ends = [{name: np.asarray(value) for name, value in end.items()} for end in self.ends]
        if self.lanes:
            ends = [{k: np.moveaxis(value, -1, 0) for k, value in end.items()} for end in ends]
        elif self.case.models == 1:
            ends = [{name: value[None] for name, value in end.items()} for end in ends]
        return {name: np.concatenate([end[name] for end in ends]) for name in ends[0]}


class Mathematics:
    """Loss and training loop of a case in one form: rows (B, F), vectors (F), or lanes (F, L)."""

    def __init__(self, case: Case, form: Form) -> None:
        self.case = case
        self.unroll = form["unroll"]
        self.inside = form["inside"]
        self.vector = form["layout"] == "vector"
        self.lanes = form["layout"] == "lanes"
        self.dot = form["products"] == "dot"
        self.features = -2 if self.lanes else -1

    def product(self, v: Any, m: Any) -> Any:
        """v M, for v (..., B, F) and M (F, G), or v (..., F, L) and M (F, G, L or 1)."""
        if self.dot:
            return v @ m
        if self.lanes:
            return (v[..., :, None, :] * m).sum(-3)
        return (v[..., :, None] * m).sum(-2)

    def cell(self, w: Any, state: tuple[Any, Any], a: Any) -> tuple[tuple[Any, Any], Any]:
        """One step; a is the input's part of the preactivations."""
        import jax
        import jax.numpy as jnp

        h, c = state
        sigmoid = jax.nn.sigmoid
        split = partial(jnp.split, axis=self.features)
        recurrent = self.product(h, w["W"])
        if self.case.cell == "elman":
            h = jnp.tanh(a + recurrent)
        elif self.case.cell == "lstm":
            a_i, a_f, a_g, a_o = split(a + recurrent, 4)
            c = sigmoid(a_f) * c + sigmoid(a_i) * jnp.tanh(a_g)
            h = sigmoid(a_o) * jnp.tanh(c)
        else:
            (x_r, x_z, x_n), (h_r, h_z, h_q) = split(a, 3), split(recurrent, 3)
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            n = jnp.tanh(x_n + r * (h_q + w["b"][3 * self.case.hidden :]))
            h = (1 - z) * n + z * h
        return (h, c), h

    def inputs(self, w: Any, x: Any) -> Any:
        """The input's part of the preactivations, of one step or of all."""
        b = w["b"][: 3 * self.case.hidden] if self.case.cell == "gru" else w["b"]
        return (w["U"][x] if self.case.tokens else self.product(x, w["U"])) + b

    def outputs(self, w: Any, h: Any) -> Any:
        """The outputs before their nonlinearity, of one step or of all."""
        return self.product(h, w["V"]) + w["c"]

    def loss(self, w: Any, x: Any, y: Any) -> Any:
        """The loss of a batch."""
        import jax
        import jax.numpy as jnp

        case = self.case
        shape: tuple[int, ...] = (case.batch, case.hidden)
        if self.vector:
            shape = (case.hidden,)
        elif self.lanes:
            shape = (case.hidden, x.shape[-1])
        zeros = jnp.zeros(shape, case.dtype)

        def step(state: Any, x: Any) -> Any:
            state, h = self.cell(w, state, self.inputs(w, x) if self.inside else x)
            return state, self.outputs(w, h) if self.inside else h

        given = x if self.inside else self.inputs(w, x)
        _, o = jax.lax.scan(step, (zeros, zeros), given, unroll=self.unroll)
        if not self.inside:
            o = self.outputs(w, o)
        if case.output == "sigmoid":
            loss = (jax.nn.softplus(o) - o * y).sum()
        elif case.output == "softmax":
            loss = -jnp.take_along_axis(jax.nn.log_softmax(o), y[..., None], -1).sum()
        else:
            loss = 0.5 * ((o - y) ** 2).sum()
        return loss / (case.batch * case.steps) if case.reduction == "mean" else loss

    def train(self, w: Any, x: Any, y: Any) -> Any:
        """Weights after all iterations, or the gradients of the one batch."""
        import jax
        import jax.numpy as jnp

        case = self.case
        if not case.trains:
            return jax.grad(self.loss)(w, x[0], y[0])
        each = jax.tree.map

        def iteration(carry: Any, batch: Any) -> Any:
            w, m, v = carry
            if case.optimizer == "rmsprop_nesterov":
                v = each(lambda v: case.momentum * v, v)
                w = each(jnp.add, w, v)
            g = jax.grad(self.loss)(w, *batch)
            if case.optimizer == "sgd":
                return (each(lambda w, g: w - case.learning_rate * g, w, g), m, v), None
            old, new = (1, 1) if case.optimizer == "adagrad" else (case.decay, 1 - case.decay)
            m = each(lambda m, g: old * m + new * g * g, m, g)
            step = each(lambda g, m: case.learning_rate * g / (jnp.sqrt(m) + case.epsilon), g, m)
            if case.optimizer == "rmsprop_nesterov":
                v = each(jnp.subtract, v, step)
            return (each(jnp.subtract, w, step), m, v), None

        zeros = each(jnp.zeros_like, w)
        memory = zeros if case.optimizer != "sgd" else None
        velocity = zeros if case.optimizer == "rmsprop_nesterov" else None
        return jax.lax.scan(iteration, (w, memory, velocity), (x, y))[0][0]
