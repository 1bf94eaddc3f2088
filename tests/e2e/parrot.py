"""A vendor that answers with the name of the model it was asked for, word by word, and waits for a moment."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from tests.vendors.base import VendorServer
from tests.vendors.openai_server import DONE, chunks

WORDS = 8


class Parrot(VendorServer):
    """``delay`` seconds before each word. ``keys`` are the API keys that it was shown."""

    def __init__(self, *, delay: float = 0.0) -> None:
        super().__init__(delay=delay, record=False)
        self.keys: set[str] = set()
        self.served = 0

    def routes(self, app: web.Application) -> None:
        """Any prefix."""
        app.router.add_post("/{prefix:.*}chat/completions", self._complete)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.keys.add(request.headers.get("Authorization", "").removeprefix("Bearer "))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks(body, [f"{body['model']} "] * WORDS):
            await asyncio.sleep(self.delay)
            await response.write(b"data: " + chunk + b"\n\n")
        await response.write(DONE)
        await response.write_eof()
        self.served += 1
        return response
