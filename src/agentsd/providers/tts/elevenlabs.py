"""ElevenLabs text to speech over a WebSocket.

https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-stream-input
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class ElevenLabsSettings(NetworkSettings):
    """Settings of ``elevenlabs.io``."""

    home: ClassVar[frozenset[str]] = frozenset(
        {
            "wss://api.elevenlabs.io",
            "wss://api.us.elevenlabs.io",
            "wss://api.eu.residency.elevenlabs.io",
            "wss://api.in.residency.elevenlabs.io",
        }
    )
    kind: ClassVar[str] = "tts"

    provider: Literal["elevenlabs.io"]
    api_key: ApiKey
    voice_id: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]+$",
            description="The voice's id, from ElevenLabs' voice library.",
            examples=["21m00Tcm4TlvDq8ikWAM"],
        ),
    ]
    model_id: Annotated[
        str, Field(min_length=1, description="The model that speaks.", examples=["eleven_flash_v2_5"])
    ] = "eleven_flash_v2_5"
    language_code: Annotated[
        str | None,
        Field(min_length=2, description="ISO 639-1 code, for models that take one.", examples=["en"]),
    ] = None
    sample_rate: Annotated[
        Literal[8000, 16000, 22050, 24000, 44100, 48000],
        Field(description="Hertz of the speech; asked for as `pcm_RATE`.", examples=[24000]),
    ] = 24000
    stability: Annotated[
        float | None,
        Field(ge=0, le=1, description="Higher is steadier, lower more expressive.", examples=[0.5]),
    ] = None
    similarity_boost: Annotated[
        float | None, Field(ge=0, le=1, description="How close to the original voice.", examples=[0.75])
    ] = None
    style: Annotated[
        float | None, Field(ge=0, le=1, description="Exaggeration of the voice's style.", examples=[0.0])
    ] = None
    speed: Annotated[
        float | None, Field(ge=0.7, le=1.2, description="1 is the voice's own pace.", examples=[1.0])
    ] = None
    use_speaker_boost: Annotated[
        bool | None, Field(description="More like the speaker, at some latency.", examples=[True])
    ] = None
    url: Annotated[
        Url, Field(description="The vendor's base address.", examples=["wss://api.elevenlabs.io"])
    ] = "wss://api.elevenlabs.io"
    path: Annotated[
        UrlPath,
        Field(
            description="Path under `url`; `{voice_id}` stands for the voice.",
            examples=["/v1/text-to-speech/{voice_id}/stream-input"],
        ),
    ] = "/v1/text-to-speech/{voice_id}/stream-input"


VENDOR = Vendor(ElevenLabsSettings, None)
