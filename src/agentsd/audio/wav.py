"""WAV in and out: any rate, width and number of channels to 16-bit mono PCM, and a header for a stream.

RIFF chunks: http://soundfile.sapp.org/doc/WaveFormat/; formats and WAVE_FORMAT_EXTENSIBLE:
https://learn.microsoft.com/windows/win32/api/mmreg/ns-mmreg-waveformatextensible. Pure.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

UNKNOWN_LENGTH = 0xFFFF_FFFF
"""Size in a stream's header, where it is not known yet. OpenAI and ffmpeg write the same."""
SAMPLE_RATES = range(4_000, 192_001)
CHANNELS_MAX = 8
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNSIGNED = bytes((byte - 128) % 256 for byte in range(256))


class BadWav(ValueError):
    """Error of a WAV that cannot be read; the message gives the reason, in our own words."""


@dataclass(frozen=True, slots=True)
class Sound:
    """16-bit little-endian mono PCM at ``rate`` hertz."""

    rate: int
    pcm: bytes

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return len(self.pcm) / 2 / self.rate


@dataclass(frozen=True, slots=True)
class _Format:
    code: int
    channels: int
    rate: int
    bits: int


def stream_header(rate: int) -> bytes:
    """Return the 44 bytes before 16-bit mono PCM of unknown length."""
    fields = ((1, 2), (1, 2), (rate, 4), (rate * 2, 4), (2, 2), (16, 2))
    form = b"".join(value.to_bytes(size, "little") for value, size in fields)
    size = UNKNOWN_LENGTH.to_bytes(4, "little")
    return b"RIFF" + size + b"WAVEfmt " + (16).to_bytes(4, "little") + form + b"data" + size


def read_wav(data: bytes) -> Sound:
    """Read a whole WAV file; channels are mixed. Raises ``BadWav``.

    A length that is not given, or too long, ends with the file.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadWav("it does not begin with a WAV header")
    form: _Format | None = None
    for name, body in _read_chunks(data):
        if name == b"fmt ":
            form = _parse_format(body)
        elif name == b"data":
            if form is None:
                break
            return Sound(form.rate, mix_to_mono(_convert_to_16_bit(bytes(body), form), form.channels))
    raise BadWav("it contains no audio")


def mix_to_mono(pcm: bytes, channels: int) -> bytes:
    """Average interleaved 16-bit samples of ``channels``; half a frame at the end is dropped."""
    whole = pcm[: len(pcm) - len(pcm) % (2 * channels)]
    if channels == 1:
        return whole
    samples = _unpack_samples("h", whole)
    lanes = (samples[lane::channels] for lane in range(channels))
    mixed = array("h", (sum(frame) // channels for frame in zip(*lanes, strict=True)))
    return _pack_samples(mixed)


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, offset = memoryview(data), 12
    while len(data) >= offset + 8:
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        yield data[offset : offset + 4], view[offset + 8 : offset + 8 + size]
        offset += 8 + size + size % 2


def _parse_format(body: memoryview) -> _Format:
    if len(body) < 16:
        raise BadWav("its format chunk is truncated")

    def number(at: int, size: int) -> int:
        return int.from_bytes(body[at : at + size], "little")

    code = number(0, 2)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = number(24, 2)
    form = _Format(code, number(2, 2), number(4, 4), number(14, 2))
    if form.rate not in SAMPLE_RATES or not 1 <= form.channels <= CHANNELS_MAX:
        raise BadWav("its rate or its number of channels is out of range")
    if (code, form.bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)):
        raise BadWav("its samples are compressed, or of an unsupported width: use 16-bit PCM")
    return form


def _convert_to_16_bit(data: bytes, form: _Format) -> bytes:
    """Return the samples as 16 bits: of wider ones the two upper bytes."""
    if form.code == _FLOAT:
        return _convert_floats(data)
    width = form.bits // 8
    data = data[: len(data) - len(data) % width]
    if width == 2:
        return data
    out = bytearray(len(data) // width * 2)
    if width == 1:
        out[1::2] = data.translate(_UNSIGNED)
    else:
        out[0::2], out[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    return bytes(out)


def _convert_floats(data: bytes) -> bytes:
    numbers = _unpack_samples("f", data[: len(data) - len(data) % 4])
    # the comparisons are written so that "not a number" is silence
    return _pack_samples(array("h", (_clip_sample(number) for number in numbers)))


def _clip_sample(number: float) -> int:
    if -1.0 < number < 1.0:
        return round(number * 32_767)
    return 32_767 if number >= 1.0 else -32_767 if number <= -1.0 else 0


def _unpack_samples(code: str, data: bytes) -> array[float] | array[int]:
    samples = array(code, data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _pack_samples(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
