"""Parser of a manifest's bytes into a plain value, with every reason for a refusal.

One pass over libyaml's events, without recursion: aliases are refused where they occur, before
anything could expand. Plain scalars resolve as Go's ``yaml.v3`` (the one in sops 3.11) resolves
them, so that this program and sops read a file alike; what no manifest needs (tags, anchors,
merge keys, dates, ``.nan``) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import yaml

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.positions import iter_events, locate_pointer
from agentsd.core.manifest.scalars import UnusableScalar, is_text, resolve_scalar
from agentsd.core.violations import Pointer, Violation

MAX_BYTES = 1 << 20
MAX_DEPTH, MAX_VIOLATIONS = 100, 50
MAX_NODES = 10_000
"""Keys, values and entries of one file: each costs every reader microseconds. Manifests have dozens."""

_BAD_CHARACTER = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
"""Characters that YAML 1.1 (section 5.1), libyaml and yaml.v3 refuse. Compiled on demand: takes 8 ms."""
_ASCII_BYTES = bytes((9, 10, 13, *range(32, 127)))
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_MISSING = object()
_MERGE_KEY = ("a merge key (<<)", "write the fields out")
_NO_TEXT = ("a key that is not a string", "put the key in quotes, or correct it")


@dataclass(frozen=True, slots=True)
class Document:
    """Manifest that is well-formed YAML with a mapping at its root.

    ``value`` contains dict, list, str, int, float, bool and None only, in document order, with the
    ``sops`` key if there is one.
    """

    path: str  # relative to the tree, with "/"
    data: bytes = field(repr=False)  # the file, byte for byte
    value: dict[str, Any] = field(repr=False)

    def violation(
        self, pointer: Pointer, code: str, message: str, hint: str = "", *, key: bool = False
    ) -> Violation:
        """Return a violation at ``pointer``, with the line and column of its value or of its key."""
        line, column = locate_pointer(self.data, pointer, key=key)
        return Violation(self.path, code, message, hint, line, column, pointer)


def parse_document(path: str, data: bytes, events: list[Any] | None = None) -> Document:
    """Return the document in ``data``. Raises ``InvalidManifests`` with every violation found.

    ``events``, where given, is filled with libyaml's events, for a caller who needs positions, too.

    Codes: too-large, encoding, control-character, yaml-syntax, yaml-documents, yaml-root,
    yaml-duplicate-key, yaml-key, yaml-alias, yaml-scalar. Never raises anything else.
    """
    text = _decode_text(path, data)
    builder = _Builder(path)
    try:
        builder.run(iter_events(text) if events is None else _record_events(iter_events(text), events))
    except yaml.YAMLError as error:
        builder.violations.append(_make_syntax_violation(path, error))
    except _StopParsing:
        pass
    if builder.violations:
        raise InvalidManifests(builder.violations[:MAX_VIOLATIONS])
    if not isinstance(builder.root, dict):
        raise InvalidManifests([_make_root_violation(path, builder)])
    return Document(path, data, builder.root)


def _record_events(source: Iterator[Any], events: list[Any]) -> Iterator[Any]:
    for event in source:
        events.append(event)
        yield event


class _StopParsing(Exception):
    """Signal that nothing after this point can be interpreted."""


class _Builder:
    """Builder of the value from events, which collects violations on the way."""

    __slots__ = ("containers", "depth", "path", "root", "violations")

    def __init__(self, path: str) -> None:
        self.path = path
        self.root: Any = _MISSING
        self.violations: list[Violation] = []

    def report(self, event: Any, code: str, message: str, hint: str) -> None:
        mark = event.start_mark
        self.violations.append(
            Violation(self.path, code, message, hint, line=mark.line + 1, column=mark.column + 1)
        )
        if len(self.violations) >= MAX_VIOLATIONS:
            raise _StopParsing

    def bounded(self, events: Iterator[Any]) -> Iterator[Any]:
        """Return the events up to the limit; a violation is reported if there are more."""
        return chain(islice(events, MAX_NODES), self.refuse_more(events))

    def refuse_more(self, events: Iterator[Any]) -> Iterator[Any]:
        """Yield nothing; report the first event beyond the limit."""
        yield from ()
        for event in events:
            message = f"more than {MAX_NODES:,} keys, values and entries"
            self.report(event, "too-large", message, "move long lists into files named by rag.sources")
            raise _StopParsing

    def run(self, events: Iterator[Any]) -> None:
        """Fill ``root``. The loop is one piece because it is the hot path of every open."""
        stack: list[tuple[Any, Any]] = []
        holder: Any = None  # the container that is being filled; None at the root
        key: Any = _MISSING  # the key that waits for its value
        for event in self.bounded(events):
            kind = event.__class__
            if kind is yaml.ScalarEvent:
                if key is _MISSING and holder.__class__ is dict:
                    key = self.key(event, holder)
                    continue
                node = self.scalar(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                holder, key = stack.pop()
                continue
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                node = self.container(event, kind, holder, key, len(stack))
            elif kind is yaml.AliasEvent:
                self.alias(event, holder, key)
                node = None
            else:
                self.document(event, kind)
                continue
            if holder is None:
                self.root = node
            elif holder.__class__ is dict:
                holder[key] = node
                key = _MISSING
            else:
                holder.append(node)
            if kind is not yaml.ScalarEvent and kind is not yaml.AliasEvent:
                stack.append((holder, key))
                holder, key = node, _MISSING

    def key(self, event: Any, holder: dict[str, Any]) -> str:
        text: str = event.value
        if event.anchor is not None or event.tag is not None:
            self.properties(event)
        if event.implicit[0] and (text == "<<" or not is_text(text)):
            self.report(event, "yaml-key", *(_MERGE_KEY if text == "<<" else _NO_TEXT))
        elif text in holder:
            self.report(event, "yaml-duplicate-key", "this key occurs twice", "keep one of the two")
        return text

    def scalar(self, event: Any) -> Any:
        if event.anchor is not None or event.tag is not None:
            self.properties(event)
        if not event.implicit[0]:
            if "\0" in event.value:  # written as an escape; Postgres cannot store it
                self.report(event, "control-character", "the control character U+0000", "remove the \\0")
            return event.value
        try:
            return resolve_scalar(event.value)
        except UnusableScalar as problem:
            self.report(event, "yaml-scalar", problem.message, problem.hint)
            return None

    def container(self, event: Any, kind: Any, holder: Any, key: Any, depth: int) -> Any:
        self.properties(event)
        if key is _MISSING and holder.__class__ is dict:
            self.report(event, "yaml-key", "a key that is a list or a mapping", "keys are plain strings")
            raise _StopParsing
        if depth >= MAX_DEPTH:
            self.report(
                event, "yaml-syntax", f"nested deeper than {MAX_DEPTH} levels", "a manifest is nearly flat"
            )
            raise _StopParsing
        return {} if kind is yaml.MappingStartEvent else []

    def alias(self, event: Any, holder: Any, key: Any) -> None:
        self.report(event, "yaml-alias", "an alias (*name)", "write the value out, or put it in quotes")
        if key is _MISSING and holder.__class__ is dict:
            raise _StopParsing

    def properties(self, event: Any) -> None:
        if event.anchor is not None:
            self.report(event, "yaml-alias", "an anchor (&name)", "remove it, or put the value in quotes")
        if event.tag is not None:
            self.report(event, "yaml-scalar", "a tag (!name)", "remove the tag; quotes make a text")

    def document(self, event: Any, kind: Any) -> None:
        if kind is yaml.DocumentStartEvent and self.root is not _MISSING:
            self.report(
                event, "yaml-documents", "a second document", "one file holds one manifest: split the file"
            )
            raise _StopParsing


def _decode_text(path: str, data: bytes) -> str:
    """Return the file's text. Raises ``InvalidManifests`` if it is not valid YAML text."""
    if len(data) > MAX_BYTES:
        message = f"{len(data):,} bytes; a manifest may have {MAX_BYTES:,}"
        hint = "move long knowledge into files named by rag.sources"
        raise InvalidManifests([Violation(path, "too-large", message, hint)])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line, column = _compute_position(data[: error.start].decode())
        message = "not UTF-8" + (" but UTF-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "")
        hint = "save the file as UTF-8 text"
        raise InvalidManifests([Violation(path, "encoding", message, hint, line, column)]) from None
    if data.isascii() and not data.translate(None, _ASCII_BYTES):
        return text  # fast path with the same result
    if bad := re.compile(_BAD_CHARACTER).search(text, 1 if text.startswith("\ufeff") else 0):
        line, column = _compute_position(text[: bad.start()])
        message = f"the control character U+{ord(bad[0]):04X}"
        hint = 'remove it, or write it as an escape in double quotes: "\\x07"'
        raise InvalidManifests([Violation(path, "control-character", message, hint, line, column)])
    return text


def _compute_position(before: str) -> tuple[int, int]:
    """Return the 1-based (line, column) of the character that follows ``before``."""
    lines = _LINE_BREAK.split(before.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1


def _make_root_violation(path: str, builder: _Builder) -> Violation:
    empty = builder.root is _MISSING or builder.root is None
    message = "the file is empty" if empty else "the file's root is not a mapping"
    hint = "write fields such as `name: Support`, or start with: agentsd new"
    return Violation(path, "yaml-root", message, hint)


_SYNTAX_HINTS = (
    ("tab", "indent with spaces, not with tabs"),
    (
        "cannot start any token",
        "indent with spaces, and put values that start with @, `, % or a tab in quotes",
    ),
    ("mapping values are not allowed", "put a value that contains ': ' in quotes, and check the indentation"),
    ("could not find expected ':'", "each line needs `key: value`; put long texts under `key: |`"),
    ("quoted scalar", "close the quotes"),
    ("escape", "use single quotes, or write a backslash as \\\\ within double quotes"),
    ("block end", "check the indentation of this line and of the lines above it"),
    ("flow", "close the bracket, or put the value in quotes"),
    ("alias", "put a value that starts with * in quotes"),
)


def _make_syntax_violation(path: str, error: yaml.YAMLError) -> Violation:
    """Return the violation for a syntax error.

    libyaml's problem texts are constants of its source: they quote nothing from the file.
    """
    marked = error if isinstance(error, yaml.MarkedYAMLError) else yaml.MarkedYAMLError()
    problem = f"{marked.context or ''} {marked.problem or ''}".strip() or "it cannot be parsed"
    hint = next((hint for word, hint in _SYNTAX_HINTS if word in problem), "correct the YAML at this place")
    mark = marked.problem_mark or marked.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Violation(path, "yaml-syntax", f"not YAML: {problem}", hint, line=line, column=column)
