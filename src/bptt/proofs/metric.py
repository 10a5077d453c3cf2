"""The metric of a proof's balls, and how fast a network forgets.

A deviation of the state is measured by what becomes of it: with J_w the derivative of the state
after a word w by the state before,

    T^T T = own I + sum over k = 1, 2, 3 of gamma^(-2 k) mean(J_w^T J_w),   words w of k symbols,

over states that the network comes by, so that a step makes balls smaller where it can.
"""

from collections.abc import Iterator

import numpy as np

from bptt.proofs.machine import Array, Machine

OWN, GAMMA, LONGEST = 0.2, 0.9, 3
STEP = 1e-4  # of central differences: the metric need not be exact
MOST = 240  # states looked at, for each length of words


def visited(machine: Machine, rng: np.random.Generator, count: int = 12, length: int = 30) -> Array:
    """States that the network comes by on random words, runs of one symbol among them (N, n)."""
    x, found = np.tile(machine.start, (count, 1)), []
    stay = np.linspace(0, 0.9, count)
    symbols = rng.integers(0, machine.symbols, count)
    for at in range(length):
        fresh = rng.integers(0, machine.symbols, count)
        symbols = np.where(rng.random(count) < stay, symbols, fresh)
        x = machine.step(x, symbols)
        if at % 5 == 4:
            found.append(x)
    return np.concatenate(found)


def jacobians(machine: Machine, x: Array, symbols: np.ndarray) -> Array:
    """The derivatives (N, n, n) of the next states by states x (N, n)."""
    count, n = x.shape
    moved = STEP * np.eye(n)
    both = np.concatenate([x[:, None] + moved, x[:, None] - moved], axis=1).reshape(-1, n)
    after = machine.step(both, np.repeat(symbols, 2 * n)).reshape(count, 2, n, n)
    return np.swapaxes(after[:, 0] - after[:, 1], 1, 2) / (2 * STEP)


def products(machine: Machine, x: Array, rng: np.random.Generator, length: int) -> Iterator[Array]:
    """The derivatives by x of the states after words of 1, 2, ... symbols."""
    J = np.tile(np.eye(machine.size), (len(x), 1, 1))
    for _ in range(length):
        symbols = rng.integers(0, machine.symbols, len(x))
        J = jacobians(machine, x, symbols) @ J
        x = machine.step(x, symbols)
        yield J


def metric(machine: Machine, seed: int = 0) -> Array:
    """T (n, n), turned so that places T h differ most in the first coordinate, then the second."""
    rng = np.random.default_rng(seed)
    states = visited(machine, rng)
    states = states[np.isfinite(states).all(axis=1)]
    n, some = machine.size, states[rng.permutation(len(states))]
    P, weight = OWN * np.eye(n), 1.0
    some = np.tile(some, (1 + MOST // max(len(some), 1), 1))[:MOST]
    for J in products(machine, some, rng, LONGEST):
        weight /= GAMMA**2
        square = np.swapaxes(J, 1, 2) @ J
        size = np.trace(square, axis1=1, axis2=2)
        P = P + weight * square[size >= np.quantile(size, 0.75)].mean(axis=0)
    value, vector = np.linalg.eigh(P)
    root = np.sqrt(value)
    T = (vector * (root / np.sqrt(np.mean(root**2)))).T
    places = states @ T.T
    _, turned = np.linalg.eigh(np.cov(places.T).reshape(n, n))
    return np.ascontiguousarray(turned[:, ::-1].T @ T)


def rate(machine: Machine, length: int = 12, seed: int = 1) -> float:
    """By what a deviation of the state is multiplied in a step, for words on which it lasts
    longest: above 1 it grows, and the network does not forget."""
    rng = np.random.default_rng(seed)
    states = visited(machine, rng)
    J = list(products(machine, states[np.isfinite(states).all(axis=1)], rng, length))[-1]
    norms = np.linalg.norm(J, 2, axis=(1, 2))
    return float(np.max(norms) ** (1 / length)) if len(norms) else float("nan")
