"""Text to speech through OpenAI's ``/v1/audio/speech``: one request for each sentence.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from copy import copy
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import BadAudio
from agentsd.audio.pcm_stream import PcmStream
from agentsd.providers.base_url import find_listing_url
from agentsd.providers.errors import VendorRef, make_empty_error, make_protocol_error, make_wrong_rate_error
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.price import SpeechPriceField
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.endpoint import Endpoint, VendorReply, encode_json
from agentsd.providers.transport.model_list import list_models
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import is_speakable, split_sentences
from agentsd.providers.vendor import Vendor

_TEXT_TYPES = ("text/", "application/json", "application/problem", "application/xml", "application/xhtml")


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
    price: SpeechPriceField = None


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

    async def list_models(self) -> frozenset[str] | None:
        """Return the vendor's models; None where they cannot be listed. Raises ``ProviderError``."""
        url = find_listing_url(self._endpoint.url, ("/audio/speech",))
        return await list_models(self._endpoint, url) if url else None

    def tune(self, options: SpeechOptions) -> OpenAISpeech:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self._who.vendor, options, 0.25, 4)
        if speed is not None:
            tuned._how = {**self._how, "speed": speed}
        return tuned

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes: see ``TTS``."""
        async with aclosing(split_sentences(text)) as pieces:
            async for sentence in pieces:
                body = encode_json(self._who, {**self._how, "input": sentence})
                async with self._endpoint.post(body, accept="audio/*") as reply:
                    if reply.content_type == "application/json":
                        await reply.json()
                    if reply.content_type.startswith(_TEXT_TYPES):
                        raise make_protocol_error(self._who, "answered with a text instead of audio")
                    heard = False
                    async with aclosing(self._read_samples(reply)) as chunks:
                        async for chunk in chunks:
                            heard = True
                            yield chunk
                if not heard and is_speakable(sentence):
                    raise make_empty_error(self._who, "sound")

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()

    async def _read_samples(self, reply: VendorReply) -> AsyncGenerator[bytes, None]:
        """Yield PCM at the manifest's rate, also of WAV that comes instead.

        WAV that was asked for must have this rate, so that the manifest is corrected.
        """
        pcm = PcmStream(self.sample_rate)
        try:
            data = await reply.read(first=True)
            while data:
                chunk = pcm.take(data)
                if self._wav and pcm.wav_rate not in (None, self.sample_rate):
                    raise make_wrong_rate_error(self._who, pcm.wav_rate or 0, self.sample_rate)
                if chunk:
                    yield chunk
                data = await reply.read()
            if rest := pcm.end():
                yield rest
        except BadAudio as error:
            raise make_protocol_error(self._who, str(error)) from None


def build_client(settings: OpenAISpeechSettings, sessions: HttpSessions) -> OpenAISpeech:
    """Return the client for ``settings``."""
    return OpenAISpeech(settings, sessions)


VENDOR = Vendor(OpenAISpeechSettings, build_client)
