"""Screen of sections for any width: entries in columns if they fit, else on several lines. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentsd.core.names import escape_unprintable
from agentsd.core.text.render import Line, Span

MARKS: dict[str, Span] = {
    "ok": ("green", "✓"),
    "warn": ("yellow", "!"),
    "bad": ("red", "✗"),
    "none": ("dim", "·"),
}
_INDENT = 6
_COLUMN_MIN = 20


@dataclass(frozen=True, slots=True)
class ScreenEntry:
    """Item of a section: its state, its name and its details."""

    mark: str  # of ``MARKS``
    name: str
    cells: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreenSection:
    """Entries under a title; ``more`` counts those that are left out."""

    title: str
    entries: Sequence[ScreenEntry]
    more: int = 0


def format_screen(sections: Sequence[ScreenSection], width: int) -> Iterator[Line]:
    """Yield lines of at most ``width`` characters; sections without entries are left out."""
    width = max(width, _COLUMN_MIN)
    for section in sections:
        if section.entries:
            yield ()
            yield (("bold", _shorten_name(escape_unprintable(section.title), width)),)
            yield from _format_body([_escape_entry(entry) for entry in section.entries], width)
            if section.more:
                yield (("dim", f"    and {section.more} more"),)


def _format_body(entries: Sequence[ScreenEntry], width: int) -> Iterator[Line]:
    count = max(len(entry.cells) for entry in entries)
    padded = [(*entry.cells, *[("", "")] * (count - len(entry.cells))) for entry in entries]
    names = max(len(entry.name) for entry in entries)
    widths = [max(len(cells[index][1]) for cells in padded) for index in range(count)]
    fits = 4 + names + sum(2 + one for one in widths if one) <= width
    for entry, cells in zip(entries, padded, strict=True):
        yield from _format_row(entry, cells, names, widths) if fits else _format_block(entry, width)


def _format_row(
    entry: ScreenEntry, cells: Sequence[Span], names: int, widths: Sequence[int]
) -> Iterator[Line]:
    spans = [("", entry.name.ljust(names))]
    spans += [
        (style, "  " + text.ljust(one)) for (style, text), one in zip(cells, widths, strict=True) if one
    ]
    while len(spans) > 1 and not spans[-1][1].strip():
        spans.pop()
    spans[-1] = (spans[-1][0], spans[-1][1].rstrip())
    style, mark = MARKS[entry.mark]
    yield ((style, f"  {mark} "), *spans)


def _format_block(entry: ScreenEntry, width: int) -> Iterator[Line]:
    """Yield the name on one line and the wrapped details below it."""
    style, mark = MARKS[entry.mark]
    yield ((style, f"  {mark} "), ("", _shorten_name(entry.name, width - 4)))
    line: list[Span] = []
    room = width - _INDENT
    for style, text in entry.cells:
        for piece in textwrap.wrap(text, width - _INDENT):
            gap = 2 if line else 0
            if line and len(piece) + gap > room:
                yield (("", " " * _INDENT), *line)
                line, room, gap = [], width - _INDENT, 0
            line.append((style, " " * gap + piece))
            room -= gap + len(piece)
    if line:
        yield (("", " " * _INDENT), *line)


def _shorten_name(text: str, width: int) -> str:
    """Shorten a long name in its middle: hosts and folders differ at the end."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _escape_entry(entry: ScreenEntry) -> ScreenEntry:
    cells = tuple((style, escape_unprintable(text)) for style, text in entry.cells)
    return ScreenEntry(entry.mark, escape_unprintable(entry.name), cells)
