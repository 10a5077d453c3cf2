"""The C99 file with int8 weights and a 16-bit state; its arithmetic is that of `fixed`."""

import re
from typing import Any

import numpy as np

from bptt.errors import BpttError
from bptt.exchange.c_reader import c_arrays, c_heading
from bptt.exchange.c_source import DECLARED, SELFTEST, filled, heading, selftest_data
from bptt.exchange.c_text import array, checked_name, class_names, named, needed
from bptt.exchange.fixed import FixedTwin, Numbers
from bptt.exchange.model import Model

KINDS = {"U": "int8_t", "W": "int8_t", "V": "int8_t", "m": "int32_t", "b": "int32_t",
         "c": "int32_t", "t": "int16_t", "i": "int16_t"}  # fmt: skip
DECLARED_WHOLE = """
/* One step in whole numbers of 16 bits: x in units of 2^@X@, y in units of 2^@Y@@WHAT@. */
void net_step_q(net_state *state, const int16_t x[NET_INPUTS], int16_t y[NET_OUTPUTS]);
"""
FUNCTIONS = """
/* Right shifts of negative numbers must keep the sign, as all known compilers do. */
typedef char net_shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];

static int32_t net_held(int64_t a, int32_t most)
{
    return a > most ? most : a < -most ? -most : (int32_t)a;
}

static int32_t net_rounded(int32_t a, int shift)
{
    return shift == 0 ? a : (a + ((int32_t)1 << (shift - 1))) >> shift;
}

static int16_t net_saturated(int32_t a)
{
    return (int16_t)(a > 32767 ? 32767 : a < -32768 ? -32768 : a);
}

/* 16 binary places to 15. */
static int32_t net_tanh(int32_t a)
{
    const int32_t size = a < 0 ? (a < -524288 ? 524288 : -a) : (a > 524288 ? 524288 : a);
    const int32_t place = size >> 11 > 255 ? 255 : size >> 11;
    const int32_t low = net_tanh_table[place], high = net_tanh_table[place + 1];
    const int32_t value = low + (((high - low) * (size - place * 2048) + 1024) >> 11);
    return a < 0 ? -value : value;
}

static int32_t net_sigmoid(int32_t a)
{
    return (32768 + net_tanh(a >> 1)) >> 1;
}
"""
LAYER = """
static void net_advance@L@(const int16_t *x, @STATES@)
{
    int32_t u[@G@] = { 0 }, w[@G@] = { 0 };
    size_t j, k;
    for (k = 0; k < @D@; k++)
        for (j = 0; j < @G@; j++)
            u[j] += (int32_t)x[k] * net_U@L@[k][j];
    for (k = 0; k < @H@; k++)
        for (j = 0; j < @G@; j++)
            w[j] += (int32_t)h[k] * net_W@L@[k][j];
    for (j = 0; j < @H@; j++) {
@CELL@    }
}
"""
BOTH = (
    "net_held((((int64_t)u[{k}] * net_mu@L@[{k}] + (int64_t)w[{k}] * net_mw@L@[{k}]"
    " + @HALF@) >> @SHIFT@) + net_b@L@[{k}], 16777216)"
)
ONE = (
    "net_held((((int64_t){v}[{k}] * net_m{v}@L@[{k}] + @HALF@) >> @SHIFT@) + net_b@L@[{b}], "
    "16777216)"
)
CELLS = {
    "elman": f"""        const int32_t a = {BOTH.format(k="j")};
        h[j] = (int16_t)@F@(a);
""",
    "lstm": f"""        const int32_t i = net_sigmoid(
            {BOTH.format(k="j")});
        const int32_t f = net_sigmoid(
            {BOTH.format(k="@H@ + j")});
        const int32_t g = net_tanh(
            {BOTH.format(k="@2H@ + j")});
        const int32_t o = net_sigmoid(
            {BOTH.format(k="@3H@ + j")});
        c[j] = net_saturated(net_rounded(f * c[j] + net_rounded(i * g, @C@), 15));
        h[j] = (int16_t)net_rounded(o * net_tanh(c[j] * @UP@), 15);
""",
    "gru": f"""        const int32_t r = net_sigmoid(
            {BOTH.format(k="j")});
        const int32_t z = net_sigmoid(
            {BOTH.format(k="@H@ + j")});
        const int32_t q =
            {ONE.format(v="w", k="@2H@ + j", b="@3H@ + j")};
        const int32_t a =
            {ONE.format(v="u", k="@2H@ + j", b="@2H@ + j")};
        const int32_t n = net_tanh(a + (int32_t)(((int64_t)r * q) >> 15));
        h[j] = (int16_t)(n + net_rounded(z * (h[j] - n), 15));
""",
}
STEP = """
void net_step_q(net_state *state, const int16_t x[NET_INPUTS], int16_t y[NET_OUTPUTS])
{
    size_t i, k;
@LAYERS@    for (i = 0; i < NET_OUTPUTS; i++) {
        int32_t sum = 0, o;
        for (k = 0; k < @H@; k++)
            sum += (int32_t)state->h@TOP@[k] * net_V[i][k];
        o = net_held((((int64_t)sum * net_mv[i] + @HALF@) >> @SHIFT@) + net_c[i], 16777216);
@FINISH@    }
}

void net_step(net_state *state, const float x[NET_INPUTS], float y[NET_OUTPUTS])
{
    int16_t whole_x[NET_INPUTS], whole_y[NET_OUTPUTS];
    size_t i;
    for (i = 0; i < NET_INPUTS; i++) {
        float v = @INTO@ * @UNITS@;
        v = v > 32767.0f ? 32767.0f : v < -32767.0f ? -32767.0f : v;
        whole_x[i] = (int16_t)(v < 0.0f ? v - 0.5f : v + 0.5f);
    }
    net_step_q(state, whole_x, whole_y);
    for (i = 0; i < NET_OUTPUTS; i++)
        y[i] = (float)whole_y[i] * @UNIT@;
@SOFTMAX@@OUT@}

void net_run(net_state *state, const float *x, float *y, size_t steps)
{
    size_t t;
    for (t = 0; t < steps; t++)
        net_step(state, x + t * NET_INPUTS, y + t * NET_OUTPUTS);
}
"""
SOFTMAX = """    {
        float most = y[0], sum = 0.0f;
        for (i = 1; i < NET_OUTPUTS; i++)
            most = y[i] > most ? y[i] : most;
        for (i = 0; i < NET_OUTPUTS; i++)
            sum += y[i] = expf(y[i] - most);
        for (i = 0; i < NET_OUTPUTS; i++)
            y[i] /= sum;
    }
"""


def _unit(exponent: int) -> str:
    return f"{(2.0**exponent).hex().replace('0x1.0000000000000', '0x1')}f"


def _layer(model: Model, numbers: Numbers, index: int) -> str:
    s, H = model.structure, model.structure.hidden
    states = ", ".join(f"int16_t *{letter}" for letter in s.equations.states)
    shift, places = numbers.shifts[index], numbers.places["c"]
    return filled(
        LAYER.replace("@CELL@", CELLS[s.cell]), L=index + 1, STATES=states,
        G=s.equations.gates * H, D=s.layer_inputs(index), HALF=1 << (shift - 1), SHIFT=shift,
        F=f"net_{s.activation}", C=places, UP=2 << places, H=H, _2H=2 * H, _3H=3 * H,
    )  # fmt: skip


def _finish(numbers: Numbers) -> str:
    if numbers.output == "sigmoid":
        return "        y[i] = (int16_t)net_sigmoid(o);\n"
    skip = ""
    if numbers.skip:
        up = numbers.places["x"] - numbers.places["y"]
        added = f"x[i] * {1 << up}" if up >= 0 else f"net_rounded(x[i], {-up})"
        skip = f"        o += i < {numbers.skip} ? {added} : 0;\n"
    return f"{skip}        y[i] = net_saturated(o);\n"


def _step(model: Model, numbers: Numbers) -> str:
    s = model.structure
    calls = []
    for index in range(s.layers):
        states = ", ".join(f"state->{letter}{index + 1}" for letter in s.equations.states)
        calls.append(
            f"    net_advance{index + 1}({f'state->h{index}' if index else 'x'}, {states});\n"
        )
    scaled = "((x[i] - net_input_shift[i]) * net_input_scale[i])"
    out = (
        "    for (i = 0; i < NET_OUTPUTS; i++)\n"
        "        y[i] = y[i] * net_output_scale[i] + net_output_shift[i];\n"
    )
    shift = numbers.shifts[-1]
    return filled(
        STEP, LAYERS="".join(calls), H=s.hidden, TOP=s.layers, HALF=1 << (shift - 1), SHIFT=shift,
        FINISH=_finish(numbers), INTO=scaled if numbers.scaling else "x[i]",
        UNITS=_unit(15 - numbers.places["x"]),
        UNIT=_unit(-15 if numbers.output == "sigmoid" else numbers.places["y"] - 15),
        SOFTMAX=SOFTMAX if numbers.output == "softmax" else "",
        OUT=out if numbers.scaling else "",
    )  # fmt: skip


def _constants(model: Model, numbers: Numbers) -> tuple[str, int]:
    """All arrays, and the steps of the self-test, whose outputs must be met exactly."""
    parts = [array(KINDS[name[0]], f"net_{name}", v) for name, v in numbers.arrays.items()]
    parts += [array("float", f"net_{name}", v) for name, v in numbers.scaling.items()]
    x, _ = selftest_data(model)
    outputs = FixedTwin(numbers).run(x)
    parts += [array("float", "net_test_x", x), array("float", "net_test_y", outputs)]
    return "\n".join(parts), len(x)


def c_fixed_source(model: Model, numbers: Numbers, name: str = "net") -> str:
    """The file. Raises BpttError for a name that C does not allow."""
    checked_name(name)
    s, places = model.structure, numbers.places
    constants, steps = _constants(model, numbers)
    state = "\n".join(
        f"    int16_t {letter}{k + 1}[{s.hidden}];"
        for k in range(s.layers)
        for letter in s.equations.states
    )
    what = ", before the softmax" if s.output == "softmax" else ""
    unit = -15 if s.output == "sigmoid" else places["y"] - 15
    more = filled(DECLARED_WHOLE, X=places["x"] - 15, Y=unit, WHAT=what)
    last = ""
    if model.classes:
        declared, last = class_names(model.classes)
        more += declared
    sizes = {"D": s.inputs, "O": s.outputs, "STEPS": steps, "INCLUDE": "#include <stdint.h>\n"}
    initial = s.initial_state == "trainable"
    body = "memcpy(state, net_initial, sizeof *state)" if initial else (
        "memset(state, 0, sizeof *state)")  # fmt: skip
    code = (
        "".join(_layer(model, numbers, index) for index in range(s.layers))
        + f"\nvoid net_reset(net_state *state)\n{{\n    {body};\n}}\n" + _step(model, numbers)
    )  # fmt: skip
    piece = (
        filled(DECLARED, FIELDS=state, MORE=more, **sizes) + constants
        + needed(FUNCTIONS, code) + code + last + filled(SELFTEST, **sizes)
    )  # fmt: skip
    shifts = " ".join(map(str, numbers.shifts))
    words = (
        "Weights int8 by output column, state 16 bits, no float but at the edges of net_step.\n"
        f"Ranges 2^{places['x']} of x, 2^{places['c']} of c, 2^{places['y']} of y; shifts {shifts}."
        f" Skip {numbers.skip}."
    )
    return heading(model, name, words, bytes_of_state=2) + named(piece, name)


def read_numbers(text: str) -> Numbers:
    """What a file holds, for `FixedTwin`. Raises BpttError if it is not such a file."""
    _, cell, output = c_heading(text)
    match = re.search(
        r"Ranges 2\^(-?\d+) of x, 2\^(-?\d+) of c, 2\^(-?\d+) of y; shifts ([\d ]+)\. Skip (\d+)",
        text,
    )
    if not match:
        raise BpttError("this C file has no int8 weights that bptt wrote")
    arrays: dict[str, Any] = c_arrays(text)
    names = ("input_shift", "input_scale", "output_shift", "output_scale")
    scaling = {name: arrays.pop(name) for name in names if name in arrays}
    places = dict(zip("xcy", map(int, match.group(1, 2, 3)), strict=True))
    kept = {name: np.asarray(v) for name, v in arrays.items() if not name.startswith("test_")}
    shifts = [int(shift) for shift in match[4].split()]
    return Numbers(cell, output, kept, places, shifts, int(match[5]), scaling)
