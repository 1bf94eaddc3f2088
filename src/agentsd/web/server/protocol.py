"""aiohttp's protocol with our own error texts: without a library's version and without quoted input."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from typing import Protocol as Interface

from aiohttp import StreamReader, web

from agentsd.web.http.conditional import add_security_headers
from agentsd.web.http.problem import Problem, make_internal_error
from agentsd.web.middleware.memory_budget import MemoryHold

REPLY_GRACE_SECONDS = 60.0
REPLY_RATE_MIN = 4096
"""Bytes a second, after ``REPLY_GRACE_SECONDS``, at which a client must read a large response."""


class ConnectionMonitor(Interface):
    """Monitor of a connection (see ``connection_limits``), notified of a request's progress."""

    def began(self, body: StreamReader) -> None:
        """Note that the head is complete and its handler begins."""

    def ended(self) -> None:
        """Note that the handler is done."""

    def rests(self, now: float) -> float:
        """Return the seconds since the connection was last active; 0 while it is."""


class RedactingProtocol(web.RequestHandler):
    """Protocol of one connection. Input that cannot be parsed never reaches the app: it is answered here."""

    __slots__ = ("guard", "hold")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.guard: ConnectionMonitor | None = None
        self.hold: MemoryHold | None = None  # of the request that is handled now

    def leave(self) -> None:
        """Announce the end of the connection with the next response."""
        make = self._request_factory
        if make is not None:
            self._request_factory = lambda message, *rest: make(message._replace(should_close=True), *rest)

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        """Handle a request; release the memory that it holds, however that ends."""
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            if self.hold is not None:
                self.hold.set(0)
                self.hold = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the rest of a response; close on a client that reads a large one too slowly."""
        held = self.hold.size if self.hold is not None else 0
        if not held:
            return await super().finish_response(request, resp, start_time)
        try:
            async with asyncio.timeout(REPLY_GRACE_SECONDS + held / REPLY_RATE_MIN):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return a problem document. ``message`` and ``exc`` quote the client's input, and are left out."""
        self.log_exception("Error handling request from %s", request.remote)
        if request.writer.output_size > 0:
            raise ConnectionError("a response has begun, so no other can be sent")
        wrong = Problem(status, "invalid_request", "the request is not valid HTTP")
        response = (wrong if status < 500 else make_internal_error()).response("")
        add_security_headers(response)
        response.force_close()
        return response
