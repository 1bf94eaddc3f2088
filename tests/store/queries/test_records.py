"""Runs, conditions, replicas and the audit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg

from agentsd.store.database import Database
from agentsd.store.queries import audit
from agentsd.store.queries.replicas import Replica, list_replicas, record_heartbeat, remove_replica
from agentsd.store.queries.runs import (
    ManifestCondition,
    SyncRun,
    list_conditions,
    list_runs,
    record_run,
    set_conditions,
)
from tests.store.sample import stored

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(outcome: str, commit: str | None = None, source: str = "main") -> SyncRun:
    """A run."""
    errors = ({"path": "a.yaml", "code": "unknown-key", "line": 3},)
    return SyncRun(uuid4(), source, "cli", outcome, STARTED, 12, commit, None, {"create": 2}, errors)  # type: ignore[arg-type]


async def test_runs_are_read_back_newest_first(database: Database) -> None:
    """Whole, by source, and a run that is recorded again is replaced."""
    runs = [run("failed"), run("applied", "c1"), run("unchanged", "c2", "other")]
    for one in runs:
        async with database.transaction() as connection:
            await record_run(connection, one)
    async with database.transaction() as connection:
        assert [r.id for r in await list_runs(connection)] == [r.id for r in reversed(runs)]
        (latest,) = await list_runs(connection, source="main", limit=1)
        assert replace(latest, errors=tuple(latest.errors)) == runs[1]
        await record_run(connection, replace(runs[0], outcome="refused"))
    async with database.transaction() as connection:
        assert {r.outcome for r in await list_runs(connection)} == {"refused", "applied", "unchanged"}


async def test_an_unchanged_run_moves_the_applied_commit(database: Database) -> None:
    """A sync that found nothing to do has applied its commit all the same; one that was refused has not."""
    for outcome, commit in (("unchanged", "c1"), ("refused", "c2")):
        async with database.transaction() as connection:
            await record_run(connection, run(outcome, commit))
    assert (await stored(database)).commit == "c1"


async def test_conditions_keep_their_date_until_they_change(database: Database) -> None:
    """Each call says all that is known of one source; ``since`` moves with type and reason only."""

    def condition(path: str, type: str, message: str = "") -> ManifestCondition:
        return ManifestCondition("main", path, path.removesuffix(".yaml"), type, f"Because{type}", message)

    async def put(*conditions: ManifestCondition, source: str = "main") -> dict[str, ManifestCondition]:
        async with database.transaction() as connection:
            await set_conditions(connection, source, conditions)
        async with database.transaction() as connection:
            return {c.path: c for c in await list_conditions(connection, "main")}

    first = await put(condition("a.yaml", "Ready"), condition("b.yaml", "Invalid"))
    again = await put(condition("a.yaml", "Ready", "still"), condition("b.yaml", "Ready"))
    assert again["a.yaml"].since == first["a.yaml"].since
    assert again["a.yaml"].message == "still"
    assert again["b.yaml"].since != first["b.yaml"].since
    assert set(await put(condition("b.yaml", "Ready"), source="main")) == {"b.yaml"}
    assert set(await put(source="other")) == {"b.yaml"}
    assert await put() == {}


async def test_replicas_beat_and_leave(database: Database, database_url: str) -> None:
    """A beat updates its own row; a silent replica drops off the list, a leaving one is removed."""
    one = Replica(uuid4(), "host", 1, 7, ({"slug": "a", "reason": "SealLocked"},))
    two = Replica(uuid4(), "host", 2, 7)
    async with database.transaction() as connection:
        for replica in (one, two, replace(one, version=8)):
            await record_heartbeat(connection, replica)
        listed = {r.id: r for r in await list_replicas(connection)}
        assert (listed[one.id].version, list(listed[one.id].degraded)) == (8, list(one.degraded))
    with psycopg.connect(database_url) as raw:
        raw.execute("UPDATE replicas SET seen_at = now() - interval '1 hour' WHERE pid = 1")
    async with database.transaction() as connection:
        assert [r.id for r in await list_replicas(connection)] == [two.id]
        await remove_replica(connection, two.id)
        assert await list_replicas(connection) == []


async def test_the_audit_keeps_entries(database: Database, database_url: str) -> None:
    """Who, what, to whom."""
    async with database.transaction() as connection:
        await audit.record_audit_entry(
            connection, actor="acme/ci", action="select", target="acme/x", detail={"was": "y"}
        )
    with psycopg.connect(database_url) as raw:
        assert raw.execute("SELECT actor, action, target, detail FROM audit").fetchall() == [
            ("acme/ci", "select", "acme/x", {"was": "y"})
        ]
