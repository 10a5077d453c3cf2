"""What the kernel is given, known to those who compile it and to those who call it.

A call works through N iterations of one layout, cell and float type. It takes:

    kind, layout   the layout with and without its cell; types to the compiler, nothing at run time
    codes          addresses of the routines and the update that it calls (of strips: in `program`)
    plan           a record of sizes, places and strides (`layout.Workspace`)
    work           what is done, of PREPARE, FORWARD, JUDGE, BACKWARD and UPDATE
    m, program, parts, copies        see `layout.Workspace`
    rule, clip_value, clip_norm, k   the optimizer and its numbers for each iteration
    count          N
    x, ids, y, classes, lengths      data: values or whole numbers (N, B, T, ...), lengths (N, B);
                   of models (M, N, ...): `apart` is how many samples further the next lane's
                   data lie (1, or N of models, whose results lie so too)
    given          whether y is there
    full           every sequence has all T steps
    counted        how many cases count in the whole batch that this one is a shard of; 0: no shard
    reset, carry   an iteration starts from the state that the one before ended in, except where
                   `reset` (N,) sets it back
    results        (N, RESULTS): loss, wrong, exact, norm of each; of models (lanes, N, RESULTS)
"""

from bptt.equations.optimizers import RULES

# PREPARE: look ahead, and copy the weights into the orders in which they are read.
PREPARE, FORWARD, JUDGE, BACKWARD, UPDATE = 1, 2, 4, 8, 16
TRAIN = PREPARE | FORWARD | JUDGE | BACKWARD | UPDATE
# How many results an iteration has.
RESULTS = 4

# In order; "number" is the network's float type, a star an array's first element.
ARGUMENTS = {
    "kind": "type",
    "layout": "type",
    "codes": "int64*",
    "plan": "record*",
    "work": "int64",
    "m": "number*",
    "program": "int64*",
    "parts": "int64*",
    "copies": "int64*",
    "rule": "int64",
    "clip_value": "float64",
    "clip_norm": "float64",
    "k": "number*",
    "count": "int64",
    "x": "number*",
    "ids": "int64*",
    "y": "number*",
    "given": "boolean",
    "classes": "int64*",
    "lengths": "int64*",
    "full": "boolean",
    "counted": "int64",
    "apart": "int64",
    "reset": "int64*",
    "carry": "boolean",
    "results": "number*",
}


def update_name(rule: str, regime: str, dtype: str) -> str:
    """The name that the code of a rule's update is kept under; rules may share one."""
    return f"{RULES[rule].update.__name__.replace('_', '-')}-{regime}-{dtype}"
