"""GET /v1/realtime?model=SLUG: a call over a WebSocket, in OpenAI's Realtime event shapes.

``?intent=transcription`` opens a transcription session: it listens and answers nothing.

The agent is leased turn by turn: a changed manifest, or ``session.update`` with another ``model``,
takes effect at the next turn. Anything wrong with a client's event is an ``error`` event; the socket
closes when the client leaves, stops reading or sends frames beyond ``MESSAGE_BYTES_MAX``, and with 1001
when the server stops, after the turn in progress, and with 1008 at once when its token ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from agentsd.core.errors import AgentsdError
from agentsd.providers.base import Leases, LiveAgent
from agentsd.services import chat, rag
from agentsd.services.handover import announce_handoff
from agentsd.services.tools.consents import CallApprovals
from agentsd.services.tools.handoff import HandoffSwitch
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer_maker import ChatFunction
from agentsd.services.voicebot.call import Call, open_call
from agentsd.services.voicebot.conversation import make_id
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.streams import TaskGroup
from agentsd.services.voicebot.turns import CallRefused
from agentsd.web.agent_lookup import get_principal, make_lease_ref, make_scoped_leases
from agentsd.web.context import APP_CONTEXT, CLOSING, TURN_SINKS, AppContext
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, bad_request, from_error, make_internal_error
from agentsd.web.http.sse import WRITE_TIMEOUT_SECONDS, ClientStalled
from agentsd.web.middleware.memory_budget import MemoryHold
from agentsd.web.middleware.request import log_unexpected_error
from agentsd.web.openai.models import find_model
from agentsd.web.openai.realtime.beta import BETA_HEADER, BETA_PROTOCOL, BETA_VALUE, translate_frame
from agentsd.web.openai.realtime.client_events import ClientEvents
from agentsd.web.openai.realtime.idle_timer import IdleTimer
from agentsd.web.openai.realtime.items import Frame
from agentsd.web.openai.realtime.server_events import ServerEvents, make_error_frame
from agentsd.web.openai.realtime.session import HIDDEN_TOOLS, TURN_REPORTS, RealtimeSession, SessionKind
from agentsd.web.openai.realtime.tool_frames import hide_server_tools
from agentsd.web.openai.realtime.turn_report import REPORTS

SUBPROTOCOL = "realtime"
HEARTBEAT_SECONDS = 20.0
EVENT_BYTES_MAX = 1 << 20
"""Bytes of one client event: 16 s of audio in base64. A larger one causes an ``error`` event."""
LARGE_EVENT_BYTES = 1024
"""Bytes: smaller events are accepted whatever the memory in use, since they may free some."""
MESSAGE_BYTES_MAX = 2 << 20
"""Maximum bytes of a message: beyond it the socket closes with 1009."""
EVENTS_PER_SECOND = 200.0
EVENTS_BURST = 4000.0
"""Limits of client events; live audio needs 10 to 100 a second, a file arrives all at once."""
GREETING_SECONDS = 1.5
"""How long a client may send no ``session.update``, nor anything to be answered, before it is greeted in the
default format. Audio is no sign: a telephone's client may send it before the format."""
IDLE_SECONDS = 900.0
"""How long a client may send nothing: an idle call takes one of ``AppContext.max_calls``."""
CLOSE_TIMEOUT_SECONDS = 5.0
"""Timeout of the last event of a failed call."""
BACKLOG_EVENTS_MAX = 1000
BACKLOG_BYTES_MAX = 4 << 20
"""Maximum unread events, and bytes of their texts: beyond it the client's own events wait, and after
``WRITE_TIMEOUT_SECONDS`` without progress it counts as disconnected."""

UPDATE_EVENTS = frozenset({"session.update", "transcription_session.update"})
UNSETTLED_EVENTS = frozenset({"input_audio_buffer.append", "input_audio_buffer.clear"})
"""Events after which a client may still set its audio format, so that it is not greeted yet."""

VOICE_METRICS = web.AppKey("voice_metrics", VoiceMetrics)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/v1/realtime", handle_realtime, allow_head=False)]


async def handle_realtime(request: web.Request) -> web.StreamResponse:
    """Serve one call, from its handshake to its end."""
    metrics, parts = request.app[VOICE_METRICS], request.app[APP_CONTEXT]
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,), heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX, compress=False
    )
    if (
        parts.max_calls and metrics.open >= parts.max_calls
    ):  # before the upgrade check: browsers hide why a handshake was refused
        raise _refuse_call(metrics, parts.max_calls)
    if not socket.can_prepare(request):
        raise bad_request("this is a WebSocket endpoint", hint="connect with ws:// or wss://", status=426)
    session = RealtimeSession(make_id("sess"), kind=_read_intent(request))
    ref = _resolve_model(request, request.query.get("model", ""))
    principal = get_principal(request)
    hold = parts.guards.memory.hold(principal.owner)
    try:
        with metrics.call(), hold:
            async with open_call(
                make_scoped_leases(request),
                ref,
                preferences=session.preferences(),
                metrics=metrics,
                talk=_make_talk(parts, make_scoped_leases(request)),
                approvals=CallApprovals(parts.database, make_id("call"), principal.digest),
                sinks=request.app[TURN_SINKS].of_token(principal.actor),
            ) as call:
                await socket.prepare(request)
                commands = ClientEvents(call, session, lambda model: _resolve_model(request, model))
                ended = parts.access.book.ended(principal)
                connection = RealtimeConnection(socket, call, commands, hold, beta=_asks_beta(request))
                await connection.run(request.app[CLOSING], ended)
    except Exception as error:
        if not socket.prepared:
            raise
        await close_broken_call(socket, error)
    return socket


async def close_broken_call(socket: web.WebSocketResponse, error: Exception) -> None:
    """End a failed call with an ``error`` event and a close: an open socket allows no HTTP status.

    Send nothing where the client left, or does not read.
    """
    unexpected = [one for one in _flatten_group(error) if not isinstance(one, ConnectionError)]
    for one in unexpected:
        log_unexpected_error(one)
    if not unexpected:
        return
    frame = {"event_id": make_id("event"), **make_error_frame(make_internal_error())}
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await socket.send_frame(to_json(frame), WSMsgType.TEXT)
            await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"the server failed")


def _flatten_group(error: Exception) -> Iterator[Exception]:
    """Return the errors of nested exception groups."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _flatten_group(inner)
    else:
        yield error


def _refuse_call(metrics: VoiceMetrics, limit: int) -> Problem:
    """Count a call that is one too many; those that are open must not become late."""
    metrics.refused.inc()
    return Problem(
        503,
        "too_many_calls",
        f"this process serves {limit} calls already",
        hint="try again, or ask another replica; AGENTSD_MAX_CALLS is the limit",
        headers={"Retry-After": "5"},
    )


def _read_intent(request: web.Request) -> SessionKind:
    """Return the kind of session that a request opens. Raise ``Problem`` 400 for other requests."""
    if "call_id" in request.query:
        detail = "call_id names a call of WebRTC or SIP, and this server has none"
        raise bad_request(detail, hint="open a call with model", param="call_id")
    intent = request.query.get("intent", "")
    if intent not in ("", "conversation", "transcription"):
        raise bad_request("intent must be transcription, or absent", param="intent")
    return "transcription" if intent == "transcription" else "realtime"


def _asks_beta(request: web.Request) -> bool:
    """Return whether the client understands the events of the beta interface only."""
    protocols = request.headers.get("Sec-WebSocket-Protocol", "")
    return BETA_VALUE in request.headers.get(BETA_HEADER, "") or BETA_PROTOCOL in protocols


def _resolve_model(request: web.Request, model: str) -> str:
    """Resolve a model's name to the id to lease, which survives a rename. Raise ``Problem`` 404."""
    return make_lease_ref(find_model(request, model))


def _make_talk(parts: AppContext, leases: Leases) -> ChatFunction:
    """Return a function that chats with the agent's knowledge, and may hand over to one of ``leases``."""

    async def talk(
        agent: LiveAgent, body: Mapping[str, Any], tools: ToolTurn
    ) -> AsyncGenerator[dict[str, Any], None]:
        grounded, passages = await rag.add_passages(agent, body, parts.knowledge)
        if agent.spec.handoff:
            tools.switch = HandoffSwitch(leases, body, check=chat.check_request, goes_on=False)
        answer = rag.cite_stream(chat.stream_chat(agent, grounded, tools), passages)
        if tools.switch is not None:
            answer = announce_handoff(answer, tools.switch)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk

    return talk


class RealtimeConnection:
    """Socket and call, with tasks that read, write, and wait for the server's end."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        call: Call,
        commands: ClientEvents,
        hold: MemoryHold,
        *,
        beta: bool,
    ) -> None:
        self._socket = socket
        self._call = call
        self._commands = commands
        self._hold = hold
        self._beta = beta
        self._frames = ServerEvents(make_id("conv"))
        self._idle_timer = IdleTimer()
        self._allowance = TokenBucket(EVENTS_PER_SECOND, EVENTS_BURST)
        self._greeted = False
        self._heard = time.monotonic()  # when the client last sent anything
        self._sent = asyncio.Event()  # anything was sent

    async def run(self, closing: asyncio.Event, ended: Coroutine[Any, Any, None]) -> None:
        """Serve the call until the client leaves, the server stops or its token ``ended``.

        Raise ``ConnectionError`` (in a group).
        """
        self._commands.report_session("session.created")
        async with TaskGroup() as tasks:
            ways = (
                self._write(), self._end(closing), self._expel(ended), self._idle(), self._wait(),
                self._prompt(),
            )  # fmt: skip
            beside = [tasks.create_task(one) for one in ways]
            try:
                await self._read()
            finally:
                for task in beside:
                    task.cancel()

    async def _wait(self) -> None:
        """Greet a client that sends nothing."""
        await asyncio.sleep(GREETING_SECONDS)
        self._greet()

    def _greet(self) -> None:
        """Greet once: after a first ``session.update``, which may set the audio format, or before others."""
        if not self._greeted and self._commands.session.kind == "realtime":
            self._greeted = True
            self._call.greet()

    async def _prompt(self) -> None:
        """Let the agent speak where the caller has been silent for ``idle_timeout_ms``."""
        while True:
            detection = self._commands.session.detection
            began = self._commands.heard_ms
            timeout = detection.idle_timeout_ms if detection else None
            if await self._idle_timer.wait(timeout) and self._commands.session.kind == "realtime":
                with suppress(CallRefused):
                    self._commands.prompt_idle(began)

    async def _end(self, closing: asyncio.Event) -> None:
        """Let the turn in progress end when the server stops; then close the socket, which ends reading."""
        await closing.wait()
        await self._call.finish()

    async def _expel(self, ended: Coroutine[Any, Any, None]) -> None:
        """Close the call without waiting for the end of the turn when the token becomes invalid."""
        await ended
        self._call.hang_up()
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the token is not valid now")

    async def _idle(self) -> None:
        """Close a call on which the client sends nothing; pongs do not count."""
        while (left := self._heard + IDLE_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110  (a clock)
            await asyncio.sleep(left)
        self._call.hang_up()
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"nothing was said for too long")

    # Server events

    async def _write(self) -> None:
        reason = b"the server stops"
        async for event in self._call.events():
            if isinstance(event, ev.CallEnded):
                reason = b"the agent ended the call"
            if isinstance(event, ev.AgentServes):
                await self._send({"type": "session.updated", "session": self._commands.view()})
            self._idle_timer.take(event)
            if isinstance(event, REPORTS) and TURN_REPORTS not in self._commands.session.include:
                continue
            for frame in self._frames.of(event):
                await self._send(frame)
            if isinstance(event, ev.AnswerBegan):
                await self._send(self._allowance.view())
            if isinstance(event, ev.EmbedderNote):
                self._hold.set(self._commands.held)
            self._sent.set()
        self._sent.set()
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=reason)

    async def _send(self, frame: Frame) -> None:
        shown: Frame | None = frame
        if self._beta or HIDDEN_TOOLS in self._commands.session.include:
            shown = hide_server_tools(frame)
        if self._beta and shown is not None:
            shown = translate_frame(shown)
        if shown is None:
            return
        data = to_json({"event_id": make_id("event"), **shown})
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                await self._socket.send_frame(data, WSMsgType.TEXT)
        except TimeoutError:
            raise ClientStalled from None

    # Client events

    async def _read(self) -> None:
        async for message in self._socket:
            self._heard = time.monotonic()
            problem, event_id = await self._handled(message.data, text=message.type is WSMsgType.TEXT)
            if problem is not None:
                self._call.note(make_error_frame(problem, event_id))
            await self._until_read()

    async def _until_read(self) -> None:
        """Wait until a slow client has read the backlog, before more of its events are taken."""
        queue = self._call.queue
        while not queue.ended and (len(queue) > BACKLOG_EVENTS_MAX or queue.weight > BACKLOG_BYTES_MAX):
            self._sent.clear()
            await self._sent.wait()

    async def _handled(self, data: str | bytes, *, text: bool) -> tuple[Problem | None, str | None]:
        """Handle a client's event; return its error, if any, and its id."""
        event_id: str | None = None
        try:
            self._allowance.spend()
            event = _parse_event(data, text=text)
            given = event.get("event_id")
            event_id = given[:512] if isinstance(given, str) else None
            kind = str(event.get("type"))
            settles = kind not in UNSETTLED_EVENTS
            if settles and kind not in UPDATE_EVENTS:
                self._greet()
            if len(data) >= LARGE_EVENT_BYTES:
                self._hold.check(len(data))
            await self._commands.handle(event, event_id)
            if settles:
                self._greet()
            if kind in UPDATE_EVENTS:
                self._idle_timer.settings_changed()
        except Problem as problem:
            return problem, event_id
        except CallRefused as refused:
            return Problem(409, refused.code, refused.message, hint=refused.hint), event_id
        except AgentsdError as error:
            return from_error(error), event_id
        except Exception as error:
            log_unexpected_error(error)
            return make_internal_error(), event_id
        finally:
            self._hold.set(self._commands.held)
        return None, event_id


class TokenBucket:
    """Rate of events per second, with a burst. ``spend`` raises ``Problem`` 429 beyond it."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = time.monotonic()

    def view(self) -> Frame:
        """Return ``rate_limits.updated``: requests are client events."""
        self._refill()
        limits = {
            "name": "requests",
            "limit": int(self._burst),
            "remaining": int(self._left),
            "reset_seconds": round((self._burst - self._left) / self._rate, 3),
        }
        return {"type": "rate_limits.updated", "rate_limits": [limits]}

    def _refill(self) -> None:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now

    def spend(self) -> None:
        """Spend one event."""
        self._refill()
        if self._left < 1:
            hint = f"send at most {self._rate:.0f} a second, with more audio in each"
            raise Problem(429, "rate_limit_exceeded", "too many events; this one was dropped", hint=hint)
        self._left -= 1


def _parse_event(data: str | bytes, *, text: bool) -> dict[str, Any]:
    """Parse a client's event. Raise ``Problem``."""
    if not text:
        raise bad_request("events are text frames", hint="send audio as input_audio_buffer.append")
    if len(data) > EVENT_BYTES_MAX:
        raise bad_request(f"the event is larger than {EVENT_BYTES_MAX} bytes", status=413)
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Problem(400, "invalid_json", "the event is not JSON") from None
    if not isinstance(event, dict):
        raise Problem(400, "invalid_json", "the event is not a JSON object")
    return event
