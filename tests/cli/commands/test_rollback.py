"""``agentsd rollback``, ``suspend``, ``resume`` and ``history --diff``."""

from __future__ import annotations

import shlex
import subprocess

import psycopg
import pytest

from tests.cli.conftest import Shell
from tests.control.place import echo, groq

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
PROMPTED = "system_prompt: |\n  Be kind.\n  {}\n"


def git(shell: Shell, *arguments: str) -> str:
    done = subprocess.run([*GIT, *arguments], cwd=shell.root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def lived(stocked: Shell) -> Shell:
    """Versions 1 (created), 2 (a's prompt), 3 (b's secret), 4 (b deleted), each a commit."""
    git(stocked, "init", "-q")
    steps = (
        {"a.yaml": echo(1, extra=PROMPTED.format("Be short."))},
        {"a.yaml": "# why\n" + echo(1, reply="bye", extra=PROMPTED.format("Be long."))},
        {"acme/b.yaml": stocked.keys.seal(groq(2, key="sk-canary-new"))},
        {"acme/b.yaml": None},
    )
    for step in steps:
        for path, text in step.items():
            if text is None:
                (stocked.root / "agents.d" / path).unlink()
            else:
                stocked.write(path, text)
        git(stocked, "add", "-A", "agents.d")
        git(stocked, "commit", "-qm", "step")
        assert stocked.run("sync").code == 0
    return stocked


def stored(url: str, what: str, slug: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            f"SELECT {what} FROM agents WHERE slug = %s AND deleted_at IS NULL".encode(),  # noqa: S608
            (slug,),
        ).fetchone()
    return row and row[0]


def test_back_to_an_older_revision(lived: Shell, database_url: str) -> None:
    """The file is as it was, byte for byte, is live, and the audit has an entry; again: nothing to do."""
    before = git(lived, "show", "HEAD~3:agents.d/a.yaml")
    done = lived.run("rollback", "a", "1")
    assert done.code == 0, done.err
    assert (lived.root / "agents.d/a.yaml").read_text().strip() == before
    assert "live as version 5" in done.err
    assert stored(database_url, "llm_provider_config->>'reply'", "a") == "hello"
    newest = lived.run("history", "a", "--format", "json").json()["items"][0]
    assert (newest["by"], newest["audit_entry"]["action"]) == ("default/local", "rollback")
    assert lived.run("rollback", "a", "1", "--format", "json").json()["changed"] is False


def test_a_deleted_agent_comes_back(lived: Shell, database_url: str) -> None:
    """With its file, its id and its secret, by slug; with a commit of that file alone."""
    lived.write("a.yaml", echo(1, reply="a draft"))
    done = lived.run("rollback", "acme/b", "3", "--commit", "--format", "json")
    assert done.code == 0, done.err
    body = done.json()
    assert body["commit"] == git(lived, "rev-parse", "HEAD")
    assert git(lived, "show", "--name-only", "--format=", "HEAD") == "agents.d/acme/b.yaml"
    assert git(lived, "show", "HEAD:agents.d/acme/b.yaml") == git(
        lived, "show", "HEAD~2:agents.d/acme/b.yaml"
    )
    assert stored(database_url, "version", "acme/b") == body["version"]


def test_where_the_files_are_not(lived: Shell) -> None:
    """Exit 1, and the command to run where they are."""
    refused = lived.run("rollback", "acme/b", "3", "--path", "/nowhere/agents.d")
    assert refused.code == 1
    command = next(line for line in refused.err.splitlines() if "git" in line)
    arguments = shlex.split(command[command.index("git checkout") :])
    assert arguments[:4] == ["git", "checkout", git(lived, "rev-parse", "HEAD~1"), "--"]
    assert arguments[4:] == ["agents.d/acme/b.yaml"]
    assert lived.run("rollback", "a", "1", "--source", "other").code == 1


def test_another_tree_names_its_command(lived: Shell) -> None:
    """The files are here, but another source's: the command works as it is printed."""
    refused = lived.run("rollback", "acme/b", "3", "--source", "other")
    command = next(line for line in refused.err.splitlines() if "git" in line)
    subprocess.run(shlex.split(command[command.index("git -C") :]), check=True, capture_output=True)
    assert (lived.root / "agents.d/acme/b.yaml").exists()


def test_what_cannot_be_gone_back_to(lived: Shell) -> None:
    """Unknown agents, versions before the first, and the moment of the delete."""
    assert lived.run("rollback", "nope", "1").code == 1
    assert "was already deleted" in lived.run("rollback", "acme/b", "4").err
    assert lived.run("rollback", "a", "0").code == 2
    git(lived, "checkout", "-q", "HEAD~2")
    assert "older" in lived.run("rollback", "a", "1").err


def test_suspended_and_resumed(lived: Shell, database_url: str) -> None:
    """One line of the file changes; comments stay; both are live at once."""
    before = (lived.root / "agents.d/a.yaml").read_text()
    assert lived.run("suspend", "a").code == 0
    text = (lived.root / "agents.d/a.yaml").read_text()
    assert set(text.splitlines()) - set(before.splitlines()) == {"active: false"}
    assert text.startswith("# why\n")
    assert stored(database_url, "is_active", "a") is False
    assert "is suspended already" in lived.run("suspend", "a").err
    assert lived.run("resume", "a").code == 0
    assert stored(database_url, "is_active", "a") is True
    assert "rollback" in lived.run("suspend", "acme/b").err


def test_a_sealed_agent_is_suspended_without_a_key(stocked: Shell, database_url: str) -> None:
    """Its MAC covers sealed values only."""
    assert stocked.run("sync").code == 0
    done = stocked.run("suspend", "acme/b", "--format", "json")
    assert done.code == 0, done.err
    assert stored(database_url, "is_active", "acme/b") is False


def test_what_changed(lived: Shell) -> None:
    """Field by field; the prompt as a line diff; a secret as that it did, without a key."""
    shown = lived.run("history", "a", "--diff").out
    assert '"hello" → "bye"' in shown
    assert "-Be short." in shown
    assert "+Be long." in shown
    items = lived.run("history", "a", "--diff", "--format", "json").json()["items"]
    by_field = {one["field"]: one for one in items[0]["changes"]}
    assert by_field["llm.reply"] == {
        "operation": "change",
        "field": "llm.reply",
        "old": "hello",
        "new": "bye",
    }
    assert "+Be long." in by_field["system_prompt"]["lines"]
    assert items[-1]["changes"] is None
    secret = lived.run("history", "acme/b", "--diff")
    assert "llm.api_key" in secret.out
    assert "ENC[" not in secret.out
    assert "canary" not in secret.out
    assert lived.run("history", "--diff").code == 2
