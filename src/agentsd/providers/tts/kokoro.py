"""A Kokoro server of one's own, over its live WebSocket."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import NetworkSettings
from agentsd.providers.schema import Url
from agentsd.providers.vendor import Vendor


class KokoroSettings(NetworkSettings):
    """Settings of ``kokoro.local``."""

    home: ClassVar[frozenset[str]] = frozenset({"ws://kokoro-tts:5000"})
    kind: ClassVar[str] = "tts"

    provider: Literal["kokoro.local"]
    voice: Annotated[str, Field(min_length=1, description="The voice's name.", examples=["af_heart"])] = (
        "af_heart"
    )
    language: Annotated[
        str, Field(min_length=1, description="The language's code, as Kokoro writes it.", examples=["en-us"])
    ] = "en-us"
    speed: Annotated[float, Field(gt=0, le=4, description="1 is the voice's own pace.", examples=[1.0])] = 1.0
    sample_rate: Annotated[
        int,
        Field(ge=8000, le=48000, description="Hertz that the server speaks at.", examples=[24000]),
    ] = 24000
    url: Annotated[
        Url,
        Field(description="The WebSocket's whole address.", examples=["ws://kokoro-tts:5000/ws/tts/live"]),
    ] = "ws://kokoro-tts:5000/ws/tts/live"


VENDOR = Vendor(KokoroSettings, None)
