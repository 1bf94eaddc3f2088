"""Limits against floods and slow clients: the number of connections, and the time to send a request.

aiohttp (3.14) bounds neither: a connection that sends nothing, or one byte a minute, lives for an
hour. So every connection has a protocol in front of aiohttp's, which counts and checks the time; it
passes all data on unchanged. A request's phases:

    HEAD   until its blank line, in ``head_seconds`` and ``head_bytes``
    BUSY   its handler is at work; the body must come at ``body_rate`` after ``body_seconds``
    IDLE   until the next request's first byte, as long as aiohttp keeps connections alive
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import cast

from aiohttp import StreamReader
from prometheus_client import Counter as Metric

from agentsd.web.http.client_address import UNKNOWN_ADDRESS, TrustedProxies, rate_key
from agentsd.web.http.problem import Problem
from agentsd.web.server.protocol import RedactingProtocol


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections. ``per_address`` does not count for trusted proxies; 0 means unlimited."""

    total: int = 4096
    per_address: int = 512
    head_seconds: float = 10.0
    head_bytes: int = 64 << 10
    head_fields: int = 100
    body_seconds: float = 20.0  # before the rate counts
    body_rate: int = 1024  # bytes a second
    idle_seconds: float = 75.0  # between requests: longer than the minute that proxies usually keep
    stall_seconds: float = 60.0  # without a client reading any of a response
    sweep_seconds: float = 1.0


class BodyTooSlow(Problem, TimeoutError):
    """Problem 408, raised in the handler that reads the body; aiohttp expects a ``TimeoutError`` there."""

    def __init__(self) -> None:
        super().__init__(
            408,
            "body_too_slow",
            "the body took too long",
            hint="send it without pauses",
            headers={"Connection": "close"},
        )


class ConnectionPhase(Enum):
    """Phase of a connection."""

    HEAD = "head"
    BUSY = "busy"
    IDLE = "idle"


_HEAD_END = b"\r\n\r\n"
_TOO_MANY_REPLY = "503 Service Unavailable", "Retry-After: 5\r\n"
_TOO_SLOW_REPLY = "408 Request Timeout", ""
_TOO_LARGE_REPLY = "431 Request Header Fields Too Large", ""


def _encode_reply(status: str, headers: str = "") -> bytes:
    """Encode a response without aiohttp, which has not seen a request yet."""
    head = f"HTTP/1.1 {status}\r\nServer: agentsd\r\n{headers}"
    return f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


class ConnectionLimiter:
    """Limiter of all connections of a server, with the task that watches them."""

    def __init__(
        self,
        bounds: ConnectionLimits,
        protocols: Callable[[], RedactingProtocol],
        *,
        proxies: TrustedProxies | None = None,
        cut: Metric | None = None,
    ) -> None:
        self.bounds = bounds
        self._protocols = protocols
        self._proxies = proxies or TrustedProxies()
        self._cut = cut
        self._kept: dict[object, LimitedProtocol] = {}  # by aiohttp's protocol object
        self._addresses: Counter[str] = Counter()
        self.now = asyncio.get_running_loop().time  # seconds

    def __call__(self) -> LimitedProtocol:
        """Return a protocol for a new connection."""
        return LimitedProtocol(self)

    def __len__(self) -> int:
        return len(self._kept)

    async def run(self) -> None:
        """Watch every connection, forever."""
        while True:
            await asyncio.sleep(self.bounds.sweep_seconds)
            self.sweep()

    def sweep(self) -> None:
        """Check every connection once."""
        now = self.now()
        for kept in list(self._kept.values()):
            kept.look(now)

    def admit(self, address: str) -> RedactingProtocol | None:
        """Return aiohttp's protocol for one more connection of ``address``; None if there are too many."""
        bounds = self.bounds
        if bounds.total and len(self._kept) >= bounds.total:
            self.count("full")
            return None
        many = bounds.per_address and self._addresses[address] >= bounds.per_address
        if many and not self._proxies.trusts(address):
            self.count("address")
            return None
        return self._protocols()

    def keep(self, inner: object, kept: LimitedProtocol) -> None:
        """Register ``kept`` as a connection."""
        self._kept[inner] = kept
        self._addresses[kept.address] += 1

    def drop(self, inner: object, address: str) -> None:
        """Remove a closed connection."""
        if self._kept.pop(inner, None) is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def count(self, reason: str) -> None:
        """Count a connection that was refused or cut."""
        if self._cut is not None:
            self._cut.labels(reason).inc()


class LimitedProtocol(asyncio.Protocol):
    """Connection that passes all data to aiohttp's protocol, and records when each wait began."""

    __slots__ = (
        "_body",
        "_inner",
        "_keeper",
        "_received",
        "_since",
        "_tail",
        "_transport",
        "_unsent",
        "_unsent_since",
        "address",
        "phase",
    )

    def __init__(self, keeper: ConnectionLimiter) -> None:
        self._keeper = keeper
        self._inner: RedactingProtocol | None = None
        self._transport: asyncio.Transport | None = None
        self._body: StreamReader | None = None
        self._received = 0  # bytes of the current head or body
        self._since = 0.0
        self._tail = b""
        self._unsent = 0
        self._unsent_since = 0.0
        self.address = UNKNOWN_ADDRESS
        self.phase = ConnectionPhase.HEAD

    # asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = rate_key(peer[0]) if isinstance(peer, tuple) else UNKNOWN_ADDRESS
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._inner = self._keeper.admit(self.address)
        if self._inner is None:
            self._cut(_TOO_MANY_REPLY)
            return
        self._since = self._keeper.now()
        self._keeper.keep(self._inner, self)
        self._inner.guard = self
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        inner = self._inner
        if inner is None:
            return
        if self.phase is not ConnectionPhase.BUSY and not self._takes(data):
            return
        self._received += len(data)
        inner.data_received(data)

    def eof_received(self) -> None:
        if self._inner:
            self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            self._keeper.drop(inner, self.address)
            inner.guard = None
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner:
            self._inner.resume_writing()

    # Phases

    def began(self, body: StreamReader) -> None:
        """Note that the head is complete and its handler begins."""
        self.phase = ConnectionPhase.BUSY
        self._body = None
        if not body.is_eof():
            self._body = body
            self._since = self._keeper.now()
            self._received = 0

    def ended(self) -> None:
        """Note that the handler is done."""
        self.phase = ConnectionPhase.IDLE
        self._since = self._keeper.now()

    def rests(self, now: float) -> float:
        """Return the seconds since the connection was last active; 0 while it is."""
        unsent = self._transport.get_write_buffer_size() if self._transport else 0
        return 0.0 if self.phase is ConnectionPhase.BUSY or unsent else now - self._since

    def _takes(self, data: bytes) -> bool:
        """Return whether ``data`` may be passed on; refuse a head that is too long."""
        if self.phase is ConnectionPhase.IDLE:
            if self._body is not None and not self._body.is_eof():
                return True  # the rest of a body that the handler did not read
            self.phase = ConnectionPhase.HEAD
            self._since = self._keeper.now()
            self._received = 0
            self._tail = b""
        at = 0 if self._tail and _HEAD_END in self._tail + data[:3] else data.find(_HEAD_END)
        if self._received + (len(data) if at < 0 else at) > self._keeper.bounds.head_bytes:
            self._keeper.count("head")
            self._cut(_TOO_LARGE_REPLY)
            return False
        if at < 0:
            self._tail = (self._tail + data)[-3:]
        else:
            self.phase = ConnectionPhase.BUSY
            self._body = None
        return True

    def look(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        bounds = self._keeper.bounds
        if self.phase is ConnectionPhase.HEAD:
            if now - self._since > bounds.head_seconds:
                self._keeper.count("head")
                self._cut(_TOO_SLOW_REPLY if self._received else None)
                return
        elif self.phase is ConnectionPhase.BUSY and self._body is not None:
            self._look_at_body(self._body, now)
        self._look_at_reply(now)

    def _look_at_body(self, body: StreamReader, now: float) -> None:
        if body.is_eof() or body.exception() is not None or self._transport is None:
            return
        if not self._transport.is_reading():  # the handler paused reading: not the client's fault
            self._since, self._received = now, 0
            return
        bounds = self._keeper.bounds
        if now - self._since > bounds.body_seconds + self._received / bounds.body_rate:
            self._keeper.count("body")
            body.set_exception(BodyTooSlow())

    def _look_at_reply(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size() if self._transport else 0
        if unsent != self._unsent or not unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > self._keeper.bounds.stall_seconds and self._transport:
            self._keeper.count("stalled")
            self._transport.abort()

    def _cut(self, answer: tuple[str, str] | None) -> None:
        """Send the reason, if the client can still receive one, and close."""
        if self._transport is not None:
            if answer is not None and not self._transport.is_closing():
                with suppress(RuntimeError):
                    self._transport.write(_encode_reply(*answer))
            self._transport.close()
