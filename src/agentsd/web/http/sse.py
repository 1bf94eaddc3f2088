"""Output of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

BATCH_BYTES = 16_384
"""Frames that are collected at most before their writer waits."""


class ClientStalled(ConnectionError):
    """Error for a client that stopped reading."""


async def write_frame(response: web.StreamResponse, frame: bytes) -> None:
    """Send ``frame``; raise ``ConnectionError`` when the client left or stopped reading.

    Without the timeout a client that never reads would keep its lease and the vendor's stream forever.
    """
    async with _bound_write():
        await response.write(frame)


class KeptStream:
    """Event stream that begins with its first event, and in which no silence is longer than ``seconds``.

    Until it has begun, an error can be an HTTP status. A source that is silent for long (a model that reads
    a long prompt) makes it begin with a comment, since proxies and clients give up on silent connections.

    Frames that follow each other without a pause are sent together: what a vendor sent in one packet leaves
    in one, and a system call is most of what a small frame costs.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        self.begun = False
        self._request = request
        self._response = response
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._latest = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._check)
        self._waiting: list[bytes] = []
        self._size = 0
        self._sender: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def write(self, frame: bytes) -> None:
        """Send ``frame`` in the next step of the loop; wait only while the client is behind.

        Raises ``ConnectionError`` once the client left or stopped reading.
        """
        if self._failure is not None:
            raise self._failure
        self._queue(frame)
        if self._size >= BATCH_BYTES:
            await self._settle()

    async def end(self, frame: bytes) -> None:
        """Send ``frame`` as the last one, and the end of the response with it."""
        sender, self._sender = self._sender, None
        if sender is not None and not self._response.prepared:  # all of the answer is here: one packet
            sender.cancel()
        elif sender is not None:
            await asyncio.wait((sender,))
        if self._failure is not None:
            raise self._failure
        self.begun = True
        await self._prepare()
        async with _bound_write():
            await self._response.write_eof(self._take() + frame)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait((self._sender,))

    def _queue(self, frame: bytes) -> None:
        self.begun = True
        self._waiting.append(frame)
        self._size += len(frame)
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())

    def _take(self) -> bytes:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return data

    async def _prepare(self) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)

    async def _send(self) -> None:
        try:
            await self._prepare()
            while self._waiting:
                await write_frame(self._response, self._take())
        except Exception as error:
            self._failure = error  # for the writer of the next event
        self._latest = self._loop.time()
        self._sender = None

    async def _settle(self) -> None:
        """Wait until what is queued was sent. Raises what sending raised."""
        if self._sender is not None:
            await asyncio.wait((self._sender,))
        if self._failure is not None:
            raise self._failure

    def _check(self) -> None:
        now = self._loop.time()
        if now - self._latest >= self._seconds and self._sender is None and self._failure is None:
            self._latest = now
            self._queue(b": keep-alive\n\n")
        left = self._seconds - (now - self._latest)
        self._timer = self._loop.call_later(min(self._seconds, max(left, 0.01)), self._check)


@asynccontextmanager
async def _bound_write() -> AsyncIterator[None]:
    """Bound what is sent within the context; raise ``ClientStalled`` where the client does not read."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            yield
    except TimeoutError:
        raise ClientStalled from None


def encode_event(name: str, data: bytes, *, id: str | None = None) -> bytes:
    """Encode one event; ``data`` is JSON, so it contains no line break."""
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"
