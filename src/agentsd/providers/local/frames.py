"""The protocol between the server and an engine's process: frames of a JSON header and bytes.

A frame is two lengths (big-endian, 32 bits each), a JSON object and raw bytes (sound, vectors, a request's
body). Nothing else is ever decoded: what a process sends is data, since a model file may have taken it over.

Server → process                         process → server
``{"engine", "settings", "memory"}``     ``{"need": bytes}``, or ``{"failed": code}``
``{"load": true}``                       ``{"ready": true}``, or ``{"failed": code}``
``{"id", "op", "fields"}`` + body        ``{"id", "part": fields}`` + body, any number of times
``{"id", "cancel": true}``               ``{"id", "end": true}`` or ``{"id", "error": code}``, exactly once
"""

from __future__ import annotations

import json
import struct
from typing import Any

LENGTHS = struct.Struct("!II")
HEADER_BYTES_MAX = 1 << 20
"""Largest header. The reader of a longer one ends the connection."""
ANSWER_BYTES_MAX = 4 << 20
"""Largest body of a frame that a process sends."""
REQUEST_BYTES_MAX = 1 << 29
"""Largest body of a frame that the server sends: two hours of sound are 230 MB."""


class BadFrame(ValueError):
    """Received data that is not a frame within the bounds."""


def pack_frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return the bytes of a frame without its body. Raises ``BadFrame`` for a header beyond the bound."""
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > HEADER_BYTES_MAX:
        raise BadFrame("header too long")
    return LENGTHS.pack(len(text), len(body)) + text


def parse_lengths(head: bytes, body_bytes: int) -> tuple[int, int]:
    """Return the lengths of header and body. Raises ``BadFrame`` beyond the bounds."""
    header, body = LENGTHS.unpack(head)
    if header > HEADER_BYTES_MAX or body > body_bytes:
        raise BadFrame("frame too long")
    return header, body


def parse_header(text: bytes) -> dict[str, Any]:
    """Return a frame's header. Raises ``BadFrame`` for anything but a JSON object."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("not JSON") from None
    if not isinstance(header, dict):
        raise BadFrame("not an object")
    return header
