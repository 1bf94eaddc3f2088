"""async.ai text to speech over a WebSocket: https://docs.async.ai/."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.schema import Url
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


VENDOR = Vendor(AsyncAISettings, None)
