"""Deepgram speech to text over a WebSocket: https://developers.deepgram.com/reference/speech-to-text/listen-streaming."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.schema import Url
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


VENDOR = Vendor(DeepgramListenSettings, None)
