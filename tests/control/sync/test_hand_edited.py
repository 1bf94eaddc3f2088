"""Rows that were edited by hand into what nobody foresaw: they stop no sync and no reader, and are healed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg

from agentsd.control.notifications.notifier import _describe_degraded
from agentsd.control.status.overview import load_overview
from agentsd.store.queries import agents, audit, replicas, runs, users
from agentsd.store.queries import notifications as notices
from tests.control.place import Place, echo, make_checker, uid

AGENT = "UPDATE agents SET {} WHERE slug = 'a'"
USER = "UPDATE users SET {} WHERE username = 'acme'"
ATTACHMENTS = (
    *("[]", "5", "null", '"x"', '{"sources": 5}', '{"sources": [{"path": 1}]}', '{"prompt": 5}'),
    *('{"sources": [{"path": "x", "digest": "zz"}]}', '{"layers": "x"}', '{"layers": [{}]}'),
)
TOKENS = ("5", "null", '{"a": 1}', "[5]", "[{}]", '[{"name": 5, "sha256": "zz", "role": ["king"]}]')
MOMENTS = ("infinity", "-infinity", "4000-01-01 BC", "20000-01-01")
EDITS = (
    *(AGENT.format(f"attachments = '{value}'") for value in ATTACHMENTS),
    *(AGENT.format(f"updated_at = '{moment}'") for moment in MOMENTS),
    *(USER.format(f"tokens = '{value}'") for value in TOKENS),
    AGENT.format("slug = E'..\\n', path = '../../etc/passwd'"),
    AGENT.format("version = 9223372036854775807"),
    AGENT.format("llm_provider_config = '[]', digest = '\\x00'"),
    "UPDATE documents SET data = convert_to(repeat('[', 100000), 'UTF8')",
    "UPDATE documents SET data = '\\xff'",
    USER.format("version = 9223372036854775807, path = 'x'"),
)
RECORD = (
    "UPDATE sync_runs SET started_at = 'infinity', counts = '5', errors = '{}', drift = '[5]'",
    "UPDATE agent_revisions SET created_at = '-infinity', attachments = '{\"layers\": 5}'",
    """INSERT INTO replicas (id, host, pid, version, degraded, seen_at)
       VALUES (gen_random_uuid(), 'h', 1, 1, '5', 'infinity'),
              (gen_random_uuid(), 'h', 1, 1, '[5, {}]', now()),
              (gen_random_uuid(), 'h', 1, 1, '{}', now())""",
    "INSERT INTO notices (source, key, reason, message, told) VALUES ('main', 'k', 'R', 'm', '{\"a\": 1}')",
    "INSERT INTO audit (actor, action, target, owner, detail) VALUES ('a', 'b', 'c', 'd', '[5]')",
)


def edit(url: str, statement: str) -> None:
    """Run one statement, as somebody with psql would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


async def test_every_sync_goes_on_and_heals(place: Place, database_url: str) -> None:
    """Each edit in turn; the sync of another agent is applied, and the row is as its file says again."""
    place.write({"a.yaml": echo(1), "acme/_user.yaml": "email: acme@example.org\n"})
    for number, statement in enumerate(EDITS):
        await place.sync({"acme/b.yaml": echo(2, reply=f"r{number}")})
        edit(database_url, statement)
        place = place.again(make_checker(None))
        await place.sync({"acme/b.yaml": echo(2, reply=f"s{number}")})
        stored = await place.stored()
        assert {row.slug for row in stored.agents.values()} == {"a", "acme/b"}, statement
        assert not [row.slug for row in stored.agents.values() if row.drifted], statement
        outcome = await place.again(make_checker(None)).sync()
        assert outcome.plan.empty, statement


async def test_every_reader_goes_on(place: Place, database_url: str) -> None:
    await place.sync({"a.yaml": echo(1)})
    for statement in (*RECORD, *EDITS):
        edit(database_url, statement)
    readers: list[Callable[[Any], Awaitable[Any]]] = [
        agents.load_all,
        lambda conn: agents.load_changed(conn, 0),
        lambda conn: agents.load_stored(conn, "main"),
        lambda conn: agents.load_revisions(conn, UUID(uid(1))),
        lambda conn: load_overview(conn, "main", runs_shown=10),
        lambda conn: notices.load_notices(conn, "main"),
        users.load_tokens,
        users.list_users,
        runs.list_runs,
    ]
    async with place.database.transaction(snapshot=True) as conn:
        for reader in readers:
            await reader(conn)
        await audit.load_audit_entries(conn, limit=10)
        _describe_degraded(await replicas.list_replicas(conn))
