"""A watcher at work, and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.sync.watcher import Watcher
from agentsd.core.errors import AgentsdError
from tests.control.place import Place, operations


@dataclass
class Daemon:
    """A watcher at work, and everything that it reported."""

    place: Place
    reports: asyncio.Queue[RoundReport] = field(default_factory=asyncio.Queue)
    seen: list[tuple[str, str]] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)

    async def report(self, report: RoundReport) -> None:
        await self.reports.put(report)

    async def until(self, done: Callable[[RoundReport], object]) -> RoundReport:
        """The first report from now on that is ``done``."""
        while True:
            report = await self.reports.get()
            if report.outcome:
                self.seen += sorted(operations(report.outcome))
                self.quarantined = [q.path for q in report.outcome.plan.quarantined]
            if done(report):
                return report

    async def applied(self, *changes: tuple[str, str]) -> RoundReport:
        """Wait until just these changes were applied, in one round, and nothing before them."""
        self.seen.clear()
        report = await self.until(lambda report: report.outcome and report.outcome.head)
        assert set(self.seen) == set(changes), self.seen
        return report

    async def failed(self, kind: type[AgentsdError]) -> AgentsdError:
        """Wait until a round fails."""
        report = await self.until(lambda report: isinstance(report.error, kind))
        assert report.error is not None
        return report.error


@asynccontextmanager
async def daemon(place: Place, **options: float) -> AsyncIterator[Daemon]:
    """Watching, after the first round and with the file system's events on their way."""
    one = Daemon(place)
    watcher = Watcher(Syncer(place.root, place.reconciler, place.options, one.report), **options)
    task = asyncio.create_task(watcher.run())
    try:
        await watcher.first_round.wait()
        await one.until(lambda report: True)
        if place.root.is_dir():
            await one.until(lambda report: True)  # the look that follows the start of watching
        yield one
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()
