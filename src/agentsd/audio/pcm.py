"""16-bit little-endian mono PCM, and the WAV header that some servers put before it. Pure."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Format that a WAV header declares."""

    rate: int  # hertz
    size: int  # bytes of the header
    length: int = field(default=0, compare=False)  # bytes of samples that it declares, if it knows them


def decode_base64_audio(text: object) -> bytes:
    """Decode audio as JSON carries it. Raises ``BadAudio``."""
    if not isinstance(text, str):
        raise BadAudio("sent audio that is not a string")
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError:
        raise BadAudio("sent audio that is not base64") from None


def parse_wav_header(data: bytes) -> WavHeader | None:
    """Parse the header at the start of ``data``; None while it is incomplete. Raises ``BadAudio``.

    RIFF chunks (http://soundfile.sapp.org/doc/WaveFormat/): ``fmt `` declares the samples' format,
    ``data`` starts them; others between are skipped.
    """
    if len(data) < 12:
        return None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadAudio("sent audio that is not WAV")
    offset, rate = 12, 0
    while len(data) >= offset + 8:
        name, size = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        if name == b"data":
            return WavHeader(rate, offset + 8, size)
        if len(data) < offset + 8 + size:
            return None
        if name == b"fmt ":
            rate = _parse_rate(data[offset + 8 : offset + 8 + size])
        offset += 8 + size + size % 2
    return None


def make_wav(rate: int, pcm: bytes) -> bytes:
    """Return ``pcm`` with a header."""
    numbers = (
        (b"RIFF", 36 + len(pcm), 4),
        (b"WAVEfmt ", 16, 4),
        (b"", 1, 2),
        (b"", 1, 2),
        (b"", rate, 4),
        (b"", rate * SAMPLE_BYTES, 4),
        (b"", SAMPLE_BYTES, 2),
        (b"", 16, 2),
        (b"data", len(pcm), 4),
    )
    return b"".join(name + value.to_bytes(size, "little") for name, value, size in numbers) + pcm


def _parse_rate(fmt: bytes) -> int:
    channels, bits = int.from_bytes(fmt[2:4], "little"), int.from_bytes(fmt[14:16], "little")
    if channels != 1 or bits != 16:
        raise BadAudio("sent audio that is not 16-bit mono")
    return int.from_bytes(fmt[4:8], "little")
