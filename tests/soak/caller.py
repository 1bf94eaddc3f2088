"""A caller with ears: reads all the time, and knows which turns have not ended."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.soak.call_audit import Asked, find_open

PIECE = 2400
"""Bytes of sound in one event: 50 ms."""


class Caller:
    """One call. ``events`` grows while a task reads; ``asked`` has what was asked for in writing."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.closed = False
        self._news = asyncio.Event()

    async def read(self) -> None:
        """Take every event until the socket closes."""
        with suppress(ConnectionError, aiohttp.ClientError):
            async for message in self.socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.events.append(json.loads(message.data))
                    self._news.set()
        self.closed = True
        self._news.set()

    async def until(self, found: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``found()``, or the end of the call; return whether it was in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not found() and not self.closed:
                    self._news.clear()
                    await self._news.wait()
        return found() or self.closed

    async def send(self, kind: str, **fields: Any) -> None:
        """One event; nobody hears it where the call has ended."""
        with suppress(ConnectionError, aiohttp.ClientError):
            await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def say(self, pcm: bytes) -> None:
        """Sound, as fast as it can be sent."""
        for at in range(0, len(pcm), PIECE):
            piece = base64.b64encode(pcm[at : at + PIECE]).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def heard(self) -> None:
        """Wait until the server has taken everything that was sent: what began by it has been shown."""
        known = self.count("session.updated")
        await self.send("session.update", session={"type": "realtime"})
        await self.until(lambda: self.count("session.updated") > known, 20)

    async def write(self, text: str) -> None:
        """Something written, to be answered."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item)
        asked = Asked(f"ask-{len(self.asked)}", len(self.events))
        self.asked.append(asked)
        await self.send("response.create", event_id=asked.event_id)

    def count(self, kind: str) -> int:
        """How many events of that type there were."""
        return sum(event["type"] == kind for event in self.events)

    async def quiet(self, seconds: float) -> bool:
        """Wait until no turn is in progress."""
        return await self.until(lambda: not find_open(self.events, self.asked), seconds)


@asynccontextmanager
async def calling(client: aiohttp.ClientSession, url: str, model: str) -> AsyncIterator[Caller]:
    """A call whose turns are reported. Its socket is closed at the end, in good form if it still can be."""
    socket = await client.ws_connect(f"{url}/v1/realtime?model={model}", max_msg_size=0)
    caller = Caller(socket)
    reading = asyncio.create_task(caller.read())
    try:
        await caller.send("session.update", session={"type": "realtime", "include": ["agentsd.turn"]})
        await caller.until(lambda: caller.count("session.updated") > 0, 20)
        yield caller
    finally:
        with suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(5):
                await socket.close()
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
