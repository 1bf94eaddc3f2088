"""Layout of a YAML text: positions of keys, dashes and values, their lines and their comments.

Positions are indices of characters. libyaml lets a block collection end at the next token; here
it ends where its last value does, so that comments and blank lines below it stay separate.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as YAML 1.1 breaks lines
_COLON = re.compile(r"[ \t]*:")
BLOCKS = frozenset("|>")
"""Styles of scalars that span lines of their own."""


class Unsupported(Exception):
    """Collection in a form that is not edited in place, such as ``? key``."""


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """Key or element of a collection."""

    name: str | int
    start: int  # position of its key or dash (of an element in brackets: of its value)
    mark: int  # just after its colon or dash
    node: Any  # the value


class YamlText:
    """Text that ``parse_document`` accepts, and its nodes (``root`` is None if there are none).

    ``events`` are those that ``parse_document`` met: the text is not parsed again.
    """

    def __init__(self, text: str, events: Iterable[Any]) -> None:
        self.text = text
        self.root: Any = compose_nodes(events)
        self._lines = [0, *(found.end() for found in _BREAK.finditer(text))]

    def entries(self, node: Any) -> list[YamlEntry]:
        """Return the entries of a mapping or list in the order of the text. Raises ``Unsupported``."""
        if isinstance(node, yaml.MappingNode):
            return [self._pair(key, value, bool(node.flow_style)) for key, value in node.value]
        return [self._element(node, index) for index in range(len(node.value))]

    def _pair(self, key: Any, value: Any, in_flow: bool) -> YamlEntry:
        end = key.end_mark.index
        colon = _COLON.match(self.text, end)
        if not colon and not in_flow:
            raise Unsupported
        return YamlEntry(key.value, key.start_mark.index, colon.end() if colon else end, value)

    def _element(self, node: Any, index: int) -> YamlEntry:
        value = node.value[index]
        start = value.start_mark.index
        if node.flow_style:
            return YamlEntry(index, start, start, value)
        dash = self._find_dash(node, start)
        return YamlEntry(index, dash, dash + 1, value)

    def _find_dash(self, node: Any, start: int) -> int:
        """Return the position of the dash before the element at ``start``.

        A block list starts at its first dash, and the others are below it, first on their lines. Between
        such a dash and its element there are only spaces and comments.
        """
        column, first = int(node.start_mark.column), int(node.start_mark.index)
        place = bisect_right(self._lines, start) - 1
        while (dash := self._lines[place] + column) > first:
            if dash < start and self.text[dash] == "-" and self.leads(dash):
                return dash
            place -= 1
        return first

    # Lines

    @property
    def unended(self) -> bool:
        """Return whether the last line has no line break."""
        return self._lines[-1] != len(self.text)

    def line_start(self, index: int) -> int:
        """Return the start of the line of ``index``."""
        return self._lines[bisect_right(self._lines, index) - 1]

    def next_line(self, index: int) -> int:
        """Return the start of the line after that of ``index``; the text's end after the last one."""
        place = bisect_right(self._lines, index)
        return self._lines[place] if place < len(self._lines) else len(self.text)

    def line_end(self, index: int) -> int:
        """Return the end of the line of ``index``, without its line break."""
        found = _BREAK.search(self.text, index)
        return found.start() if found else len(self.text)

    def line(self, start: int) -> str:
        """Return the line that begins at ``start``, without its break."""
        return self.text[start : self.line_end(start)]

    def column(self, index: int) -> int:
        """Return the number of characters before ``index`` on its line."""
        return index - self.line_start(index)

    def leads(self, index: int) -> bool:
        """Return whether only spaces precede ``index`` on its line."""
        return not self.text[self.line_start(index) : index].strip(" ")

    # Extents

    def end(self, entry: YamlEntry) -> int:
        """Return the position just behind the entry's last character."""
        node = entry.node
        return entry.mark if node.start_mark.index == node.end_mark.index else self.node_end(node)

    def node_end(self, node: Any) -> int:
        """Return the position just behind the node's last character.

        For a block scalar it is the start of the line below.
        """
        if isinstance(node, yaml.ScalarNode) and node.style in BLOCKS:
            return self._block_end(node)
        if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
            return int(node.end_mark.index)
        return self.end(self.entries(node)[-1])

    def after(self, entry: YamlEntry) -> int:
        """Return the start of the first line below the entry."""
        end = self.end(entry)
        return end if end > entry.start and end == self.line_start(end) else self.next_line(end)

    def below(self, entry: YamlEntry) -> int:
        """Return the position of ``after``, but below following comments that are indented further."""
        column, best = self.column(entry.start), self.after(entry)
        place = best
        while place < len(self.text):
            line = self.line(place)
            place = self.next_line(place)
            if is_comment(line) and count_indent(line) > column:
                best = place
            elif line.strip():
                break
        return best

    def above(self, entry: YamlEntry, *, first: bool) -> int:
        """Return the start of the entry's lines, the comments directly above it included.

        ``first``: the first key of the file; comments at the file's top are about the file.
        """
        column, top = self.column(entry.start), self.line_start(entry.start)
        place = top
        while place > 0:
            line = self.line(self.line_start(place - 1))
            if not is_comment(line) or count_indent(line) != column:
                break
            place = self.line_start(place - 1)
        headed = place == 0 or self.line(self.line_start(place - 1)).strip()
        return top if first and headed else place

    def _block_end(self, node: Any) -> int:
        """Return the end without the blank lines below, unless they are kept (``|+``)."""
        start, end = node.start_mark.index, int(node.end_mark.index)
        if "+" in self.line(start)[:3]:
            return end
        inset = self.content_column(node)
        while (last := self.line_start(end - 1)) > start:
            line = self.line(last)
            if line.strip(" ") or len(line) > inset:
                break
            end = last
        return end

    def content_column(self, node: Any) -> int:
        """Return the indent of a block scalar's lines, taken from its first line of text."""
        place, end = self.next_line(node.start_mark.index), node.end_mark.index
        while place < end:
            line = self.line(place)
            if line.strip(" "):
                return count_indent(line)
            place = self.next_line(place)
        return 0


def compose_nodes(events: Iterable[Any]) -> Any:
    """Return the root node of the only document in ``events``, without tags; None if there is none."""
    root: Any = None
    open_nodes: list[Any] = []
    for event in events:
        kind = event.__class__
        if kind is yaml.ScalarEvent:
            node: Any = yaml.ScalarNode("", event.value, event.start_mark, event.end_mark, event.style)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            cls = yaml.MappingNode if kind is yaml.MappingStartEvent else yaml.SequenceNode
            node = cls("", [], event.start_mark, None, event.flow_style)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            ended = open_nodes.pop()
            ended.end_mark = event.end_mark
            if isinstance(ended, yaml.MappingNode):
                ended.value = list(zip(ended.value[::2], ended.value[1::2], strict=True))
            continue
        else:
            continue
        if open_nodes:
            open_nodes[-1].value.append(node)
        else:
            root = node
        if kind is not yaml.ScalarEvent:
            open_nodes.append(node)
    return root


def is_comment(line: str) -> bool:
    """Return whether a line contains a comment only."""
    return line.lstrip(" \t").startswith("#")


def count_indent(line: str) -> int:
    """Return the number of spaces that a line begins with."""
    return len(line) - len(line.lstrip(" "))
