"""Origins of the values of a merged manifest: file, line and column. Pure."""

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
    """Value with its position: that of the key for a mapping's value, its own for a list item."""

    pointer: Pointer
    value: Any
    path: str  # of the layer, relative to the tree
    line: int  # 1-based
    column: int  # 1-based


def origins(document: Document, value: Any) -> Iterator[Origin]:
    """Yield the origin of each value in ``value``: the document's own value or a masked copy of it.

    Every layer is scanned once.
    """
    places = {layer.path: Places(layer.data) for layer in layers_of(document)}
    for pointer, leaf in values(value):
        layer = document.layer_of(pointer) if isinstance(document, Layered) else document
        line, column = places[layer.path].of(pointer, key=bool(pointer) and isinstance(pointer[-1], str))
        yield Origin(pointer, leaf, layer.path, line, column)


def values(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Yield every value that contains no other, empty containers too, with its pointer."""
    if not (isinstance(value, dict | list) and value):
        yield pointer, value
        return
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from values(child, (*pointer, key))
