"""Leadership as a syncer sees it: who stands by applies nothing, and what it owes it does when it leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from agentsd.control.sync import syncer as syncing
from agentsd.control.sync.leadership import Leadership
from agentsd.control.sync.reconciler import Reconciler
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.sync.watcher import Watcher
from agentsd.core.errors import StoreUnavailable
from agentsd.store.leader_election import Term
from tests.control.place import Place, echo, make_checker


class Seat:
    """One daemon: its leadership, its syncer, and what it reported."""

    def __init__(self, place: Place) -> None:
        self.leadership = Leadership(place.database, "main")
        self.reports: asyncio.Queue[RoundReport] = asyncio.Queue()
        reconciler = Reconciler(make_checker(None), place.database)
        self.syncer = Syncer(place.root, reconciler, place.options, self.reports.put, gate=self.leadership)


@asynccontextmanager
async def seat(place: Place) -> AsyncIterator[Seat]:
    """A daemon that stands for the lead."""
    one = Seat(place)
    async with one.leadership.campaigning():
        task = asyncio.create_task(one.syncer.keep_up())
        try:
            yield one
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def watched(one: Seat) -> AsyncIterator[None]:
    """With a watcher at work."""
    watcher = Watcher(one.syncer)
    task = asyncio.create_task(watcher.run())
    try:
        await watcher.first_round.wait()
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_standby_does_nothing_until_it_leads(place: Place) -> None:
    """Its rounds apply and report nothing; once the leader is gone, it does what it owes by itself."""
    place.write({"a.yaml": echo(1)})
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(seat(place))
        assert (await leader.syncer.round(None)).outcome
        async with seat(place) as standby:
            place.write({"b.yaml": echo(2)})
            assert await standby.syncer.round(None) == RoundReport(standby=True)
            assert (await place.slugs(), standby.reports.empty()) == ({"a"}, True)
            await stack.aclose()
            report = await standby.reports.get()
            assert report.term == Term("main", 2)
            assert await place.slugs() == {"a", "b"}


async def test_an_edit_on_a_standby_is_taken_by_the_leader(place: Place) -> None:
    """Who writes a file there waits until the leader, which watches the same files, has applied it."""
    place.write({"a.yaml": echo(1)})
    async with seat(place) as leader, watched(leader), seat(place) as standby:
        async with standby.syncer.turn() as turn:
            await turn.tree()
            place.write({"b.yaml": echo(2)})
            report = await turn.round({"b.yaml"})
        assert report.outcome is not None
        assert (report.outcome.head, report.outcome.stored.version) == (None, 2)
        assert await place.slugs() == {"a", "b"}


async def test_an_edit_that_the_leader_does_not_take_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that watches other files: the edit is written, and not live; the error says so."""
    monkeypatch.setattr(syncing, "LEADER_TIMEOUT_SECONDS", 0.2)
    async with seat(place) as leader:
        await leader.syncer.round(None)
        async with seat(place) as standby, standby.syncer.turn() as turn:
            place.write({"b.yaml": echo(2)})
            report = await turn.round({"b.yaml"})
    assert isinstance(report.error, StoreUnavailable)
    assert "another process leads" in report.error.message


class Mistaken:
    """Somebody who still believes in a term that is over."""

    async def term(self) -> Term | None:
        return Term("main", 0)

    async def gained(self) -> AsyncGenerator[Term]:
        yield Term("main", 0)


async def test_a_term_that_is_over_applies_nothing(place: Place) -> None:
    """Frozen before its transaction and continued after another took over: refused inside it."""
    place.write({"a.yaml": echo(1)})
    async with seat(place) as leader:
        await leader.syncer.round(None)
        place.write({"b.yaml": echo(2)})
        reports: asyncio.Queue[RoundReport] = asyncio.Queue()
        late = Syncer(place.root, place.reconciler, place.options, reports.put, gate=Mistaken())
        assert await late.round(None) == RoundReport(standby=True)
        assert (await place.slugs(), reports.empty()) == ({"a"}, True)
