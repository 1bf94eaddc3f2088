"""Output of server-sent events."""

from __future__ import annotations

import asyncio
from typing import Self

from aiohttp import web

from agentsd.web.http.conditional import SECURITY_HEADERS

SSE_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would buffer events
}
WRITE_TIMEOUT_SECONDS = 60.0
"""Timeout of one write; a client that takes longer counts as disconnected."""


class ClientStalled(ConnectionError):
    """Error for a client that stopped reading."""


async def write_frame(response: web.StreamResponse, frame: bytes) -> None:
    """Send ``frame``; raise ``ConnectionError`` when the client left or stopped reading.

    Without the timeout a client that never reads would keep its lease and the vendor's stream forever.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            await response.write(frame)
    except TimeoutError:
        raise ClientStalled from None


class KeptStream:
    """Event stream that begins with its first event, and in which no silence is longer than ``seconds``.

    Until it has begun, an error can be an HTTP status. A source that is silent for long (a model that reads
    a long prompt) makes it begin with a comment, since proxies and clients give up on silent connections.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        self.begun = False
        self._request = request
        self._response = response
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._latest = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._check)
        self._comment: asyncio.Task[None] | None = None

    async def write(self, frame: bytes) -> None:
        """Send ``frame``; raise ``ConnectionError`` when the client left or stopped reading."""
        self._latest = float("inf")  # a write that waits for its client is not a silent source
        if self._comment is not None:
            await asyncio.wait((self._comment,))
        if not self.begun:
            self.begun = True
            await self._response.prepare(self._request)
        await write_frame(self._response, frame)
        self._latest = self._loop.time()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.wait((self._comment,))

    def _check(self) -> None:
        now = self._loop.time()
        if now - self._latest >= self._seconds and self._comment is None:
            self._comment = self._loop.create_task(self._keep_alive())
            self._latest = now
        left = self._seconds - (now - self._latest)
        self._timer = self._loop.call_later(min(self._seconds, max(left, 0.01)), self._check)

    async def _keep_alive(self) -> None:
        try:
            if not self.begun:
                self.begun = True
                await self._response.prepare(self._request)
            await write_frame(self._response, b": keep-alive\n\n")
        except ConnectionError:
            return  # the writer of the next event finds out
        finally:
            self._comment = None


def encode_event(name: str, data: bytes, *, id: str | None = None) -> bytes:
    """Encode one event; ``data`` is JSON, so it contains no line break."""
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"
