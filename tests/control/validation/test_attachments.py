"""The files that a manifest names: found, bounded, and part of the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.cli.compose.factories import load_settings, make_checker
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.validation.validate import validate_tree
from agentsd.core.errors import InvalidManifests
from agentsd.files.tree import read_tree
from agentsd.store.database import Database
from agentsd.store.queries import agents as store
from agentsd.store.queries import knowledge

SEAL = "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"
AGENT = """\
id: 0b6e3c0e-2f0c-4a57-9b51-6d3f1d1f7a0{digit}
name: Agent
llm:
  provider: echo.local
{more}
"""


def _write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def _manifest(root: Path, path: str, more: str, digit: int = 1) -> None:
    _write(root, path, AGENT.format(digit=digit, more=more))


async def _codes(root: Path) -> list[tuple[str, int]]:
    found = await validate_tree(read_tree(root), make_checker(load_settings(path=root)))
    return [(violation.code, violation.line) for violation in found]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("system_prompt_file: prompts/gone.md", "attachment-missing"),
        ("system_prompt_file: ../outside.md", "attachment-missing"),
        ("system_prompt_file: /etc/passwd.txt", "attachment-missing"),
        ("system_prompt_file: prompts//ok.md", "attachment-missing"),
        ("system_prompt_file: acme/secret.md", "attachment-missing"),
        ("system_prompt_file: prompts/data.pdf", "attachment-name"),
        ("system_prompt_file: prompts/ok.yaml", "attachment-name"),
        ("system_prompt_file: prompts/_hidden.md", "attachment-name"),
        ("system_prompt_file: prompts/latin.txt", "attachment-unreadable"),
        ("system_prompt_file: prompts/link.md", "symlink-outside"),
        ("system_prompt_file: prompts/reserved.md", "symlink-kind"),
        ("system_prompt_file: prompts/git.md", "symlink-kind"),
        ("system_prompt_file: prompts/sealed.md", "attachment-sealed"),
        ("rag:\n  sources: [prompts/sealed.txt]", "attachment-sealed"),
        ("rag:\n  sources: [prompts/broken.pdf]", "attachment-unreadable"),
        ("rag:\n  sources: [prompts/ok.md, prompts/gone.md]", "attachment-missing"),
        ("system_prompt: x\nsystem_prompt_file: prompts/ok.md", "prompt-twice"),
    ],
)
async def test_what_cannot_be_attached(tmp_path: Path, more: str, code: str) -> None:
    """Each by its name, at the line that names the file; nothing outside the owner's folder is ever read."""
    root = tmp_path / "agents.d"
    _manifest(root, "agent.yaml", more)
    _manifest(root, "acme/other.yaml", "", digit=2)
    _write(root, "acme/secret.md", "of acme")
    _write(root, "prompts/ok.md", "fine")
    _write(root, "prompts/_hidden.md", "no")
    _write(tmp_path, "outside.md", "no")
    (root / "prompts/latin.txt").write_bytes(b"caf\xe9")
    (root / "prompts/broken.pdf").write_bytes(b"%PDF-1.7 nothing follows")
    (root / "prompts/link.md").symlink_to(tmp_path / "outside.md")
    (root / "prompts/reserved.md").symlink_to("_hidden.md")
    _write(root, "prompts/.git/x.md", "of git")
    (root / "prompts/git.md").symlink_to(".git/x.md")
    _write(root, "prompts/sealed.md", f'{{"data": "{SEAL}", "sops": {{"mac": "{SEAL}"}}}}')
    _write(root, "prompts/sealed.txt", f"hello: {SEAL}\nsops:\n    mac: {SEAL}\n")
    line = AGENT.format(digit=1, more=more).splitlines().index(more.splitlines()[-1]) + 1
    assert await _codes(root) == [(code, line)]


async def test_a_text_about_seals_is_a_text(tmp_path: Path) -> None:
    """Only what sops encrypted as a whole is refused, and no size of such a text delays the check."""
    _manifest(tmp_path, "agent.yaml", "rag:\n  sources: [about.md, object.txt]")
    _write(
        tmp_path,
        "about.md",
        f"# Seals\n\n```\nsops:\n    mac: {SEAL}\n```\n" + "sops:\n  \n" * 50_000 + "end",
    )
    _write(tmp_path, "object.txt", f'{{"example": "{SEAL}"}}')
    assert await _codes(tmp_path) == []


async def test_an_owner_names_files_of_its_own_folder(tmp_path: Path) -> None:
    """Names are relative to the owner's folder."""
    _manifest(tmp_path, "acme/deep/agent.yaml", "system_prompt_file: prompts/ok.md")
    _write(tmp_path, "acme/prompts/ok.md", "fine")
    assert await _codes(tmp_path) == []


async def _sync(database: Database, root: Path, reconciler: Reconciler | None = None) -> tuple[str, ...]:
    reconciler = reconciler or Reconciler(make_checker(load_settings(path=root)), database)
    outcome = await reconciler.sync(read_tree(root), SyncOptions())
    return tuple(change.operation for change in outcome.plan.changes)


@pytest.mark.parametrize("remembering", [True, False])
async def test_an_edited_prompt_is_a_change_of_its_agent(
    database: Database, tmp_path: Path, remembering: bool
) -> None:
    """Of the agent that names it and of no other; the row carries the prompt; the manifest did not change."""
    _manifest(tmp_path, "agent.yaml", "system_prompt_file: prompts/ok.md")
    _manifest(tmp_path, "other.yaml", "", digit=2)
    _write(tmp_path, "prompts/ok.md", "Be brief.")
    checker = make_checker(load_settings(path=tmp_path))
    kept = Reconciler(checker, database) if remembering else None
    assert await _sync(database, tmp_path, kept) == ("create", "create")
    assert await _sync(database, tmp_path, kept) == ()
    _write(tmp_path, "prompts/ok.md", "Be very brief indeed.")
    assert await _sync(database, tmp_path, kept) == ("update",)
    assert await _sync(database, tmp_path, kept) == ()
    async with database.transaction(snapshot=True) as conn:
        rows = {row.slug: row.prompt for row in (await store.load_all(conn)).rows}
    assert rows == {"agent": b"Be very brief indeed.", "other": None}
    _write(tmp_path, "prompts/ok.md", "\n")
    (tmp_path / "prompts/ok.md").unlink()
    with pytest.raises(InvalidManifests):
        await _sync(database, tmp_path, kept)


async def test_sources_are_searchable_at_commit_and_forgotten_when_unused(
    database: Database, tmp_path: Path
) -> None:
    """No key, no network, no runtime: the passages are there; an unchanged source is not cut again."""
    _manifest(tmp_path, "agent.yaml", "rag:\n  sources: [faq.md]")
    _write(tmp_path, "faq.md", "# Returns\nWithin thirty days.\n")
    await _sync(database, tmp_path)
    async with database.transaction(snapshot=True) as conn:
        (row,) = (await store.load_all(conn)).rows
        sources = {digest: path for path, digest in row.sources}
        (passage,) = await knowledge.search_passages(conn, "returns?", sources, limit=3)
    assert (passage.path, passage.heading, passage.text) == ("faq.md", "Returns", "Within thirty days.")
    _write(tmp_path, "faq.md", "# Returns\nNever.\n")
    assert await _sync(database, tmp_path) == ("update",)
    async with database.transaction(snapshot=True) as conn:
        assert await knowledge.find_missing_sources(conn, sources) == set(sources), (
            "the old text is still there"
        )
