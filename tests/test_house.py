"""The house: no circle of imports, every room on a floor, no file too long.

Who may import whom stands in pyproject.toml, for import-linter; here is what contracts do not say.
"""

import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
LINES = 500


def test_no_circle_of_imports_between_files() -> None:
    # Lazy imports in functions count, and those for types; so do the packages' own files.
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("bptt", cache_dir=None)
    assert len(graph.modules) > 100
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_every_room_has_its_floor() -> None:
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
    (floors,) = (each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    named = {module.split(".")[1] for floor in floors for module in floor.split(" | ")}
    rooms = {
        path.stem
        for path in (TOP / "src" / "bptt").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert named == rooms
    assert not any("ignore_imports" in each for each in contracts["contracts"])


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples", "docs/site", ".ci"])
def test_no_file_is_too_long(folder: str) -> None:
    files = [*(TOP / folder).rglob("*.py")]
    assert files
    long = {
        str(path): count for path in files if (count := len(path.read_text().split("\n"))) > LINES
    }
    assert not long
