"""The sync daemon: the folder of manifests is watched, and every change is reconciled at once.

A notification of the file system is a hint. What is true is read from the tree: just the files
named, where only manifests changed in place; everything, where folders or links moved, and on a period.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path

from watchfiles import Change, awatch

from agentsd.control.syncing import Changes, Syncer
from agentsd.core.backoff import Backoff
from agentsd.core.errors import describe
from agentsd.files.tree import is_attachment_name, is_manifest_name, overlay_of

log = logging.getLogger(__name__)

STEP = 2  # ms of silence after which a burst of events is handed over; 1 would idle at 3 % of a core
DEBOUNCE = 50  # ms after which it is handed over in any case
TICK = 1.0  # s between looks at what no event tells: the folder itself replaced, the period over
_BACKOFF = Backoff(first_seconds=0.2, longest_seconds=10.0)
WATCH_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=1.0)
"""Before a failed watch begins anew. As long as a folder's name is not UTF-8, every watch fails, and these
rounds are what others' edits wait for."""


class Watcher:
    """Watches one folder and has it reconciled, until it is cancelled."""

    def __init__(self, syncer: Syncer, *, resync: float = 60.0) -> None:
        self._syncer = syncer
        overlay = overlay_of(syncer.env)
        self._roots = {prefix: syncer.root / prefix for prefix in ("", overlay)}
        self._resync = resync
        self._failures = 0  # of watches, in a row
        self.first_round = asyncio.Event()  # set after the first attempt, whatever came of it

    async def run(self) -> None:
        """One round now, then one for every change and every period. Survives every error."""
        await self._round(None)
        async for changes in self._changes():
            await self._round(changes)

    async def _round(self, changes: Changes) -> None:
        """Reconcile, again and again with back-off while the store is away."""
        failures = 0
        while not await self._try(changes):
            changes = None
            await asyncio.sleep(_BACKOFF.delay(failures, random.random()))  # noqa: S311  (jitter)
            failures += 1

    async def _try(self, changes: Changes) -> bool:
        """One attempt. False: worth another one soon. Who stands by is woken by ``Syncer.keep_up``."""
        report = await self._syncer.round(changes)
        self.first_round.set()
        return report.error is None or not report.error.retryable

    async def _changes(self) -> AsyncGenerator[Changes, None]:
        """Batches of changes, for ever; watching starts again when the folder itself is replaced."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._resync
        while True:
            with contextlib.ExitStack() as handles:
                identity = [_hold(root, handles) for root in self._roots.values()]
                if None in identity:
                    yield None  # a missing folder is an error that the round reports
                    await asyncio.sleep(TICK)
                    continue
                async with contextlib.aclosing(self._watched()) as events:
                    async for batch in events:
                        if loop.time() >= due:
                            due = loop.time() + self._resync
                            self._syncer.forget()
                            batch = None  # noqa: PLW2901
                        if batch is None or batch:
                            yield batch
                        if [_identity(root) for root in self._roots.values()] != identity:
                            break
            yield None  # whatever happened between the two watches

    async def _watched(self) -> AsyncGenerator[Changes, None]:
        """Batches of one watch. One that fails (a name that is not UTF-8) ends, after a growing pause."""
        try:
            async with contextlib.aclosing(_events(self._roots)) as events:
                async for batch in events:
                    yield batch
                    self._failures = 0 if batch is not None else self._failures
        except Exception as error:
            if not self._failures:
                why = describe(error)
                log.warning("watching the folder failed and begins anew", extra={"error": why})
            pause = WATCH_BACKOFF.delay(self._failures, random.random())  # noqa: S311  (jitter)
            await asyncio.sleep(pause)
            self._failures += 1


async def _events(roots: Mapping[str, Path]) -> AsyncGenerator[Changes, None]:
    """What ``watchfiles`` saw: paths, None for "look at everything", an empty set for a tick."""
    real = {root.resolve(): prefix for prefix, root in roots.items()}
    watch = awatch(
        *real,
        watch_filter=None,
        step=STEP,
        debounce=DEBOUNCE,
        rust_timeout=int(TICK * 1000),
        yield_on_timeout=True,
        ignore_permission_denied=True,  # the round names a folder that cannot be read
        recursive=True,
    )
    first = True
    async with contextlib.aclosing(watch):
        async for batch in watch:
            yield None if first else _relevant(real, batch)  # changed before the watch began?
            first = False


def _relevant(roots: Mapping[Path, str], batch: Iterable[tuple[Change, str]]) -> Changes:
    """The manifests among the changed paths; None where something else of interest changed."""
    paths = set()
    for kind, text in batch:
        path = Path(text)
        if path in roots or path.name.startswith("..data"):
            return None
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if root is None:
            return None
        relative = path.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if is_manifest_name(path.name) or is_attachment_name(path.name):
            paths.add(roots[root] + relative.as_posix())
        elif kind is not Change.modified and (not os.path.exists(path) or os.path.isdir(path)):  # noqa: PTH110, PTH112
            return None  # a folder came, went or was renamed (or a file that is none of ours went)
    return frozenset(paths)


def _hold(root: Path, handles: contextlib.ExitStack) -> tuple[int, int] | None:
    """Return the identity of a folder, which no other folder gets as long as its handle is open.

    A folder that was removed and made again often has the same inode, and the watch of the old one is deaf.
    """
    try:
        descriptor = os.open(root, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    handles.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
