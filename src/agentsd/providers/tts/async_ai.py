"""async.ai text to speech over a WebSocket: https://docs.async.ai/."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_words
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader, frame_pieces
from agentsd.providers.vendor import Vendor


class AsyncAISettings(NetworkSettings):
    """Settings of ``async.ai``."""

    home: ClassVar[frozenset[str]] = frozenset({"wss://api.async.ai", "wss://api.async.com"})
    kind: ClassVar[str] = "tts"

    provider: Literal["async.ai"]
    api_key: ApiKey
    voice_id: Annotated[
        str,
        Field(
            min_length=1,
            description="The voice's id, from async.ai's voice library.",
            examples=["e7b694f8-d277-47ff-82bf-cb48e7662647"],
        ),
    ]
    model_id: Annotated[
        str, Field(min_length=1, description="The model that speaks.", examples=["asyncflow_v2.0"])
    ] = "asyncflow_v2.0"
    language: Annotated[
        str | None,
        Field(
            min_length=2,
            description="ISO 639-1 code; recognised from the text where absent.",
            examples=["en"],
        ),
    ] = None
    sample_rate: Annotated[
        Literal[8000, 16000, 22050, 24000, 44100, 48000],
        Field(description="Hertz of the speech.", examples=[44100]),
    ] = 44100
    url: Annotated[
        Url,
        Field(
            description="The WebSocket's whole address.",
            examples=["wss://api.async.ai/text_to_speech/websocket/ws"],
        ),
    ] = "wss://api.async.ai/text_to_speech/websocket/ws"
    version: Annotated[
        str, Field(min_length=1, description="Version of the vendor's API.", examples=["v1"])
    ] = "v1"
    price: SpeechPriceField = None


class AsyncAI(SocketClient):
    """Client that sends format, words and an empty transcript; gets base64 audio until ``final``."""

    def __init__(self, settings: AsyncAISettings, sessions: HttpSessions) -> None:
        query = {"api_key": settings.api_key.reveal(), "version": settings.version}
        super().__init__(settings, sessions, url=settings.url, query=query)
        self.sample_rate = settings.sample_rate
        self._voice = {"mode": "id", "id": settings.voice_id}
        output = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": settings.sample_rate}
        language = {"language": settings.language} if settings.language else {}
        self._opening = self._json(
            {"model_id": settings.model_id, "voice": self._voice, "output_format": output, **language}
        )

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Yield PCM as it comes: see ``TTS``."""
        end = self._json({"transcript": ""})
        return self.converse(
            frame_pieces(split_words(text), self._say, first=[self._opening], last=[end]),
            _Reader(self.who, self.sample_rate),
        )

    def _say(self, piece: str) -> Frame:
        return self._json({"transcript": piece, "voice": self._voice})

    def _json(self, message: dict[str, Any]) -> Frame:
        return encode_json(self.who, message).decode()


class _Reader(SpeechReader):
    def read(self, frame: Frame) -> bytes | None:
        message = self.message(frame)
        self.finished = message.get("final") is True  # which may come without audio
        return self.samples(message.get("audio"))


def build_client(settings: AsyncAISettings, sessions: HttpSessions) -> AsyncAI:
    """Return the client for ``settings``."""
    return AsyncAI(settings, sessions)


VENDOR = Vendor(AsyncAISettings, build_client)
