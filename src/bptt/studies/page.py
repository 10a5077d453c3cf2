"""A page of findings: sections of text, tables and figures, as one HTML file and as Markdown.

The HTML file needs nothing beside it and no network: figures are inside, as SVG, each in a wide
form and in one for narrow screens. Markdown names the figures' PNG files.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from bptt.files import write_file
from bptt.studies.drawing import PAGE, PHONE, png, svg

FIGURES = "figures"
TABLE_ROWS = 200  # settings in a table


@dataclass(frozen=True)
class Table:
    """Rows of cells, as text. words: how many columns, from the left, hold words; the others hold
    numbers and stand right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    caption: str = ""
    kind: str = field(default="table", init=False)


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def as_text(table: Table) -> list[str]:
    """A table as lines of text; its second column, words, stands left."""
    lines = [table.head, *table.rows]
    widths = [max(len(row[k]) for row in lines) for k in range(len(table.head))]
    return [
        "  ".join(
            cell.ljust(width) if k == 1 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    ]


@dataclass(frozen=True)
class Picture:
    """A figure: `draw` makes it for a width in inches. name: of its file, without ending. alt: what
    it shows, for who cannot see it; caption: how to read it."""

    name: str
    draw: Callable[[float], Figure]
    alt: str
    caption: str = ""
    kind: str = field(default="picture", init=False)

    @property
    def file(self) -> str:
        """Where its PNG file is, from the page's folder."""
        return f"{FIGURES}/{self.name}.png"

    @cached_property
    def png(self) -> bytes:
        """The wide form as a PNG file's content."""
        return png(self._wide)

    @cached_property
    def _wide(self) -> Figure:
        return self.draw(PAGE)

    @property
    def wide(self) -> str:
        """The wide form as the address of an image that carries its own content."""
        return _inside(svg(self._wide))

    @property
    def narrow(self) -> str:
        """The same for a phone."""
        return _inside(svg(self.draw(PHONE)))


@dataclass(frozen=True)
class Text:
    """A paragraph, or with `items` a list."""

    text: str = ""
    items: Sequence[str] = ()
    kind: str = field(default="words", init=False)


@dataclass(frozen=True)
class Code:
    """Text that is to be read or typed letter by letter. language: 'sh', 'toml'."""

    text: str
    language: str = ""
    kind: str = field(default="code", init=False)


Block = Text | Table | Picture | Code


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page: title, the findings in a few sentences, and sections."""

    title: str
    findings: Sequence[str]
    sections: Sequence[Section]

    def pictures(self) -> Iterator[Picture]:
        """Its figures, in order."""
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, Picture))

    def html(self) -> str:
        """The page as one HTML file's content."""
        from jinja2 import Environment, PackageLoader

        environment = Environment(
            loader=PackageLoader("bptt.studies", ""), autoescape=True, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        return environment.get_template("page.html").render(page=self)

    def markdown(self) -> str:
        """The page as Markdown, with the figures in files beside it."""
        lines = [f"# {self.title}", "", " ".join(self.findings)]
        for section in self.sections:
            lines += ["", f"## {section.title}"]
            for block in section.blocks:
                lines += ["", *_markdown(block)]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, name: str = "report") -> list[Path]:
        """Write NAME.html, NAME.md and the figures' PNG files into a folder; returns their paths.

        Raises BpttError if the folder cannot be written.
        """
        contents = {f"{name}.html": self.html().encode(), f"{name}.md": self.markdown().encode()}
        contents |= {picture.file: picture.png for picture in self.pictures()}
        for file, content in contents.items():
            write_file(folder / file, content)
        return [folder / file for file in contents]


def _inside(content: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def _cell(text: str) -> str:
    """Text that stays in its cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _markdown(block: Block) -> list[str]:
    """The lines of a block."""
    if isinstance(block, Text):
        return [block.text] * bool(block.text) + [f"- {item}" for item in block.items]
    if isinstance(block, Code):
        return [f"```{block.language}", block.text.rstrip("\n"), "```"]
    if isinstance(block, Picture):
        lines = [f"![{block.alt}]({block.file})"]
        return [*lines, "", block.caption] if block.caption else lines
    lines = [
        "| " + " | ".join(map(_cell, block.head)) + " |",
        "|" + "|".join("---" if k < block.words else "---:" for k in range(len(block.head))) + "|",
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in block.rows]
    return [*lines, "", block.caption] if block.caption else lines
