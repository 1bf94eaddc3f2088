"""``sync --wait``: done means live everywhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from agentsd.control.sync.convergence import NotConverged, fleet_json, wait_for_replicas
from agentsd.store.database import Database
from agentsd.store.queries.replicas import Replica, record_heartbeat, remove_replica


async def serve(database: Database, replica: Replica) -> None:
    async with database.transaction() as connection:
        await record_heartbeat(connection, replica)


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
    """Nobody serves: done. Nor is anybody waited for who was silent at the commit already: that is told."""
    assert (await wait_for_replicas(database, 5, 0)).expected == 0
    gone = Replica(uuid4(), "gone", 3, version=4)
    await serve(database, gone)
    await quiet(database, gone, 40)
    fleet = await wait_for_replicas(database, 5, 0)
    assert (fleet.expected, [str(one) for one in fleet.silent]) == (
        0,
        ["gone:3 at 4, last heard 40 s ago: killed, frozen or cut off"],
    )


async def quiet(database: Database, replica: Replica, seconds: float) -> None:
    """As if it had said nothing for so long."""
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE replicas SET seen_at = now() - make_interval(secs => %s) WHERE id = %s",
            (seconds, replica.id),
        )


async def test_who_dies_in_between_is_told(database: Database) -> None:
    """Live at the commit, and never heard of again; who served before is not missed."""
    dead, served = Replica(uuid4(), "dead", 1, version=4), Replica(uuid4(), "served", 2, version=4)
    for one in (dead, served):
        await serve(database, one)
    behind = asyncio.Event()
    waiting = asyncio.create_task(
        wait_for_replicas(database, 5, 1.5, lambda done, total: behind.set() if done else None)
    )
    await serve(database, replace(served, version=5))
    await asyncio.wait({waiting, asyncio.create_task(behind.wait())}, return_when="FIRST_COMPLETED")
    for one in (dead, served):
        await quiet(database, one, 20)
    with pytest.raises(NotConverged, match=r"dead:1 at 4, last heard 2. s ago: killed, frozen") as told:
        await waiting
    assert [one.place for one in told.value.fleet.serving] == ["served:2"]


async def test_who_says_goodbye_is_told_and_not_missed(database: Database) -> None:
    """It serves nobody any more; who comes later is not waited for either."""
    leaving = Replica(uuid4(), "leaving", 1, version=4)
    await serve(database, leaving)
    seen = asyncio.Event()
    waiting = asyncio.create_task(wait_for_replicas(database, 5, 30, lambda *_: seen.set()))
    await seen.wait()
    await serve(database, Replica(uuid4(), "late", 2, version=0))
    async with database.transaction() as connection:
        await remove_replica(connection, leaving.id)
    fleet = await waiting
    assert ([one.place for one in fleet.left], fleet.expected) == (["leaving:1"], 0)


async def test_an_agent_that_the_version_degraded(database: Database) -> None:
    """Is a failure with agent, replica and reason; one that it did not touch is not its fault."""
    ill = [
        {"slug": slug, "type": "Degraded", "reason": "SealTampered", "message": "broken"}
        for slug in ("acme/new", "acme/old")
    ]
    await serve(database, Replica(uuid4(), "host", 1, version=5, degraded=ill))
    with pytest.raises(NotConverged, match="acme/new is Degraded on host:1: SealTampered") as told:
        await wait_for_replicas(database, 5, 30, changed={"acme/new", "acme/fine"})
    assert [one.slug for one in told.value.fleet.spoiled] == ["acme/new"]
    assert fleet_json(told.value.fleet)["degraded"][0]["replica"] == "host:1"
    assert (await wait_for_replicas(database, 5, 30, changed={"acme/fine"})).expected == 1


async def test_a_large_change_is_opened_first(database: Database) -> None:
    """A replica that has not looked into all of it cannot say that nothing is wrong."""
    replica = Replica(uuid4(), "host", 1, version=5, unopened=812)
    await serve(database, replica)
    with pytest.raises(NotConverged, match="host:1 at 5 with 812 agents to open"):
        await wait_for_replicas(database, 5, 0, changed={"a"})
    assert (await wait_for_replicas(database, 5, 0)).expected == 1
    await serve(database, replace(replica, unopened=0))
    assert (await wait_for_replicas(database, 5, 0, changed={"a"})).expected == 1
