"""POST /v1/audio/speech: OpenAI's interface, where ``model`` is an agent's slug.

The audio streams as the vendor sends it, encoded as it comes. An error before the first sound is an
HTTP status; a later one cuts the connection, so that no client takes half an answer for a whole one
(``stream_format: sse`` ends with an error instead, and without ``speech.audio.done``).

The agent's manifest sets the voice, so ``voice`` and ``instructions`` are accepted and ignored.
``speed`` is passed on to providers that have one. ``pcm`` comes at 24 kHz, as from OpenAI, whatever the
vendor's rate is; other formats come at the vendor's, or the codec's next one. ``sample_rate`` in the
request (an extension) chooses another. ``X-Sample-Rate`` contains it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from agentsd.audio.encoder import FORMATS, SpeechFormat, can_encode, encode_stream
from agentsd.audio.rates import resample_stream
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.providers.options import SpeechOptions
from agentsd.services.speech import SpokenText, speak_text
from agentsd.web.context import WEB_METRICS
from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request, from_error, make_internal_error
from agentsd.web.http.sse import SSE_HEADERS, write_frame
from agentsd.web.json_body import read_json_object
from agentsd.web.middleware.request import cut_connection, log_unexpected_error
from agentsd.web.openai.models import lease_model, make_agent_headers

TEXT_MAX = 16_384
"""Maximum characters of one request."""
OPENAI_RATE_HERTZ = 24_000
"""Hertz of OpenAI's ``pcm``, which has no header to declare it."""
RATES_HERTZ = range(8_000, 48_001)
SPEEDS = (0.25, 4.0)
"""Lowest and highest speed of OpenAI's interface; a provider may have fewer."""
SPEECH_FORMATS = tuple(FORMATS)
DEFAULT_FORMAT = "mp3"
STREAM_FORMATS = ("audio", "sse")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Parameters of a speech request. ``rate`` None: the vendor's own."""

    text: str
    form: SpeechFormat
    rate: int | None
    sse: bool
    options: SpeechOptions


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
    text = body.get("input")
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_MAX:
        raise bad_request(f"input must be a text of 1 to {TEXT_MAX} characters", param="input")
    form = _parse_format(body.get("response_format") or DEFAULT_FORMAT)
    stream_format = body.get("stream_format") or STREAM_FORMATS[0]
    if stream_format not in STREAM_FORMATS:
        raise bad_request("stream_format must be audio or sse", param="stream_format")
    rate = body.get("sample_rate") or (OPENAI_RATE_HERTZ if form.name == "pcm" else None)
    if rate is not None and (not isinstance(rate, int) or rate not in RATES_HERTZ):
        raise bad_request("sample_rate must be 8000 to 48000", param="sample_rate")
    options = SpeechOptions(_parse_speed(body.get("speed")))
    return SpeechRequest(text, form, rate, stream_format == "sse", options)


def _parse_format(name: object) -> SpeechFormat:
    form = FORMATS.get(name) if isinstance(name, str) else None
    if form is None:
        hint = f"ask for one of: {', '.join(SPEECH_FORMATS)}"
        raise bad_request("this response_format is not supported", hint=hint, param="response_format")
    if not can_encode(form):
        hint = "ask for wav or pcm; the operator of this server can install agentsd with the extra audio"
        raise bad_request(f"this server cannot encode {form.name}", hint=hint, param="response_format")
    return form


def _parse_speed(speed: object) -> float | None:
    """Return the speed; None for 1, which clients send as their default: the manifest's is used."""
    if speed is None:
        return None
    lowest, highest = SPEEDS
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not lowest <= speed <= highest:
        raise bad_request(f"speed must be {lowest:g} to {highest:g}", param="speed")
    return None if speed == 1 else float(speed)


async def _stream_speech(request: web.Request, agent: LiveAgent, wish: SpeechRequest) -> web.StreamResponse:
    spoken = speak_text(agent, wish.text, wish.options)
    rate = wish.rate or spoken.sample_rate
    encoded = encode_stream(_resample_speech(spoken, rate), wish.form, rate)
    async with aclosing(_make_events(encoded) if wish.sse else encoded) as frames:
        first = await anext(frames, b"")  # before the first sound, an error is an HTTP status
        response = web.StreamResponse(headers=_make_headers(agent, wish, rate))
        await response.prepare(request)
        try:
            await write_frame(response, first)
            async for frame in frames:
                await write_frame(response, frame)
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            await _report_failure(request, response, error, sse=wish.sse)
        await response.write_eof()
        return response


async def _report_failure(
    request: web.Request, response: web.StreamResponse, error: Exception, *, sse: bool
) -> None:
    """End a response that has begun, so that it does not pass for a whole one."""
    known = isinstance(error, AgentsdError)
    if not known:
        log_unexpected_error(error)
    if not sse:
        cut_connection(request)
        return
    problem = from_error(error) if isinstance(error, AgentsdError) else make_internal_error()
    await write_frame(response, _encode_frame(problem.as_openai()))


async def _make_events(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield OpenAI's server-sent events of speech. Tokens are not known here, so the usage counts none."""
    async with aclosing(audio):
        async for data in audio:
            yield _encode_frame({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield _encode_frame({"type": "speech.audio.done", "usage": usage})


def _encode_frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _resample_speech(spoken: SpokenText, rate: int) -> AsyncGenerator[bytes, None]:
    if spoken.sample_rate == rate:
        return spoken.pcm
    return resample_stream(spoken.pcm, spoken.sample_rate, rate)


def _make_headers(agent: LiveAgent, wish: SpeechRequest, rate: int) -> dict[str, str]:
    kind = f"audio/pcm;rate={rate};channels=1" if wish.form.name == "pcm" else wish.form.content_type
    common = {**SSE_HEADERS} if wish.sse else {**SECURITY_HEADERS, "Content-Type": kind}
    return {**common, **make_agent_headers(agent), "X-Sample-Rate": str(wish.form.find_rate(rate))}
