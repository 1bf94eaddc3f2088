"""Next snapshot: entries of changed rows, built before they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

from agentsd.core.manifest.agent import AgentRow
from agentsd.runtime.agents.cooperative import CooperativeYield, process_each
from agentsd.runtime.agents.leases import BuiltAgent
from agentsd.runtime.agents.resolver import (
    CheckedDocument,
    Resolver,
    make_not_opened_condition,
    make_suspended_condition,
)
from agentsd.runtime.agents.snapshot import Snapshot, SnapshotBuilder, SnapshotEntry
from agentsd.store.queries.agents import LoadedRows

EAGER_MAX = 500
"""Up to so many rows, all documents of a batch are opened before the swap; beyond it, those in use."""

EAGER_SECONDS = 3.0
"""How long a swap waits for documents that do not open in process. Then the last good version
continues to serve, and the verifier retries: a key service that hangs must not delay other agents."""

_CHUNK_ROWS = 50  # documents parsed, and looked up in one query, at a time


@dataclass(slots=True)
class PreparedEntry:
    """Entry of the next snapshot, with its build."""

    entry: SnapshotEntry
    previous: SnapshotEntry | None
    built: BuiltAgent | None = None  # with one hold, for an agent that is in use
    retry: bool = False


@dataclass(frozen=True, slots=True)
class RowDiff:
    """Differences between a load and the current snapshot."""

    changed: tuple[AgentRow, ...]
    gone: tuple[SnapshotEntry, ...]


async def diff_rows(base: Snapshot, loaded: LoadedRows, pacer: CooperativeYield, *, full: bool) -> RowDiff:
    """Compare ``loaded`` with what is served. In a ``full`` load, missing agents are removed."""
    changed: list[AgentRow] = []
    gone: list[SnapshotEntry] = []
    live = set()
    for row in loaded.rows:
        await pacer.turn()
        old = base.ids.get(row.id)
        if not row.deleted:
            live.add(row.id)
            if old is None or old.row != row:
                changed.append(row)
        elif old is not None:
            gone.append(old)
    if full:
        gone = [entry for agent, entry in base.ids.items() if agent not in live]
    return RowDiff(tuple(changed), tuple(gone))


class EntryPreparation:
    """Entries for changed rows. What is in use, or part of a small batch, is built first."""

    def __init__(
        self,
        resolver: Resolver,
        base: Snapshot,
        older: Mapping[UUID, AgentRow] = MappingProxyType({}),
    ) -> None:
        self._resolver = resolver
        self._older = older  # documents that were served by an earlier run
        self._base = base
        self._deadline = 0.0
        self.done: list[PreparedEntry] = []

    async def run(self, rows: Sequence[AgentRow], pacer: CooperativeYield) -> None:
        """Fill ``done``. When this is cancelled, ``drop`` releases what was built so far."""
        first = self._base.stamp is None
        eager = not first and len(rows) <= EAGER_MAX
        unopened = make_not_opened_condition(datetime.now(UTC))
        now: list[AgentRow] = []
        for row in rows:
            old = self._base.ids.get(row.id)
            good = old.good if old and old.row.owner == row.owner else self._older.get(row.id)
            if not row.is_active:
                self.done.append(
                    PreparedEntry(SnapshotEntry(row, make_suspended_condition(datetime.now(UTC)), good), old)
                )
            elif eager or (old is not None and (old.built or old.interest)):
                now.append(row)
            else:
                self.done.append(PreparedEntry(SnapshotEntry(row, unopened, good), old))
            await pacer.turn()
        self._deadline = asyncio.get_running_loop().time() + EAGER_SECONDS
        for chunk in _split_rows(now):
            await process_each(await self._resolver.read(chunk, pacer), self._prepare, pacer)

    def drop(self) -> None:
        """Release every build."""
        for prepared in self.done:
            if prepared.built is not None:
                prepared.built.release()

    async def _prepare(self, checked: CheckedDocument) -> None:
        row = checked.candidate.row
        old = self._base.ids.get(row.id)
        outcome = await self._resolver.resolve(checked, old, self._deadline)
        if outcome.built is None and outcome.condition.reason == "OpenTimeout":
            self.done.append(
                PreparedEntry(SnapshotEntry(row, make_not_opened_condition(datetime.now(UTC))), old)
            )  # its first lease waits for the opening
            return
        entry = SnapshotEntry(row, outcome.condition.after(old.condition if old else None), outcome.good)
        prepared = PreparedEntry(entry, old, outcome.built, outcome.retry)
        if old is None or not (old.built or old.interest):
            outcome.drop()
            prepared.built = None
        self.done.append(prepared)


async def draft_snapshot(
    base: Snapshot, gone: Iterable[SnapshotEntry], prepared: Sequence[PreparedEntry], pacer: CooperativeYield
) -> SnapshotBuilder:
    """Draft the next snapshot: removals go first, so that names and defaults may be exchanged."""
    draft = SnapshotBuilder(base)
    for agent in (*(entry.row.id for entry in gone), *(item.entry.row.id for item in prepared)):
        draft.remove(agent)
        await pacer.turn()
    for item in prepared:
        draft.put(item.entry)
        await pacer.turn()
    return draft


def _split_rows(rows: Sequence[AgentRow]) -> Iterator[Sequence[AgentRow]]:
    for start in range(0, len(rows), _CHUNK_ROWS):
        yield rows[start : start + _CHUNK_ROWS]
