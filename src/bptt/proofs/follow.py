"""Balls of states, and the words that lead from each of them back into others, compiled.

Ball b holds the states h with |T (h - centre)| <= radius, has a label (a state of the automaton)
and a place T centre. Balls are found by a grid over the first two coordinates of their places: T is
turned so that those are the directions in which places differ most.
"""

import math

from bptt.kernels.machine.compiler import part
from bptt.proofs import workspace as w
from bptt.proofs.arrays import alone, view1, view2, view3
from bptt.proofs.forms import UP
from bptt.proofs.image import image, margin, prepared, radius, step
from bptt.proofs.products import product

# What became of a ball, or of an exploration.
DONE, OUTPUT, GROWTH, WORDS, FULL, WRONG, DEEP = range(7)
# The places of RESULT.
STATUS, STEPS, RETURNED, BALL, SYMBOL, DEEPEST, MADE = range(7)
# The places of LIMITS: a cell of the grid and the radius of new balls; an image may have `GROW`
# times the radius of its ball; at `SHRUNK` of the radius nearby a ball is made; words of a ball;
# symbols of a word; the least margin at a centre; what `IMAGE` gives, the image's radius.
CELL, LARGEST, GROW, SHRUNK, WORDS_MOST, SYMBOLS_MOST, LEAST, REACHED = range(8)


@part
def cell_of(label, x, y, m):
    """A number for a cell of the grid."""
    mixed = (label * 83492791) ^ (x * 73856093) ^ (y * 19349663)
    return mixed & (m[w.CELLS] - 1)


@part
def placed(b, numbers, ints, m):
    """Put ball b into the grid."""
    alone()
    place, cell = view2(numbers, m, w.PLACE), view1(numbers, m, w.LIMITS)[CELL]
    heads, following = view1(ints, m, w.HEADS), view1(ints, m, w.FOLLOWING)
    last = min(1, place.shape[1] - 1)
    x, y = math.floor(place[b, 0] / cell), math.floor(place[b, last] / cell)
    at = cell_of(view1(ints, m, w.LABEL)[b], int(x), int(y), m)
    following[b] = heads[at]
    heads[at] = b


@part
def make(c, z, label, size, numbers, ints, m):
    """A new ball; -1 if there is no room."""
    alone()
    b = m[w.COUNT]
    if b >= m[w.MOST]:
        return -1
    m[w.COUNT] = b + 1
    centre, place = view2(numbers, m, w.CENTRE), view2(numbers, m, w.PLACE)
    for i in range(c.shape[0]):
        centre[b, i] = c[i]
        place[b, i] = z[i]
    view1(numbers, m, w.RADIUS)[b] = size
    view1(ints, m, w.LABEL)[b] = label
    placed(b, numbers, ints, m)
    return b


@part
def place_of(numbers, ints, m):
    """Z = T c of the state in NOW_C."""
    n, each = m[w.N], m[w.EACH]
    product((m[w.Z], n), (1, n, n), (m[w.NOW_C], 0, 1, each), (m[w.TT], n, each), False,
            numbers, ints)  # fmt: skip


@part
def search(z, label, room, numbers, ints, m):
    """A ball of this label that holds everything within `room` of z, and the nearest ball; -1 each
    if there is none. The start is never one."""
    alone()
    place, sizes = view2(numbers, m, w.PLACE), view1(numbers, m, w.RADIUS)
    labels, cell = view1(ints, m, w.LABEL), view1(numbers, m, w.LIMITS)[CELL]
    heads, following = view1(ints, m, w.HEADS), view1(ints, m, w.FOLLOWING)
    n = place.shape[1]
    x, y = math.floor(z[0] / cell), math.floor(z[min(1, n - 1)] / cell)
    near, nearest = -1, 4.0 * cell * cell
    for dx in range(-1, 2):
        for dy in range(-1, 2):
            b = heads[cell_of(label, int(x) + dx, int(y) + dy, m)]
            while b >= 0:
                if labels[b] == label and b > 0:
                    square = 0.0
                    for i in range(n):
                        d = z[i] - place[b, i]
                        square += d * d
                        if square >= nearest:
                            break
                    if square < nearest:
                        near, nearest = b, square
                        if math.sqrt(square) * UP + 1e-12 + room <= sizes[b] * (1 - 1e-12):
                            return b, b
                b = following[b]
    return -1, near


@part
def cleared(first, numbers, ints, m):
    """Empty the grid, and put in all balls from `first` on."""
    heads = view1(ints, m, w.HEADS)
    for at in range(heads.shape[0]):
        heads[at] = -1
    for b in range(first, m[w.COUNT]):
        placed(b, numbers, ints, m)


@part
def explore(first, numbers, ints, m):
    """Breadth first from ball `first` on: a ball at every state reached that is not within half
    a cell of one of its label. Ends with WRONG at a wrong output, or FULL."""
    alone()
    result, limits = view1(ints, m, w.RESULT), view1(numbers, m, w.LIMITS)
    centre, labels = view2(numbers, m, w.CENTRE), view1(ints, m, w.LABEL)
    parent, by, after = view1(ints, m, w.PARENT), view1(ints, m, w.BY), view2(ints, m, w.NEXT)
    c, z = view1(numbers, m, w.NOW_C), view1(numbers, m, w.Z)
    sizes = view1(numbers, m, w.RADIUS)
    b = first
    while b < m[w.COUNT]:
        for symbol in range(m[w.SYMBOLS]):
            for i in range(c.shape[0]):
                c[i] = centre[b, i]
            step(symbol, numbers, ints, m)
            result[STEPS] += 1
            least = margin(labels[b], symbol, True, numbers, ints, m)
            limits[LEAST] = min(limits[LEAST], least)
            if not least > 0.0:
                result[STATUS], result[BALL], result[SYMBOL] = WRONG, b, symbol
                return
            place_of(numbers, ints, m)
            label = after[labels[b], symbol]
            inside, _ = search(z, label, 0.5 * limits[CELL], numbers, ints, m)
            if inside < 0:
                made = make(c, z, label, limits[LARGEST], numbers, ints, m)
                if made < 0:
                    result[STATUS] = FULL
                    return
                parent[made], by[made] = b, symbol
                sizes[made] = limits[CELL]
        b += 1
    result[STATUS] = DONE


@part
def returned(c, r, label, z, numbers, ints, m):
    """The ball that a set lies in, or that is made for it; -1: neither, -2: there is no room."""
    limits, sizes = view1(numbers, m, w.LIMITS), view1(numbers, m, w.RADIUS)
    inside, near = search(z, label, r, numbers, ints, m)
    if inside < 0:
        size = limits[LARGEST] if near < 0 else sizes[near]
        if r <= limits[SHRUNK] * size:
            inside = make(c, z, label, size, numbers, ints, m)
            if inside < 0:
                return -2
            view1(ints, m, w.PARENT)[inside] = -1
            view1(ints, m, w.RESULT)[MADE] += 1
    return inside


@part
def push(c, Q, label, depth, at, numbers, ints, m):
    """Put a set onto the stack."""
    alone()
    stack_c, states = view2(numbers, m, w.STACK_C), view2(ints, m, w.STACK_STATE)
    stack_q = view3(numbers, m, w.STACK_Q)
    for i in range(c.shape[0]):
        stack_c[at, i] = c[i]
        for j in range(c.shape[0]):
            stack_q[at, i, j] = Q[i, j]
    states[at, 0], states[at, 1] = label, depth


@part
def follow(b, numbers, ints, m):
    """Follow all words from ball b, until each is in a ball again; RESULT tells how it ended, and
    RETURNS which balls it came to."""
    alone()
    result, limits = view1(ints, m, w.RESULT), view1(numbers, m, w.LIMITS)
    centre, sizes = view2(numbers, m, w.CENTRE), view1(numbers, m, w.RADIUS)
    stack_c, states = view2(numbers, m, w.STACK_C), view2(ints, m, w.STACK_STATE)
    stack_q, start = view3(numbers, m, w.STACK_Q), view2(numbers, m, w.START_Q)
    c, Q, z = view1(numbers, m, w.NOW_C), view2(numbers, m, w.NOW_Q), view1(numbers, m, w.Z)
    after, returns = view2(ints, m, w.NEXT), view1(ints, m, w.RETURNS)
    n, before, room = c.shape[0], result[STEPS], sizes[b] * (1 + 1e-11)
    for i in range(n):
        for j in range(n):
            stack_q[0, i, j] = start[i, j] * room * room
        stack_c[0, i] = centre[b, i]
    states[0, 0], states[0, 1] = view1(ints, m, w.LABEL)[b], 0
    largest = limits[GROW] * (sizes[b] if b else limits[LARGEST])
    top, result[RETURNED], result[STATUS] = 1, 0, DONE
    while top:
        top -= 1
        label, depth = states[top, 0], states[top, 1] + 1
        result[DEEPEST] = max(result[DEEPEST], depth)
        base = top
        # The set itself is replaced last: the symbols are done from the last to the first, and
        # what is put onto the stack lies above it.
        for symbol in range(m[w.SYMBOLS] - 1, -1, -1):
            for i in range(n):
                c[i] = stack_c[base, i]
                for j in range(n):
                    Q[i, j] = stack_q[base, i, j]
            if m[w.LAYERS] > 1 or symbol == m[w.SYMBOLS] - 1:  # the same for all symbols
                prepared(0, numbers, ints, m)
            image(symbol, numbers, ints, m)
            result[STEPS] += 1
            if not margin(label, symbol, False, numbers, ints, m) > 0.0:
                result[STATUS] = OUTPUT
                return
            r = radius(numbers, ints, m)
            if not r <= largest:
                result[STATUS] = GROWTH
                return
            place_of(numbers, ints, m)
            inside = returned(c, r, after[label, symbol], z, numbers, ints, m)
            if inside == -2:
                result[STATUS] = FULL
                return
            if inside >= 0:
                if result[RETURNED] < returns.shape[0]:
                    returns[result[RETURNED]] = inside
                    result[RETURNED] += 1
                continue
            if depth >= limits[SYMBOLS_MOST]:
                result[STATUS] = DEEP
                return
            top = push_above(c, Q, after[label, symbol], depth, base, top, numbers, ints, m)
        top = settled(base, top, numbers, ints, m)
        if result[STEPS] - before > limits[WORDS_MOST]:
            result[STATUS] = WORDS
            return


@part
def push_above(c, Q, label, depth, base, top, numbers, ints, m):
    """Onto the stack, above the set at `base` that is still in use; the new top."""
    at = max(top, base + 1)
    push(c, Q, label, depth, at, numbers, ints, m)
    return at + 1


@part
def settled(base, top, numbers, ints, m):
    """Close the gap at `base`: the last set comes to lie there; the new top."""
    if top <= base + 1:
        return base
    stack_c, states = view2(numbers, m, w.STACK_C), view2(ints, m, w.STACK_STATE)
    stack_q = view3(numbers, m, w.STACK_Q)
    last = top - 1
    push(stack_c[last], stack_q[last], states[last, 0], states[last, 1], base, numbers, ints, m)
    return last


# What `work` does.
CLEAR, EXPLORE, FOLLOW, IMAGE = range(4)


@part
def work(what, first, numbers, ints, m):
    """One of these, from or of ball `first`, or the image of the set in NOW_C and NOW_Q by symbol
    `first`: one function, so that its parts are compiled once."""
    if what == CLEAR:
        cleared(first, numbers, ints, m)
    elif what == EXPLORE:
        explore(first, numbers, ints, m)
    elif what == FOLLOW:
        follow(first, numbers, ints, m)
    else:
        prepared(0, numbers, ints, m)
        image(first, numbers, ints, m)
        view1(numbers, m, w.LIMITS)[REACHED] = radius(numbers, ints, m)
