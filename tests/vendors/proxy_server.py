"""A forward proxy: tunnels by CONNECT, requests of plain HTTP, credentials, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit


class ProxyFault(StrEnum):
    """What a proxy does wrong."""

    STALL = "stall"  # takes the request, never answers
    CLOSE = "close"  # closes in the middle of its answer
    GARBAGE = "garbage"  # answers with something that is no HTTP
    CUT = "cut"  # closes the tunnel, or the answer, after some of it came through


@dataclass
class Passage:
    """One request as the proxy saw it."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case


class ProxyServer:
    """A proxy on 127.0.0.1, which resolves names by ``names`` alone: ``{"vendor.test": port}``.

    ``status`` is what it refuses with; ``credentials`` what it asks for ("Basic …"); ``cut_after`` the bytes
    of an answer that come through with ``ProxyFault.CUT``.
    """

    def __init__(self, names: Mapping[str, int] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.names = dict(names or {})
        self.fault: ProxyFault | None = None
        self.status = 0
        self.credentials: str | None = None
        self.cut_after = 200
        self.passages: list[Passage] = []
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, or ``https``."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        try:
            await asyncio.wait((task,))
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            passage = _read_head(head)
            self.passages.append(passage)
            if await self._misbehave(writer):
                return
            status = self._refusal(passage)
            if status:
                writer.write(b"HTTP/1.1 %d Own words\r\nContent-Length: 12\r\n\r\nsecret words" % status)
                await writer.drain()
                await reader.read()
                return
            await self._pass(passage, head, reader, writer)

    async def _misbehave(self, writer: asyncio.StreamWriter) -> bool:
        if self.fault is ProxyFault.STALL:
            await asyncio.Event().wait()
        if self.fault is ProxyFault.CLOSE:
            writer.write(b"HTTP/1.1 200 Conn")
        if self.fault is ProxyFault.GARBAGE:
            writer.write(b"220 mail.test ESMTP secret words\r\n\r\n")
        await writer.drain()
        return self.fault in (ProxyFault.CLOSE, ProxyFault.GARBAGE)

    def _refusal(self, passage: Passage) -> int:
        if self.status:
            return self.status
        if self.credentials and passage.headers.get("proxy-authorization") != self.credentials:
            return 407
        return 0 if _host(passage) in self.names else 502

    async def _pass(
        self,
        passage: Passage,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self.names[_host(passage)])
        if passage.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
        else:
            out.write(_forwarded(head, passage))
        try:
            pumps = [
                asyncio.ensure_future(_pump(reader, out)),
                asyncio.ensure_future(_pump(there, writer, self.cut_after if self.fault else None)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
        finally:
            out.transport.abort()


def _host(passage: Passage) -> str:
    text = passage.target if "://" in passage.target else f"//{passage.target}"
    return urlsplit(text).hostname or ""


def _read_head(head: bytes) -> Passage:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    fields = (line.split(":", 1) for line in lines if ":" in line)
    return Passage(method, target, {name.lower(): value.strip() for name, value in fields})


def _forwarded(head: bytes, passage: Passage) -> bytes:
    """The request as a proxy passes it on: in origin form, without what was meant for the proxy; only one."""
    parts = urlsplit(passage.target)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    lines = head.split(b"\r\n")[1:]
    kept = [line for line in lines if not line.lower().startswith(b"proxy-")]
    first = [f"{passage.method} {path} HTTP/1.1".encode(), b"Connection: close"]
    return b"\r\n".join([*first, *kept])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None) -> None:
    passed = 0
    with suppress(OSError):
        while data := await reader.read(65_536):
            passed += len(data)
            writer.write(data[: len(data) - max(0, passed - most)] if most is not None else data)
            await writer.drain()
            if most is not None and passed >= most:
                return
