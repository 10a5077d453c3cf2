"""The walk through time, compiled: the same numbers as `bptt.network.recurrence`,
without its overhead.

    engine.py           the way in, from Python
    stream.py           one step at a time

    machine/            what kernels are made of; nothing in it knows of networks
        processor.py    what the processor has: registers and vectors
        store.py        the folder that compiled functions are kept in
        library.py      how they are had, loaded and called
        stored.py       a call whose arguments lie in memory, for what is called over and over
        compiler.py     how functions are compiled to object code
        vectors.py      the type of a vector of numbers, as wide as the processor's registers
        simd.py         operations on vectors
        arithmetic.py   roots, powers of 2 and polynomials
        denormals.py    numbers too small to be normal are zero
        elementary.py   compiled versions of `bptt.equations.functions`, on numbers and vectors
        chance.py           random numbers of counters
        tile.py         matrix products, by tiles held in registers
        transposes.py   transposes, likewise
        strips.py       what is known of those products without the compiler

    walk/               a batch through time
        signature.py    what a kernel is given, and the names of its functions
        builder.py      which functions they are, and their compilation, by a process of its own
        workspace.py    the three regimes: which serves which shapes, and where everything lies
        products.py     how each of them multiplies
        matrices.py     where the parameters lie, as they are and as copies
        program.py      what is multiplied: all products of a network, worked out once
        noise.py            noise and dropout in the walk, in training
        disturb.py          their random numbers, drawn before it
        regimes.py      what differs between the regimes while a kernel runs; the cell's equations
        lengths.py      which sequences have a step
        steps.py        forward and backward through time, for any cell and regime
        judge.py        outputs, losses, and counting what is wrong
        loop.py         the training loop: N iterations in one call
        runner.py       arrays in and out, shards, threads

The words, each for one thing (docs/kernels.png shows them at work):

    regime     what the lanes of a vector are: units, samples or models
    kernel     the compiled function for one regime, cell and float type: N iterations in one call
    routine    what a kernel calls by its address, the same for all cells: begin, assess, update
    piece      a function that is compiled and kept by itself: a kernel, a routine, a strip
    part       a function that is compiled into each piece that calls it
    kind       what a piece is compiled for, as the type of its first argument
    walk       the way of a batch through time, forward and back
    workspace  the one flat array m of a walk, and where everything lies in it
    place      an index into m; base: the place where a layer's values of some sort begin
    plan       a workspace's sizes, places and strides, as kernels read them
    copy       a matrix of weights in another order, made anew for each iteration
    plane      one gate's or state's numbers of all units (and samples) at one step
    strip      a row of tiles of a matrix product, described by one row of integers
    product    one matrix product, or its gradient: some strips
    program    all products of a network
    layer      what is walked through by itself: a layer, or one direction of a bidirectional one
    stage      layers that go through a segment one after the other, before the next segment
    segment    steps that are walked through together; span: which; version: of how many steps
    shard      samples of a batch that a thread walks by itself, in a workspace of its own
    runner     the workspaces for one shape of batch, and what goes in and out of them
    layout     of the parameters in the flat vector (`bptt.network.parameters`), nothing else

No equation of a cell, an output or an optimizer is written here: kernels compile the functions of
`bptt.equations.cells`, `bptt.equations.outputs` and `bptt.equations.optimizers` as they stand, and
a user's own as they were traced (`bptt.equations.tracing`).
Only `engine.py` is imported from outside, and only when a network first computes something. It,
`store.py`, `library.py`, `processor.py`, `strips.py`, `signature.py`, `workspace.py`,
`products.py`, `matrices.py`, `program.py` and `runner.py` do without Numba, which is slow to
import.
"""
