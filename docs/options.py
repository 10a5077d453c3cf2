"""Writes docs/options.md from the options as they are declared: python docs/options.py"""

from pathlib import Path

import msgspec

from bptt.options import options_of
from bptt.tasks import BUILT_IN, kind_of
from bptt.training.options import GROUPS

HEAD = """# Options

<!-- Written by docs/options.py. -->

All options of a training. They are keywords of `bptt.train`, fields of a study's `base`, `grid`,
`random` and `settings` (without `seed` and those of "When to stop", for which a study has `seeds`
and `solved`), and flags of `bptt train`, where `clip_norm` is `--clip-norm`, a truth value `--bias`
or `--no-bias`, and a table is given entry by entry, as `--schedule kind=cosine --schedule
iterations=5000`. What a task has chosen otherwise stands in its column; one of your own starts from
the last column ([its `preset`](tasks.md)) unless it has another.
"""
TITLES = {
    "structure": ("The network", "`bptt.Structure`"),
    "optimizer": ("The optimizer", "`bptt.Optimizer`"),
    "stop": ("When to stop", "`bptt.Stop`: looked at after every record"),
    "run": ("The run", "`bptt.Settings`"),
}


def type_name(kind):
    """A type as people read it."""
    names = {"NoneType": "none", "dict": "table", "Schedule": "table"}
    text = str(getattr(kind, "__name__", kind)) if isinstance(kind, type) else str(kind)
    text = text.replace(" | None", "").split("[")[0]
    return names.get(text, text)


def value(default):
    """A default as people read it."""
    if default is None or default is msgspec.NODEFAULT or default in ("", {}):
        return "none"
    if isinstance(default, msgspec.Struct):
        return f"`{default.kind}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def row(cells):
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def table(options, kinds=()):
    """A table of options; kinds: tasks whose presets have columns of their own."""
    head = ["option", "type", "meaning", "default", *(kind.__name__ for kind in kinds)]
    lines = [row(head), row(["---"] * len(head))]
    for name, each in options.items():
        own = [
            "fixed" if name in kind.fixed
            else value(kind.preset[name]) if name in kind.preset else ""
            for kind in kinds
        ]  # fmt: skip
        lines.append(
            row([f"`{name}`", type_name(each.type), each.words, value(each.default), *own])
        )
    return lines


def page():
    """The whole page."""
    from bptt.tasks import Task

    kinds = [kind_of(name) for name in BUILT_IN]
    lines = [HEAD]
    for group, options in GROUPS.items():
        title, words = TITLES[group]
        lines += [f"## {title}", "", f"{words}.", "", *table(options, [*kinds, Task]), ""]
    for name, kind in zip(BUILT_IN, kinds, strict=True):
        lines += [
            f"## The task '{name}'",
            "",
            f"`bptt.{kind.__name__}`; `bptt train {kind.command}`.",
            "",
        ]
        lines += [*table(options_of(kind)), ""]
        for option, file in kind.files.items():
            lines += [f"`{option}` stands for `{file.field}`: {file.words}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "options.md").write_text(page(), encoding="utf-8")
