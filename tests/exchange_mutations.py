"""Files of every format, changed at random: each is read, or refused in one line.

    python tests/exchange_mutations.py 2000

Files of networks of several cells and sizes are changed: bits, bytes, lengths, blocks taken out,
put in and moved; in archives also inside their members, with right checksums; in JSON also values,
by others of any kind and size. A child process reads them, under a limit of memory and with an eye
on what Python does meanwhile. Fine are networks, and `BpttError` of one line. Found are: other
exceptions, several lines, warnings, more memory than four times the file (beyond what the unharmed
file takes), and anything that is run, imported, opened or called besides.
"""

import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SUFFIXES = {
    "pt": ".pt", "old": ".pt", "onnx": ".onnx", "keras": ".keras", "h5": ".weights.h5",
    "rtneural": ".json", "aidax": ".json", "guitarml": ".json", "nam": ".nam",
    "torch": ".safetensors", "flax": ".safetensors",
}  # fmt: skip
# What Python says by itself of bytes and texts, and what a reader may ask the compiler of nothing.
SLACK = 200_000
ROOM = 512 * 2**20  # bytes of address space beyond what there is when the first file is read
FORBIDDEN = re.compile(
    r"os\.(system|exec|fork|posix_spawn|spawn|remove|rename|mkdir|chmod|kill)|subprocess\.|socket\.|"
    r"pickle\.|shutil\.|ctypes\.|urllib\.|pty\.|marshal\.|code\.__new__|webbrowser\.|tempfile\."
)

Mutation = Callable[[bytes, random.Random], bytes]


# Files.


def originals(folder: Path) -> dict[str, list[bytes]]:
    """Unharmed files of each format that can be written here."""
    sys.path.insert(0, str(HERE))
    from exchange_networks import network
    from test_exchange_files import pt_file

    import bptt
    from bptt.exchange.formats import FORMATS
    from bptt.exchange.model import model_of

    def written(name: str, made: Any, **surroundings: Any) -> bytes:
        chosen = FORMATS[name]
        return bytes(chosen.function(chosen.write)(model_of(made, **surroundings)))

    def short(content: bytes) -> bytes:
        """An AIDA-X file with fewer samples to test itself with, which take time."""
        value = json.loads(content)
        for name in ("input_batch", "output_batch"):
            value[name] = value[name][:16]
        return json.dumps(value).encode()

    plain = {"initial_state": "zeros"}
    kinds: list[Any] = [("lstm", {"sizes": (2, 9, 2)}), ("gru", {"sizes": (3, 7, 1), "layers": 2})]
    nets = [network(cell, **options, **plain) for cell, options in kinds]
    states = [network(cell, **options) for cell, options in kinds]
    found = {
        "pt": [pt_file(bptt.to_torch(made)) for made in nets],
        "onnx": [written("onnx", made) for made in states],
        "rtneural": [written("rtneural", made) for made in nets],
        "aidax": [short(written("aidax", network("lstm", sizes=(1, 8, 1), **plain), skip=1))],
        "guitarml": [written("guitarml", network("gru", sizes=(1, 10, 1), **plain), skip=1)],
        "nam": [written("nam", network("lstm", sizes=(1, 6, 1), layers=2))],
        "torch": [written("torch", made) for made in states],
        "flax": [written("flax", made) for made in states],
    }
    if find_spec("torch"):
        import torch

        found["old"] = []
        for made in nets:
            tensors = {name: torch.tensor(v) for name, v in bptt.to_torch(made).items()}
            torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)
            found["old"].append((folder / "old.pt").read_bytes())
    if find_spec("h5py"):
        found["keras"] = [written("keras", made) for made in nets]
        found["h5"] = [written("keras-weights", made) for made in nets]
    return found


# Mutations of bytes.


def _bit(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _head(content: bytes, rng: random.Random) -> bytes:
    """Near the beginning or the end, where formats say how large things are."""
    changed, near = bytearray(content), min(400, len(content))
    for _ in range(rng.choice([1, 2, 4])):
        at = rng.randrange(near)
        changed[at if rng.random() < 0.6 else -1 - at] = rng.choice([0, 1, 127, 128, 255, 46, 83])
    return bytes(changed)


def _length(content: bytes, rng: random.Random) -> bytes:
    """A whole number of 2, 4 or 8 bytes anywhere, of a telling size."""
    width = rng.choice([2, 4, 8])
    value = rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1])
    at = rng.randrange(max(len(content) - width, 1))
    block = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(["little", "big"]))
    return content[:at] + block + content[at + width :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _moved(content: bytes, rng: random.Random) -> bytes:
    """A block taken out, doubled, or put elsewhere."""
    a, b = sorted(rng.randrange(len(content)) for _ in range(2))
    b = min(b, a + rng.choice([1, 4, 16, 200]))
    at = rng.randrange(len(content))
    rest = rng.choice([content, content[:a] + content[b:]])
    return rest[:at] + rng.choice([b"", content[a:b], bytes(rng.randbytes(b - a))]) + rest[at:]


BYTES: list[Mutation] = [_bit, _head, _length, _cut, _moved]


# Mutations of what is inside.


def _value(rng: random.Random, deep: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: None, lambda: True, lambda: -1, lambda: 0, lambda: 2**63, lambda: 10**30,
        lambda: 1e308, lambda: 0.5, lambda: "", lambda: "lstm", lambda: "x" * 500, lambda: "\ud800",
        lambda: [], lambda: {}, lambda: [[]], lambda: [1.0, [2.0]], lambda: [None],
        lambda: {"a": {"b": []}}, lambda: "9" * 400, lambda: [1e400], lambda: -(2**31),
        lambda: [[[0.0]]], lambda: ["a", "b"], lambda: 3,
    ]  # fmt: skip
    value = rng.choice(kinds)()
    return [_value(rng, deep + 1)] * rng.randrange(3) if deep < 2 and rng.random() < 0.1 else value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON value, numbers in long lists only sometimes."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def _shallow(value: Any) -> list[tuple[Any, Any]]:
    """Places, each list of numbers counted a few times only, so that names and sizes come up."""
    found, seen = [], {}
    for container, key in _places(value):
        many = seen[id(container)] = seen.get(id(container), 0) + 1
        if many <= 6 or isinstance(container, dict):
            found.append((container, key))
    return found


def _json(content: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return _bit(content, rng)
    for _ in range(rng.choice([1, 1, 2])):
        places = _shallow(value)
        if not places:
            break
        container, key = rng.choice(places)
        how = rng.randrange(4)
        if how == 0:
            del container[key]
        elif how == 1 and isinstance(container, dict):
            container[f"{key}"[: rng.randrange(len(f"{key}") + 1)] + "x"] = container.pop(key)
        else:
            container[key] = _value(rng)
    text = json.dumps(value)
    if rng.random() < 0.05:
        text = text.replace("0", "9" * rng.choice([30, 400]), 1)
    if rng.random() < 0.03:
        text = "[" * 5000 + text
    return text.encode("utf-8", "surrogatepass")


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    """The header changed as JSON, its length put right."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    inner = header.get("__metadata__", {}).get("bptt")
    if inner and rng.random() < 0.3:
        header["__metadata__"]["bptt"] = _json(inner.encode(), rng).decode("utf-8", "replace")
        changed = json.dumps(header).encode()
    else:
        changed = _json(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(changed)) + changed + content[8 + size :]


def _archive(content: bytes, rng: random.Random) -> bytes:
    """A member of a zip archive changed, taken out, doubled or blown up; checksums right."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = rng.randrange(len(members))
    telling = [k for k, (name, _) in enumerate(members) if name.endswith((".pkl", ".json", ".h5"))]
    if rng.random() < 0.7:
        chosen = rng.choice(telling)
    name, inner = members[chosen]
    how, packed = rng.randrange(8), zipfile.ZIP_STORED
    if how == 0:
        members.pop(chosen)
    elif how == 1:
        members[chosen] = (name + "x", inner)
    elif how == 2:
        members[chosen] = (name, bytes(20_000_000))  # packed, it is small
        packed = zipfile.ZIP_DEFLATED
    elif name.endswith(".json"):
        members[chosen] = (name, _json(inner, rng))
    elif inner:
        members[chosen] = (name, rng.choice(BYTES)(inner, rng))
    out = BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", packed) as archive:
        warnings.simplefilter("ignore")
        for each, data in members:
            archive.writestr(each, data)
    return out.getvalue()


INSIDE: dict[str, Mutation] = {
    "pt": _archive, "keras": _archive, "torch": _safetensors, "flax": _safetensors,
    **dict.fromkeys(["rtneural", "aidax", "guitarml", "nam"], _json),
}  # fmt: skip


def mutated(kind: str, content: bytes, rng: random.Random) -> bytes:
    """The file changed once, or a few times."""
    inside = INSIDE.get(kind)
    if inside and rng.random() < 0.6:
        return inside(content, rng)
    for _ in range(rng.choice([1, 1, 1, 3])):
        content = rng.choice(BYTES)(content or b"\0", rng)
    return content


# The child.


class Watch:
    """What Python does while a file is read, by its audit events."""

    def __init__(self) -> None:
        self.path, self.seen = "", []  # type: tuple[str, list[str]]
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.path:
            return
        opened = event == "open" and str(arguments[0]) != self.path
        if FORBIDDEN.match(event) or opened or event in ("import", "exec", "compile"):
            self.seen.append(f"{event} {str(arguments)[:80]}")


def _once(path: Path, watch: Watch, options: dict[str, str]) -> tuple[str, str, int]:
    """(what became of it, the words, bytes at most) of one reading."""
    import bptt

    watch.seen, watch.path = [], str(path)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bptt.read_file(path, **options)
        became, words = "right", ""
    except bptt.BpttError as error:
        words = str(error)
        one_line = "\n" not in words and len(words) < 1000
        became = "refused" if one_line and "more memory" not in words else "words"
    except BaseException as error:
        became, words = "raised", f"{type(error).__name__}: {error}"
    finally:
        watch.path = ""
        peak = tracemalloc.get_traced_memory()[1] - before
    if watch.seen:
        became, words = "did", "; ".join(watch.seen)
    return became, words[:600], peak


def lightly(model: Any, make: Callable[[], Any]) -> Any:
    """In place of the comparison of what was read with the file, which takes most of the time: the
    file's own equations are read too, and run for two steps."""
    from bptt.exchange.verification import Checked

    make().run(np.zeros((2, model.structure.inputs)))
    return Checked(0.0, 2, 0.0)


def child(number: int, seed: int) -> dict[str, Any]:
    """Reads so many changed files; counts, and what was found."""
    from bptt.exchange import doors

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, watch = originals(folder), Watch()
        doors._light = lightly  # type: ignore[assignment]
        tracemalloc.start()
        options = {"activation": "tanh", "output": "linear"}
        usual: dict[tuple[str, int], int] = {}
        for kind, contents in files.items():
            for which, content in enumerate(contents):
                path = folder / f"net{SUFFIXES[kind]}"
                path.write_bytes(content)
                _once(path, watch, options)  # imports what is needed
                became, words, usual[kind, which] = _once(path, watch, options)
                assert became == "right", (kind, became, words)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))
        counts: dict[str, int] = {}
        found: list[dict[str, Any]] = []
        kinds = list(files)
        for case in range(seed, seed + number):
            rng = random.Random(case)
            kind = kinds[case % len(kinds)]
            which = rng.randrange(len(files[kind]))
            content = mutated(kind, files[kind][which], rng)
            path = folder / f"net{SUFFIXES[kind]}"
            path.write_bytes(content)
            became, words, peak = _once(path, watch, options)
            beyond = peak - max(usual[kind, which], 0)
            if became in ("right", "refused") and beyond > 4 * len(content) + SLACK:
                became, words = "memory", f"{peak:,} bytes for a file of {len(content):,}; {words}"
            counts[became] = counts.get(became, 0) + 1
            if became not in ("right", "refused"):
                found.append({"case": case, "kind": kind, "became": became, "words": words})
        return {"formats": kinds, "counts": counts, "found": found}


def run(number: int, seed: int = 0) -> dict[str, Any]:
    """The same in a child process. Raises RuntimeError if it ended by itself."""
    done = subprocess.run(
        [sys.executable, __file__, str(number), "--child", str(seed)],
        capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the child ended with {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> int:
    """The command line."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    if "--child" in sys.argv:
        print(json.dumps(child(number, int(sys.argv[-1]))))
        return 0
    answer = run(number)
    for each in answer["found"]:
        print(each)
    print(f"{number:,} changed files of {', '.join(answer['formats'])}: {answer['counts']}")
    return int(bool(answer["found"]))


if __name__ == "__main__":
    sys.exit(main())
