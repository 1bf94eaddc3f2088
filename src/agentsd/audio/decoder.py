"""Recordings in the formats that people use, as 16-bit mono PCM, by PyAV (FFmpeg's libraries in a wheel).

The file is hostile data for libraries in C: ``decode_file`` runs in a worker of ``sandbox``, never in the
server. What it may do there is bounded once more: the container is recognised here and not probed by
FFmpeg, only decoders of sound are opened, no protocol is, and decoding ends at the longest duration.
Declared durations are not believed: samples are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from agentsd.audio.container import find_container, is_later_part
from agentsd.audio.resampler import Resampler
from agentsd.core.errors import RecordingRefused

if TYPE_CHECKING:
    import av
    import numpy as np

SAMPLE_RATES = range(4_000, 768_001)
CHANNELS_MAX = 64
BAD_PACKETS_MAX = 200
"""Packets that may fail to decode: a recording with a few damaged ones is still heard."""
FORMATS_HINT = "send WAV, MP3, MP4, M4A, MPEG, OGG, Opus, WebM, FLAC, AAC, AIFF, CAF or AMR"
_PART_HINT = "it begins in the middle of a recording: send that whole, from its first part"

_PROBED_BYTES = 4 << 20
_CODEC_WHITELIST = (
    "aac,aac_fixed,aac_latm,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,amrnb,amrwb,flac,gsm,gsm_ms,libgsm,"
    "libopencore_amrnb,libopencore_amrwb,libopus,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,pcm_alaw,"
    "pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8,speex,vorbis"
)
_CODECS = frozenset(_CODEC_WHITELIST.split(","))
_OPTIONS = {
    "codec_whitelist": _CODEC_WHITELIST,
    "protocol_whitelist": "none",  # no file of this kind refers to another one
    "max_streams": "32",
    "probesize": str(_PROBED_BYTES),
    "enable_drefs": "0",
}


def can_decode() -> bool:
    """Return whether PyAV is installed: the extra ``audio``."""
    return find_spec("av") is not None


def decode_file(data: bytes, rate: int, seconds_max: float) -> bytes:
    """Return the first track of sound in ``data`` as PCM at ``rate`` hertz; channels are mixed.

    A file that was cut off is returned up to there. Raises ``RecordingRefused``.
    """
    container = find_container(data)
    if container is None:
        hint = _PART_HINT if is_later_part(data) else FORMATS_HINT
        raise RecordingRefused("is not in a known format", hint=hint)
    import av

    try:
        return _decode(data, container, rate, int(seconds_max * rate) * 2)
    except (av.FFmpegError, ValueError, OverflowError, UnicodeError, AssertionError):
        raise RecordingRefused("is damaged, or not what its first bytes promise", hint=FORMATS_HINT) from None


def _decode(data: bytes, container: str, rate: int, bytes_max: int) -> bytes:
    import av

    out = BytesIO()
    with av.open(
        BytesIO(data), format=container, container_options=_OPTIONS, metadata_errors="replace"
    ) as file:
        for pcm in _resample(_iterate_frames(file), rate):
            if out.tell() + len(pcm) > bytes_max:
                raise make_too_long_error(bytes_max / 2 / rate)
            out.write(pcm)
    return out.getvalue()


def make_too_long_error(seconds: float) -> RecordingRefused:
    """Return the error for a recording that lasts longer than ``seconds``."""
    return RecordingRefused(f"lasts longer than {seconds:.0f} seconds", hint="send it in parts")


def _iterate_frames(file: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    """Yield the decoded frames of the first track whose codec is known; few packets may be damaged."""
    import av

    known = [each for each in file.streams.audio if each.codec_context and each.codec.name in _CODECS]
    if not known:
        found = "no sound in a supported codec" if file.streams.audio else "no sound"
        raise RecordingRefused(f"contains {found}", hint=FORMATS_HINT)
    stream = known[0]
    stream.codec_context.thread_count = 1
    bad = 0
    packets = file.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # the file ends in the middle
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            bad += 1
            if bad > BAD_PACKETS_MAX:
                raise


def _resample(frames: Iterator[av.AudioFrame], rate: int) -> Iterator[bytes]:
    """Yield PCM at ``rate``; a file may change its rate in the middle, as joined ones do."""
    source, resampler = 0, Resampler(rate, rate)
    for frame in frames:
        if frame.sample_rate != source:
            if frame.sample_rate not in SAMPLE_RATES:
                raise RecordingRefused("has a sample rate that is out of range")
            yield resampler.take(b"", last=True) if source else b""
            source, resampler = frame.sample_rate, Resampler(frame.sample_rate, rate)
        yield resampler.take(_mix_to_mono(frame))
    if source:
        yield resampler.take(b"", last=True)


def _mix_to_mono(frame: av.AudioFrame) -> bytes:
    """Return the average of a frame's channels as 16-bit samples."""
    import numpy as np

    channels = frame.layout.nb_channels
    if not 1 <= channels <= CHANNELS_MAX:
        raise RecordingRefused("has too many channels")
    kind, size = _SAMPLES[frame.format.name.removesuffix("p")]
    planes: list[np.ndarray[Any, Any]] = [
        np.frombuffer(plane, kind, frame.samples if frame.format.is_planar else frame.samples * channels)
        for plane in frame.planes
    ]
    if not frame.format.is_planar:
        planes = list(planes[0].reshape(-1, channels).T)
    mixed: np.ndarray[Any, Any] = planes[0].astype(np.float32)
    for plane in planes[1:]:
        mixed += plane
    mixed *= 32_768 / size / channels
    if kind == "u1":
        mixed -= 32_768
    pcm: bytes = np.nan_to_num(mixed, nan=0.0).clip(-32_768, 32_767).round().astype("<i2").tobytes()
    return pcm


_SAMPLES = {
    "u8": ("u1", 1 << 7),
    "s16": ("i2", 1 << 15),
    "s32": ("i4", 1 << 31),
    "s64": ("i8", 1 << 63),
    "flt": ("f4", 1),
    "dbl": ("f8", 1),
}
