"""Rows, documents and owners that somebody edited by hand: shown, healed and on record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agentsd.cli.compose.run_reporter import RunReporter
from agentsd.control.sync.run_log import record_result
from agentsd.control.sync.syncer import RoundReport
from agentsd.core.plan.plan import FieldChange
from agentsd.core.text.render import format_plan, plan_to_json, summarise_plan
from agentsd.store.queries.runs import list_conditions, list_runs
from tests.control.place import Place, echo, groq, make_checker, operations, uid
from tests.runtime.world import Keys

USER = "email: ops@example.org\n"


def fields(outcome: Any) -> dict[str, FieldChange]:
    """Of the only change: what drifted, by name."""
    (change,) = outcome.plan.changes
    return {".".join(map(str, field.pointer)): field for field in change.fields}


async def test_before_and_after(place: Place) -> None:
    """A plan shows what the row says and what the file says; a sync puts it right, once."""
    await place.sync({"a.yaml": echo(1, extra="system_prompt: Be kind.\n")})
    await place.execute("UPDATE agents SET name = 'Hacked', is_active = false, system_prompt = 'Be rude.'")
    await place.execute('UPDATE agents SET llm_provider_config = llm_provider_config || \'{"reply": "no"}\'')
    place.reconciler.forget()
    found = fields(await place.plan())
    assert found["name"] == FieldChange("change", ("name",), "Hacked", "Echo")
    assert found["active"] == FieldChange("change", ("active",), False, True)
    assert found["llm.reply"] == FieldChange("change", ("llm", "reply"), "no", "hello")
    assert found["system_prompt"].old == "Be rude."
    outcome = await place.sync()
    assert operations(outcome) == {("heal", "a")}
    assert "drifted, to heal" in summarise_plan(outcome.plan)
    place.reconciler.forget()
    assert (await place.sync()).plan.empty


async def test_secrets_stay_sealed(place: Place, keys: Keys) -> None:
    """Neither the ciphertext, nor a plaintext that somebody wrote in its place or beside it."""
    await place.sync({"a.yaml": keys.seal(groq(1))})
    await place.execute(
        "UPDATE agents SET llm_provider_config = llm_provider_config "
        """|| '{"api_key": "sk-canary-by-hand", "base_url": "https://u:canary@x.example/"}'"""
    )
    place.reconciler.forget()
    outcome = await place.plan()
    found = fields(outcome)
    assert found["llm.api_key"].secret == "changed"
    assert found["llm.base_url"].operation == "remove"
    shown = "".join(text for line in format_plan(outcome.plan) for _, text in line)
    told = json.dumps(plan_to_json(outcome.plan), default=str)
    assert "canary" not in shown + told
    assert "ENC[" not in shown + told


async def test_a_document_that_was_edited(place: Place) -> None:
    """The manifest's own bytes, and those of its prompt: both are put right out of the files."""
    files = {"a.yaml": echo(1, extra="system_prompt_file: prompts/a.md\n"), "prompts/a.md": "Be kind.\n"}
    await place.sync(files)
    for path in files:
        await place.execute(f"UPDATE documents SET data = 'x: 1' WHERE path = '{path}'")  # noqa: S608
        place.reconciler.forget()
        assert "the stored document" in fields(await place.plan())
        assert operations(await place.sync()) == {("heal", "a")}
        place.reconciler.forget()
        assert (await place.sync()).plan.empty
    async with place.database.transaction(snapshot=True) as connection:
        cursor = await connection.execute("SELECT bool_and(sha256(data) = digest) FROM documents")
        assert await cursor.fetchone() == (True,)


async def test_an_owner_that_was_edited(place: Place) -> None:
    """Email, tokens and the user file's own bytes; a token that was slipped in goes."""
    await place.sync({"acme/a.yaml": echo(1), "acme/_user.yaml": USER})
    for assignment in ("email = 'evil@example.org'", """tokens = '[{"name": "x", "sha256": "00"}]'"""):
        await place.execute(f"UPDATE users SET {assignment} WHERE username = 'acme'")  # noqa: S608
        place.reconciler.forget()
        planned = await place.plan()
        assert [(user.operation, user.username) for user in planned.plan.users] == [("heal", "acme")]
        assert planned.plan.users[0].fields
        assert "owner drifted, to heal" in summarise_plan(planned.plan)
        assert (await place.sync()).head is not None
        place.reconciler.forget()
        assert (await place.sync()).plan.empty
    await place.execute("UPDATE documents SET data = 'email: x@y.z' WHERE path = 'acme/_user.yaml'")
    place.reconciler.forget()
    assert [user.operation for user in (await place.sync()).plan.users] == ["heal"]
    place.reconciler.forget()
    assert (await place.sync()).plan.empty


async def test_what_is_on_record(place: Place, keys: Keys) -> None:
    """The run names what drifted, with before and after; prompts and secrets only by name."""
    await place.sync({"a.yaml": echo(1, extra="system_prompt: Be kind.\n")})
    await place.execute("UPDATE agents SET name = 'Hacked', system_prompt = 'canary'")
    other = place.again(make_checker(keys))
    outcome = await other.sync()
    assert outcome.plan.changes[0].stored is not None
    async with place.database.transaction(snapshot=True) as connection:
        cursor = await connection.execute("SELECT now()")
        row = await cursor.fetchone()
    assert row is not None
    await record_result(place.database, outcome, place.options, trigger="resync", started_at=row[0])
    async with place.database.transaction(snapshot=True) as connection:
        (run,) = await list_runs(connection)
    (drift,) = run.drift
    assert drift["slug"] == "a"
    assert {"operation": "change", "field": "name", "old": "Hacked", "new": "Echo"} in drift["fields"]
    assert {"operation": "change", "field": "system_prompt"} in drift["fields"]
    assert "canary" not in json.dumps(run.drift)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One agent and its owner."""
    root = tmp_path / "agents.d"
    (root / "acme").mkdir(parents=True)
    (root / "acme/a.yaml").write_text(echo(1))
    (root / "acme/_user.yaml").write_text(USER)
    return root


def eventually(connection: psycopg.Connection[Any], query: str) -> None:
    """Wait until ``query`` finds a row; the test's own limit is the bound."""
    while connection.execute(query.encode()).fetchone() is None:
        time.sleep(0.02)


def test_a_running_daemon_heals(tree: Path, database_url: str) -> None:
    """Within its period, whatever was edited, and it says so on its output and on record."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENTSD_", "SOPS_"))
    }
    environ["AGENTSD_DATABASE_URL"] = database_url
    command = [sys.executable, "-m", "agentsd", "watch", "--path", str(tree), "--resync", "1"]
    daemon = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    with psycopg.connect(database_url, autocommit=True) as sql:
        eventually(sql, "SELECT FROM agents WHERE name = 'Echo'")
        for edit, healed in (
            ("UPDATE agents SET name = 'Hacked'", "SELECT FROM agents WHERE name = 'Echo'"),
            ("UPDATE users SET email = 'a@b.c'", "SELECT FROM users WHERE email = 'ops@example.org'"),
            (
                "UPDATE documents SET data = 'x: 1' WHERE path = 'acme/a.yaml'",
                "SELECT FROM documents WHERE path = 'acme/a.yaml' AND sha256(data) = digest",
            ),
        ):
            sql.execute(edit.encode())
            eventually(sql, healed)
        eventually(sql, "SELECT FROM sync_runs WHERE drift <> '[]' HAVING count(*) = 3")
    daemon.send_signal(signal.SIGTERM)
    _, said = daemon.communicate()
    assert daemon.returncode == 0, said
    for words in ("Hacked", "a@b.c", "the stored document"):
        assert words in said
    assert said.count("its row was edited in the database") == 3


async def test_an_agent_that_is_not_pruned(place: Place) -> None:
    """Its file goes, the agent stays and is told as orphaned, until somebody names it."""
    await place.sync({"a.yaml": echo(1), "acme/b.yaml": echo(2, extra="prune: false\n"), "c.yaml": echo(3)})
    place.write({"acme/b.yaml": None, "c.yaml": None})
    outcome = await place.sync()
    assert operations(outcome) == {("delete", "c")}
    assert [row.slug for row in outcome.plan.orphaned] == ["acme/b"]
    outcome = await place.sync({"a.yaml": echo(1, reply="bye")})
    assert [row.slug for row in outcome.plan.orphaned] == ["acme/b"]
    assert "acme" in (await place.stored()).users
    again = place.again(place.reconciler._checker)
    assert [row.slug for row in (await again.sync()).plan.orphaned] == ["acme/b"]
    refused = await place.sync({"acme/b.yaml": echo(9)}, strict=False)
    assert [q.path for q in refused.plan.quarantined] == ["acme/b.yaml"]
    place.write({"acme/b.yaml": None})
    outcome = await place.sync(explicit=frozenset({UUID(uid(2))}))
    assert operations(outcome) == {("delete", "acme/b")}
    assert await place.slugs() == {"a"}


async def test_prune_that_was_taken_back(place: Place) -> None:
    """The last word of the file counts."""
    await place.sync({"a.yaml": echo(1, extra="prune: false\n"), "b.yaml": echo(2)})
    await place.sync({"a.yaml": echo(1)})
    place.write({"a.yaml": None})
    assert operations(await place.sync()) == {("delete", "a")}


async def test_a_daemon_tells_of_an_orphan_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """When its file goes, and not with every change after that; its condition stays on record."""
    reporter = RunReporter(place.database, place.options, "agents.d/")
    await reporter(
        RoundReport(await place.sync({"a.yaml": echo(1), "b.yaml": echo(2, extra="prune: false\n")}))
    )
    place.write({"b.yaml": None})
    await reporter(RoundReport(await place.sync()))
    assert "b  b.yaml is orphaned" in capsys.readouterr().err
    await reporter(RoundReport(await place.sync({"a.yaml": echo(1, reply="bye")})))
    assert "orphaned" not in capsys.readouterr().err
    async with place.database.transaction(snapshot=True) as connection:
        (condition,) = await list_conditions(connection)
    assert (condition.path, condition.type, condition.reason) == ("b.yaml", "Orphaned", "FileGone")
