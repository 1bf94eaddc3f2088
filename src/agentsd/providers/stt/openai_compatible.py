"""Speech to text as OpenAI's ``/v1/audio/transcriptions`` does it: one request for each utterance.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import NetworkSettings, OptionalApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class OpenAITranscriptionSettings(NetworkSettings):
    """Settings of ``openai-compatible`` as a listener."""

    kind: ClassVar[str] = "stt"

    provider: Literal["openai-compatible"]
    api_key: OptionalApiKey = None
    model: Annotated[
        str, Field(min_length=1, description="The model that listens.", examples=["whisper-large-v3-turbo"])
    ]
    language: Annotated[
        str | None,
        Field(
            min_length=2,
            description="ISO 639-1 code; recognised from the speech where absent.",
            examples=["en"],
        ),
    ] = None
    prompt: Annotated[
        str | None,
        Field(
            min_length=1, description="Words to expect: names, jargon.", examples=["SOPS, agentsd, Postgres"]
        ),
    ] = None
    sample_rate: Annotated[
        int, Field(ge=8000, le=48000, description="Hertz of the audio that is sent.", examples=[16000])
    ] = 16000
    api_url: Annotated[
        Url,
        Field(description="The server's base URL, without the path.", examples=["http://127.0.0.1:8000"]),
    ]
    transcriptions_path: Annotated[
        UrlPath,
        Field(
            description="Path of the transcriptions under `api_url`.",
            examples=["/v1/audio/transcriptions"],
        ),
    ] = "/v1/audio/transcriptions"


VENDOR = Vendor(OpenAITranscriptionSettings, None)
