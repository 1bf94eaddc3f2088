"""``status``: leader, replicas, what is not well, knowledge and runs, on one screen."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg

from agentsd.store.database import Database
from agentsd.store.ledger.health import HealthRow, put_health
from agentsd.store.queries.replicas import Replica, record_heartbeat
from tests.cli.conftest import Shell
from tests.control.place import echo

SEALED = {"slug": "acme/b", "type": "Degraded", "reason": "SealTampered", "message": "the seal is broken"}


FAILING = {"task": "snapshot", "failures": 3, "message": "the disk is full"}


def stand(url: str, *replicas: Replica) -> None:
    """Heartbeats of these."""

    async def write() -> None:
        database = Database(url)
        async with database.transaction() as connection:
            for one in replicas:
                await record_heartbeat(connection, one)
        await database.aclose()

    asyncio.run(write())


def test_one_screen(stocked: Shell, database_url: str) -> None:
    """Who leads, who serves what, who was not heard of, which agents are not well and where."""
    stocked.write("faq.md", "# Hours\n\nNine to five.\n")
    stocked.write("c.yaml", echo(3) + "rag:\n  sources: [faq.md]\n")
    stocked.run("sync")
    stand(
        database_url,
        Replica(uuid4(), "well", 1, 1),
        Replica(uuid4(), "ill", 2, 1, [SEALED], failing_tasks=[FAILING]),
        Replica(UUID(int=3), "frozen", 3, 0, failing_tasks=[{**FAILING, "task": "verify"}]),
    )
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE replicas SET seen_at = now() - interval '40 s' WHERE id = %s", (UUID(int=3),)
        )
        connection.execute(
            "INSERT INTO leaders (source, epoch, host, pid, backend) VALUES ('main', 4, 'boss', 9, 0)"
        )
        connection.execute("UPDATE agents SET name = 'by hand' WHERE slug = 'a'")
    said = stocked.run("status").out
    for text in (
        "version 1  3 agents of 2 owners",
        "! main  none  last boss:9",
        "Replicas: 1 of 3 healthy at version 1",
        "✓ well:1    version 1  up 0 s  seen 0 s ago",
        "no heartbeat: killed, frozen or cut off",
        "✗ acme/b  Degraded  SealTampered  ill:2  the seal is broken",
        "Failing background tasks: 1",  # what a silent one reported is old
        "✗ snapshot  3 times in a row  on ill:2  the disk is full",
        "✓ 1 documents  1 passages",
        "main by cli",
        "Drifted, edited by hand: 1",
    ):
        assert text in said, said
    body = stocked.run("status", "--format", "json").json()
    silent = {one["host"]: one["silent_seconds"] for one in body["replicas"]}
    assert (silent.keys(), silent["frozen"] >= 40) == ({"well", "ill", "frozen"}, True)
    assert (body["ailing"][0]["slug"], body["ailing"][0]["replicas"]) == ("acme/b", ["ill:2"])
    assert body["failing_tasks"] == [{**FAILING, "replica": "ill:2"}]
    assert (body["knowledge"]["sources"], body["knowledge"]["passages"]) == (1, 1)
    assert (body["leaders"][0]["leads"], body["drifted"]) == (False, ["a"])


def test_a_narrow_terminal(stocked: Shell, database_url: str) -> None:
    """No line is wider than the terminal."""
    stocked.run("sync")
    stand(database_url, Replica(uuid4(), "runtime-7c9d8f6b5-xk2lp", 4711, 1, [SEALED]))
    stocked.env(FORCE_COLOR="1", COLUMNS="40", NO_COLOR="1")
    said = re.sub(r"\x1b\[[0-9;]*m", "", stocked.run("status").out)
    assert max(map(len, said.splitlines())) <= 40
    assert "xk2lp:4711" in said
    assert "SealTampered" in said


def test_agents_that_do_not_answer(stocked: Shell, database_url: str) -> None:
    """How many answer, in the pages' words; one whose vendor refuses its key, and what to do."""
    stocked.run("sync")
    agent = read_agent_id(database_url, "a")
    fail(database_url, agent)
    found = stocked.run("status").out
    for text in (
        "Agents that need attention: 1",
        "✗ a  Failing  for 0 s  llm: groq.com: it does not accept the key (invalid_api_key)",
        "→ put a valid key into llm.api_key: agentsd edit a",
        "Untested",
        "1 Failing",
    ):
        assert text in found, found
    (told,) = stocked.run("status", "--format", "json").json()["standing"]
    assert (told["slug"], told["status"], told["field"]) == ("a", "Failing", "llm.api_key")


def read_agent_id(url: str, slug: str) -> UUID:
    """The id of an agent."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT id FROM agents WHERE slug = %s", (slug,)).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def fail(url: str, agent: UUID) -> None:
    """What a replica writes when a vendor refuses the key of an agent."""

    async def write() -> None:
        database = Database(url)
        row = HealthRow(
            agent, "llm", 1, True, datetime.now(UTC), "groq.com", "wrong-key", "invalid_api_key", "llm"
        )
        async with database.transaction() as connection:
            await put_health(connection, [row], timedelta(seconds=30))
        await database.aclose()

    asyncio.run(write())
