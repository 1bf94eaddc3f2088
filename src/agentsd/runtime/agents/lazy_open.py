"""Lazy opening of agents, at their first lease or in the background, with a record of the result.

An agent is opened by one task at a time, however many callers wait for it. Its build is kept if
someone waits for it or uses it; otherwise only the condition is kept, and no plaintext.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice

from agentsd.runtime.agents.change_feed import ChangeFeed
from agentsd.runtime.agents.condition_counts import ConditionCounts
from agentsd.runtime.agents.cooperative import CooperativeYield, process_each
from agentsd.runtime.agents.lru import BuiltAgentCache
from agentsd.runtime.agents.next_snapshot import PreparedEntry
from agentsd.runtime.agents.resolver import CheckedDocument, Resolution, Resolver
from agentsd.runtime.agents.snapshot import AgentCondition, Snapshot, SnapshotEntry
from agentsd.supervisor import ENDING_ERRORS

VERIFY_REST_SECONDS = 0.005
"""Seconds for which the verifier yields after each slice of work."""

LOOK_SECONDS = 1.0
"""Seconds that the verifier waits for one agent: a slow key service must not hold up the others."""

_VERIFY_BATCH = 20  # agents whose seals are looked up in one query

_log = logging.getLogger(__name__)


class LazyOpener:
    """Agents that were opened, those being opened, and those still to be opened."""

    def __init__(
        self,
        resolver: Resolver,
        warm: BuiltAgentCache,
        tally: ConditionCounts,
        changes: ChangeFeed,
        current: Callable[[], Snapshot],
    ) -> None:
        self.waiting = asyncio.Event()  # there is work for ``verify``
        self._resolver = resolver
        self._warm = warm
        self._tally = tally
        self._changes = changes
        self._current = current
        self._pending: dict[SnapshotEntry, None] = {}  # not opened yet
        self._doubtful: dict[SnapshotEntry, None] = {}  # to be retried later
        self._flights: set[asyncio.Task[None]] = set()
        self._closed = False

    async def opened(self, entry: SnapshotEntry) -> None:
        """Wait until ``entry`` was opened, successfully or not; its build is kept.

        A waiter that is cancelled does not cancel the opening: others may wait for it too.
        """
        entry.interest += 1
        try:
            await asyncio.wait({self._flight(entry)})
        finally:
            entry.interest -= 1

    def welcome(self, prepared: PreparedEntry) -> None:
        """Record an entry that is in the snapshot now."""
        entry = prepared.entry
        self._tally.add(entry)
        if prepared.retry:
            self._doubtful[entry] = None
        if not entry.opened or entry.condition.reason == "OpenTimeout":
            self._pending[entry] = None
            self.waiting.set()

    def forget(self, entry: SnapshotEntry) -> None:
        """Drop an entry that is not in the snapshot any more."""
        self._warm.cool(entry)
        self._tally.remove(entry)
        self._pending.pop(entry, None)
        self._doubtful.pop(entry, None)

    def unopened(self, version: int) -> int:
        """Return how many entries of this version have not been opened yet."""
        return sum(entry.row.version == version for entry in self._pending)

    async def verify(self) -> int:
        """Open some entries that were not requested yet. Return how many are left."""
        await self._look_into(list(islice(self._pending, _VERIFY_BATCH)))
        if not self._pending:
            self.waiting.clear()
        return len(self._pending)

    async def verify_again(self) -> None:
        """Retry agents that failed for a reason that may be temporary."""
        doubtful = list(self._doubtful)
        for start in range(0, len(doubtful), _VERIFY_BATCH):
            await self._look_into(doubtful[start : start + _VERIFY_BATCH])

    async def aclose(self) -> None:
        """Cancel what is in progress; whoever waits for it continues."""
        self._closed = True
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)

    async def _look_into(self, entries: Sequence[SnapshotEntry]) -> None:
        async def look(pair: tuple[CheckedDocument, SnapshotEntry]) -> None:
            checked, entry = pair
            wanted = entry in self._pending or entry in self._doubtful  # not opened meanwhile
            if wanted and not self._closed:
                _, slow = await asyncio.wait({self._flight(entry, checked)}, timeout=LOOK_SECONDS)
                if slow and entry in self._pending:  # it continues to open; the others come first next time
                    self._pending[entry] = self._pending.pop(entry)

        pacer = CooperativeYield(rest_s=VERIFY_REST_SECONDS)
        checked = await self._resolver.read([entry.row for entry in entries], pacer)
        await process_each(list(zip(checked, entries, strict=True)), look, pacer)

    def _flight(self, entry: SnapshotEntry, checked: CheckedDocument | None = None) -> asyncio.Task[None]:
        """Return the task that opens ``entry``; start it if there is none."""
        if entry.flight is None:
            entry.flight = asyncio.create_task(self._open(entry, checked))
            self._flights.add(entry.flight)
            entry.flight.add_done_callback(self._flights.discard)
        return entry.flight

    async def _open(self, entry: SnapshotEntry, checked: CheckedDocument | None) -> None:
        try:
            if checked is None:
                (checked,) = await self._resolver.read([entry.row])
            self._settle(entry, await self._resolver.resolve(checked, entry))
        except ENDING_ERRORS:
            raise
        except BaseException as error:  # a bug: report it to the waiters, without affecting other agents
            name = type(error).__name__
            _log.error("an agent failed to open", extra={"agent": entry.row.slug, "error": name})
            said = AgentCondition("Invalid", "Internal", f"opening failed: {name}", datetime.now(UTC))
            self._settle(entry, Resolution(said, retry=True))
        finally:
            entry.flight = None

    def _settle(self, entry: SnapshotEntry, outcome: Resolution) -> None:
        """Record the result of opening ``entry``."""
        snapshot = self._current()
        if self._closed or snapshot.ids.get(entry.row.id) is not entry:
            outcome.drop()
            return
        condition = outcome.condition
        if outcome.built is None:
            condition = self._without_build(entry, outcome)
        elif entry.built is not None or entry.interest:
            self._warm.heat(entry, outcome.built)
        else:
            outcome.drop()
        entry.good = outcome.good or entry.good
        self._pending.pop(entry, None)
        self._doubtful.pop(entry, None)
        if outcome.retry:
            self._doubtful[entry] = None
        self.report(entry, condition)

    def report(self, entry: SnapshotEntry, condition: AgentCondition) -> None:
        """Give an entry another condition, and publish it where it matters."""
        if self._tally.change(entry, condition):
            self._changes.publish("condition", self._current().version, (entry.row.slug,))

    def _without_build(self, entry: SnapshotEntry, outcome: Resolution) -> AgentCondition:
        """Return the condition of an entry of which nothing opened.

        The build that serves is kept if the failure may be temporary, and dropped if it is final.
        """
        said = outcome.condition
        if outcome.retry and entry.built is not None:
            return AgentCondition("Degraded", said.reason, said.message, said.since)
        self._warm.cool(entry)
        return said
