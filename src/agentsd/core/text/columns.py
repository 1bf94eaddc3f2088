"""Columns of text for terminals and pipes, without truncation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentsd.core.names import escape_unprintable
from agentsd.core.text.render import Line, Span

_GAP = "  "


def format_columns(header: Sequence[str], rows: Sequence[Sequence[Span]]) -> Iterator[Line]:
    """Yield ``rows`` of (style, text) under ``header``.

    Texts are made printable, empty columns are left out.
    """
    cells = [[(style, escape_unprintable(text)) for style, text in row] for row in rows]
    widths = [max((len(row[index][1]) for row in cells), default=0) for index in range(len(header))]
    used = [index for index, width in enumerate(widths) if width]
    titles = [("dim", name) for name in header]
    for row in (titles, *cells):
        spans = [
            (style, text.ljust(max(widths[index], len(header[index]))))
            for index in used
            for style, text in [row[index]]
        ]
        yield _trim_cells(spans)


def _trim_cells(spans: Sequence[Span]) -> Line:
    """Return the cells with gaps between them, and without blanks at the end of the line."""
    while spans and not spans[-1][1].strip():
        spans = spans[:-1]
    last = len(spans) - 1
    return tuple(
        (style, text.rstrip() if index == last else text + _GAP) for index, (style, text) in enumerate(spans)
    )
