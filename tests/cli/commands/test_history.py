"""``agentsd history``: what became of agents, and who did it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentsd.control.status.audit import record_action
from agentsd.store.database import Database
from tests.cli.conftest import Shell
from tests.control.place import echo


def record(url: str, action: str, target: str, **told: Any) -> None:
    """What the API leaves on record."""

    async def keep() -> None:
        database = Database(url)
        assert await record_action(database, "acme/ci", action, target, **told)
        await database.aclose()

    asyncio.run(keep())


@pytest.fixture
def lived(stocked: Shell, database_url: str) -> Shell:
    """Two agents; one is edited by the API, an edit of it is refused, and it is deleted."""
    assert stocked.run("sync").code == 0
    stocked.write("acme/b.yaml", echo(2))
    assert stocked.run("sync").code == 0
    record(
        database_url,
        "update",
        "acme/b",
        outcome="done",
        status=200,
        from_version=1,
        to_version=2,
        commit="c0ffee",
    )
    record(database_url, "update", "acme/b", outcome="refused", status=412, code="precondition_failed")
    (stocked.root / "agents.d/acme/b.yaml").unlink()
    assert stocked.run("sync").code == 0
    return stocked


def test_everything_newest_first(lived: Shell) -> None:
    """When, version, what, which, who, how it ended, commit, and how the digest moved."""
    done = lived.run("history")
    assert done.code == 0
    head, *rows = [line.split() for line in done.out.splitlines()]
    assert head[:5] == ["when", "(UTC)", "version", "what", "agent"]
    assert [row[2:6] for row in rows] == [
        ["3", "delete", "acme/b", "cli"],
        ["update", "acme/b", "acme/ci", "refused"],
        ["2", "update", "acme/b", "acme/ci"],
        ["1", "create", "a", "cli"],
        ["1", "create", "acme/b", "cli"],
    ]
    assert "refused 412 precondition_failed" in done.out
    assert "c0ffee" in done.out
    assert rows[2][-2] == "→"
    assert "\x1b" not in done.out


def test_one_agent_though_it_is_deleted(lived: Shell) -> None:
    """By slug, as a URL writes it, and by id; with a limit."""
    by_slug = lived.run("history", "acme/b", "--format", "json").json()["items"]
    assert [item["kind"] for item in by_slug] == ["revision", "audit_entry", "revision", "revision"]
    made = by_slug[2]
    assert (made["version"], made["by"], made["commit"], made["audit_entry"]["status"]) == (
        2,
        "acme/ci",
        "c0ffee",
        200,
    )
    assert made["previous_digest"] == by_slug[3]["digest"]
    assert by_slug[1]["code"] == "precondition_failed"
    assert lived.run("history", "acme~b", "--format", "json").json()["items"] == by_slug
    assert lived.run("history", made["id"], "--format", "json").json()["items"] == by_slug
    short = lived.run("history", "acme/b", "--limit", "2", "--format", "json").json()["items"]
    assert short == by_slug[:2]


def test_colour_on_a_terminal_only(lived: Shell) -> None:
    """A pipe gets plain text."""
    lived.env(FORCE_COLOR="1")
    assert "\x1b[" in lived.run("history").out


def test_what_never_was(lived: Shell) -> None:
    """1, and no traceback; an empty store has no history."""
    done = lived.run("history", "nope")
    assert done.code == 1
    assert "no record of an agent" in done.err
    assert lived.run("history", "x' OR 1=1").code == 1
    assert lived.run("history", "--limit", "0").code == 2


def test_before_anything_happened(stocked: Shell) -> None:
    """No error: there is nothing to tell yet."""
    done = stocked.run("history")
    assert (done.code, done.out) == (0, "")
    assert stocked.run("history", "--format", "json").json() == {"items": []}


def test_without_a_database(shell: Shell) -> None:
    """It starts none."""
    done = shell.run("history")
    assert done.code == 2
    assert "agentsd up" in done.err
