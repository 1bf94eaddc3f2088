"""Follower: keeps a registry at the store's newest version, whatever happens to Postgres.

LISTEN first, load second, so that nothing falls between the two. A notification is a hint and the
version is the truth: after every notification, every reconnect and every ``poll_s`` seconds it asks
for rows newer than those it has. A head that is not in the store's history (a restore, a fail-over
to a replica that lagged) makes it load everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing, suppress
from functools import partial
from uuid import uuid4

from psycopg import AsyncConnection

from agentsd.core.backoff import Backoff
from agentsd.core.errors import AgentsdError, SessionLost, StoreUnavailable
from agentsd.core.reminder import Reminder
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.verifier import Verifier
from agentsd.runtime.follower.heartbeat import BEAT_SECONDS, Heartbeat
from agentsd.runtime.follower.token_index import TokenIndex
from agentsd.runtime.snapshot_cache.format import CachedSnapshot
from agentsd.runtime.snapshot_cache.keeper import RecalledSnapshot, SnapshotKeeper
from agentsd.store.database import Database
from agentsd.store.listener import Listener, Notification
from agentsd.store.queries import agents, users, versions
from agentsd.store.queries.agents import Head, LoadedRows
from agentsd.store.queries.users import OwnerTokens
from agentsd.supervisor import Supervisor, TaskFunction
from agentsd.telemetry import Metrics

POLL_SECONDS = 30.0
LISTEN_SECONDS = 5.0
"""Silence on the LISTEN connection after which the follower checks that the store's history is the same."""
LISTEN_FIRST_SECONDS = 3.0
"""How long the first load waits for LISTEN; without it the follower polls."""

_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=10.0)

_log = logging.getLogger(__name__)


class Follower:
    """Follower of one database for one registry. ``run`` ends only when cancelled."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        metrics: Metrics,
        *,
        poll_s: float = POLL_SECONDS,
        beat_s: float = BEAT_SECONDS,
        verifier: Verifier | None = None,
        tokens: TokenIndex | None = None,
        keeper: SnapshotKeeper | None = None,
        supervisor: Supervisor | None = None,
        listen_s: float = LISTEN_SECONDS,
    ) -> None:
        """Make a follower. ``keeper`` keeps what is served on disk, to start from without Postgres."""
        self.replica_id = uuid4()
        self.ready = asyncio.Event()  # set by the first load, and never cleared
        self.recalled: RecalledSnapshot | None = None  # what is served from disk, until Postgres answers
        self.problem: AgentsdError | None = None  # why the last attempt failed; None while all is well
        self.verifier = verifier or Verifier(registry)
        self._supervisor = supervisor or Supervisor(metrics)
        self._database = database
        self._registry = registry
        self._tokens = tokens if tokens is not None else TokenIndex()
        self._owners: tuple[OwnerTokens, ...] | None = None  # owners of the loaded tokens
        self._keeper = keeper
        self._metrics = metrics
        self._poll_s = poll_s
        self._heart = Heartbeat(database, registry, self._supervisor, self.replica_id, beat_s)
        self._wake = asyncio.Event()
        self._reminder = Reminder()
        self._contact: float | None = None
        self._listener = Listener(database.listener_dsn, heartbeat_seconds=listen_s)
        self.verifier.done = self._heart.soon
        self._connections = 0
        self._recalled = False  # whether recall was attempted
        self._followed = False  # whether content from Postgres is served
        self._listening = False
        metrics.watch_contact(self.age)

    def age(self) -> float:
        """Return the seconds since Postgres last answered; infinite before it ever did.

        While an earlier run's snapshot is served: since Postgres confirmed that one.
        """
        if self.recalled is not None:
            return max(time.time() - self.recalled.confirmed, 0.0)
        contacts = [at for at in (self._contact, self._listener.contact) if at is not None]
        return time.monotonic() - max(contacts) if contacts else float("inf")

    def nudge(self) -> None:
        """Look for changes now, without waiting for a notification."""
        self._wake.set()

    async def run(self) -> None:
        """Listen, load, follow, verify and send heartbeats, until cancelled. Outlives every error."""
        try:
            await self._supervisor.run(self._tasks())
        finally:
            await self._heart.goodbye()

    def _tasks(self) -> dict[str, TaskFunction]:
        tasks: dict[str, TaskFunction] = {
            "listen": self._listen,
            "load": self._follow,
            "heartbeat": self._beats,
            "changes": self._watch,
            "verify": partial(self.verifier.run, self._supervisor),
        }
        if self._keeper is not None:
            tasks["snapshot"] = partial(self._keeper.run, self._content)
        return tasks

    async def _listen(self) -> None:
        async with aclosing(self._listener.hints()) as hints:
            async for hint in hints:
                self._note(hint)

    def _note(self, hint: Notification) -> None:
        if hint.kind == "connected":
            if self._connections:
                self._metrics.listen_reconnects.inc()
            self._connections += 1
            self._wake.set()
            self._listening = True
        elif hint.kind == "lost":
            self._lost(hint)
        elif hint.head is None or hint.head != self._seen():
            self._wake.set()

    def _lost(self, hint: Notification) -> None:
        """Log the loss once; whether Postgres itself is gone is for ``_follow`` to find out, now."""
        if self._listening:
            _log.warning("lost the LISTEN connection", extra={"error": type(hint.error).__name__})
        if self._listening or not self.ready.is_set():
            self._wake.set()
        self._listening = False

    async def _follow(self) -> None:
        await self._woken(LISTEN_FIRST_SECONDS)
        failures = 0
        while True:
            self._wake.clear()
            if await self._catch_up():
                failures = 0
                await self._woken(self._poll_s)
            else:
                await self._woken(_BACKOFF.delay(failures, random.random()))  # noqa: S311  (jitter)
                failures += 1

    async def _woken(self, seconds: float) -> None:
        """Wait for a notification, for this many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _catch_up(self) -> bool:
        """Load and serve what is new. Return whether that succeeded."""
        try:
            await self._load_by_any_session()
            self._followed = True
        except AgentsdError as error:
            self._failed(error)
            if isinstance(error, StoreUnavailable):
                await self._recall()
            return False
        except Exception as error:
            self._failed(AgentsdError(f"following the store failed: {type(error).__name__}"))
            return False
        if self.problem is not None:
            _log.info("following the store again", extra={"version": self._registry.snapshot.version})
        self.problem = None
        self._reminder.clear()
        self.recalled = None
        self._metrics.from_disk.set(0)
        self.ready.set()
        self._heart.soon()
        if self._keeper is not None:
            self._keeper.confirm()
        return True

    async def _load_by_any_session(self) -> None:
        """Load; once more where the session ended at work: Postgres may answer a new one."""
        try:
            await self._check_and_load()
        except SessionLost:
            await self._check_and_load()

    async def _check_and_load(self) -> None:
        if not self._followed:
            await self._database.check_schema()
        await self._load()

    def _failed(self, error: AgentsdError) -> None:
        name = type(error).__name__
        self._metrics.follow_failures.labels(name).inc()
        if self._reminder.due(time.monotonic(), name):
            _log.warning("cannot follow the store: %s", error.message, extra={"error": name})
        self.problem = error

    async def _load(self) -> None:
        """Load rows in one snapshot transaction, which ends before anything is built of them.

        Tokens are renewed first: a revoked token never gives access to what came with the same apply.
        """
        seen = self._seen()
        async with self._database.transaction(snapshot=True) as connection:
            news = await versions.poll_versions(connection, seen or versions.EMPTY_HEAD)
            known = seen is not None and news.known
            if seen is not None and known:
                loaded = await agents.load_changed(connection, seen.version, news.head)
            else:
                loaded = await agents.load_all(connection)
            if not known or not self._followed or news.users:  # content from a file is loaded again
                await self._load_tokens(connection)
        self._contact = time.monotonic()
        if not known:
            self._metrics.reloads.inc()
            version = loaded.head.version
            _log.info("loading everything", extra={"version": version, "agents": len(loaded.rows)})
            await self._registry.load(loaded)
        elif loaded.head != seen:
            await self._registry.update(loaded)

    async def _load_tokens(self, connection: AsyncConnection) -> None:
        """Load the tokens of every owner."""
        before, self._owners = self._owners, await users.load_tokens(connection)
        self._tokens.replace(self._owners)
        if self._keeper is not None and before not in (None, self._owners):
            await self._keeper.forget()

    async def _recall(self) -> None:
        """Serve, once, what an earlier run kept, where Postgres was unavailable from the start."""
        if self._keeper is None or self.ready.is_set() or self._recalled:
            return
        self._recalled = True
        try:
            found = await self._keeper.recall()
            if found is not None:
                await self._serve(found)
        except Exception as error:
            _log.error("the snapshot on disk failed to load", extra={"error": type(error).__name__})

    async def _serve(self, found: RecalledSnapshot) -> None:
        """Serve a recalled snapshot, its tokens first."""
        rows = tuple(found.kept.rows)
        self._owners = tuple(found.kept.tokens)
        self._tokens.replace(self._owners)
        await self._registry.load(LoadedRows(found.kept.head, rows), found.kept.older)
        self.recalled = found
        self._metrics.from_disk.set(1)
        told = {"version": found.kept.head.version, "agents": len(rows), "age_seconds": round(self.age())}
        _log.warning("Postgres is away: serving from disk", extra=told)
        self.ready.set()

    def _content(self) -> CachedSnapshot | None:
        """Return what is served, to be kept; None while it comes from disk itself."""
        snapshot, owners = self._registry.snapshot, self._owners
        if snapshot.stamp is None or owners is None or self.recalled is not None:
            return None
        rows = (entry.row for entry in snapshot.ids.values())  # consumed in the keeper's thread
        return CachedSnapshot(Head(snapshot.version, snapshot.stamp), rows, self._registry.older(), owners)

    def _seen(self) -> Head | None:
        """Return the head that is served; None before the first load."""
        snapshot = self._registry.snapshot
        return Head(snapshot.version, snapshot.stamp) if snapshot.stamp is not None else None

    async def _watch(self) -> None:
        """Send changes with the next heartbeat, which then comes at once, and have them kept."""
        with self._registry.subscribe() as changes:
            async for _ in changes:
                self._heart.soon()
                if self._keeper is not None:
                    self._keeper.note()

    async def _beats(self) -> None:
        await self.ready.wait()
        async for head in self._heart.beats():
            self._contact = time.monotonic()
            if head != self._seen():
                self._wake.set()
