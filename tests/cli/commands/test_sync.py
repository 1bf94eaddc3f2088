"""``plan``, ``sync``, ``status``, ``doctor`` and ``migrate`` against a real database."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from agentsd.store.migrations import downgrade_schema
from tests.cli.conftest import Shell
from tests.control.place import echo, groq
from tests.databases import url_with


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def slugs(url: str) -> set[str]:
    return {row[0] for row in rows(url, "SELECT slug FROM agents WHERE deleted_at IS NULL")}


def test_plan_then_sync(stocked: Shell, database_url: str) -> None:
    """A plan writes nothing; a sync does what it said; then there is nothing left to do."""
    done = stocked.run("plan")
    assert done.code == 0
    assert done.out.splitlines()[:2] == ["  + a  a.yaml", "  + acme/b  acme/b.yaml"]
    assert "2 to create; 0 unchanged" in done.out
    assert "agents.d/acme/b.yaml" in done.err  # the seal was not verified
    assert slugs(database_url) == set()
    done = stocked.run("sync")
    assert done.code == 0
    assert "applied as version 1" in done.out
    assert slugs(database_url) == {"a", "acme/b"}
    done = stocked.run("sync")
    assert "no changes; 2 unchanged" in done.out


def test_exit_statuses_of_a_plan(stocked: Shell) -> None:
    """0 no changes, 1 error, 2 changes; without --detailed-exitcode changes are 0."""
    assert stocked.run("plan", "--detailed-exitcode").code == 2
    assert stocked.run("plan").code == 0
    assert stocked.run("sync").code == 0
    assert stocked.run("plan", "--detailed-exitcode").code == 0
    stocked.write("a.yaml", "x: [")
    assert stocked.run("plan", "--detailed-exitcode").code == 1


def test_a_plan_for_machines_and_reviews(stocked: Shell) -> None:
    """JSON alone on standard output, also for an error; markdown for a comment."""
    done = stocked.run("plan", "--format", "json")
    body = done.json()
    assert [change["slug"] for change in body["changes"]] == ["a", "acme/b"]
    assert (body["applied"], body["version"]) == (False, 0)
    assert stocked.run("sync", "--format", "json").json()["applied"]
    stocked.write("a.yaml", echo(1, reply="bye"))
    text = stocked.run("plan", "--format", "markdown").out
    assert text.startswith("### agentsd plan: 1 to update; 1 unchanged\n")
    assert '- `llm.reply`: `"hello"` → `"bye"`' in text
    stocked.write("a.yaml", "name: 1\n")
    done = stocked.run("plan", "--format", "json")
    assert done.code == 1
    assert done.json()["violations"][0]["path"] == "agents.d/a.yaml"


def test_a_dry_run(stocked: Shell, database_url: str) -> None:
    """Says what would be done, does not, and leaves no run on record."""
    done = stocked.run("sync", "--dry-run")
    assert done.code == 0
    assert "nothing written" in done.out
    assert slugs(database_url) == set()
    assert rows(database_url, "SELECT 1 FROM sync_runs") == []


def test_strict(stocked: Shell, database_url: str) -> None:
    """One bad file, and nothing at all is applied; the refusal is on record."""
    stocked.write("bad.yaml", groq(9))
    done = stocked.run("sync")
    assert done.code == 1
    assert "agents.d/bad.yaml:5:12" in done.err
    assert done.err.endswith("nothing was applied\n")
    assert slugs(database_url) == set()
    assert rows(database_url, "SELECT outcome, trigger FROM sync_runs") == [("refused", "cli")]


def test_a_sync_is_on_record(stocked: Shell, database_url: str) -> None:
    """Who, what, how many; ``status`` shows it."""
    stocked.run("sync")
    stocked.run("sync")
    assert rows(database_url, "SELECT outcome, version FROM sync_runs ORDER BY recorded_at") == [
        ("applied", 1),
        ("unchanged", None),
    ]
    done = stocked.run("status")
    assert done.code == 0
    assert "version 1" in done.out
    assert "2 agents of 2 owners" in done.out
    assert "applied" in done.out
    body = stocked.run("status", "--format", "json").json()
    assert (body["version"], body["agents"], len(body["runs"])) == (1, 2, 2)


def test_pruning(stocked: Shell, database_url: str) -> None:
    """--no-prune keeps, a mass deletion is refused, --allow-mass-delete means it."""
    stocked.run("sync")
    (stocked.root / "agents.d/a.yaml").unlink()
    assert stocked.run("sync", "--no-prune").code == 0
    assert slugs(database_url) == {"a", "acme/b"}
    (stocked.root / "agents.d/acme/b.yaml").unlink()
    done = stocked.run("sync")
    assert done.code == 1
    assert "--allow-mass-delete" in done.err
    assert slugs(database_url) == {"a", "acme/b"}
    assert stocked.run("sync", "--allow-mass-delete").code == 0
    assert slugs(database_url) == set()


def test_a_folder_that_is_not_there(stocked: Shell, database_url: str) -> None:
    """Never an empty tree: 2, and nothing is touched."""
    stocked.run("sync")
    done = stocked.run("sync", "--path", "nowhere")
    assert done.code == 2
    assert "nowhere is not a folder" in done.err
    assert len(slugs(database_url)) == 2


def test_an_older_commit(stocked: Shell) -> None:
    """A CI job that comes late is refused; --allow-older is the way back on purpose."""
    import subprocess

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=stocked.root, check=True, capture_output=True)

    git("init", "-q")
    for reply in ("one", "two"):
        stocked.write("a.yaml", echo(1, reply=reply))
        git("add", "agents.d")
        git("commit", "-qm", reply)
    assert stocked.run("sync").code == 0
    git("checkout", "-q", "HEAD~1")
    done = stocked.run("sync")
    assert done.code == 1
    assert "is older than" in done.err
    os.chown(stocked.root, os.geteuid() + 1, -1)  # as in a container
    for reason in ("safe.directory", "git is not installed"):
        done = stocked.run("sync")
        assert done.code == 2
        assert reason in done.err
        assert "--allow-older" in done.err
        stocked.env(PATH=str(stocked.root / "nowhere"))
    assert stocked.run("sync", "--allow-older").code == 0


def test_waiting_without_replicas(stocked: Shell) -> None:
    """Nobody serves: done at once."""
    assert stocked.run("sync", "--wait", "--timeout", "5").code == 0


DOWN = "postgresql://agentsd@127.0.0.1:1/agentsd"


@pytest.mark.parametrize("command", ["plan", "sync", "status", "migrate"])
def test_a_database_that_is_down(stocked: Shell, command: str) -> None:
    """1, one message without the password, and no traceback."""
    stocked.env(AGENTSD_DATABASE_URL="postgresql://agentsd:hunter2@127.0.0.1:1/agentsd")
    done = stocked.run(command)
    assert done.code == 1
    assert "127.0.0.1:1/agentsd" in done.err
    assert "cannot be reached" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", ["plan", "status", "migrate"])
def test_a_url_that_is_none(stocked: Shell, command: str) -> None:
    """2: a setting that cannot work, and not quoted: it may hold a password."""
    stocked.env(AGENTSD_DATABASE_URL="hunter2")
    done = stocked.run(command)
    assert done.code == 2
    assert "postgresql://" in done.err
    assert "hunter2" not in done.err


def test_no_such_database(stocked: Shell, database_url: str) -> None:
    """Named, with what to do."""
    stocked.env(AGENTSD_DATABASE_URL=url_with(database_url, "nowhere"))
    done = stocked.run("sync")
    assert done.code == 1
    assert "has no such database" in done.err


def test_a_read_only_database(stocked: Shell, database_url: str) -> None:
    """A standby: a plan is possible, a sync is refused with the reason."""
    separator = "&" if "?" in database_url else "?"
    stocked.env(AGENTSD_DATABASE_URL=f"{database_url}{separator}options=-cdefault_transaction_read_only%3Don")
    done = stocked.run("plan")
    assert done.code == 0
    with psycopg.connect(database_url, autocommit=True) as admin:
        name = admin.execute("SELECT current_database()").fetchone()[0]  # type: ignore[index]
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    done = stocked.run("sync")
    assert done.code == 1
    assert "is read-only" in done.err
    assert "Traceback" not in done.err


def test_the_schema_of_the_database(shell: Shell, empty_database_url: str) -> None:
    """Missing, migrated, older, newer: each says what to run."""
    shell.write("a.yaml", echo(1))
    shell.env(AGENTSD_DATABASE_URL=empty_database_url)
    done = shell.run("sync")
    assert done.code == 1
    assert "agentsd migrate" in done.err
    assert shell.run("migrate").code == 0
    assert shell.run("migrate").code == 0
    assert shell.run("sync").code == 0
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in ("sync", "status", "migrate"):
        done = shell.run(command)
        assert done.code == 1, command
        assert "newer" in done.err, command
        assert "upgrade agentsd" in done.err, command
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    done = shell.run("sync")
    assert done.code == 1
    assert "older" in done.err


def test_migrate_down_and_up(shell: Shell, database_url: str) -> None:
    """Downwards only when it is said."""
    shell.env(AGENTSD_DATABASE_URL=database_url)
    done = shell.run("migrate", "--downgrade", "--revision", "base")
    assert done.code == 0
    assert "base" in done.err
    assert shell.run("migrate").code == 0
    done = shell.run("migrate", "--revision", "nope")
    assert done.code in (1, 2)
    assert "Traceback" not in done.err
    downgrade_schema(database_url, "base")


def test_migrate_needs_a_database(shell: Shell) -> None:
    """There is no embedded one to migrate without `up`."""
    done = shell.run("migrate")
    assert done.code == 2
    assert "AGENTSD_DATABASE_URL" in done.err


def test_status_without_a_database(shell: Shell) -> None:
    """It starts nothing."""
    done = shell.run("status")
    assert done.code == 2
    assert "agentsd up" in done.err
    assert not (shell.root / "postgres").exists()


def test_doctor(stocked: Shell) -> None:
    """One line a check; 1 if anything is wrong, and what to do about it."""
    done = stocked.run("doctor")
    assert done.code == 1
    assert "✗ keys" in done.out
    assert "SOPS_AGE_KEY_FILE" in done.out
    stocked.env(SOPS_AGE_KEY_FILE="key.txt")
    done = stocked.run("doctor")
    assert (done.code, done.err) == (0, "")
    checks = [line.split()[1] for line in done.out.splitlines()[1:]]
    assert {"sops", "keys", "recipients", "manifests", "database"} <= set(checks)
    assert done.out.count("✓") == len(checks)
    assert "AGE-SECRET-KEY" not in done.out
    stocked.env(AGENTSD_DATABASE_URL=DOWN)
    stocked.write("bad.yaml", "x: [")
    done = stocked.run("doctor")
    assert done.code == 1
    assert done.out.count("✗") == 2


@pytest.mark.parametrize("edit", [lambda text: f"# a note\n{text}", lambda text: text.replace("\n", "\r\n")])
def test_an_edit_of_the_form_alone(stocked: Shell, edit: Callable[[str], str]) -> None:
    """A comment, or a checkout with other line endings: the plan names why there is a change."""
    file = stocked.root / "agents.d/a.yaml"
    assert stocked.run("sync").code == 0
    file.write_bytes(edit(file.read_text()).encode())
    done = stocked.run("plan")
    assert "comments, layout or line endings only" in done.out
    (change,) = stocked.run("plan", "--format", "json").json()["changes"]
    assert (change["reason"], change["fields"]) == ("form", [])
