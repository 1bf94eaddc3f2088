"""16-bit little-endian mono PCM. Pure."""

from __future__ import annotations

import binascii

SAMPLE_BYTES = 2


class BadAudio(ValueError):
    """Error of audio in another form than required; the message gives the reason, in our own words."""


class SampleJoiner:
    """Joiner of samples that were cut in two."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> bytes | None:
        """Return the whole samples so far, or None."""
        data = self._rest + data
        whole = len(data) - len(data) % SAMPLE_BYTES
        self._rest = data[whole:]
        return data[:whole] or None


def decode_base64_audio(text: object) -> bytes:
    """Decode audio as JSON carries it. Raises ``BadAudio``."""
    if not isinstance(text, str):
        raise BadAudio("sent audio that is not a string")
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError:
        raise BadAudio("sent audio that is not base64") from None
