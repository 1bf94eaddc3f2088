"""Speech to text through OpenAI's ``/v1/audio/transcriptions``: one request for each utterance.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import orjson
from pydantic import Field

from agentsd.audio.pcm import SAMPLE_BYTES, SampleJoiner
from agentsd.audio.wav import make_wav
from agentsd.providers.base import ProviderRejected, Transcript
from agentsd.providers.base_url import find_listing_url
from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.limits import TRANSCRIPT_LIMITS
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.options import ListeningOptions, get_primary_language, make_refusal
from agentsd.providers.price import TranscriptionPriceField
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.stt.timed_transcripts import parse_segments
from agentsd.providers.transport.endpoint import Endpoint
from agentsd.providers.transport.model_list import list_models
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
    price: TranscriptionPriceField = None


FORM_PART = 256
"""Divisor: the part of a request that is not its recording, since OpenAI's limit holds for the whole body."""
"""Format of speech that would be too long as WAV."""
SECONDS_MIN = 0.2
"""Sound that one request has at least: OpenAI refuses less than 0.1, and people do say "yes"."""


@dataclass(frozen=True, slots=True)
class SpeechFile:
    """Speech as it is sent."""

    data: bytes
    name: str
    content_type: str


class OpenAITranscription:
    """Client that collects the speech until it ends, posts it as a file, and yields one final transcript."""

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
        self._limit = sessions.limits.recording - sessions.limits.recording // FORM_PART
        self.sample_rate = settings.sample_rate
        fields = {"model": settings.model, "language": settings.language, "prompt": settings.prompt}
        known = {name: value for name, value in fields.items() if value is not None}
        self._fields = {name: _to_field(value) for name, value in settings.add_body(known).items()}
        self._times: list[str] = []  # granularities to ask for: segment, word

    async def list_models(self) -> frozenset[str] | None:
        """Return the vendor's models; None where they cannot be listed. Raises ``ProviderError``."""
        url = find_listing_url(self._endpoint.url, ("/audio/transcriptions",))
        return await list_models(self._endpoint, url) if url else None

    def tune(self, options: ListeningOptions) -> OpenAITranscription:
        """Return this recogniser with ``options``: the interface has all. Raises ``OptionRefused``."""
        if options.translate and options.language is not None:
            raise make_refusal(self._who.vendor, "language", " for a translation")
        tuned = copy(self)
        asked = {
            "language": options.language and get_primary_language(options.language),
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
        file = await self._collect(pcm)
        if file is None:
            return
        answer = await self._ask(file)
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

    async def _collect(self, pcm: AsyncIterator[bytes]) -> SpeechFile | None:
        """Return all of the speech as a file; None where it is empty."""
        audio = bytearray()
        async for chunk in pcm:
            audio += chunk
            if len(audio) > self._limit:
                return await self._compress(_join_samples(bytes(audio), pcm))
        shortest = int(SECONDS_MIN * self.sample_rate) * SAMPLE_BYTES
        padded = bytes(audio).ljust(shortest, b"\0")
        return SpeechFile(make_wav(self.sample_rate, padded), "speech.wav", "audio/wav") if audio else None

    async def _compress(self, pcm: AsyncGenerator[bytes, None]) -> SpeechFile:
        """Return speech that is too long for a WAV. Raises ``ProviderRejected`` beyond the vendor's limit."""
        from agentsd.audio.encoder import FORMATS, can_encode, encode_stream  # loads asyncio

        form = FORMATS["mp3"]
        if not can_encode(form):
            raise self._make_too_long()
        data = BytesIO()
        async with aclosing(encode_stream(pcm, form, self.sample_rate)) as pieces:
            async for piece in pieces:
                data.write(piece)
                if data.tell() > self._limit:
                    raise self._make_too_long()
        return SpeechFile(data.getvalue(), "speech.mp3", form.content_type)

    def _make_too_long(self) -> ProviderRejected:
        message = f"{self._who.vendor}: the speech has more than {self._limit} bytes"
        hint = "end it earlier, or raise AGENTSD_MAX_UPLOAD; a streaming STT has no such limit"
        return ProviderRejected(message, hint=hint)

    async def _ask(self, audio: SpeechFile) -> dict[str, Any]:
        """Return the answer, without times where the model refuses ``verbose_json``."""
        if self._times:
            try:
                return await self._post(audio, self._times)
            except ProviderRejected:
                pass  # if it was for another reason, so is the next
        return await self._post(audio, ())

    async def _post(self, audio: SpeechFile, times: Sequence[str]) -> dict[str, Any]:
        async with self._endpoint.post(self._form(audio, times)) as reply:
            return await reply.json()

    def _form(self, audio: SpeechFile, times: Sequence[str]) -> aiohttp.FormData:
        import aiohttp

        form = aiohttp.FormData({**self._fields, "response_format": "verbose_json" if times else "json"})
        if self._endpoint is not self._translations:
            for name in times:
                form.add_field("timestamp_granularities[]", name)
        data = BytesIO(audio.data)  # a file is sent in pieces; bytes would be at once
        form.add_field("file", data, filename=audio.name, content_type=audio.content_type)
        return form


async def _join_samples(head: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield whole samples: ``head``, then ``rest``."""
    samples = SampleJoiner()
    if first := samples.take(head):
        yield first
    async for chunk in rest:
        if whole := samples.take(chunk):
            yield whole


def _to_field(value: Any) -> str:
    """Return a value as a field of a form."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def build_client(settings: OpenAITranscriptionSettings, sessions: HttpSessions) -> OpenAITranscription:
    """Return the client for ``settings``."""
    return OpenAITranscription(settings, sessions)


VENDOR = Vendor(OpenAITranscriptionSettings, build_client)
