"""G.711, the telephone's sound: 8,000 samples a second of 8 bits (ITU-T G.711). Pure, by tables.

The algorithms are those of Sun's public ``g711.c``. One table of 64 KiB for each law is made when
it is first needed.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from functools import cache
from typing import Literal

Law = Literal["u", "a"]
"""µ-law (North America, Japan) and A-law (elsewhere)."""

RATE = 8000
_BIAS = 0x84


def encode_g711(law: Law, pcm: bytes) -> bytes:
    """Return 16-bit little-endian PCM (whole samples) as one byte a sample."""
    table = _make_encoding_table(law)
    return bytes(table[sample] for sample in _swap_to_native(array("H", pcm)))


def decode_g711(law: Law, data: bytes) -> bytes:
    """Return one byte a sample as 16-bit little-endian PCM."""
    table = _make_decoding_table(law)
    return _swap_to_native(array("h", (table[byte] for byte in data))).tobytes()


def _swap_to_native(samples: array[int]) -> array[int]:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


@cache
def _make_encoding_table(law: Law) -> bytes:
    """Make the table, indexed by the sample as an unsigned number."""
    one: Callable[[int], int] = _encode_mu_law if law == "u" else _encode_a_law
    return bytes(one(sample - 65536 if sample > 32767 else sample) for sample in range(65536))


@cache
def _make_decoding_table(law: Law) -> tuple[int, ...]:
    one: Callable[[int], int] = _decode_mu_law if law == "u" else _decode_a_law
    return tuple(one(byte) for byte in range(256))


def _encode_mu_law(sample: int) -> int:
    size = sample >> 2  # the law covers 14 bits
    sign = 0x80 if size < 0 else 0
    size = min(abs(size), 8158) + (_BIAS >> 2)
    exponent = max(0, size.bit_length() - 6)
    return ~(sign | exponent << 4 | (size >> (exponent + 1)) & 0x0F) & 0xFF


def _decode_mu_law(byte: int) -> int:
    byte = ~byte & 0xFF
    size = (((byte & 0x0F) << 3) + _BIAS << ((byte & 0x70) >> 4)) - _BIAS
    return -size if byte & 0x80 else size


def _encode_a_law(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0
    size = (sample if sample >= 0 else -sample - 1) >> 3
    exponent = max(0, size.bit_length() - 5)
    mantissa = (size >> max(1, exponent)) & 0x0F
    return (sign | exponent << 4 | mantissa) ^ 0x55


def _decode_a_law(byte: int) -> int:
    byte ^= 0x55
    exponent, size = (byte & 0x70) >> 4, (byte & 0x0F) << 4
    size += 8 if exponent == 0 else 0x108
    size <<= max(0, exponent - 1)
    return size if byte & 0x80 else -size
