"""Minimal edits of a YAML text: scalars are replaced where they stand, everything else keeps its bytes.

Writing a parsed document back would re-indent it and drop blank lines; a review would then
show the whole file as changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from agentsd.core.errors import AgentsdError
from agentsd.core.violations import Pointer, dotted


class CannotSplice(AgentsdError):
    """The text has no such scalar, or it stands in a form that is not edited in place."""


def replace_scalars(text: str, scalars: Mapping[Pointer, str]) -> str:
    """``text`` with each scalar of ``scalars`` replaced by the given YAML source; nothing else is touched."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    spans = sorted(((*_span(root, pointer), source) for pointer, source in scalars.items()), reverse=True)
    for start, end, source in spans:
        text = text[:start] + source + text[end:]
    return text


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


def _span(root: Any, pointer: Pointer) -> tuple[int, int]:
    """Start and end of a scalar, in characters. Block scalars end where their text does."""
    node = root
    for part in pointer:
        node = _child(node, part)
    if not isinstance(node, yaml.ScalarNode):
        raise CannotSplice(f"{dotted(pointer)} is not a single value", hint="edit the file by hand")
    return node.start_mark.index, node.end_mark.index


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    raise CannotSplice(f"there is no {part!r} in the text", hint="edit the file by hand")
