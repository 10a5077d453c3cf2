"""Docstrings as Markdown: an interpreter's session is a code block, an asterisk a product."""

import re
from typing import Any

from griffe import Extension, Object

_SESSION = re.compile(r"^(?P<indent> *)>>> .*\n(?:(?P=indent)\S.*(?:\n|$))*", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```$|^    .*$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def fenced(text: str) -> str:
    """The text with each session (`>>> ` up to an empty line) in a fence of its own."""
    return _SESSION.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", text)


def escaped(text: str) -> str:
    """The text with its asterisks as they are (G*H), outside code."""
    parts = _CODE.split(text)
    parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
    return "".join(parts)


class Sessions(Extension):
    """Applies both to every docstring."""

    def on_object(self, *, obj: Object, **others: Any) -> None:
        """Called by the reader of the source for every module, class and function."""
        if obj.docstring is not None:
            obj.docstring.value = escaped(fenced(obj.docstring.value))
