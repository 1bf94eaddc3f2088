"""Edits of a YAML text that change as little of it as possible.

The old value and the new one are compared, and the text is cut only where they differ: comments,
order, blank lines, quotes and ciphertexts elsewhere keep their bytes. The result is parsed
before it is returned, so a form that this module does not support costs its comments or an
error, never a wrong value. Each text is parsed once: the result is a document that can be edited again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import Document, parse_document
from agentsd.files.yaml import emitter as emit
from agentsd.files.yaml.blocks import CannotEdit
from agentsd.files.yaml.emitter import Style, is_same_value
from agentsd.files.yaml.layout import BLOCKS, Unsupported, YamlEntry, YamlText, compose_nodes
from agentsd.files.yaml.match import match_list, match_mapping
from agentsd.files.yaml.text_edits import TextEdit, apply_edits, make_block_edits, make_flow_edits

_PASSES = 2  # the second one repairs what the first one moved, such as a string at the end of the file
_HEADER = re.compile(r"[|>][-+1-9]*")
_COMMENT = re.compile(r"[ \t]+#.*")
_FIRST_BREAK = re.compile(r"[^\r\n]*\r\n")
_SEAL_KEY = "sops"


@dataclass(frozen=True, slots=True)
class EditableDocument(Document):
    """Document with the events of its parse, so that its text can be edited without another one."""

    events: Sequence[Any] = field(default=(), repr=False, compare=False)


def parse_editable(path: str, data: bytes) -> EditableDocument:
    """Return the document in ``data``, to be edited. Raises as ``parse_document``."""
    events: list[Any] = []
    document = parse_document(path, data, events)
    return EditableDocument(path, data, document.value, events)


def update_text(text: str, value: Mapping[str, Any]) -> str:
    """Return the YAML text that parses as ``value`` and differs from ``text`` as little as possible.

    As ``update_document``, which see.
    """
    return update_document(Document("", text.encode("utf-8", "surrogatepass"), {}), value).data.decode()


def update_document(document: Document, value: Mapping[str, Any]) -> EditableDocument:
    """Return the document that contains ``value`` and whose text differs as little as possible.

    New keys are put behind the one that precedes them in ``value``, and before ``sops:``. A removed
    key takes its comments along: that on its line, and those directly above it. A text that
    contains no value yet is extended. Raises ``InvalidManifests`` if the text is not valid YAML of a
    manifest, ``CannotEdit`` if ``value`` cannot be written.
    """
    reading = _read_document(document)
    try:
        for deep in (True, False):
            if (done := _apply_value(reading, value, deep)) is not None:
                data = (reading.mark + done.text).encode()
                return EditableDocument(document.path, data, done.value or {}, done.events)
    except (RecursionError, ValueError, TypeError):  # too deep, half a surrogate pair, a huge number
        pass
    raise CannotEdit("the file cannot be edited to contain these values", hint="edit the file manually")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Text, parsed. ``value`` is None if there are only comments and ``---``."""

    text: str  # without a byte order mark
    value: dict[str, Any] | None
    events: Sequence[Any]
    mark: str = ""  # the byte order mark


def _read_document(document: Document) -> _Reading:
    text = document.data.decode()
    if text.startswith("\ufeff"):  # positions are counted without it
        return replace(_read_text(text[1:]), mark="\ufeff")
    if isinstance(document, EditableDocument):
        return _Reading(text, document.value, document.events)
    return _read_text(text)


def _apply_value(reading: _Reading, value: Mapping[str, Any], deep: bool) -> _Reading | None:
    """Return the text with ``value`` in it; None if the result does not parse as ``value``."""
    try:
        for _ in range(_PASSES):
            if reading.value is not None and is_same_value(reading.value, value):
                return reading
            reading = _read_text(_TextUpdater(reading, deep).run(reading.value or {}, value))
        return reading if is_same_value(reading.value, value) else None
    except InvalidManifests:
        return None


def _read_text(text: str) -> _Reading:
    """Parse a text without a byte order mark. Raises ``InvalidManifests``."""
    events: list[Any] = []
    try:
        return _Reading(text, parse_document("", text.encode(), events).value, events)
    except InvalidManifests as error:
        codes = {one.code for one in error.violations}
        if codes == {"yaml-root"} and _is_blank(compose_nodes(events)):
            return _Reading(text, None, events)
        raise


def _is_blank(node: Any) -> bool:
    return node is None or node.start_mark.index == node.end_mark.index


class _TextUpdater:
    """Collector of the edits that one text needs."""

    def __init__(self, reading: _Reading, deep: bool) -> None:
        self.sheet = YamlText(reading.text, reading.events)
        self.text = reading.text
        self.deep = deep  # False: a changed section is rewritten as a whole
        self.style = detect_style(self.sheet)
        self.cuts: list[TextEdit] = []

    def run(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
        root = self.sheet.root
        if _is_blank(root):
            self.cuts.append(
                TextEdit(len(self.text), len(self.text), emit.dump_value(new, self.style), lines=True)
            )
        else:
            try:
                self.collection(root, old, new)
            except Unsupported:
                self.cuts = [self.whole(root, new)]
        return apply_edits(self.text, self.cuts, self.style.newline)

    def whole(self, root: Any, new: Mapping[str, Any]) -> TextEdit:
        """Return the edit that writes the root anew."""
        start, end = root.start_mark.index, root.end_mark.index
        if root.flow_style and (root.value or not self.sheet.leads(start)):
            return TextEdit(start, end, emit.format_flow(new, self.style))
        return TextEdit(
            self.sheet.line_start(start), self.sheet.next_line(end), emit.dump_value(new, self.style)
        )

    def collection(self, node: Any, old: Any, new: Any) -> None:
        """Add the edits within a mapping or a list. Raises ``Unsupported``."""
        entries, in_flow = self.sheet.entries(node), bool(node.flow_style)
        is_mapping = isinstance(new, Mapping)
        plan = match_mapping(old, new, last=_SEAL_KEY) if is_mapping else match_list(old, new)
        if not plan.kept:
            raise Unsupported
        for place, value in plan.kept.items():
            entry = entries[place]
            self.change(entry, old[entry.name], value, in_flow)
        quoted = is_mapping and node.value[0][0].style == '"'  # as in JSON
        style = replace(self.style, quoted=quoted)
        if in_flow:
            self.cuts.extend(make_flow_edits(self.sheet, node, entries, plan, style))
        else:
            is_root = node is self.sheet.root
            self.cuts.extend(make_block_edits(self.sheet, entries, plan, style, is_root=is_root))

    def change(self, entry: YamlEntry, old: Any, new: Any, in_flow: bool) -> None:
        """Add the edits that make one entry's value ``new``."""
        if is_same_value(old, new):
            return
        if self.deep and emit.is_filled(old) and emit.is_filled(new) and _get_kind(old) is _get_kind(new):
            made = len(self.cuts)
            try:
                self.collection(entry.node, old, new)
                return
            except Unsupported:
                del self.cuts[made:]
        if in_flow or self.fits_line(entry.node, new):
            self.cuts.append(self.in_line(entry, new, in_flow))
        else:
            self.cuts.extend(self.relined(entry, new) or [self.anew(entry, new)])

    # Values

    def fits_line(self, node: Any, new: Any) -> bool:
        """Return whether a scalar on one line stays on one line."""
        if not isinstance(node, yaml.ScalarNode) or node.style in BLOCKS:
            return False
        return not emit.is_filled(new) and not emit.format_behind(new, 0, self.style)[1]

    def in_line(self, entry: YamlEntry, new: Any, in_flow: bool) -> TextEdit:
        """Return the edit that replaces a value by another one, on one line."""
        node, style = entry.node, getattr(entry.node, "style", None)
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(new, str):
            source = emit.format_scalar(new, style if style in {"'", '"'} else "", in_flow=in_flow)
        else:
            source = emit.format_flow(new, self.style)
        if start < end:
            return TextEdit(start, end, source)
        colon = "" if self.text[entry.mark - 1] in ":-" else ":"  # {key} has none
        return TextEdit(entry.mark, entry.mark, f"{colon} {source}")

    def relined(self, entry: YamlEntry, new: Any) -> list[TextEdit]:
        """Return the edits for new lines of a block text; its header's comment and indent stay."""
        node, column = entry.node, self.sheet.column(entry.start)
        if not isinstance(new, str) or getattr(node, "style", None) not in BLOCKS:
            return []
        start, end = self.header(node)
        told = self.text[start:end].strip("|>+-")
        inset = int(told) if told else self.sheet.content_column(node) - column
        lines = emit.format_literal(new, column, inset if inset > 0 else self.style.step, self.style)
        if not lines:
            return []
        below = self.sheet.next_line(end)
        return [
            TextEdit(start, end, lines[0]),
            TextEdit(below, self.sheet.node_end(node), lines[1], lines=True),
        ]

    def header(self, node: Any) -> tuple[int, int]:
        """Return the position of the marks of a block scalar, such as ``|2-``."""
        found = _HEADER.match(self.text, node.start_mark.index)
        return found.span() if found else (node.start_mark.index,) * 2

    def anew(self, entry: YamlEntry, new: Any) -> TextEdit:
        """Replace everything behind the colon or dash, and the lines below.

        A comment on that line stays.
        """
        sheet, column = self.sheet, self.sheet.column(entry.start)
        comment = self.comment(entry)
        is_element = isinstance(entry.name, int)
        if is_element and emit.is_filled(new) and not comment:
            source = emit.format_element(new, column, self.style)[column + 1 :]
        else:
            inline, below = emit.format_behind(new, column, self.style)
            source = f"{inline}{comment}{self.style.newline}{below}"
        stop = sheet.below(entry)
        if sheet.unended and stop == len(self.text) and source.count("\n") == 1:
            source = source.rstrip("\r\n")  # a file without a last line break stays one
        return TextEdit(entry.mark, stop, source)

    def comment(self, entry: YamlEntry) -> str:
        """Return the comment on the line of a key or dash, with the space before it."""
        node, line_end = entry.node, self.sheet.line_end(entry.mark)
        if node.start_mark.index > line_end or node.start_mark.index == node.end_mark.index:
            place = entry.mark
        elif isinstance(node, yaml.ScalarNode) and node.style in BLOCKS:
            place = self.header(node)[1]
        elif isinstance(node, yaml.ScalarNode) or node.flow_style:
            place = node.end_mark.index
        else:
            return ""
        found = _COMMENT.match(self.text, place, self.sheet.line_end(place))
        return found[0] if found else ""


def detect_style(sheet: YamlText) -> Style:
    """Return the style of the file: its line breaks, and the indents of its sections and lists."""
    insets: dict[type, int] = {}
    waiting = [sheet.root]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            continue
        for key, value in node.value:
            if isinstance(value, yaml.CollectionNode) and not value.flow_style:
                insets.setdefault(type(value), value.start_mark.column - key.start_mark.column)
                waiting.append(value)
    step, dash = insets.get(yaml.MappingNode, 2), insets.get(yaml.SequenceNode, 2)
    newline = "\r\n" if _FIRST_BREAK.match(sheet.text) else "\n"
    return Style(newline, step if 2 <= step <= 8 else 2, dash if 0 <= dash <= 8 else 2)


def _get_kind(value: Any) -> type:
    return Mapping if isinstance(value, Mapping) else list
