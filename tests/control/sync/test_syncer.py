"""Rounds: who asked for one is on record, and reports come one after the other."""

from __future__ import annotations

import asyncio

from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.sync.syncer import RoundReport, Syncer
from tests.control.place import Place, echo, make_checker, uid
from tests.files.git.repositories import git
from tests.runtime.world import Keys


async def test_reports_name_the_trigger_and_keep_their_order(place: Place, keys: Keys) -> None:
    """A slow report of an edit holds up neither that edit nor comes after the next round's."""
    heard: list[tuple[str, int | None]] = []
    slow = asyncio.Event()

    async def hear(report: RoundReport) -> None:
        if report.trigger == "api":
            await slow.wait()
        assert report.outcome is not None
        heard.append((report.trigger, report.outcome.head.version if report.outcome.head else None))

    reconciler = Reconciler(make_checker(keys), place.database)
    syncer = Syncer(place.root, reconciler, SyncOptions(), hear)
    place.write({"a.yaml": echo(1)})
    await syncer.round(None)
    place.write({"a.yaml": echo(1, reply="by the API")})
    async with syncer.turn() as turn:
        edited = await turn.round(["a.yaml"])
    assert (edited.trigger, heard) == ("api", [("watch", 1)])
    place.write({"a.yaml": echo(1, reply="by hand")})
    later = asyncio.create_task(syncer.round(frozenset({"a.yaml"})))
    await asyncio.sleep(0)
    slow.set()
    await later
    await syncer.aclose()
    assert heard == [("watch", 1), ("api", 2), ("watch", 3)]


async def test_what_is_not_committed_has_no_commit(place: Place, keys: Keys) -> None:
    """A row has the commit that its files are of: none for an edit, or a prompt, that git does not know."""
    git(place.root, "init", "-q", "-b", "main")
    prompted = f"id: {uid(2)}\nname: Two\nsystem_prompt_file: prompts/a b.md\nllm: {{provider: echo.local}}\n"
    place.write({"a.yaml": echo(1), "acme/b.yaml": prompted, "acme/prompts/a b.md": "Be kind.\n"})
    git(place.root, "add", "-A")
    git(place.root, "commit", "-q", "-m", "first")
    syncer = Syncer(place.root, Reconciler(make_checker(keys), place.database), SyncOptions(), ignore)
    await syncer.round(None)
    head = git(place.root, "rev-parse", "HEAD")
    assert await commits(place) == {"a": {head}, "acme/b": {head}}
    place.write({"a.yaml": echo(1, reply="by hand"), "acme/prompts/a b.md": "Be brief.\n"})
    await syncer.round(None)
    assert await commits(place) == {"a": {head, None}, "acme/b": {head, None}}
    place.write({"a.yaml": echo(1, reply="committed")})
    git(place.root, "commit", "-q", "-a", "-m", "second")
    await syncer.round(None)
    assert (await commits(place))["a"] == {head, None, git(place.root, "rev-parse", "HEAD")}
    await syncer.aclose()


async def ignore(_: RoundReport) -> None:
    """Nobody listens."""


async def commits(place: Place) -> dict[str, set[str | None]]:
    """The commits of the revisions of each agent; the row itself has that of its last one."""
    async with place.database.transaction(snapshot=True) as connection:
        cursor = await connection.execute(
            "SELECT slug, commit, version FROM agent_revisions ORDER BY version"
        )
        revisions = await cursor.fetchall()
        rows = dict(await (await connection.execute("SELECT slug, commit FROM agents")).fetchall())
    found: dict[str, set[str | None]] = {}
    for slug, commit, _ in revisions:
        found.setdefault(slug, set()).add(commit)
    assert rows == {slug: commit for slug, commit, _ in revisions}
    return found
