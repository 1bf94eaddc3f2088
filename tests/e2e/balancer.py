"""A simple load balancer: connections in turn to whatever /readyz calls ready. It repeats nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

import aiohttp

LOOK_SECONDS = 0.1


class Balancer:
    """``async with Balancer() as balancer``; ``url`` is where it answers."""

    def __init__(self) -> None:
        self.backends: dict[str, bool] = {}  # URL → whether it was ready when last asked
        self._turn = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._looking = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        self._server.close()

    async def add(self, url: str) -> None:
        """Balance to this one too, from now on."""
        async with aiohttp.ClientSession() as session:
            self.backends[url] = await self._ready(session, url)
        assert self.backends[url]

    async def _look_on(self) -> None:
        """Probes come on connections of their own, as most balancers' do."""
        while True:
            async with aiohttp.ClientSession() as session:
                for url in list(self.backends):
                    self.backends[url] = await self._ready(session, url)
            await asyncio.sleep(LOOK_SECONDS)

    async def _ready(self, session: aiohttp.ClientSession, url: str) -> bool:
        try:
            async with session.get(f"{url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _next(self) -> str:
        ready = [url for url, is_ready in self.backends.items() if is_ready]
        self._turn += 1
        return ready[self._turn % len(ready)]

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = urlsplit(self._next())
        try:
            back, forth = await asyncio.open_connection(place.hostname, place.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()
