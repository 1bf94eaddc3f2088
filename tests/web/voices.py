"""Voice agents over the vendors' servers, and a client for one call."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from tests.services.speech import silence, spoken
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer, voice_of
from tests.vendors.whisper_server import WhisperServer
from tests.web.conftest import Stack

CHUNK = 2400
"""Bytes of sound in one event: 50 ms."""


class Talker(OpenAIServer):
    """Answers with the name of the model and the last words it was told, in two sentences.

    Asked a question, it calls the first tool that it may (``tool_choice``) before it answers.
    """

    mute = False

    def answer(self, body: dict[str, Any]) -> Iterable[str | dict[str, Any]]:
        """Word by word, or a call in three pieces."""
        if self.mute:
            return ()
        tools, choice = body.get("tools"), body.get("tool_choice") or "auto"
        if tools and choice != "none" and body["messages"][-1]["role"] == "user":
            name = choice["function"]["name"] if isinstance(choice, dict) else tools[0]["function"]["name"]
            return call_deltas(name, '{"place": ', '"Bonn"}')
        told = str(body["messages"][-1]["content"])
        return [f"{word} " for word in f"I am {body['model']}. You said {told}".split(" ")]


def call_deltas(name: str, *arguments: str, call_id: str = "call_1", index: int = 0) -> list[dict[str, Any]]:
    """Return a tool call as a vendor streams it."""
    head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return [{"tool_calls": [part]} for part in (head, *rest)]


@dataclass
class Vendors:
    """One of each kind."""

    llm: Talker
    tts: KokoroServer
    stt: WhisperServer

    def manifest(self, model: str, *, id: str | None = None, **extra: Any) -> str:
        """A voice agent without keys. ``extra`` replaces sections (None leaves one out) and adds fields."""
        value: dict[str, Any] = {
            "id": id or str(uuid4()),
            "name": model,
            "system_prompt": f"You are {model}.",
            "llm": {
                "provider": "openai-compatible",
                "model": model,
                "api_url": self.llm.url,
                "timeout_seconds": 1,
                "idle_timeout_seconds": 1,
            },
            "tts": {
                "provider": "kokoro.local",
                "url": self.tts.ws_url + self.tts.path,
                "timeout_seconds": 1,
                "idle_timeout_seconds": 1,
            },
            "stt": {
                "provider": "whisper.local",
                "url": self.stt.ws_url,
                "timeout_seconds": 1,
                "idle_timeout_seconds": 1,
            },
        }
        value |= extra
        return json.dumps({key: part for key, part in value.items() if part is not None})


@asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    """At work."""
    async with AsyncExitStack() as exits:
        llm = await exits.enter_async_context(Talker())
        tts = await exits.enter_async_context(KokoroServer())
        stt = await exits.enter_async_context(WhisperServer())
        yield Vendors(llm, tts, stt)


class Line:
    """One call, from the caller's side, as raw frames."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        """One client event."""
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        """The next server event. Raises ``StopAsyncIteration`` when the socket is closed."""
        async with asyncio.timeout(20):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise StopAsyncIteration
        event: dict[str, Any] = json.loads(message.data)
        assert event["event_id"]
        self.events.append(event)
        return event

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of that type (and with those fields), passing over others."""
        while True:
            event = await self.next()
            if event["type"] == kind and all(event.get(key) == value for key, value in fields.items()):
                return event

    async def update(self, **session: Any) -> dict[str, Any]:
        """``session.update``; the session as it is then."""
        await self.send("session.update", session={"type": "realtime", **session})
        return (await self.until("session.updated"))["session"]

    async def by_hand(self) -> None:
        """No turn detection: this client commits."""
        await self.update(audio={"input": {"turn_detection": None}})

    async def append(self, pcm: bytes) -> None:
        """Sound, in pieces."""
        for at in range(0, len(pcm), CHUNK):
            piece = base64.b64encode(pcm[at : at + CHUNK]).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def speak(self) -> None:
        """A sentence, and silence long enough for its end."""
        await self.append(silence(0.3) + spoken() + silence(0.8))

    async def write(self, text: str) -> None:
        """Something written, to be answered."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    async def done(self) -> dict[str, Any]:
        """The response, when it is."""
        return (await self.until("response.done"))["response"]

    async def failure(self) -> dict[str, Any]:
        """The error of the next turn that fails: of its answer, its transcript, or of itself."""
        while True:
            event = await self.next()
            response = event.get("response") or {}
            if event["type"] == "error" or event["type"].endswith("transcription.failed"):
                return dict(event["error"])
            if event["type"] == "response.done" and response["status"] == "failed":
                return dict(response["status_details"]["error"])

    def sound(self, response: str) -> bytes:
        """All sound of a response so far."""
        parts = [event["delta"] for event in self.of("response.output_audio.delta", response)]
        return b"".join(base64.b64decode(part) for part in parts)

    def text(self, response: str) -> str:
        """All words of a response so far."""
        kinds = ("response.output_audio_transcript.delta", "response.output_text.delta")
        return "".join(event["delta"] for kind in kinds for event in self.of(kind, response))

    def of(self, kind: str, response: str | None = None) -> list[dict[str, Any]]:
        """The events of that type so far."""
        return [
            event
            for event in self.events
            if event["type"] == kind and response in (None, event.get("response_id"))
        ]


@asynccontextmanager
async def call(stack: Stack, model: str, **options: Any) -> AsyncIterator[Line]:
    """A call that has begun: ``session.created`` was received."""
    url = f"{stack.url}/v1/realtime?model={model}"
    async with stack.client.ws_connect(url, max_msg_size=0, **options) as socket:
        line = Line(socket)
        await line.until("session.created")
        yield line


def voiced(text: str) -> bytes:
    """What the TTS server says for a text of whole sentences: it speaks each on its own."""
    return voice_of(text)


OURS = ("Call.", "TurnRunner.", "Answer.", "PreparedAnswer.", "RealtimeConnection.", "Socket.")
"""Whose coroutines a call's tasks run: itself, its answers, its socket, the vendors' sockets."""


def running() -> list[str]:
    """The tasks of calls that are there now."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(OURS)]


async def settled(stack: Stack, voices: Vendors) -> None:
    """Wait until no lease, no vendor's socket and no task of a call is left; fails by timing out."""
    async with asyncio.timeout(10):
        while (
            stack.metrics.registry.get_sample_value("agentsd_leases_in_use")
            or voices.tts.open_connections
            or voices.stt.open_connections
            or voices.llm.open_connections > 2
            or running()
        ):
            await asyncio.sleep(0.01)
