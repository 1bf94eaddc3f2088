"""Calls: what the pipeline adds to its providers, switches in mid-call, and calls in real time beside peers.

First, the vendors' servers answer at once, in a process of their own; the same providers are asked directly
first (the transcript after the last sound, the first token, the first sound of the first sentence),
and their time is subtracted. Then callers speak in real time: tests/bench/calls.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from typing import Any, cast
from uuid import uuid4

import aiohttp

from agentsd.providers.base import LLM, STT, TTS
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from tests.bench import calls
from tests.bench.fleet import Fleet
from tests.bench.processes import Server, serving, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import run as run_async
from tests.services.speech import spoken
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.whisper_server import WhisperServer

AGENTS = ("a", "b")
SERVERS = {"llm": OpenAIServer, "tts": KokoroServer, "stt": WhisperServer, "slow": OpenAIServer}
_SERVE = (sys.executable, "-m", "tests.bench.voice", "--serve")
SENTENCE = ("It ", "is ", "nine. ", "Then ", "we ", "close.")


def run(scale: Scale) -> Sequence[Figure]:
    """Calls: what the voice pipeline adds to its providers, switches, and calls in real time beside peers."""
    with workspace() as folder, vendor_servers() as urls:
        made = Fleet(folder / "agents.d", folder / "no-key", 2)
        made.root.mkdir()
        made.key_file.write_text("")
        for name in AGENTS:
            llm = urls.get(name, urls["llm"])
            (made.root / f"{name}.yaml").write_text(json.dumps(manifest_of({**urls, "llm": llm})))
        with up(made, folder) as server:
            direct, through, switches = run_async(_measure(server.url, manifest_of(urls), scale.samples))
            left = run_async(_end_calls(server, scale.samples))
    return [
        Figure("call, end of speech → first sound, added, p50", p50(through) - p50(direct), "ms", 10),
        Figure("  p99", p99(through) - p99(direct), "ms"),
        Figure("  the providers alone, p50", p50(direct), "ms"),
        Figure("call, session.update to another agent, p50", p50(switches), "ms"),
        Figure("  p99", p99(switches), "ms", 5, anchor=100, against="the mission: < 100 ms"),
        Figure("memory that one ended call leaves", left, "MB", 0.1),
        *calls.run(scale),
    ]


def manifest_of(urls: dict[str, str]) -> dict[str, Any]:
    """Return a voice agent at these servers."""
    sockets = {kind: url.replace("http://", "ws://") for kind, url in urls.items()}
    return {
        "id": str(uuid4()),
        "llm": {"provider": "openai-compatible", "model": "m", "api_url": urls["llm"]},
        "tts": {"provider": "kokoro.local", "url": sockets["tts"] + KokoroServer.path},
        "stt": {"provider": "whisper.local", "url": sockets["stt"]},
    }


async def _measure(
    url: str, manifest: dict[str, Any], samples: int
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds: the providers asked directly and through a call, by turns; switches."""
    catalog, sessions, sound = default_catalog(), HttpSessions(), spoken(24_000)
    direct, through, switches = [], [], []
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/realtime?model=a") as socket:
        line = _Line(socket)
        await line.update(audio={"input": {"turn_detection": None}})
        for number in range(samples + 5):
            one = await _directly(catalog, sessions, manifest)
            other = await line.turn(sound)
            if number >= 5:
                direct.append(one * 1e3)
                through.append(other * 1e3)
        for number in range(samples * 5):
            switches.append(await line.update(model=("a", "b")[number % 2]) * 1e3)
    await sessions.aclose()
    return direct, through, switches


async def _end_calls(server: Server, calls: int) -> float:
    """Megabytes that each call left, of so many that began with sound and ended, one after the other."""
    sound = _base64(spoken(24_000)[:48_000])
    async with aiohttp.ClientSession() as http:
        before = 0.0
        for number in range(calls + 5):
            if number == 5:
                before = server.resident()
            async with http.ws_connect(f"{server.url}/v1/realtime?model=a") as socket:
                line = _Line(socket)
                await line.hear(sound)
        return (server.resident() - before) / calls


async def _directly(catalog: Catalog, sessions: HttpSessions, manifest: dict[str, Any]) -> float:
    """Seconds that the three providers need one after the other, without anything between."""
    built = {
        kind: catalog.build(kind, catalog.settings_of(kind, manifest[kind]), sessions)
        for kind in ("llm", "tts", "stt")
    }
    spent = await _transcript(cast("STT", built["stt"]))
    spent += await _token(cast("LLM", built["llm"]))
    spent += await _sound(cast("TTS", built["tts"]))
    for provider in built.values():
        await cast("Any", provider).aclose()
    return spent


async def _transcript(stt: STT) -> float:
    """From the end of the sound to the end of the transcript. The connection is there by then."""
    ended = 0.0

    async def sound() -> AsyncIterator[bytes]:
        nonlocal ended
        yield spoken(stt.sample_rate)
        await asyncio.sleep(0.05)
        ended = time.perf_counter()

    async for _ in stt.stream(sound()):
        pass
    return time.perf_counter() - ended


async def _token(llm: LLM) -> float:
    """To the end of the first sentence, which is what a voice can begin with."""
    started, text = time.perf_counter(), ""
    chunks = llm.stream({"messages": [{"role": "user", "content": "Hello"}]})
    async with aclosing(cast("Any", chunks)) as stream:
        async for chunk in stream:
            text += chunk["choices"][0]["delta"].get("content") or ""
            if "." in text:
                break
        return time.perf_counter() - started


async def _sound(tts: TTS) -> float:
    """From the first sentence to its first sound. The connection is there by then."""
    begun = 0.0

    async def text() -> AsyncIterator[str]:
        nonlocal begun
        await asyncio.sleep(0.05)
        begun = time.perf_counter()
        yield "It is nine. "

    async with aclosing(cast("Any", tts.stream(text()))) as stream:
        await anext(stream)
        return time.perf_counter() - begun


class _Line:
    """One call."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def update(self, **session: Any) -> float:
        """Seconds from ``session.update`` to ``session.updated``."""
        started = time.perf_counter()
        await self._send("session.update", session={"type": "realtime", **session})
        await self._until("session.updated")
        return time.perf_counter() - started

    async def hear(self, sound: str) -> None:
        """Sound, until it has been heard."""
        await self._send("input_audio_buffer.append", audio=sound)
        await self._send("input_audio_buffer.clear")
        await self._until("input_audio_buffer.cleared")

    async def turn(self, sound: bytes) -> float:
        """Seconds from the end of speech to the first sound."""
        await self._send("input_audio_buffer.append", audio=_base64(sound))
        await asyncio.sleep(0.05)  # the caller speaks: the STT is connected and has what there is
        started = time.perf_counter()
        await self._send("input_audio_buffer.commit")
        await self._send("response.create")
        await self._until("response.output_audio.delta")
        spent = time.perf_counter() - started
        await self._until("response.done")
        return spent

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def _until(self, kind: str) -> float:
        """When the next event of that type came."""
        async for message in self._socket:
            event = json.loads(message.data)
            if event["type"] == kind:
                return time.perf_counter()
            if event["type"] == "error":
                raise RuntimeError(event["error"]["message"])
        raise RuntimeError("the call ended")


def _base64(sound: bytes) -> str:
    return base64.b64encode(sound).decode()


@contextmanager
def vendor_servers() -> Iterator[dict[str, str]]:
    """One server of each kind, in processes of their own. ``kind → URL``."""
    environ = {"PATH": ""}
    with ExitStack() as stack:
        yield {kind: stack.enter_context(serving([*_SERVE, kind], environ)).url for kind in SERVERS}


async def _serve(kind: str) -> None:
    server = SERVERS[kind](record=False)
    if isinstance(server, OpenAIServer):
        server.words = SENTENCE if kind == "llm" else SENTENCE * 200
        server.delay = 0.0 if kind == "llm" else 0.02
    async with server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(_serve(sys.argv[-1]))
    else:
        main(run)
