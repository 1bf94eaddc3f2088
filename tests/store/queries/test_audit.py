"""The audit as it is read, what it may hold, and how it stays bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from agentsd.store.database import Database
from agentsd.store.migrations import downgrade_schema, upgrade_schema
from agentsd.store.queries.audit import (
    KEPT_DAYS,
    KEPT_ENTRIES,
    TEXT_MAX,
    load_audit_entries,
    load_version_audit_entries,
    record_audit_entry,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


async def keep(database: Database, *targets: str, owner: str | None = None, outcome: str = "done") -> None:
    async with database.transaction() as connection:
        for target in targets:
            detail = {"outcome": outcome, "to_version": len(target)}
            await record_audit_entry(
                connection, actor="acme/ci", action="update", target=target, owner=owner, detail=detail
            )


async def test_audit_entries_come_newest_first_in_pages(database: Database) -> None:
    """``before`` leads from page to page; owner and target narrow the list."""
    await keep(database, "acme/a", "b", "acme/c")
    async with database.transaction(snapshot=True) as connection:
        page = await load_audit_entries(connection, limit=2)
        rest = await load_audit_entries(connection, limit=2, before=page[-1].id)
        assert [entry.target for entry in (*page, *rest)] == ["acme/c", "b", "acme/a"]
        assert [entry.target for entry in await load_audit_entries(connection, limit=9, owner="acme")] == [
            "acme/c",
            "acme/a",
        ]
        assert [entry.target for entry in await load_audit_entries(connection, limit=9, target="b")] == ["b"]
        assert len(await load_audit_entries(connection, limit=9, target=("b", "acme/c"))) == 2
        assert await load_audit_entries(connection, limit=9, target=()) == []
        (made,) = await load_version_audit_entries(connection, [1, 99], since=EPOCH)
        assert (made.target, made.actor, dict(made.detail)) == (
            "b",
            "acme/ci",
            {"outcome": "done", "to_version": 1},
        )
        assert await load_version_audit_entries(connection, [1], since=datetime(2999, 1, 1, tzinfo=UTC)) == []


async def test_owner_of_an_entry(database: Database) -> None:
    """The target's owner, unless it is said otherwise; of nothing, nobody's."""
    await keep(database, "acme/deep/a", "b", "")
    await keep(database, "acme/x", owner="")
    async with database.transaction(snapshot=True) as connection:
        assert [entry.owner for entry in await load_audit_entries(connection, limit=9)] == [
            "",
            "",
            "default",
            "acme",
        ]


async def test_what_a_stranger_names_is_kept_short_and_printable(database: Database) -> None:
    """A refused write may name anything: no line break, no zero byte, no megabyte."""
    await keep(database, "x\n\x00\x1b[31m" + "y" * 5000)
    async with database.transaction(snapshot=True) as connection:
        (entry,) = await load_audit_entries(connection, limit=1)
    assert entry.target.startswith("x\\n\\x00\\x1b[31my")
    assert len(entry.target) == TEXT_MAX


async def test_the_audit_prunes_itself(database: Database, database_url: str) -> None:
    """By age, and by count: refusals never push out what was done, nor one owner's those of another."""
    fill = """INSERT INTO audit (actor, action, target, owner, detail, at)
              SELECT 'a', 'update', t, t, jsonb_build_object('outcome', %s::text),
                     now() - %s * interval '1 day'
              FROM generate_series(1, %s), CAST(%s AS text) AS t"""
    with psycopg.connect(database_url, autocommit=True) as raw:
        raw.execute("ALTER TABLE audit DISABLE TRIGGER audit_prune")
        raw.execute(fill, ("done", KEPT_DAYS + 1, 3, "old"))
        raw.execute(fill, ("done", KEPT_DAYS - 1, 5, "done"))
        raw.execute(fill, ("refused", 1, 4, "quiet"))
        raw.execute(fill, ("refused", 0, KEPT_ENTRIES + 7, "refused"))
        raw.execute("ALTER TABLE audit ENABLE TRIGGER audit_prune")
        raw.execute("ALTER TABLE audit ALTER id RESTART WITH 200000")
    await keep(database, "last", outcome="refused")
    with psycopg.connect(database_url) as raw:
        found = dict(raw.execute("SELECT target, count(*) FROM audit GROUP BY target").fetchall())
    assert found == {"done": 5, "quiet": 4, "refused": KEPT_ENTRIES - 1, "last": 1}


def test_older_entries_get_their_owner(database_url: str) -> None:
    """The migration fills in whose they are; nobody else may call the function that prunes."""
    downgrade_schema(database_url, "0003")
    with psycopg.connect(database_url) as raw:
        for target in ("acme/a/b", "a", ""):
            raw.execute("INSERT INTO audit (actor, action, target) VALUES ('x', 'select', %s)", (target,))
    upgrade_schema(database_url)
    with psycopg.connect(database_url) as raw:
        assert [row[0] for row in raw.execute("SELECT owner FROM audit ORDER BY id").fetchall()] == [
            "acme",
            "default",
            "",
        ]
        asked = "SELECT has_function_privilege('pg_monitor', 'audit_prune()', 'execute')"
        assert raw.execute(asked).fetchone() == (False,)
