"""The C99 file: a network in float32, its state in a struct, nothing allocated.

The products are taken column by column (a += h[k] W[k]), with fixed bounds, so that compilers
turn them into vector instructions without leave to change the order of sums.
"""

import hashlib
from typing import Any

import numpy as np

from bptt.errors import BpttError
from bptt.exchange.c_text import (
    EXACT,
    FAST,
    FAST_SIGMOID_ERROR,
    FAST_TANH_ERROR,
    SETTLE,
    array,
    checked_name,
    class_names,
    comment,
    named,
    needed,
)
from bptt.exchange.model import Model
from bptt.exchange.players import Ours

MATHS = ("exact", "fast")
# The self-test's inputs and outputs are so many numbers at most, or of fewest steps.
TEST_NUMBERS, MOST_TEST_STEPS, FEWEST_TEST_STEPS = 4096, 64, 4

DECLARED = """#ifndef NET_DECLARED
#define NET_DECLARED

#include <stddef.h>
@INCLUDE@
#ifdef __cplusplus
extern "C" {
#endif

#define NET_INPUTS @D@
#define NET_OUTPUTS @O@

/* All the state there is: copy it to keep it, one for each stream. */
typedef struct {
@FIELDS@
} net_state;

/* The state before the first step. */
void net_reset(net_state *state);

/* One step: x to y. */
void net_step(net_state *state, const float x[NET_INPUTS], float y[NET_OUTPUTS]);

/* Many steps: x (steps, NET_INPUTS) to y (steps, NET_OUTPUTS), row after row. y may be x where a
   row of y is no longer than one of x. */
void net_run(net_state *state, const float *x, float *y, size_t steps);

/* The largest difference between the outputs that this file gives and those that bptt had, over
   @STEPS@ steps, relative to 1 or the output, whichever is larger. */
float net_selftest(void);
@MORE@
#ifdef __cplusplus
}
#endif

#endif

/* Define NET_ONLY_DECLARATIONS before including this file to have the declarations alone. */
#ifndef NET_ONLY_DECLARATIONS

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef NET_CONST
#define NET_CONST const
#endif

"""
LOGITS = """
/* What the last step's outputs were made from, before the @OUTPUT@. */
void net_logits(const net_state *state, float o[NET_OUTPUTS]);
"""
BY_NUMBER = """
/* One step whose input is 1 at place `id` and 0 elsewhere. */
void net_step_id(net_state *state, size_t id, float y[NET_OUTPUTS]);
"""
# One plain loop a function, over numbers that lie in a row: what GCC and Clang both vectorise.
ADVANCES = {
    "elman": """
    for (j = 0; j < @H@; j++)
        h[j] = net_settled(@F@(a[j]));
""",
    "lstm": """
    for (j = 0; j < @2H@; j++) /* i, f */
        a[j] = net_sigmoid(a[j]);
    for (j = @2H@; j < @3H@; j++) /* g */
        a[j] = net_tanh(a[j]);
    for (j = @3H@; j < @4H@; j++) /* o */
        a[j] = net_sigmoid(a[j]);
    for (j = 0; j < @H@; j++)
        c[j] = net_settled(a[@H@ + j] * c[j] + a[j] * a[@2H@ + j]);
    for (j = 0; j < @H@; j++)
        h[j] = net_settled(a[@3H@ + j] * net_tanh(c[j]));
""",
    "gru": """
    for (j = 0; j < @2H@; j++) /* r, z */
        a[j] = net_sigmoid(a[j]);
    for (j = 0; j < @H@; j++) /* n */
        a[@2H@ + j] = net_tanh(a[@2H@ + j] + a[j] * a[@3H@ + j]);
    for (j = 0; j < @H@; j++)
        h[j] = net_settled(a[@2H@ + j] + a[@H@ + j] * (h[j] - a[@2H@ + j]));
""",
}
LAYER = """
/* Layer @L@: a = b + x U, then h W added and the cell's equations. */
static void net_enter@L@(float *a, const float *x)
{
    size_t j, k;
    for (j = 0; j < @K@; j++)
        a[j] = net_b@L@[j];
    for (k = 0; k < @D@; k++) {
        const float v = x[k];
        for (j = 0; j < @G@; j++)
            a[j] += v * net_U@L@[k][j];
    }
}

static void net_advance@L@(float *a, @STATES@)
{
    size_t j@K@;
@PAIRS@@LAST@@ADVANCE@}
"""
# Two rows of W at once: half the reading and writing of a.
PAIRS = """    for (k = 0; k + 1 < @H@; k += 2) {
        const float v = h[k], w = h[k + 1];
        for (j = 0; j < @FED@; j++)
            a[j] += v * net_W@L@[k][j] + w * net_W@L@[k + 1][j];
@CANDIDATE@    }
"""
CANDIDATE = """        for (j = 0; j < @H@; j++)
            a[@3H@ + j] += v * net_W@L@[k][@2H@ + j] + w * net_W@L@[k + 1][@2H@ + j];
"""
# The last row of an odd number of them.
LAST = """    for (j = 0; j < @FED@; j++)
        a[j] += h[@H1@] * net_W@L@[@H1@][j];
@CANDIDATE@"""
LAST_CANDIDATE = """    for (j = 0; j < @H@; j++)
        a[@3H@ + j] += h[@H1@] * net_W@L@[@H1@][@2H@ + j];
"""
# Math exact adds the output's products in double: most of the error over a long run is made here.
SUMS = {
    "exact": {"SUM": "double", "CAST": "(double)", "BACK": "(float)"},
    "fast": {"SUM": "float", "CAST": "", "BACK": ""},
}
OUTPUT = """
static void net_products(const net_state *state, float *o)
{
    size_t i, j, k;
    for (i = 0; i < NET_OUTPUTS; i++) {
        @SUM@ p[8] = { 0 };
        for (k = 0; k + 8 <= @H@; k += 8)
            for (j = 0; j < 8; j++)
                p[j] += @CAST@state->h@TOP@[k + j] * net_V[i][k + j];
        for (; k < @H@; k++)
            p[0] += @CAST@state->h@TOP@[k] * net_V[i][k];
        p[0] = ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]));
        o[i] = @BACK@(net_c[i] + p[0]);
    }
}
"""
FUNCTIONS = {
    "linear": "",
    "sigmoid": """    for (i = 0; i < NET_OUTPUTS; i++)
        o[i] = net_sigmoid(o[i]);
""",
    "softmax": """    for (i = 1, most = o[0]; i < NET_OUTPUTS; i++)
        most = o[i] > most ? o[i] : most;
    for (i = 0; i < NET_OUTPUTS; i++)
        sum += o[i] = expf(o[i] - most);
    for (i = 0; i < NET_OUTPUTS; i++)
        o[i] /= sum;
""",
}
FINISH = """
static void net_finish(net_state *state, float *a, const float *x, float *y)
{
    float o[NET_OUTPUTS]@SUMS@;
    size_t i;
@LAYERS@    net_products(state, o);
@FUNCTION@@SKIP@    for (i = 0; i < NET_OUTPUTS; i++)
        y[i] = @SCALED@;
@UNUSED@}

void net_step(net_state *state, const float x[NET_INPUTS], float y[NET_OUTPUTS])
{
    float a[@K@];
@INTO@    net_enter1(a, @X@);
    net_finish(state, a, @X@, y);
}

void net_run(net_state *state, const float *x, float *y, size_t steps)
{
    size_t t;
    for (t = 0; t < steps; t++)
        net_step(state, x + t * NET_INPUTS, y + t * NET_OUTPUTS);
}
"""
STEP_ID = """
void net_step_id(net_state *state, size_t id, float y[NET_OUTPUTS])
{
    float a[@K@];
    size_t j;
    for (j = 0; j < @K@; j++)
        a[j] = net_b1[j];
    for (j = 0; j < @G@; j++)
        a[j] += net_U1[id][j];
    net_finish(state, a, net_b1, y);
}
"""
SELFTEST = """
float net_selftest(void)
{
    net_state state;
    float worst = 0.0f, y[NET_OUTPUTS];
    size_t i, t;
    net_reset(&state);
    for (t = 0; t < @STEPS@; t++) {
        net_step(&state, net_test_x[t], y);
        for (i = 0; i < NET_OUTPUTS; i++) {
            const float size = fabsf(net_test_y[t][i]);
            const float apart = fabsf(y[i] - net_test_y[t][i]) / (size > 1.0f ? size : 1.0f);
            worst = apart <= worst ? worst : apart;
        }
    }
    return worst;
}

#endif
"""


def filled(piece: str, **values: Any) -> str:
    """A piece with what stands between @ signs put in."""
    for name, value in values.items():
        piece = piece.replace(f"@{name.lstrip('_')}@", str(value))
    return piece


def _sizes(H: int) -> dict[str, int]:
    return {"H": H, "_2H": 2 * H, "_3H": 3 * H, "_4H": 4 * H, "H1": H - 1}


def _layer(model: Model, index: int) -> str:
    s, cell = model.structure, model.structure.equations
    H, L = s.hidden, index + 1
    gru = s.cell == "gru"
    function = "(a[j] > 0.0f ? a[j] : a[j] * 0.0f)" if s.activation == "relu" else None
    advance = ADVANCES[s.cell]
    if function:
        advance = advance.replace("@F@(a[j])", function)
    pairs = PAIRS.replace("@CANDIDATE@", CANDIDATE if gru else "") if H > 1 else ""
    last = LAST.replace("@CANDIDATE@", LAST_CANDIDATE if gru else "") if H % 2 else ""
    piece = LAYER.replace("size_t j@K@", "size_t j, k" if H > 1 else "size_t j")
    piece = filled(piece, PAIRS=pairs, LAST=last, ADVANCE=advance)
    return filled(
        piece, L=L, K=len(cell.preactivations) * H, D=s.layer_inputs(index), G=cell.gates * H,
        FED=(2 if gru else cell.gates) * H, STATES=", ".join(f"float *{v}" for v in cell.states),
        F=f"net_{s.activation}", **_sizes(H),
    )  # fmt: skip


def selftest_data(model: Model) -> tuple[Any, Any]:
    """Inputs (T, D) and the network's own outputs (T, O) in float64, for a file's self-test."""
    s = model.structure
    steps = min(max(TEST_NUMBERS // (s.inputs + s.outputs), FEWEST_TEST_STEPS), MOST_TEST_STEPS)
    rng = np.random.default_rng(1)
    x = np.eye(s.inputs)[rng.integers(0, s.inputs, steps)] if model.ids else None
    if x is None:
        x = rng.standard_normal((steps, s.inputs))
        x = x / model.scaling.input_scale + model.scaling.input_shift if model.scaling else x
    x = x.astype(np.float32)
    return x, Ours(model).run(x)


def constants(model: Model) -> str:
    """The weights, the initial state, the scaling and the self-test's numbers."""
    s, parts = model.structure, []
    for index in range(s.layers):
        for letter, value in zip("UWb", model.layer(index), strict=True):
            parts.append(array("float", f"net_{letter}{index + 1}", value))
    V, c = model.head
    parts += [array("float", "net_V", V.T), array("float", "net_c", c)]
    if s.initial_state == "trainable":
        parts.append(array("float", "net_initial", model.initial().reshape(-1)))
    if model.scaling:
        for name in ("input_shift", "input_scale", "output_shift", "output_scale"):
            parts.append(array("float", f"net_{name}", getattr(model.scaling, name)))
    for letter, values in zip("xy", selftest_data(model), strict=True):
        parts.append(array("float", f"net_test_{letter}", values))
    return "\n".join(parts)


def _reset(model: Model) -> str:
    if model.structure.initial_state == "trainable":
        body = "    memcpy(state, net_initial, sizeof *state);"
    else:
        body = "    memset(state, 0, sizeof *state);"
    return f"\nvoid net_reset(net_state *state)\n{{\n{body}\n}}\n"


def _finish(model: Model) -> str:
    s = model.structure
    letters = s.equations.states
    calls = []
    for index in range(s.layers):
        if index:
            calls.append(f"    net_enter{index + 1}(a, state->h{index});\n")
        states = ", ".join(f"state->{letter}{index + 1}" for letter in letters)
        calls.append(f"    net_advance{index + 1}(a, {states});\n")
    skip = ""
    if model.skip:
        skip = f"    for (i = 0; i < {model.skip}; i++)\n        o[i] += x[i];\n"
    scaled = "o[i] * net_output_scale[i] + net_output_shift[i]" if model.scaling else "o[i]"
    into = ""
    if model.scaling:
        into = (
            "    float u[NET_INPUTS];\n    size_t i;\n    for (i = 0; i < NET_INPUTS; i++)\n"
            "        u[i] = (x[i] - net_input_shift[i]) * net_input_scale[i];\n"
        )
    return filled(
        FINISH, LAYERS="".join(calls), FUNCTION=FUNCTIONS[s.output], SKIP=skip, SCALED=scaled,
        INTO=into, X="u" if model.scaling else "x", UNUSED="" if model.skip else "    (void)x;\n",
        SUMS=", most, sum = 0.0f" if s.output == "softmax" else "",
        K=len(s.equations.preactivations) * s.hidden,
    )  # fmt: skip


def fields(model: Model) -> str:
    """The state's arrays."""
    s = model.structure
    names = [f"{letter}{k + 1}" for k in range(s.layers) for letter in s.equations.states]
    return "\n".join(f"    float {name}[{s.hidden}];" for name in names)


def heading(model: Model, name: str, words: str, bytes_of_state: int = 4) -> str:
    """The comment that the file begins with."""
    from bptt.version import __version__

    s = model.structure
    numbers = s.layout().size
    state = bytes_of_state * s.layers * len(s.equations.states) * s.hidden
    digest = hashlib.sha256(b"".join(w.tobytes() for w in model.weights.values())).hexdigest()
    rate = model.notes.get("sample_rate")
    lines = [
        f"{name}: {model.kind} {model.sizes}, output {s.output}; {numbers:,} weights, "
        f"state {state:,} bytes.",
        *words.split("\n"),
        *([f"Made for {rate} samples a second."] if rate else []),
        f"Made by bptt {__version__}; sha256 of the weights {digest[:16]}.",
        "C99, or C++17. No allocation, nothing that changes but the state you hand in.",
    ]
    return "/* " + "\n   ".join(map(comment, lines)) + " */\n"


def math_words(math: str) -> str:
    """What the heading says of the arithmetic."""
    if math == "exact":
        return "Math exact: tanhf and expf of the C library."
    return (
        f"Math fast: tanh within {FAST_TANH_ERROR:.1e} and sigmoid within "
        f"{FAST_SIGMOID_ERROR:.1e} of the true\nvalue, everywhere; compile with -O3 for vectors."
    )


def c_source(model: Model, name: str = "net", math: str = "exact") -> str:
    """The file. Raises BpttError for a name or `math` that is not allowed."""
    checked_name(name)
    if math not in MATHS:
        raise BpttError(f"math '{math}' is not known: choose 'exact' or 'fast'")
    s = model.structure
    more, last = "", ""
    if s.output != "linear":
        more += LOGITS.replace("@OUTPUT@", s.output)
        last += (
            "\nvoid net_logits(const net_state *state, float o[NET_OUTPUTS])\n"
            "{\n    net_products(state, o);\n}\n"
        )
    if model.ids:
        more += BY_NUMBER
        H, cell = s.hidden, s.equations
        last += filled(STEP_ID, K=len(cell.preactivations) * H, G=cell.gates * H)
    if model.classes:
        declared, defined = class_names(model.classes)
        more, last = more + declared, last + defined
    steps = len(selftest_data(model)[0])
    layers = "".join(_layer(model, index) for index in range(s.layers))
    sizes = {"D": s.inputs, "O": s.outputs, "STEPS": steps, "INCLUDE": ""}
    output = filled(OUTPUT, H=s.hidden, TOP=s.layers, **SUMS[math])
    body = layers + output + _reset(model) + _finish(model) + last
    piece = (
        filled(DECLARED, FIELDS=fields(model), MORE=more, **sizes) + constants(model)
        + needed((FAST if math == "fast" else EXACT) + SETTLE, body) + body
        + filled(SELFTEST, **sizes)
    )  # fmt: skip
    return heading(model, name, math_words(math)) + named(piece, name)
