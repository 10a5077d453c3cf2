"""Figures, page, and the commands report, compare and export."""

import io
import json
import math
import re
from html.parser import HTMLParser
from importlib import util
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import refused, said
from matplotlib.text import Text
from study_results import made_up, made_up_curves

from bptt import Study
from bptt.commands.study_report import csv, parquet
from bptt.errors import BpttError
from bptt.studies import Panel as StudyPanel
from bptt.studies.answers import by_value, summary
from bptt.studies.drawing import (
    PAGE,
    PHONE,
    Curve,
    Panel,
    png,
    settings_figure,
    small_multiples,
    split,
    svg,
    values_figure,
    wrapped,
)
from bptt.studies.page import Code, Page, Section, Table
from bptt.studies.report import study_page, text_table
from bptt.studies.words import name_of

TINY = {"bits": 2, "hidden": 4, "engine": "reference", "iterations": 60, "record_every": 20}

# Before version 3 pandas reads the last digit of a number only where it is asked to.
EXACT: Any = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


def settings(count):
    """Made-up settings from hopeless to easy, some of which diverge."""
    return [
        {"hidden": 2 + k, "learning_rate": 0.01 * 3 ** (k % 4), "initializers": "glorot_normal",
         "chance": (k / max(count - 1, 1), 0.2 * (k % 3 == 1), 9000 - 8000 * k / count)}
        for k in range(count)
    ]  # fmt: skip


def outside(figure):
    """Texts of a figure that are cut off by its edge, and texts that lie on others."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    frame = figure.bbox
    boxes = []
    beyond = set()  # labels of ticks outside the axes' limits, which are not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip() or text in beyond:
            continue
        box = text.get_window_extent(renderer)
        boxes.append((text.get_text(), box))
    tolerance = 2  # pixels of 100 an inch: letters are boxes, not ink
    cut = [
        text
        for text, box in boxes
        if box.x0 < frame.x0 - tolerance or box.x1 > frame.x1 + tolerance
        or box.y0 < frame.y0 - tolerance or box.y1 > frame.y1 + tolerance
    ]  # fmt: skip
    touching = [
        (one, two)
        for k, (one, a) in enumerate(boxes)
        for two, b in boxes[:k]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > tolerance
        and min(a.y1, b.y1) - max(a.y0, b.y0) > tolerance
    ]
    return cut, touching


@pytest.mark.parametrize("width", [PAGE, PHONE])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_no_text_of_a_figure_is_cut_or_covered(count, width):
    frame = made_up(settings(count), 12)
    page = study_page(frame, made_up_curves(frame, 1000), unit="nats")
    for picture in page.pictures():
        figure = picture.draw(width)
        assert figure.get_figwidth() == width
        assert outside(figure) == ([], []), picture.name


@pytest.mark.parametrize("width", [PAGE, PHONE])
def test_legends_lie_beside_the_data(width):
    x = np.arange(1, 20)
    curves = [Curve(f"hidden={k}", x, k * x, x, k * x + 1) for k in (2, 4, 8)]
    panels = [Panel(f"panel {k}", curves[: 2 + k], "iteration", "loss") for k in range(2)]
    for figure in (small_multiples(panels, width), small_multiples(panels[:1], width)):
        figure.draw_without_rendering()
        legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        assert legends
        for legend in legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
            assert figure.bbox.x0 <= box.x0
            assert box.y0 >= figure.bbox.y0


def test_panels_with_the_same_curves_have_one_legend():
    curves = [Curve(name, [1, 2], [1, 2]) for name in ("tanh", "relu")]
    figure = small_multiples([Panel(t, curves, "x", "y") for t in ("a", "b", "c")])
    assert len(figure.legends) == 1
    assert all(axes.get_legend() is None for axes in figure.axes)
    colors = {tuple(line.get_color() for line in axes.get_lines()) for axes in figure.axes}
    assert len(colors) == 1
    styles = {line.get_linestyle() for line in figure.axes[0].get_lines()}
    assert len(styles) == 2


def test_many_curves_are_split_into_panels_of_the_same_limits():
    curves = [Curve(f"hidden={k}", [1, 2], [k, 2 * k]) for k in range(1, 41)]
    panel = Panel("", curves, "iteration", "loss")
    assert split(Panel("", curves[:6], "iteration", "loss"))[0].curves == curves[:6]
    parts = split(panel)
    assert [part.title for part in parts] == [curve.label for curve in curves[:12]]
    figure = small_multiples(parts, share=True)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_what_is_infinite_ends_a_curve_and_fills_a_band():
    curve = Curve(
        "a", [1, 2, 3], [4.0, 2.0, math.inf], [1.0, 1.0, math.inf], [8.0, math.inf, math.inf]
    )
    figure = small_multiples([Panel("", [curve], "iteration", "loss", log_y=True)])
    assert np.isnan(figure.axes[0].get_lines()[0].get_ydata()).tolist() == [False, False, True]
    assert png(figure)[:4] == b"\x89PNG"
    assert figure.axes[0].get_ylim()[1] < 100


def test_band_goes_from_low_to_high():
    curve = Curve("a", [1, 2, 3], [4.0, 5.0, 6.0], [1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    figure = small_multiples([Panel("", [curve], "iteration", "loss")])
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {(1, 1), (2, 2), (3, 3)} <= set(map(tuple, corners.tolist()))
    # A band goes no higher than the highest number there is.
    assert {(1, 7), (2, 8), (3, 9)} <= set(map(tuple, corners.tolist()))


def test_lines_break_between_words_only():
    assert wrapped("hidden=5, initializers=glorot_normal", 1) == (
        "hidden=5,\ninitializers=glorot_normal"
    )


@pytest.mark.parametrize("nothing", [math.inf, math.nan, 0.0])
def test_curves_without_a_number_to_show(nothing):
    curve = Curve("a", [1, 2], [nothing, nothing], [nothing, nothing], [nothing, nothing])
    assert png(small_multiples([Panel("", [curve], "iteration", "loss", log_y=True)]))


def test_dots_of_settings_show_the_numbers_of_the_table():
    table = summary(made_up(settings(5), 30))
    figure = settings_figure(table, [name_of(row) for _, row in table.iterrows()])
    solved, diverged, times = figure.axes
    assert solved.get_lines()[0].get_xdata().tolist() == (100 * table["solved_share"]).tolist()
    assert diverged.get_lines()[0].get_xdata().tolist() == (100 * table["diverged_share"]).tolist()
    median = table["median"][np.isfinite(table["median"])]
    assert times.get_lines()[0].get_xdata().tolist() == median.tolist()
    assert solved.get_yticklabels()[0].get_text().startswith("hidden=2")
    assert solved.get_ylim() == (4.5, -0.5)


def test_measures_that_no_run_has_are_left_out():
    table = summary(made_up([{"chance": (0, 0, 100)}], 5))
    assert len(settings_figure(table, ["a"]).axes) == 1


def test_figures_are_the_same_bytes_again():
    frame = made_up(settings(3), 9)
    tables = {"hidden": by_value(frame, "hidden")}
    assert svg(values_figure(tables)) == svg(values_figure(tables))
    assert png(values_figure(tables)) == png(values_figure(tables))


# The page


class Elements(HTMLParser):
    """The elements of a page, with their attributes; checks that they are closed in order."""

    VOID = ("meta", "img", "source", "br", "link")

    def __init__(self, content):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(content)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page():
    frame = made_up(settings(3), 20)
    return study_page(frame, made_up_curves(frame, 500), "Three settings", unit="nats")


def test_page_carries_everything_with_it(page):
    content = page.html()
    assert not re.search(r"https?:|//\w+\.|<script|<link|@import|url\(", content)
    elements = Elements(content)
    images = [attributes for tag, attributes in elements.found if tag == "img"]
    assert len(images) == len(list(page.pictures())) == 6
    for attributes in images:
        assert attributes["src"].startswith("data:image/svg+xml;base64,")
        assert len(attributes["alt"]) > 20
    narrow = [attributes["srcset"] for tag, attributes in elements.found if tag == "source"]
    assert len(set(narrow)) == len(images)
    assert ("html", {"lang": "en"}) in elements.found


def test_page_begins_with_the_findings(page):
    elements = Elements(page.html())
    text = " ".join(" ".join(elements.text).split())
    assert (
        0 < text.index("3 settings, 60 runs") < text.index("Settings") < text.index("How to read")
    )
    lines = page.markdown().splitlines()
    assert lines[0] == "# Three settings"
    assert lines[2].startswith("3 settings, 60 runs")


def test_page_is_the_same_again(page):
    frame = made_up(settings(3), 20)
    again = study_page(frame, made_up_curves(frame, 500), "Three settings", unit="nats")
    assert again.html() == page.html()
    assert again.markdown() == page.markdown()


def test_text_from_outside_stays_text():
    evil = "<script>alert('&')</script> | x"
    page = Page(evil, [evil], [Section(evil, [Table([evil, "b"], [[evil, "1"]]), Code(evil)])])
    elements = Elements(page.html())
    assert "script" not in {tag for tag, _ in elements.found}
    assert (
        "".join(elements.text).count(evil) == 7
    )  # title, heading, finding; section's title; head, cell; code
    (row,) = [line for line in page.markdown().splitlines() if line.endswith("| 1 |")]
    assert row.count("|") - row.count("\\|") == 3


def test_markdown_names_the_figures_that_are_written(page, tmp_path):
    files = page.write(tmp_path)
    named = re.findall(r"\]\((\S+)\)", (tmp_path / "report.md").read_text())
    assert len(named) == 6
    assert [tmp_path / name for name in named] == files[2:]
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in named)


def test_numbers_of_a_table_stand_right():
    table = Table(["setting", "runs"], [["a", "10"]])
    markdown = Page("t", ["f"], [Section("s", [table])])
    assert "|---|---:|" in markdown.markdown()
    cells = [a for tag, a in Elements(markdown.html()).found if tag == "td"]
    assert cells == [{"class": "word"}, {}]


def test_a_study_of_more_settings_than_a_page_holds():
    frame = made_up([{"rate": 0.001 * k, "chance": (k / 300, 0, 500)} for k in range(300)], 4)
    page = study_page(frame)
    (table,) = [
        block for s in page.sections for block in s.blocks
        if isinstance(block, Table) and s.title == "Settings"
    ]  # fmt: skip
    assert len(table.rows) == 200
    assert "best 200 of 300" in table.caption
    assert table.rows[0][2] == "4 of 4"
    picture = page.sections[0].blocks[0]
    assert "best 20 of 300" in picture.caption
    assert len(picture.draw(PAGE).axes[0].get_yticks()) == 20
    assert "Each field by itself" in [section.title for section in page.sections]
    assert text_table(summary(frame)).endswith("... the best 40 of 300 settings")


def test_panels_have_sections_of_their_own():
    parts = [made_up(settings(2), 5).assign(panel=name) for name in ("Hidden size", "Rate")]
    parts[1]["setting"] += 2
    page = study_page(pd.concat(parts, ignore_index=True))
    assert page.findings[0] == "2 panels, 20 runs."
    assert page.findings[1].startswith("Hidden size: 2 settings")
    names = [picture.name for picture in page.pictures()]
    assert len(set(names)) == len(names)
    assert names[0] == "hidden-size-settings"


# Commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small study, trained."""
    path = tmp_path_factory.mktemp("studies") / "small"
    study = Study(
        name="Small & quick", base=TINY, grid={"learning_rate": [0.0001, 0.05]}, seeds=4,
        curves=True, lengths=[2], solved={"loss": 1.0},
    )  # fmt: skip
    study.run(path, workers=1, progress=False)
    return path


def test_report_of_a_trained_study(folder, capsys):
    printed = said(capsys, "study", "report", folder)
    assert "learning_rate=0.05" in printed
    assert "2 settings, 8 runs" in printed
    assert f"page    {folder / 'report.html'}" in printed
    content = (folder / "report.html").read_text()
    assert "<h1>Small &amp; quick</h1>" in content
    assert "&#34;learning_rate&#34;: [" in content
    assert str(folder) not in content
    assert (folder / "report.md").exists()
    assert (folder / "figures" / "loss.png").exists()


def test_report_as_json_has_the_numbers_of_the_table(folder, capsys):
    values = json.loads(said(capsys, "study", "report", folder, "--json"))
    assert [row["runs"] for row in values["settings"]] == [4, 4]
    assert values["missing"] == 0
    assert all(map(str, values["files"]))
    assert set(values["settings"][0]) >= {"solved_share", "solved_low", "median", "diverged_high"}


def test_the_declaration_on_the_page_is_the_study(folder, capsys):
    said(capsys, "study", "report", folder)
    text = (folder / "report.md").read_text()
    (declared,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    again = Study(**json.loads(declared))
    assert again == Study.from_dict(json.loads((folder / "study.json").read_text()))


def test_an_unfinished_study_says_so(folder, tmp_path, capsys):
    whole = json.loads((folder / "study.json").read_text())
    Study(**whole).run(tmp_path / "part", workers=1, progress=False, shard=(1, 2))
    printed = said(capsys, "study", "report", tmp_path / "part")
    assert "runs of the study are missing" in printed
    assert "runs of the study are missing" in (tmp_path / "part" / "report.html").read_text()


def test_compare(folder, capsys):
    printed = said(capsys, "study", "compare", folder, "0", "learning_rate=0.05")
    assert printed.count("\n") == 3
    values = json.loads(said(capsys, "study", "compare", folder, "0", "1", "--json"))
    assert set(values) == {"first", "second", "solved", "diverged", "sooner", "sentences"}
    assert values["solved"]["low"] <= values["solved"]["estimate"] <= values["solved"]["high"]
    assert "setting 'hidden=3' is not known" in refused(
        capsys, "study", "compare", folder, "0", "hidden=3"
    )


def frame_of(folder):
    from bptt.studies import load

    return load(folder).frame


def test_export_to_csv_reads_back(folder, tmp_path, capsys):
    file = tmp_path / "new" / "runs.csv"
    assert said(capsys, "study", "export", folder, "--to", file) == f"8 rows in {file}\n"
    types = dict.fromkeys(("solved_at", "right", "total"), "Int64")
    types |= dict.fromkeys(("what", "label"), str)
    read = pd.read_csv(file, dtype=types, **EXACT).fillna({"what": "", "label": ""})
    pd.testing.assert_frame_equal(read, frame_of(folder), check_dtype=False, check_exact=True)


def test_export_to_parquet_reads_back(folder, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    file = tmp_path / "runs.parquet"
    values = json.loads(said(capsys, "study", "export", folder, "--to", file, "--json"))
    assert values == {"file": str(file), "rows": 8}
    pd.testing.assert_frame_equal(pd.read_parquet(file), frame_of(folder))
    said(capsys, "study", "export", folder, "--to", file, "--curves")
    assert set(pd.read_parquet(file)["iteration"]) <= {20, 40, 60}


def test_export_of_a_column_that_mixes_types():
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"clip": pd.Series([1.5, "none", None], dtype=object), "n": [1, 2, 3]})
    read = pd.read_parquet(io.BytesIO(parquet(table)))
    assert read["clip"].tolist()[:2] == ["1.5", "none"]
    assert read["clip"].isna().tolist() == [False, False, True]


def test_csv_keeps_numbers_to_the_last_digit():
    table = pd.DataFrame({"x": [0.1 + 0.2, 1 / 3, math.inf, math.nan]})
    read = pd.read_csv(io.BytesIO(csv(table)), skip_blank_lines=False, **EXACT)
    pd.testing.assert_frame_equal(read, table, check_exact=True)


def test_parquet_without_pyarrow_is_refused(folder, tmp_path, capsys, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    line = refused(capsys, "study", "export", folder, "--to", tmp_path / "runs.parquet")
    assert "pip install 'bptt[parquet]'" in line
    assert not (tmp_path / "runs.parquet").exists()


def test_what_cannot_be_answered_is_one_line(folder, tmp_path, capsys):
    assert "is not a study" in refused(capsys, "study", "report", tmp_path)
    assert "give a file that ends in .csv or .parquet" in refused(
        capsys, "study", "export", folder, "--to", tmp_path / "runs.xlsx"
    )
    declared = json.loads((folder / "study.json").read_text())
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "study.json").write_text(json.dumps({**declared, "curves": False}))
    for words in (["report"], ["export", "--to", "a.csv"]):
        line = refused(capsys, "study", words[0], tmp_path / "empty", *words[1:])
        assert "no finished run yet: run the study first" in line


def test_curves_that_were_not_kept_cannot_be_exported(tmp_path, capsys):
    study = Study(base={**TINY, "iterations": 1}, seeds=1)
    study.run(tmp_path / "s", workers=1, progress=False)
    line = refused(
        capsys, "study", "export", tmp_path / "s", "--to", tmp_path / "c.csv", "--curves"
    )
    assert "run the study with curves = true" in line


def test_a_study_in_panels_is_reported(tmp_path, capsys):
    study = Study(
        base={**TINY, "iterations": 20}, seeds=2, verdict=False,
        panels=[
            StudyPanel(name="Rate", grid={"learning_rate": [0.01, 0.1]}),
            StudyPanel(name="Units", grid={"hidden": [4, 6]}),
        ],
    )  # fmt: skip
    study.run(tmp_path / "s", workers=1, progress=False)
    assert "Units: 2 settings, 4 runs" in said(capsys, "study", "report", tmp_path / "s")


def test_no_run_has_no_page():
    with pytest.raises(BpttError, match="run it first"):
        study_page(made_up(settings(1), 1).head(0))
