"""The order of an apply, against Postgres' own unique indexes: any state follows from any other."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.core.manifest.agent import Manifest
from agentsd.core.manifest.user import User
from agentsd.core.names import derive_user_id
from agentsd.core.plan.plan import DesiredState, Plan, make_plan
from agentsd.store.database import Database
from agentsd.store.queries.agents import load_all, load_changed, load_revisions
from tests.store.sample import CHECKED, manifest, stored, write

IDS = [UUID(int=number, version=4) for number in range(1, 7)]
EMPTY = b"""
SET session_replication_role = replica;
DELETE FROM agents; DELETE FROM users; DELETE FROM agent_revisions;
DELETE FROM documents; DELETE FROM seals; DELETE FROM versions;
"""
"""Without regard to foreign keys; truncating would make forty files each time."""
PATHS = ["a.yaml", "b.yaml", "c.yaml", "x/a.yaml", "x/b.yaml", "y/a.yaml", "y/b.yaml"]


@st.composite
def states(draw: st.DrawFn) -> DesiredState:
    """Some of six agents, each at some path, at most one default per owner, some edits."""
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    paths = draw(st.permutations(PATHS))
    manifests: dict[UUID, Manifest] = {}
    taken: set[str] = set()
    for agent_id, path in zip(ids, paths, strict=False):
        plain = manifest(path, id=agent_id)
        default = draw(st.booleans()) and plain.owner not in taken
        if default:
            taken.add(plain.owner)
        prompt = draw(st.sampled_from(["one", "two"]))
        manifests[agent_id] = manifest(path, id=agent_id, default=default, prompt=prompt)
    owners = {m.owner for m in manifests.values()}
    return DesiredState(
        manifests, {name: User(derive_user_id(name), name) for name in owners}, checked=CHECKED
    )


def test_any_state_follows_from_any_other(database_url: str) -> None:
    """Swapped slugs, moved defaults, renames across owners, deletions and returns: never a collision, and
    afterwards the store says exactly what was desired, under one new version, with one revision a change."""
    database = Database(database_url)
    with asyncio.Runner() as runner, psycopg.connect(database_url, autocommit=True) as connection:

        @settings(max_examples=60, deadline=None)
        @given(history=st.lists(states(), min_size=2, max_size=4))
        def follow(history: list[DesiredState]) -> None:
            connection.execute(EMPTY)
            runner.run(_walk(database, history))

        follow()
        runner.run(database.aclose())


async def _walk(database: Database, history: list[DesiredState]) -> None:
    for desired in history:
        await _step(database, desired)


async def _step(database: Database, desired: DesiredState) -> None:
    before = await stored(database)
    todo = make_plan(desired, before, source="main")
    if not todo.empty:
        at = await write(database, todo)
        assert at.version == before.version + 1
    after = await stored(database)
    assert {
        row.id: (row.slug, row.owner, row.path, row.digest, row.is_default) for row in after.agents.values()
    } == {m.id: (m.slug, m.owner, m.path, m.digest, m.default) for m in desired.manifests.values()}
    assert set(after.users) == set(desired.users)
    assert not any(row.drifted for row in after.agents.values())
    assert make_plan(desired, after, source="main").empty
    await _history_agrees(database, todo, before.version, after.version)


async def _history_agrees(database: Database, todo: Plan, since: int, now: int) -> None:
    """Exactly the changed agents carry the new version and got a revision; deleted ones are tombstones."""
    async with database.transaction(snapshot=True) as connection:
        changed = await load_changed(connection, since)
        live = await load_all(connection)
        newest = {c.id: (await load_revisions(connection, c.id, limit=1))[0] for c in todo.changes}
    assert {row.id: row.deleted for row in changed.rows} == {
        c.id: c.operation == "delete" for c in todo.changes
    }
    assert {row.version for row in changed.rows} <= {now}
    assert {id_: (r.version, r.operation) for id_, r in newest.items()} == {
        c.id: (now, c.operation) for c in todo.changes
    }
    assert all(not row.deleted and row.data for row in live.rows)
