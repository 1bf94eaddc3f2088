"""The registry: the agents that run. Build, swap one reference, drain.

Readers (leases, lists) take the current snapshot and never wait for a writer. Writers (``load``,
``update``) go one at a time: they build what changed while its predecessor serves, make the next
snapshot and swap it in. An agent is opened at its first lease, and stays built while it is among
the most recently leased ones; of the others memory holds the sealed document only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice

from agentsd.core.errors import AgentUnavailable
from agentsd.providers.base import Leases, LiveAgent
from agentsd.runtime.building import Builder
from agentsd.runtime.changes import Changes, Subscription
from agentsd.runtime.conditions import Tally
from agentsd.runtime.fallback import FALLBACK_SLUG, fallback_agent
from agentsd.runtime.leases import Boxes, Built, Lease
from agentsd.runtime.pacing import Pacer, each
from agentsd.runtime.resolving import Checked, History, Outcome, Resolver
from agentsd.runtime.snapshot import Condition, Entry, Snapshot, empty
from agentsd.runtime.swapping import Preparation, Prepared, drafted, take_stock
from agentsd.runtime.warmth import Warm
from agentsd.store.agents import Loaded
from agentsd.telemetry import Metrics

WARM_LIMIT = 1024
"""How many agents are kept built. One costs a few kilobytes, and plaintext in memory."""

DRAIN_TIMEOUT = 600.0
"""Seconds that a lease may keep replaced providers open."""

VERIFY_REST = 0.005
"""Seconds that the verifier leaves to others after each slice of work."""


_log = logging.getLogger(__name__)


class Registry(Leases):
    """The running agents of one process. Make it inside the event loop; ``aclose`` when done."""

    def __init__(
        self,
        builder: Builder,
        history: History,
        metrics: Metrics,
        *,
        warm_limit: int = WARM_LIMIT,
        drain_timeout: float = DRAIN_TIMEOUT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.fallback: LiveAgent = fallback_agent()
        self.unopened = asyncio.Event()  # there is work for ``verify``
        self._metrics = metrics
        self._now = now
        self._boxes = Boxes(builder.build, metrics)
        self._resolver = Resolver(builder, history, self._boxes, metrics, now)
        self._snapshot = empty(now())
        self._warm = Warm(warm_limit, drain_timeout, metrics)
        self._tally = Tally(metrics)
        self._changes = Changes(metrics)
        self._writing = asyncio.Lock()
        self._pending: dict[Entry, None] = {}  # not opened yet
        self._doubtful: dict[Entry, None] = {}  # worth another try later
        self._flights: set[asyncio.Task[None]] = set()
        self._fallback = Built(self.fallback, {}, self._boxes)
        self._closed = False

    @property
    def snapshot(self) -> Snapshot:
        """What is served now; immutable, so a reader may keep it as long as it likes."""
        return self._snapshot

    def lease(self, ref: str) -> Lease:
        """``async with registry.lease("acme/sales") as agent``. Also takes an id or ``acme~sales``.

        ``echo`` is the built-in agent unless one is configured under that name. Raises
        ``AgentNotFound`` and ``AgentUnavailable`` on entering.
        """
        return Lease(self, ref)

    async def load(self, loaded: Loaded) -> None:
        """Serve exactly these rows: those that did not change stay as they are, the rest leaves."""
        await self._apply(loaded, full=True)

    async def update(self, loaded: Loaded) -> None:
        """Serve these rows in place of their predecessors; tombstones leave."""
        await self._apply(loaded, full=False)

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """``with registry.subscribe() as events: async for event in events: …`` (``ChangeEvent``)."""
        return self._changes.subscribe()

    def problems(self, limit: int = 1000) -> list[tuple[str, Condition]]:
        """Slug and condition of agents that are Degraded or Invalid."""
        return [(entry.row.slug, entry.condition) for entry in self._tally.problems(limit)]

    async def aclose(self, drain_s: float = 10.0) -> None:
        """Take no more leases, let those that run end within ``drain_s`` seconds, close every provider."""
        if self._closed:
            return
        self._closed = True
        self._changes.close()
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)
        self._warm.cool_all()
        self._fallback.release()
        cut = await self._boxes.aclose(drain_s)
        self._metrics.drain_timeouts.inc(cut)

    # Leases

    async def acquire(self, ref: str) -> Built:
        """One hold on what ``ref`` names, opened first if need be; concurrent callers open it once."""
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
                _refuse(entry)
                await self._until_opened(entry)

    def ended(self, built: Built) -> None:
        """A lease on ``built`` ended."""
        self._metrics.leases.dec()
        built.release()

    def _entry(self, ref: str) -> Entry | None:
        """What ``ref`` names; None for the fallback."""
        if self._closed:
            raise AgentUnavailable("this runtime is shutting down", reason="Closing", hint="try another one")
        if ref == FALLBACK_SLUG and ref not in self._snapshot.entries:
            return None
        return self._snapshot.find(ref)

    async def _until_opened(self, entry: Entry) -> None:
        """A waiter that is cancelled does not cancel the opening: others may wait for it too."""
        entry.interest += 1
        try:
            await asyncio.wait({self._flight(entry)})
        finally:
            entry.interest -= 1

    def _flight(self, entry: Entry, checked: Checked | None = None) -> asyncio.Task[None]:
        """The opening of ``entry`` that is under way, begun if there is none."""
        if entry.flight is None:
            entry.flight = asyncio.create_task(self._open(entry, checked))
            self._flights.add(entry.flight)
            entry.flight.add_done_callback(self._flights.discard)
        return entry.flight

    async def _open(self, entry: Entry, checked: Checked | None) -> None:
        try:
            if checked is None:
                (checked,) = await self._resolver.read([entry.row])
            self._settle(entry, await self._resolver.resolve(checked, entry))
        except Exception as error:  # a bug; whoever waits must hear of it, and nobody else be hurt
            name = type(error).__name__
            _log.error("an agent failed to open", extra={"agent": entry.row.slug, "error": name})
            said = Condition("Invalid", "Internal", f"opening failed: {name}", self._now())
            self._settle(entry, Outcome(said, retry=True))
        finally:
            entry.flight = None

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        """Note what came of opening ``entry``; keep the build if someone waits for it or uses it."""
        if self._closed or self._snapshot.ids.get(entry.row.id) is not entry:
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
        if self._tally.change(entry, condition):
            self._changes.publish("condition", self._snapshot.version, (entry.row.slug,))

    def _without_build(self, entry: Entry, outcome: Outcome) -> Condition:
        """Nothing opened. What serves goes on if that may pass, and stops if it is final."""
        said = outcome.condition
        if outcome.retry and entry.built is not None:
            return Condition("Degraded", said.reason, said.message, said.since)
        self._warm.cool(entry)
        return said

    # The verifier's side

    async def verify(self, limit: int = 20) -> int:
        """Open up to ``limit`` agents that nobody asked for yet; returns how many are left.

        Their builds are dropped again: what stays is the condition.
        """
        await self._look_into(list(islice(self._pending, limit)))
        if not self._pending:
            self.unopened.clear()
        return len(self._pending)

    async def verify_again(self) -> None:
        """Another try for agents that failed for a reason that may pass."""
        await self._look_into(list(self._doubtful))

    async def _look_into(self, entries: list[Entry]) -> None:
        async def look(pair: tuple[Checked, Entry]) -> None:
            checked, entry = pair
            wanted = entry in self._pending or entry in self._doubtful  # nobody was quicker
            if wanted and not self._closed:
                await asyncio.wait({self._flight(entry, checked)})

        pacer = Pacer(rest_s=VERIFY_REST)
        checked = await self._resolver.read([entry.row for entry in entries], pacer)
        await each(zip(checked, entries, strict=True), look, pacer)

    # Writing

    async def _apply(self, loaded: Loaded, *, full: bool) -> None:
        async with self._writing:
            started = time.perf_counter()
            base, pacer = self._snapshot, Pacer()
            stock = await take_stock(base, loaded, pacer, full=full)
            preparation = Preparation(self._resolver, base, self._now)
            try:
                await preparation.run(stock.changed, pacer)
                draft = await drafted(base, stock.gone, preparation.done, pacer)
            except BaseException:
                preparation.drop()
                raise
            if self._closed:
                preparation.drop()
                return
            self._swap(draft.freeze(loaded.head.version, loaded.head.stamp, self._now()), preparation.done)
            self._metrics.swap_seconds.observe(time.perf_counter() - started)
            await self._tidy(stock.gone, preparation.done, pacer)

    def _swap(self, snapshot: Snapshot, done: list[Prepared]) -> None:
        """The one moment at which everything new is visible."""
        self._snapshot = snapshot
        self._metrics.swaps.inc()
        self._metrics.version.set(snapshot.version)
        for prepared in done:
            if prepared.built is not None:
                if prepared.previous is not None:
                    self._warm.cool(prepared.previous)
                self._warm.heat(prepared.entry, prepared.built)

    async def _tidy(self, gone: tuple[Entry, ...], done: list[Prepared], pacer: Pacer) -> None:
        """After a swap: predecessors let go, what is new is counted and told."""
        slugs = {entry.row.slug for entry in gone}
        for entry in (*gone, *(prepared.previous for prepared in done if prepared.previous)):
            slugs.add(entry.row.slug)
            self._forget(entry)
            await pacer.turn()
        for prepared in done:
            slugs.add(prepared.entry.row.slug)
            self._welcome(prepared)
            await pacer.turn()
        if slugs:
            self._changes.publish("changed", self._snapshot.version, tuple(sorted(slugs)))

    def _forget(self, entry: Entry) -> None:
        self._warm.cool(entry)
        self._tally.remove(entry)
        self._pending.pop(entry, None)
        self._doubtful.pop(entry, None)

    def _welcome(self, prepared: Prepared) -> None:
        entry = prepared.entry
        self._tally.add(entry)
        if prepared.retry:
            self._doubtful[entry] = None
        if not entry.opened:
            self._pending[entry] = None
            self.unopened.set()


def _refuse(entry: Entry) -> None:
    """Raise where it is known that nothing of ``entry`` can run."""
    condition = entry.condition
    if condition.type in ("Suspended", "Invalid"):
        message = f"agent {entry.row.slug} cannot run: {condition.message}"
        raise AgentUnavailable(message, reason=condition.reason, hint="see its condition: agentsd status")
