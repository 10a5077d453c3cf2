"""What is held out: a share of the sequences, whole groups, the end of a series; and folds.

A class stays in training whatever the share: at least one sequence of each does, and one with a
single sequence is not divided. Which sequences are held out depends on the data and the seed alone.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.sequences.store import Sequences

Places = NDArray[np.intp]


def split(sequences: Sequences, share: float, seed: int) -> tuple[Sequences, Sequences]:
    """Sequences to train on, and a share of them for validation, by what the data are.

    With groups, whole groups are held out (`by_group`); one sequence is cut, its end held out
    (`last_part`); else a share of the sequences, of each class alike where each sequence has one.
    Raises BpttError for a share that is not between 0 and 1, and where one side would be empty.
    """
    if not 0 < share < 1:
        raise BpttError(f"validation {share} is not allowed: a share between 0 and 1 is needed")
    if len(sequences) == 1:
        return last_part(sequences, share)
    held = by_group(sequences, share, seed) if sequences.groups is not None else None
    if held is None:
        held = by_class(sequences, share, seed)
    inside = np.zeros(len(sequences), np.bool_)
    inside[held] = True
    return sequences[~inside], sequences[inside]


def by_class(sequences: Sequences, share: float, seed: int) -> Places:
    """The sequences held out: of each class `share` of its sequences, rounded such that all
    together are `share` of all; without classes a sequence each, of all alike."""
    rng, codes = np.random.default_rng(seed), _codes(sequences)
    order = rng.permutation(len(sequences))
    counts = np.bincount(codes)
    wanted = max(1, round(share * len(sequences)))
    quota = np.floor(share * counts).astype(np.intp)
    rest = np.argsort(quota - share * counts, kind="stable")  # the largest remainders first
    # Classes with two sequences or more can spare one.
    spare = [code for code in rest if counts[code] - quota[code] > 1]
    for code in spare[: max(0, wanted - int(quota.sum()))]:
        quota[code] += 1
    held = [order[codes[order] == code][: quota[code]] for code in range(len(counts))]
    found = np.sort(np.concatenate(held))
    if not len(found):
        raise BpttError(
            f"{len(sequences)} sequences of {np.count_nonzero(counts)} classes are too few to hold "
            f"a share of {share:g} out: give validation data, or train without"
        )
    return found


def by_group(sequences: Sequences, share: float, seed: int) -> Places:
    """The sequences of the groups held out: in random order as many groups as hold at most `share`
    of the sequences, but at least one, and none without which a class would be gone."""
    groups = sequences.groups
    assert groups is not None
    names, of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise BpttError(f"there is one group, '{names[0]}': validation by group needs two")
    classes = _codes(sequences)
    left = np.bincount(classes)
    held = np.zeros(len(sequences), np.bool_)
    for group in np.random.default_rng(seed).permutation(len(names)):
        own = of == group
        after = left - np.bincount(classes[own], minlength=len(left))
        if held.any() and (held | own).sum() > share * len(sequences):
            continue
        if (after[left > 0] > 0).all():
            held, left = held | own, after
    if not held.any():
        raise BpttError(
            "each group has a class that no other has: validation by group cannot be had, "
            "leave the groups out or give validation data"
        )
    return np.flatnonzero(held)


def last_part(sequences: Sequences, share: float) -> tuple[Sequences, Sequences]:
    """Each sequence's steps but the last `share` of them, and these: a series is never shuffled.

    Raises BpttError where a sequence is too short for that, and where it has one target.
    """
    parts, target = sequences.parts, sequences.target
    if target is not None and target.per == "sequence":
        raise BpttError(
            "sequences that have one target each cannot be cut for validation: "
            "give more sequences, or validation data"
        )
    later = np.ceil(share * parts.lengths).astype(np.intp)
    short = np.flatnonzero(later >= parts.lengths)
    if short.size:
        raise BpttError(
            f"sequence {parts.name(int(short[0]))} has {parts.lengths[short[0]]} steps: too few to "
            f"hold the last {share:g} of them out"
        )
    first = replace(parts, lengths=parts.lengths - later)
    last = replace(parts, starts=parts.starts + parts.lengths - later, lengths=later)
    return Sequences.of(first), Sequences.of(last)


def places(sequences: Sequences, count: int, warm_up: int = 0, least: int = 1) -> Sequences:
    """At least `count` sequences to be walked side by side, where there are fewer: each is cut in
    pieces of one length, as many as its share of all steps asks for.

    A piece but the first begins `warm_up` steps before what it is to be judged on, which the piece
    before is judged on: no target is lost or counts twice. least: steps that a piece has at least.
    Sequences that have one target each stay whole.
    """
    parts, target = sequences.parts, sequences.target
    if len(sequences) >= count or (target is not None and target.per == "sequence"):
        return sequences
    share = np.ceil(count * parts.lengths / parts.lengths.sum()).astype(np.intp)
    share = np.clip(share, 1, np.maximum(parts.lengths // least, 1))
    of = np.repeat(np.arange(len(sequences)), share)
    number = np.arange(len(of)) - np.repeat(np.cumsum(share) - share, share)
    begin = number * parts.lengths[of] // share[of]
    end = (number + 1) * parts.lengths[of] // share[of]
    begin = np.where(number > 0, np.maximum(begin - warm_up, 0), 0)
    return Sequences.of(
        replace(
            parts,
            starts=parts.starts[of] + begin,
            lengths=end - begin,
            weights=None if parts.weights is None else parts.weights[of],
            ids=None if parts.ids is None else parts.ids[of],
            groups=None if parts.groups is None else parts.groups[of],
        )
    )


def folds(sequences: Sequences, count: int, seed: int, stratified: bool = True) -> list[Places]:
    """The sequences in `count` folds of about one size, each sequence in one of them.

    With groups, whole groups: in random order, the larger ones first, each goes where the share of
    each class, and then the number of sequences, stays most even. Else of each class as many
    sequences in every fold, give or take one. stratified: False looks at no classes; nor where a
    sequence has no class. Which fold a sequence is in depends on the data and the seed alone.
    Raises BpttError for fewer sequences, or groups, than folds.
    """
    rng = np.random.default_rng(seed)
    codes = _codes(sequences) if stratified else np.zeros(len(sequences), np.intp)
    names = of = None
    if sequences.groups is not None:
        names, of = np.unique(sequences.groups, return_inverse=True)
    there = len(sequences) if names is None else len(names)
    if not 2 <= count <= there:
        what = "sequences" if names is None else "groups"
        raise BpttError(f"folds {count} is not allowed: from 2 to the number of {what}, {there}")
    fold = np.empty(len(sequences), np.intp)
    if of is None:
        order = rng.permutation(len(sequences))
        order = order[np.argsort(codes[order], kind="stable")]
        # Class after class is dealt out, going on where the one before has ended.
        fold[order] = rng.permutation(count)[np.arange(len(order)) % count]
    else:
        held = np.zeros((count, int(codes.max()) + 1))
        groups = rng.permutation(there)
        for group in groups[np.argsort(-np.bincount(of)[groups], kind="stable")]:
            own = of == group
            more = np.bincount(codes[own], minlength=held.shape[1])
            # The fold whose sum of squares grows least: the one with the fewest of these classes.
            growth = (held * more / np.maximum(np.bincount(codes), 1)).sum(axis=1)
            at = int(np.lexsort((held.sum(axis=1), growth))[0])
            fold[own] = at
            held[at] += more
    return [np.flatnonzero(fold == at) for at in range(count)]


def _codes(sequences: Sequences) -> Places:
    """The class of each sequence, counted from 1; those without a label are a class of their own,
    0, and so are all where a sequence has none."""
    target = sequences.target
    if target is None or target.kind != "classes" or target.per != "sequence":
        return np.zeros(len(sequences), np.intp)
    codes: Places = target.values + 1
    return codes
