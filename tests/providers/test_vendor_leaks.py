"""No text of a vendor leaves a client of any kind: a key in every place of every answer is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import orjson
import pytest

from agentsd.core.errors import ProviderError
from tests.providers.conftest import Make
from tests.vendors.leaks import heads, net, sockets, streams
from tests.vendors.leaves import chunk, completion, mutated
from tests.vendors.raw_server import RawServer, frame, reply, sse, streamed

KEY = "sk-canary-7d1f0a9b3c5e"
QUICK = {"retries": 0, "timeout_seconds": 1, "idle_timeout_seconds": 0.5}
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
TRANSCRIPT = {
    "text": "Hi.",
    "language": "en",
    "usage": {"seconds": 1},
    "segments": [{"id": 0, "text": "Hi."}],
}
VECTORS = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1]}],
}


async def text() -> AsyncIterator[str]:
    yield "Hello there. "


async def pcm() -> AsyncIterator[bytes]:
    yield bytes(3200)


async def listed(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def section(server: RawServer, **more: Any) -> dict[str, Any]:
    return {
        "provider": "openai-compatible",
        "model": "m",
        "api_key": KEY,
        "api_url": server.url,
        **QUICK,
        **more,
    }


Ask = Callable[[], Awaitable[Any]]


async def search(server: RawServer, ask: Ask, answers: Iterable[bytes]) -> int:
    """Give each answer, and look for the key in what comes of it. How many failed, as they should."""
    failures = 0
    with net() as caught:
        for answer in answers:
            server.answer = answer
            try:
                async with asyncio.timeout(60):
                    caught.texts.append(str(await ask()))
            except ProviderError as error:
                failures += 1
                caught.add(error)
            found = [line for line in caught.texts if KEY in line]
            assert not found, (answer[:300], found[:2])
            caught.texts.clear()
    return failures


async def test_whole_completions(make: Make) -> None:
    """Of every place of the answer, of its head, of refusals."""
    async with RawServer() as server:
        llm = make("llm", **section(server))
        bodies = [reply(orjson.dumps(answer)) for _, answer in mutated(completion(), KEY)]
        good = orjson.dumps(completion())
        failed = await search(server, lambda: llm.complete(CHAT), [*bodies, *heads(KEY, good)])
    assert failed > 40


async def test_streamed_completions(make: Make) -> None:
    """Of every place of a chunk, of the stream around it, of its head."""
    async with RawServer() as server:
        llm = make("llm", **section(server))
        bodies = [streamed(sse(answer)) for _, answer in mutated(chunk(), KEY)]
        others = [*streams(KEY, chunk()), *heads(KEY, b"".join(sse(chunk())))]
        failed = await search(server, lambda: listed(llm.stream(CHAT)), [*bodies, *others])
    assert failed > 60


async def test_transcriptions(make: Make) -> None:
    """The transcript is content, and masked; nothing else is read."""
    async with RawServer() as server:
        stt = make("stt", **section(server))
        bodies = [reply(orjson.dumps(answer)) for _, answer in mutated(TRANSCRIPT, KEY)]
        good = orjson.dumps(TRANSCRIPT)
        failed = await search(server, lambda: listed(stt.stream(pcm())), [*bodies, *heads(KEY, good)])
    assert failed > 40


async def test_embeddings(make: Make) -> None:
    """Numbers only."""
    async with RawServer() as server:
        embedding = make("embedding", **section(server))
        bodies = [reply(orjson.dumps(answer)) for _, answer in mutated(VECTORS, KEY)]
        good = orjson.dumps(VECTORS)
        failed = await search(server, lambda: embedding.embed(["Hi"]), [*bodies, *heads(KEY, good)])
    assert failed > 40


async def test_speech(make: Make) -> None:
    """Sound only: whatever else is in an answer is not told. (What is played is bytes of the vendor.)"""
    async with RawServer() as server:
        tts = make("tts", **section(server, voice="v"))

        async def size() -> int:
            return sum(map(len, await listed(tts.stream(text()))))

        failed = await search(server, size, heads(KEY, bytes(400)))
    assert failed > 40


SOCKETS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "kokoro.local": (
        "tts",
        {"url": "{ws}/ws/tts/live"},
        [{"type": "ready", "sample_rate": 24000, "voice": "v"}, {"type": "end"}],
    ),
    "elevenlabs.io": (
        "tts",
        {"api_key": KEY, "voice_id": "v", "url": "{ws}"},
        [{"audio": "AAAA", "alignment": {"chars": ["a"]}, "isFinal": None}, {"isFinal": True}],
    ),
    "hume.ai": (
        "tts",
        {"api_key": KEY, "voice_id": "v", "url": "{ws}/tts"},
        [{"audio": "AAAA", "type": "audio", "is_last_chunk": True, "request_id": "r"}],
    ),
    "async.ai": (
        "tts",
        {"api_key": KEY, "voice_id": "v", "url": "{ws}/tts"},
        [{"audio": "AAAA", "context_id": "c", "final": False}, {"final": True}],
    ),
    "deepgram.com": (
        "tts",
        {"api_key": KEY, "url": "{ws}/speak"},
        [{"type": "Metadata", "request_id": "r"}, {"type": "Flushed", "sequence_id": 0}],
    ),
    "deepgram.com listening": (
        "stt",
        {"api_key": KEY, "url": "{ws}/listen"},
        [
            {
                "type": "Results",
                "is_final": True,
                "from_finalize": True,
                "channel": {"alternatives": [{"transcript": "Hi.", "words": [{"word": "hi"}]}]},
            },
            {"type": "Metadata", "request_id": "r"},
        ],
    ),
    "whisper.local": (
        "stt",
        {"url": "{ws}"},
        [{"transcript": "Hi.", "is_final": True, "info": "x"}],
    ),
}


@pytest.mark.parametrize("name", SOCKETS)
async def test_sockets(make: Make, name: str) -> None:
    """Of every place of every message, of errors, of reasons for a close, of refused handshakes."""
    kind, fields, messages = SOCKETS[name]
    close = frame((1000).to_bytes(2, "big"), 8)
    good = [frame(orjson.dumps(message)) for message in messages]
    answers = [
        b"".join([*good[:at], frame(orjson.dumps(answer)), *good[at + 1 :], close])
        for at, message in enumerate(messages)
        for _, answer in mutated(message, KEY)
    ]
    async with RawServer() as server:
        told = {key: value.format(ws=server.ws_url) for key, value in fields.items()}
        provider = make(
            kind, provider=name.split(" ", maxsplit=1)[0], **{**told, **QUICK, "idle_timeout_seconds": 0.1}
        )

        async def ask() -> Any:
            return await listed(provider.stream(text() if kind == "tts" else pcm()))

        failed = await search(server, ask, [*answers, *sockets(KEY, good[:1])])
        assert failed > 20
        server.handshake = f"X-Error: {KEY}\r\nSec-WebSocket-Protocol: {KEY}\r\n".encode()
        await search(server, ask, [b"".join(good) + close])


@pytest.mark.parametrize("name", SOCKETS)
async def test_refused_handshakes(make: Make, name: str) -> None:
    """An exception of the library holds the URL, with the key in its query, and the vendor's headers."""
    kind, fields, _ = SOCKETS[name]

    async def refuse(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    class Refusing(RawServer):
        async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await refuse(b"", writer)

    async with Refusing() as server:
        told = {key: value.format(ws=server.ws_url) for key, value in fields.items()}
        provider = make(kind, provider=name.split(" ", maxsplit=1)[0], **{**told, **QUICK})

        async def ask() -> Any:
            return await listed(provider.stream(text() if kind == "tts" else pcm()))

        for answer in heads(KEY, b"{}"):  # noqa: B007  (``refuse`` reads it)
            assert await search(server, ask, [b""]) == 1
