"""Writability of the server: a standby, or a primary that was fenced off, answers and refuses writes.

Every transaction asks in the round trip that opens it. A session that refuses writes is not kept
while a new one may do better: after a switch-over the pool would stay on the old primary for as
long as that one lives.
"""

from __future__ import annotations

import logging
from time import monotonic

from psycopg import AsyncConnection, AsyncCursor, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agentsd.core.reminder import Reminder

READ_ONLY_QUERY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool"
"""True where a transaction that begins now is read-only, unless it asks for something else."""
RECONNECT_SECONDS = 0.5
"""While the server is read-only, a session is replaced at most this often to look for one that is not."""

_log = logging.getLogger(__name__)


class Writability:
    """Results of the sessions of one database, and the log of them."""

    def __init__(self, place: str) -> None:
        """Make it. ``place`` names the server without a password."""
        self._place = place
        self._reminder = Reminder()
        self._looked = float("-inf")
        self.read_only_since: float | None = None
        """``time.monotonic()`` when the server was found read-only; None: it takes writes."""

    def may_reconnect(self) -> bool:
        """Return whether a read-only session is to be replaced now."""
        return monotonic() - self._looked >= RECONNECT_SECONDS

    def note(self, *, read_only: bool, fresh: bool) -> None:
        """Record what a session found; ``fresh``: it was opened just now."""
        now = monotonic()
        if read_only:
            if fresh:
                self._looked = now
            since = self.read_only_since = self.read_only_since or now
            if self._reminder.due(now, "read-only"):
                _log.warning(
                    "Postgres is read-only: nothing can be written",
                    extra={"place": self._place, "seconds": round(now - since)},
                )
        elif self.read_only_since is not None:
            seconds = round(now - self.read_only_since)
            _log.info("Postgres accepts writes again", extra={"place": self._place, "seconds": seconds})
            self.read_only_since = None
            self._reminder.clear()


async def open_session(dsn: str, *, prepare_threshold: int | None = None) -> AsyncConnection:
    """Open a session in autocommit mode; of several hosts, on one that takes writes if there is one."""
    parts = conninfo_to_dict(dsn)
    hosts = str(parts.get("host") or parts.get("hostaddr") or "")
    if "," in hosts and "target_session_attrs" not in parts:
        try:
            writable = make_conninfo(dsn, target_session_attrs="read-write")
            return await AsyncConnection.connect(
                writable, autocommit=True, prepare_threshold=prepare_threshold
            )
        except OperationalError:
            pass  # none accepts writes: read what can be read
    return await AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=prepare_threshold)


async def fetch_last_value(cursor: AsyncCursor[tuple[object, ...]]) -> object:
    """Return the first column of the last of a query's results."""
    while cursor.nextset():
        pass
    row = await cursor.fetchone()
    return row[0] if row else None


async def is_read_only(connection: AsyncConnection) -> bool:
    """Return whether the server of ``connection`` refuses writes."""
    return bool(await fetch_last_value(await connection.execute(READ_ONLY_QUERY)))
