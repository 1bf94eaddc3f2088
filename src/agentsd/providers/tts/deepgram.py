"""Deepgram text to speech over a WebSocket: https://developers.deepgram.com/docs/tts-websocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.errors import VendorRef
from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_first_sentence
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader
from agentsd.providers.vendor import Vendor


class DeepgramSpeakSettings(NetworkSettings):
    """Settings of ``deepgram.com`` as a speaker."""

    home: ClassVar[frozenset[str]] = frozenset({"wss://api.deepgram.com", "wss://api.eu.deepgram.com"})
    kind: ClassVar[str] = "tts"

    provider: Literal["deepgram.com"]
    api_key: ApiKey
    model: Annotated[
        str,
        Field(min_length=1, description="The voice, which is a model here.", examples=["aura-2-thalia-en"]),
    ] = "aura-2-thalia-en"
    sample_rate: Annotated[
        Literal[8000, 16000, 24000, 32000, 48000],
        Field(description="Hertz of the speech.", examples=[24000]),
    ] = 24000
    url: Annotated[
        Url,
        Field(description="The WebSocket's whole address.", examples=["wss://api.deepgram.com/v1/speak"]),
    ] = "wss://api.deepgram.com/v1/speak"
    price: SpeechPriceField = None


FLUSH, CLOSE = '{"type":"Flush"}', '{"type":"Close"}'


class DeepgramSpeak(SocketClient):
    """Client that sends words, with a ``Flush`` after the first sentence and at the end; gets binary audio.

    Two at most: the vendor allows 20 a minute, and frequent ones degrade the voice.
    """

    listing_path = "/v1/projects"

    def __init__(self, settings: DeepgramSpeakSettings, sessions: HttpSessions) -> None:
        headers = {"Authorization": f"Token {settings.api_key.reveal()}"}
        query = {
            "model": settings.model,
            "encoding": "linear16",
            "sample_rate": str(settings.sample_rate),
            "container": "none",
        }
        super().__init__(settings, sessions, url=settings.url, headers=headers, query=query)
        self.sample_rate = settings.sample_rate

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Yield PCM as it comes: see ``TTS``."""
        reader = _Reader(self.who, self.sample_rate)
        return self.converse(self._make_frames(text, reader), reader)

    async def _make_frames(self, text: AsyncIterator[str], reader: _Reader) -> AsyncGenerator[Frame, None]:
        flushed = True  # nothing is left to be spoken
        async for words in split_first_sentence(text):
            flushed = words.sentence
            yield self._say(words.text)
            if flushed:
                reader.owed += 1
                yield FLUSH
        if not flushed:
            reader.owed += 1
            yield FLUSH
        elif reader.opened and not reader.owed:  # all of the one sentence has come: nothing marks the end
            yield CLOSE

    def _say(self, piece: str) -> Frame:
        return encode_json(self.who, {"type": "Speak", "text": piece}).decode()


class _Reader(SpeechReader):
    def __init__(self, who: VendorRef, rate: int) -> None:
        super().__init__(who, rate)
        self.owed = 0  # flushes that are not answered yet
        self.opened = False  # one was answered

    def may_close(self) -> bool:
        return self.opened and not self.owed

    def read(self, frame: Frame) -> bytes | None:
        if isinstance(frame, bytes):
            return self.samples(frame)
        if self.message(frame).get("type") == "Flushed":  # Metadata and Warning are ignored
            self.opened, self.owed = True, self.owed - 1
            self.finished = self.asked_all and self.owed <= 0
        return None


def build_client(settings: DeepgramSpeakSettings, sessions: HttpSessions) -> DeepgramSpeak:
    """Return the client for ``settings``."""
    return DeepgramSpeak(settings, sessions)


VENDOR = Vendor(DeepgramSpeakSettings, build_client)
