"""Hume text to speech over a WebSocket: https://dev.hume.ai/reference/text-to-speech-tts/stream-input."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from copy import copy
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.errors import VendorRef
from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_first_sentence
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader
from agentsd.providers.vendor import Vendor

SAMPLE_RATE = 48000
"""Hertz; Hume's only rate."""


class HumeSettings(NetworkSettings):
    """Settings of ``hume.ai``."""

    home: ClassVar[frozenset[str]] = frozenset({"wss://api.hume.ai"})
    kind: ClassVar[str] = "tts"

    provider: Literal["hume.ai"]
    api_key: ApiKey
    voice_id: Annotated[
        str,
        Field(
            min_length=1,
            description="The voice's id, from Hume's voice library.",
            examples=["5bb7de05-c8fe-426a-8fcc-ba4fc4ce9f9c"],
        ),
    ]
    version: Annotated[
        Literal["1", "2"], Field(description="Version of the Octave model, quoted.", examples=["2"])
    ] = "2"
    speed: Annotated[
        float | None, Field(ge=0.5, le=2, description="1 is the voice's own pace.", examples=[1.0])
    ] = None
    description: Annotated[
        str | None,
        Field(min_length=1, description="How to speak, in plain words.", examples=["calm, friendly"]),
    ] = None
    url: Annotated[
        Url,
        Field(
            description="The WebSocket's whole address.",
            examples=["wss://api.hume.ai/v0/tts/stream/input"],
        ),
    ] = "wss://api.hume.ai/v0/tts/stream/input"
    price: SpeechPriceField = None


FLUSH, CLOSE = '{"flush":true}', '{"close":true}'


class Hume(SocketClient):
    """Client that sends words, and asks for their sound after the first sentence and at the end.

    The vendor's normal close is the end.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, settings: HumeSettings, sessions: HttpSessions) -> None:
        query = {
            "api_key": settings.api_key.reveal(),
            "version": settings.version,
            "instant_mode": "true",
            "format_type": "pcm",
            "strip_headers": "true",
            "no_binary": "true",
        }
        super().__init__(settings, sessions, url=settings.url, query=query)
        how = {"speed": settings.speed, "description": settings.description}
        self._how: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
        self._how["voice"] = {"id": settings.voice_id}

    def tune(self, options: SpeechOptions) -> Hume:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self.who.vendor, options, 0.5, 2)
        if speed is not None:
            tuned._how = {**self._how, "speed": speed}
        return tuned

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Yield PCM as it comes: see ``TTS``."""
        return self.converse(self._make_frames(text), _Reader(self.who, SAMPLE_RATE))

    async def _make_frames(self, text: AsyncIterator[str]) -> AsyncGenerator[Frame, None]:
        flushed: bool | None = None  # whether nothing is left to be spoken; None before the first word
        async for words in split_first_sentence(text):
            flushed = words.sentence
            yield self._say(words.text)
            if flushed:
                yield FLUSH
        if flushed is False:
            yield FLUSH
        if flushed is not None:
            yield CLOSE

    def _say(self, piece: str) -> Frame:
        return encode_json(self.who, {"text": piece, **self._how}).decode()


class _Reader(SpeechReader):
    def __init__(self, who: VendorRef, rate: int) -> None:
        super().__init__(who, rate)
        self._whole = False  # the last snippet's last chunk has come

    def read(self, frame: Frame) -> bytes | None:
        if isinstance(frame, bytes):
            self._whole = True  # binary audio has no such field
            return self.samples(frame)
        message = self.message(frame)
        if "audio" in message:
            self._whole = message.get("is_last_chunk") is not False
        return self.samples(message.get("audio"))

    def may_close(self) -> bool:
        return self._whole


def build_client(settings: HumeSettings, sessions: HttpSessions) -> Hume:
    """Return the client for ``settings``."""
    return Hume(settings, sessions)


VENDOR = Vendor(HumeSettings, build_client)
