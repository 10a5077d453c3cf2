"""The mistakes: what each is, where it has been made, and how the right line becomes the wrong one.

All but one were found in people's code or questions; `seen` says where (owner/name#N is an issue
or pull request on GitHub).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from inspect import getsource
from typing import NamedTuple

from bptt.arguments import one_of
from bptt.errors import not_there
from bptt.mistakes import programs
from bptt.mistakes.programs import PROGRAMS, Program


class Change(NamedTuple):
    """A line's part, which stands once in the program, what becomes of it, and the number of the
    equation that is then wrong."""

    right: str
    wrong: str
    equation: int


@dataclass(frozen=True)
class Mistake:
    """name, words: what is wrong. changes: by cell. seen: where it was made."""

    name: str
    words: str
    changes: Mapping[str, Change]
    seen: str = ""


_SUM = 'dh = do[t] @ p["V"].T + dh_next'
_LSTM_DC = "dc = dc_next + dh * o[t] * (1 - tanh_c**2)"
_JOINED = 'np.concatenate([p["U"], p["W"]])[: len(p["W"])].T'
_SWAPPED = "np.concatenate([da_i, da_f, da_o, da_g], axis=1)"


def _alike(right: str, wrong: str, equation: int) -> dict[str, Change]:
    """The same change in all cells."""
    return dict.fromkeys(PROGRAMS, Change(right, wrong, equation))


TABLE = (
    Mistake(
        "nothing carried", "what comes back from step t + 1 is not added to dh",
        _alike(_SUM, 'dh = do[t] @ p["V"].T', 2),
        "CaptainE/RNN-LSTM-in-numpy#1; community.deeplearning.ai/t/534149",
    ),
    Mistake(
        "only carried", "a step's own loss is left out of dh, but for the last step's",
        _alike(_SUM, 'dh = dh_next if t + 1 < len(x) else do[t] @ p["V"].T', 2),
        "community.deeplearning.ai/t/157244",
    ),
    Mistake(
        "cell not carried", "dc is set where it should be added to: what comes back from step "
        "t + 1 by the cell state is lost",
        {"lstm": Change(_LSTM_DC, "dc = dh * o[t] * (1 - tanh_c**2)", 13)},
        "CaptainE/RNN-LSTM-in-numpy#1; apache/mxnet#4057",
    ),
    Mistake(
        "direct path lost", "of h = (1 - z) n + z h_prev the second part is not followed back",
        {"gru": Change(' @ p["W"].T + dh * z[t]', ' @ p["W"].T', 19)},
        "apache/mxnet#4057 has the LSTM's",
    ),
    Mistake(
        "sigmoid, not its derivative", "a gate's sigmoid stands where its derivative belongs",
        {
            "lstm": Change("f[t] * (1 - f[t])", "f[t]", 15),
            "gru": Change("z[t] * (1 - z[t])", "z[t]", 21),
        },
        "CaptainE/RNN-LSTM-in-numpy#1; nicklashansen/rnn_lstm_from_scratch#1",
    ),
    Mistake(
        "tanh twice", "the derivative of tanh is taken of a value that tanh has given already",
        {
            "elman": Change("(1 - h[t + 1] ** 2)", "(1 - np.tanh(h[t + 1]) ** 2)", 5),
            "lstm": Change("(1 - g[t] ** 2)", "(1 - np.tanh(g[t]) ** 2)", 15),
            "gru": Change("(1 - n[t] ** 2)", "(1 - np.tanh(n[t]) ** 2)", 20),
        },
        "davidrmiller/neural2d#40",
    ),
    Mistake(
        "sign of the derivative", "1 + tanh^2 stands where 1 - tanh^2 belongs",
        {
            "elman": Change("(1 - h[t + 1] ** 2)", "(1 + h[t + 1] ** 2)", 5),
            "lstm": Change("(1 - tanh_c**2)", "(1 + tanh_c**2)", 13),
            "gru": Change("(1 - n[t] ** 2)", "(1 + n[t] ** 2)", 20),
        },
        "nicodjimenez/lstm#41",
    ),
    Mistake(
        "tanh left out", "the derivative of a tanh is left out",
        {
            "elman": Change("da = dh * (1 - h[t + 1] ** 2)", "da = dh.copy()", 5),
            "lstm": Change("dh * o[t] * (1 - tanh_c**2)", "dh * o[t]", 13),
            "gru": Change("(1 - z[t]) * (1 - n[t] ** 2)", "(1 - z[t])", 20),
        },
        "nicodjimenez/lstm#47; discuss.d2l.ai/t/backpropagation-through-time/334",
    ),
    Mistake(
        "another gate's", "a gate's delta is made with another gate's values, by copy and paste",
        {
            "lstm": Change("dc * c[t] * f[t] * (1 - f[t])", "dc * c[t] * i[t] * (1 - i[t])", 15),
            "gru": Change("q[t] * r[t] * (1 - r[t])", "q[t] * z[t] * (1 - z[t])", 21),
        },
        "hanbt/learn_dl#53",
    ),
    Mistake(
        "biases exchanged", "two gates' biases get each other's derivatives",
        {
            "lstm": Change('d["b"] += da.sum', f'd["b"] += {_SWAPPED}.sum', 3),
            "gru": Change("[da_r, da_z, da_n, da_q]", "[da_z, da_r, da_n, da_q]", 3),
        },
        "ddbourgin/numpy-ml#42",
    ),
    Mistake(
        "not transposed", "W stands where its transpose belongs, on the way back",
        {"elman": Change('dh_next = da @ p["W"].T', 'dh_next = da @ p["W"]', 2)},
        "where W is square no shape tells",
    ),
    Mistake(
        "the state after", "the state after the step stands where the one before it belongs, in dW",
        {
            "elman": Change('d["W"] += h[t].T', 'd["W"] += h[t + 1].T', 3),
            "lstm": Change('d["W"] += h[t].T', 'd["W"] += h[t + 1].T', 3),
            "gru": Change('d["W"] += h[t].T', 'd["W"] += h[t + 1].T', 3),
        },
        "jinzishuai/learn2deeplearn#44",
    ),
    Mistake(
        "parts exchanged", "of U and W in one matrix the first rows are taken for W's, on the way "
        "back; they are U's",
        {
            "elman": Change('dh_next = da @ p["W"].T', f"dh_next = da @ {_JOINED}", 2),
            "lstm": Change('dh_next = da @ p["W"].T', f"dh_next = da @ {_JOINED}", 2),
            "gru": Change('dh_next = da_h @ p["W"].T', f"dh_next = da_h @ {_JOINED}", 2),
        },
        "a course's forum, on W[:, :n_a]",
    ),
    Mistake(
        "not summed over time", "db is set at every step where it should be added to",
        _alike('d["b"] += ', 'd["b"] = ', 3),
    ),
)  # fmt: skip
MISTAKES = {mistake.name: mistake for mistake in TABLE}


def known(cell: str) -> list[str]:
    """The names of the mistakes that can be made in a cell."""
    one_of("cell", cell, PROGRAMS)
    return [mistake.name for mistake in TABLE if cell in mistake.changes]


def source(cell: str, name: str | None = None) -> str:
    """The program of a cell as text, with a mistake or without.

    Raises BpttError for a mistake that is not known, or not of that cell.
    """
    text = getsource(PROGRAMS[one_of("cell", cell, PROGRAMS)])
    if name is None:
        return text
    if name not in known(cell):
        raise not_there("mistake", name, known(cell))
    change = MISTAKES[name].changes[cell]
    assert text.count(change.right) == 1, f"'{change.right}' must stand once in {cell}"
    return text.replace(change.right, change.wrong)


@cache
def program(cell: str, name: str | None = None) -> Program:
    """The program of a cell as a function, with a mistake or without. Raises as `source`."""
    if name is None:
        return PROGRAMS[one_of("cell", cell, PROGRAMS)]
    space = dict(vars(programs))
    exec(compile(source(cell, name), "<planted>", "exec"), space)
    made: Program = space[cell]
    return made
