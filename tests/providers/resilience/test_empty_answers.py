"""An answer counts only when it is one: whatever else comes with status 200, the fallback is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from agentsd.core.errors import ProviderError
from agentsd.providers import base
from tests.providers.resilience.test_build import ASK, Bench, bench, llm, text_of, tts
from tests.vendors.openai_server import OpenAIServer, voice_of, wav_header
from tests.vendors.raw_server import RawServer, reply, sse, streamed

__all__ = ["bench"]  # the fixture

PACKED = "AACAPwAAAEA="
KEY = "sk-canary-7d1f0a9b3c5e"
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
HALF = {"choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": None}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ERROR_LINE = b'error: {"code":400,"message":"' + KEY.encode() + b'","type":"invalid_request_error"}\n\n'
DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def gather(stream: AsyncIterator[Any], into: list[Any]) -> None:
    """What came before a failure, too."""
    async for item in stream:
        into.append(item)


def html(status: str = "200 OK") -> bytes:
    return reply(b"<!DOCTYPE html><html>" + KEY.encode() + b"</html>", "text/html", status=status)


EMPTY_STREAMS: dict[str, tuple[bytes, int]] = {  # what comes, and how often this vendor is asked
    "done": (streamed([DONE]), 1),
    "error-line": (streamed([ERROR_LINE, DONE]), 1),
    "event-error": (streamed([b'event: error\ndata: {"message":"' + KEY.encode() + b'"}\n\n', DONE]), 3),
    "no-choices": (streamed(sse({"choices": []})), 1),
    "role-only": (streamed(sse(ROLE, END)), 1),
    "white-space": (streamed(sse({"choices": [{"delta": {"content": " \n"}}]}, END)), 1),
    "null-delta": (streamed(sse({"choices": [{"delta": None, "finish_reason": "stop"}]})), 1),
    "thoughts": (streamed(sse({"choices": [{"delta": {"reasoning": ""}}]}, END)), 1),
    "role-then-cut": (streamed([event(ROLE)])[:-5], 3),
    "finish-error": (
        streamed(sse({"choices": [{"finish_reason": "error", "error": {"message": KEY}, "delta": {}}]})),
        3,
    ),
    "foreign-object": (streamed(sse({"detail": KEY})), 1),
    "empty-object": (streamed(sse({})), 1),
    "filtered": (streamed(sse({"choices": [{"delta": {}, "finish_reason": "content_filter"}]})), 1),
    "limit": (streamed(sse({"choices": [{"delta": {}, "finish_reason": "length"}]})), 1),
    "nameless-call": (
        streamed(sse({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]})),
        1,
    ),
    "html": (html(), 1),
    "html-as-stream": (streamed([b"<html>\n", KEY.encode(), b"\n</html>\n"]), 1),
    "text-as-stream": (streamed([b"upstream connect error\n"]), 1),
    "bare-error": (reply(b'{"error":{"message":"x","code":400}}'), 1),
    "bare-error-as-stream": (streamed([b'{"error":{"message":"x","code":400}}\n']), 1),
    "bare-error-in-text": (reply(b'{"error":{"message":"x","code":400}}', "text/plain"), 1),
    "whole-without-text": (reply(b'{"choices":[{"message":{"content":null}}]}'), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY_STREAMS)
async def test_a_stream_without_content_asks_the_fallback(bench: Bench, name: str) -> None:
    """Nothing was heard, so that another vendor may answer; the first one's words are not seen."""
    answer, asked = EMPTY_STREAMS[name]
    async with RawServer(answer) as first, OpenAIServer() as second:
        one = bench.make("llm", llm(first, api_key=KEY), llm(second))
        chunks = [chunk async for chunk in one.stream(ASK)]
        text = "".join(choice["delta"].get("content", "") for each in chunks for choice in each["choices"])
        assert text == "This is a test."
        assert len(first.requests) == asked
        alone = bench.make("llm", llm(first, api_key=KEY, retries=0))
        with pytest.raises(ProviderError) as caught:
            _ = [chunk async for chunk in alone.stream(ASK)]
    assert KEY not in str(caught.value)
    if name.startswith(("html", "text-as")):
        assert "check that the URL" in caught.value.hint


EMPTY_WHOLES: dict[str, Any] = {
    "no-choices": {"choices": []},
    "absent": {},
    "null": {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
    "blank": {"choices": [{"message": {"role": "assistant", "content": " "}, "finish_reason": "stop"}]},
    "no-parts": {"choices": [{"message": {"content": []}}]},
    "no-calls": {"choices": [{"message": {"content": "", "tool_calls": []}, "finish_reason": "tool_calls"}]},
    "nameless": {"choices": [{"message": {"tool_calls": [{"id": "call_1"}]}}]},
    "thoughts": {"choices": [{"message": {"content": "", "reasoning": "Hm."}, "finish_reason": "stop"}]},
    "error": {"choices": [{"message": {}, "finish_reason": "error", "error": {"message": f"bad {KEY}"}}]},
    "deep": {"choices": [{"message": {"content": "Hi", "error": {"message": KEY}}}]},
    "detail": {"detail": KEY},
    "event": {"type": "error", "error": {"message": KEY}},
}


@pytest.mark.parametrize("name", EMPTY_WHOLES)
async def test_a_whole_answer_without_content_asks_the_fallback(bench: Bench, name: str) -> None:
    """Whole and streamed alike."""
    async with RawServer(reply(orjson.dumps(EMPTY_WHOLES[name]))) as first, OpenAIServer() as second:
        one = bench.make("llm", llm(first, api_key=KEY), llm(second))
        answer = await one.complete(ASK)
    assert answer["choices"][0]["message"]["content"] == "This is a test."


@pytest.mark.parametrize(
    "rest",
    [
        [ERROR_LINE, DONE],
        [b"event: error\ndata: {}\n\n", DONE],
        [event({"error": {"message": KEY}}), DONE],
        [event({"detail": KEY}), DONE],
        [event({"choices": [{"delta": {}, "finish_reason": "error"}]}), DONE],
        [b'{"error":{"message":"x"}}\n', DONE],
        [b"data: 42\n\n", DONE],
        [b""],
    ],
    ids=["line", "event", "object", "detail", "finish", "bare", "number", "cut"],
)
async def test_after_the_first_text_a_failure_is_one(bench: Bench, rest: list[bytes]) -> None:
    """The fallback must not go on with another answer, and the half is not taken for a whole one."""
    async with RawServer(streamed([event(HALF), *filter(None, rest)])) as first, OpenAIServer() as second:
        one = bench.make("llm", llm(first, api_key=KEY), llm(second))
        heard: list[Any] = []
        with pytest.raises(ProviderError) as caught:
            await gather(one.stream(ASK), heard)
    assert heard[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Half"}
    assert all(choice["finish_reason"] is None for chunk in heard for choice in chunk["choices"])
    assert KEY not in str(caught.value)
    assert second.requests == []


def mp3(rate: int = 44_100) -> bytes:
    frame = bytes((0xFF, 0xFB, 0x90, 0x00)) + bytes(413)
    assert rate == 44_100
    return frame * 4


SPEECHES: dict[str, bytes] = {
    "nothing": reply(b"", "audio/pcm"),
    "one-byte": reply(b"\1", "audio/pcm"),
    "html": html(),
    "html-as-pcm": reply(b"<html>" + KEY.encode() + b"</html>", "audio/pcm"),
    "text": reply(b"Not Found", "application/octet-stream"),
    "text-plain": reply(b"", "text/plain"),
    "json": reply(b'{"detail":"x"}'),
    "json-as-pcm": reply(b'{"error":{"message":"x"}}', "audio/pcm"),
    "mp3": reply(mp3(), "audio/mpeg"),
    "mp3-with-tags": reply(b"ID3\4\0\0\0\0\0\0" + mp3(), "audio/pcm"),
    "ogg": reply(b"OggS\0\2" + bytes(60), "audio/pcm"),
    "flac": reply(b"fLaC\0\0\0\x22" + bytes(60), "audio/flac"),
    "adts": reply((b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * 4, "audio/aac"),
    "m4a": reply(b"\0\0\0\x20ftypM4A " + bytes(60), "audio/mp4"),
    "wav-header": reply(wav_header(24_000, 0), "audio/wav"),
    "half-a-header": reply(wav_header(24_000, 0)[:30], "audio/wav"),
    "no-such-wav": reply(b"RIFF\0\0\0\0AVI " + bytes(60), "audio/wav"),
}


@pytest.mark.parametrize("name", SPEECHES)
async def test_what_is_not_sound_asks_the_fallback(bench: Bench, name: str) -> None:
    """Played as samples it would be noise or silence."""
    async with RawServer(SPEECHES[name]) as first, OpenAIServer() as second:
        one = bench.make("tts", tts(first, api_key=KEY), tts(second))
        heard = b"".join([pcm async for pcm in one.stream(text_of(["Hello there."]))])
        assert heard == voice_of("Hello there.")
        assert len(first.requests) == 1
        alone = bench.make("tts", tts(first, api_key=KEY))
        with pytest.raises(ProviderError) as caught:
            _ = [pcm async for pcm in alone.stream(text_of(["Hello there."]))]
    assert KEY not in str(caught.value)


async def test_wav_is_unwrapped_at_its_own_rate(bench: Bench) -> None:
    """Where PCM was asked for; what follows the samples in the file is not played."""
    sound = voice_of("x" * 60)
    body = wav_header(24_000, len(sound)) + sound + b"LIST\x10\0\0\0" + bytes(16)
    async with RawServer(reply(body, "audio/pcm")) as server:
        one = bench.make("tts", tts(server))
        assert b"".join([pcm async for pcm in one.stream(text_of(["Hi."]))]) == sound
        server.answer = reply(wav_header(12_000, 0) + bytes(12_000), "audio/pcm")
        slow = b"".join([pcm async for pcm in one.stream(text_of(["Hi."]))])
    assert abs(len(slow) - 24_000) < 400  # half a second of sound at both rates


async def test_a_sentence_without_sound_is_a_failure(bench: Bench) -> None:
    """The first one was heard, so that no fallback goes on; what cannot be spoken owes no sound."""

    class Hoarse(OpenAIServer):
        async def _speak(self, request: Any, body: dict[str, Any]) -> Any:
            self.audio = b"" if body["input"].startswith("One") else b"\1"
            return await super()._speak(request, body)

    async with Hoarse() as first, OpenAIServer() as second:
        one = bench.make("tts", tts(first), tts(second))
        heard: list[Any] = []
        with pytest.raises(base.ProviderEmpty):
            await gather(one.stream(text_of(["One. ", "Two. "])), heard)
        assert b"".join(heard) == voice_of("One.")
        assert [pcm async for pcm in bench.make("tts", tts(first)).stream(text_of(["… !"]))] == []
    assert second.requests == []


async def pcm_of() -> AsyncIterator[bytes]:
    yield bytes(3200)


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"{}", b"[]", b'"text"', b'{"text":null}', b'{"text":["a"]}', b'{"detail":"x"}', b"hello"],
)
async def test_a_transcription_without_a_text_asks_the_fallback(bench: Bench, answer: bytes) -> None:
    """An empty text is silence, which is an answer; anything else is not."""
    section = {"provider": "openai-compatible", "model": "m"}
    async with RawServer(reply(answer)) as first, OpenAIServer(transcript="Yes.") as second:
        one = bench.make("stt", section | {"api_url": first.url}, section | {"api_url": second.url})
        assert [part.text async for part in one.stream(pcm_of())] == ["Yes."]
        first.answer = reply(b'{"text":" "}')
        silent = bench.make("stt", section | {"api_url": first.url})
        assert [part.text async for part in silent.stream(pcm_of())] == []


@pytest.mark.parametrize(
    ("rows", "vectors"),
    [
        ([{"embedding": [1.0, 0.5]}, {"embedding": [2.0, 0.5]}], [[1.0, 0.5], [2.0, 0.5]]),
        ([{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}], [[2.0], [1.0]]),
        ([{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}], [[1.0], [2.0]]),
        ([{"index": 0, "embedding": PACKED}, {"index": 1, "embedding": [3, 4]}], [[1.0, 2.0], [3.0, 4.0]]),
    ],
    ids=["no-index", "reversed", "all-0", "base64"],
)  # fmt: skip
async def test_vectors_are_read_however_they_are_written(bench: Bench, rows: Any, vectors: Any) -> None:
    """In their order where none has an index; the vendor's count of tokens comes along."""
    body = orjson.dumps({"data": rows, "usage": {"prompt_tokens": 7, "total_tokens": 7}})
    async with RawServer(reply(body)) as server:
        one = bench.make("embedding", {"provider": "openai-compatible", "model": "e", "api_url": server.url})
        found = await one.embed(["a", "b"])
    assert (list(found), found.tokens) == (vectors, 7)


@pytest.mark.parametrize(
    "rows",
    [
        [{"embedding": []}, {"embedding": []}],
        [{"embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"embedding": [1.0]}],
        [{"embedding": "?"}, {"embedding": "?"}],
        [1, 2],
        {"0": [1.0]},
    ],
)
async def test_other_vectors_are_an_error(bench: Bench, rows: Any) -> None:
    """Too few, empty, or in an order that nobody knows."""
    async with RawServer(reply(orjson.dumps({"data": rows}))) as server:
        one = bench.make("embedding", {"provider": "openai-compatible", "model": "e", "api_url": server.url})
        with pytest.raises(ProviderError):
            await one.embed(["a", "b"])
