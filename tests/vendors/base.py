"""What every vendor's server here has in common: a port, faults, and a record of what came in."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from aiohttp import WSMsgType, web


class Fault(StrEnum):
    """What a server does wrong. Set ``server.fault``, or start one with ``--fault NAME``."""

    STALL = "stall"  # takes the request, never answers
    SILENT = "silent"  # answers the head or the handshake, then nothing
    STALL_LATER = "stall-later"  # answers the first part, then nothing
    EARLY_CLOSE = "early-close"  # drops the connection in the middle of the answer
    EARLY_END = "early-end"  # ends in good form, but without its end marker
    ERROR_FRAME = "error-frame"  # reports an error in the middle of the answer
    MALFORMED_FRAME = "malformed-frame"  # sends a frame that is no JSON
    NUMBER_FRAME = "number-frame"  # sends a frame that is the JSON number 42
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    UNPROCESSABLE = "422"
    RATE_LIMITED = "429"  # with Retry-After: 7
    BROKEN = "500"
    OVERLOADED = "503"
    REDIRECT = "redirect"  # to another path of the same server
    SLOW_DRIP = "slow-drip"  # the answer, byte by byte


STATUSES = {
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.NOT_FOUND: 404,
    Fault.UNPROCESSABLE: 422,
    Fault.RATE_LIMITED: 429,
    Fault.BROKEN: 500,
    Fault.OVERLOADED: 503,
}


@dataclass
class Received:
    """One request or WebSocket conversation as the server saw it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: Any = None  # parsed JSON, or a form as a dict
    frames: list[str | bytes] = field(default_factory=list)  # what came over a WebSocket
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)  # the client went away


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class VendorServer:
    """An HTTP server on 127.0.0.1. ``async with Server() as server: server.url``."""

    def __init__(self, *, fault: Fault | None = None, delay: float = 0.0, record: bool = True) -> None:
        self.fault = fault
        self.times: int | None = None  # so many requests meet the fault, the later ones do not
        self.delay = delay  # seconds before each part of an answer
        self.record = record
        self.requests: list[Received] = []
        self.arrived = asyncio.Event()  # something was received
        self.connections = 0  # TCP connections that were opened
        self.port = 0
        self._runner: web.AppRunner | None = None

    def routes(self, app: web.Application) -> None:
        """Adds the vendor's routes."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """``ws://127.0.0.1:PORT``"""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """TCP connections that are open now, idle ones included."""
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.requests[-1]

    async def start(self, port: int = 0) -> None:
        """Listens; ``port`` 0 takes a free one."""
        app = web.Application(client_max_size=64 << 20)
        self.routes(app)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def receive(self, request: web.Request, body: Any = None) -> Received:
        """Records ``request``."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, dict(request.query), headers, body)
        if self.record:
            self.requests.append(received)
            self.arrived.set()
        return received

    async def refuse(self, request: web.Request) -> web.StreamResponse | None:
        """The answer to a request that the fault refuses or never answers; None if it goes on."""
        if self.times is not None:
            self.fault = self.fault if self.times > 0 else None
            self.times -= 1
        fault = self.fault
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if fault is Fault.REDIRECT:
            return web.Response(status=307, headers={"Location": f"{self.url}/elsewhere{request.path}"})
        status = STATUSES.get(fault) if fault else None
        if status is None:
            return None
        key = request.headers.get("Authorization") or request.headers.get("xi-api-key") or ""
        error = {"message": f"Refused: {key} said secret words", "type": "some_error", "code": None}
        headers = {"Retry-After": "7"} if status == 429 else {}
        return web.json_response({"error": error}, status=status, headers=headers)

    async def pause(self) -> None:
        """The delay before a part of an answer."""
        if self.delay:
            await asyncio.sleep(self.delay)


async def observed(received: Received, work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """Runs a handler; ``received.disconnected`` is set if its client goes away."""
    try:
        return await work
    except (asyncio.CancelledError, ConnectionResetError):
        received.disconnected.set()
        raise


def drop(request: web.Request) -> None:
    """Cuts the connection without a goodbye."""
    if request.transport is not None:
        request.transport.abort()


async def frames_of(socket: web.WebSocketResponse, received: Received) -> Any:
    """The text and binary frames of a client, recorded, until it goes away."""
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            received.frames.append(message.data)
            yield message.data
    received.disconnected.set()


class SocketServer(VendorServer):
    """A server of a WebSocket at ``path``. A fault strikes before the second part of an answer."""

    path = "/"
    error_frame = '{"error": "rate_limit_exceeded", "message": "secret words"}'

    def routes(self, app: web.Application) -> None:
        """One route."""
        app.router.add_get(self.path, self._serve)

    async def talk(self, socket: Socket) -> None:
        """The vendor's side of a conversation; returning closes with 1000."""
        raise NotImplementedError

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        received = self.receive(request)
        return await observed(received, self._accept(request, received))

    async def _accept(self, request: web.Request, received: Received) -> web.StreamResponse:
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        if self.fault is Fault.SILENT:
            async for _ in frames_of(ws, received):
                continue
        with suppress(Over):
            await self.talk(Socket(self, request, ws, received))
        await ws.close()
        return ws


class Over(Exception):
    """The conversation ended before the protocol said so."""


class Socket:
    """One conversation, as the server holds it."""

    def __init__(
        self, server: SocketServer, request: web.Request, ws: web.WebSocketResponse, received: Received
    ) -> None:
        self.query = received.query
        self._server = server
        self._request = request
        self._ws = ws
        self._received = received
        self._parts = 0

    async def next(self) -> str | bytes:
        """The client's next frame. Raises ``Over`` when it goes away."""
        message = await self._ws.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            self._received.disconnected.set()
            raise Over
        self._received.frames.append(message.data)
        frame: str | bytes = message.data
        return frame

    async def say(self, frame: str | bytes | dict[str, Any]) -> None:
        """A frame that is no part of the answer: a greeting, an end marker."""
        if isinstance(frame, bytes):
            await self._ws.send_bytes(frame)
        else:
            await self._ws.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def part(self, frame: str | bytes | dict[str, Any]) -> None:
        """A part of the answer: audio, a transcript. The fault, if any, comes before the second one."""
        self._parts += 1
        if self._parts == 2:
            await self._misbehave()
        await self._server.pause()
        await self.say(frame)

    async def _misbehave(self) -> None:
        fault = self._server.fault
        frames = {
            Fault.ERROR_FRAME: self._server.error_frame,
            Fault.MALFORMED_FRAME: "secret words",
            Fault.NUMBER_FRAME: "42 ",
        }
        if fault in frames:
            await self.say(frames[fault])
        elif fault is Fault.STALL_LATER:
            await asyncio.Event().wait()
        elif fault is Fault.EARLY_CLOSE:
            drop(self._request)
            raise Over
        elif fault is Fault.EARLY_END:
            raise Over


def main(make: Callable[[argparse.Namespace], VendorServer], *options: tuple[str, dict[str, Any]]) -> None:
    """Runs a server from the command line until it is interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each part of an answer")
    parser.add_argument("--fault", type=Fault, choices=list(Fault), default=None)
    for name, settings in options:
        parser.add_argument(name, **settings)
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(make(arguments), arguments))
    except KeyboardInterrupt:
        return


async def _serve(server: VendorServer, arguments: argparse.Namespace) -> None:
    server.fault, server.delay, server.record = arguments.fault, arguments.delay, False
    await server.start(arguments.port)
    print(server.url, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()
