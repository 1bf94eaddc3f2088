"""Reader of streamed audio that should be bare PCM: servers answer with other things under the same name.

WAV is unwrapped and converted to the wanted rate. Compressed audio, pages and error texts raise
``BadAudio``: played as samples they would be noise. Only the first bytes decide, since they are what
distinguishes the formats (https://mimesniff.spec.whatwg.org/#matching-an-audio-or-video-type-pattern).
"""

from __future__ import annotations

from agentsd.audio.pcm import BadAudio, SampleJoiner
from agentsd.audio.resampler import Resampler
from agentsd.audio.wav import parse_wav_header

HEADER_BYTES_MAX = 4096
"""Bytes in which a WAV header must end."""
TEXT_BYTES = 16
"""So many printable bytes at the beginning are a text; of samples, hardly ever all are."""
FRAME_BYTES_MAX = 4096
"""Bytes in which the second frame of compressed audio must begin."""
RATES = range(4_000, 192_001)
UNKNOWN_LENGTH_MIN = 0x7FFF_0000
"""Lengths in a WAV header from here on are what servers write before they know it."""

_SIGNATURES = (b"ID3", b"OggS", b"fLaC", b"\x1aE\xdf\xa3", b"FORM", b".snd", b"caff", b"#!AMR")
_PRINTABLE = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1, layer III
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class PcmStream:
    """Converter of one answer to whole 16-bit mono samples at ``rate`` hertz."""

    def __init__(self, rate: int) -> None:
        self.wav_rate: int | None = None  # hertz that a WAV header declares
        self._rate = rate
        self._head: bytes | None = b""  # None: its format is known
        self._joiner = SampleJoiner()
        self._resampler: Resampler | None = None
        self._left: int | None = None  # bytes of samples that are still to come, if a header declares them

    def take(self, data: bytes) -> bytes:
        """Return the samples that may be played now. Raises ``BadAudio``."""
        if self._head is None:
            return self._samples(data)
        self._head += data
        return self._begin(last=False)

    def end(self) -> bytes:
        """Return the rest. Raises ``BadAudio``."""
        rest = self._begin(last=True) if self._head is not None else b""
        return rest + (self._resampler.take(b"", last=True) if self._resampler else b"")

    def _begin(self, *, last: bool) -> bytes:
        head = self._head or b""
        if head.startswith(b"RIFF"):
            return self._unwrap(head, last=last)
        if not last and (len(head) < TEXT_BYTES or _awaits_frame(head)):
            return b""
        _refuse_other_formats(head)
        self._head = None
        return self._samples(head)

    def _unwrap(self, head: bytes, *, last: bool) -> bytes:
        header = parse_wav_header(head)
        if header is None:
            if len(head) > HEADER_BYTES_MAX or last:
                raise BadAudio("sent a WAV header without an end")
            return b""
        if header.rate not in RATES:
            raise BadAudio("names an impossible sample rate")
        self._head, self.wav_rate = None, header.rate
        self._left = header.length if 0 < header.length < UNKNOWN_LENGTH_MIN else None
        if header.rate != self._rate:
            self._resampler = Resampler(header.rate, self._rate)
        return self._samples(head[header.size :])

    def _samples(self, data: bytes) -> bytes:
        if self._left is not None:  # after the samples, a WAV may have other chunks
            data = data[: self._left]
            self._left -= len(data)
        whole = self._joiner.take(data) or b""
        return self._resampler.take(whole) if self._resampler and whole else whole


def _refuse_other_formats(head: bytes) -> None:
    text = head.removeprefix(b"\xef\xbb\xbf")[:64]
    if text and all(byte in _PRINTABLE for byte in text):
        raise BadAudio("sent a text instead of audio")
    if head.startswith(_SIGNATURES) or head[4:8] == b"ftyp":
        raise BadAudio("sent compressed audio instead of PCM")
    size = _measure_frame(head)
    if size and _measure_frame(head[size:]):
        raise BadAudio("sent compressed audio instead of PCM")


def _awaits_frame(head: bytes) -> bool:
    """Return whether ``head`` looks like a frame of MP3 or AAC whose successor has not come yet."""
    size = _measure_frame(head)
    return 0 < size <= FRAME_BYTES_MAX and len(head) < size + 7


def _measure_frame(data: bytes) -> int:
    """Return the bytes of the MP3 (layer III) or ADTS frame at the start of ``data``; 0 for anything else."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return 0
    if data[1] & 0xF6 == 0xF0:  # ADTS
        return (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    bitrate, rate = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    kilobits = _BITRATES[1 if version == 3 else 2][bitrate]
    return (144 if version == 3 else 72) * kilobits * 1000 // _MP3_RATES[version][rate] + (data[2] >> 1 & 1)
