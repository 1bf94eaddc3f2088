"""Self-hosted Kokoro server, over its live WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import BadAudio
from agentsd.audio.wav import parse_wav_header
from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.network import NetworkSettings
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.schema import Url
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_sentences
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader, frame_pieces
from agentsd.providers.vendor import Vendor


class KokoroSettings(NetworkSettings):
    """Settings of ``kokoro.local``."""

    home: ClassVar[frozenset[str]] = frozenset({"ws://kokoro-tts:5000"})
    kind: ClassVar[str] = "tts"

    provider: Literal["kokoro.local"]
    voice: Annotated[str, Field(min_length=1, description="The voice's name.", examples=["af_heart"])] = (
        "af_heart"
    )
    language: Annotated[
        str, Field(min_length=1, description="The language's code, as Kokoro writes it.", examples=["en-us"])
    ] = "en-us"
    speed: Annotated[float, Field(gt=0, le=4, description="1 is the voice's own pace.", examples=[1.0])] = 1.0
    sample_rate: Annotated[
        int,
        Field(ge=8000, le=48000, description="Hertz that the server speaks at.", examples=[24000]),
    ] = 24000
    url: Annotated[
        Url,
        Field(description="The WebSocket's whole address.", examples=["ws://kokoro-tts:5000/ws/tts/live"]),
    ] = "ws://kokoro-tts:5000/ws/tts/live"


class Kokoro(SocketClient):
    """Client that sends the voice, sentences as plain text, then an empty frame; gets PCM until ``end``.

    The server speaks every text frame separately, so frames are sentences, not words.
    """

    def __init__(self, settings: KokoroSettings, sessions: HttpSessions) -> None:
        super().__init__(settings, sessions, url=settings.url)
        self.sample_rate = settings.sample_rate
        self._voice = {"voice": settings.voice, "language": settings.language, "speed": settings.speed}
        self._opening = encode_json(self.who, self._voice).decode()

    def tune(self, options: SpeechOptions) -> Kokoro:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self.who.vendor, options, 0.25, 4)
        if speed is not None:
            tuned._opening = encode_json(self.who, {**self._voice, "speed": speed}).decode()
        return tuned

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Yield PCM as it comes: see ``TTS``."""
        frames = frame_pieces(split_sentences(text), str, first=[self._opening], last=[""])
        return self.converse(frames, _Reader(self.who, self.sample_rate))


class _Reader(SpeechReader):
    def __init__(self, who: VendorRef, rate: int) -> None:
        super().__init__(who, rate)
        self._rate = rate

    def read(self, frame: Frame) -> bytes | None:
        if isinstance(frame, bytes):
            return self._audio(frame)
        message = self.message(frame)
        if message.get("type") == "ready":
            self.check_rate(message.get("sample_rate"), self._rate)
        self.finished = message.get("type") == "end"
        return None

    def _audio(self, frame: bytes) -> bytes | None:
        """Return PCM without the WAV header that comes before each sentence and contains its true rate."""
        if not frame.startswith(b"RIFF"):
            return self.samples(frame)
        try:
            header = parse_wav_header(frame)
        except BadAudio as error:
            raise make_protocol_error(self.who, str(error)) from None
        if header is None:
            raise make_protocol_error(self.who, "sent half a WAV header")
        self.check_rate(header.rate, self._rate)
        return self.samples(frame[header.size :])


def build_client(settings: KokoroSettings, sessions: HttpSessions) -> Kokoro:
    """Return the client for ``settings``."""
    return Kokoro(settings, sessions)


VENDOR = Vendor(KokoroSettings, build_client)
