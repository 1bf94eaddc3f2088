"""Usage: what was asked of whose agents, by whom, at which price; each owner sees its own."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from agentsd.web.middleware.auth import AccessPolicy
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Make, Stack
from tests.web.people import ADMIN, ALICE, GUS, User, settle

PRICE = "  price: {input: 1000, output: 2000}\n"


async def chat(stack: Stack, user: User, slug: str, *, stream: bool = False) -> None:
    """One turn."""
    body = {"model": slug, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    url = stack.url + "/v1/chat/completions"
    async with stack.client.post(url, json=body, headers=user.headers) as reply:
        assert reply.status == 200
        assert (b'"usage"' in await reply.read()) is not stream


@pytest.fixture
async def paid(make: Make, vendor: OpenAIServer) -> Stack:
    """Two owners with an agent each; that of acme has a price."""
    stack = await make(access=AccessPolicy())
    await settle(stack)
    llm = f"llm:\n  provider: openai-compatible\n  model: m\n  api_url: {vendor.url}\n"
    stack.write("acme/paid.yaml", f"name: Paid\n{llm}{PRICE}")
    stack.write("globex/free.yaml", f"name: Free\n{llm}")
    await stack.sync()
    return stack


async def test_owners_see_theirs_and_admins_all(paid: Stack, vendor: OpenAIServer) -> None:
    """Tokens as the vendor counted them, streamed or not, asked for or not."""
    await chat(paid, ALICE, "acme/paid")
    await chat(paid, ALICE, "acme/paid", stream=True)
    await chat(paid, ADMIN, "acme/paid")
    await chat(paid, GUS, "globex/free")
    await paid.ledger.flush()
    _, all_ = await paid.get("/api/usage?by=owner,agent", headers=ADMIN.headers)
    assert {one["agent"]: (one["turns"], one["unpriced"]) for one in all_["items"]} == {
        "acme/paid": (3, 0),
        "globex/free": (1, 1),
    }
    usage = (1, 4)  # of each answer, as the vendor counts
    assert all_["total"]["tokens_in"] == 4 * usage[0]
    assert all_["total"]["tokens_out"] == 4 * usage[1]
    _, own = await paid.get("/api/usage?by=token", headers=ALICE.headers)
    assert {one["token"]: one["turns"] for one in own["items"]} == {"acme/editor": 2, "of another owner": 1}
    assert own["total"]["cost"] == pytest.approx(3 * (usage[0] * 1000 + usage[1] * 2000) / 1e6)
    _, foreign = await paid.get("/api/usage?owner=acme", headers=GUS.headers)
    assert (foreign["items"], foreign["total"]["turns"]) == ([], 0)
    _, theirs = await paid.get("/api/usage?by=agent", headers=GUS.headers)
    assert [one["agent"] for one in theirs["items"]] == ["globex/free"]


async def test_the_table_for_spreadsheets(paid: Stack) -> None:
    """The same rows, with a head; a bad query is refused by name."""
    await chat(paid, ALICE, "acme/paid")
    await paid.ledger.flush()
    url = paid.url + "/api/usage?by=agent,provider,day&format=csv"
    async with paid.client.get(url, headers=ALICE.headers) as reply:
        assert reply.content_type == "text/csv"
        (row,) = csv.DictReader(io.StringIO(await reply.text()))
    today = datetime.now(UTC).date().isoformat()
    assert (row["agent"], row["provider"], row["day"], row["turns"]) == (
        "acme/paid",
        "openai-compatible",
        today,
        "1",
    )
    for query, param in (
        ("by=nobody", "by"),
        ("by=agent,agent", "by"),
        ("from=today", "from"),
        ("days=3", "days"),
    ):
        status, problem = await paid.get(f"/api/usage?{query}", headers=ALICE.headers)
        assert (status, problem["param"]) == (400, param)


async def test_every_channel_is_counted(paid: Stack, vendor: OpenAIServer) -> None:
    """Speech by characters, transcription by seconds, embeddings by tokens."""
    at = f"api_url: {vendor.url}, model: m"
    paid.write(
        "acme/all.yaml",
        f"llm: {{provider: echo.local}}\n"
        f"tts: {{provider: openai-compatible, {at}, voice: v, price: {{characters: 10}}}}\n"
        f"stt: {{provider: openai-compatible, {at}, price: {{minutes: 6}}}}\n"
        f"embedding: {{provider: openai-compatible, {at}, price: {{input: 5}}}}\n",
    )
    await paid.sync()
    headers = ALICE.headers
    speech = {"model": "acme/all", "input": "Good morning.", "response_format": "wav"}
    async with paid.client.post(paid.url + "/v1/audio/speech", json=speech, headers=headers) as reply:
        assert reply.status == 200
        await reply.read()
    sound = {"Content-Type": "audio/pcm;rate=16000;channels=1", **headers}
    url = paid.url + "/v1/audio/transcriptions?model=acme/all"
    async with paid.client.post(url, data=b"\0\1" * 32_000, headers=sound) as reply:
        assert (await reply.json())["usage"] == {"type": "duration", "seconds": 2.0}
    text = {"model": "acme/all", "input": ["one", "two"]}
    async with paid.client.post(paid.url + "/v1/embeddings", json=text, headers=headers) as reply:
        tokens = (await reply.json())["usage"]["prompt_tokens"]
    await paid.ledger.flush()
    _, found = await paid.get("/api/usage?agent=acme~all", headers=headers)
    (item,) = found["items"]
    assert (item["turns"], item["requests"], item["unpriced"]) == (3, 3, 0)
    assert (item["characters"], item["tokens_in"]) == (len("Good morning."), tokens)
    assert item["seconds"] == pytest.approx(2, abs=0.1)
    assert item["cost"] == pytest.approx((13 * 10 + tokens * 5) / 1e6 + item["seconds"] / 10, rel=1e-3)
