"""Minimal edits of a YAML text: scalars are replaced where they stand, everything else keeps its bytes.

Writing a parsed document back would re-indent it and drop blank lines; a review would then
show the whole file as changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from agentsd.core.errors import AgentsdError
from agentsd.core.scalars import resolve
from agentsd.core.violations import Pointer, dotted


class CannotSplice(AgentsdError):
    """The text has no such scalar, or it stands in a form that is not edited in place."""


def replace_scalars(text: str, scalars: Mapping[Pointer, str]) -> str:
    """``text`` with a new text in the place of each scalar of ``scalars``; nothing else is touched."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    spans = sorted(((*_span(root, pointer), value) for pointer, value in scalars.items()), reverse=True)
    for start, end, in_flow, value in spans:
        kept = text[start:end]
        tail = len(kept) - len(kept.rstrip()) if kept[:1] in {"|", ">"} else 0  # a block ends with its lines
        text = text[:start] + _source(value, in_flow) + text[end - tail :]
    return text


def _source(value: str, in_flow: bool) -> str:
    """YAML that reads as ``value``: plain where that is certain, as sops writes it, else in quotes."""
    plain = value[:1].isalpha() and not re.search(r": |:$| #|[^\x20-\x7e]|\s$", value)
    return value if plain and not in_flow and resolve(value) == value else _quoted(value)


def _quoted(value: str) -> str:
    """``value`` in double quotes. Half of a pair, as JSON escapes what is beyond 16 bits, is none in YAML."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def append_block(text: str, block: str) -> str:
    """``text`` with a top-level block at its end."""
    return f"{text if text.endswith(chr(10)) else text + chr(10)}{block}"


def top_level_block(text: str, key: str) -> str:
    """The lines of one top-level key, from its name to the end of its value."""
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    if start is None:
        raise CannotSplice(f"there is no top-level {key!r} in the text")
    stop = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in (" ", "\n", "-")), len(lines))
    return "".join(lines[start:stop])


def _span(root: Any, pointer: Pointer) -> tuple[int, int, bool]:
    """Start and end of a scalar, in characters, and whether brackets or braces are around it."""
    node, in_flow = root, False
    for part in pointer:
        in_flow = in_flow or bool(getattr(node, "flow_style", False))
        node = _child(node, part)
    if not isinstance(node, yaml.ScalarNode):
        raise CannotSplice(f"{dotted(pointer)} is not a single value", hint="edit the file by hand")
    return node.start_mark.index, node.end_mark.index, in_flow


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    raise CannotSplice(f"there is no {part!r} in the text", hint="edit the file by hand")
