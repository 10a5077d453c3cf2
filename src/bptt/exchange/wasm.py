"""WebAssembly: the C file compiled by clang or Zig, and the JavaScript that runs it.

The module imports nothing: tanh and exp come from the file's own functions (math 'fast'), so it
runs in a browser's audio thread, in Node and in any runtime. It exports memory, `net_reset`,
`net_step`, `net_run` and `net_selftest`, and `net_places`, where state, x and y are.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.c_source import c_source
from bptt.exchange.model import Model
from bptt.exchange.verification import Checked, compare

Array = NDArray[Any]
BLOCK = 128  # frames that a browser's audio thread hands over at once
EXPORTS = ("reset", "step", "run", "selftest", "places")
TAIL = """
static net_state places_state;
static float places_x[{block} * NET_INPUTS], places_y[{block} * NET_OUTPUTS];

void *net_places(int which)
{{
    return which == 0 ? (void *)&places_state : which == 1 ? (void *)places_x : (void *)places_y;
}}
"""
# What a module without a C library needs; the compiler may call memset and memcpy by itself.
LIBRARY = """
void *memcpy(void *to, const void *from, unsigned long n)
{
    char *a = to;
    const char *b = from;
    for (unsigned long i = 0; i < n; i++)
        a[i] = b[i];
    return to;
}

void *memset(void *to, int value, unsigned long n)
{
    char *a = to;
    for (unsigned long i = 0; i < n; i++)
        a[i] = (char)value;
    return to;
}

float fabsf(float x)
{
    return __builtin_fabsf(x);
}

float expf(float x)
{
    /* e^x = 2^n e^r, |r| <= ln 2 / 2, by its series: within 2e-7 of the true value, relatively. */
    float n, r, e;
    int bits;
    if (x < -87.0f)
        return 0.0f;
    x = x > 88.0f ? 88.0f : x;
    n = __builtin_floorf(x * 1.44269504f + 0.5f);
    r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    e = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f
        + r * (0.00833333333f + r * 0.00138888889f)))));
    bits = ((int)n + 127) << 23;
    memcpy(&r, &bits, sizeof r);
    return e * r;
}
"""
HEADERS = {
    "stddef.h": "typedef unsigned long size_t;\n#define NULL 0\n",
    "stdint.h": "typedef signed char int8_t;\ntypedef short int16_t;\ntypedef int int32_t;\n"
                "typedef long long int64_t;\n",
    "string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n"
                "void *memset(void *, int, size_t);\n",
    "math.h": "float fabsf(float);\nfloat expf(float);\nfloat tanhf(float);\n",
}  # fmt: skip
JAVASCRIPT = """// Runs {stem}.wasm: node {stem}.mjs, or load() in a browser or worklet.
export async function load(bytes) {{
  const {{ instance }} = await WebAssembly.instantiate(bytes, {{}});
  const net = instance.exports, inputs = {inputs}, outputs = {outputs}, block = {block};
  const [state, x, y] = [0, 1, 2].map((which) => net.{name}_places(which));
  const view = (at, count) => new Float32Array(net.memory.buffer, at, count);
  net.{name}_reset(state);
  return {{
    inputs, outputs,
    reset: () => net.{name}_reset(state),
    selftest: () => net.{name}_selftest(),
    keep: () => view(state, {state}).slice(),
    putBack: (kept) => view(state, {state}).set(kept),
    step(given) {{ // one step: arrays of inputs in, a view of the outputs out
      view(x, inputs).set(given);
      net.{name}_step(state, x, y);
      return view(y, outputs);
    }},
    run(given, steps) {{ // at most {block} steps, row after row: an audio thread's block
      view(x, steps * inputs).set(given);
      net.{name}_run(state, x, y, steps);
      return view(y, steps * outputs);
    }},
  }};
}}
if (typeof process !== "undefined" && process.argv[1]?.endsWith("{stem}.mjs")) {{
  const {{ readFile }} = await import("node:fs/promises");
  const net = await load(await readFile(process.argv[1].replace(/mjs$/, "wasm")));
  console.log("self-test, worst difference:", net.selftest());
}}
"""


def _commands() -> list[list[str]]:
    """What can compile C to WebAssembly here, with what it needs to be told."""
    found = []
    if shutil.which("clang") and shutil.which("wasm-ld"):
        found.append(["clang", "--target=wasm32"])
    if find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc", "--target=wasm32-freestanding"])
    return found


def _sources(model: Model, name: str) -> str:
    source = c_source(model, name, "fast")
    body = TAIL.replace("NET_", f"{name.upper()}_").replace("net_", f"{name}_")
    return source + body.format(block=BLOCK) + LIBRARY


def write(model: Model, *, name: str = "net", math: str = "fast", **_: Any) -> bytes:
    """The module. Raises BpttError where nothing here compiles to WebAssembly."""
    if math != "fast":
        raise BpttError("wasm has no C library: its math is 'fast'; leave --math out")
    commands = _commands()
    if not commands:
        raise BpttError(
            "nothing here compiles to WebAssembly: pip install ziglang, or install clang and lld"
        )
    with tempfile.TemporaryDirectory() as folder:
        for header, text in HEADERS.items():
            (Path(folder) / header).write_text(text)
        source, module = Path(folder) / "net.c", Path(folder) / "net.wasm"
        source.write_text(_sources(model, name))
        arguments = [*commands[0], "-std=c99", "-O3", "-fno-builtin", "-nostdlib", "-nostdinc",
                     f"-I{folder}", "-Wl,--no-entry", "-Wl,--strip-all"]  # fmt: skip
        arguments += [f"-Wl,--export={name}_{each}" for each in EXPORTS]
        done = subprocess.run(
            [*arguments, "-o", str(module), str(source)], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode or not module.exists():
            line = next((line for line in done.stderr.splitlines() if "error" in line), "no word")
            raise BpttError(f"{commands[0][0]} does not compile to WebAssembly: {line}")
        return module.read_bytes()


def javascript(model: Model, name: str, stem: str) -> str:
    """The JavaScript of a module STEM.wasm, to lie beside it as STEM.mjs."""
    s = model.structure
    return JAVASCRIPT.format(name=name, stem=stem, inputs=s.inputs, outputs=s.outputs, block=BLOCK,
                             state=model.initial().size)  # fmt: skip


class Running:
    """The module in the package `wasmtime`; see `bptt.exchange.players.Player`."""

    def __init__(self, content: bytes, model: Model) -> None:
        import wasmtime

        self._store = wasmtime.Store()
        module = wasmtime.Module(self._store.engine, content)
        self._exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        (name,) = [key[: -len("_places")] for key in self._names() if key.endswith("_places")]
        self._name, s = name, model.structure
        self._inputs, self._outputs, self._state = s.inputs, s.outputs, 4 * model.initial().size
        self._at = [self._call("places", which) for which in range(3)]
        self.reset()

    def _names(self) -> list[str]:
        return list(self._exports.keys())

    def _call(self, function: str, *arguments: int) -> Any:
        return self._exports[f"{self._name}_{function}"](self._store, *arguments)

    def reset(self) -> None:
        """See `Player.reset`."""
        self._call("reset", self._at[0])

    def keep(self) -> Any:
        """See `Player.keep`."""
        memory = self._exports["memory"]
        return memory.read(self._store, self._at[0], self._at[0] + self._state)

    def put_back(self, state: Any) -> None:
        """See `Player.put_back`."""
        self._exports["memory"].write(self._store, state, self._at[0])

    def _given(self, function: str, x: Array, count: int, *more: int) -> Array:
        memory = self._exports["memory"]
        memory.write(self._store, np.ascontiguousarray(x, "<f4").tobytes(), self._at[1])
        self._call(function, *self._at, *more)
        read = memory.read(self._store, self._at[2], self._at[2] + 4 * count)
        return np.frombuffer(bytes(read), "<f4")

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        return self._given("step", x, self._outputs)

    def run(self, x: Array) -> Array:
        """See `Player.run`, block by block."""
        blocks = [x[k : k + BLOCK] for k in range(0, len(x), BLOCK)]
        found = [self._given("run", b, len(b) * self._outputs, len(b)) for b in blocks]
        return np.concatenate(found).reshape(len(x), self._outputs)

    def selftest(self) -> float:
        """What the module's own test gives."""
        return float(self._call("selftest"))


def check(model: Model, content: bytes, inputs: Array | None = None, ours: bool = False) -> Checked:
    """Run the module in `wasmtime`, which keeps a stranger's module to itself, and compare."""
    if not find_spec("wasmtime"):
        raise BpttError("a WebAssembly module is verified by running it: pip install wasmtime")
    make: Callable[[], Running] = lambda: Running(content, model)  # noqa: E731
    try:
        found = compare(model, make, 1e-5, inputs, "run by wasmtime", amplified=4.2e-7, steps=100)
        selftest = make().selftest()
    except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
        raise BpttError(f"the module is none of ours, or damaged: {error!s:.80}") from None
    worst = max(found.worst, selftest)
    return Checked(worst, found.steps, found.limit, f"run by wasmtime, self-test {selftest:.1e}")
