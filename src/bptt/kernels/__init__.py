"""The walk through time, compiled: the same numbers as `bptt.network.recurrence`,
without its overhead.

    engine.py           the way in, from Python

    machine/            what kernels are made of; nothing in it knows of networks
        processor.py    what the processor has: registers and vectors
        library.py      where compiled kernels are kept, how they are had, loaded and called
        compiler.py     how functions are compiled to object code
        vectors.py      the type of a vector of numbers, as wide as the processor's registers
        simd.py         operations on vectors
        arithmetic.py   roots, powers of 2 and polynomials
        denormals.py    numbers too small to be normal are zero
        elementary.py   compiled versions of `bptt.equations.functions`, on numbers and vectors
        tile.py         matrix products, by tiles held in registers
        transposes.py   transposes, likewise
        strips.py       what is known of those products without the compiler

    walk/               a batch through time
        signature.py    what the kernel is given
        builder.py      the compilation of a kernel, by a process of its own
        workspace.py    the three layouts: which serves which shapes, and where everything lies
        products.py     how each of them multiplies
        program.py      what is multiplied in a walk: all products of a network, worked out once
        regimes.py      what differs between the layouts while a kernel runs; the cell's equations
        steps.py        forward and backward through time, for any cell and layout
        judge.py        outputs, losses, and counting what is wrong
        loop.py         the training loop: N iterations in one call
        runner.py       a batch's way through the kernels: shards, threads, arrays in and out

No equation of a cell, an output or an optimizer is written here: kernels compile the functions of
`bptt.equations.cells`, `bptt.equations.outputs` and `bptt.equations.optimizers` as they stand.
Only `engine.py` is imported from outside, and only when a network first computes something. It,
`library.py`, `processor.py`, `strips.py`, `signature.py`, `workspace.py`, `products.py`,
`program.py` and `runner.py` do without Numba, which is slow to import.
"""
