"""Weights in an ONNX file, read without a runtime: the constants of one branch, by name.

The file is protobuf (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Only the fields named here
are read, so a file of another structure has no weights, or raises ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]

_GRAPH = 7  # of ModelProto
_NODE = 1  # of GraphProto
_OPERATOR, _ATTRIBUTE = 4, 5  # of NodeProto
_NAME, _TENSOR, _SUBGRAPH = 1, 5, 6  # of AttributeProto
_DIMENSION, _DATA_TYPE, _TENSOR_NAME, _RAW_DATA = 1, 2, 8, 9  # of TensorProto
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types (https://protobuf.dev/programming-guides/encoding)."""


def read_weights(file: Path, branch: str) -> Weights:
    """Return the named float constants in ``branch`` (``then_branch``, ``else_branch``) of the outer If."""
    graph = _find(memoryview(file.read_bytes()), _GRAPH)
    found: dict[str, Any] = {}
    for node in _find_all(graph, _NODE):
        if _read_text(node, _OPERATOR) != "If":
            continue
        for attribute in _find_all(node, _ATTRIBUTE):
            if _read_text(attribute, _NAME) == branch:
                found.update(_read_constants(_find(attribute, _SUBGRAPH)))
    return found


def _read_constants(graph: memoryview) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for node in _find_all(graph, _NODE):
        if _read_text(node, _OPERATOR) != "Constant":
            continue
        tensor = _find(_find(node, _ATTRIBUTE), _TENSOR)
        name = _read_text(tensor, _TENSOR_NAME)
        if name and list(_read_numbers(tensor, _DATA_TYPE)) == [_FLOAT]:
            shape = tuple(_read_numbers(tensor, _DIMENSION))
            yield name, np.frombuffer(_find(tensor, _RAW_DATA), "<f4").reshape(shape)


def _find(message: memoryview, field: int) -> memoryview:
    """Return a field of bytes; empty where there is none."""
    return next(_find_all(message, field), memoryview(b""))


def _find_all(message: memoryview, field: int) -> Iterator[memoryview]:
    return (
        value for number, value in _read_fields(message) if number == field and not isinstance(value, int)
    )


def _read_text(message: memoryview, field: int) -> str:
    return str(_find(message, field), "utf-8")


def _read_numbers(message: memoryview, field: int) -> Iterator[int]:
    """Return the integers of a field, repeated or packed."""
    for number, value in _read_fields(message):
        if number == field and isinstance(value, int):
            yield value
        elif number == field and not isinstance(value, int):
            at = 0
            while at < len(value):
                one, at = _read_varint(value, at)
                yield one


def _read_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind, size = key & 7, 0
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("not an ONNX file")
        yield key >> 3, message[at : at + size]
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return an integer, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("the ONNX file ends too early")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
