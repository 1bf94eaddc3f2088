"""Where each value of a merged manifest comes from: its file, line and column. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import Layered, layers_of
from agentsd.core.manifest.positions import Places
from agentsd.core.violations import Pointer


@dataclass(frozen=True, slots=True)
class Origin:
    """One value, and where it stands: a mapping's value at its key, a list's item at itself."""

    pointer: Pointer
    value: Any
    path: str  # of the layer, relative to the tree
    line: int  # 1-based
    column: int  # 1-based


def origins(document: Document, value: Any) -> Iterator[Origin]:
    """The origin of each value of ``value``, which is what ``document`` says, or a masked copy of it.

    Every layer is scanned once.
    """
    places = {layer.path: Places(layer.data) for layer in layers_of(document)}
    for pointer, leaf in values(value):
        layer = document.layer_of(pointer) if isinstance(document, Layered) else document
        line, column = places[layer.path].of(pointer, key=bool(pointer) and isinstance(pointer[-1], str))
        yield Origin(pointer, leaf, layer.path, line, column)


def values(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Every value that holds no other, an empty container too, with its place."""
    if not (isinstance(value, dict | list) and value):
        yield pointer, value
        return
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from values(child, (*pointer, key))
