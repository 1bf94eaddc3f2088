"""Small pieces of HTML. Every text is escaped here, or by its caller where it says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

_CODE = re.compile(r"`([^`]+)`")


def prose(text: str) -> str:
    """Plain text, in which backticks mark code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def rows(table: Iterable[Sequence[str]]) -> str:
    """A table. Cells are HTML."""
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table)
    return f"<table>{''.join(lines)}</table>"
