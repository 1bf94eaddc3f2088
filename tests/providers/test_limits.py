"""How much a vendor may answer: whatever has no end is refused, and the message names the limit.

No test asserts on time: each would run for minutes, or for ever, where its bound is missing.
"""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentsd.providers.base import ProviderBroken, ProviderProtocolError, ProviderTimeout, Transcript
from agentsd.providers.catalog import Catalog
from agentsd.providers.client_guard import GuardedEmbedding, GuardedSTT, GuardedTTS
from agentsd.providers.errors import VendorRef
from agentsd.providers.limits import (
    CHAT_LIMITS,
    DIMENSIONS_MAX,
    FRAME_LIMITS,
    HEADER_BYTES_MAX,
    SPEECH_BYTES_MAX,
    TRANSCRIPT_CHARACTERS_MAX,
    TRANSCRIPT_LIMITS,
    VECTOR_LIMITS,
    AnswerLimits,
    OperatorLimits,
)
from agentsd.providers.network import Timeouts
from agentsd.providers.redaction import Redactor
from agentsd.providers.transport.endpoint import Endpoint
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.websocket import FrameReader, run_conversation
from agentsd.settings import Settings
from agentsd.web.context import MAX_BODY, MAX_UPLOAD
from tests.providers.conftest import QUICK, Make
from tests.vendors.raw_server import RawServer, frame, reply, sse, streamed

WHO = VendorRef("openai-compatible", "llm")
CHATTING = {"messages": [{"role": "user", "content": "Hi"}]}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
WHOLE, STREAM = HEAD % (b"application/json", b""), HEAD % (b"text/event-stream", b"")
GZIPPED = b"Content-Encoding: gzip\r\n"
BOMB = gzip.compress(b" " * (4 * CHAT_LIMITS.body))


def endless(head: bytes, piece: bytes) -> Any:
    """An answer without an end."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # the client is on the same loop

    return answer


async def listed(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def llm_at(make: Make, server: RawServer, **more: Any) -> Any:
    return make("llm", provider="openai-compatible", model="m", api_url=server.url, **more)


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (endless(WHOLE, b"x" * 65_536), f"an answer of more than {CHAT_LIMITS.body} bytes"),
        (
            endless(WHOLE + b'{"choices":[', b"{}," * 20_000),
            f"an answer of more than {CHAT_LIMITS.body} bytes",
        ),
        (
            reply(b'{"choices":[' + b"0," * CHAT_LIMITS.values + b"0,0]}"),
            f"more than {CHAT_LIMITS.values} values",
        ),
        (HEAD % (b"application/json", GZIPPED) + BOMB, f"an answer of more than {CHAT_LIMITS.body} bytes"),
        (
            endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65_536),
            f"header of more than {HEADER_BYTES_MAX} bytes",
        ),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), "not in this protocol"),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100), "not in this protocol"),
        (reply(b"[" * 100_000), "not a JSON object"),
        (reply(b'{"choices":' + b"1" * 100_000 + b"}"), "not a JSON object"),
    ],
    ids=["bytes", "objects", "values", "bomb", "header", "headers", "informational", "depth", "digits"],
)
async def test_a_whole_answer_is_bounded(make: Make, answer: Any, limit: str) -> None:
    """In bytes, values, depth, heads, and in what it unpacks to."""
    async with RawServer(answer) as server:
        with pytest.raises(ProviderProtocolError, match=limit):
            await llm_at(make, server).complete(CHATTING)


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (endless(STREAM + b"data: ", b"x" * 65_536), f"an event of more than {CHAT_LIMITS.event} bytes"),
        (endless(STREAM, b"data:\n" * 10_000), f"an event of more than {CHAT_LIMITS.event} bytes"),
        (
            STREAM + b'data: {"a":[' + b"0," * CHAT_LIMITS.values + b"0,0]}\n\n",
            f"more than {CHAT_LIMITS.values} values",
        ),
        (HEAD % (b"text/event-stream", GZIPPED) + BOMB, f"an event of more than {CHAT_LIMITS.event} bytes"),
    ],
    ids=["bytes", "lines", "values", "bomb"],
)
async def test_an_event_is_bounded(make: Make, answer: Any, limit: str) -> None:
    """As a whole answer is; an image arrives as one event."""
    async with RawServer(answer) as server:
        with pytest.raises(ProviderProtocolError, match=limit):
            await listed(llm_at(make, server).stream(CHATTING))


async def test_a_large_answer_comes_through(make: Make) -> None:
    """An image in base64, whole and as one event."""
    data = "A" * (6 << 20)
    async with RawServer(streamed(sse({"choices": [{"delta": {"content": data}}]}))) as server:
        chunk, _ = await listed(llm_at(make, server).stream(CHATTING))  # the second one ends the choice
    assert len(chunk["choices"][0]["delta"]["content"]) == len(data)


async def test_the_operator_sets_how_large_an_answer_may_be(catalog: Catalog) -> None:
    """Whole, as one event, as a message, and its headers; what is refused names its setting."""

    def llm(server: RawServer, limits: OperatorLimits) -> tuple[HttpSessions, Any]:
        sessions = HttpSessions(limits=limits)
        section = {"provider": "openai-compatible", "model": "m", "api_url": server.url, **QUICK}
        return sessions, catalog.build("llm", catalog.settings_of("llm", section), sessions)

    choice = {"index": 0, "delta": {"content": "A" * (9 << 20)}, "finish_reason": "stop"}
    event = streamed(sse({"choices": [choice]}))
    header = streamed(sse({"choices": [{"delta": {"content": "x"}}]}), headers=[f"X: {'y' * 40_000}"])
    for answer, setting in (
        (event, "raise AGENTSD_MAX_ANSWER;"),
        (header, "raise AGENTSD_MAX_ANSWER_HEADER;"),
    ):
        async with RawServer(answer) as server:
            sessions, refused = llm(server, OperatorLimits())
            with pytest.raises(ProviderProtocolError) as caught:
                await listed(refused.stream(CHATTING))
            assert setting in caught.value.hint
            assert str(server.port) not in f"{caught.value}"
            await sessions.aclose()
            sessions, taken = llm(server, OperatorLimits(answer=10 << 20, header=64 << 10))
            assert await listed(taken.stream(CHATTING))
            await sessions.aclose()


def test_vectors_keep_their_proportion() -> None:
    """They are larger than texts, and a transcript is shorter; the defaults are those of the settings."""
    limits = OperatorLimits(answer=2 * CHAT_LIMITS.body)
    assert limits.scale(VECTOR_LIMITS).body == 4 * CHAT_LIMITS.body
    assert limits.scale(TRANSCRIPT_LIMITS).body == CHAT_LIMITS.body // 2
    settings = Settings()
    assert OperatorLimits() == OperatorLimits(
        settings.max_answer, settings.max_answer_header, settings.max_upload
    )
    assert (settings.max_body, settings.max_upload) == (MAX_BODY, MAX_UPLOAD)


async def test_what_comes_after_the_end_is_not_read(make: Make) -> None:
    """The answer is whole, and its connection is not used again."""
    good = sse({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    async with RawServer(endless(STREAM + b"".join(good), b": x\n" * 1000)) as server:
        assert len(await listed(llm_at(make, server).stream(CHATTING))) == 2  # and the end of the choice


SHORT = AnswerLimits(body=1000, event=1000, values=100, stream=200_000, lines=1000, frames=1000, frame=1000)
SOON = Timeouts(connect=5, first=5, idle=5, silence=0.2, whole=5)


LATE = Timeouts(connect=5, first=5, idle=5)


@dataclass
class Bounds:
    limits: AnswerLimits = SHORT
    timeouts: Timeouts = LATE


async def events(server: RawServer, sessions: HttpSessions, bounds: Bounds) -> list[bytes]:
    endpoint = Endpoint(sessions, server.url, WHO, {}, bounds.timeouts, bounds.limits)
    try:
        async with endpoint.post(b"{}") as answer:
            return await listed(answer.events())
    finally:
        await endpoint.aclose()


def dripping(piece: bytes, seconds: float = 0.02) -> Any:
    """An answer that is never silent, and never comes."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(seconds)

    return answer


@pytest.mark.parametrize(
    ("answer", "bounds", "error", "limit"),
    [
        (endless(STREAM, b"data: 1\n\n" * 100), Bounds(), ProviderProtocolError, "more than 1000 lines"),
        (endless(STREAM, b": x\n" * 100), Bounds(), ProviderProtocolError, "more than 1000 lines"),
        (endless(STREAM, b"data: " + b"1" * 900 + b"\n\n"), Bounds(), ProviderProtocolError, "200000 bytes"),
        (dripping(b": x\n"), Bounds(timeouts=SOON), ProviderTimeout, "in time"),
        (dripping(b"x"), Bounds(timeouts=SOON), ProviderTimeout, "in time"),
        (
            dripping(b"data: 1\n\n"),
            Bounds(timeouts=Timeouts(connect=5, first=5, idle=5, whole=0.2)),
            ProviderTimeout,
            "in time",
        ),
    ],
    ids=["events", "comments", "bytes", "kept alive", "byte by byte", "whole"],
)
async def test_a_stream_is_bounded(
    sessions: HttpSessions, answer: Any, bounds: Bounds, error: type[Exception], limit: str
) -> None:
    """In all its bytes and lines, and in time, however busy it looks."""
    async with RawServer(answer) as server:
        with pytest.raises(error, match=limit):
            await events(server, sessions, bounds)


class Nothing(FrameReader[bytes]):
    """Frames that mean nothing."""

    def read(self, frame: str | bytes) -> bytes | None:
        self.message(frame)
        return None


async def once() -> AsyncIterator[str]:
    yield "hello"


@pytest.mark.parametrize(
    ("answer", "bounds", "error", "limit"),
    [
        (endless(b"", frame(b"{}") * 10), Bounds(), ProviderProtocolError, "more than 1000 frames"),
        (endless(b"", frame(b"", 9) * 10), Bounds(), ProviderProtocolError, "more than 1000 frames"),
        (
            endless(b"", frame(b'{"a":"' + b"x" * 900 + b'"}')),
            Bounds(),
            ProviderProtocolError,
            "200000 bytes",
        ),
        (
            frame(b'"' + b"x" * 1000 + b'"'),
            Bounds(),
            ProviderProtocolError,
            "message of more than 1000",
        ),
        (endless(b"\x01\x01x", b"\x00\x01x" * 10), Bounds(), ProviderProtocolError, "more than 1000 bytes"),
        (
            frame(b"[" + b"0," * FRAME_LIMITS.values + b"0,0]"),
            Bounds(limits=FRAME_LIMITS),
            ProviderProtocolError,
            f"more than {FRAME_LIMITS.values} values",
        ),
        (b"\xc1\x05hello", Bounds(), ProviderProtocolError, "not the WebSocket protocol"),
        (
            endless(b"", frame(b"{}")),
            Bounds(limits=AnswerLimits(), timeouts=Timeouts(connect=5, first=5, idle=5, silence=0.1)),
            ProviderTimeout,
            "in time",
        ),
    ],
    ids=["frames", "pings", "bytes", "message", "fragments", "values", "compressed", "kept alive"],
)
async def test_a_socket_is_bounded(
    sessions: HttpSessions, answer: Any, bounds: Bounds, error: type[Exception], limit: str
) -> None:
    """Frames, pings, fragments, and compression that nobody asked for."""
    async with RawServer(answer) as server:
        endpoint = Endpoint(sessions, server.ws_url, WHO, {}, bounds.timeouts, bounds.limits)
        with pytest.raises(error, match=limit):
            await listed(run_conversation(endpoint, {}, once(), Nothing(WHO)))
        await endpoint.aclose()


class Client:
    """A plugin's client of any kind, which does as it likes."""

    sample_rate = 16_000
    space = "s"

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    async def stream(self, given: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for _ in given:
            continue
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item

    async def embed(self, texts: Sequence[str]) -> Any:
        return self.items

    async def aclose(self) -> None:
        return


Guard = Callable[..., Any]
BIG = bytes(SPEECH_BYTES_MAX // 2)
LONG = Transcript("x" * (TRANSCRIPT_CHARACTERS_MAX // 2), final=True)


@pytest.mark.parametrize(
    ("guard", "items", "error"),
    [
        (GuardedTTS, [BIG, BIG, b"xx"], ProviderProtocolError),
        (GuardedTTS, [ValueError("secret words")], ProviderBroken),
        (GuardedTTS, [5], ProviderBroken),
        (GuardedSTT, [LONG, LONG, LONG], ProviderProtocolError),
        (GuardedSTT, [Transcript(5, final=True)], ProviderBroken),  # type: ignore[arg-type]
        (GuardedSTT, [RecursionError("secret words")], ProviderBroken),
    ],
)
async def test_a_client_of_any_kind_is_contained(
    guard: Guard, items: list[Any], error: type[Exception]
) -> None:
    """What it raises is typed, without its text; what it yields has an end."""
    provider = guard(Client(items), WHO, Redactor([]))
    with pytest.raises(error) as caught:
        await listed(provider.stream(once()))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("guard", [GuardedTTS, GuardedSTT])
async def test_what_the_caller_raises_is_the_callers(guard: Guard) -> None:
    """An error of what goes in is not the vendor's."""

    async def failing() -> AsyncIterator[str]:
        yield "hello"
        raise LookupError

    with pytest.raises(LookupError):
        await listed(guard(Client([]), WHO, Redactor([])).stream(failing()))


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[1.0], [1.0]],
        [[math.nan]],
        [[math.inf]],
        [[0.0] * (DIMENSIONS_MAX + 1)],
    ],
    ids=["none", "two", "nan", "infinite", "long"],
)
async def test_vectors_are_finite_numbers(vectors: Any) -> None:
    """One for each text."""
    with pytest.raises(ProviderProtocolError):
        await GuardedEmbedding(Client(vectors), WHO, Redactor([])).embed(["Hi"])


@pytest.mark.parametrize("vectors", [None, 5, [None], ["x"], [[None]], [["x"]]])
async def test_vectors_of_another_kind_are_typed_errors(vectors: Any) -> None:
    """Not an exception of whoever uses them."""
    with pytest.raises((ProviderBroken, ProviderProtocolError)):
        await GuardedEmbedding(Client(vectors), WHO, Redactor([])).embed(["Hi"])
