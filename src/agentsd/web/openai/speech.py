"""POST /v1/audio/speech: OpenAI's interface, where ``model`` is an agent's slug.

The audio streams as the vendor sends it. An error before the first sound is an HTTP status; a later
one cuts the connection, so that no client takes half an answer for a whole one.

The agent's manifest sets the voice, so ``voice`` and ``instructions`` are accepted and ignored.
``pcm`` comes at 24 kHz, as from OpenAI, whatever the vendor's rate is; ``wav`` comes at the
vendor's. ``sample_rate`` in the request (an extension) chooses another. ``X-Sample-Rate`` contains
it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from agentsd.audio.rates import resample_stream
from agentsd.audio.wav import make_stream_header
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.services.speech import SpokenText, speak_text
from agentsd.web.context import WEB_METRICS
from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.http.problem import bad_request
from agentsd.web.http.sse import write_frame
from agentsd.web.json_body import read_json_object
from agentsd.web.middleware.request import cut_connection, log_unexpected_error
from agentsd.web.openai.models import lease_model, make_agent_headers

TEXT_MAX = 16_384
"""Maximum characters of one request."""
OPENAI_RATE_HERTZ = 24_000
"""Hertz of OpenAI's ``pcm``, which has no header to declare it."""
RATES_HERTZ = range(8_000, 48_001)
SPEECH_FORMATS = ("wav", "pcm")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Parameters of a speech request. ``rate`` None: the vendor's own."""

    text: str
    wav: bool
    rate: int | None


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/speech", synthesize_speech)]


async def synthesize_speech(request: web.Request) -> web.StreamResponse:
    """Stream a text as speech."""
    body = await read_json_object(request)
    wish = parse_speech_request(body)
    async with lease_model(request, body.get("model")) as agent:
        with request.app[WEB_METRICS].streams.labels("speech").track_inprogress():
            return await _stream_speech(request, agent, wish)


def parse_speech_request(body: Mapping[str, Any]) -> SpeechRequest:
    """Parse the parameters in ``body``. Raise ``Problem`` 400."""
    text, form = body.get("input"), body.get("response_format") or "wav"
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_MAX:
        raise bad_request(f"input must be a text of 1 to {TEXT_MAX} characters", param="input")
    if form not in SPEECH_FORMATS:
        hint = "ask for wav, or for pcm: 16-bit mono samples at 24 kHz without a header"
        raise bad_request("this response_format is not supported", hint=hint, param="response_format")
    if body.get("stream_format") not in (None, "audio"):
        hint = "leave it out: the audio itself streams"
        raise bad_request("stream_format must be audio", hint=hint, param="stream_format")
    if body.get("speed") not in (None, 1):
        hint = "leave it out; the manifest's tts section sets the speed"
        raise bad_request("speed cannot be chosen by a request", hint=hint, param="speed")
    rate = body.get("sample_rate") or (OPENAI_RATE_HERTZ if form == "pcm" else None)
    if rate is not None and (not isinstance(rate, int) or rate not in RATES_HERTZ):
        raise bad_request("sample_rate must be 8000 to 48000", param="sample_rate")
    return SpeechRequest(text, form == "wav", rate)


async def _stream_speech(request: web.Request, agent: LiveAgent, wish: SpeechRequest) -> web.StreamResponse:
    spoken = speak_text(agent, wish.text)
    rate = wish.rate or spoken.sample_rate
    async with aclosing(_resample_speech(spoken, rate)) as chunks:
        first = await anext(chunks, b"")  # before the first chunk, an error is an HTTP status
        response = web.StreamResponse(headers=_make_headers(agent, wish, rate))
        await response.prepare(request)
        try:
            await write_frame(response, (make_stream_header(rate) if wish.wav else b"") + first)
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
    kind = "audio/wav" if wish.wav else f"audio/pcm;rate={rate};channels=1"
    return {**SECURITY_HEADERS, **make_agent_headers(agent), "Content-Type": kind, "X-Sample-Rate": str(rate)}
