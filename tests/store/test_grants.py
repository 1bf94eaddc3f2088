"""The least privileges of deploy/grants.sql are enough for each role, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from agentsd.core.errors import StoreRefused
from agentsd.core.manifest.chunks import Chunk
from agentsd.store.database import Database
from agentsd.store.leader_election import LeaderCandidate, lock_for_term
from agentsd.store.queries import agents, audit, knowledge, replicas
from agentsd.store.queries.replicas import Replica
from tests.store.sample import change, manifest, plan_of, write

GRANTS = Path(__file__).resolve().parents[2] / "deploy/grants.sql"


@pytest.fixture
def urls(database_url: str) -> Iterator[dict[str, str]]:
    """A login of each role, by the role's name."""
    logins = {role: f"login_{role}" for role in ("agentsd_sync", "agentsd_runtime")}
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(GRANTS.read_bytes())
        for role, login in logins.items():
            owner.execute(f"CREATE ROLE {login} LOGIN IN ROLE {role}".encode())
        try:
            yield {role: database_url.replace("//postgres", f"//{login}") for role, login in logins.items()}
        finally:
            for role, login in logins.items():
                owner.execute(f"DROP ROLE {login}".encode())
                owner.execute(f"DROP OWNED BY {role}".encode())
                owner.execute(f"DROP ROLE {role}".encode())


async def test_a_sync_may_write_agents_and_not_the_schema(urls: dict[str, str]) -> None:
    """Everything that apply and leading do; Alembic's own table it may only read."""
    database = Database(urls["agentsd_sync"])
    await database.check_schema()
    assert (await write(database, plan_of([change("create", manifest("a.yaml"))]))).version == 1
    with pytest.raises(StoreRefused, match="privilege"):
        async with database.transaction() as conn:
            await conn.execute("UPDATE alembic_version SET version_num = 'x'")
    candidate = LeaderCandidate(database.listener_dsn, "main")
    async with aclosing(candidate.standings()) as standings:
        term = (await anext(standings)).term
        assert term is not None
        async with database.transaction() as conn:
            await lock_for_term(conn, term)
    await database.aclose()


async def test_audit_entries_are_pruned_by_whoever_adds_them_and_deleted_by_nobody(
    urls: dict[str, str], database: Database
) -> None:
    """The table prunes itself with its owner's rights; neither role may change what is on record."""
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO audit (actor, action, at) VALUES ('x', 'y', now() - interval '500 d')"
        )
        await conn.execute("ALTER TABLE audit ALTER id RESTART WITH 1000")
    for role, url in urls.items():
        writer = Database(url)
        async with writer.transaction() as conn:
            await audit.record_audit_entry(conn, actor=role, action="update", target="a")
            assert next(entry.actor for entry in await audit.load_audit_entries(conn, limit=9)) == role
        with pytest.raises(StoreRefused, match="privilege"):
            async with writer.transaction() as conn:
                await conn.execute("DELETE FROM audit")
        await writer.aclose()
    async with database.transaction() as conn:
        assert {entry.actor for entry in await audit.load_audit_entries(conn, limit=9)} == set(urls)


async def test_a_runtime_may_load_live_and_embed_but_change_no_agent(
    urls: dict[str, str], database: Database
) -> None:
    """What a runtime does works; what would make it an administrator is refused."""
    await write(database, plan_of([change("create", manifest("a.yaml"))]))
    source = b"s" * 32
    async with database.transaction() as conn:
        await knowledge.store_sources(conn, {source: ("a.md", [Chunk(0, "", "Anvils are heavy.")])})
    runtime = Database(urls["agentsd_runtime"])
    async with runtime.transaction() as conn:
        assert len((await agents.load_all(conn)).rows) == 1
        await replicas.record_heartbeat(conn, Replica(uuid4(), "here", 1, 1))
        await audit.record_audit_entry(
            conn, actor="acme/ci", action="update", target="a", detail={"outcome": "refused"}
        )
        if await knowledge.has_vectors(conn):
            assert await knowledge.embed_missing_passages(conn, [source], "toy", _embed) == 1
    for statement in (
        b"UPDATE agents SET system_prompt = 'x'",
        b"UPDATE users SET tokens = '[]'",
        b"DELETE FROM versions",
        b"UPDATE leaders SET epoch = 0",
        b"DELETE FROM audit",
        b"UPDATE audit SET actor = 'x'",
        b"UPDATE knowledge_chunks SET text = 'x'",
    ):
        with pytest.raises(StoreRefused, match="privilege"):
            async with runtime.transaction() as conn:
                await conn.execute(statement)
    await runtime.aclose()


async def _embed(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0, 0.0] for _ in texts]
