"""A load generator that costs little itself: raw HTTP/1.1 over kept-alive connections.

Requests are bytes made once; an answer is looked at only as far as it takes to find its end. An
ordinary client library would be slower than the servers it measures.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def request(method: str, url: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request. ``headers``: content_type="…" is written ``content-type: …``."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Load:
    """What a load measured. Latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)  # until the first byte of the body

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time. Anything but a 200 raises ``RuntimeError``."""

    def __init__(self) -> None:
        self.first = 0.0  # when the first byte of the body came
        self._transport: Any = None
        self._done: asyncio.Future[bytes] | None = None
        self._answer = bytearray()
        self._body_at = 0
        self._end = 0  # 0 while unknown; -1 for a chunked body

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connected to the server of ``url``."""
        parts = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(RuntimeError("the server closed the connection"))

    def send(self, data: bytes) -> asyncio.Future[bytes]:
        """The future answer, head and body."""
        self._answer.clear()
        self._body_at = self._end = 0
        self.first = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._done

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._body_at and not self._head():
            return
        if not self.first and len(self._answer) > self._body_at:
            self.first = time.perf_counter()
        whole = (
            self._answer.endswith(b"0\r\n\r\n", self._body_at)
            if self._end < 0
            else len(self._answer) >= self._end
        )
        if whole and self._done and not self._done.done():
            self._done.set_result(bytes(self._answer))

    def _head(self) -> bool:
        at = self._answer.find(b"\r\n\r\n") + 4
        if at < 4:
            return False
        if not self._answer.startswith(b"HTTP/1.1 200") and self._done:
            self._done.set_exception(RuntimeError(self._answer[:500].decode(errors="replace")))
        length = _LENGTH.search(self._answer, 0, at)
        self._body_at, self._end = at, at + int(length[1]) if length else -1
        return True

    def close(self) -> None:
        self._transport.close()


async def load(url: str, data: bytes, *, connections: int, seconds: float) -> Load:
    """Send ``data`` over so many connections, each as soon as its last answer is whole."""
    measured = Load()
    opened = [await Connection.open(url) for _ in range(connections)]
    until = time.perf_counter() + seconds
    started = time.perf_counter()
    await asyncio.gather(*(_repeat(one, data, until, measured) for one in opened))
    measured.seconds = time.perf_counter() - started
    for one in opened:
        one.close()
    return measured


async def _repeat(connection: Connection, data: bytes, until: float, measured: Load) -> None:
    while (begun := time.perf_counter()) < until:
        await connection.send(data)
        measured.latencies.append(time.perf_counter() - begun)
        measured.firsts.append(connection.first - begun)


def body_of(answer: bytes) -> bytes:
    """The body of an answer that is not chunked."""
    return answer.partition(b"\r\n\r\n")[2]
