"""The key of a sealed section, put by its vendor into every place of every answer, is nowhere to be found:
not in replies, events of a call, logs at debug level, metrics or rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import orjson
import pytest

from tests.vendors.leaks import errors, heads, net, sockets, streams
from tests.vendors.leaves import chunk, completion, mutated
from tests.vendors.raw_server import RawServer, reply, sse, streamed
from tests.web.conftest import CANARY, Stack, vendor_manifest
from tests.web.voices import call

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
SECTION = (
    "  provider: openai-compatible\n  model: m\n  api_key: {key}\n  api_url: {url}\n  retries: 0\n"
    "  timeout_seconds: 1\n  idle_timeout_seconds: 1\n"
)


def manifest(url: str, ws_url: str) -> str:
    """All four kinds at one vendor's."""
    section = SECTION.format(key=CANARY, url=url)
    speech = f"tts:\n  provider: kokoro.local\n  url: {ws_url}/tts\n  retries: 0\n  timeout_seconds: 1\n"
    return f"name: Sales\nsystem_prompt: Hi.\nllm:\n{section}stt:\n{section}embedding:\n{section}{speech}"


def _values(row: Any) -> Iterable[Any]:
    return row.values() if isinstance(row, dict) else row


async def rows(stack: Stack) -> str:
    """All that is stored, as text."""
    async with stack.database.transaction() as conn:
        names = await conn.execute(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        tables = [str(next(iter(_values(row)))) for row in await names.fetchall()]
        assert len(tables) > 5
        found = []
        for table in tables:
            text = await conn.execute(f"SELECT t::text AS text FROM {table} t")  # noqa: S608
            found += [str(row) for row in await text.fetchall()]
    return "\n".join(found)


async def test_nothing_of_a_vendor_reaches_anybody(stack: Stack) -> None:
    """Whole and streamed chats, transcriptions, vectors, speech, probes: every place of every answer."""
    good = orjson.dumps(completion())
    wholes = [reply(orjson.dumps(one)) for _, one in mutated(completion(), CANARY)][::3]
    chunks = [streamed(sse(one)) for _, one in mutated(chunk(), CANARY)][1::3]
    async with RawServer() as server:
        stack.write("sales.yaml", manifest(server.url, server.ws_url), sealed=True)
        await stack.sync()
        with net() as caught:
            for answer in [*wholes, *heads(CANARY, good)]:
                server.answer = answer
                await stack.ask("POST", "/v1/chat/completions", json={"model": "sales", **CHAT})
            for answer in [*chunks, *streams(CANARY, chunk())]:
                server.answer = answer
                body = await _raw(stack, "/v1/chat/completions", {"model": "sales", "stream": True, **CHAT})
                caught.texts.append(body)
            for error in errors(CANARY):
                server.answer = reply(orjson.dumps(error))
                await stack.ask("POST", "/v1/embeddings", json={"model": "sales", "input": "Hi"})
            for answer in list(sockets(CANARY, []))[::3]:
                server.answer = answer
                caught.texts.append(await _raw(stack, "/v1/audio/speech", {"model": "sales", "input": "Hi."}))
            server.answer = reply(orjson.dumps(errors(CANARY)[0]), status=f"401 {CANARY}")
            status, report = await stack.ask("POST", "/api/agents/sales/test")
            caught.texts += [json.dumps(report), await rows(stack)]
            async with stack.client.get(stack.url + "/metrics") as metrics:
                caught.texts.append(await metrics.text())
    assert (status, report["ok"]) == (200, False)
    assert "agentsd_" in caught.texts[-1]
    assert not [line for line in caught.texts if CANARY in line]


async def _raw(stack: Stack, path: str, body: dict[str, Any]) -> str:
    """All that a client reads, up to where the connection is cut."""
    data = b""
    try:
        async with stack.client.post(stack.url + path, json=body) as answer:
            data += repr(answer.raw_headers).encode()
            async for part in answer.content.iter_any():
                data += part
    except aiohttp.ClientPayloadError:
        pass  # half a sound
    return data.decode("latin-1")


def answers_of_a_call() -> Sequence[bytes]:
    """A few of each kind: a call takes its time."""
    half = chunk()
    half["choices"][0]["finish_reason"] = None
    inside = chunk()
    inside["choices"] = [{"finish_reason": "error", "error": {"message": CANARY}, "delta": {}}]
    odd = [{"choices": [], "usage": usage} for usage in ([CANARY], CANARY, {"prompt_tokens": [CANARY]}, 5)]
    return [streamed(sse(half, one)) for one in (*errors(CANARY)[:8], inside, *odd)]


async def test_nothing_of_a_vendor_reaches_a_call(stack: Stack) -> None:
    """A failing LLM is a failed turn, whose response names the error; the call goes on, and closes well."""
    async with RawServer() as server:
        stack.write("sales.yaml", vendor_manifest(server.url), sealed=True)
        await stack.sync()
        with net() as caught:
            async with call(stack, "sales") as line:
                for answer in answers_of_a_call():
                    server.answer = answer
                    await line.write("Hi.")
                    response = await line.done()
                    assert response["status"] == "failed", answer
                    assert response["status_details"]["error"]["code"].startswith("provider_")
                server.answer = streamed(sse({"choices": [{"delta": {"content": "Well."}}]}))
                await line.write("Hi.")
                assert (await line.done())["status"] == "completed"
        caught.texts.append(json.dumps(line.events))
    assert not [text for text in caught.texts if CANARY in text]


@pytest.mark.parametrize("streamed_too", [False, True])
async def test_an_error_inside_a_choice_asks_the_fallback(stack: Stack, streamed_too: bool) -> None:
    """Before the first text nobody has heard anything, so the next vendor answers."""
    failing = {"choices": [{"index": 0, "finish_reason": "error", "error": {"message": CANARY, "code": 502}}]}
    well = {"choices": [{"index": 0, "message": {"content": "Well."}, "delta": {"content": "Well."}}]}

    def answer(value: Any) -> bytes:
        return streamed(sse(value)) if streamed_too else reply(orjson.dumps(value))

    async with RawServer(answer(failing)) as first, RawServer(answer(well)) as second:
        fallback = SECTION.format(key=CANARY, url=second.url).replace("  ", "      ")
        fallback = fallback.replace("      ", "    - ", 1)
        text = f"name: Sales\nllm:\n{SECTION.format(key=CANARY, url=first.url)}  fallback:\n{fallback}"
        stack.write("sales.yaml", text, sealed=True)
        await stack.sync()
        told = await _raw(stack, "/v1/chat/completions", {"model": "sales", "stream": streamed_too, **CHAT})
    assert "Well." in told
    assert CANARY not in told
    assert len(second.requests) == 1


async def test_an_error_after_the_first_text_is_the_last_frame(stack: Stack) -> None:
    """Without ``[DONE]``: no client takes half an answer for a whole one."""
    half = {"choices": [{"index": 0, "delta": {"content": "Half"}}]}
    failing = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": CANARY}}]}
    async with RawServer(streamed(sse(half, failing))) as server:
        stack.write("sales.yaml", vendor_manifest(server.url), sealed=True)
        await stack.sync()
        told = await _raw(stack, "/v1/chat/completions", {"model": "sales", "stream": True, **CHAT})
    last = told.rstrip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] == "provider_unavailable"
    assert "Half" in told
    assert "[DONE]" not in told
    assert CANARY not in told


async def test_a_key_in_the_answer_itself_is_masked(stack: Stack) -> None:
    """Cut into pieces too: a model that was given its own key in an error page repeats it."""
    words = [{"choices": [{"index": 0, "delta": {"content": CANARY[at : at + 5]}}]} for at in range(0, 40, 5)]
    async with RawServer(streamed(sse(*words))) as server:
        stack.write("sales.yaml", vendor_manifest(server.url), sealed=True)
        await stack.sync()
        async with call(stack, "sales") as line:
            await line.write("Hi.")
            response = await line.done()
            told = line.text(response["id"])
    assert told == f"{CANARY[:7]}**********"
