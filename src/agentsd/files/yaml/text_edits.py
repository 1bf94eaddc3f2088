"""Text edits that add and remove entries of one collection.

Two ways of writing, one module: lines in block style, and items between commas in flow style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from agentsd.files.yaml import emitter as emit
from agentsd.files.yaml.emitter import Style
from agentsd.files.yaml.layout import Unsupported, YamlEntry, YamlText, is_comment
from agentsd.files.yaml.match import FIRST_PLACE, EntryMatch

_BREAKS = "\r\n\x85\u2028\u2029"
_COMMA = re.compile(r"[ \t]*(,?)")
_REST = re.compile(r"[ \t]*(,?)[ \t]*(#.*)?")

NewEntries = list[tuple[str | int, Any]]


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replacement of text[start:end] by ``new``. ``lines``: it consists of whole lines."""

    start: int
    end: int
    new: str = ""
    lines: bool = False


def apply_edits(text: str, cuts: Iterable[TextEdit], newline: str) -> str:
    """Return the text with all edits made, in their order if they begin at the same place."""
    parts, place = [""], 0
    for cut in sorted(cuts, key=lambda one: (one.start, one.end)):
        parts.append(text[place : max(cut.start, place)])
        before = next((part for part in reversed(parts) if part), newline)
        if cut.lines and cut.new and before[-1] not in _BREAKS:
            parts.append(newline)
        parts.append(cut.new)
        place = max(place, cut.end)
    return "".join((*parts, text[place:]))


# Block style


def make_block_edits(
    sheet: YamlText, entries: list[YamlEntry], plan: EntryMatch, style: Style, *, is_root: bool
) -> Iterator[TextEdit]:
    """Yield the edits that add and remove lines.

    Raises ``Unsupported`` if the collection is better written anew.
    """
    if FIRST_PLACE in plan.added and not sheet.leads(entries[0].start):
        raise Unsupported
    column = sheet.column(entries[0].start)
    for place, new in plan.added.items():
        top = place == FIRST_PLACE
        index = sheet.above(entries[0], first=is_root) if top else sheet.below(entries[place])
        gap = style.newline if is_root and not top and _is_airy(sheet, entries) else ""
        yield TextEdit(index, index, _emit_lines(new, column, style, gap), lines=True)
    for first, last in _find_runs(entries, plan):
        yield _remove_entries(sheet, entries, first, last, is_root=is_root)


def _emit_lines(new: NewEntries, column: int, style: Style, gap: str) -> str:
    """Return the lines of new entries; ``gap`` precedes sections."""
    return "".join(
        f"{gap if emit.is_filled(value) else ''}{emit.format_entry(name, value, column, style)}"
        if isinstance(name, str)
        else emit.format_element(value, column, style)
        for name, value in new
    )


def _is_airy(sheet: YamlText, entries: list[YamlEntry]) -> bool:
    """Return whether every section but a first one has a blank line above it, and one exists."""
    sections = [
        one for one in entries[1:] if not isinstance(one.node, yaml.ScalarNode) and one.name != "sops"
    ]
    tops = (sheet.above(one, first=False) for one in sections)
    return bool(sections) and all(not sheet.line(sheet.line_start(top - 1)).strip() for top in tops)


def _find_runs(entries: list[YamlEntry], plan: EntryMatch) -> Iterator[tuple[int, int]]:
    """Yield (first, last) indices of consecutive entries that are removed."""
    start = None
    for place in range(len(entries) + 1):
        gone = place < len(entries) and place not in plan.kept
        if gone and start is None:
            start = place
        elif not gone and start is not None:
            yield start, place - 1
            start = None


def _remove_entries(
    sheet: YamlText, entries: list[YamlEntry], first: int, last: int, *, is_root: bool
) -> TextEdit:
    if not sheet.leads(entries[first].start):
        return _remove_compact(sheet, entries, first, last)
    start = sheet.above(entries[first], first=is_root and first == 0)
    end = sheet.below(entries[last])
    floor = sheet.below(entries[first - 1]) if first else start
    is_top = start == 0 or (first == 0 and not is_root)
    return TextEdit(*_trim_gap(sheet, start, end, floor, is_top))


def _trim_gap(sheet: YamlText, start: int, end: int, floor: int, is_top: bool) -> tuple[int, int]:
    """Merge the blank lines above and below into those above.

    At the top of a section and at the text's end, none stay.
    """
    rest = sheet.text[end:]
    if not rest.strip():
        while start > floor and not sheet.line(sheet.line_start(start - 1)).strip():
            start = sheet.line_start(start - 1)
        return start, end
    if is_top or not sheet.line(sheet.line_start(start - 1)).strip():
        while not sheet.line(end).strip():
            end = sheet.next_line(end)
    return start, end


def _remove_compact(sheet: YamlText, entries: list[YamlEntry], first: int, last: int) -> TextEdit:
    """Remove the first key of ``- key: …``: the next one moves up, unless comments intervene."""
    start, kept = entries[first].start, entries[last + 1].start
    end = sheet.below(entries[last])
    between = (sheet.line(i) for i in _line_starts(sheet, end, kept))
    if not any(is_comment(line) for line in between):
        return TextEdit(start, kept)
    start -= len(sheet.text[:start]) - len(sheet.text[:start].rstrip(" "))
    return TextEdit(start, sheet.line_end(sheet.line_start(end - 1)))


def _line_starts(sheet: YamlText, start: int, end: int) -> Iterator[int]:
    while start < end:
        yield start
        start = sheet.next_line(start)


# Flow style


def make_flow_edits(
    sheet: YamlText, node: Any, entries: list[YamlEntry], plan: EntryMatch, style: Style
) -> Iterator[TextEdit]:
    """Yield the edits that add and remove items between commas. Raises ``Unsupported``."""
    if sheet.text[node.start_mark.index] not in "{[":
        raise Unsupported
    kept = [FIRST_PLACE, *plan.kept, len(entries)]
    for before, behind in pairwise(kept):
        gone = entries[before + 1 : behind]
        new = [_emit_flow(one, style) for one in plan.added.get(before, [])]
        if behind < len(entries):
            yield from _edit_between(sheet, gone, entries[behind], new, style)
        else:
            yield from _edit_at_end(sheet, entries[before], gone, new, style)


def _emit_flow(new: tuple[str | int, Any], style: Style) -> str:
    name, value = new
    source = emit.format_flow(value, style)
    return f"{emit.format_key(name, style)}: {source}" if isinstance(name, str) else source


def _edit_between(
    sheet: YamlText, gone: list[YamlEntry], behind: YamlEntry, new: list[str], style: Style
) -> Iterator[TextEdit]:
    start = (gone or [behind])[0].start
    space = f"{style.newline}{' ' * sheet.column(start)}" if sheet.leads(start) else " "
    if new:
        yield TextEdit(start, start, "".join(f"{one},{space}" for one in new))
    if gone:
        yield TextEdit(start, behind.start)


def _edit_at_end(
    sheet: YamlText, before: YamlEntry, gone: list[YamlEntry], new: list[str], style: Style
) -> Iterator[TextEdit]:
    end = sheet.end(before)
    rest = _REST.fullmatch(sheet.text, end, sheet.line_end(end))
    if rest is None or not sheet.leads(before.start):
        yield TextEdit(end, end, "".join(f", {one}" for one in new))
        if gone:
            yield TextEdit(end, sheet.end(gone[-1]))
        return
    # an entry to a line: comments stay with their entries
    space = f"{style.newline}{' ' * sheet.column(before.start)}"
    ends = sheet.end(gone[-1]) if gone else end
    comma = rest[1] if not gone else _COMMA.match(sheet.text, ends)[1]  # type: ignore[index]  # matches ""
    if new and not rest[1]:
        yield TextEdit(end, end, ",")
    elif gone and not new and not comma:
        yield TextEdit(rest.start(1), rest.end(1))
    yield TextEdit(
        rest.end(), rest.end(), "".join(f"{space}{one}," for one in new).removesuffix("," * (not comma))
    )
    if gone:
        last = _REST.fullmatch(sheet.text, ends, sheet.line_end(ends))
        yield TextEdit(rest.end(), last.end() if last else ends)
