"""Line and column of each value and each key of a document. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import yaml
from yaml._yaml import CParser

from agentsd.core.violations import Pointer


def iter_events(text: str) -> Iterator[Any]:
    """Yield libyaml's events. Raises ``yaml.YAMLError`` on the way."""
    return iter(CParser(text).get_event, None)


class NodePositions:
    """Positions of all nodes of one document, as far as it can be parsed. It is scanned once."""

    __slots__ = ("_known",)

    def __init__(self, data: bytes) -> None:
        self._known: dict[tuple[Pointer, bool], tuple[int, int]] = {}
        with suppress(yaml.YAMLError, UnicodeDecodeError):
            for here, is_key, mark in _iter_nodes(iter_events(data.decode())):
                self._known.setdefault((here, is_key), (mark.line + 1, mark.column + 1))

    def of(self, pointer: Pointer, *, key: bool = False) -> tuple[int, int]:
        """Return the 1-based (line, column) of the node at ``pointer``, or of its key with ``key=True``.

        A pointer that does not exist gets the position of its nearest existing ancestor; (1, 1) if nothing
        can be parsed.
        """
        near = (self._known.get((pointer[:size], key and size > 0)) for size in range(len(pointer), -1, -1))
        return next(filter(None, near), (1, 1))


def locate_pointer(data: bytes, pointer: Pointer, *, key: bool = False) -> tuple[int, int]:
    """Return ``NodePositions.of`` in one document, for errors; never raises.

    For many pointers, make one ``NodePositions``.
    """
    return _scan_latest(data).of(pointer, key=key)


@lru_cache(maxsize=4)  # hundreds of errors concern one file after another, or a file and its layers
def _scan_latest(data: bytes) -> NodePositions:
    return NodePositions(data)


def _iter_nodes(events: Iterator[Any]) -> Iterator[tuple[Pointer, bool, Any]]:
    """Yield (pointer, whether this is the key, mark) of every node and key, in document order."""
    frames: list[list[Any]] = []  # [is a mapping, the current key or index, whether a key comes next]
    for event in events:
        kind = event.__class__
        if kind in {yaml.MappingEndEvent, yaml.SequenceEndEvent}:
            frames.pop()
            continue
        if kind not in {yaml.ScalarEvent, yaml.AliasEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent}:
            continue
        is_key = bool(frames) and _advance_frame(frames[-1], event)
        yield tuple(frame[1] for frame in frames), is_key, event.start_mark
        if kind in {yaml.MappingStartEvent, yaml.SequenceStartEvent}:
            mapping = kind is yaml.MappingStartEvent
            frames.append([mapping, None if mapping else -1, mapping])


def _advance_frame(frame: list[Any], event: Any) -> bool:
    """Step to the next node of a container; return True if that node is a key."""
    mapping, place, key_next = frame
    if not mapping:
        frame[1] = place + 1
        return False
    frame[2] = not key_next
    if key_next:
        frame[1] = getattr(event, "value", None)
    return bool(key_next)
