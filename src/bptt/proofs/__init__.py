"""Proofs: whether a network is right at every length, by what its states can become.

    prove.py        the way in: `prove`, `scout`, and the answer
    automaton.py    finite automata: what a task may state about itself
    scout.py        words on which a network is wrong: looked for, replayed, made short
    search.py       the search: balls of states from which every word leads back into balls
    metric.py       how balls are measured, and how fast a network forgets
    certificate.py  a proof as a file
    checker.py      the check of such a file, which shares nothing with what follows
    shadow.py       balls as a plane of the states shows them
    machine.py      network and automaton, laid out for the kernels
    tape.py         a cell's equations as a list of operations
    workspace.py    where everything lies
    native.py       the kernels as functions
    follow.py       kernel: balls, and the words that lead from each into others
    image.py        kernel: one step of a network on a set of states
    forms.py        kernel: the operations of a cell on sets
    arrays.py       kernel: arrays in a workspace

What is proved, and how, is told in docs/proofs.md. Numba is imported only to compile.
"""
