"""``sync --wait``: done means live everywhere."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from agentsd.control.convergence import NotConverged, wait_for_replicas
from agentsd.store.database import Database
from agentsd.store.replicas import Replica, beat


async def serve(database: Database, replica: Replica) -> None:
    async with database.transaction() as connection:
        await beat(connection, replica)


async def test_it_waits_for_the_last_replica(database: Database) -> None:
    """And tells how many are there."""
    first, second = (Replica(uuid4(), f"host{n}", n, version=5) for n in (1, 2))
    await serve(database, first)
    behind = Replica(second.id, second.host, second.pid, version=4)
    await serve(database, behind)
    seen: list[tuple[int, int]] = []
    told = asyncio.Event()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        told.set()

    waiting = asyncio.create_task(wait_for_replicas(database, 5, 30, progress))
    await told.wait()
    assert not waiting.done()
    await serve(database, second)
    await waiting
    assert (seen[0], seen[-1]) == ((1, 2), (2, 2))


async def test_who_is_behind_is_named(database: Database) -> None:
    """Applied, but not live everywhere: an error with the replica's name."""
    await serve(database, Replica(uuid4(), "slow-host", 7, version=4))
    with pytest.raises(NotConverged, match="slow-host:7 at 4"):
        await wait_for_replicas(database, 5, 0)


async def test_nobody_to_wait_for(database: Database) -> None:
    """Nobody serves: done."""
    await wait_for_replicas(database, 5, 0)
