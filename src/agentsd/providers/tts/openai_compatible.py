"""Text to speech through OpenAI's ``/v1/audio/speech``: one request for each sentence.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import BadAudio, SampleJoiner
from agentsd.audio.wav import WavHeader, parse_wav_header
from agentsd.providers.errors import VendorRef, make_protocol_error, make_wrong_rate_error
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.endpoint import Endpoint, VendorReply, encode_json
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_sentences
from agentsd.providers.vendor import Vendor

HEADER_BYTES_MAX = 4096
"""Bytes in which a WAV header must end."""


class OpenAISpeechSettings(HttpSettings):
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


class OpenAISpeech:
    """Client that posts each sentence once it is whole, and yields its audio as it comes."""

    def __init__(self, settings: OpenAISpeechSettings, sessions: HttpSessions) -> None:
        self._who = VendorRef(settings.provider, settings.kind)
        url = settings.make_url(settings.api_url, settings.speech_path)
        headers = settings.request_headers()
        self._endpoint = Endpoint(sessions, url, self._who, headers, settings.timeouts, proxy=settings.proxy)
        self.sample_rate = settings.sample_rate
        self._wav = settings.response_format == "wav"
        how = {"instructions": settings.instructions, "speed": settings.speed}
        own = {
            "model": settings.model,
            "voice": settings.voice,
            "response_format": settings.response_format,
            **{name: value for name, value in how.items() if value is not None},
        }
        self._how = settings.add_body(own)

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes: see ``TTS``."""
        async with aclosing(split_sentences(text)) as pieces:
            async for sentence in pieces:
                body = encode_json(self._who, {**self._how, "input": sentence})
                async with self._endpoint.post(body, accept="audio/*") as reply:
                    if reply.content_type == "application/json":
                        await reply.json()
                        raise make_protocol_error(self._who, "answered with JSON instead of audio")
                    samples = SampleJoiner()
                    data = await self._first(reply)
                    while data:
                        chunk = samples.take(data)
                        if chunk:
                            yield chunk
                        data = await reply.read()

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()

    async def _first(self, reply: VendorReply) -> bytes:
        """Return the first bytes of PCM: of a WAV, those after its header, whose rate must be right."""
        data = await reply.read(first=True)
        if not self._wav:
            return data
        while True:
            header = self._header(data)
            more = b"" if header and len(data) > header.size else await reply.read()
            if header and (more or len(data) > header.size):
                return data[header.size :] + more
            if not more:
                return b""
            data += more

    def _header(self, data: bytes) -> WavHeader | None:
        try:
            header = parse_wav_header(data)
        except BadAudio as error:
            raise make_protocol_error(self._who, str(error)) from None
        if header and header.rate != self.sample_rate:
            raise make_wrong_rate_error(self._who, header.rate, self.sample_rate)
        if header is None and len(data) > HEADER_BYTES_MAX:
            raise make_protocol_error(self._who, "sent a WAV header without an end")
        return header


def build_client(settings: OpenAISpeechSettings, sessions: HttpSessions) -> OpenAISpeech:
    """Return the client for ``settings``."""
    return OpenAISpeech(settings, sessions)


VENDOR = Vendor(OpenAISpeechSettings, build_client)
