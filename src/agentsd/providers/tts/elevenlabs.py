"""ElevenLabs text to speech over a WebSocket.

https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-stream-input
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import ApiKey, NetworkSettings
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.endpoint import encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import SpokenWords, split_first_sentence
from agentsd.providers.transport.websocket import Frame, SocketClient, SpeechReader, frame_pieces
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
    price: SpeechPriceField = None


INACTIVITY_SECONDS = 180
"""The vendor's maximum: an LLM may take longer than its default of 20 s."""


class ElevenLabs(SocketClient):
    """Client that sends a space with voice settings, words, an empty text; ends with ``isFinal``."""

    listing_path = "/v1/models"

    def __init__(self, settings: ElevenLabsSettings, sessions: HttpSessions) -> None:
        query = {
            "model_id": settings.model_id,
            "output_format": f"pcm_{settings.sample_rate}",
            "inactivity_timeout": str(INACTIVITY_SECONDS),
        }
        if settings.language_code:
            query["language_code"] = settings.language_code
        url = settings.url.rstrip("/") + settings.path.replace("{voice_id}", settings.voice_id)
        headers = {"xi-api-key": settings.api_key.reveal()}
        super().__init__(settings, sessions, url=url, headers=headers, query=query)
        self.sample_rate = settings.sample_rate
        self._voice = _make_voice_settings(settings)
        self._opening = self._make_opening(self._voice)

    def tune(self, options: SpeechOptions) -> ElevenLabs:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self.who.vendor, options, 0.7, 1.2)
        if speed is not None:
            tuned._opening = self._make_opening({**self._voice, "speed": speed})
        return tuned

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Yield PCM as it comes: see ``TTS``."""
        end = self._json({"text": ""})
        return self.converse(
            frame_pieces(split_first_sentence(text), self._say, first=[self._opening], last=[end]),
            _Reader(self.who, self.sample_rate),
        )

    def _say(self, words: SpokenWords) -> Frame:
        flush = {"flush": True} if words.sentence else {}  # otherwise it waits for some 50 characters
        return self._json({"text": words.text, "try_trigger_generation": True, **flush})

    def _make_opening(self, voice: dict[str, float | bool]) -> Frame:
        return self._json({"text": " ", **({"voice_settings": voice} if voice else {})})

    def _json(self, message: dict[str, Any]) -> Frame:
        return encode_json(self.who, message).decode()


class _Reader(SpeechReader):
    def read(self, frame: Frame) -> bytes | None:
        message = self.message(frame)
        self.finished = message.get("isFinal") is True  # the last message, without audio
        return self.samples(message.get("audio"))


def _make_voice_settings(settings: ElevenLabsSettings) -> dict[str, float | bool]:
    chosen = {
        "stability": settings.stability,
        "similarity_boost": settings.similarity_boost,
        "style": settings.style,
        "speed": settings.speed,
        "use_speaker_boost": settings.use_speaker_boost,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def build_client(settings: ElevenLabsSettings, sessions: HttpSessions) -> ElevenLabs:
    """Return the client for ``settings``."""
    return ElevenLabs(settings, sessions)


VENDOR = Vendor(ElevenLabsSettings, build_client)
