"""Activity and status of an agent, from turns on a vendor: what fails, since when, and the field to edit."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from psycopg import sql

from agentsd.services.ledger.ledger import Ledger
from agentsd.services.ledger.prober import Prober
from agentsd.telemetry import Metrics
from tests.runtime.leases import NoLeases
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import CANARY, Stack, vendor_manifest

CHAT = {"model": "sales", "messages": [{"role": "user", "content": "Hello, canary of a prompt."}]}


async def chat(stack: Stack, status: int = 200, *, stream: bool = False) -> None:
    """One turn."""
    body = {**CHAT, "stream": stream}
    async with stack.client.post(stack.url + "/v1/chat/completions", json=body) as reply:
        await reply.read()
        assert reply.status == status


async def status_of(stack: Stack) -> dict[str, Any]:
    """The status on the agent's page; the list has the same."""
    _, agent = await stack.get("/api/agents/sales")
    _, page = await stack.get("/api/agents?view=summary")
    assert page["items"][0]["status"] == agent["status"]
    found: dict[str, Any] = agent["status"]
    return found


@pytest.fixture
async def sales(stack: Stack, vendor: OpenAIServer) -> Stack:
    """An agent of that vendor, with a key."""
    stack.write("sales.yaml", vendor_manifest(vendor.url), sealed=True)
    await stack.sync()
    return stack


async def test_a_vendor_that_begins_to_answer_401(sales: Stack, vendor: OpenAIServer) -> None:
    """Untested, Ready, Failing with the field to edit, Ready by the next good turn; each is an event."""
    assert (await status_of(sales))["word"] == "Untested"
    await chat(sales)
    assert (await status_of(sales))["word"] == "Ready"
    vendor.fault = Fault.UNAUTHORIZED
    with sales.registry.subscribe() as events:
        await chat(sales, 502)
        told = await asyncio.wait_for(anext(events), 5)
    assert (told.kind, told.slugs) == ("condition", ("sales",))
    found = await status_of(sales)
    assert (found["word"], found["reason"], found["field"]) == ("Failing", "wrong-key", "llm.api_key")
    assert found["message"] == "llm: openai-compatible: it does not accept the key"
    assert found["since"] is not None
    _, page = await sales.get("/api/agents?status=Failing&sort=-status")
    assert [one["slug"] for one in page["items"]] == ["sales"]
    vendor.fault = None
    await chat(sales, stream=True)
    assert (await status_of(sales))["word"] == "Ready"
    _, page = await sales.get("/api/agents?status=Failing")
    assert page["items"] == []


async def test_it_recovers_by_a_free_probe(sales: Stack, vendor: OpenAIServer) -> None:
    """The vendor is asked for its models, which costs nothing; an edit that did not help is found at once."""
    vendor.fault = Fault.UNAUTHORIZED
    await chat(sales, 502)
    await sales.ledger.write_health()
    board, soon = sales.ledger.health, timedelta(0)

    def version_of(agent: object) -> int | None:
        entry = sales.registry.snapshot.entries.get("sales")
        return entry.row.version if entry else None

    prober = Prober(
        sales.database, sales.registry, board, version_of, first=soon, longest=soon, look_seconds=0.01
    )
    asked = len(vendor.requests)
    task = asyncio.create_task(prober.run())
    while len(vendor.requests) < asked + 2:
        await asyncio.sleep(0.01)
    assert {one.path for one in vendor.requests[asked:]} == {"/v1/models"}
    assert (await status_of(sales))["word"] == "Failing"
    sales.write("sales.yaml", vendor_manifest(vendor.url, prompt="Be kind."), sealed=True)
    await sales.sync()
    for word, fault in (("Failing", None), ("Ready", None)):
        async with asyncio.timeout(10):
            while (await sales.get("/api/agents/sales"))[1]["status"]["word"] != word:
                await asyncio.sleep(0.01)
        vendor.fault = fault
    task.cancel()
    await asyncio.wait({task})
    assert not any("messages" in (one.body or {}) for one in vendor.requests[asked:])


async def test_activity_has_what_happened(sales: Stack, vendor: OpenAIServer) -> None:
    """Turns, failures by class, times, the last error and its fix, the last test: of memory and store."""
    await chat(sales)
    await chat(sales, stream=True)
    vendor.fault = Fault.RATE_LIMITED
    await chat(sales, 429)
    async with sales.client.post(sales.url + "/api/agents/sales/test") as reply:
        assert not (await reply.json())["ok"]
    seen = []
    for everything in (False, True):
        await sales.ledger.flush(everything=everything)
        for name in ("1h", "24h", "7d"):
            seen.append((await sales.get(f"/api/agents/sales/activity?range={name}"))[1])
    for found in seen:
        assert (found["turns"], found["failed"]) == (3, 1)
        assert found["failures"] == {"ProviderRateLimited": 1}
        assert found["complete"]
        assert found["first_token"]["p50_ms"] is not None
        assert found["first_sound"] == {"p50_ms": None, "p95_ms": None}
        assert sum(point["turns"] for point in found["points"]) == 3
        (error,) = found["last_errors"]
        assert (error["reason"], error["provider"]) == ("rate-limited", "openai-compatible")
        assert "llm.fallback" in error["fix"]
        assert "secret words" not in str(found)
        assert (found["last_test"]["ok"], found["status"]["word"]) == (False, "Failing")
    status, problem = await sales.get("/api/agents/sales/activity?range=2h")
    assert (status, problem["param"]) == (400, "range")


async def test_what_a_client_asks_wrongly_is_not_a_failure(sales: Stack) -> None:
    """The agent answers; it was asked for something that it does not have."""
    bad = {**CHAT, "service_tier": "flex"}
    async with sales.client.post(sales.url + "/v1/chat/completions", json=bad) as reply:
        assert reply.status == 400
    _, found = await sales.get("/api/agents/sales/activity")
    assert (found["turns"], found["failed"], found["last_errors"]) == (1, 0, [])


async def test_no_text_of_a_turn_or_a_vendor_is_kept(sales: Stack, vendor: OpenAIServer) -> None:
    """Neither in health, nor in activity, nor in usage."""
    await chat(sales)
    vendor.fault = Fault.UNAUTHORIZED
    await chat(sales, 502)
    await sales.ledger.write_health()
    await sales.ledger.flush(everything=True)
    async with sales.database.transaction() as connection:
        for table in ("agent_health", "agent_activity", "agent_usage"):
            statement = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table))
            cursor = await connection.execute(statement)
            rows = str(await cursor.fetchall())
            assert rows != "[]"
            assert not any(word in rows for word in ("canary", "secret words", CANARY, "This is a test"))


async def test_another_replica_shows_it(sales: Stack, vendor: OpenAIServer) -> None:
    """By a notification, well within five seconds."""
    other = Ledger(sales.database, NoLeases(), Metrics(), version_of=lambda _: 1)
    tasks = [asyncio.create_task(one) for one in (sales.ledger.run_health(), other.follow_health())]
    vendor.fault = Fault.UNAUTHORIZED
    await chat(sales, 502)
    agent = sales.registry.snapshot.entries["sales"].row.id
    async with asyncio.timeout(5):
        while not other.health.find(agent).failing:
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
