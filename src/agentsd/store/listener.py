"""Listener: a standalone connection for notifications, which reconnects by itself.

A notification is a hint; the version is the truth. So nothing here is ever replayed: after every
``connected`` the reader asks the store what it missed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Literal
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from agentsd.core.backoff import Backoff
from agentsd.core.errors import StoreError
from agentsd.store import writability
from agentsd.store.database import format_place, make_dsn
from agentsd.store.errors import translate_error
from agentsd.store.queries.versions import VERSIONS_CHANNEL, Head, load_head, notify_listeners

__all__ = ["VERSIONS_CHANNEL", "Listener", "Notification", "notify_listeners"]

_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=10.0)
READ_ONLY_LOOK_SECONDS = 1.0  # between looks for a server that takes writes, while this one does not


@dataclass(frozen=True, slots=True)
class Notification:
    """Notification: ``connected`` (again; load now), ``changed`` (newer head) or ``lost`` (no connection)."""

    kind: Literal["connected", "changed", "lost"]
    head: Head | None = None  # of ``changed``, if the payload was one of ours
    error: StoreError | None = None  # of ``lost``: why

    @property
    def version(self) -> int | None:
        """Return the version that was announced."""
        return None if self.head is None else self.head.version


class Listener:
    """Endless ``async for`` over notifications; cancel it, or close the iterator, to end it."""

    def __init__(
        self,
        dsn: str,
        *,
        channel: str = VERSIONS_CHANNEL,
        heartbeat_seconds: float = 5,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        """Make a listener.

        ``dsn`` must lead to Postgres itself: a pooler in transaction mode forwards no notifications.
        """
        self._channel = channel
        self._dsn = make_dsn(dsn) if "://" in dsn else dsn
        self._heartbeat = heartbeat_seconds
        self._backoff = backoff
        self.contact: float | None = None  # time.monotonic() when the server last answered

    def __aiter__(self) -> AsyncIterator[Notification]:
        return self.hints()

    async def hints(self) -> AsyncGenerator[Notification]:
        """Yield the notifications, from now on."""
        failures = 0
        while True:
            try:
                async with await self._connect() as connection:
                    failures = 0
                    yield Notification("connected")
                    async with aclosing(self._follow(connection)) as changes:
                        async for hint in changes:
                            yield hint
                    continue  # writes now go to another server
            except (psycopg.Error, TimeoutError) as error:
                yield Notification("lost", error=self._translate(error))
            # Full jitter: after a restart of Postgres, the replicas do not all come back at once.
            await asyncio.sleep(random.uniform(0, self._backoff.delay(failures)))  # noqa: S311
            failures += 1

    async def _connect(self) -> AsyncConnection:
        connection = await writability.open_session(self._dsn)
        try:
            async with asyncio.timeout(self._heartbeat):
                await connection.execute(f"LISTEN {self._channel}")
        except BaseException:
            await connection.close()
            raise
        self.contact = monotonic()
        return connection

    async def _follow(self, connection: AsyncConnection) -> AsyncGenerator[Notification]:
        """Yield notifications of one connection, until it breaks, or another server takes the writes.

        Silence is answered by a query: on an old primary that was left running, it would last for ever.
        """
        read_only = False
        while True:
            pause = min(self._heartbeat, READ_ONLY_LOOK_SECONDS) if read_only else self._heartbeat
            async with aclosing(connection.notifies(timeout=pause)) as notes:
                async for note in notes:
                    self.contact = monotonic()
                    if note.channel == self._channel:
                        yield Notification("changed", _parse_head(note.payload))
            async with asyncio.timeout(self._heartbeat):
                read_only = await writability.is_read_only(connection)
            self.contact = monotonic()
            if read_only and await self._writable_elsewhere():
                return
            if self._channel == VERSIONS_CHANNEL:  # a dump that is restored announces nothing
                async with asyncio.timeout(self._heartbeat):
                    now = await load_head(connection)
                yield Notification("changed", now)

    async def _writable_elsewhere(self) -> bool:
        """Return whether a new session takes writes."""
        try:
            async with (
                asyncio.timeout(self._heartbeat),
                await writability.open_session(self._dsn) as connection,
            ):
                return not await writability.is_read_only(connection)
        except (psycopg.Error, TimeoutError):
            return False

    def _translate(self, error: Exception) -> StoreError:
        known = error if isinstance(error, psycopg.Error) else psycopg.OperationalError()
        return translate_error(known, format_place(self._dsn))


def _parse_head(payload: str) -> Head | None:
    version, _, stamp = payload.partition(":")
    try:
        return Head(int(version), UUID(stamp))
    except ValueError:
        return None
