"""Pieces of C that every exported file is put together from.

`NET` in a piece stands for the name in capitals, `net` for the name as it is.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if
        inline int long register restrict return short signed sizeof static struct switch typedef
        union unsigned void volatile while bool true false class new delete this template typename
        try catch throw public private protected virtual using namespace operator friend main
        memcpy memset size_t tanhf expf fabsf""",
    )
)
WIDTH = 100


def checked_name(name: str) -> str:
    """The name that all of a file's names begin with. Raises BpttError if C does not allow it."""
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{0,39}", name) or name in KEYWORDS:
        raise BpttError(
            f"name '{name:.60}' cannot be one in C: give a letter, then letters, digits or '_', "
            "40 at most, and none of C's own words"
        )
    return name


def named(piece: str, name: str) -> str:
    """A piece of C with the file's name put in."""
    piece = re.sub(r"\bNET(?=_|\b)", name.upper(), piece)
    return re.sub(r"\bnet(?=_)", name, piece)


def literal(value: Any) -> str:
    """A number as C reads it back exactly: hexadecimal for float32, decimal for integers."""
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    text = re.sub(r"\.?0+p", "p", float(np.float32(value)).hex())
    return f"{text}f"


def _lines(items: Iterable[str]) -> str:
    """Items in lines of at most WIDTH characters."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line])


def array(kind: str, name: str, values: NDArray[Any]) -> str:
    """A constant array of one or two axes."""
    sizes = "".join(f"[{size}]" for size in values.shape)
    if values.ndim == 1:
        body = _lines(map(literal, values))
    else:
        body = "\n".join(f"    {{\n{_lines(map(literal, row))}\n    }}," for row in values)
    return f"static NET_CONST {kind} {name}{sizes} = {{\n{body.rstrip(',')}\n}};\n"


def quoted(text: str) -> str:
    """A text as a C string: plain ASCII as it is, all other bytes in octal."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\"), ord("?")}
    octets = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in octets) + '"'


def comment(text: str) -> str:
    """A text that may stand in a comment."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *")


def class_names(names: Sequence[str]) -> tuple[str, str]:
    """Declaration and definition of the outputs' names, and of the largest output's number."""
    declared = """
/* The outputs' names, and the number of the largest output. */
extern const char *const net_classes[NET_OUTPUTS];
size_t net_class(const float y[NET_OUTPUTS]);
"""
    defined = f"""
const char *const net_classes[NET_OUTPUTS] = {{
{_lines(map(quoted, names)).rstrip(",")}
}};

size_t net_class(const float y[NET_OUTPUTS])
{{
    size_t best = 0, i;
    for (i = 1; i < NET_OUTPUTS; i++)
        best = y[i] > y[best] ? i : best;
    return best;
}}
"""
    return declared, defined


def needed(functions: str, body: str) -> str:
    """Those of the functions, divided by empty lines, that the body calls or that those call:
    compilers warn of others."""
    kept: list[str] = []
    for piece in reversed(functions.strip("\n").split("\n\n")):
        found = re.search(r"(net_\w+)\(", piece)
        text = body + "".join(kept)
        if not piece.startswith(("static", "/*")) or not found or f"{found[1]}(" in text:
            kept.append(f"{piece}\n\n")
    return "\n" + "".join(reversed(kept))


# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 8, beyond that as at 8: the best such fraction with these
# degrees (found by linear programs, largest error 1.0e-7), its numbers rounded to float32. Lowest
# power first.
NUMERATOR = (
    "0x1.fffff8p-1", "0x1.0def1ap-3", "0x1.aae55ep-9", "0x1.172cfap-16", "0x1.0827c2p-27"
)  # fmt: skip
DENOMINATOR = (
    "0x1p0", "0x1.dc4c9p-2", "0x1.991ccep-6", "0x1.2f759ap-12", "0x1.2730bep-21"
)  # fmt: skip
# The largest errors over all float32 numbers were 3.8e-7 and 2.2e-7, with and without fused
# multiplication and addition (python -m benchmarks.fast_functions); stated is a tenth more.
FAST_TANH_ERROR, FAST_SIGMOID_ERROR = 4.2e-7, 2.5e-7


def _horner(variable: str, numbers: Sequence[str]) -> str:
    lines = [f"    {variable} = {numbers[-1]}f;"]
    lines += [f"    {variable} = {variable} * s + {number}f;" for number in numbers[-2::-1]]
    return "\n".join(lines)


FAST = f"""
/* x is held within -8 and 8 by its bits, which compilers vectorise; NaN stays NaN. */
static float net_tanh(float x)
{{
    float s, p, q;
    int32_t bits, size;
    memcpy(&bits, &x, sizeof bits);
    size = bits & 0x7fffffff;
    size = ((size > 0x41000000) & (size <= 0x7f800000)) ? 0x41000000 : size;
    size |= bits & (-0x7fffffff - 1);
    memcpy(&x, &size, sizeof x);
    s = x * x;
{_horner("p", NUMERATOR)}
{_horner("q", DENOMINATOR)}
    return x * p / q;
}}

static float net_sigmoid(float x)
{{
    return 0.5f + 0.5f * net_tanh(0.5f * x);
}}
"""
EXACT = """
static float net_tanh(float x)
{
    return tanhf(x);
}

static float net_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
"""
SETTLE = """
/* A state smaller than 1e-30 becomes 0: numbers too small to be normal are slow. */
static float net_settled(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0x7fffffff) < 0x0da24260 ? 0 : bits;
    memcpy(&x, &bits, sizeof x);
    return x;
}
"""
