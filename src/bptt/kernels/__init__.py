"""The walk through time, compiled: the same numbers as `bptt.recurrence`, without its overhead.

    compiler.py     how kernels are compiled and where compiled code is kept
    vectors.py      the type of a vector of numbers, as wide as the processor's registers
    simd.py         operations on vectors
    tile.py         matrix products and transposes, by tiles held in registers; for kernels to come
    elementary.py   compiled versions of `bptt.functions`
    equations.py    how a cell's, output's or optimizer's equations get into a kernel
    plan.py         the sizes, offsets and arrays that kernels work on
    products.py     the matrix products of one step and of a whole sequence
    walk.py         forward and backward through time, for any cell
    losses.py       outputs, losses, and counting what is wrong
    training.py     the training loop: N iterations in one call
    engine.py       the way in, from Python

No equation of a cell, an output or an optimizer is written here: kernels compile the functions of
`bptt.cells`, `bptt.outputs` and `bptt.optimizers` as they stand. Only `engine.py` is imported from
outside, and only when a network first computes something, because the compiler is slow to import.
"""
