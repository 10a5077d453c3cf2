"""What the kernel is given, known to those who compile it and to those who call it.

A call works through N iterations of one regime, cell and float type. It takes:

    kind, regime   the regime with and without its cell; types to the compiler, nothing at run time
    codes          addresses of the routines that it calls (of strips: in `program`)
    plan           a record of sizes, places and strides (`workspace.Workspace`)
    work           what is done, of PREPARE, FORWARD, JUDGE, BACKWARD and UPDATE
    m, program, bases, copies        see `workspace.Workspace`
    rule, clip_value, clip_norm, k   the optimizer and its numbers for each iteration
    count          N
    x, ids, y, classes, lengths, weights
                   data: values or whole numbers (N, B, T, ...), lengths (N, B), what each case
                   counts (N, B, T);
                   of models (M, N, ...): `apart` is how many samples further the next lane's
                   data lie (1, or N of models, whose results lie so too)
    given          whether y is there
    full           every sequence has all T steps
    weighted       whether weights are there; if not, every case of a sequence counts 1
    scale          (N,): what the sum of the losses is multiplied by, `outputs.loss_scale` of the
                   whole batch; of models (M, N)
    chances        what random numbers begin from (`bptt.kernels.machine.chance`): (3, lanes), those
                   of the first iteration
    reset, carry   an iteration starts from the state that the one before ended in, except where
                   `reset` (N,) sets it back
    results        (N, RESULTS): loss, wrong, exact, norm of each; of models (lanes, N, RESULTS)
"""

from typing import NamedTuple

from bptt.equations.cells import Cell, cell_of
from bptt.equations.optimizers import rule_of
from bptt.equations.outputs import OWN, Output, output_of
from bptt.network.structure import Structure

# PREPARE: look ahead, and copy the weights into the orders in which they are read.
PREPARE, FORWARD, JUDGE, BACKWARD, UPDATE = 1, 2, 4, 8, 16
TRAIN = PREPARE | FORWARD | JUDGE | BACKWARD | UPDATE
# How many results an iteration has.
RESULTS = 4

# The routines that a kernel calls by their addresses, in the order of these. What has nothing to do
# with the cell is compiled by itself, once for all cells.
ROUTINES = ("begin", "assess", "update", "disturb")
BEGIN, ASSESS, UPDATES, DISTURB = range(len(ROUTINES))

# In order; "number" is the network's float type, a star an array's first element.
ARGUMENTS = {
    "kind": "type",
    "regime": "type",
    "codes": "int64*",
    "plan": "record*",
    "work": "int64",
    "m": "number*",
    "program": "int64*",
    "bases": "int64*",
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
    "weights": "number*",
    "weighted": "boolean",
    "scale": "float64*",
    "apart": "int64",
    "chances": "int64*",
    "reset": "int64*",
    "carry": "boolean",
    "results": "number*",
}


class Key(NamedTuple):
    """What a kernel is compiled for. cell, output and rule are text, or equations of a user's own
    (`bptt.equations.own.Equations`); rule may be ''. disturbed: as training
    disturbs (`bptt.network.disturbance`)."""

    regime: str
    cell: str
    activation: str
    output: str
    loss: str
    rule: str
    dtype: str
    disturbed: bool = False

    @property
    def equations(self) -> Cell:
        """The cell."""
        return cell_of(self.cell, self.activation)

    @property
    def own_output(self) -> Output | None:
        """The output, if it is a user's own."""
        output = output_of(self.output, self.loss)
        return output if output.code == OWN else None

    def names(self) -> list[str]:
        """The names that its functions are kept under, those that take longest to compile first:
        the kernel, `assess`, `begin`, `disturb` if there is one, and, with a rule, the update."""
        end, output = f"{self.regime}-{self.dtype}", self.own_output
        cell = f"{_file_name(self.cell)}-{self.activation}"
        found = [
            f"train-{self.regime}-{cell}{'-disturbed' if self.disturbed else ''}-{self.dtype}",
            f"assess-{end}" if output is None else f"assess-{_file_name(output)}-{end}",
            f"begin-{end}",
            *([f"disturb-{end}"] if self.disturbed else []),
        ]
        if self.rule:
            rule = rule_of(self.rule)
            name = _file_name(rule)
            if rule.built_in:  # rules may share an update
                name = rule.update.__name__.replace("_", "-")
            found.append(f"{name}-{end}")
        return found


def key_of(structure: Structure, regime: str, rule: str, disturbed: bool) -> Key:
    """The key of a network's kernel."""
    s = structure
    return Key(regime, s.cell, s.activation, s.output, s.loss, rule, s.dtype, disturbed)


def _file_name(equations: str) -> str:
    """Text of equations as part of a file's name."""
    return str(equations).replace("@", "-")
