"""Benchmarks: bptt and its peers side by side, each in a process of its own.

`python -m benchmarks` runs all; see `benchmarks.contender` for what a contender is.
"""
