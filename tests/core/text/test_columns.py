"""Columns of text."""

from __future__ import annotations

from agentsd.core.text.columns import format_columns


def text(header: tuple[str, ...], *rows: tuple[str, ...]) -> list[str]:
    lines = format_columns(header, [[("", cell) for cell in row] for row in rows])
    return ["".join(part for _, part in line) for line in lines]


def test_columns_line_up() -> None:
    """Under their titles, without blanks at the end of a line; an empty column is left out."""
    assert text(("when", "x", "who"), ("now", "", "a"), ("yesterday", "", "")) == [
        "when       who",
        "now        a",
        "yesterday",
    ]


def test_nothing_moves_the_cursor() -> None:
    """Line breaks and escapes in a cell are shown as such, and nothing is cut off."""
    assert text(("a",), ("x\n\x1b[2J" + "y" * 300,))[1] == "x\\n\\x1b[2J" + "y" * 300
