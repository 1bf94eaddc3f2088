"""Origins of the values of a merged manifest: file, line and column. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import LayeredDocument, get_layers
from agentsd.core.manifest.positions import NodePositions
from agentsd.core.violations import Pointer


@dataclass(frozen=True, slots=True)
class ValueOrigin:
    """Value with its position: that of the key for a mapping's value, its own for a list item."""

    pointer: Pointer
    value: Any
    path: str  # of the layer, relative to the tree
    line: int  # 1-based
    column: int  # 1-based


def iter_origins(document: Document, value: Any) -> Iterator[ValueOrigin]:
    """Yield the origin of each value in ``value``: the document's own value or a masked copy of it.

    Every layer is scanned once.
    """
    places = {layer.path: NodePositions(layer.data) for layer in get_layers(document)}
    for pointer, leaf in iter_values(value):
        layer = document.layer_of(pointer) if isinstance(document, LayeredDocument) else document
        line, column = places[layer.path].of(pointer, key=bool(pointer) and isinstance(pointer[-1], str))
        yield ValueOrigin(pointer, leaf, layer.path, line, column)


def iter_values(value: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Yield every value that contains no other, empty containers too, with its pointer."""
    if not (isinstance(value, dict | list) and value):
        yield pointer, value
        return
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from iter_values(child, (*pointer, key))
