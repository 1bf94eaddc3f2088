"""Election of a source's leader: of several sync daemons one applies, and the others stand by.

The lead is a session-level advisory lock on a standalone connection. The server itself ends a
session that is silent for ``SILENCE_SECONDS``, so a leader that was killed, cut off or frozen loses
the lock.

The process that gets the lock raises the source's epoch. Every apply proves, under the lock of all applies,
that the epoch is still its own: what a leader began before it was frozen is refused when it goes
on. Its open transaction holds a lock by which its successor finds and ends it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from agentsd.core.errors import ConfigError, NotLeading, StoreError, StoreUnavailable
from agentsd.store import writability
from agentsd.store.database import format_place
from agentsd.store.errors import translate_error
from agentsd.store.queries.versions import APPLY_LOCK

SILENCE_SECONDS = 3.0
"""Time without a heartbeat after which Postgres ends the leader's session."""
BEATS = 3
"""Heartbeats in that time."""
TRIES = 6
"""Tries of a standby in that time."""
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Term:
    """Period of leading ``source``; its epoch is unique."""

    source: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Leader:
    """Process that leads, or led last."""

    source: str
    epoch: int
    host: str
    pid: int
    since: datetime
    leads: bool  # it has the lock right now

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, slots=True)
class ElectionState:
    """State of a candidate: it leads (``term``), stands by, or cannot find out (``error``)."""

    term: Term | None = None
    leader: Leader | None = None  # the one it stands by for, if known
    error: StoreError | ConfigError | None = None


async def lock_for_term(connection: AsyncConnection, term: Term) -> None:
    """Wait until no other apply runs, then check that ``term`` lasts. Raises ``NotLeading``.

    Both locks are in one statement: a process that waits for the second has the first, by which it can be
    found.
    """
    await connection.execute(
        f"SELECT pg_advisory_xact_lock_shared({_OPEN}), pg_advisory_xact_lock(%s::bigint)".encode(),
        (term.source, APPLY_LOCK),
    )
    await _check_epoch(connection, term)


async def verify_term(connection: AsyncConnection, term: Term) -> None:
    """Check that ``term`` lasts, for a transaction that applies nothing. Raises ``NotLeading``."""
    await connection.execute(f"SELECT pg_advisory_xact_lock_shared({_OPEN})".encode(), (term.source,))
    await _check_epoch(connection, term)


async def _check_epoch(connection: AsyncConnection, term: Term) -> None:
    cursor = await connection.execute(_EPOCH.encode(), (term.source,))
    if await cursor.fetchone() != (term.epoch,):
        raise NotLeading(
            f"another process leads the source {term.source!r} now",
            hint="this process applied nothing and stands by",
        )


async def list_leaders(connection: AsyncConnection) -> list[Leader]:
    """Return the leaders, present or last, ordered by source."""
    cursor = await connection.execute(_LEADERS.encode())
    return [Leader(*row) for row in await cursor.fetchall()]


class LeaderCandidate:
    """Bid of one process for the lead of a source; ``standings`` goes on until it is closed."""

    def __init__(
        self,
        dsn: str,
        source: str,
        *,
        fit: Callable[[], bool] = lambda: True,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """Make a bid. ``dsn`` must lead past any pooler.

        ``fit``: asked at every beat; False gives the lead up.
        """
        self._dsn = make_conninfo(
            dsn, tcp_user_timeout=int(silence * 1000), application_name="agentsd leader"
        )
        self._place = format_place(dsn)
        self._source = source
        self._fit = fit
        self._silence = silence  # s: for the server to hear nothing, and for us to wait for an answer

    async def standings(self) -> AsyncGenerator[ElectionState]:
        """Yield the state of this process, now and whenever it changes."""
        delay = _FIRST_DELAY_SECONDS
        while True:
            try:
                connection = await self._connect()
            except (psycopg.Error, TimeoutError, ConfigError) as error:
                yield ElectionState(error=self._told(error))
                await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311  (jitter)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
                continue
            try:
                async with connection, aclosing(self._campaign(connection)) as standings:
                    async for standing in standings:
                        delay = _FIRST_DELAY_SECONDS
                        yield standing
            except (psycopg.Error, TimeoutError) as error:
                yield self._broken(error)
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311  (jitter)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    def _told(self, error: Exception) -> StoreError | ConfigError:
        if isinstance(error, ConfigError):
            return error
        known = error if isinstance(error, psycopg.Error) else psycopg.OperationalError()
        return translate_error(known, self._place)

    def _broken(self, error: Exception) -> ElectionState:
        """Return the state after a session was ended.

        The server ended it, for our silence, or a fault did that is worth reporting.
        """
        told = self._told(error)
        return ElectionState() if isinstance(told, StoreUnavailable) else ElectionState(error=told)

    async def _connect(self) -> AsyncConnection:
        """Open a session that the server ends soon after this process falls silent."""
        connection = await writability.open_session(self._dsn)
        try:
            row = await self._ask(connection, "SELECT pg_backend_pid()")
            if row != (connection.info.backend_pid,):  # a pooler makes one up
                raise ConfigError(
                    f"{self._place} is a pooler, but leadership needs a session of its own",
                    hint="set AGENTSD_DATABASE_DIRECT_URL to Postgres itself",
                )
            async with asyncio.timeout(self._silence):
                await connection.execute(_format_limits(int(self._silence * 1000)).encode())
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _campaign(self, connection: AsyncConnection) -> AsyncGenerator[ElectionState]:
        """Yield states on one connection, until it breaks."""
        told: ElectionState | None = None
        while True:
            term = await self._take(connection) if self._fit() else None
            if term is not None:
                yield ElectionState(term)
                await self._lead(connection, term)
                yield ElectionState()
                told = None
            elif (standing := ElectionState(leader=await self._leader(connection))) != told:
                told = standing
                yield standing
            await asyncio.sleep(self._silence / TRIES)

    async def _take(self, connection: AsyncConnection) -> Term | None:
        """Take the lead, if it is free: a new epoch first, then the end of the last leader's transactions.

        A read-only server has no lead to give: raises, and the next session may lead to another server.
        """
        if await self._ask(connection, writability.READ_ONLY_QUERY) != (False,):
            raise psycopg.errors.ReadOnlySqlTransaction
        if await self._ask(connection, f"SELECT pg_try_advisory_lock({_LEAD})", self._source) != (True,):
            return None
        row = await self._ask(connection, _RAISE, self._source, socket.gethostname(), os.getpid())
        try:
            await self._ask(connection, _END, self._source)
        except psycopg.errors.InsufficientPrivilege:
            _log.warning("cannot end the last leader's open transactions: use one login for all daemons")
        return Term(self._source, row[0]) if row else None

    async def _lead(self, connection: AsyncConnection, term: Term) -> None:
        """Beat, until the connection breaks (raises), or until it is unfit or its epoch over (returns).

        On a server that became read-only the epoch counts as over: another process may lead elsewhere.
        """
        while self._fit():
            await asyncio.sleep(self._silence / BEATS)
            if await self._ask(connection, _BEAT, self._source) != (term.epoch, False):
                break
        await self._ask(connection, f"SELECT pg_advisory_unlock({_LEAD})", self._source)

    async def _leader(self, connection: AsyncConnection) -> Leader | None:
        async with asyncio.timeout(self._silence):
            found = await list_leaders(connection)
        return next((one for one in found if one.source == self._source and one.leads), None)

    async def _ask(self, connection: AsyncConnection, statement: str, *values: object) -> Any:
        """Return the first row; limited by a timeout."""
        async with asyncio.timeout(self._silence):
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchone()


def _format_limits(milliseconds: int) -> str:
    return f"""SET idle_session_timeout = {milliseconds}; SET statement_timeout = {milliseconds};
        SET tcp_user_timeout = {milliseconds}; SET client_connection_check_interval = {milliseconds // 3}"""


# Keys of advisory locks. LEAD: of a session that leads a source. OPEN: of each transaction of its leader.
_LEAD = "hashtextextended('agentsd lead ' || %s::text, 0)"
_OPEN = "hashtextextended('agentsd open ' || %s::text, 0)"

_HELD = """k.locktype = 'advisory' AND k.objsubid = 1 AND k.granted
    AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (k.classid::bigint << 32 | k.objid::bigint)"""

_LEADERS = f"""
SELECT source, epoch, host, pid, since, EXISTS (
    SELECT FROM pg_locks k WHERE k.pid = backend AND {_HELD} = {_LEAD.replace("%s::text", "source")})
FROM leaders ORDER BY source
"""  # noqa: S608  (constants)

_EPOCH = "SELECT epoch FROM leaders WHERE source = %s"
_BEAT = f"SELECT epoch, ({writability.READ_ONLY_QUERY}) FROM leaders WHERE source = %s"  # noqa: S608  (constants)

_RAISE = """
INSERT INTO leaders AS l (source, epoch, host, pid, backend) VALUES (%s, 1, %s, %s, pg_backend_pid())
ON CONFLICT (source) DO UPDATE SET epoch = l.epoch + 1, host = excluded.host, pid = excluded.pid,
    backend = excluded.backend, since = now()
RETURNING epoch
"""

_END = f"SELECT count(pg_terminate_backend(k.pid)) FROM pg_locks k WHERE {_HELD} = {_OPEN}"  # noqa: S608
