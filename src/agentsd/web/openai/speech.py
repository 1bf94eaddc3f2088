"""POST /v1/audio/speech: OpenAI's interface, where ``model`` is an agent's slug.

The audio streams as the vendor sends it. An error before the first sound is an HTTP status; a later
one cuts the connection, so that no client takes half an answer for a whole one.

The agent's manifest sets the voice, so ``voice`` and ``instructions`` are accepted and ignored.
``pcm`` comes at 24 kHz, as from OpenAI, whatever the vendor's rate is; ``wav`` comes at the
vendor's. ``sample_rate`` in the request (an extension) chooses another. ``X-Sample-Rate`` contains
it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from agentsd.audio.rates import resample_stream
from agentsd.audio.wav import make_stream_header
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.services.speech import SpokenText, speak_text
from agentsd.web.context import WEB_METRICS
from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.http.sse import write_frame
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.middleware.request import cut_connection, log_unexpected_error
from agentsd.web.openai.models import ModelName, lease_model, make_agent_headers

TEXT_MAX = 16_384
"""Maximum characters of one request."""
OPENAI_RATE_HERTZ = 24_000
"""Hertz of OpenAI's ``pcm``, which has no header to declare it."""
_Ignored = Annotated[Any, Field(description="Accepted and ignored: set in the manifest.")]


class SpeechRequest(RequestModel):
    """Text to speak."""

    model_config = ConfigDict(extra="ignore")

    model: ModelName = None
    input: Annotated[
        str,
        Field(
            min_length=1,
            max_length=TEXT_MAX,
            pattern=r"\S",
            description=f"A text of 1 to {TEXT_MAX} characters.",
        ),
    ]
    response_format: Annotated[
        Literal["wav", "pcm"] | None,
        Field(description="`pcm`: 16-bit mono samples without a header; at 24 kHz without `sample_rate`."),
    ] = "wav"
    sample_rate: Annotated[
        int | None, Field(ge=8_000, le=48_000, description="Hertz; without it, `wav` has the voice's own.")
    ] = None
    stream_format: Annotated[
        Literal["audio"] | None, Field(description="Leave it out: the audio itself streams.")
    ] = None
    speed: Annotated[
        float | None, Field(ge=1, le=1, description="Leave it out: the manifest's tts section sets it.")
    ] = None
    voice: _Ignored = None
    instructions: _Ignored = None

    @property
    def is_wav(self) -> bool:
        """Return whether the audio has a header."""
        return self.response_format != "pcm"

    @property
    def rate(self) -> int | None:
        """Return the rate in hertz; None: the vendor's own."""
        return self.sample_rate or (None if self.is_wav else OPENAI_RATE_HERTZ)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/speech", synthesize_speech)]


async def synthesize_speech(request: web.Request) -> web.StreamResponse:
    """Stream a text as speech."""
    wish = parse_model(SpeechRequest, await read_json_object(request))
    async with lease_model(request, wish.model) as agent:
        with request.app[WEB_METRICS].streams.labels("speech").track_inprogress():
            return await _stream_speech(request, agent, wish)


async def _stream_speech(request: web.Request, agent: LiveAgent, wish: SpeechRequest) -> web.StreamResponse:
    spoken = speak_text(agent, wish.input)
    rate = wish.rate or spoken.sample_rate
    async with aclosing(_resample_speech(spoken, rate)) as chunks:
        first = await anext(chunks, b"")  # before the first chunk, an error is an HTTP status
        response = web.StreamResponse(headers=_make_headers(agent, wish, rate))
        await response.prepare(request)
        try:
            await write_frame(response, (make_stream_header(rate) if wish.is_wav else b"") + first)
            async for chunk in chunks:
                await write_frame(response, chunk)
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            if not isinstance(error, AgentsdError):
                log_unexpected_error(error)
            cut_connection(request)
        await response.write_eof()
        return response


def _resample_speech(spoken: SpokenText, rate: int) -> AsyncGenerator[bytes, None]:
    if spoken.sample_rate == rate:
        return spoken.pcm
    return resample_stream(spoken.pcm, spoken.sample_rate, rate)


def _make_headers(agent: LiveAgent, wish: SpeechRequest, rate: int) -> dict[str, str]:
    kind = "audio/wav" if wish.is_wav else f"audio/pcm;rate={rate};channels=1"
    return {**SECURITY_HEADERS, **make_agent_headers(agent), "Content-Type": kind, "X-Sample-Rate": str(rate)}
