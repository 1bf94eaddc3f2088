"""WAV in and out: any rate, width and number of channels to 16-bit mono PCM, and headers.

RIFF chunks: http://soundfile.sapp.org/doc/WaveFormat/; formats and WAVE_FORMAT_EXTENSIBLE:
https://learn.microsoft.com/windows/win32/api/mmreg/ns-mmreg-waveformatextensible. Pure.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentsd.audio.pcm import SAMPLE_BYTES, BadAudio

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


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Header before 16-bit mono PCM."""

    rate: int  # hertz
    size: int  # bytes of the header
    length: int = field(default=0, compare=False)  # bytes of samples that it declares, if it knows them


def make_stream_header(rate: int) -> bytes:
    """Return the 44 bytes before 16-bit mono PCM of unknown length."""
    return _make_header(rate, UNKNOWN_LENGTH, UNKNOWN_LENGTH)


def make_wav(rate: int, pcm: bytes) -> bytes:
    """Return 16-bit mono PCM with its header."""
    return _make_header(rate, 36 + len(pcm), len(pcm)) + pcm


def _make_header(rate: int, file_size: int, data_size: int) -> bytes:
    numbers = (
        (b"RIFF", file_size, 4),
        (b"WAVEfmt ", 16, 4),
        (b"", _PCM, 2),
        (b"", 1, 2),
        (b"", rate, 4),
        (b"", rate * SAMPLE_BYTES, 4),
        (b"", SAMPLE_BYTES, 2),
        (b"", 8 * SAMPLE_BYTES, 2),
        (b"data", data_size, 4),
    )
    return b"".join(name + value.to_bytes(size, "little") for name, value, size in numbers)


def parse_wav_header(data: bytes) -> WavHeader | None:
    """Parse the header at the start of a vendor's ``data``; None while it is incomplete.

    Raises ``BadAudio``, also for anything but 16-bit mono. Chunks other than the format are skipped.
    """
    if len(data) < 12:
        return None
    if not _is_riff(data):
        raise BadAudio("sent audio that is not WAV")
    rate = 0
    for name, begin, end in _find_chunks(data):
        if name == b"data":
            return WavHeader(rate, begin, int.from_bytes(data[begin - 4 : begin], "little"))
        if len(data) < end:
            return None
        if name == b"fmt ":
            form = _read_format(memoryview(data)[begin:end])
            if (form.channels, form.bits) != (1, 8 * SAMPLE_BYTES):
                raise BadAudio("sent audio that is not 16-bit mono")
            rate = form.rate
    return None


def read_wav(data: bytes) -> Sound:
    """Read a whole WAV file; channels are mixed. Raises ``BadWav``.

    A length that is not given (0, too) or too long ends with the file: programs that stream write the header
    before they know it.
    """
    if not _is_riff(data):
        raise BadWav("it does not begin with a WAV header")
    form: _Format | None = None
    view = memoryview(data)
    for name, begin, end in _find_chunks(data):
        if name == b"fmt ":
            form = _parse_format(view[begin:end])
        elif name == b"data":
            if form is None:
                break
            samples = view[begin : end if end > begin else len(data)]
            return Sound(form.rate, mix_to_mono(_convert_to_16_bit(bytes(samples), form), form.channels))
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


def _is_riff(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _find_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and end of each chunk's body; the last one may end after ``data``."""
    begin = 20
    while len(data) >= begin:
        size = int.from_bytes(data[begin - 4 : begin], "little")
        yield data[begin - 8 : begin - 4], begin, begin + size
        begin += 8 + size + size % 2


def _read_format(body: memoryview) -> _Format:
    """Return the format as declared; of a truncated chunk, the missing numbers are 0."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(body[at : at + size], "little")

    code = number(0, 2)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = number(24, 2)
    return _Format(code, number(2, 2), number(4, 4), number(14, 2))


def _parse_format(body: memoryview) -> _Format:
    """Return the format, if it can be converted. Raises ``BadWav``."""
    if len(body) < 16:
        raise BadWav("its format chunk is truncated")
    form = _read_format(body)
    if form.rate not in SAMPLE_RATES or not 1 <= form.channels <= CHANNELS_MAX:
        raise BadWav("its rate or its number of channels is out of range")
    if (form.code, form.bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)):
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
