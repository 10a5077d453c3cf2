"""Forward and backward through time in NumPy: the specification of every compiled kernel.

Written to be read beside docs/derivation.md; equation numbers are those of
`bptt.equations.cells` and `bptt.equations.outputs`. Any float type. Arrays here are time first:
(T, B, features).

Variable lengths: sample b takes part in steps t < lengths[b]. From there on its state stays as it
is, and it adds nothing to loss or gradient.

A layer of a bidirectional network is two recurrences. The reverse one goes through the same steps
from the last to the first: a sample's state stays what it was in the beginning until the walk comes
to the sample's own last step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.cells import Cell
from bptt.equations.outputs import loss_scale, softmax_cross_entropy
from bptt.network.structure import Structure

Array = NDArray[np.floating]
Weights = Mapping[str, Array]
Masks = Sequence[Array | None]


@dataclass
class LayerTrace:
    """What a recurrence's backward pass needs of its forward pass. Lists are in the order of the
    walk, which for a reverse direction begins with the last step."""

    x: NDArray[Any]  # (T, B, D) values, or (T, B) numbers of one-hot inputs
    gates: list[tuple[Array, ...]]  # T times K of (B, H)
    states: list[tuple[Array, ...]]  # T + 1 times S of (B, H); states[0] is the initial state
    made: list[tuple[Array, ...]] | None = None  # T times S: without the noise, if there is some


@dataclass
class Trace:
    """The forward pass of a batch: every recurrence's, and the output preactivations o."""

    layers: list[LayerTrace]  # in a bidirectional network two a layer
    alive: NDArray[np.bool_]  # (T, B): sample b takes part in step t
    o: Array  # (T, B, O), or (1, B, O) with readout 'last'
    masks: Masks = ()  # of each layer's inputs, and of the output's; none where nothing is dropped


@dataclass
class Flow:
    """What a recurrence's way back finds at every step: derivatives of the loss, before any sum;
    lists in the order of its walk."""

    above: Array  # (T, B, H): by h after each step, what comes from the layer above or the output
    states: list[tuple[Array, ...]]  # T + 1 times S of (B, H): by the states
    da: list[tuple[Array, ...]]  # T times K of (B, H): by the preactivations


def at_step(parameter: Array, structure: Structure, t: int) -> Array:
    """The set of weights that step t uses."""
    return parameter if structure.tied else parameter[t]


def is_reverse(structure: Structure, recurrence: int) -> bool:
    """Whether a recurrence goes from the last step to the first."""
    return recurrence % structure.directions == 1


def order_of(structure: Structure, recurrence: int, steps: int) -> range:
    """The steps in the order in which a recurrence walks through them."""
    return range(steps)[:: -1 if is_reverse(structure, recurrence) else 1]


def of_layer(structure: Structure, layer: int) -> range:
    """The recurrences of a layer: one, or the forward and the reverse one."""
    first = layer * structure.directions
    return range(first, first + structure.directions)


def input_product(x: NDArray[Any], U: Array) -> Array:
    """x U, (B, D) by (D, G*H); for numbers of one-hot inputs (B,) the rows of U themselves."""
    rows: Array = U[x] if x.ndim == 1 else x @ U
    return rows


def preactivations(cell: Cell, xu: Array, hw: Array, bias: Array | None) -> tuple[Array, ...]:
    """a[k] of equation (1): input part xu and recurrent part hw (B, G*H), bias (K*H) or None."""
    h = hw.shape[1] // cell.gates
    parts = [np.zeros_like(hw[:, :h]) for _ in cell.preactivations]
    for gate, k in enumerate(cell.recurrent):
        parts[gate] = parts[gate] + xu[:, gate * h : (gate + 1) * h]
        parts[k] = parts[k] + hw[:, gate * h : (gate + 1) * h]
    if bias is not None:
        parts = [part + bias[k * h : (k + 1) * h] for k, part in enumerate(parts)]
    return tuple(parts)


def forward(
    structure: Structure,
    weights: Weights,
    x: NDArray[Any],
    alive: NDArray[np.bool_],
    initial: list[tuple[Array, ...]],
    noise: list[tuple[Array, ...]] | None = None,
    masks: Masks = (),
) -> Trace:
    """Walk a batch through time.

    x (T, B, D), or (T, B) for one-hot inputs; alive (T, B); initial: for each recurrence its S
    states (B, H); noise: for each S of (T, B, H), which are added to the states after every step
    (39); masks: what each layer's inputs, and the states that the output reads, are multiplied by
    (40). Every recurrence's states after each step are in the trace.
    """
    layers: list[LayerTrace] = []
    skipped = x[..., : structure.skip] if structure.skip else None
    for layer in range(structure.layers):
        x = masked(x, masks, layer)
        for k in of_layer(structure, layer):
            more = None if noise is None else noise[k]
            layers.append(_walk(structure, weights, k, x, alive, initial[k], more))
        x = _handed_up(structure, layers)  # (T, B, features), the next layer's input
    o = _output_preactivations(structure, weights, _read_out(structure, layers, x, masks))
    if skipped is not None:
        o[..., : structure.skip] += skipped
    return Trace(layers, alive, o, masks)


def _walk(
    structure: Structure,
    weights: Weights,
    recurrence: int,
    x: NDArray[Any],
    alive: NDArray[np.bool_],
    initial: tuple[Array, ...],
    noise: tuple[Array, ...] | None,
) -> LayerTrace:
    """One recurrence through all steps."""
    cell, name = structure.equations, structure.name
    U, W = weights[name("U", recurrence)], weights[name("W", recurrence)]
    b = weights.get(name("b", recurrence))
    own = own_parameters(structure, weights, recurrence)
    trace = LayerTrace(x, [], [initial], None if noise is None else [])
    for t in order_of(structure, recurrence, len(x)):
        s = trace.states[-1]
        bias = None if b is None else at_step(b, structure, t)
        xu = input_product(x[t], at_step(U, structure, t))
        hw = s[0] @ at_step(W, structure, t)
        gates, s_new = cell.forward(preactivations(cell, xu, hw, bias), s, *own)
        if noise is not None and trace.made is not None:
            trace.made.append(s_new)
            s_new = tuple(new + more[t] for new, more in zip(s_new, noise, strict=True))
        keep = alive[t][:, None]  # (B, 1)
        trace.gates.append(gates)
        trace.states.append(
            tuple(np.where(keep, new, old) for new, old in zip(s_new, s, strict=True))
        )
    return trace


def _handed_up(structure: Structure, layers: Sequence[LayerTrace]) -> Array:
    """h of the last layer so far after each step (T, B, H); of both directions side by side, the
    forward one's first (T, B, 2 H)."""
    found = []
    for k in of_layer(structure, len(layers) // structure.directions - 1):
        h = np.stack([s[0] for s in layers[k].states[1:]])
        found.append(h[::-1] if is_reverse(structure, k) else h)
    return found[0] if len(found) == 1 else np.concatenate(found, axis=2)


def _read_out(structure: Structure, layers: Sequence[LayerTrace], h: Array, masks: Masks) -> Array:
    """What the outputs read of the top layer's h (T, B, features): all steps of it, or with readout
    'last' the state that each direction ends with, (1, B, features); times the mask."""
    if structure.readout == "last":
        top = of_layer(structure, structure.layers - 1)
        h = np.concatenate([layers[k].states[-1][0] for k in top], axis=1)[None]
    mask = masks[structure.layers] if masks else None
    return h if mask is None else h * mask[: len(h)]


def masked(x: NDArray[Any], masks: Masks, layer: int) -> NDArray[Any]:
    """Values times a layer's mask, (40); forward the inputs, back the derivatives by them."""
    mask = masks[layer] if masks else None
    return x if mask is None else x * mask


def own_parameters(
    structure: Structure, weights: Weights, recurrence: int
) -> tuple[tuple[Array, ...], ...]:
    """A recurrence's parameters of the cell's own, (H) or (1) each, as its equations take them: a
    last argument, or, where there are none, nothing."""
    parameters = structure.equations.parameters
    values = tuple(weights[structure.name(each.name, recurrence)] for each in parameters)
    return (values,) if values else ()


def _output_preactivations(structure: Structure, weights: Weights, h: Array) -> Array:
    """o of equation (22), from what the outputs read, h (T, B, H), or (1, B, H)."""
    V, c = weights["V"], weights.get("c")
    # (T, B, H) by (H, O), or by (T, H, O) untied: a product a step in either case
    o: Array = h @ (V if V.ndim == 2 else V[: len(h)])
    if c is not None:
        o = o + (c if c.ndim == 1 else c[: len(h), None, :])
    return o


@dataclass
class Judged:
    """A batch's outputs set against its targets."""

    loss: float
    losses: Array  # (T, B), or (1, B): what each answer adds to it
    p: Array  # outputs, shape of o
    do: Array  # derivative of the loss by o
    wrong: int  # outputs (softmax: steps) on the wrong side of the threshold, of those counted
    exact: int  # samples without a wrong output


def judge(
    structure: Structure, trace: Trace, y: NDArray[Any], weights: Array | None = None
) -> Judged:
    """Loss, its derivative and the number of wrong outputs; y (T, B, O), classes (T, B); weights
    (T, B), what each step of each sample counts in the loss (35), by default 1."""
    head, o = structure.head, trace.o
    counted = trace.alive if structure.readout == "steps" else np.ones(o.shape[:2], np.bool_)
    w = counted.astype(np.float64) if weights is None else np.where(counted, weights, 0.0)
    w = w * loss_scale(structure.reduction, w.sum(axis=0), counted.sum(axis=0))  # (T, B)
    counted = w > 0
    if head.classes:
        p, losses, do = softmax_cross_entropy(o, y.astype(np.intp))
        wrong = (o.argmax(axis=-1) != y) & counted  # (T, B)
    else:
        p, losses, do = head.equation(o, y)
        losses = losses.sum(axis=-1)
        wrong = ((o > head.threshold) != (y > 0.5)) & counted[..., None]
        wrong = wrong.sum(axis=-1)
    # Where, not a product: a step that does not count may hold NaN.
    losses = np.where(counted, losses, 0) * w
    do = np.where(counted[..., None], do, 0) * w[..., None].astype(o.dtype)
    return Judged(
        float(losses.sum(dtype=np.float64)),
        losses.astype(o.dtype),
        p,
        do,
        int(wrong.sum()),
        int((wrong.sum(axis=0) == 0).sum()),
    )


def backward(
    structure: Structure,
    weights: Weights,
    trace: Trace,
    do: Array,
    flows: list[Flow] | None = None,
) -> tuple[dict[str, Array], Array | None, list[tuple[Array, ...]]]:
    """Backpropagation through time.

    Returns the gradient of every parameter, of the input x (None for one-hot inputs), and of each
    recurrence's initial states (B, H), before any sum over the batch. flows: is given each
    recurrence's, in their order, if a list is handed in.
    """
    gradients = {name: np.zeros_like(value) for name, value in weights.items()}
    dh = _output_gradients(structure, weights, gradients, trace, do)  # (T, B, features)
    initial: list[tuple[Array, ...]] = []
    for layer in reversed(range(structure.layers)):
        dx = None
        parts = np.split(dh, structure.directions, axis=2)  # (T, B, H) of each direction
        for k in reversed(of_layer(structure, layer)):
            above = parts[k % structure.directions]
            flow = None if flows is None else Flow(above, [], [])
            more, ds = _layer_backward(structure, weights, gradients, trace, k, above, flow)
            if flows is not None and flow is not None:
                flow.states.append(ds)
                flow.states.reverse()
                flow.da.reverse()
                flows.insert(0, flow)
            initial.insert(0, ds)
            if structure.initial_state == "trainable":
                for state, value in zip(structure.equations.states, ds, strict=True):
                    gradients[structure.name(f"{state}0", k)] += value.sum(axis=0)
            dx = more if dx is None or more is None else dx + more
        if dx is not None:
            dh = dx = masked(dx, trace.masks, layer)
    if structure.skip and dx is not None:
        dx[..., : structure.skip] += do[..., : structure.skip]
    return gradients, dx, initial


def _output_gradients(
    structure: Structure, weights: Weights, gradients: dict[str, Array], trace: Trace, do: Array
) -> Array:
    """dV, dc, and dh (T, B, features) of the top layer from do, by equation (22)."""
    whole = _handed_up(structure, trace.layers)
    states = _read_out(structure, trace.layers, whole, trace.masks)
    V, dh = weights["V"], np.zeros(whole.shape, do.dtype)
    for t, do_t in enumerate(do):  # (B, O)
        untied = V.ndim == 3
        (gradients["V"][t] if untied else gradients["V"])[...] += states[t].T @ do_t
        if "c" in gradients:
            (gradients["c"][t] if untied else gradients["c"])[...] += do_t.sum(axis=0)
        d = do_t @ (V[t] if untied else V).T
        if structure.readout == "steps":
            dh[t] = d
            continue
        for k, part in enumerate(np.split(d, structure.directions, axis=1)):
            final = order_of(structure, k, len(dh))[-1]  # the step that this direction ends with
            dh[final, :, k * structure.hidden : (k + 1) * structure.hidden] = part
    return masked(dh, trace.masks, structure.layers)


def _layer_backward(
    structure: Structure,
    weights: Weights,
    gradients: dict[str, Array],
    trace: Trace,
    recurrence: int,
    dh: Array,
    flow: Flow | None,
) -> tuple[Array | None, tuple[Array, ...]]:
    """One recurrence back through time, from dh (T, B, H) of its outputs: dx, before the mask of
    the inputs, and its ds_0. What it finds on the way is added to `flow`, from the end of the walk
    to its beginning."""
    cell = structure.equations
    names = {letter: structure.name(letter, recurrence) for letter in ("U", "W", "b")}
    U, W = weights[names["U"]], weights[names["W"]]
    steps, own = trace.layers[recurrence], own_parameters(structure, weights, recurrence)
    made = steps.made or steps.states[1:]
    one_hot = steps.x.ndim == 2
    dx = np.zeros((0,) if one_hot else steps.x.shape, dh.dtype)
    ds = tuple(np.zeros_like(state) for state in steps.states[0])
    order = order_of(structure, recurrence, len(dh))
    for n, t in zip(reversed(range(len(dh))), reversed(order), strict=True):
        keep = trace.alive[t][:, None]
        ds = (ds[0] + dh[t], *ds[1:])
        s, s_new = steps.states[n], made[n]
        da, ds_direct, *dp = cell.backward(steps.gates[n], s, s_new, ds, *own)
        for parameter, each in zip(cell.parameters, dp[0] if dp else (), strict=True):
            if parameter.trained:
                summed = np.where(keep, each, 0).sum(axis=0)  # (H)
                total = gradients[structure.name(parameter.name, recurrence)]
                total += summed.sum() if parameter.shared else summed
        da = tuple(np.where(keep, each, 0) for each in da)  # K of (B, H)
        if flow is not None:
            flow.states.append(ds)
            flow.da.append(da)
        da_x = np.concatenate(da[: cell.gates], axis=1)  # (B, G*H)
        da_h = np.concatenate([da[k] for k in cell.recurrent], axis=1)  # (B, G*H)
        dU = at_step(gradients[names["U"]], structure, t)
        if one_hot:
            np.add.at(dU, steps.x[t], da_x)
        else:
            dU += steps.x[t].T @ da_x
            dx[t] = da_x @ at_step(U, structure, t).T
        dW = at_step(gradients[names["W"]], structure, t)
        dW += s[0].T @ da_h  # (3)
        if names["b"] in gradients:
            db = at_step(gradients[names["b"]], structure, t)
            db += np.concatenate(da, axis=1).sum(axis=0)
        ds_cell = (ds_direct[0] + da_h @ at_step(W, structure, t).T, *ds_direct[1:])  # (2)
        ds = tuple(np.where(keep, new, old) for new, old in zip(ds_cell, ds, strict=True))
    return None if one_hot else dx, ds
