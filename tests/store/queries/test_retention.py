"""Old revisions go; the newest stay, and so does every document that something still names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.control.sync import retention
from agentsd.control.sync.reconciler import Reconciler
from agentsd.core.manifest.agent import StoredAgent
from agentsd.store.database import Database
from agentsd.store.queries import retention as batches
from agentsd.store.queries.agents import load_all, load_revisions
from tests.control.place import Place, echo, make_checker


@pytest.fixture
async def place(tmp_path: Path, database: Database) -> Place:
    """Thirty versions of one agent with a prompt of its own, one of another."""
    root = tmp_path / "agents.d"
    root.mkdir()
    one = Place(root, database, Reconciler(make_checker(None), database))
    await one.sync({"b.yaml": echo(2)})
    for number in range(30):
        prompt = {"a.md": f"Prompt {number}.\n"}
        await one.sync({"a.yaml": echo(1, reply=f"r{number}", extra="system_prompt_file: a.md\n"), **prompt})
    return one


async def count(place: Place, table: str) -> int:
    async with place.database.transaction(snapshot=True) as connection:
        cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())  # noqa: S608
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def agent(place: Place, slug: str) -> StoredAgent:
    return next(row for row in (await place.stored()).agents.values() if row.slug == slug)


async def test_the_oldest_go(place: Place) -> None:
    """Of the agents that changed; their documents with the next whole pass; the rest is as it was."""
    known = await agent(place, "a")
    assert await retention.prune_history(place.database, 20, [(await agent(place, "b")).id]) == 0
    assert await retention.prune_history(place.database, 20, [known.id]) == 10
    async with place.database.transaction(snapshot=True) as connection:
        left = await load_revisions(connection, known.id, limit=100)
    assert [one.version for one in left] == list(range(31, 11, -1))
    assert left[0].prompt == b"Prompt 29.\n"
    assert await count(place, "documents") == 61
    assert await retention.prune_history(place.database, 20) == 0
    assert await count(place, "documents") == 41
    async with place.database.transaction(snapshot=True) as connection:
        assert {row.slug for row in (await load_all(connection)).rows} == {"a", "b"}
        assert all(one.prompt and one.data for one in await load_revisions(connection, known.id, limit=100))
    place.reconciler.forget()
    assert (await place.sync()).plan.empty


async def test_in_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many go, each statement removes a bounded number; one is always left."""
    monkeypatch.setattr(batches, "PRUNE_BATCH", 4)
    monkeypatch.setattr(retention, "PRUNE_BATCH", 4)
    assert await retention.prune_history(place.database, 0) == 29
    assert await count(place, "agent_revisions") == 2
    assert await count(place, "documents") == 3
