"""Health, sync and events, with Postgres and without; the server's start and stop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psycopg
import pytest

from agentsd.core.errors import ConfigError
from agentsd.web.server.server import bind_sockets
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import CANARY, Make, Stack, echo, vendor_manifest


async def test_not_ready_before_the_first_load(make: Make) -> None:
    """Alive, but with nothing to serve yet: 503 everywhere that agents are asked for."""
    stack = await make(follow=False)
    assert await stack.get("/healthz") == (200, {"status": "ok"})
    status, body = await stack.get("/readyz")
    assert (status, body["status"], body["age_seconds"]) == (503, "loading", None)
    for path in ("/api/agents", "/api/agents/x", "/api/agents/current", "/v1/models"):
        async with stack.client.get(stack.url + path) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


@asynccontextmanager
async def postgres_away(stack: Stack) -> AsyncIterator[None]:
    """Postgres refuses this database, and cuts whoever is connected."""
    name = psycopg.conninfo.conninfo_to_dict(stack.database.url)["dbname"]
    admin = psycopg.conninfo.make_conninfo(stack.database.url, dbname="postgres")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        try:
            yield
        finally:
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_without_postgres_everything_in_memory_goes_on(stack: Stack) -> None:
    """Ready, reading and chatting; history is a 503, and /api/sync says that the store is away."""
    stack.write("support.yaml", echo("Support", default=True))
    version = await stack.sync()
    async with postgres_away(stack):
        status, body = await stack.get("/readyz")
        assert (status, body["version"], body["agents"], body["degraded"]) == (200, version, 1, 0)
        assert (await stack.get("/api/agents/support"))[0] == 200
        chat = {"messages": [{"role": "user", "content": "x"}]}
        assert (await stack.ask("POST", "/v1/chat/completions", json=chat))[0] == 200
        async with stack.client.get(f"{stack.url}/api/agents/support/revisions") as reply:
            assert (reply.status, (await reply.json(content_type=None))["code"]) == (503, "store_unavailable")
            assert "Retry-After" in reply.headers
        status, told = await stack.get("/api/sync")
        assert (status, told["store"], told["version"]) == (200, "away", version)
        assert told["runs"] is told["replicas"] is told["conditions"] is None
    assert (await stack.get("/api/agents/support/revisions"))[0] == 200


async def test_sync_tells_runs_conditions_and_replicas(stack: Stack) -> None:
    """What is in Postgres, and what this runtime knows of its own agents."""
    stack.write("support.yaml", echo("Support"))
    version = await stack.sync()
    async with asyncio.timeout(10):
        while not (told := (await stack.get("/api/sync"))[1])["replicas"]:
            await asyncio.sleep(0.02)
    assert told["store"] == "ok"
    assert told["version"] == version
    assert [replica["id"] for replica in told["replicas"]] == [str(stack.follower.replica_id)]
    assert [replica["failing_tasks"] for replica in told["replicas"]] == [[]]
    assert {"runs", "conditions", "condition_counts", "problems", "stamp", "loaded_at"} <= told.keys()


async def events(reply: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events as dicts; comments are skipped."""
    fields: dict[str, Any] = {}
    async for line in reply.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif fields:
            if "event" in fields:
                yield fields | {"data": json.loads(fields["data"])}
            fields = {}


async def test_events_tell_what_changed(stack: Stack) -> None:
    """Hello first, then every change with its version; a client that was away is told to resync."""
    async with stack.client.get(f"{stack.url}/api/events") as reply:
        assert reply.content_type == "text/event-stream"
        told = events(reply)
        hello = await anext(told)
        assert hello["event"] == "hello"
        stack.write("support.yaml", echo("Support"))
        version = await stack.sync()
        changed = await anext(told)
        while changed["event"] != "changed":
            changed = await anext(told)
        statuses = {"support": "Untested"}
        assert changed["data"] == {"version": version, "slugs": ["support"], "statuses": statuses}
    for last, expected in ((changed["id"], "hello"), (hello["id"], "resync"), ("nonsense", "resync")):
        async with stack.client.get(f"{stack.url}/api/events", headers={"Last-Event-ID": last}) as reply:
            assert (await anext(events(reply)))["event"] == expected


async def test_silence_is_filled_with_heartbeats(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment keeps the line open."""
    monkeypatch.setattr("agentsd.web.rest.events.HEARTBEAT_SECONDS", 0.02)
    async with stack.client.get(f"{stack.url}/api/events") as reply:
        lines = [line async for line in until_heartbeats(reply, 2)]
    assert lines.count(b": heartbeat\n") == 2, "the stream ended before"


async def until_heartbeats(reply: aiohttp.ClientResponse, count: int) -> AsyncIterator[bytes]:
    """The lines of a stream until so many heartbeats came, or its end."""
    async for line in reply.content:
        yield line
        count -= line.startswith(b": heartbeat")
        if not count:
            return


async def test_a_client_that_leaves_ends_its_subscription(stack: Stack) -> None:
    """No stream is left behind."""
    reply = await stack.client.get(f"{stack.url}/api/events")
    await reply.content.readline()
    assert b'agentsd_http_streams{kind="events"} 1.0' in stack.metrics.render()
    reply.close()
    async with asyncio.timeout(60):
        while b'agentsd_http_streams{kind="events"} 0.0' not in stack.metrics.render():
            await asyncio.sleep(0.01)


async def test_stopping_ends_events_and_drains_chats(stack: Stack, vendor: OpenAIServer) -> None:
    """Event streams end at once; a chat that runs is finished; nothing new is accepted."""
    vendor.words, vendor.delay = tuple("abcdefghij"), 0.02
    stack.write("sales.yaml", vendor_manifest(vendor.url), sealed=True)
    await stack.sync()
    body = {"model": "sales", "messages": [{"role": "user", "content": "x"}], "stream": True}
    watching = await stack.client.get(f"{stack.url}/api/events")
    chatting = await stack.client.post(f"{stack.url}/v1/chat/completions", json=body)
    stopping = asyncio.create_task(stack.running.stop())
    await watching.read()
    assert (await chatting.read()).endswith(b"data: [DONE]\n\n")
    await stopping
    with pytest.raises(aiohttp.ClientConnectorError):
        await stack.client.get(f"{stack.url}/healthz")


async def test_stopping_does_not_wait_for_ever(make: Make, vendor: OpenAIServer) -> None:
    """A chat that outlives the bound is cut, and the vendor's request with it."""
    stack = await make(drain=0.1)
    vendor.words, vendor.delay = tuple("abcdefghij" * 100), 0.05
    stack.write("sales.yaml", vendor_manifest(vendor.url), sealed=True)
    await stack.sync()
    body = {"model": "sales", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with stack.client.post(f"{stack.url}/v1/chat/completions", json=body) as chatting:
        await chatting.content.readline()
        await stack.running.stop()
        with pytest.raises(aiohttp.ClientError):
            await chatting.read()
    await asyncio.wait_for(vendor.last.disconnected.wait(), 60)


def test_a_port_in_use_is_told_before_anything_starts() -> None:
    """ConfigError with what to do."""
    (first,) = bind_sockets("127.0.0.1", 0)
    with first, pytest.raises(ConfigError) as caught:
        bind_sockets("127.0.0.1", first.getsockname()[1])
    assert "in use" in caught.value.message
    assert "--port" in caught.value.hint


def test_localhost_is_one_port_on_every_loopback_address() -> None:
    """IPv4 and, where there is one, IPv6."""
    sockets = bind_sockets("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
        assert sockets[0].family == socket.AF_INET
    finally:
        for one in sockets:
            one.close()


def test_an_address_of_another_machine_is_refused() -> None:
    """Neither a name nor an address that is not here."""
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(ConfigError, match="cannot bind"):
            bind_sockets(host, 0)


async def test_a_background_task_that_fails_is_shown(stack: Stack) -> None:
    """In /readyz, which stays 200, and in /metrics; by name, without the text of what it raised."""

    async def fail() -> None:
        raise ValueError(CANARY)

    assert (await stack.get("/readyz"))[1]["failing_tasks"] == []
    async with stack.supervisor.group() as tasks:
        tasks.start("index", fail)
        while not stack.supervisor.failing():
            await asyncio.sleep(0)
        status, body = await stack.get("/readyz")
        assert (status, body["failing_tasks"]) == (200, ["index"])
        async with stack.client.get(f"{stack.url}/metrics") as reply:
            text = await reply.text()
    assert 'agentsd_task_restarts_total{task="index"}' in text
    assert CANARY not in text
