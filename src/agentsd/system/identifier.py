"""Random identifiers of requests, answers and items, drawn for many at a time: each draw is a system call."""

from __future__ import annotations

import os

BLOCK_BYTES = 4096
DIGITS = 32

_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)  # else two processes would draw the same


def make_identifier(prefix: str, separator: str = "_", digits: int = DIGITS) -> str:
    """Return ``prefix``, ``separator`` and up to 32 hexadecimal digits (4 random bits each)."""
    while True:
        try:
            return f"{prefix}{separator}{_drawn.pop()[:digits]}"
        except IndexError:  # a thread may have taken the last one
            block = os.urandom(BLOCK_BYTES).hex()
            _drawn.extend(block[at : at + DIGITS] for at in range(0, len(block), DIGITS))
