"""Hume text to speech over a WebSocket: https://dev.hume.ai/reference/text-to-speech-tts/stream-input."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.schema import Url
from agentsd.providers.vendor import Vendor

SAMPLE_RATE = 48000
"""Hertz; Hume speaks at no other rate."""


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


VENDOR = Vendor(HumeSettings, None)
