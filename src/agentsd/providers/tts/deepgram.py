"""Deepgram text to speech over a WebSocket: https://developers.deepgram.com/docs/tts-websocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_words
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader, frame_pieces
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


FLUSH = '{"type":"Flush"}'


class DeepgramSpeak(SocketClient):
    """Client that sends words and one ``Flush`` at the end; gets binary audio until ``Flushed``.

    It sends one flush only: the vendor allows 20 a minute, and frequent ones degrade the voice.
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
        return self.converse(
            frame_pieces(split_words(text), self._say, last=[FLUSH]), _Reader(self.who, self.sample_rate)
        )

    def _say(self, piece: str) -> Frame:
        return encode_json(self.who, {"type": "Speak", "text": piece}).decode()


class _Reader(SpeechReader):
    def read(self, frame: Frame) -> bytes | None:
        if isinstance(frame, bytes):
            return self.samples(frame)
        self.finished = self.message(frame).get("type") == "Flushed"  # Metadata and Warning are ignored
        return None


def build_client(settings: DeepgramSpeakSettings, sessions: HttpSessions) -> DeepgramSpeak:
    """Return the client for ``settings``."""
    return DeepgramSpeak(settings, sessions)


VENDOR = Vendor(DeepgramSpeakSettings, build_client)
