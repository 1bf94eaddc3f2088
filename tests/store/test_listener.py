"""The listener: hints while Postgres is there, and a way back when it was not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from agentsd.core.backoff import Backoff
from agentsd.core.errors import StoreUnavailable
from agentsd.store.database import Database
from agentsd.store.listener import VERSIONS_CHANNEL, Listener, Notification, notify_listeners
from agentsd.store.queries.agents import Head
from tests.store.sample import change, manifest, plan_of, write


async def following(listener: Listener, seen: asyncio.Queue[Notification]) -> None:
    """Put every hint into a queue."""
    async for hint in listener:
        seen.put_nowait(hint)


async def announce_and_fail(database: Database, head: Head) -> None:
    """A transaction that announces and is rolled back."""
    async with database.transaction() as connection:
        await notify_listeners(connection, head)
        raise ZeroDivisionError


@pytest.fixture
async def hints(database: Database) -> AsyncIterator[asyncio.Queue[Notification]]:
    """The hints of a listener that is connected already."""
    seen: asyncio.Queue[Notification] = asyncio.Queue()
    listener = Listener(database.listener_dsn, heartbeat_seconds=0.5, backoff=Backoff(0.01))
    task = asyncio.create_task(following(listener, seen))
    assert (await seen.get()).kind == "connected"
    yield seen
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_apply_is_announced_with_its_head(
    database: Database, hints: asyncio.Queue[Notification]
) -> None:
    """After the commit, and only then."""
    at = await write(database, plan_of([change("create", manifest("a.yaml"))]))
    hint = await hints.get()
    assert (hint.kind, hint.head, hint.version) == ("changed", at, at.version)
    with pytest.raises(ZeroDivisionError):
        await announce_and_fail(database, at)
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_notify(%s, 'something else')", (VERSIONS_CHANNEL,))
    hint = await hints.get()
    assert (hint.kind, hint.head) == ("changed", None)


async def test_a_cut_connection_comes_back(
    database: Database, database_url: str, hints: asyncio.Queue[Notification]
) -> None:
    """``lost`` with a reason, then ``connected``: the reader loads again and has missed nothing."""
    for _ in range(3):
        with psycopg.connect(database_url, autocommit=True) as other:
            # In one statement: the next connection of the listener, whose first query is the same, must live.
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND (query LIKE 'LISTEN%' OR query = 'SELECT 1') AND pid <> pg_backend_pid()"
            )
        lost = await hints.get()
        assert lost.kind == "lost"
        assert isinstance(lost.error, StoreUnavailable)
        assert (await hints.get()).kind == "connected"
    at = await write(database, plan_of([change("create", manifest("a.yaml"))]))
    assert (await hints.get()).head == at


async def test_a_server_that_is_down_is_tried_again_and_again() -> None:
    """Each attempt is one ``lost``; the loop ends only by cancellation."""
    seen: asyncio.Queue[Notification] = asyncio.Queue()
    listener = Listener("postgresql://x:canary@127.0.0.1:1/db", backoff=Backoff(0.001, 0.01))
    task = asyncio.create_task(following(listener, seen))
    for _ in range(4):
        hint = await seen.get()
        assert (hint.kind, hint.head) == ("lost", None)
        assert "canary" not in str(hint.error)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert listener.contact is None


async def test_closing_the_iterator_closes_the_connection(database: Database, database_url: str) -> None:
    """No connection is left behind on the server."""
    async with asyncio.timeout(10):
        hints = Listener(database.listener_dsn).hints()
        assert (await anext(hints)).kind == "connected"
        await hints.aclose()
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            while True:
                cursor = await other.execute(
                    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
                if await cursor.fetchone() is None:
                    return
                await asyncio.sleep(0.01)
