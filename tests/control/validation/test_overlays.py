"""``--env prod``: the files of ``envs/prod`` over those of ``agents.d``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from agentsd.cli.commands.validate import validate_command
from agentsd.cli.compose.factories import load_settings
from agentsd.control.sync.reconciler import SyncResult
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.sync.watcher import Watcher
from agentsd.control.validation.validate import validate_tree
from agentsd.core.errors import ConfigError, InvalidManifests
from agentsd.files.git.command import read_head_commit, run
from agentsd.files.git.merge_base import read_commit, read_merge_base_tree
from agentsd.files.git.tree_reader import CommitReader
from agentsd.files.tree import Tree, read_tree, reread_files
from agentsd.store.queries import agents
from tests.control.place import Place, echo, make_checker, operations, uid
from tests.runtime.world import Keys

PROD = "../envs/prod/"


def tree(place: Place) -> Tree:
    return read_tree(place.root, env="prod")


async def sync(place: Place, files: dict[str, str | None] | None = None, **options: Any) -> SyncResult:
    place.write(files or {})
    return await place.reconciler.sync(tree(place), replace(place.options, **options))


async def says(place: Place) -> dict[str, dict[str, Any]]:
    """What the runtime loads: the provider's section by slug, as SQL readers see it."""
    async with place.database.transaction(snapshot=True) as conn:
        cursor = await conn.execute(
            "SELECT slug, llm_provider_config, path, is_default FROM agents ORDER BY 1"
        )
        return {
            slug: {**llm, "path": path, "default": default}
            for slug, llm, path, default in await cursor.fetchall()
        }


async def test_an_overlay_is_merged_over_the_base(place: Place) -> None:
    """In the order: defaults, manifest, the overlay's defaults, its file; the base's id stays."""
    await sync(
        place,
        {
            "_defaults.yaml": "llm:\n  reply: defaults\n  delay_seconds: 0.5\n",
            "a.yaml": f"id: {uid(1)}\nllm:\n  provider: echo.local\n  reply: base\n",
            "b.yaml": f"id: {uid(2)}\nllm:\n  provider: echo.local\n  reply: base\n",
            "acme/c.yaml": f"id: {uid(3)}\nllm:\n  provider: echo.local\n",
            f"{PROD}_defaults.yaml": "llm:\n  reply: prod\n",
            f"{PROD}a.yaml": "default: true\nllm:\n  reply: mine\n",
            f"{PROD}acme/new.yaml": f"id: {uid(4)}\nllm:\n  provider: echo.local\n",
        },
    )
    common = {"provider": "echo.local", "delay_seconds": 0.5}
    assert await says(place) == {
        "a": {**common, "reply": "mine", "path": "a.yaml", "default": True},
        "b": {**common, "reply": "prod", "path": "b.yaml", "default": False},
        "acme/c": {**common, "reply": "prod", "path": "acme/c.yaml", "default": False},
        "acme/new": {**common, "reply": "prod", "path": f"{PROD}acme/new.yaml", "default": False},
    }
    stored = (await place.stored()).agents
    assert stored[UUID(uid(4))].owner == "acme"
    async with place.database.transaction(snapshot=True) as conn:
        rows = {row.slug: row for row in (await agents.load_all(conn)).rows}
    assert [layer.path for layer in rows["a"].layers] == [
        "_defaults.yaml",
        f"{PROD}_defaults.yaml",
        f"{PROD}a.yaml",
    ]
    assert rows["a"].data == (place.root / "a.yaml").read_bytes()
    for again in (place, place.again(make_checker(None))):
        assert (await sync(again)).head is None


async def test_an_edit_of_an_overlay_changes_its_agents(place: Place) -> None:
    """Of its file that one, of its defaults all; without ``--env`` the base is what it was."""
    await sync(place, {"a.yaml": echo(1), "b.yaml": echo(2), f"{PROD}a.yaml": "greeting: one\n"})
    assert operations(await sync(place, {f"{PROD}a.yaml": "greeting: two\n"})) == {("update", "a")}
    assert operations(await sync(place, {f"{PROD}_defaults.yaml": "language: en\n"})) == {
        ("update", "a"),
        ("update", "b"),
    }
    plain = await place.reconciler.plan(read_tree(place.root), place.options)
    assert operations(plain) == {("update", "a"), ("update", "b")}
    both = await sync(place, {f"{PROD}a.yaml": None, f"{PROD}_defaults.yaml": None})
    assert operations(both) == {("update", "a"), ("update", "b")}
    stored = (await place.stored()).agents
    assert {row.digest for row in stored.values()} == {row.document_digest for row in stored.values()}


async def test_what_is_wrong_in_an_overlay_is_told_there(place: Place) -> None:
    """Another id, a misspelling, a value that does not fit, a file of the overlay that stands alone."""
    place.write(
        {
            "a.yaml": echo(1),
            f"{PROD}a.yaml": f"id: {uid(9)}\n",
            "b.yaml": echo(2),
            f"{PROD}b.yaml": "llm:\n  replly: x\n",
            "c.yaml": echo(3),
            f"{PROD}c.yaml": "llm:\n  provider: groq.com\n",
            f"{PROD}d.yaml": "greeting: alone\n",
            f"{PROD}e.yaml": "llm:\n  provider: echo.local\n  reply: 1\n",
            f"{PROD}_user.yaml": "email: a@example.org\n",
        }
    )
    told = {
        f"{v.where} {v.code}"
        for v in await validate_tree(tree(place), make_checker(None))
        if v.severity == "error"
    }
    assert told == {
        f"{PROD}a.yaml:1:1 layer-field",
        f"{PROD}b.yaml:2:3 unknown-key",
        f"{PROD}c.yaml:1:1 missing-key",
        f"{PROD}e.yaml:3:10 wrong-type",
        f"{PROD}_user.yaml:1:1 user-misplaced",
    }
    with pytest.raises(InvalidManifests):
        await sync(place)


async def test_an_overlay_cannot_take_a_key_of_the_base(place: Place, keys: Keys) -> None:
    """Nor the base's defaults; and an owner's overlay no key of another owner."""
    section = "llm:\n  provider: groq.com\n  api_key: sk-base\n  model: m\n"
    place.write(
        {
            "a.yaml": keys.seal(f"id: {uid(1)}\n{section}"),
            f"{PROD}a.yaml": "llm:\n  api_url: https://evil.example\n",
            "acme/b.yaml": f"id: {uid(2)}\nllm:\n  provider: echo.local\n",
            f"{PROD}_defaults.yaml": keys.seal(
                "tts:\n  provider: elevenlabs.io\n  api_key: sk-top\n  voice_id: v\n"
            ),
        }
    )
    told = {f"{v.path} {v.code}" for v in await validate_tree(tree(place), make_checker(keys))}
    assert told == {f"{PROD}a.yaml missing-key", f"{PROD}_defaults.yaml layer-secret"}


async def test_texts_of_an_overlay_take_the_place_of_the_bases(place: Place) -> None:
    """A prompt of the same name; the base's is read where the overlay has none."""
    await sync(
        place,
        {
            "acme/a.yaml": echo(1, extra="system_prompt_file: p.md\n"),
            "acme/b.yaml": echo(2, extra="system_prompt_file: q.md\n"),
            "acme/p.md": "base p",
            "acme/q.md": "base q",
            f"{PROD}acme/p.md": "prod p",
        },
    )
    async with place.database.transaction(snapshot=True) as conn:
        rows = {row.slug: row.prompt for row in (await agents.load_all(conn)).rows}
    assert rows == {"acme/a": b"prod p", "acme/b": b"base q"}
    assert (await sync(place.again(make_checker(None)))).head is None
    assert operations(await sync(place, {f"{PROD}acme/p.md": None})) == {("update", "acme/a")}


async def test_an_overlay_must_be_there(place: Place) -> None:
    """A misspelled name is never taken for an empty overlay; a tree that was read keeps its own."""
    place.write({"a.yaml": echo(1)})
    with pytest.raises(ConfigError, match="envs/prod is not a folder"):
        tree(place)
    place.write({f"{PROD}a.yaml": "greeting: x\n"})
    read = tree(place)
    assert read_tree(place.root, read).files == read.files
    place.write({f"{PROD}a.yaml": "greeting: other\n"})
    again = reread_files(read, [f"{PROD}a.yaml"])
    assert again.files[f"{PROD}a.yaml"].data == b"greeting: other\n"
    assert again.overlay == PROD


async def test_the_daemon_watches_both(place: Place) -> None:
    """A file saved in the overlay is reconciled as one in the base is."""
    place.write({"a.yaml": echo(1), f"{PROD}a.yaml": "greeting: one\n"})
    reports: asyncio.Queue[RoundReport] = asyncio.Queue()
    syncer = Syncer(place.root, place.reconciler, place.options, reports.put, env="prod")
    task = asyncio.create_task(Watcher(syncer).run())
    try:
        async with asyncio.timeout(30):
            while not (await reports.get()).outcome:
                pass
            for path, text in ((f"{PROD}a.yaml", "greeting: two\n"), ("a.yaml", echo(1, reply="x"))):
                place.write({path: text})
                while True:
                    report = await reports.get()
                    if report.outcome and report.outcome.head:
                        break
                assert operations(report.outcome) == {("update", "a")}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_commit_is_read_as_its_files_are(place: Place) -> None:
    """In pull mode and for ``plan --against``: the same paths, bytes and layers as on disk."""
    place.write(
        {
            "a.yaml": echo(1),
            "acme/p.md": "base",
            f"{PROD}_defaults.yaml": "greeting: one\n",
            f"{PROD}a.yaml": "language: en\n",
            f"{PROD}acme/p.md": "prod",
        }
    )
    top = place.root.parent
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"),
    ):
        assert (await run(top, *command)).code == 0
    commit = await read_head_commit(top)
    assert commit is not None
    git = partial(run, top)
    for env in ("prod", None):
        found = await read_commit((CommitReader(git), CommitReader(git)), commit, "agents.d", env)
        on_disk = read_tree(place.root, env=env)
        for one, other in ((found.files, on_disk.files), (found.attachments, on_disk.attachments)):
            assert {path: file.data for path, file in one.items()} == {
                path: file.data for path, file in other.items()
            }
        paths = [layer.path for layer in found.beside.layers_of("a.yaml")]
        assert paths == [layer.path for layer in on_disk.beside.layers_of("a.yaml")]
    with pytest.raises(ConfigError, match="no folder envs/staging"):
        await read_commit((CommitReader(git), CommitReader(git)), commit, "agents.d", "staging")
    then, before = await read_merge_base_tree(place.root, "HEAD", "prod")
    assert (then, before.files.keys()) == (commit, tree(place).files.keys())


def test_the_command_line_knows_overlays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option and by environment; files are named as they are found from here, and a name is a name."""
    place.write({"a.yaml": echo(1), f"{PROD}a.yaml": "greting: x\n"})
    monkeypatch.chdir(place.root.parent)
    monkeypatch.delenv("SOPS_AGE_KEY_FILE", raising=False)
    runner = CliRunner()
    assert runner.invoke(validate_command, []).exit_code == 0
    done = runner.invoke(validate_command, ["--env", "prod", "--format", "json"])
    assert [v["path"] for v in json.loads(done.stdout)["violations"]] == ["envs/prod/a.yaml"]
    monkeypatch.setenv("AGENTSD_ENV", "prod")
    assert "envs/prod/a.yaml:1:1" in runner.invoke(validate_command, []).stderr
    assert load_settings(env="").env is None
    for name in ("../x", "a/b", "..", "Prod", ".hidden"):
        with pytest.raises(ConfigError):
            load_settings(env=name)
