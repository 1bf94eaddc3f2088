"""A Whisper server of one's own, over its streaming WebSocket."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import NetworkSettings
from agentsd.providers.schema import Url, UrlPath
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


VENDOR = Vendor(WhisperSettings, None)
