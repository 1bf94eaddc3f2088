"""Pull mode over real repositories and a real store: what is applied, what is refused, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentsd.control.pull.commit_policy import PullOptions, SourceMoved
from agentsd.control.pull.puller import Checkout, CommitStatus, Puller
from agentsd.control.sync import reconciler as reconcile
from agentsd.control.sync.reconciler import Reconciler
from agentsd.control.sync.run_log import record_result
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.core.errors import StaleSync
from agentsd.core.trust.remotes import parse_remote
from agentsd.files.git.mirror import GOOD_REF, Mirror, PullFailed
from agentsd.files.git.signatures import TrustedSigners, UntrustedCommit
from agentsd.store.queries import pulls
from agentsd.store.queries.pulls import PullState
from tests.control.place import Place, echo, make_checker
from tests.files.git.remote import Origin, new_origin, ssh_key
from tests.runtime.world import Keys

NEVER = 3600.0
WAIT_SECONDS = 60
"""Bound on a wait that ends at once when the test passes."""


@dataclass
class Pulled:
    """A puller at work, and everything that it said."""

    puller: Puller
    place: Place
    reports: asyncio.Queue[RoundReport] = field(default_factory=asyncio.Queue)
    verdicts: list[CommitStatus] = field(default_factory=list)

    async def until(self, done: Callable[[RoundReport], object]) -> RoundReport:
        """The first report from now on that is ``done``."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not done(report := await self.reports.get()):
                continue
            return report

    async def applied(self, commit: str) -> RoundReport:
        """Pull, and wait until ``commit`` is reconciled and on record."""
        self.puller.pull()
        report = await self.until(lambda report: report.outcome and report.commit == commit)
        assert (await self.told(lambda pull: pull.last_applied == commit)).reason is None
        return report

    async def refused(self, kind: type[Exception], reason: str) -> PullState:
        """Pull, and wait until that is refused and on record."""
        self.puller.pull()
        await self.until(lambda report: isinstance(report.error, kind))
        return await self.told(lambda pull: pull.reason == reason)

    async def told(self, done: Callable[[PullState], object]) -> PullState:
        """What is on record, once it is ``done``."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                async with self.place.database.transaction(snapshot=True) as connection:
                    found = await pulls.list_pulls(connection)
                if found and done(found[0]):
                    return found[0]
                await asyncio.sleep(0.01)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """Two agents on ``main``."""
    made = new_origin(tmp_path / "git")
    made.commit({"acme/sales.yaml": echo(2), "support.yaml": echo(1, "One")})
    return made


@asynccontextmanager
async def pulling(place: Place, mirror: Mirror, **options: Any) -> AsyncIterator[Pulled]:
    """At work on ``place``'s store, until the block ends. It pulls only when it is told to."""
    checkout = Checkout()
    given = {"interval": NEVER, "resync": NEVER, "confirm": 0.05, **options}
    reconciler = Reconciler(make_checker(None), place.database)

    async def hear(report: RoundReport) -> None:
        if report.outcome:
            order = replace(place.options, commit=report.commit)
            now = datetime.now(UTC)
            await record_result(place.database, report.outcome, order, trigger="watch", started_at=now)
        await pulled.reports.put(report)

    syncer = Syncer(Path("agents.d"), reconciler, place.options, hear, pulled=checkout)
    settings = PullOptions("main", "agents.d", **given)
    verdicts: list[CommitStatus] = []
    puller = Puller(syncer, checkout, place.database, mirror, settings, tell=verdicts.append)
    pulled = Pulled(puller, place, verdicts=verdicts)
    task = asyncio.create_task(pulled.puller.run())
    try:
        yield pulled
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def names(place: Place) -> dict[str, str]:
    """The stored agents' names by slug."""
    async with place.database.transaction(snapshot=True) as connection:
        cursor = await connection.execute("SELECT slug, name FROM agents WHERE deleted_at IS NULL")
        return dict(await cursor.fetchall())


async def test_pushes_are_applied(place: Place, origin: Origin) -> None:
    """Each with its commit; a file that is gone is pruned; a bad one is set aside, and the forge told."""
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(origin.git("rev-parse", "HEAD"))
        assert await names(place) == {"support": "One", "acme/sales": "Echo"}
        commit = origin.commit({"support.yaml": echo(1, "Two"), "acme/sales.yaml": None})
        report = await pulled.applied(commit)
        assert report.outcome
        assert await names(place) == {"support": "Two"}
        async with place.database.transaction(snapshot=True) as connection:
            assert await pulls.load_applied_commit(connection, "main") == commit
        bad = origin.commit({"bad.yaml": "name: [\n"})
        await pulled.applied(bad)
        assert [(verdict.good, verdict.text) for verdict in pulled.verdicts[1:]] == [
            (True, "1 to update, 1 to delete; 0 unchanged"),
            (False, pulled.verdicts[2].text),
        ]
        assert "1 refused" in pulled.verdicts[2].text


async def test_a_fetch_that_fails_keeps_the_last_good_tree(place: Place, origin: Origin) -> None:
    """And says so, and heals drift meanwhile; when the remote is back, so is everything."""
    async with pulling(place, origin.mirror(), resync=0.01) as pulled:
        first = origin.git("rev-parse", "HEAD")
        await pulled.applied(first)
        away = origin.bare.rename(origin.bare.with_name("away"))
        pull = await pulled.refused(PullFailed, "FetchFailed")
        assert (pull.last_attempted, pull.last_applied) == (first, first)
        assert "there is no repository at" in pull.message
        await place.execute("UPDATE agents SET name = 'By hand' WHERE slug = 'support'")
        pulled.puller.pull()
        report = await pulled.until(lambda report: report.outcome and report.outcome.head)
        assert report.commit == first
        assert (await names(place))["support"] == "One"
        away.rename(origin.bare)
        await pulled.applied(origin.commit({"support.yaml": echo(1, "Back")}))
        assert (await names(place))["support"] == "Back"


async def test_history_that_was_rewritten_is_followed(place: Place, origin: Origin) -> None:
    """An amended commit by force; and a ref that went back, once it is sure that it did."""
    async with pulling(place, origin.mirror()) as pulled:
        first = origin.git("rev-parse", "HEAD")
        await pulled.applied(first)
        await pulled.applied(origin.commit({"support.yaml": echo(1, "Two")}))
        await pulled.applied(origin.commit({"support.yaml": echo(1, "Amended")}, "again", "--amend"))
        assert (await names(place))["support"] == "Amended"
        origin.git("reset", "--quiet", "--hard", first)
        origin.push()
        await pulled.applied(first)
        assert (await names(place))["support"] == "One"


async def test_a_mirror_that_lags_for_a_moment_is_not_believed(place: Place, origin: Origin) -> None:
    """The ref is at an older commit, and then at the newer one again: nothing was undone."""
    async with pulling(place, origin.mirror(), confirm=NEVER) as pulled:
        first = origin.git("rev-parse", "HEAD")
        await pulled.applied(first)
        second = origin.commit({"support.yaml": echo(1, "Two")})
        await pulled.applied(second)
        origin.git("push", "--quiet", "--force", "origin", f"{first}:main")
        pulled.puller.pull()
        await asyncio.sleep(0.3)
        assert pulled.reports.empty()
        third = origin.commit({"support.yaml": echo(1, "Three")})
        await pulled.applied(third)
        assert (await names(place))["support"] == "Three"


async def test_an_older_commit_is_refused(place: Place, origin: Origin) -> None:
    """Of another ref that lags behind what is applied; unless that is meant."""
    first = origin.git("rev-parse", "HEAD")
    origin.git("push", "--quiet", "origin", f"{first}:refs/heads/old")
    newest = origin.commit({"support.yaml": echo(1, "Two")})
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(newest)
    async with pulling(place, origin.mirror("old")) as pulled:
        pull = await pulled.refused(StaleSync, "StaleCommit")
        assert (pull.last_attempted, pull.last_applied, pull.ref) == (first, newest, "main")
        assert first[:12] in pull.message
        assert not pulled.verdicts[-1].good
    assert (await names(place))["support"] == "Two"
    async with pulling(place, origin.mirror("old"), allow_older=True) as pulled:
        await pulled.applied(first)
    assert (await names(place))["support"] == "One"


async def test_another_remote_needs_to_be_adopted(place: Place, origin: Origin, tmp_path: Path) -> None:
    """What was applied from one is not taken over by another, until somebody says so."""
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(origin.git("rev-parse", "HEAD"))
    other = new_origin(tmp_path / "other")
    commit = other.commit({"support.yaml": echo(1, "Other")})
    async with pulling(place, other.mirror()) as pulled:
        pull = await pulled.refused(SourceMoved, "SourceMoved")
        assert pull.url == str(origin.bare)
        assert "--adopt" not in pull.message
        assert (await names(place))["support"] == "One"
    async with (
        pulling(place, other.mirror(), adopt=True, allow_mass_delete=True)
        if False
        else pulling(place, other.mirror(), adopt=True) as pulled
    ):
        await pulled.applied(commit)
    async with pulling(place, other.mirror(url=f"file://{other.bare}")) as pulled:
        await pulled.applied(other.commit({"support.yaml": echo(1, "Again")}))


async def test_only_trusted_commits_are_applied(place: Place, origin: Origin, tmp_path: Path) -> None:
    """An unsigned head is refused with a condition on the source, and the last good one stays."""
    key, line = ssh_key(tmp_path, "ada")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ada@example.org {line}\n")
    signed = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")

    def commit(name: str, *options: str) -> str:
        origin.place.write("support.yaml", echo(1, name))
        origin.git(*signed, "commit", "--quiet", "--all", "--message", name, *options)
        return origin.push()

    async with pulling(place, origin.mirror(), signers=TrustedSigners(allowed)) as pulled:
        pull = await pulled.refused(UntrustedCommit, "UntrustedCommit")
        assert (pull.last_applied, await names(place)) == (None, {})
        good = commit("Signed", "--gpg-sign")
        await pulled.applied(good)
        assert (await pulled.told(lambda pull: pull.signer)).signer.startswith("ada@example.org")  # type: ignore[union-attr]
        bad = commit("Unsigned")
        pull = await pulled.refused(UntrustedCommit, "UntrustedCommit")
        assert (pull.last_attempted, pull.last_applied) == (bad, good)
        assert (await names(place))["support"] == "Signed"
        assert pulled.verdicts[-1] == CommitStatus(bad, False, pull.message)
        await pulled.applied(commit("Both", "--gpg-sign"))


@pytest.mark.parametrize("lost", ["", "reference", "reference and record"])
async def test_a_restart_without_the_remote(place: Place, origin: Origin, lost: str) -> None:
    """What is applied is still here, wherever the process ended after it: drift is healed by it."""
    mirror = origin.mirror()
    first = origin.git("rev-parse", "HEAD")
    async with pulling(place, mirror) as pulled:
        await pulled.applied(first)
    if lost:
        await mirror.git("update-ref", "-d", GOOD_REF)
    if lost == "reference and record":
        await place.execute("DELETE FROM pulls")
    await place.execute("UPDATE agents SET name = 'By hand' WHERE slug = 'support'")
    origin.bare.rename(origin.bare.with_name("away"))
    async with pulling(place, Mirror(mirror.folder, parse_remote(str(origin.bare)), "main")) as pulled:
        report = await pulled.until(lambda report: report.outcome)
        assert report.commit == first
        assert (await names(place))["support"] == "One"


async def test_a_notification_has_it_pull(place: Place, origin: Origin) -> None:
    """What ``serve`` replicas send when a forge calls them."""
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(origin.git("rev-parse", "HEAD"))
        commit = origin.commit({"support.yaml": echo(1, "Notified")})
        async with asyncio.timeout(WAIT_SECONDS):
            while True:  # until it listens
                async with place.database.transaction() as connection:
                    await pulls.request_pull(connection)
                if (await names(place))["support"] == "Notified":
                    break
                await asyncio.sleep(0.05)
        assert (await pulled.told(lambda pull: pull.last_applied == commit)).ref == "main"


async def test_the_store_is_away_for_a_while(place: Place, origin: Origin, keys: Keys) -> None:
    """Nothing ends; what was pushed meanwhile comes with the next pull."""
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(origin.git("rev-parse", "HEAD"))
        commit = origin.commit({"support.yaml": echo(1, "Later")})
        await place.execute("ALTER TABLE pulls RENAME TO pulls_away")
        pulled.puller.pull()
        await pulled.until(lambda report: report.error)
        await place.execute("ALTER TABLE pulls_away RENAME TO pulls")
        await pulled.applied(commit)


async def test_the_forge_hears_of_a_commit_once_its_files_are_read(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that it is refused, while a text is still being read; it is applied without another pull."""
    monkeypatch.setattr(reconcile, "ROUND_SETTLE_SECONDS", 0.0)
    place.options = replace(place.options, strict=False)
    async with pulling(place, origin.mirror()) as pulled:
        await pulled.applied(origin.git("rev-parse", "HEAD"))
        text = "# Hours\n\n" + "We open at nine, and close at five. " * 1000
        named = echo(3, extra="rag:\n  sources: [hours.md]\n")
        commit = origin.commit({"beta/hours.md": text, "beta/knowing.yaml": named})
        report = await pulled.applied(commit)
        assert report.outcome
        assert [one.violations[0].code for one in report.outcome.plan.quarantined] == ["attachment-pending"]
        await pulled.until(lambda report: report.outcome and not report.outcome.plan.quarantined)
        assert "beta/knowing" in await names(place)
        async with asyncio.timeout(WAIT_SECONDS):
            while pulled.verdicts[-1].commit != commit:
                await asyncio.sleep(0.01)
        assert [verdict.good for verdict in pulled.verdicts] == [True, True]
