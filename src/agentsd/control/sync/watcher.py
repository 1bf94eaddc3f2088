"""Watcher of the sync daemon: every change in the folder of manifests is reconciled at once.

A notification of the file system is a hint. The tree itself is authoritative: just the files
named are read, where only manifests changed in place; everything, where folders or links moved, and
on a period.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Self, TypeVar

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from agentsd.control.sync.syncer import ChangedPaths, Syncer
from agentsd.core.backoff import Backoff
from agentsd.core.errors import describe_error
from agentsd.files.budget import get_top_folder
from agentsd.files.tree import Folders, find_folders, get_overlay_path, is_attachment_name, is_manifest_name

_log = logging.getLogger(__name__)

STEP_MS = 2  # ms of silence after which a burst of events is handed over; 1 would idle at 3 % of a core
DEBOUNCE_MS = 50  # ms after which it is handed over in any case
TICK_SECONDS = 1.0  # s between checks without events: the folder itself replaced, the period over
REWATCH_SECONDS = 0.2
"""From the start of one watch to that of the next, at least; and four times what the start took."""
POLL_SECONDS = 1.0
"""From one to the next at most; between looks at everything where nothing can be watched."""
FOLDERS_PER_OWNER = 500
"""Watched folders. What changes in a further one is seen when something else does, or on the period."""
_COST = 4
_WARN_SECONDS = 60.0
_BACKOFF = Backoff(first_seconds=0.2, longest_seconds=2.0)
"""Between attempts of a round. Short, since it is what edits wait for once Postgres takes them again."""

Batch = set[tuple[int, str]]
Result = TypeVar("Result")


class Watcher:
    """Watcher of one folder, which has it reconciled until it is cancelled."""

    def __init__(self, syncer: Syncer, *, resync: float = 60.0) -> None:
        self._syncer = syncer
        self._overlay = get_overlay_path(syncer.env)
        self._roots = [syncer.root / prefix for prefix in dict.fromkeys(("", self._overlay))]
        self._resync = resync
        self._due = 0.0  # when to check everything again
        self._warned = float("-inf")
        self.first_round = asyncio.Event()  # set after the first attempt, failed or not

    async def run(self) -> None:
        """Run one round now, then one for every change and every period. Survives every error."""
        self._due = asyncio.get_running_loop().time() + self._resync
        await self._round(None)
        async with contextlib.aclosing(self._changes()) as batches:
            async for changes in batches:
                await self._round(changes)

    async def _round(self, changes: ChangedPaths) -> None:
        """Reconcile, again and again with back-off while the store is unreachable."""
        failures = 0
        while not await self._try(changes):
            changes = None
            await asyncio.sleep(_BACKOFF.delay(failures, random.random()))  # noqa: S311  (jitter)
            failures += 1

    async def _try(self, changes: ChangedPaths) -> bool:
        """Make one attempt; return False where another one soon is worth it.

        On standby, ``Syncer.keep_up`` wakes this process.
        """
        report = await self._syncer.round(changes)
        self.first_round.set()
        return report.error is None or not report.error.retryable

    async def _changes(self) -> AsyncGenerator[ChangedPaths, None]:
        """Yield batches of changes for ever, of one watch after the other.

        Each begins with a look at everything, so that what happened between two of them is seen. The pause
        is bounded, whatever ended the watch: anybody who may write one file can end it (with a name that is
        not UTF-8), and others' edits wait for the next.
        """
        loop = asyncio.get_running_loop()
        while True:
            began, ready = loop.time(), None
            try:
                async with contextlib.aclosing(self._watched()) as batches:
                    async for batch in batches:
                        yield batch
                        ready = ready or loop.time()
            except Exception as error:
                self._warn(error)
            if ready is None:
                yield None  # what cannot be watched is polled; a missing folder is an error of the round
            pause = max(REWATCH_SECONDS, _COST * (ready - began)) if ready else POLL_SECONDS
            await asyncio.sleep(began + min(pause, POLL_SECONDS) - loop.time())

    async def _watched(self) -> AsyncGenerator[ChangedPaths, None]:
        """Yield the batches of one watch, the first of which is everything; end when folders move."""
        loop = asyncio.get_running_loop()
        find = partial(find_folders, self._syncer.root, self._overlay)
        with _Thread() as thread, contextlib.ExitStack() as handles:
            identities = [_hold(root, handles) for root in self._roots]
            folders = await thread.run(find)
            async with _watch_events(thread, folders) as wait:
                self._begin_period()
                yield None
                if await thread.run(find) != folders:
                    return  # one that came while the others were being watched is not watched
                while loop.time() < self._due:
                    changes = _filter_changes(folders, await wait())
                    if changes is None or [_read_identity(root) for root in self._roots] != identities:
                        return
                    if changes:
                        yield changes

    def _begin_period(self) -> None:
        """Begin a new period where the last one is over, and have the store looked at anew."""
        now = asyncio.get_running_loop().time()
        if now >= self._due:
            self._due = now + self._resync
            self._syncer.forget()

    def _warn(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned > _WARN_SECONDS and all(map(_read_identity, self._roots)):
            self._warned = now
            if limit := _name_limit(error):
                _log.warning("the folder cannot be watched, and is read every second: %s", limit)
                return
            _log.warning("watching the folder failed and restarts", extra={"error": describe_error(error)})


def _name_limit(error: Exception) -> str:
    """Return the limit of the system that an error is about, with its remedy; or an empty text."""
    text = str(error)
    if "watch limit" in text or "os error 28" in text:
        return "raise fs.inotify.max_user_watches (sysctl)"
    if "os error 24" in text or "Too many open files" in text:
        return "raise fs.inotify.max_user_instances (sysctl), or the limit of open files (ulimit -n)"
    return ""


class _Thread:
    """A thread of its own: those that everybody shares may all be taken."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="watch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False)

    def run(self, function: Callable[[], Result]) -> asyncio.Future[Result]:
        """Run ``function`` after those before it."""
        return asyncio.get_running_loop().run_in_executor(self._executor, function)


@contextlib.asynccontextmanager
async def _watch_events(thread: _Thread, folders: Folders) -> AsyncIterator[Callable[[], Awaitable[Batch]]]:
    """Watch ``folders``; yield what waits for the next events, at most for ``TICK_SECONDS``."""
    stop = Event()
    begun = await thread.run(partial(_begin, _to_watch(folders)))

    async def wait() -> Batch:
        found = await thread.run(partial(begun.watch, DEBOUNCE_MS, STEP_MS, int(TICK_SECONDS * 1000), stop))
        return found if isinstance(found, set) else set()

    try:
        yield wait
    finally:
        stop.set()
        thread.run(begun.close)  # in its turn: the thread is still waiting


def _begin(paths: list[str]) -> RustNotify:
    """Start a watch. ``ignore_permission_denied``: the round names a folder that cannot be read."""
    return RustNotify(
        paths,
        debug=False,
        force_polling=False,
        poll_delay_ms=300,
        recursive=False,
        ignore_permission_denied=True,
    )


def _to_watch(folders: Folders) -> list[str]:
    """Return the folders to watch, those above before what they hold: as many of each owner as it may."""
    counts: Counter[str] = Counter()
    paths = []
    for path, (prefix, *_) in folders.prefixes.items():
        counts[get_top_folder(prefix)] += 1
        if counts[get_top_folder(prefix)] <= FOLDERS_PER_OWNER and _is_text(path):
            paths.append(path)
    return paths


def _is_text(path: str) -> bool:
    return path.encode("utf-8", "ignore").decode() == path


def _filter_changes(folders: Folders, batch: Iterable[tuple[int, str]]) -> ChangedPaths:
    """Return the manifests among the changed paths; None where a folder came, went or changed."""
    paths: set[str] = set()
    for kind, text in batch:
        above, name = os.path.split(text)
        if text in folders.places or name.startswith("..data"):
            return None
        if name.startswith("."):
            continue
        if is_manifest_name(name) or is_attachment_name(name):
            paths.update(prefix + name for prefix in folders.prefixes.get(above, ()))
        elif kind != Change.modified and os.path.isdir(text):  # noqa: PTH112
            return None
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


def _read_identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
