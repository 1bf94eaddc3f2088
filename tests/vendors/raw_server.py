"""A server that answers with bytes: heads, reasons, chunks and faults that no HTTP library would send."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import orjson

Writer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Answers a request, given its head and body."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class RawServer:
    """An HTTP server on 127.0.0.1. ``answer`` is what it sends to each request, before it closes.

    ``requests`` holds what came in. A request with ``Upgrade`` gets the handshake before ``answer``.
    """

    def __init__(self, answer: bytes | Writer = b"") -> None:
        self.answer: bytes | Writer = answer
        self.handshake = b""  # further header lines of it
        self.requests: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """``ws://127.0.0.1:PORT``"""
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy)
        await asyncio.sleep(0)  # aborted transports close in the next step

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._answer(reader, writer))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        try:
            await asyncio.wait((task,))
        finally:
            writer.transport.abort() if task.cancelled() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await _body(head, reader)
            self.requests.append(head + body)
            if b"upgrade: websocket" in head.lower():
                writer.write(_switching(head, self.handshake))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
                if b"upgrade: websocket" in head.lower():
                    await reader.read(1 << 20)
            else:
                await self.answer(head + body, writer)


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") == b"chunked":
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return b"".join(parts)
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


def _switching(head: bytes, more: bytes) -> bytes:
    key = next(line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    accept = base64.b64encode(hashlib.sha1(key.strip() + _GUID).digest())  # noqa: S324  (RFC 6455)
    lines = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    return lines + b"Sec-WebSocket-Accept: " + accept + b"\r\n" + more + b"\r\n"


def reply(
    body: bytes,
    kind: str = "application/json",
    *,
    status: str = "200 OK",
    headers: Sequence[str] = (),
) -> bytes:
    """A whole HTTP reply that ends with the connection's close where it has no length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def streamed(events: Sequence[bytes], *, headers: Sequence[str] = (), extension: bytes = b"") -> bytes:
    """A reply of server-sent events in chunks, each with ``extension``."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", *headers]
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in events)
    return "\r\n".join([*lines, "", ""]).encode() + chunks + b"0\r\n\r\n"


def sse(*values: Any) -> list[bytes]:
    """Each value as an event, then ``[DONE]``."""
    return [b"data: " + orjson.dumps(value) + b"\n\n" for value in values] + [b"data: [DONE]\n\n"]


def frame(data: bytes, opcode: int = 1) -> bytes:
    """One WebSocket frame from a server: text 1, binary 2, close 8."""
    size = len(data)
    if size < 126:
        return bytes((0x80 | opcode, size)) + data
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + data
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + data
