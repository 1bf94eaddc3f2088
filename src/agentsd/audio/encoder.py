"""Speech in the formats of OpenAI's ``response_format``, encoded as it is made.

``pcm`` and ``wav`` need nothing; the others are encoded by PyAV (FFmpeg's libraries in a wheel; the extra
``audio``). It encodes samples of ours, in the server itself: a thread for each piece, since a second of
sound costs some milliseconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from agentsd.audio.resampler import Resampler
from agentsd.audio.wav import make_stream_header

if TYPE_CHECKING:
    import av

T = TypeVar("T")

PIECE_SECONDS = 0.5
"""Longest sound that is encoded at a time."""
BITRATE = 64_000
"""Bits a second of mp3 and aac: transparent for one voice. Opus needs half."""

FormatName = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


@dataclass(frozen=True, slots=True)
class SpeechFormat:
    """Format that speech can be asked for in. ``codec`` is empty where nothing is encoded."""

    name: FormatName
    content_type: str
    container: str = ""
    codec: str = ""
    rates: tuple[int, ...] = ()  # hertz that the codec has; none: any
    bitrate: int | None = None
    options: tuple[tuple[str, str], ...] = ()  # of the container

    def find_rate(self, rate: int) -> int:
        """Return the lowest of the codec's rates that keeps all of a sound at ``rate`` hertz."""
        return min((each for each in self.rates if each >= rate), default=max(self.rates, default=rate))


_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FORMATS: Mapping[FormatName, SpeechFormat] = {
    form.name: form
    for form in (
        SpeechFormat(
            "mp3",
            "audio/mpeg",
            "mp3",
            "libmp3lame",
            _MPEG_RATES,
            BITRATE,
            (("write_xing", "0"),),  # its place is at the start, its contents are known at the end
        ),
        SpeechFormat(
            "opus",
            "audio/opus",
            "ogg",
            "libopus",
            (8_000, 12_000, 16_000, 24_000, 48_000),
            BITRATE // 2,
            (("page_duration", "60000"),),  # microseconds; a page is sent once it is whole
        ),
        SpeechFormat("aac", "audio/aac", "adts", "aac", _MPEG_RATES, BITRATE),
        SpeechFormat("flac", "audio/flac", "flac", "flac"),
        SpeechFormat("wav", "audio/wav"),
        SpeechFormat("pcm", "audio/pcm"),
    )
}


def can_encode(form: SpeechFormat) -> bool:
    """Return whether this process can make ``form``."""
    return not form.codec or find_spec("av") is not None


def import_codecs() -> None:
    """Import what encoding needs. It takes 100 ms: call it in a thread, while the voice begins to speak."""
    import av  # noqa: F401


class Encoder(Protocol):
    """Encoder of one stream. Its methods are for one thread at a time."""

    def encode(self, pcm: bytes) -> bytes:
        """Return what is ready after ``pcm`` (whole samples)."""

    def finish(self) -> bytes:
        """Return the rest."""

    def close(self) -> None:
        """Give up the codec; without effect after ``finish``."""


class WavEncoder:
    """Encoder that adds a WAV header of unknown length, or nothing."""

    def __init__(self, rate: int, *, header: bool) -> None:
        self._head = make_stream_header(rate) if header else b""

    def encode(self, pcm: bytes) -> bytes:
        """Return ``pcm``, with the header before the first one."""
        head, self._head = self._head, b""
        return head + pcm

    def finish(self) -> bytes:
        """Return the header of a stream without sound."""
        return self.encode(b"")

    def close(self) -> None:
        """Do nothing: there is no codec."""


class CodecEncoder:
    """Encoder by PyAV, of PCM at ``rate`` hertz. The container's header is ready with the first sound.

    One that is not closed stays in memory until the garbage collector finds it: 3 MB of FLAC.
    """

    def __init__(self, form: SpeechFormat, rate: int) -> None:
        import av

        self._rate = form.find_rate(rate)
        self._resampler = Resampler(rate, self._rate)
        self._sink = _Sink()
        self._samples = 0
        self._lock = Lock()  # a stream may be given up while a thread encodes
        options = {"flush_packets": "1", **dict(form.options)}
        self._file = av.open(self._sink, "w", format=form.container, container_options=options)
        self._stream: Any = self._file.add_stream(form.codec, rate=self._rate)
        self._stream.codec_context.layout = "mono"
        self._stream.codec_context.thread_count = 1
        if form.bitrate:
            self._stream.codec_context.bit_rate = form.bitrate
        self._file.start_encoding()

    def encode(self, pcm: bytes) -> bytes:
        """Return the packets that are ready after ``pcm``."""
        with self._lock:
            return self._write(self._resampler.take(pcm))

    def finish(self) -> bytes:
        """Return the rest, and the container's end."""
        with self._lock:
            head = self._write(self._resampler.take(b"", last=True))
            if self._samples:
                self._file.mux(self._stream.encode(None))
            self._file.close()
            return head + self._sink.take()

    def close(self) -> None:
        """Give up the codec; without effect after ``finish``."""
        with self._lock:
            self._file.close()

    def _write(self, pcm: bytes) -> bytes:
        if pcm:
            with _limit_threads(needed=not self._samples):
                self._file.mux(self._stream.encode(self._make_frame(pcm)))
        return self._sink.take()

    def _make_frame(self, pcm: bytes) -> av.AudioFrame:
        import av

        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._samples
        self._samples += len(pcm) // 2
        return frame


class _Sink:
    """File that FFmpeg writes to, and cannot go back in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


@contextmanager
def _limit_threads(*, needed: bool) -> Iterator[None]:
    """Run a block in which FFmpeg sees one processor.

    PyAV puts a filter graph before each encoder, which starts up to 16 threads, one for each processor, and
    never uses them. This affects the current thread only.
    """
    if not needed or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def make_encoder(form: SpeechFormat, rate: int) -> Encoder:
    """Return an encoder of PCM at ``rate`` hertz."""
    return CodecEncoder(form, rate) if form.codec else WavEncoder(rate, header=form.name == "wav")


async def encode_stream(
    chunks: AsyncGenerator[bytes, None], form: SpeechFormat, rate: int
) -> AsyncGenerator[bytes, None]:
    """Encode a stream of PCM as it comes; closing it closes ``chunks``."""
    encoder: Encoder | None = None
    importing = asyncio.create_task(asyncio.to_thread(import_codecs)) if form.codec else None
    try:
        async with aclosing(_cut_pieces(chunks, int(PIECE_SECONDS * rate) * 2)) as pieces:
            async for piece in pieces:
                if encoder is None:
                    encoder = await _make_encoder(importing, form, rate)
                if data := await _run(form, encoder.encode, piece):
                    yield data
        if encoder is None:
            encoder = await _make_encoder(importing, form, rate)
        last, encoder = await _run(form, encoder.finish), None
        if last:
            yield last
    finally:
        if encoder is not None and form.codec:  # in a thread, since another one may be encoding
            asyncio.get_running_loop().run_in_executor(None, encoder.close)


async def _make_encoder(importing: asyncio.Task[None] | None, form: SpeechFormat, rate: int) -> Encoder:
    if importing is not None:
        await importing
    return await _run(form, make_encoder, form, rate)


async def _run(form: SpeechFormat, function: Callable[..., T], *arguments: object) -> T:
    """Run a step of an encoder: in a thread where it takes time."""
    return await asyncio.to_thread(function, *arguments) if form.codec else function(*arguments)


async def _cut_pieces(chunks: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]
