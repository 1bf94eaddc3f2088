"""What every vendor's server here has in common: a port, faults, and a record of what came in."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from aiohttp import WSMsgType, web


class Fault(StrEnum):
    """What a server does wrong. Set ``server.fault``, or start one with ``--fault NAME``."""

    STALL = "stall"  # takes the request, never answers
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
