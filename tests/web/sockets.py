"""Clients that do as they like: bytes on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
PATIENCE = 90.0
"""Seconds that a test waits for what must come."""


@dataclass
class Raw:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        parts = []
        try:
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(1 << 16):
                    parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    async def head(self) -> bytes:
        """The head of a reply."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def status(self) -> int:
        """Of a reply; 0: the connection was closed without one."""
        try:
            return int((await self.head()).split(b" ")[1])
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    """A connection to the server of ``url``."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


async def exchange(url: str, data: bytes) -> bytes:
    """All that the server answers to ``data``, until it closes."""
    async with connected(url) as raw:
        await raw.send(data)
        return await raw.rest()


def get(path: str = "/api/agents", *fields: str) -> bytes:
    """A request without a body."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode()
