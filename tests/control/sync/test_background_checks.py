"""Slow seals and files are settled beside the rounds: one owner's tarpit holds up nobody's edits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentsd.control.sync import reconciler as reconcile
from agentsd.control.sync.reconciler import Reconciler
from agentsd.control.sync.syncer import RoundReport
from agentsd.control.validation import text_extraction as extraction
from agentsd.control.validation.checker import Checker
from agentsd.core.errors import InvalidManifests
from agentsd.core.trust.key_services import KeyServices
from agentsd.providers.catalog import default_catalog
from agentsd.sandbox.limits import CallLimits
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from tests.bench.hostile import TEXT, WORK, pdf
from tests.control.daemon import Daemon, daemon
from tests.control.place import Place, echo, groq, make_checker
from tests.runtime.world import Keys
from tests.sops.services import vault_key, with_block
from tests.vendors.listener import Listener

TOKEN = "hvs.canary-vault-token-7"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as one:
        yield one


@pytest.fixture
def slow(place: Place, database: Database, keys: Keys, listener: Listener) -> Place:
    """A place whose operator names a Vault that never answers; each call of sops has 60 s."""
    environ = {"SOPS_AGE_KEY": keys.identity, "VAULT_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    sops = SopsBinary(environ=environ, timeout=60.0, services=KeyServices.parse([listener.url]))
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent")), sops)
    checker = Checker(default_catalog(), opener, require_mac=True)
    return replace(
        place, reconciler=Reconciler(checker, database), options=replace(place.options, strict=False)
    )


def sealed(keys: Keys, listener: Listener, number: int) -> bytes:
    return with_block(
        keys.seal(groq(number, name=f"N{number}")).encode(), age=None, hc_vault=[vault_key(listener.url)]
    )


async def test_others_edits_go_on(
    slow: Place, keys: Keys, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty files at a tarpit: named as pending, at most two sops for their owner, and edits go through."""
    monkeypatch.setattr(reconcile, "ROUND_SETTLE_SECONDS", 0.05)
    slow.write({"acme/a.yaml": echo(1)})
    slow.write({f"beta/s{n}.yaml": sealed(keys, listener, 100 + n) for n in range(20)})
    async with daemon(slow) as running:
        assert await slow.slugs() == {"acme/a"}
        monkeypatch.setattr(
            reconcile, "ROUND_SETTLE_SECONDS", 3600
        )  # what is late already is not waited for again
        for reply in ("one", "two", "three"):
            slow.write({"acme/a.yaml": echo(1, reply=reply)})
            report = await running.applied(("update", "acme/a"))
        assert report.outcome is not None
        pending = report.outcome.plan.quarantined
        assert {violation.code for one in pending for violation in one.violations} == {"seal-pending"}
        assert len(pending) == 20
        await asyncio.to_thread(listener.arrived.wait, 10)
        assert listener.connections <= 2
    await slow.reconciler.aclose()


async def test_what_is_settled_late_is_applied(
    place: Place, database: Database, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change of any file, as soon as sops answers."""
    monkeypatch.setattr(reconcile, "ROUND_SETTLE_SECONDS", 0.05)
    go = tmp_path / "go"
    program = tmp_path / "sops"
    opened = '{"id": "%s", "name": "N7", "llm": {"provider": "groq.com", "api_key": "k", "model": "m"}}'
    text = keys.seal(groq(7, name="N7"))
    number = text.split("id: ")[1].split("\n")[0].strip("'\"")
    body = f"cat >/dev/null; while [ ! -e {go} ]; do sleep 0.02; done; echo '{opened % number}'"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    sops = SopsBinary(program, environ={"PATH": "/usr/bin:/bin"})
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent")), sops)
    checker = Checker(default_catalog(), opener, require_mac=True)
    late = replace(
        place, reconciler=Reconciler(checker, database), options=replace(place.options, strict=False)
    )
    late.write({"acme/a.yaml": text.replace("version: 3.11.0", "version: 3.11.0-rc.1")})
    async with daemon(late) as running:
        assert running.quarantined == ["acme/a.yaml"]
        go.touch()
        await running.applied(("create", "acme/a"))
        assert await late.slugs() == {"acme/a"}
    await late.reconciler.aclose()


SLOW = pdf(WORK, pages=2000)
"""Half an hour of a worker's time, of which it gets 15 s."""
NAMED = "rag:\n  sources: [a.pdf]\n"


@pytest.fixture
def open_place(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place that quarantines, whose rounds have little patience, and where nothing was read before."""
    monkeypatch.setattr(reconcile, "ROUND_SETTLE_SECONDS", 0.0)
    extraction._get_outcome_cache.cache_clear()
    yield replace(place, options=replace(place.options, strict=False))
    extraction._get_outcome_cache.cache_clear()


def codes(report: RoundReport) -> dict[str, str]:
    """What is quarantined, and why."""
    assert report.outcome is not None
    return {one.path: one.violations[0].code for one in report.outcome.plan.quarantined}


async def settled(running: Daemon, *expected: tuple[str, str]) -> None:
    """Wait until just these are quarantined, by path and code."""
    await running.until(lambda report: report.outcome and codes(report) == dict(expected))


PENDING = ("beta/a.yaml", "attachment-pending")
UNREADABLE = ("beta/a.yaml", "attachment-unreadable")


async def test_a_slow_pdf_holds_up_its_agent_only(open_place: Place) -> None:
    """29 s before: edits of others go through while it is read, and its agent stays as it was."""
    await open_place.sync({"acme/a.yaml": echo(1), "beta/a.yaml": echo(2, reply="old")})
    before = (await open_place.stored()).agents
    async with daemon(open_place) as running:
        open_place.write({"beta/a.pdf": SLOW, "beta/a.yaml": echo(2, reply="new", extra=NAMED)})
        await settled(running, PENDING)
        for reply in ("one", "two"):
            open_place.write({"acme/a.yaml": echo(1, reply=reply)})
            report = await running.applied(("update", "acme/a"))
            assert codes(report) == dict([PENDING])
        (row,) = (row for row in (await open_place.stored()).agents.values() if row.path == "beta/a.yaml")
        assert row.digest == before[row.id].digest
    await open_place.reconciler.aclose()


async def test_an_owner_of_slow_pdfs_leaves_a_worker_to_others(open_place: Place) -> None:
    """Three of one owner are read one by one; meanwhile another owner's is read and applied by itself."""
    async with daemon(open_place) as running:
        for number in range(3):
            named = echo(10 + number, extra=f"rag:\n  sources: [{number}.pdf]\n")
            slow_pdf = pdf(WORK + b" " * number, pages=2000)
            open_place.write({f"beta/{number}.pdf": slow_pdf, f"beta/a{number}.yaml": named})
        pending = [(f"beta/a{number}.yaml", "attachment-pending") for number in range(3)]
        await settled(running, *pending)
        open_place.write({"acme/a.pdf": pdf(TEXT), "acme/a.yaml": echo(1, extra=NAMED)})
        report = await running.applied(("create", "acme/a"))
        assert codes(report) == dict(pending)
    await open_place.reconciler.aclose()


async def test_a_pdf_that_is_read_late_is_applied(open_place: Place) -> None:
    """Without a change of any file, as soon as it was read; then it is not read for an edit of its agent."""
    async with daemon(open_place) as running:
        open_place.write({"beta/a.pdf": pdf(WORK), "beta/a.yaml": echo(2, extra=NAMED)})
        await settled(running, PENDING)
        await running.applied(("create", "beta/a"))
    extraction._get_outcome_cache.cache_clear()
    again = replace(open_place, reconciler=Reconciler(make_checker(None), open_place.database))
    outcome = await again.sync({"beta/a.yaml": echo(2, reply="new", extra=NAMED)})
    assert [change.operation for change in outcome.plan.changes] == ["update"]


async def test_a_pdf_that_is_refused_late_is_a_violation(
    open_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, and mended by a file that can be read."""
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=1 << 30, cpu_seconds=1.0))
    async with daemon(open_place) as running:
        open_place.write({"beta/a.pdf": SLOW, "beta/a.yaml": echo(2, extra=NAMED)})
        await settled(running, PENDING)
        await settled(running, UNREADABLE)
        open_place.write({"beta/a.pdf": pdf(TEXT)})
        await running.applied(("create", "beta/a"))


async def test_what_is_removed_while_it_is_pending_frees_its_turn(open_place: Place) -> None:
    """The next file of that owner is read and applied; the removed one is heard of no more."""
    open_place.write({"beta/a.pdf": SLOW, "beta/a.yaml": echo(2, extra=NAMED)})
    async with daemon(open_place) as running:
        open_place.write({"beta/a.pdf": None, "beta/a.yaml": None})
        await settled(running)
        open_place.write({"beta/a.pdf": pdf(TEXT), "beta/b.yaml": echo(3, extra=NAMED)})
        await running.applied(("create", "beta/b"))
        assert extraction._get_outcome_cache().strikes("beta") == 0  # it was given up long before its limit


async def test_a_single_command_waits_for_a_pdf(open_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strict round has no later one; it names what is not read in time."""
    files = {"beta/a.pdf": pdf(WORK, pages=2), "beta/a.yaml": echo(2, extra=NAMED)}
    outcome = await open_place.sync(files, strict=True)
    assert [change.operation for change in outcome.plan.changes] == ["create"]
    monkeypatch.setattr(reconcile, "STRICT_SETTLE_SECONDS", 0.02)
    with pytest.raises(InvalidManifests) as refused:
        await open_place.sync({"beta/a.pdf": SLOW}, strict=True)
    assert [violation.code for violation in refused.value.violations] == ["attachment-pending"]
    await open_place.reconciler.aclose()
