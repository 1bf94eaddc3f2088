"""Text to speech as OpenAI's ``/v1/audio/speech`` does it: one request for each sentence.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import NetworkSettings, OptionalApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class OpenAISpeechSettings(NetworkSettings):
    """Settings of ``openai-compatible`` as a speaker."""

    kind: ClassVar[str] = "tts"

    provider: Literal["openai-compatible"]
    api_key: OptionalApiKey = None
    model: Annotated[
        str, Field(min_length=1, description="The model that speaks.", examples=["gpt-4o-mini-tts"])
    ]
    voice: Annotated[str, Field(min_length=1, description="The voice's name.", examples=["alloy"])]
    instructions: Annotated[
        str | None,
        Field(
            min_length=1, description="How to speak, for models that take it.", examples=["Calm and slow."]
        ),
    ] = None
    speed: Annotated[
        float | None, Field(ge=0.25, le=4, description="1 is the voice's own pace.", examples=[1.0])
    ] = None
    response_format: Annotated[
        Literal["pcm", "wav"],
        Field(description="What to ask the server for: bare samples, or WAV.", examples=["pcm"]),
    ] = "pcm"
    sample_rate: Annotated[
        int,
        Field(ge=8000, le=48000, description="Hertz that the server speaks at.", examples=[24000]),
    ] = 24000
    api_url: Annotated[
        Url,
        Field(description="The server's base URL, without the path.", examples=["http://127.0.0.1:8880"]),
    ]
    speech_path: Annotated[
        UrlPath, Field(description="Path of the speech under `api_url`.", examples=["/v1/audio/speech"])
    ] = "/v1/audio/speech"


VENDOR = Vendor(OpenAISpeechSettings, None)
