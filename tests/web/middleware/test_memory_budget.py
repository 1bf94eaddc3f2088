"""What clients' requests and calls may hold in memory: bounded for each owner, given back at their end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentsd.web.http.problem import Problem
from agentsd.web.middleware.memory_budget import MIB, MemoryBudget
from agentsd.web.middleware.policies import Policies
from agentsd.web.openai.upload import FIELDS_MAX
from tests.services.speech import silence
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Make, Stack, echo, vendor_manifest
from tests.web.sockets import Raw
from tests.web.voices import Line, call

LARGE = 7 * MIB
"""Of a reply that fits no buffer of a socket."""


def test_owners_have_budgets_of_their_own() -> None:
    """One that has used up its own hinders no other; all together have a bound, too."""
    budget = MemoryBudget(per_owner=100, total=150)
    one, other = budget.hold("acme"), budget.hold("beta")
    one.grow(100)
    with pytest.raises(Problem) as caught:
        one.grow(1)
    assert (caught.value.status, caught.value.code) == (429, "memory_limit")
    other.grow(50)
    with pytest.raises(Problem):
        other.grow(1)
    one.set(0)
    other.grow(50)
    assert budget.held == 100
    with pytest.raises(Problem):
        other.grow(1)
    one.grow(50)


@pytest.fixture
async def narrow(make: Make, vendor: OpenAIServer) -> Stack:
    """A replica with little memory, an agent that repeats what it hears, and one that talks too much."""
    stack = await make(guards=Policies(memory=MemoryBudget(per_owner=20 * MIB, total=40 * MIB)))
    vendor.words = ["x" * LARGE]
    stack.write("echo-it.yaml", echo("It"))
    stack.write("talker.yaml", vendor_manifest(vendor.url), sealed=True)
    await stack.sync()
    return stack


def budget_of(stack: Stack) -> MemoryBudget:
    """What the server counts."""
    from agentsd.web.context import APP_CONTEXT

    memory: MemoryBudget = stack.running._runner.app[APP_CONTEXT].guards.memory
    return memory


async def until_held(stack: Stack, least: int, most: int) -> None:
    """Wait until the server holds that much; fails by timing out."""
    async with asyncio.timeout(10):
        while not least <= budget_of(stack).held <= most:
            await asyncio.sleep(0.01)


async def chat(stack: Stack, model: str, **extra: Any) -> tuple[int, Any]:
    """A chat completion: its status and JSON."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **extra}
    headers = {"Content-Type": "application/json"}
    data = BytesIO(json.dumps(body).encode())
    return await stack.ask("POST", "/v1/chat/completions", data=data, headers=headers)


@asynccontextmanager
async def deaf(stack: Stack) -> AsyncIterator[Raw]:
    """A client that asks for a chat completion and does not read it."""
    where = urlsplit(stack.url)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, (where.hostname, where.port))
    reader, writer = await asyncio.open_connection(sock=one, limit=1 << 10)
    body = json.dumps({"model": "talker", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    raw = Raw(reader, writer)
    try:
        await raw.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield raw
    finally:
        writer.transport.abort()


async def test_replies_that_nobody_reads_are_bounded(narrow: Stack) -> None:
    """The third is refused by name, small requests go on, and what is cut off is given back."""
    async with deaf(narrow), deaf(narrow):
        await until_held(narrow, 2 * LARGE, 3 * LARGE)
        status, refused = await chat(narrow, "talker")
        assert (status, refused["error"]["code"]) == (429, "memory_limit")
        status, _ = await chat(narrow, "echo-it")
        assert status == 200
    await until_held(narrow, 0, 0)


async def test_a_large_reply_arrives_whole(narrow: Stack, vendor: OpenAIServer) -> None:
    """Counted or not, what is read is what was made."""
    vendor.words = [f"{number} " for number in range(300_000)]
    status, reply = await chat(narrow, "talker")
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == "".join(vendor.words)
    await until_held(narrow, 0, 0)


async def test_values_count_more_than_their_text(narrow: Stack) -> None:
    """A body of a million empty lists is refused: each costs many times its text."""
    status, refused = await chat(narrow, "echo-it", x=[[]] * (1 << 20))
    assert (status, refused["error"]["code"]) == (429, "memory_limit")
    await until_held(narrow, 0, 0)


async def test_uploads_are_bounded_together(narrow: Stack) -> None:
    """A recording is counted twice, since it is decoded; other agents' owners have their own budget."""
    headers = {"Content-Type": "audio/pcm;rate=16000"}
    status, refused = await narrow.ask(
        "POST", "/v1/audio/transcriptions?model=echo-it", data=BytesIO(bytes(11 * MIB)), headers=headers
    )
    assert (status, refused["error"]["code"]) == (429, "memory_limit")
    await until_held(narrow, 0, 0)


async def test_a_form_of_many_equal_fields_is_refused(narrow: Stack) -> None:
    """Every part counts, whatever its name."""
    part = '--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n'
    data = part * (FIELDS_MAX + 1) + "--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    status, refused = await narrow.ask("POST", "/v1/audio/transcriptions", data=data, headers=headers)
    assert (status, refused["error"]["type"]) == (400, "invalid_request_error")


async def create(line: Line, size: int, id: str) -> None:
    """An item with so much text."""
    item = {"type": "message", "role": "user", "id": id, "content": [{"type": "input_text", "text": "x"}]}
    parts = [{"type": "input_text", "text": "x" * (size // 5)}] * 5
    await line.send("conversation.item.create", item={**item, "content": parts})


async def test_the_texts_of_a_call_are_bounded(narrow: Stack) -> None:
    """What does not fit is refused by name; what is deleted makes room."""
    async with call(narrow, "echo-it") as line:
        for number in range(4):
            await create(line, 900_000, f"item{number}")
        error = (await line.until("error"))["error"]
        assert (error["code"], error["param"]) == ("conversation_too_large", "item")
        await line.until("error")
        await line.send("conversation.item.delete", item_id="item0")
        await create(line, 900_000, "item4")
        await line.until("conversation.item.done", previous_item_id="item1")
        await until_held(narrow, 1_800_000, 2 * MIB)
    await until_held(narrow, 0, 0)


async def test_events_that_nobody_reads_are_bounded(narrow: Stack) -> None:
    """The client's own events wait meanwhile; when it reads, none is missing."""
    async with call(narrow, "echo-it") as line:
        await create(line, 900_000, "item0")
        await line.until("conversation.item.done")
        for _ in range(60):  # 54 MB of replies
            await line.send("conversation.item.retrieve", item_id="item0")
            assert budget_of(narrow).held < 8 * MIB
        await asyncio.sleep(0.1)
        assert budget_of(narrow).held < 8 * MIB
        for _ in range(60):
            await line.until("conversation.item.retrieved")


async def test_a_long_silence_holds_nothing(narrow: Stack) -> None:
    """Half a minute in which nobody speaks is heard, and forgotten."""
    async with call(narrow, "echo-it") as line:
        for _ in range(10):
            await line.append(silence(3))
        await line.send("input_audio_buffer.clear")
        await line.until("input_audio_buffer.cleared")
        assert budget_of(narrow).held < 2_000


async def test_a_call_of_an_owner_without_memory_is_told(narrow: Stack) -> None:
    """Large events are refused by name while others hold the budget; small ones are not."""
    async with call(narrow, "echo-it") as line:
        with budget_of(narrow).hold("default") as hold:
            hold.set(21 * MIB)
            await create(line, 900_000, "item0")
            assert (await line.until("error"))["error"]["code"] == "memory_limit"
            await line.send("response.cancel")
            assert (await line.until("error"))["error"]["code"] == "response_cancel_not_active"
        await create(line, 900_000, "item0")
        await line.until("conversation.item.done")
