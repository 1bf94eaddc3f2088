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

from agentsd.audio.rates import resampled
from agentsd.audio.wav import stream_header
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.services.speech import Speech, speak
from agentsd.web.context import WEB_METRICS
from agentsd.web.http.caching import SECURITY
from agentsd.web.http.problem import bad_request
from agentsd.web.http.sse import write
from agentsd.web.json_body import json_object
from agentsd.web.middleware.request import cut, report
from agentsd.web.openai.models import agent_headers, lease_model

TEXT_MAX = 16_384
"""Characters that one request may ask to be spoken."""
OPENAI_RATE = 24_000
"""Hertz of OpenAI's ``pcm``, which has no header that could say so."""
RATES = range(8_000, 48_001)
FORMATS = ("wav", "pcm")


@dataclass(frozen=True, slots=True)
class Wish:
    """Parameters of a speech request. ``rate`` None: the vendor's own."""

    text: str
    wav: bool
    rate: int | None


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/speech", speech)]


async def speech(request: web.Request) -> web.StreamResponse:
    """Stream a text as speech."""
    body = await json_object(request)
    wish = wish_of(body)
    async with lease_model(request, body.get("model")) as agent:
        with request.app[WEB_METRICS].streams.labels("speech").track_inprogress():
            return await _stream(request, agent, wish)


def wish_of(body: Mapping[str, Any]) -> Wish:
    """Parse the parameters in ``body``. Raise ``Problem`` 400."""
    text, form = body.get("input"), body.get("response_format") or "wav"
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_MAX:
        raise bad_request(f"input must be a text of 1 to {TEXT_MAX} characters", param="input")
    if form not in FORMATS:
        hint = "ask for wav, or for pcm: 16-bit mono samples at 24 kHz without a header"
        raise bad_request("this response_format is not made here", hint=hint, param="response_format")
    if body.get("stream_format") not in (None, "audio"):
        hint = "leave it out: the audio itself streams"
        raise bad_request("stream_format must be audio", hint=hint, param="stream_format")
    if body.get("speed") not in (None, 1):
        hint = "leave it out; the manifest's tts section says how fast the agent speaks"
        raise bad_request("speed cannot be chosen by a request", hint=hint, param="speed")
    rate = body.get("sample_rate") or (OPENAI_RATE if form == "pcm" else None)
    if rate is not None and (not isinstance(rate, int) or rate not in RATES):
        raise bad_request("sample_rate must be 8000 to 48000", param="sample_rate")
    return Wish(text, form == "wav", rate)


async def _stream(request: web.Request, agent: LiveAgent, wish: Wish) -> web.StreamResponse:
    spoken = speak(agent, wish.text)
    rate = wish.rate or spoken.sample_rate
    async with aclosing(_at(spoken, rate)) as chunks:
        first = await anext(chunks, b"")  # until it is here, an error is an HTTP status
        response = web.StreamResponse(headers=_headers(agent, wish, rate))
        await response.prepare(request)
        try:
            await write(response, (stream_header(rate) if wish.wav else b"") + first)
            async for chunk in chunks:
                await write(response, chunk)
        except ConnectionError:
            raise  # the client left
        except Exception as error:
            if not isinstance(error, AgentsdError):
                report(error)
            cut(request)
        await response.write_eof()
        return response


def _at(spoken: Speech, rate: int) -> AsyncGenerator[bytes, None]:
    if spoken.sample_rate == rate:
        return spoken.pcm
    return resampled(spoken.pcm, spoken.sample_rate, rate)


def _headers(agent: LiveAgent, wish: Wish, rate: int) -> dict[str, str]:
    kind = "audio/wav" if wish.wav else f"audio/pcm;rate={rate};channels=1"
    return {**SECURITY, **agent_headers(agent), "Content-Type": kind, "X-Sample-Rate": str(rate)}
