"""Self-hosted Whisper server, over its streaming WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.base import Transcript
from agentsd.providers.errors import VendorRef
from agentsd.providers.network import NetworkSettings
from agentsd.providers.options import ListeningOptions, get_primary_language, refuse_options
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.websocket import Frame, FrameReader, SocketClient, frame_pieces
from agentsd.providers.vendor import Vendor


class WhisperSettings(NetworkSettings):
    """Settings of ``whisper.local``."""

    home: ClassVar[frozenset[str]] = frozenset({"ws://whisper-stt:8003"})
    kind: ClassVar[str] = "stt"

    provider: Literal["whisper.local"]
    language: Annotated[
        str | None,
        Field(
            min_length=2,
            description="ISO 639-1 code; recognised from the speech where absent.",
            examples=["en"],
        ),
    ] = None
    sample_rate: Annotated[
        int, Field(ge=8000, le=48000, description="Hertz of the audio that is sent.", examples=[16000])
    ] = 16000
    url: Annotated[
        Url, Field(description="The server's base address.", examples=["ws://whisper-stt:8003"])
    ] = "ws://whisper-stt:8003"
    path: Annotated[
        UrlPath, Field(description="Path of the stream under `url`.", examples=["/api/stt/stream"])
    ] = "/api/stt/stream"


QUIET_SECONDS = 1.0
"""After the end was requested and a final transcript came, this much silence ends the stream."""


class Whisper(SocketClient):
    """Client that sends PCM, then ``end``; gets transcripts until a final one and a close, or silence."""

    partials = True  # words come while they are spoken

    def __init__(self, settings: WhisperSettings, sessions: HttpSessions) -> None:
        query = {"sample_rate": str(settings.sample_rate)}
        if settings.language:
            query["language"] = settings.language
        super().__init__(settings, sessions, url=settings.url.rstrip("/") + settings.path, query=query)
        self.sample_rate = settings.sample_rate

    def tune(self, options: ListeningOptions) -> Whisper:
        """Return this recogniser for another language. Raises ``OptionRefused``."""
        refuse_options(self.who.vendor, options, ("language",))
        tuned = copy(self)
        if options.language is not None:
            tuned._query = {**self._query, "language": get_primary_language(options.language)}
        return tuned

    def stream(self, pcm: AsyncIterator[bytes]) -> AsyncIterator[Transcript]:
        """Yield transcripts as they come: see ``STT``."""
        return self.converse(frame_pieces(pcm, bytes, last=["end"]), _Reader(self.who))


class _Reader(FrameReader[Transcript]):
    def __init__(self, who: VendorRef) -> None:
        super().__init__(who)
        self._answered = False  # a transcript came, if only an empty one
        self._pending = False  # a partial transcript waits for its final one

    def read(self, frame: Frame) -> Transcript | None:
        message = self.message(frame)
        text, final = message.get("transcript"), message.get("is_final") is True
        if not isinstance(text, str):
            return None
        self._answered = True
        self._pending = bool(text) and not final
        self.quiet = QUIET_SECONDS if final and self.asked_all else None
        return Transcript(text, final) if text else None

    def may_close(self) -> bool:
        return self._answered and not self._pending


def build_client(settings: WhisperSettings, sessions: HttpSessions) -> Whisper:
    """Return the client for ``settings``."""
    return Whisper(settings, sessions)


VENDOR = Vendor(WhisperSettings, build_client)
