"""HTML helpers. Every text is escaped here, or by its caller where documented."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

_CODE = re.compile(r"`([^`]+)`")


def render_prose(text: str) -> str:
    """Render plain text, in which backticks mark code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def render_table(table: Iterable[Sequence[str]]) -> str:
    """Render a table. Cells are HTML."""
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table)
    return f"<table>{''.join(lines)}</table>"
