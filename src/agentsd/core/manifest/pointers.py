"""Access to places inside plain values: lists, dicts and their contents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentsd.core.violations import Pointer


def iter_leaves(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Yield every value that is not a container, with its pointer, in document order."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from iter_leaves(child, (*pointer, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from iter_leaves(child, (*pointer, index))
    else:
        yield pointer, value


def get_value(value: Any, pointer: Pointer) -> Any:
    """Return the value at ``pointer``; None if there is none."""
    for part in pointer:
        if isinstance(value, Mapping):
            value = value.get(str(part)) if isinstance(part, str) else None
        elif isinstance(value, list):
            value = value[part] if isinstance(part, int) and part < len(value) else None
        else:
            return None
    return value


def get_existing(value: Any, pointer: Pointer) -> Any:
    """Return the value at ``pointer``, which must exist."""
    for part in pointer:
        value = value[part]
    return value


def set_leaf(value: Any, pointer: Pointer, leaf: Any) -> None:
    """Set a leaf, or remove it if ``leaf`` is None (in a list, whose indices matter, it becomes empty)."""
    holder = get_existing(value, pointer[:-1])
    if leaf is None and isinstance(holder, dict):
        del holder[pointer[-1]]
    else:
        holder[pointer[-1]] = "" if leaf is None else leaf
