"""Chat with knowledge: answers out of documents, with citations, and without a restart when those change."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsd.runtime.follower.knowledge import KnowledgeIndexer, StoreKnowledge
from agentsd.store.queries import knowledge as stored
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack, echo, vendor_manifest

FAQ = "# Shipping\nAnvils go by sea.\n\n# Returns\nAn anvil may be returned within {days} days.\n"
PARTS = 1000  # passages of a long document
QUESTION = {"role": "user", "content": "Within how many days may I return it?"}


async def _ask(stack: Stack, model: str = "sales", **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [QUESTION], **more}
    status, reply = await stack.ask("POST", "/v1/chat/completions", json=body)
    assert status == 200, reply
    return dict(reply)


def _seen(vendor: OpenAIServer) -> str:
    """All messages of the last request that the model got."""
    messages = [r for r in vendor.requests if r.path.endswith("completions")][-1].body["messages"]
    return "\n".join(message["content"] for message in messages)


async def _with_faq(stack: Stack, vendor: OpenAIServer, more: str = "") -> None:
    if not (stack.root / "faq.md").exists():
        stack.write("faq.md", FAQ.format(days="thirty"))
    manifest = vendor_manifest(vendor.url) + "rag:\n  sources: [faq.md]\n  top_k: 1\n" + more
    stack.write("sales.yaml", manifest, sealed=True)
    stack.write("plain.yaml", echo("plain"))
    await stack.sync()


async def test_an_answer_comes_out_of_a_document_with_its_citation(
    stack: Stack, vendor: OpenAIServer
) -> None:
    """The model is given the passage before the question; the reply says where it stands."""
    await _with_faq(stack, vendor)
    reply = await _ask(stack)
    assert _seen(vendor).startswith("You are terse.")
    assert "[1] faq.md › Returns" in _seen(vendor)
    assert "within thirty days" in _seen(vendor)
    (citation,) = reply["citations"]
    assert (citation["number"], citation["source"], citation["heading"]) == (1, "faq.md", "Returns")


async def test_a_question_is_searched_with_what_it_refers_to(stack: Stack, vendor: OpenAIServer) -> None:
    """By itself it shares no word with any passage; the question before it does."""
    await _with_faq(stack, vendor)
    history = [
        {"role": "user", "content": "Tell me about returns"},
        {"role": "assistant", "content": "Gladly."},
        {"role": "user", "content": "how long?"},
    ]
    assert "citations" not in await _ask(stack, messages=history[2:])
    reply = await _ask(stack, messages=history)
    assert [one["heading"] for one in reply["citations"]] == ["Returns"]
    messages = vendor.last.body["messages"]
    assert [one["content"] for one in messages[1:3]] == ["Tell me about returns", "Gladly."]


async def test_editing_the_document_changes_the_answer(stack: Stack, vendor: OpenAIServer) -> None:
    """The manifest is untouched and nothing restarts."""
    await _with_faq(stack, vendor)
    await _ask(stack)
    stack.write("faq.md", FAQ.format(days="ninety"))
    await stack.sync()
    await _ask(stack)
    assert "within ninety days" in _seen(vendor)
    assert "thirty" not in _seen(vendor)


async def test_a_stream_carries_its_citations_in_the_first_chunk(stack: Stack, vendor: OpenAIServer) -> None:
    """Once, so that a client can show the sources while the answer comes."""
    await _with_faq(stack, vendor)
    body = {"model": "sales", "messages": [QUESTION], "stream": True}
    async with stack.client.post(f"{stack.url}/v1/chat/completions", json=body) as reply:
        lines = [line[6:] async for line in reply.content if line.startswith(b"data: {")]
    chunks = [json.loads(line) for line in lines]
    assert [bool(chunk.get("citations")) for chunk in chunks] == [True, *[False] * (len(chunks) - 1)]


async def test_agents_without_knowledge_never_touch_it(stack: Stack, vendor: OpenAIServer) -> None:
    """No citations, no passages."""
    await _with_faq(stack, vendor)
    assert "citations" not in await _ask(stack, "plain")


async def test_retrieval_that_is_down_degrades_the_answer(stack: Stack, vendor: OpenAIServer) -> None:
    """With Postgres away the model answers without passages, and the chat does not fail."""
    await _with_faq(stack, vendor)
    await stack.database.aclose()
    reply = await _ask(stack)
    assert "citations" not in reply
    assert reply["choices"]


async def test_passages_are_embedded_once_and_found_by_meaning(stack: Stack, vendor: OpenAIServer) -> None:
    """A worker embeds what is new; an unchanged source costs no further call; questions use the vectors."""
    async with stack.database.transaction() as conn:
        if not await stored.has_vectors(conn):
            pytest.skip("this Postgres has no pgvector")
    section = f"embedding:\n  provider: openai-compatible\n  model: e\n  api_url: {vendor.url}\n"
    found = StoreKnowledge(stack.database)
    worker = asyncio.create_task(KnowledgeIndexer(stack.database, stack.registry, found, retry_s=0.05).run())
    try:
        stack.write("faq.md", "".join(f"# Part {number}\nIt costs {number}.\n" for number in range(PARTS)))
        await _with_faq(stack, vendor, section)
        async with asyncio.timeout(30):
            while await _vectors(stack) < PARTS:
                await asyncio.sleep(0.02)
        calls = _calls(vendor)
        assert calls == math.ceil(PARTS / stored.EMBED_BATCH)
        stack.write("plain.yaml", echo("renamed"))
        await stack.sync()
        await asyncio.sleep(0.2)  # several rounds of the worker
        assert _calls(vendor) == calls
        await _ask(stack)
        assert _calls(vendor) == calls + 1
    finally:
        worker.cancel()
        await asyncio.wait({worker})


def _calls(vendor: OpenAIServer) -> int:
    """How often vectors were asked for."""
    return sum(request.path.endswith("/embeddings") for request in vendor.requests)


async def _vectors(stack: Stack) -> int:
    async with stack.database.transaction(snapshot=True) as conn:
        row = await (await conn.execute("SELECT count(*) FROM knowledge_vectors")).fetchone()
    return int(row[0]) if row else 0


EMBEDDING = "embedding:\n  provider: openai-compatible\n  model: e\n  api_url: {url}\n"
KNOWING = "name: {name}\nllm:\n  provider: echo.local\n  reply: hi\nrag:\n  sources: [faq.md]\n"


def _knowing(stack: Stack, owner: str, url: str) -> None:
    """An agent with the same document and model name as every other one of these."""
    stack.write(f"{owner}/faq.md", FAQ.format(days="ten"))
    stack.write(f"{owner}/a.yaml", KNOWING.format(name=owner) + EMBEDDING.format(url=url))


async def _spaces(stack: Stack) -> dict[str, int]:
    """How many vectors each space has."""
    async with stack.database.transaction(snapshot=True) as conn:
        return dict((await stored.load_knowledge_stats(conn)).spaces)


async def _needs_vectors(stack: Stack) -> None:
    async with stack.database.transaction() as conn:
        if not await stored.has_vectors(conn):
            pytest.skip("this Postgres has no pgvector")


async def test_vectors_belong_to_an_owner_and_to_a_server(stack: Stack, vendor: OpenAIServer) -> None:
    """One document, one model's name: each owner has its own server embed it, and no URL shows."""
    await _needs_vectors(stack)
    async with OpenAIServer() as other:
        _knowing(stack, "acme", vendor.url)
        _knowing(stack, "beta", other.url)
        _knowing(stack, "gamma", other.url)
        worker = asyncio.create_task(
            KnowledgeIndexer(
                stack.database, stack.registry, StoreKnowledge(stack.database), retry_s=0.05
            ).run()
        )
        try:
            await stack.sync()
            async with asyncio.timeout(30):
                while len(await _spaces(stack)) < 3:
                    await asyncio.sleep(0.02)
        finally:
            worker.cancel()
            await asyncio.wait({worker})
        spaces = await _spaces(stack)
        assert sorted(space.partition("#")[0] for space in spaces) == [
            f"{owner}/openai-compatible" for owner in ("acme", "beta", "gamma")
        ]
        assert not any("127.0.0.1" in space for space in spaces)
        assert (_calls(vendor), _calls(other)) == (1, 2)


async def test_a_silent_embedder_holds_up_its_own_owner_only(stack: Stack, vendor: OpenAIServer) -> None:
    """The others' passages are embedded while one vendor never answers."""
    await _needs_vectors(stack)
    async with OpenAIServer(fault=Fault.STALL) as silent:
        _knowing(stack, "acme", silent.url)
        _knowing(stack, "beta", vendor.url)
        indexer = KnowledgeIndexer(
            stack.database, stack.registry, StoreKnowledge(stack.database), retry_s=0.05, batch_s=3600
        )
        worker = asyncio.create_task(indexer.run())
        try:
            await stack.sync()
            async with asyncio.timeout(30):
                while not await _vectors(stack):
                    await asyncio.sleep(0.02)
            assert {space.partition("/")[0] for space in await _spaces(stack)} == {"beta"}
        finally:
            worker.cancel()
            await asyncio.wait({worker})


@pytest.mark.parametrize("answer", [b'{"data": [{"index": 0, "embedding": [' + b"9" * 400 + b"]}]}", b"{}"])
async def test_one_vendor_ends_nobody_elses_indexing(
    stack: Stack, vendor: OpenAIServer, answer: bytes
) -> None:
    """A vendor of one agent answers what no float or date holds; the passages of the next are embedded."""
    async with stack.database.transaction() as conn:
        if not await stored.has_vectors(conn):
            pytest.skip("this Postgres has no pgvector")

    async def odd(request: web.Request) -> web.Response:
        late = {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT", "Content-Type": "application/json"}
        return web.Response(body=answer, status=429 if answer == b"{}" else 200, headers=late)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", odd)
    section = "embedding:\n  provider: openai-compatible\n  model: {}\n  api_url: {}\n"
    async with TestServer(app) as server:
        stack.write("faq.md", FAQ.format(days="thirty"))
        rag = "rag:\n  sources: [faq.md]\n"
        stack.write("a.yaml", echo("a") + rag + section.format("odd", str(server.make_url("")).rstrip("/")))
        stack.write("b.yaml", echo("b") + rag + section.format("good", vendor.url))
        await stack.sync()
        found = StoreKnowledge(stack.database)
        worker = asyncio.create_task(
            KnowledgeIndexer(stack.database, stack.registry, found, retry_s=0.05).run()
        )
        try:
            async with asyncio.timeout(30):
                while not await _vectors(stack):
                    await asyncio.sleep(0.02)
            assert not worker.done()
        finally:
            worker.cancel()
            await asyncio.wait({worker})
