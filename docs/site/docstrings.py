"""Docstrings as Markdown: what looks like an interpreter's session becomes a code block."""

import re
from typing import Any

from griffe import Extension, Object

_SESSION = re.compile(r"^(?P<indent> *)>>> .*\n(?:(?P=indent)\S.*(?:\n|$))*", re.MULTILINE)


def fenced(text: str) -> str:
    """The text with each session (`>>> ` up to an empty line) in a fence of its own."""
    return _SESSION.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", text)


class Sessions(Extension):
    """Applies `fenced` to every docstring."""

    def on_object(self, *, obj: Object, **others: Any) -> None:
        """Called by the reader of the source for every module, class and function."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
