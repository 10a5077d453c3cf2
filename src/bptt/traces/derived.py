"""What follows from a trace: credit, truncation, Jacobians, spectra, shares, principal components.

All of it is in float64. Sources: the T x T table of which loss reaches which state is Cashman et
al., "RNNbow" (2019); the truncated gradient and its error Aicher, Foti & Fox, UAI 2019; Jacobians
and their singular values Pascanu, Mikolov & Bengio, ICML 2013, section 2; Lyapunov exponents by QR
Benettin et al. (1980), for recurrent networks Vogt et al. (2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import whole
from bptt.errors import BpttError
from bptt.network.parameters import Array
from bptt.network.recurrence import Flow, LayerTrace, backward
from bptt.network.recurrence import Trace as Walk
from bptt.traces.trace import MOST_NUMBERS, Trace, step_back

# Pairs of a loss and a step, for credit and truncation.
MOST_STEPS = 2000


@dataclass(frozen=True)
class Apart:
    """One sample's losses taken apart: the derivatives of each answer's own loss.

    dstates (layer, state, answer, time, unit) and da (layer, preactivation, answer, step, unit),
    with one row of `answer` for each answer of the sample. Their sums over answers are the
    trace's.
    """

    trace: Trace
    sample: int
    dstates: Array
    da: Array

    def credit(self, state: int = 0, layer: int = -1) -> Array:
        """|d loss_t / d s_k|, the Euclidean norm over units, (answer, time)."""
        sizes: Array = np.linalg.norm(self.dstates[layer, state], axis=-1)
        return sizes

    def by_lag(self) -> list[dict[str, Array]]:
        """The gradient of U, W and b by how far back it reaches: entry d is the part of all pairs
        of an answer at step t and a step t - d. Their sum is the sample's gradient."""
        made, steps = self.trace, self.da.shape[3]
        answers = np.array(made.coords["answer"]) - 1
        answers = answers[: len(self.da[0, 0])]
        if made.structure.readout == "last":
            answers = np.array([steps - 1])
        lags = []
        for lag in range(steps):
            # An answer at step t reaches step t - lag only.
            chosen = [(n, t - lag) for n, t in enumerate(answers) if t >= lag]
            rows, places = (np.array(each, np.intp) for each in zip(*chosen, strict=True))
            lags.append(self._gradient(rows, places))
        return lags

    def _gradient(self, rows: NDArray[np.intp], places: NDArray[np.intp]) -> dict[str, Array]:
        """What the pairs of an answer and a step add to the gradient of U, W and b."""
        made, s = self.trace, self.trace.structure
        found: dict[str, Array] = {}
        for layer in range(s.layers):
            da = self.da[layer][:, rows, places]  # (K, pairs, H)
            for name, values in contributions(made, layer, self.sample, places, da).items():
                if s.tied:
                    found[name] = values.sum(axis=0)
                else:
                    found[name] = np.zeros_like(made.weights[name])
                    np.add.at(found[name], places, values)
        return found

    def gradient(self, window: int) -> dict[str, Array]:
        """The sample's gradient of U, W and b cut off after `window` steps: of what reaches back
        fewer than that many from each answer, as truncated BPTT has it."""
        lags = self.by_lag()
        reach = lags[: whole("window", window, 1)]
        return {name: sum((lag[name] for lag in reach[1:]), reach[0][name]) for name in reach[0]}

    def truncated(self) -> Array:
        """The error of the gradient cut off after K steps, for K = 1 ... T.

        |g_K - g| / |g| over U, W and b of all layers, where g_K has only what reaches back fewer
        than K steps from each answer (K = 1: each answer's own step), as truncated BPTT does.
        """
        lags = [np.concatenate([each.ravel() for each in lag.values()]) for lag in self.by_lag()]
        all_of_it = np.sum(lags, axis=0)
        size = np.linalg.norm(all_of_it)
        if size == 0:
            raise BpttError("the gradient is 0: there is nothing to truncate")
        missing = all_of_it - np.cumsum(lags, axis=0)
        errors: Array = np.linalg.norm(missing, axis=1) / size
        return errors


def contributions(
    trace: Trace, layer: int, sample: int, places: NDArray[np.intp], da: Array
) -> dict[str, Array]:
    """What steps add to the gradient of a layer's U, W and b, equation (3): arrays with a first
    axis of steps. places: the steps; da (K, steps, H): the derivatives by their preactivations."""
    s, cell = trace.structure, trace.structure.equations
    h = trace["states"][layer, 0, sample][places]  # before the step
    by_input = np.concatenate([*da[: cell.gates]], axis=-1)
    by_state = np.concatenate([da[k] for k in cell.recurrent], axis=-1)
    if layer:
        x = trace["states"][layer - 1, 0, sample][places + 1]
    else:
        x = trace["x"][sample][places]
        if x.ndim == 1:
            x = np.eye(s.inputs)[x]
    found = {
        s.name("U", layer): x[:, :, None] * by_input[:, None, :],
        s.name("W", layer): h[:, :, None] * by_state[:, None, :],
    }
    if s.bias:
        found[s.name("b", layer)] = np.concatenate([*da], axis=-1)
    return found


def _length(trace: Trace, sample: int) -> int:
    """How many steps that sample has."""
    if not 0 <= sample < trace.samples:
        raise BpttError(f"sample {sample}: this trace has {trace.samples}, from 0")
    length = int(trace.lengths[sample])
    if not length:
        raise BpttError(f"sample {sample} has no steps: choose another")
    return length


def apart(trace: Trace, sample: int = 0) -> Apart:
    """One sample's losses taken apart; see `Apart`. Raises BpttError for more than 2,000 steps."""
    s, length = trace.structure, _length(trace, sample)
    last = s.readout == "last"
    answers = 1 if last else length
    numbers = answers * (length + 1) * s.hidden * len(s.equations.preactivations) * s.layers
    if length > MOST_STEPS or numbers > MOST_NUMBERS:
        raise BpttError(
            f"{length} steps are too many to take each loss apart: at most {MOST_STEPS}, "
            f"and {MOST_NUMBERS:,} numbers"
        )
    walk = _repeated(trace, sample, length, answers)
    do = np.zeros((answers, answers, s.outputs))
    own = np.arange(answers)
    do[own, own] = trace["do"][sample, :answers]
    flows: list[Flow] = []
    with np.errstate(all="ignore"):
        backward(s, trace.weights, walk, do, flows)
    return Apart(
        trace, sample,
        np.array([[list(step) for step in flow.states] for flow in flows]).transpose(0, 2, 3, 1, 4),
        np.array([[list(step) for step in flow.da] for flow in flows]).transpose(0, 2, 3, 1, 4),
    )  # fmt: skip


def _repeated(trace: Trace, sample: int, length: int, count: int) -> Walk:
    """A sample's walk, `count` times side by side, without copies."""

    def many(values: Array) -> Array:
        return np.broadcast_to(values, (count, *values.shape))

    layers = []
    for layer in range(trace.structure.layers):
        states, gates = trace["states"][layer, :, sample], trace["gates"][layer, :, sample]
        if layer:
            x = trace["states"][layer - 1, 0, sample][1 : length + 1]
        else:
            x = trace["x"][sample][:length]
        layers.append(
            LayerTrace(
                np.broadcast_to(x[:, None], (length, count, *x.shape[1:])),
                [tuple(many(gate[t]) for gate in gates) for t in range(length)],
                [tuple(many(state[t]) for state in states) for t in range(length + 1)],
            )
        )
    o = np.broadcast_to(trace["o"][sample][:count, None], (count, count, trace.structure.outputs))
    return Walk(layers, np.ones((length, count), np.bool_), o)


def jacobians(trace: Trace, layer: int = 0, sample: int = 0) -> Array:
    """d s_t / d s_(t-1) of a layer at every step, (T, S*H, S*H), its inputs held fixed.

    Entry [t, i, j] is the derivative of number i of (h, c, ...) after the step by number j before.
    """
    s, length = trace.structure, _length(trace, sample)
    states, size = len(s.equations.states), s.hidden
    seeds = np.eye(states * size).reshape(states * size, states, size)
    ds = tuple(
        np.broadcast_to(seeds[:, n, None, None, :], (len(seeds), trace.samples, trace.steps, size))
        for n in range(states)
    )
    found, _ = step_back(trace, layer, ds)  # (S, seeds, B, T, H)
    one = found[:, :, sample, :length]  # (S, seeds, T, H)
    return np.moveaxis(one, 2, 0).transpose(0, 2, 1, 3).reshape(length, len(seeds), len(seeds))


def singular_values(trace: Trace, layer: int = 0, sample: int = 0) -> Array:
    """Those of every step's Jacobian, (T, S*H), the largest first."""
    return np.linalg.svd(jacobians(trace, layer, sample), compute_uv=False)


def eigenvalues(trace: Trace, layer: int = 0) -> dict[str, NDArray[np.complex128]]:
    """The eigenvalues of a layer's W, gate by gate: {gate: (H,)}, untied (steps, H)."""
    s, cell = trace.structure, trace.structure.equations
    W = trace.weights[s.name("W", layer)]
    blocks = np.split(W, cell.gates, axis=-1)
    names = [cell.preactivations[k] for k in cell.recurrent]
    return {
        name: np.linalg.eigvals(block).astype(np.complex128)
        for name, block in zip(names, blocks, strict=True)
    }


def lyapunov(trace: Trace, layer: int = 0, sample: int = 0) -> Array:
    """The Lyapunov exponents of a layer along a sample, (S*H,), the largest first, in nats a step.

    By QR: Q_t R_t = J_t Q_(t-1); exponent i is the mean of ln |R_t[i, i]|. Below 0: differences of
    states die out. -inf where a direction is lost altogether.
    """
    found = jacobians(trace, layer, sample)
    q, sums = np.eye(found.shape[1]), np.zeros(found.shape[1])
    with np.errstate(divide="ignore"):
        for step in found:
            q, r = np.linalg.qr(step @ q)
            sums += np.log(np.abs(np.diag(r)))
    return np.sort(sums / len(found))[::-1]


def shares(trace: Trace, name: str, sample: int = 0) -> Array:
    """Each step's share in a recurrent weight's gradient, (T,): <g_t, g> / <g, g>.

    g_t is what step t adds to the gradient of U, W or b (a layer's, as 'W.2'), g their sum; shares
    add up to 1, and those of steps that work against the others are negative.
    """
    s, length = trace.structure, _length(trace, sample)
    names = {s.name(letter, layer): layer for letter in "UWb" for layer in range(s.layers)}
    if name not in names or name not in trace.weights:
        raise BpttError(
            f"'{name}' has no steps to share: choose one of "
            f"{', '.join(each for each in names if each in trace.weights)}"
        )
    if not s.tied:
        raise BpttError(f"'{name}' is untied: each step has a gradient of its own")
    places, layer = np.arange(length), names[name]
    da = trace["da"][layer, :, sample, :length]
    each = contributions(trace, layer, sample, places, da)[name].reshape(length, -1)
    together = each.sum(axis=0)
    size = float(together @ together)
    if size == 0:
        raise BpttError(f"the gradient of '{name}' is 0: there is nothing to share")
    share: Array = each @ together / size
    return share


@dataclass(frozen=True)
class Components:
    """Principal components of states: scores (sample, time, n), the directions (n, H), the mean
    (H,), and each component's share of the variance (n,)."""

    scores: Array
    directions: Array
    mean: Array
    explained: Array


def components(trace: Trace, count: int = 2, layer: int = -1, state: int = 0) -> Components:
    """Principal components of a layer's states over all samples and times there are."""
    s = trace.structure
    if not 1 <= count <= s.hidden:
        raise BpttError(f"{count} components: from 1 to {s.hidden} are possible")
    states = trace["states"][layer, state]  # (B, T + 1, H)
    there = np.concatenate([np.ones((trace.samples, 1), np.bool_), trace["exists"]], axis=1)
    points = states[there]
    mean = points.mean(axis=0)
    _, values, directions = np.linalg.svd(points - mean, full_matrices=False)
    missing = count - len(directions)
    if missing > 0:
        raise BpttError(f"{len(points)} states have {len(directions)} components: give more steps")
    variance = values**2
    total = float(variance.sum())
    explained = variance[:count] / total if total else np.zeros(count)
    return Components((states - mean) @ directions[:count].T, directions[:count], mean, explained)


def plane_apart(points: Array, groups: NDArray[np.integer] | None = None) -> Array:
    """A plane (H, 2), two orthonormal directions, that shows most of points (N, H) around 0: those
    in which the means of the groups (N,) lie furthest apart, as many as there are; then those in
    which the points themselves differ most."""
    directions = np.zeros((points.shape[1], 0))
    if groups is not None:
        each = [points[groups == group] for group in np.unique(groups)]
        means = np.array([part.mean(axis=0) * np.sqrt(len(part)) for part in each])
        _, sizes, between = np.linalg.svd(means, full_matrices=False)
        directions = between[: min(2, len(each) - 1)][sizes[: min(2, len(each) - 1)] > 1e-9].T
    if directions.shape[1] < 2:
        rest = points - points @ directions @ directions.T
        _, _, within = np.linalg.svd(rest, full_matrices=False)
        directions = np.concatenate([directions, within[: 2 - directions.shape[1]].T], axis=1)
    # A direction has no sign: the same one at every moment, or paths would jump.
    signs = np.where(directions[np.abs(directions).argmax(axis=0), [0, 1]] < 0, -1, 1)
    plane: Array = directions * signs
    return plane


def gradient_norms(trace: Trace, layer: int = -1) -> Mapping[str, Array]:
    """|dL/ds_t| of every state of a layer, {state: (sample, time)}."""
    names = trace.structure.equations.states
    norms = np.linalg.norm(trace["dstates"][layer], axis=-1)
    return dict(zip(names, norms, strict=True))
