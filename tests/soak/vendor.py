"""Vendors that mutate faithful answers, as their owner wishes: what an agent of a hostile owner is led to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

import orjson
from aiohttp import web

from tests.soak import shapes
from tests.vendors.base import VendorServer
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import DONE, OpenAIServer, chunks, completion, vector_of, voice_of
from tests.vendors.whisper_server import WhisperServer

HEADERS = (
    "Retry-After",
    "Content-Type",
    "Content-Length",
    "X-RateLimit-Reset",
    "Transfer-Encoding",
    "Set-Cookie",
    "Location",
)
STATUSES = (200, 200, 200, 200, 201, 204, 302, 400, 401, 402, 404, 418, 429, 429, 500, 503, 599)
BOMB = 24 << 20
"""Bytes of the largest answer."""


class HostileVendor(VendorServer):
    """Chat, embeddings, speech and transcriptions of OpenAI's protocol, mutated by ``random``.

    ``random`` None: faithful. ``latest`` is the key of the newest request, which errors quote.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(record=False, **options)
        self.random: Random | None = None
        self.served = 0

    def routes(self, app: web.Application) -> None:
        """Any prefix, any call."""
        app.router.add_post("/{prefix:.*}chat/completions", self._chat)
        app.router.add_post("/{prefix:.*}embeddings", self._embed)
        app.router.add_post("/{prefix:.*}audio/speech", self._speak)
        app.router.add_post("/{prefix:.*}audio/transcriptions", self._hear)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if body.get("stream"):
            return await self._stream(request, chunks(body, OpenAIServer().words))
        return await self._whole(request, completion(body, "This is a test."))

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        rows = [
            {"object": "embedding", "index": at, "embedding": vector_of(str(one), 8)}
            for at, one in enumerate(texts)
        ]
        return await self._whole(
            request, {"object": "list", "data": rows, "model": "m", "usage": {"total_tokens": 1}}
        )

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        sound = voice_of("a short sentence")
        if self.random:
            sound = self.random.choice((sound, b"", b"RIFF" + sound, b"<html>", sound[:-1], sound * 2000))
        return web.Response(body=sound, content_type="audio/pcm", headers=self._headers())

    async def _hear(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return await self._whole(request, {"text": "what was said"})

    def _headers(self) -> dict[str, str]:
        if self.random is None or self.random.random() < 0.5:
            return {}
        name = self.random.choice(HEADERS[:1] * 4 + HEADERS[3:4])
        return {name: self.random.choice(shapes.DATES).encode("ascii", "ignore").decode() or "0"}

    def _error(self, request: web.Request) -> dict[str, Any]:
        key = request.headers.get("Authorization", "")
        return {"error": {"message": f"bad key {key}", "code": key, "type": key, "param": key}, "detail": key}

    async def _whole(self, request: web.Request, faithful: dict[str, Any]) -> web.StreamResponse:
        self.served += 1
        random = self.random
        if random is None:
            return web.json_response(faithful)
        status = random.choice(STATUSES)
        data = shapes.dumps(shapes.mutated(random, random.choice((faithful, faithful, self._error(request)))))
        kind = random.randrange(12)
        if kind == 0:
            data = shapes.damaged(random, data)
        elif kind == 1:
            data = b'{"a":[' + b'{"b":"c"},' * (BOMB // 10) + b"1]}"
        elif kind == 2:
            data = b"[" * random.choice((1000, 100_000))
        headers = {"Content-Type": "application/json", **self._headers()}
        with suppress(ConnectionError):
            response = web.StreamResponse(status=status, headers=headers)
            if status in (204, 304):
                data = b""
            await response.prepare(request)
            await response.write(data)
            if random.random() < 0.1 and request.transport is not None:
                request.transport.abort()
        return response

    async def _stream(self, request: web.Request, lines: Iterable[bytes]) -> web.StreamResponse:
        self.served += 1
        random = self.random
        head = {"Content-Type": "text/event-stream", **self._headers()}
        response = web.StreamResponse(status=random.choice(STATUSES) if random else 200, headers=head)
        with suppress(ConnectionError):
            await response.prepare(request)
            for line in lines:
                await response.write(self._event(request, line))
            if random is None or random.random() < 0.8:
                await response.write(DONE)
        return response

    def _event(self, request: web.Request, line: bytes) -> bytes:
        random = self.random
        if random is None or random.random() < 0.6:
            return b"data: " + line + b"\n\n"
        kind = random.randrange(8)
        if kind == 0:
            return b"data: " + b"x" * random.choice((10_000, 3 << 20)) + b"\n\n"
        if kind == 1:
            return b"event: error\ndata: " + shapes.dumps(self._error(request)) + b"\n\n"
        if kind == 2:
            return random.choice(
                (b"data: \xff\xfe\n\n", b"\0" * 999, b":\n" * 50_000, b"data: [DONE]\n\n", b"data: 42\n\n")
            )
        if kind == 3:
            return b"data: " + shapes.dumps(self._error(request)) + b"\n\n"
        return (
            b"data: " + shapes.dumps(shapes.mutated(random, json.loads(line))).replace(b"\n", b" ") + b"\n\n"
        )


class HostileTts(KokoroServer):
    """Kokoro's socket, with frames of its own."""

    random: Random | None = None

    async def talk(self, socket: Any) -> None:
        """Faithful, or a mutated frame at any place."""
        await _talk(self.random, super().talk, socket, {"type": "ready", "sample_rate": 24_000})


class HostileStt(WhisperServer):
    """Whisper's socket, with frames of its own."""

    random: Random | None = None

    async def talk(self, socket: Any) -> None:
        """Faithful, or a mutated frame at any place."""
        final = {"transcript": "hello", "is_final": True, "stability": 1.0}
        await _talk(self.random, super().talk, socket, final)


async def _talk(random: Random | None, faithful: Any, socket: Any, frame: dict[str, Any]) -> None:
    if random is None or random.random() < 0.4:
        await faithful(socket)
        return
    for _ in range(random.choice((1, 3, 300))):
        data = shapes.dumps(shapes.mutated(random, frame))
        await socket.say(random.choice((data.decode(), data, shapes.damaged(random, data), b"\0" * 70_001)))
        await asyncio.sleep(0)
