"""Deepgram text to speech over a WebSocket: https://developers.deepgram.com/docs/tts-websocket."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.schema import Url
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


VENDOR = Vendor(DeepgramSpeakSettings, None)
