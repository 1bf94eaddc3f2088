"""Registry of the agents that run: build, swap one reference, drain.

Readers (leases, lists) take the current snapshot and never wait for a writer. Writers (``load``,
``update``) go one at a time: they build what changed while its predecessor serves, make the next
snapshot and swap it in. An agent is opened at its first lease, and stays built while it is among
the most recently leased ones; of the others memory contains the sealed document only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

from agentsd.core.errors import AgentUnavailable
from agentsd.core.manifest.agent import AgentRow
from agentsd.providers.base import Leases, LiveAgent
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.change_feed import ChangeFeed, Subscription
from agentsd.runtime.agents.condition_counts import ConditionCounts
from agentsd.runtime.agents.cooperative import CooperativeYield
from agentsd.runtime.agents.fallback import FALLBACK_REF, FallbackAgent, make_fallback_agent
from agentsd.runtime.agents.lazy_open import LazyOpener
from agentsd.runtime.agents.leases import BuiltAgent, Lease, ProviderPool
from agentsd.runtime.agents.lru import BuiltAgentCache
from agentsd.runtime.agents.next_snapshot import EntryPreparation, PreparedEntry, diff_rows, draft_snapshot
from agentsd.runtime.agents.resolver import DocumentHistory, Resolver
from agentsd.runtime.agents.snapshot import AgentCondition, Snapshot, SnapshotEntry, make_empty_snapshot
from agentsd.store.queries.agents import LoadedRows
from agentsd.telemetry import Metrics

BUILT_AGENTS_MAX = 1024
"""Maximum number of agents kept built. Each costs a few kilobytes, with plaintext in memory."""

DRAIN_TIMEOUT = 600.0
"""Seconds that a lease may keep replaced providers open."""


class Registry(Leases):
    """Running agents of one process. Make it inside the event loop; ``aclose`` when done."""

    def __init__(
        self,
        builder: Builder,
        history: DocumentHistory,
        metrics: Metrics,
        *,
        warm_limit: int = BUILT_AGENTS_MAX,
        drain_timeout: float = DRAIN_TIMEOUT,
        fallback: FallbackAgent | None = None,
    ) -> None:
        self._metrics = metrics
        self._boxes = ProviderPool(builder.build, metrics)
        self._resolver = Resolver(builder, history, self._boxes, metrics)
        self._snapshot = make_empty_snapshot(datetime.now(UTC))
        self._warm = BuiltAgentCache(warm_limit, drain_timeout, metrics)
        self._tally = ConditionCounts(metrics)
        self._changes = ChangeFeed(metrics)
        self._writing = asyncio.Lock()
        self.openings = LazyOpener(
            self._resolver, self._warm, self._tally, self._changes, lambda: self._snapshot
        )
        self._fallback = (
            fallback.built(self._boxes) if fallback else BuiltAgent(make_fallback_agent(), {}, self._boxes)
        )
        self.fallback: LiveAgent = self._fallback.agent
        self.shares_fallback = fallback is None  # the built-in one is shared by all owners
        self._closed = False
        self._told = 0

    @property
    def snapshot(self) -> Snapshot:
        """Return what is served now; immutable, so a reader may keep it as long as it likes."""
        return self._snapshot

    def lease(self, ref: str) -> Lease:
        """Return a lease: ``async with registry.lease("acme/sales") as agent``.

        ``ref`` may also be an id or ``acme~sales``. ``echo`` is the built-in agent unless one is configured
        under that name, or another replaces it. Raises ``AgentNotFound`` and ``AgentUnavailable`` on
        entering.
        """
        return Lease(self, ref)

    @property
    def told(self) -> int:
        """Return the version of which every agent is counted: just after a swap, still the one before."""
        return self._told

    async def load(self, loaded: LoadedRows, older: Iterable[AgentRow] = ()) -> None:
        """Serve exactly these rows: those that did not change stay as they are, the rest is removed.

        ``older``: documents to serve for those that do not open, where the store cannot be asked.
        """
        await self._apply(loaded, full=True, older={row.id: row for row in older})

    async def update(self, loaded: LoadedRows) -> None:
        """Serve these rows in place of their predecessors; tombstones are removed."""
        await self._apply(loaded, full=False)

    def subscribe(self, owner: str | None = None) -> AbstractContextManager[Subscription]:
        """Subscribe: ``with registry.subscribe() as events: async for event in events: …``.

        The events are ``ChangeEvent``; with an ``owner``, those of that owner's agents only.
        """
        return self._changes.subscribe(owner)

    def announce(self, slugs: Collection[str]) -> None:
        """Publish that something about these agents is other than it was, though their versions are not."""
        if slugs:
            self._changes.publish("condition", self._snapshot.version, slugs)

    def older(self) -> list[AgentRow]:
        """Return the older documents that serve, or would, for those that do not open."""
        entries = self._tally.problems(None)
        return [entry.good for entry in entries if entry.good is not None and entry.good is not entry.row]

    def problems(self, limit: int = 1000, *, owner: str | None = None) -> list[tuple[str, AgentCondition]]:
        """Return slug and condition of Degraded and Invalid agents; of an ``owner``, or of all."""
        if owner is not None:
            entries = self._snapshot.entries
            owned = ((slug, entries[slug].condition) for slug in self._snapshot.slugs(owner))
            return [pair for pair in owned if pair[1].type in ("Degraded", "Invalid")][:limit]
        return [(entry.row.slug, entry.condition) for entry in self._tally.problems(limit)]

    def list_built(self) -> list[tuple[SnapshotEntry, LiveAgent]]:
        """Return the agents that are in use, with their entries."""
        return [(entry, entry.built.agent) for entry in self._warm.list_entries() if entry.built is not None]

    def report(self, entry: SnapshotEntry, condition: AgentCondition) -> None:
        """Give an agent the condition that was found while it is in use."""
        self.openings.report(entry, condition)

    async def aclose(self, drain_s: float = 10.0) -> None:
        """Refuse new leases, let running ones end within ``drain_s`` seconds, close every provider."""
        if self._closed:
            return
        self._closed = True
        self._changes.close()
        await self.openings.aclose()
        self._warm.cool_all()
        self._fallback.release()
        cut = await self._boxes.aclose(drain_s)
        self._metrics.drain_timeouts.inc(cut)

    # Leases

    async def acquire(self, ref: str) -> BuiltAgent:
        """Return one hold on the agent ``ref``, opened first if needed.

        Concurrent callers open it once.
        """
        while True:
            entry = self._entry(ref)
            built = entry.built if entry else self._fallback
            if built is not None:
                if entry is not None:
                    self._warm.touch(entry)
                built.hold()
                self._metrics.leases.inc()
                return built
            if entry is not None:
                _refuse_unavailable(entry)
                await self.openings.opened(entry)

    def ended(self, built: BuiltAgent) -> None:
        """Record that a lease on ``built`` ended."""
        self._metrics.leases.dec()
        built.release()

    def _entry(self, ref: str) -> SnapshotEntry | None:
        """Return the entry that ``ref`` names; None for the fallback."""
        if self._closed:
            raise AgentUnavailable("this runtime is shutting down", reason="Closing", hint="try another one")
        if ref == FALLBACK_REF or (ref == self.fallback.slug and ref not in self._snapshot.entries):
            return None
        return self._snapshot.find(ref)

    # Writing

    async def _apply(
        self, loaded: LoadedRows, *, full: bool, older: Mapping[UUID, AgentRow] = MappingProxyType({})
    ) -> None:
        async with self._writing:
            started, pacer = time.perf_counter(), CooperativeYield()
            gone, done = await self._renew(loaded, pacer, older, full=full)
            self._metrics.swap_seconds.observe(time.perf_counter() - started)
            await self._tidy(gone, done, pacer)

    async def _renew(
        self, loaded: LoadedRows, pacer: CooperativeYield, older: Mapping[UUID, AgentRow], *, full: bool
    ) -> tuple[list[SnapshotEntry], list[PreparedEntry]]:
        """Build what changed, then swap. Return the removed and the new entries."""
        base = self._snapshot
        stock = await diff_rows(base, loaded, pacer, full=full)
        preparation = EntryPreparation(self._resolver, base, older)
        try:
            await preparation.run(stock.changed, pacer)
            draft = await draft_snapshot(base, stock.gone, preparation.done, pacer)
        except BaseException:
            preparation.drop()
            raise
        if self._closed:
            preparation.drop()
            return [], []
        self._swap(draft.freeze(loaded.head.version, loaded.head.stamp, datetime.now(UTC)), preparation.done)
        gone = [prepared.previous for prepared in preparation.done if prepared.previous is not None]
        return [*gone, *stock.gone], preparation.done

    def _swap(self, snapshot: Snapshot, done: list[PreparedEntry]) -> None:
        """Make everything new visible at one moment."""
        self._snapshot = snapshot
        self._metrics.swaps.inc()
        self._metrics.version.set(snapshot.version)
        for prepared in done:
            if prepared.built is not None:
                self._warm.succeed(prepared.previous, prepared.entry, prepared.built)

    async def _tidy(
        self, gone: list[SnapshotEntry], done: list[PreparedEntry], pacer: CooperativeYield
    ) -> None:
        """Clean up after a swap, piece by piece: release removed entries, count and publish new ones."""
        slugs = set()
        for prepared in done:
            prepared.previous = None
        while gone:
            entry = gone.pop()
            slugs.add(entry.row.slug)
            self.openings.forget(entry)
            await pacer.turn()
        for prepared in done:
            slugs.add(prepared.entry.row.slug)
            self.openings.welcome(prepared)
            await pacer.turn()
        self._told = self._snapshot.version
        if slugs:
            self._changes.publish("changed", self._snapshot.version, slugs)


def _refuse_unavailable(entry: SnapshotEntry) -> None:
    """Raise where ``entry`` is known to have nothing that can run."""
    condition = entry.condition
    if condition.type in ("Suspended", "Invalid"):
        message = f"agent {entry.row.slug} cannot run: {condition.message}"
        raise AgentUnavailable(message, reason=condition.reason, hint="see its condition: agentsd status")
