"""Reader of a GGUF file's header, to compute what memory a model needs before a library opens it.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the bytes
that were read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER_BYTES_MAX = 4 << 20
KEYS_MAX = 4096
"""Key-value pairs that are read; real files have about 40."""
CELL_BYTES = 2
"""Bytes of one number of the key-value cache (f16)."""
BASE_BYTES = 192 << 20
"""Memory of the library, its threads and the buffers of one batch."""
UNKNOWN_FACTOR = 2

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class _Malformed(ValueError):
    """Header that contradicts the format."""


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise _Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def scalar(self, code: str) -> Any:
        form = struct.Struct("<" + code)
        return form.unpack(self.take(form.size))[0]

    def text(self) -> str:
        return self.take(self.scalar("Q")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise _Malformed
        inner, count = self.scalar("I"), self.scalar("Q")
        if inner == _STRING:  # tags, authors: none of them is needed
            for _ in range(count):
                self.take(self.scalar("Q"))
            return None
        if inner not in _SCALARS:
            raise _Malformed
        size = struct.calcsize("<" + _SCALARS[inner])
        return list(struct.unpack(f"<{count}{_SCALARS[inner]}", self.take(count * size)))


def read_header(data: bytes) -> Mapping[str, Any]:
    """Return the keys before the tokenizer's, from the first bytes of a file; as many as can be read."""
    reader, found = _Reader(data), dict[str, Any]()
    try:
        if reader.take(4) != b"GGUF" or reader.scalar("I") not in (2, 3):
            return {}
        reader.scalar("Q")
        for _ in range(min(reader.scalar("Q"), KEYS_MAX)):
            key = reader.text()
            if key.startswith("tokenizer."):
                break
            found[key] = reader.value(reader.scalar("I"))
    except (_Malformed, struct.error, MemoryError, OverflowError):
        pass
    return found


def compute_token_cache_bytes(header: Mapping[str, Any]) -> int | None:
    """Return the bytes of the key-value cache for one token; None where the header does not state it."""
    kind = header.get("general.architecture")

    def number(name: str) -> int | None:
        value = header.get(f"{kind}.{name}")
        value = max(value, default=None) if isinstance(value, list) else value
        return value if isinstance(value, int) and value > 0 else None

    layers, width, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    if not (layers and width and heads):
        return None
    key_heads = number("attention.head_count_kv") or heads
    key, value = number("attention.key_length"), number("attention.value_length")
    head = -(-width // heads)
    return layers * key_heads * ((key or head) + (value or head)) * CELL_BYTES


def estimate_memory(path: Path, tokens: int) -> int:
    """Return the bytes that the model takes with ``tokens`` of context. Raises ``OSError`` for no file."""
    with path.open("rb") as file:
        header = read_header(file.read(HEADER_BYTES_MAX))
    size, cell = path.stat().st_size, compute_token_cache_bytes(header)
    if cell is None:
        return size * UNKNOWN_FACTOR + BASE_BYTES
    return size + cell * tokens + BASE_BYTES
