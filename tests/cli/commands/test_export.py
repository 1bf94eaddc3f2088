"""``agentsd export``: the store as files again."""

from __future__ import annotations

import shutil

import psycopg
import pytest

from tests.cli.conftest import Shell
from tests.control.place import echo


@pytest.fixture
def synced(stocked: Shell) -> Shell:
    """Sealed and plain agents, a prompt of its own file, a layer and a user file, all of them synced."""
    stocked.write("acme/_user.yaml", "email: ops@example.org\n")
    stocked.write("acme/_defaults.yaml", "description: Of Acme\n")
    stocked.write("prompts/long.md", "You are patient.\n")
    stocked.write("c.yaml", echo(3, extra="system_prompt_file: prompts/long.md\n"))
    done = stocked.run("sync")
    assert done.code == 0, done.err
    return stocked


def files(shell: Shell, folder: str = "agents.d") -> dict[str, bytes]:
    """Every file of a folder."""
    root = shell.root / folder
    return {
        file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def test_it_is_what_was_synced(synced: Shell) -> None:
    """Byte for byte, without a key; a sync of the result changes nothing."""
    done = synced.run("export", "restored")
    assert done.code == 0, done.err
    assert files(synced, "restored") == files(synced)
    assert "3 agents and 1 user files of source 'main' (6 new" in done.err
    again = synced.run("sync", "--path", "restored", "--format", "json")
    assert (again.code, again.json()["version"]) == (0, 1), again.out
    assert synced.run("plan", "--path", "restored", "--detailed-exitcode").code == 0


def test_layers_come_along(stocked: Shell) -> None:
    """Folder defaults and overlays, each where it belongs; the overlay is beside the folder."""
    overlay = stocked.root / "envs/prod/a.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("llm:\n  reply: in production\n")
    stocked.write("_defaults.yaml", "language: en\n")
    assert stocked.run("sync", "--env", "prod").code == 0
    done = stocked.run("export", "restored/agents.d")
    assert done.code == 0, done.err
    assert files(stocked, "restored/agents.d") == files(stocked)
    assert files(stocked, "restored/envs") == files(stocked, "envs")
    again = stocked.run("plan", "--env", "prod", "--path", "restored/agents.d", "--detailed-exitcode")
    assert again.code == 0, again.out


def test_other_content_is_not_replaced(synced: Shell) -> None:
    """Nothing at all is written then; --force does. What is there already is left, what is more is told."""
    shutil.copytree(synced.root / "agents.d", synced.root / "restored")
    (synced.root / "restored/a.yaml").write_text("name: Mine\n")
    (synced.root / "restored/c.yaml").unlink()
    (synced.root / "restored/more.yaml").write_text(echo(9))
    before = files(synced, "restored")
    refused = synced.run("export", "restored")
    assert (refused.code, "restored/a.yaml" in refused.err, "--force" in refused.err) == (2, True, True)
    assert files(synced, "restored") == before
    done = synced.run("export", "restored", "--force")
    assert (done.code, "1 new, 1 replaced, 4 unchanged" in done.err) == (0, True), done.err
    assert "restored/more.yaml: in the folder, but not in the database" in done.err
    assert {**files(synced), "more.yaml": echo(9).encode()} == files(synced, "restored")


def test_knowledge_is_kept_by_digest_only(stocked: Shell) -> None:
    """What the store does not hold is told, with 1, unless the folder has it."""
    stocked.write("faq.md", "# Opening hours\n")
    stocked.write("k.yaml", echo(4, extra="rag:\n  sources: [faq.md]\n"))
    assert stocked.run("sync").code == 0
    done = stocked.run("export", "restored")
    assert (done.code, "restored/faq.md: not in the database" in done.err) == (1, True), done.err
    shutil.copy(stocked.root / "agents.d/faq.md", stocked.root / "restored")
    assert stocked.run("export", "restored").code == 0


def test_a_row_never_leads_out_of_the_folder(synced: Shell, database_url: str) -> None:
    """Whoever could write to the store does not write to this disk."""
    for path in ("../evil.yaml", "/etc/evil.yaml", ".git/hooks.yaml", "a/../../b.yaml", "run.sh"):
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE agents SET path = %s WHERE slug = 'a'", (path,))
        done = synced.run("export", "restored")
        assert (done.code, "a stored path leads out" in done.err) == (1, True), done.err
        assert not (synced.root / "restored").exists()


def test_a_link_never_leads_out_of_the_folder(synced: Shell) -> None:
    """Nor do the links that are in it."""
    (synced.root / "restored").mkdir()
    (synced.root / "elsewhere").mkdir()
    (synced.root / "restored/acme").symlink_to(synced.root / "elsewhere")
    done = synced.run("export", "restored")
    assert (done.code, "leads out" in done.err) == (2, True), done.err
    assert list((synced.root / "elsewhere").iterdir()) == []


def test_a_damaged_document_is_refused(synced: Shell, database_url: str) -> None:
    """It is not what its digest says; nothing is written."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE documents SET data = data || 'x'::bytea WHERE path = 'a.yaml'")
    done = synced.run("export", "restored")
    assert (done.code, "changed by hand" in done.err) == (1, True), done.err
    assert not (synced.root / "restored").exists()


def test_another_source_is_not_in_it(synced: Shell) -> None:
    """Only what came from the tree of that name."""
    done = synced.run("export", "restored", "--source", "other")
    assert (done.code, "nothing of source 'other'" in done.err) == (2, True), done.err
