"""Deepgram speech to text over a WebSocket: https://developers.deepgram.com/reference/speech-to-text/listen-streaming."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.base import Transcript
from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.options import ListeningOptions, refuse_options
from agentsd.providers.price import TranscriptionPriceField
from agentsd.providers.schema import Url
from agentsd.providers.stt.timed_transcripts import parse_number, parse_words
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.websocket import Frame, FrameReader, SocketClient, frame_pieces
from agentsd.providers.vendor import Vendor


class DeepgramListenSettings(NetworkSettings):
    """Settings of ``deepgram.com`` as a listener."""

    home: ClassVar[frozenset[str]] = frozenset({"wss://api.deepgram.com", "wss://api.eu.deepgram.com"})
    kind: ClassVar[str] = "stt"

    provider: Literal["deepgram.com"]
    api_key: ApiKey
    model: Annotated[str, Field(min_length=1, description="The model that listens.", examples=["nova-3"])] = (
        "nova-3"
    )
    language: Annotated[str, Field(min_length=2, description="BCP 47 code, or `multi`.", examples=["en"])] = (
        "en"
    )
    sample_rate: Annotated[
        int, Field(ge=8000, le=48000, description="Hertz of the audio that is sent.", examples=[16000])
    ] = 16000
    smart_format: Annotated[
        bool, Field(description="Punctuation, numerals and the like.", examples=[True])
    ] = True
    endpointing: Annotated[
        int,
        Field(ge=10, le=5000, description="Silence that ends an utterance, in milliseconds.", examples=[500]),
    ] = 500
    url: Annotated[
        Url,
        Field(description="The WebSocket's whole address.", examples=["wss://api.deepgram.com/v1/listen"]),
    ] = "wss://api.deepgram.com/v1/listen"
    price: TranscriptionPriceField = None


FINALIZE, CLOSE = '{"type":"Finalize"}', '{"type":"CloseStream"}'


class DeepgramListen(SocketClient):
    """Client that sends PCM, then ``Finalize`` and ``CloseStream``; ``Metadata`` ends the results."""

    listing_path = "/v1/projects"
    partials = True  # words come while they are spoken

    def __init__(self, settings: DeepgramListenSettings, sessions: HttpSessions) -> None:
        headers = {"Authorization": f"Token {settings.api_key.reveal()}"}
        query = {
            "model": settings.model,
            "language": settings.language,
            "smart_format": str(settings.smart_format).lower(),
            "encoding": "linear16",
            "sample_rate": str(settings.sample_rate),
            "channels": "1",
            "interim_results": "true",
            "endpointing": str(settings.endpointing),
            "vad_events": "true",
        }
        super().__init__(settings, sessions, url=settings.url, headers=headers, query=query)
        self.sample_rate = settings.sample_rate

    def tune(self, options: ListeningOptions) -> DeepgramListen:
        """Return this recogniser for another language. Raises ``OptionRefused``."""
        refuse_options(self.who.vendor, options, ("language", "timestamp_granularities"))
        tuned = copy(self)
        if options.language is not None:
            tuned._query = {**self._query, "language": options.language}
        return tuned

    def stream(self, pcm: AsyncIterator[bytes]) -> AsyncIterator[Transcript]:
        """Yield transcripts as they come: see ``STT``."""
        return self.converse(frame_pieces(pcm, bytes, last=[FINALIZE, CLOSE]), _Reader(self.who))


class _Reader(FrameReader[Transcript]):
    def __init__(self, who: VendorRef) -> None:
        super().__init__(who)
        self._finalized = False

    def read(self, frame: Frame) -> Transcript | None:
        message = self.message(frame)
        self.finished = message.get("type") == "Metadata"
        if message.get("type") != "Results":  # SpeechStarted, UtteranceEnd
            return None
        self._finalized = self._finalized or message.get("from_finalize") is True
        text = self._text(message)
        return add_times(Transcript(text, message.get("is_final") is True), message) if text else None

    def may_close(self) -> bool:
        return self._finalized

    def _text(self, message: dict[str, Any]) -> str:
        try:
            return str(message["channel"]["alternatives"][0]["transcript"])
        except (KeyError, IndexError, TypeError):
            raise make_protocol_error(self.who, "sent a result without a transcript") from None


def add_times(transcript: Transcript, message: dict[str, Any]) -> Transcript:
    """Return ``transcript`` with the times that a result has for it, ``start`` and ``duration``."""
    start, duration = parse_number(message.get("start")), parse_number(message.get("duration"))
    if start is None or duration is None:
        return transcript
    words = parse_words(message["channel"]["alternatives"][0].get("words"), ("punctuated_word", "word"))
    return replace(transcript, start=start, end=start + duration, words=words)


def build_client(settings: DeepgramListenSettings, sessions: HttpSessions) -> DeepgramListen:
    """Return the client for ``settings``."""
    return DeepgramListen(settings, sessions)


VENDOR = Vendor(DeepgramListenSettings, build_client)
