"""Cold start without Postgres: the keeper saves what is served, and loads it after a restart.

It writes in a thread, some time after a change and all changes together, and never spends more than
a twentieth of its time on it. A change of tokens invalidates the old file at once: a revoked token
must not come back with a restart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.format import BadSnapshot, CachedSnapshot, SnapshotOrigin
from agentsd.telemetry import Metrics

QUIET_SECONDS = 2.0
"""Quiet time after a change before the file is written."""

LATEST_SECONDS = 30.0
"""Maximum delay of a write after a change, however many changes follow."""

_WRITE_SHARE = 20  # writing takes at most this fraction (1/n) of the time

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecalledSnapshot:
    """Snapshot of an earlier run, and when Postgres last confirmed it (epoch seconds)."""

    kept: CachedSnapshot
    confirmed: float


def make_snapshot_path(folder: Path, origin: SnapshotOrigin) -> Path:
    """Return the file of ``origin`` in ``folder``: each database and source has its own."""
    name = sha256(f"{origin.database}\n{origin.source}".encode()).hexdigest()[:16]
    return folder / f"snapshot-{name}"


class SnapshotKeeper:
    """Keeper of one process's snapshot file. ``run`` ends only when cancelled."""

    def __init__(
        self,
        folder: Path,
        origin: SnapshotOrigin,
        metrics: Metrics,
        *,
        quiet_s: float = QUIET_SECONDS,
        latest_s: float = LATEST_SECONDS,
    ) -> None:
        self.path = make_snapshot_path(folder, origin)
        self._origin = origin
        self._metrics = metrics
        self._quiet_s = quiet_s
        self._latest_s = latest_s
        self._confirmed = 0.0  # time of Postgres' last answer; 0: none yet
        self._edition = ""  # edition of the file
        self._due = asyncio.Event()
        self._at_once = asyncio.Event()
        self._noted = 0.0
        self._trouble: str | None = None

    async def recall(self) -> RecalledSnapshot | None:
        """Return what an earlier run kept; None, and a line in the log, where that cannot be used."""
        try:
            found = await asyncio.to_thread(snapshotfile.read_snapshot, self.path, self._origin)
        except BadSnapshot as error:
            _log.warning("the snapshot on disk is ignored: %s", error, extra={"file": str(self.path)})
            return None
        if found is None:
            _log.info("there is no snapshot on disk", extra={"file": str(self.path)})
            return None
        return RecalledSnapshot(*found)

    def note(self) -> None:
        """Note that something is served that is not kept yet, or that Postgres confirmed what is."""
        if self._confirmed:
            self._noted = time.monotonic()
            self._due.set()

    def confirm(self) -> None:
        """Note that Postgres was asked just now, and what is served is the newest."""
        self._confirmed = time.time()
        self.note()

    async def forget(self) -> None:
        """Invalidate the file because tokens changed; a new one is written at once."""
        self._confirmed = time.time()
        self._edition = ""
        try:
            await asyncio.to_thread(snapshotfile.clear_snapshot, self.path, self._confirmed)
        except OSError as error:
            self._failed(error.strerror or type(error).__name__)
        self._at_once.set()

    async def run(self, content: Callable[[], CachedSnapshot | None]) -> None:
        """Keep what ``content()`` returns as served (None: nothing yet)."""
        try:
            while True:
                await self._due.wait()
                await self._settled()
                self._due.clear()
                self._at_once.clear()
                began = time.perf_counter()
                await self._keep(content())
                await self._rest(_WRITE_SHARE * (time.perf_counter() - began))
        except asyncio.CancelledError:
            if self._due.is_set():
                await self._keep(content())
            raise

    async def _settled(self) -> None:
        """Wait until nothing changes for a while, or the latest time to write has come."""
        latest = time.monotonic() + self._latest_s
        while (left := min(self._noted + self._quiet_s, latest) - time.monotonic()) > 0:
            if await self._rest(left):
                return

    async def _rest(self, seconds: float) -> bool:
        """Wait; return whether the file must be written now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._at_once.wait()
        return False

    async def _keep(self, kept: CachedSnapshot | None) -> None:
        if kept is None:
            return
        edition, confirmed = kept.edition, self._confirmed
        if edition == self._edition and await asyncio.to_thread(
            snapshotfile.confirm_snapshot, self.path, edition, confirmed
        ):
            return
        began = time.perf_counter()
        try:
            await asyncio.to_thread(snapshotfile.remove_temp_files, self.path)
            size = await asyncio.to_thread(
                snapshotfile.write_snapshot, self.path, kept, self._origin, confirmed
            )
        except (OSError, BadSnapshot) as error:
            self._failed(getattr(error, "strerror", None) or str(error))
            return
        self._trouble = None
        self._edition = edition
        if size:
            self._metrics.snapshot_writes.inc()
            self._metrics.snapshot_bytes.set(size)
            self._metrics.snapshot_write_seconds.observe(time.perf_counter() - began)

    def _failed(self, why: str) -> None:
        """Log the failure once: agents are served all the same."""
        self._metrics.snapshot_write_failures.inc()
        if why != self._trouble:
            extra = {"file": str(self.path)}
            _log.warning("the snapshot cannot be kept on disk: %s", why, extra=extra)
        self._trouble = why
