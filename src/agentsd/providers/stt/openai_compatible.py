"""Speech to text through OpenAI's ``/v1/audio/transcriptions``: one request for each utterance.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from copy import copy
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import orjson
from pydantic import Field

from agentsd.audio.wav import make_wav
from agentsd.providers.base import ProviderRejected, Transcript
from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.limits import TRANSCRIPT_LIMITS
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.options import ListeningOptions, make_refusal
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.stt.timed_transcripts import parse_segments
from agentsd.providers.transport.endpoint import Endpoint
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

if TYPE_CHECKING:
    import aiohttp


class OpenAITranscriptionSettings(HttpSettings):
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
    translations_path: Annotated[
        UrlPath,
        Field(description="Path of the translations under `api_url`.", examples=["/v1/audio/translations"]),
    ] = "/v1/audio/translations"


class OpenAITranscription:
    """Client that collects the speech until it ends, posts it as WAV, and yields one final transcript."""

    def __init__(self, settings: OpenAITranscriptionSettings, sessions: HttpSessions) -> None:
        self._who = VendorRef(settings.provider, settings.kind)
        headers = settings.request_headers()
        self._endpoint, self._translations = (
            Endpoint(
                sessions,
                settings.make_url(settings.api_url, path),
                self._who,
                headers,
                settings.timeouts,
                TRANSCRIPT_LIMITS,
                proxy=settings.proxy,
            )
            for path in (settings.transcriptions_path, settings.translations_path)
        )
        self._limit = sessions.limits.recording
        self.sample_rate = settings.sample_rate
        fields = {"model": settings.model, "language": settings.language, "prompt": settings.prompt}
        known = {name: value for name, value in fields.items() if value is not None}
        self._fields = {name: _to_field(value) for name, value in settings.add_body(known).items()}
        self._times: list[str] = []  # granularities to ask for: segment, word

    def tune(self, options: ListeningOptions) -> OpenAITranscription:
        """Return this recogniser with ``options``: the interface has all. Raises ``OptionRefused``."""
        if options.translate and options.language is not None:
            raise make_refusal(self._who.vendor, "language", " for a translation")
        tuned = copy(self)
        asked = {
            "language": options.language,
            "prompt": options.prompt,
            "temperature": None if options.temperature is None else f"{options.temperature:g}",
        }
        tuned._fields = self._fields | {name: value for name, value in asked.items() if value is not None}
        tuned._times = [name for name in ("segment", "word") if getattr(options, f"{name}s")]
        if options.translate:
            tuned._endpoint = self._translations
            tuned._fields.pop("language", None)  # translations have no such field
            tuned._times = ["segment"] if tuned._times else []  # nor that of granularities
        return tuned

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Yield final transcripts: see ``STT``. Without speech no request is made."""
        audio = await self._collect(pcm)
        if not audio:
            return
        async with self._endpoint.post(self._form(audio)) as reply:
            answer = await reply.json()
        text = answer.get("text")
        if not isinstance(text, str):
            raise make_protocol_error(self._who, "answered without a text")
        if self._times and (segments := parse_segments(answer)):
            for segment in segments:
                yield segment
        elif text.strip():
            yield Transcript(text.strip(), final=True)

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()
        await self._translations.aclose()

    async def _collect(self, pcm: AsyncIterator[bytes]) -> bytes:
        audio = bytearray()
        async for chunk in pcm:
            audio += chunk
            if len(audio) > self._limit:
                message = f"{self._who.vendor}: the speech has more than {self._limit} bytes"
                hint = "end it earlier, or raise AGENTSD_MAX_UPLOAD; a streaming STT has no such limit"
                raise ProviderRejected(message, hint=hint)
        return bytes(audio)

    def _form(self, audio: bytes) -> aiohttp.FormData:
        import aiohttp

        form = aiohttp.FormData(
            {**self._fields, "response_format": "verbose_json" if self._times else "json"}
        )
        if self._endpoint is not self._translations:
            for name in self._times:
                form.add_field("timestamp_granularities[]", name)
        wav = BytesIO(make_wav(self.sample_rate, audio))  # a file is sent in pieces; bytes would be at once
        form.add_field("file", wav, filename="speech.wav", content_type="audio/wav")
        return form


def _to_field(value: Any) -> str:
    """Return a value as a field of a form."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def build_client(settings: OpenAITranscriptionSettings, sessions: HttpSessions) -> OpenAITranscription:
    """Return the client for ``settings``."""
    return OpenAITranscription(settings, sessions)


VENDOR = Vendor(OpenAITranscriptionSettings, build_client)
