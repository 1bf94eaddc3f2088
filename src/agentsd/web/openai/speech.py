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
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from agentsd.audio.encoder import FORMATS, FormatName, SpeechFormat, can_encode, encode_stream
from agentsd.audio.rates import resample_stream
from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.providers.options import SpeechOptions
from agentsd.services.overrides import OverridePolicy, refuse_override
from agentsd.services.speech import SpokenText, speak_text
from agentsd.web.context import WEB_METRICS
from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request, from_error, make_internal_error
from agentsd.web.http.request_id import get_request_id
from agentsd.web.http.sse import SSE_HEADERS, write_frame
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.middleware.request import cut_connection, log_unexpected_error
from agentsd.web.openai.chat_turn import ChatTurn, record_turn
from agentsd.web.openai.models import ModelName, lease_model, make_agent_headers

TEXT_MAX = 16_384
"""Maximum characters of one request."""
OPENAI_RATE_HERTZ = 24_000
"""Hertz of OpenAI's ``pcm``, which has no header to declare it."""
DEFAULT_FORMAT: FormatName = "mp3"
_Ignored = Annotated[Any, Field(description="Accepted and ignored: set in the manifest.")]


class SpeechRequest(RequestModel):
    """Text to speak."""

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
        FormatName | None, Field(description="`pcm`: 16-bit mono samples without a header.")
    ] = DEFAULT_FORMAT
    sample_rate: Annotated[
        int | None,
        Field(
            ge=8_000, le=48_000, description="Hertz; without it `pcm` has 24000, others have the voice's own."
        ),
    ] = None
    stream_format: Literal["audio", "sse"] | None = "audio"
    speed: Annotated[
        float | None,
        Field(ge=0.25, le=4, description="Passed to the provider, or refused where it has none."),
    ] = None
    voice: _Ignored = None
    instructions: _Ignored = None

    @property
    def form(self) -> SpeechFormat:
        """Return the format of the audio."""
        return FORMATS[self.response_format or DEFAULT_FORMAT]

    @property
    def sse(self) -> bool:
        """Return whether the audio comes in server-sent events."""
        return self.stream_format == "sse"

    @property
    def rate(self) -> int | None:
        """Return the rate in hertz; None: the vendor's own."""
        return self.sample_rate or (OPENAI_RATE_HERTZ if self.response_format == "pcm" else None)

    @property
    def options(self) -> SpeechOptions:
        """Return what is asked of the provider; clients send the speed 1 as their default."""
        return SpeechOptions(None if self.speed == 1 else self.speed)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/audio/speech", synthesize_speech)]


async def synthesize_speech(request: web.Request) -> web.StreamResponse:
    """Stream a text as speech."""
    wish = parse_model(SpeechRequest, await read_json_object(request))
    _check_format(wish.form)
    async with lease_model(request, wish.model) as agent:
        _check_overrides(agent, wish)
        with (
            request.app[WEB_METRICS].streams.labels("speech").track_inprogress(),
            record_turn(request, agent, "speech") as turn,
        ):
            return await _stream_speech(request, agent, wish, turn)


def _check_overrides(agent: LiveAgent, wish: SpeechRequest) -> None:
    """Refuse a pace that the manifest does not leave to clients; the voice is never theirs."""
    policy, speed = OverridePolicy.of(agent), wish.options.speed
    if speed is not None and not (policy.allows("speed") or policy.has_own("speed", speed)):
        raise refuse_override("speed", "speed")


def _check_format(form: SpeechFormat) -> None:
    if not can_encode(form):
        hint = "ask for wav or pcm; the operator of this server can install agentsd with the extra audio"
        raise bad_request(f"this server cannot encode {form.name}", hint=hint, param="response_format")


async def _stream_speech(
    request: web.Request, agent: LiveAgent, wish: SpeechRequest, turn: ChatTurn
) -> web.StreamResponse:
    spoken = speak_text(agent, wish.input, wish.options)
    rate = wish.rate or spoken.sample_rate
    encoded = encode_stream(_resample_speech(spoken, rate), wish.form, rate)
    async with aclosing(_make_events(encoded) if wish.sse else encoded) as frames:
        first = await anext(frames, b"")  # before the first sound, an error is an HTTP status
        turn.take_sound()
        response = web.StreamResponse(headers=_make_headers(agent, wish, rate))
        await response.prepare(request)
        try:
            await write_frame(response, first)
            async for frame in frames:
                await write_frame(response, frame)
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            turn.error = error
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
    await write_frame(response, _encode_frame(problem.as_frame(get_request_id(request))))


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
