"""YAML source of values that core.manifest.document, sops (Go's yaml.v3) and people read alike.

Texts come from anybody, so plain style is used only for unambiguous text; double quotes hold
everything else, and texts of several lines become literal blocks (``|``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentsd.core.manifest.scalars import UnusableScalar, is_text, resolve_scalar
from agentsd.core.names import is_uuid
from agentsd.files.yaml.blocks import CannotEdit

_NOT_PLAIN = re.compile(r": |:$| #|\s$")
_PLAIN_ANYWHERE = re.compile(r"[^\W\d_]([\w .@/+-]*[\w@/+-])?")  # also as a key, and within brackets
_YES_OR_NO = frozenset(("y", "n", "yes", "no", "on", "off"))  # strings to Go, but not to YAML 1.1 readers
_NOT_LITERAL = re.compile(  # YAML 1.1 cannot write these in a block: they break lines, or are refused
    "[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_JOINERS = frozenset(
    "\u200c\u200d"
)  # within emojis and Indic words; escaping them would make the text unreadable
_KEY_MAX = 1000  # YAML wants the colon within 1024 characters


@dataclass(frozen=True, slots=True)
class Style:
    """Style of the lines around a new value."""

    newline: str = "\n"
    step: int = 2  # indentation of a section's fields
    dash: int = 2  # indentation of a list's dashes
    quoted: bool = False  # as in JSON: keys and texts in double quotes


def dump_value(value: Mapping[str, Any], style: Style | None = None) -> str:
    """Return ``value`` as lines of block-style YAML, with a final newline. Raises ``CannotEdit``."""
    return format_block(value, 0, style or Style()) if value else "{}\n"


def format_block(value: Any, column: int, style: Style) -> str:
    """Return the lines of a non-empty mapping or list, its keys or dashes at ``column``."""
    if isinstance(value, Mapping):
        return "".join(format_entry(name, item, column, style) for name, item in value.items())
    return "".join(format_element(item, column, style) for item in value)


def format_entry(name: str, value: Any, column: int, style: Style) -> str:
    """Return the lines of one key and its value."""
    inline, below = format_behind(value, column, style)
    return f"{' ' * column}{format_key(name, style)}:{inline}{style.newline}{below}"


def format_element(value: Any, column: int, style: Style) -> str:
    """Return the lines of one element of a list, its dash at ``column``."""
    if is_filled(value):
        return f"{' ' * column}- {format_block(value, column + 2, style)[column + 2 :]}"
    inline, below = format_behind(value, column, style)
    return f"{' ' * column}-{inline}{style.newline}{below}"


def format_behind(value: Any, column: int, style: Style) -> tuple[str, str]:
    """Return the text behind a colon or dash on its line (with the space before), and the lines below.

    ``column`` is the key's or dash's.
    """
    if is_filled(value):
        inset = style.step if isinstance(value, Mapping) else style.dash
        return "", format_block(value, column + inset, style)
    if (
        isinstance(value, str)
        and "\n" in value
        and (lines := format_literal(value, column, style.step, style))
    ):
        return f" {lines[0]}", lines[1]
    return f" {format_flow(value, style, in_flow=False)}", ""


def is_filled(value: Any) -> bool:
    """Return whether this is a non-empty mapping or list."""
    return isinstance(value, Mapping | list | tuple) and bool(value)


def format_flow(value: Any, style: Style, *, in_flow: bool = True) -> str:
    """Return ``value`` on one line, collections in braces and brackets."""
    if isinstance(value, Mapping):
        inner = ", ".join(
            f"{format_key(name, style)}: {format_flow(item, style)}" for name, item in value.items()
        )
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(format_flow(item, style) for item in value)}]"
    return format_scalar(value, '"' if style.quoted else "", in_flow=in_flow)


def format_key(name: str, style: Style) -> str:
    """Return a key: plain if it is an ordinary word. Raises ``CannotEdit``."""
    if not isinstance(name, str) or len(name) > _KEY_MAX:
        raise CannotEdit(
            "a key that YAML cannot represent", hint=f"keys are strings of up to {_KEY_MAX} characters"
        )
    plain = not style.quoted and _PLAIN_ANYWHERE.fullmatch(name) and is_text(name)
    return name if plain else quote_text(name)


def format_scalar(value: Any, quotes: str = "", *, in_flow: bool = False) -> str:
    """Return a scalar on one line; a text in ``quotes`` (``'``, ``"`` or none) if they can hold it.

    Raises ``CannotEdit`` for what is neither text, number, bool nor None.
    """
    if isinstance(value, str):
        return _format_text(value, quotes, in_flow)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    hint = "values are strings, numbers, booleans, null, lists and mappings"
    raise CannotEdit(f"a manifest cannot contain a value of type {type(value).__name__}", hint=hint)


def quote_text(value: str) -> str:
    """Return ``value`` in double quotes.

    The surrogate pairs by which JSON escapes characters beyond 16 bits are not valid in YAML.
    """
    source = json.dumps(value, ensure_ascii=False)
    return "".join(
        char if char.isprintable() or char in _JOINERS else f"\\U{ord(char):08x}" for char in source
    )


def format_literal(value: str, column: int, inset: int, style: Style) -> tuple[str, str] | None:
    """Return header and lines of ``value`` as a literal block, indented by ``inset`` columns.

    The indent is relative to its key or dash. None if a block cannot hold it.
    """
    if _NOT_LITERAL.search(value) or not value.strip():
        return None
    bare = value.rstrip("\n")
    ends = len(value) - len(bare)
    mark = str(inset) if value.lstrip("\n")[0] in " \t" else ""
    if mark and not 1 <= inset <= 9:
        return None
    lines = (value[:-1] if ends else value).split("\n")
    pad = " " * (column + inset)
    header = f"|{mark}{'-' if not ends else '' if ends == 1 else '+'}"
    return header, "".join(f"{pad + line if line else ''}{style.newline}" for line in lines)


def _format_text(value: str, quotes: str, in_flow: bool) -> str:
    if quotes == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return value if not quotes and is_plain(value, in_flow) else quote_text(value)


def is_plain(value: str, in_flow: bool) -> bool:
    """Return whether unquoted ``value`` is this text to every parser, and looks like a text."""
    if is_uuid(value):  # its dashes rule out a number, date or time: ids look alike, whatever they begin with
        return True
    if not value[:1].isalpha() or not value.isprintable() or _NOT_PLAIN.search(value):
        return False
    if in_flow and not _PLAIN_ANYWHERE.fullmatch(value):
        return False
    try:
        return resolve_scalar(value) == value and value.lower() not in _YES_OR_NO
    except UnusableScalar:  # pragma: no cover - nothing that starts with a letter
        return False


def is_same_value(ours: Any, theirs: Any) -> bool:
    """Return whether both are equal in structure, types and values; key order does not count."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(is_same_value(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, str) or isinstance(theirs, str):
        return bool(ours == theirs)
    if isinstance(ours, Sequence) and isinstance(theirs, Sequence):
        return len(ours) == len(theirs) and all(map(is_same_value, ours, theirs))
    return type(ours) is type(theirs) and repr(ours) == repr(theirs)
