"""Places inside plain values: lists, dicts and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentsd.core.violations import Pointer


def leaves(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Every value that is no container, with its place, in document order."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from leaves(child, (*pointer, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*pointer, index))
    else:
        yield pointer, value


def get(value: Any, pointer: Pointer) -> Any:
    """What stands at ``pointer``; None where nothing does."""
    for part in pointer:
        if isinstance(value, Mapping):
            value = value.get(str(part)) if isinstance(part, str) else None
        elif isinstance(value, list):
            value = value[part] if isinstance(part, int) and part < len(value) else None
        else:
            return None
    return value


def at(value: Any, pointer: Pointer) -> Any:
    """What stands at ``pointer``, which exists."""
    for part in pointer:
        value = value[part]
    return value


def put(value: Any, pointer: Pointer, leaf: Any) -> None:
    """Set a leaf, or take it out where ``leaf`` is None (in a list, whose places count, it becomes empty)."""
    holder = at(value, pointer[:-1])
    if leaf is None and isinstance(holder, dict):
        del holder[pointer[-1]]
    else:
        holder[pointer[-1]] = "" if leaf is None else leaf
