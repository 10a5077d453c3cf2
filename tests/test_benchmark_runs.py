"""A run of the benchmark: results kept, goals judged, reports."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks is not part of the installed package

main: Any = importlib.import_module("benchmarks.__main__")
jobs: Any = importlib.import_module("benchmarks.jobs")
goals: Any = importlib.import_module("benchmarks.goals")
report: Any = importlib.import_module("benchmarks.report")
results: Any = importlib.import_module("benchmarks.results")
use: Any = importlib.import_module("benchmarks.use")
figure: Any = importlib.import_module("benchmarks.figure")


def run(*given: str) -> int:
    return int(main.main(["--only", "elman-online-3", *given]))


def test_a_short_run_end_to_end_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    short = ("--short", "--contenders", "numpy_reports", "c_floor", "--out", str(out))
    assert run(*short) == 0
    assert "| Elman online, H 3, T 8 | 1 | agrees (" in (out / "benchmark.md").read_text()
    kept = json.loads((out / "benchmark.json").read_text())
    assert kept["short"]
    assert {line["contender"] for line in kept["results"]} == {"numpy_reports", "c_floor"}
    assert run(*short) == 2
    assert "--resume" in capsys.readouterr().err

    def refuse(group: Any, limit: float) -> Any:
        raise AssertionError("all of it is there")

    monkeypatch.setattr(main, "work", refuse)
    assert run(*short, "--resume") == 0
    assert len(json.loads((out / "benchmark.json").read_text())["sittings"]) == 1


def test_an_interrupted_run_loses_nothing_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def found(job: Any, **more: Any) -> list[Any]:
        return [line("elman-online-3", job.contender, 1.0) | more]

    def work(group: Any, limit: float) -> Any:
        asked.append([job.contender for job in group])
        yield found(group[0])
        if len(asked) == 1:
            raise KeyboardInterrupt
        for job in group:
            late = job.contender == "pytorch" and len(asked) == 2
            yield found(job, **({"late": "no answer"} if late else {"compared": True}))

    def kept() -> list[Any]:
        content = json.loads((tmp_path / "benchmark.json").read_text())
        return list(content["results"])

    monkeypatch.setattr(main, "work", work)
    given = ("--contenders", "numpy_reports", "pytorch", "--out", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run(*given)
    assert [each["contender"] for each in kept()] == ["numpy_reports"]
    for _ in range(3):
        run(*given, "--resume")
        assert len(kept()) == 2
    # Who was not compared with the others is asked again, as is who gave no answer.
    assert asked == [["numpy_reports", "pytorch"], ["numpy_reports", "pytorch"], ["pytorch"]]
    assert run(*given, "--resume", "--short") == 2
    content = json.loads((tmp_path / "benchmark.json").read_text())
    content["machine"]["processor"] = "another"
    (tmp_path / "benchmark.json").write_text(json.dumps(content))
    with pytest.raises(results.CannotResumeError, match="processor differs"):
        results.start(False, tmp_path, True)


def test_one_command_measures_and_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document, out = tmp_path / "performance.md", str(tmp_path / "out")

    def work(group: Any, limit: float) -> Any:
        yield [line(*job.cases, job.contender, 2e-6) for job in group]

    monkeypatch.setattr(main, "work", work)
    given = ("--contenders", "ours", "--out", out, "--publish", str(document))
    with pytest.raises(SystemExit, match="has no lines"):
        run(*given)
    assert not Path(out).exists(), "it is told before anything is measured"
    document.write_text(f"{report.BEGIN}\n{report.END}\n")
    assert run(*given) == 0
    assert "| Elman online, H 3, T 8 | 1 | 2 µs |" in document.read_text()
    assert "](benchmark.png)" in document.read_text()
    assert (tmp_path / "benchmark.png").exists()
    with pytest.raises(SystemExit):
        run(*given, "--short")
    assert "--publish" in capsys.readouterr().err


def test_jobs_of_the_full_and_of_the_short_form() -> None:
    full = jobs.jobs(jobs.NAMES, ("ours", "pytorch"), short=False)
    assert all(len(job.cases) == 1 for job in full if job.kind == "time")
    # Contenders of a case follow each other, so that the machine is the same for all.
    assert [job.contender for job in full[:4]] == ["ours", "pytorch"] * 2
    assert {job.threads for job in full} == {0, 1, 2}
    assert {"time", "growth", "memory", "endurance", "use"} == {job.kind for job in full}
    assert {kind for job in full for kind, _, _ in job.lines()} == {job.kind for job in full}
    short = jobs.jobs((*jobs.SHORT, *jobs.OTHERS), ("ours", "pytorch"), short=True)
    assert len([job for job in short if job.contender == "pytorch"]) == 2  # one and two threads
    lines = {line for job in short for line in job.lines()}
    assert ("endurance", "elman-online-16", "ours") in lines
    assert not jobs.jobs(jobs.OTHERS, ("pytorch",), short=False)


def line(case: str, contender: str, seconds: float, **more: Any) -> dict[str, Any]:
    shared = {"kind": "time", "case": case, "contender": contender, "threads": 1}
    return shared | {"label": contender, "seconds": seconds} | more


def judged(lines: Any, words: str) -> Any:
    (found,) = [goal for goal in goals.judge(lines) if words in goal["goal"]]
    return found


def test_goals_are_met_missed_or_not_measured() -> None:
    ours, torch = line("lstm-text-64", "ours", 1e-4), line("lstm-text-64", "pytorch", 1.2e-3)
    words = "LSTM on text, H 64, T 40, B 1, one-hot 34, Adagrad: faster than PyTorch"
    found = judged([ours, torch], words)
    assert found["measured"] == pytest.approx(12)
    assert found["met"] is True
    assert found["stretch_met"] is False
    assert judged([ours | {"seconds": 2e-4}, torch], words)["met"] is False
    assert judged([ours | {"seconds": 5e-5}, torch], words)["stretch_met"] is True
    for broken in (
        [ours],
        [torch],
        [ours, torch | {"wrong": "x"}],
        [ours | {"failed": "x"}, torch],
    ):
        found = judged(broken, words)
        assert found["measured"] is found["met"] is found["stretch_met"] is None
    floor = line("elman-online-16", "c_floor", 1e-6)
    for seconds, met in ((1.5e-6, True), (1.7e-6, False)):
        near = judged([line("elman-online-16", "ours", seconds), floor], "C floor")
        assert near["measured"] == pytest.approx(seconds * 1e6)
        assert near["met"] is met


def test_goals_of_memory_and_waiting() -> None:
    shared = {"contender": "ours", "threads": 1}
    lines = [
        shared | {"kind": "growth", "case": "growth-steps-16", "peak": 9e6, "arrays": 1e6},
        shared | {"kind": "growth", "case": "growth-steps-1024", "peak": 24e6, "arrays": 20e6},
        shared | {"kind": "growth", "case": "growth-steps-4096", "peak": 140e6, "arrays": 100e6},
        shared | {"kind": "endurance", "case": "elman-online-16", "grown": 5_000},
        shared | {"kind": "use", "case": "help", "seconds": 0.2},
        shared | {"kind": "use", "case": "later", "seconds": 1.5},
        shared | {"kind": "use", "case": "first", "failed": "no room"},
    ]
    ratio = judged(lines, "peak memory")
    assert ratio["measured"] == pytest.approx(1.4)  # the worst of those that are large enough
    assert ratio["met"] is False
    assert judged(lines[:2], "peak memory")["met"] is True
    kept = shared | {"kind": "memory", "case": "memory-gru-minibatch", "peak": 9e7, "arrays": 6e7}
    assert judged([*lines, kept], "peak memory")["measured"] == pytest.approx(1.5)
    assert judged(lines, "memory grown")["met"] is True
    leaking = lines[3] | {"grown": 2e6}
    assert judged([lines[3], leaking | {"case": "training"}], "memory grown")["met"] is False
    assert jobs.bad([leaking], short=True)
    assert not jobs.bad([lines[3]], short=True)
    assert judged(lines, "help")["met"] is True
    assert judged(lines, "later")["met"] is False
    assert judged(lines, "first")["met"] is None


def everything() -> dict[str, Any]:
    case = "elman-online-16"
    lines = [
        line(case, "ours", 2e-6, label="bptt"),
        line(case, "pytorch", 1e-3, label="PyTorch"),
        line(case, "jax_loop", 8e-6, label="JAX", forms={"way b": 9e-6, "way a": 8e-6}),
        {"kind": "time", "case": case, "contender": "c_floor", "absent": "no C compiler"},
        line("elman-online-3", "ours", 1e-6, label="bptt"),
        line("elman-128-models-16", "ours", 1e-7, label="bptt"),
        {"kind": "use", "case": "first", "contender": "ours", "seconds": 7.0,
         "says_it_compiles": True},
        {"kind": "endurance", "case": case, "contender": "ours", "grown": 9_000,
         "iterations": 1_000_000},
        {"kind": "endurance", "case": "training", "contender": "ours", "failed": "no room"},
        {"kind": "growth", "case": "growth-steps-1024", "contender": "ours", "seconds": 0.005,
         "peak": 6_000_000, "arrays": 5_000_000},
        {"kind": "growth", "case": "growth-steps-4096", "contender": "ours", "seconds": 0.02,
         "peak": 24_000_000, "arrays": 20_000_000},
        {"kind": "memory", "case": "memory-gru-many-models", "contender": "ours",
         "peak": 24_000_000, "arrays": 20_000_000, "error": 1e-6},
    ]  # fmt: skip
    return {
        "machine": {"cores": "2"}, "short": False, "results": lines, "goals": goals.judge(lines),
        "sittings": [{"began": "2026-01-01 00:00", "load": "0.10"}],
    }  # fmt: skip


def test_the_report_has_ratios_goals_forms_and_who_was_absent() -> None:
    text = report.markdown(everything())
    assert "| Elman online, H 16, T 8 | 1 | 2 µs | 1 ms (500.00×) | 8 µs (4.00×) | - |" in text
    assert "| Elman online, H 16, T 8: faster than PyTorch | at least 500 × | 500 × | yes |" in text
    assert "| first `bptt train add` on a machine | at most 6 s | 7 s | **no** |" in text
    assert "LSTM on text" not in text, "what was not measured is not judged"
    assert text.index("<details>") < text.index("JAX: way a") < text.index("</details>")
    assert "JAX: way a: 8 µs; way b: 9 µs" in text
    assert "0.01 MB over the last nine tenths of 1,000,000 iterations of the engine." in text
    assert "- training: failed: no room." in text
    assert "| steps | 4,096 | 20 | 24.0 | 20.0 | 1.20 |" in text
    assert "| steps | exponent (arithmetic: 1) | 1.00 | 1.00 | | |" in text
    assert "| GRU, many models | 5,000 | 1 | 8 | 16 | 24.0 | 20.0 | 1.20 |" in text
    assert "4 of 5 goals are met. 10 more were not part of this run." in text
    assert "c_floor: no C compiler." in text
    assert "| 7 s | says that it compiles |" in text
    assert "- cores: 2" in text
    assert "load 0.10" in text
    assert "## Goals" not in report.markdown(everything() | {"short": True})


def test_a_report_is_put_between_the_marks_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "benchmark.json").write_text(json.dumps(everything()))
    (tmp_path / "benchmark-growth.png").write_bytes(b"picture")
    document = tmp_path / "docs" / "performance.md"
    document.parent.mkdir()
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.publish(tmp_path, document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("\n### Goals\n") == 1
    assert (document.parent / "benchmark-growth.png").read_bytes() == b"picture"
    assert "](benchmark-growth.png)\n" in text
    assert "](benchmark.png)" not in text, "what was not drawn is not shown"
    document.write_text("no marks")
    with pytest.raises(SystemExit, match="has no lines"):
        report.publish(tmp_path, document)
    assert document.read_text() == "no marks"


def test_the_figure_is_drawn_if_there_is_something_to_draw(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    assert not figure.draw([line("lstm-text-64", "ours", 1.0)], path)
    assert not path.exists()
    assert figure.draw(everything()["results"], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not figure.draw_growth([line("elman-online-16", "ours", 1.0)], tmp_path / "growth.png")
    assert figure.draw_growth(everything()["results"], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    for names, *_ in figure.PANELS:
        assert len(names) == 5, "a panel has all sizes of the cases"


def test_waiting_is_measured_with_empty_caches_and_with_filled_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, Path | None, bool]] = []
    times = iter(range(1, 1000))

    def command(arguments: tuple[str, ...], folder: Path, caches: Path | None) -> Any:
        empty = caches is not None and not any((caches / "numba_cache_dir").iterdir())
        seen.append((" ".join(arguments), caches, empty))
        if caches is not None:
            (caches / "numba_cache_dir" / "kernel").touch()
        return next(times), "compiling kernels" if empty else "exact"

    monkeypatch.setattr(use, "command", command)
    monkeypatch.setattr(use, "loop", lambda iterations: [1e-6, 9e-6, 2e-6])
    found = {each["case"]: each for each in use.measure(short=False)}
    assert list(found) == list(use.TITLES)
    assert found["help"]["seconds"] == 5, "the median of 2 to 8: the first is not counted"
    firsts = [caches for said, caches, empty in seen if empty]
    assert len(set(firsts)) == found["first"]["repeats"] == 3
    assert found["first"]["seconds"] == 10
    assert found["first"]["says_it_compiles"]
    assert {caches for said, caches, empty in seen[11:]} == {firsts[-1]}
    assert found["loop"]["seconds"] == 2e-6
    seen.clear()
    assert "first" not in [each["case"] for each in use.measure(short=True)]
    assert {caches for _, caches, _ in seen} == {None}


def test_a_command_is_timed_and_its_failure_told(tmp_path: Path) -> None:
    seconds, said = use.command(("--help",), tmp_path, None)
    assert seconds > 0
    assert "Usage" in said
    with pytest.raises(RuntimeError, match="no-such"):
        use.command(("no-such",), tmp_path, None)
    assert use.loop(200)[0] > 0
