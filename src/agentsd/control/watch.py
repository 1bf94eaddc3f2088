"""The sync daemon: the folder of manifests is watched, and every change is reconciled at once.

A notification of the file system is a hint. What is true is read from the tree: just the files
named, where only manifests changed in place; everything, where folders or links moved, and on a period.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from watchfiles import Change, awatch

from agentsd.control.reconcile import Options, Outcome, Reconciler
from agentsd.core.errors import AgentsdError, Bug
from agentsd.files.git import head_commit, lock_of
from agentsd.files.tree import Tree, is_attachment_name, is_manifest_name, read_tree, reread

log = logging.getLogger(__name__)

Changes = frozenset[str] | None
"""Relative paths of manifests that changed in place; None: look at everything."""

STEP = 2  # ms of silence after which a burst of events is handed over; 1 would idle at 3 % of a core
DEBOUNCE = 50  # ms after which it is handed over in any case
TICK = 1.0  # s between looks at what no event tells: the folder itself replaced, the period over
VANISHED = 0.2  # s for a file that is gone to come back: editors remove before they write
GIT_PATIENCE = 30.0  # s to wait for a git operation under way
BACKOFF_MAX = 10.0  # s


@dataclass(frozen=True, slots=True)
class Report:
    """What one round of the daemon did: an outcome, or the error that the next round will meet again."""

    outcome: Outcome | None = None
    error: AgentsdError | None = None
    commit: str | None = None  # that the tree was at


class Watcher:
    """Watches one folder and reconciles it, until it is cancelled."""

    def __init__(
        self,
        root: Path,
        reconciler: Reconciler,
        options: Options,
        *,
        resync: float = 60.0,
        on_report: Callable[[Report], Awaitable[None]],
    ) -> None:
        self._root = root
        self._reconciler = reconciler
        self._options = replace(options, strict=False)
        self._resync = resync
        self._on_report = on_report
        self._tree: Tree | None = None
        self.first_round = asyncio.Event()  # set after the first attempt, whatever came of it

    async def run(self) -> None:
        """One round now, then one for every change and every period. Survives every error."""
        await self._round(None)
        async for changes in self._changes():
            await self._round(changes)

    async def _round(self, changes: Changes) -> None:
        """Reconcile, again and again with back-off while the store is away."""
        attempt = 0
        while not await self._try(changes):
            changes = None
            attempt += 1
            await asyncio.sleep(random.uniform(0.1, min(BACKOFF_MAX, 0.2 * 2**attempt)))  # noqa: S311

    async def _try(self, changes: Changes) -> bool:
        """One attempt. False: worth another one soon."""
        commit = None
        try:
            commit, tree = await self._gather(changes)
            self._tree = tree
            outcome = await self._reconciler.sync(tree, replace(self._options, commit=commit))
        except Exception as error:
            self._reconciler.forget()
            known = error if isinstance(error, AgentsdError) else Bug(error)
            await self._on_report(Report(error=known, commit=commit))
            return not known.retryable
        else:
            await self._on_report(Report(outcome, commit=commit))
            return True
        finally:
            self.first_round.set()

    async def _gather(self, changes: Changes) -> tuple[str | None, Tree]:
        """The commit and the tree, read while git was not writing."""
        lock = lock_of(self._root)
        deadline = asyncio.get_running_loop().time() + GIT_PATIENCE
        while True:
            while lock and lock.exists() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)  # a lock file tells nobody when it goes
                changes = None  # what is known so far is a part of it
            commit, tree = await asyncio.gather(head_commit(self._root), self._read(changes))
            if not (lock and lock.exists()) or asyncio.get_running_loop().time() >= deadline:
                return commit, tree
            changes = None  # it began meanwhile

    async def _read(self, changes: Changes) -> Tree:
        before = self._tree
        tree = reread(before, changes) if before and changes is not None else read_tree(self._root, before)
        if before and before.files.keys() - tree.files.keys():
            await asyncio.sleep(VANISHED)
            tree = read_tree(self._root, tree)
        return tree

    async def _changes(self) -> AsyncGenerator[Changes, None]:
        """Batches of changes, for ever; watching starts again when the folder itself is replaced."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._resync
        while True:
            identity = _identity(self._root)
            if identity is None:
                yield None  # a missing folder is an error that the round reports
                await asyncio.sleep(TICK)
                continue
            async with contextlib.aclosing(_events(self._root)) as events:
                async for batch in events:
                    if loop.time() >= due:
                        due = loop.time() + self._resync
                        self._reconciler.forget()
                        batch = None  # noqa: PLW2901
                    if batch is None or batch:
                        yield batch
                    if _identity(self._root) != identity:
                        break
            yield None  # whatever happened between the two watches


async def _events(root: Path) -> AsyncGenerator[Changes, None]:
    """What ``watchfiles`` saw: paths, None for "look at everything", an empty set for a tick."""
    real = root.resolve()
    watch = awatch(
        real,
        watch_filter=None,
        step=STEP,
        debounce=DEBOUNCE,
        rust_timeout=int(TICK * 1000),
        yield_on_timeout=True,
        recursive=True,
    )
    first = True
    async with contextlib.aclosing(watch):
        async for batch in watch:
            yield None if first else _relevant(real, batch)  # changed before the watch began?
            first = False


def _relevant(root: Path, batch: Iterable[tuple[Change, str]]) -> Changes:
    """The manifests among the changed paths; None where something else of interest changed."""
    paths = set()
    for kind, text in batch:
        path = Path(text)
        if path == root or path.name.startswith("..data"):
            return None
        relative = path.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if is_manifest_name(path.name) or is_attachment_name(path.name):
            paths.add(relative.as_posix())
        elif kind is not Change.modified and (not path.exists() or path.is_dir()):
            return None  # a folder came, went or was renamed (or a file that is none of ours went)
    return frozenset(paths)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
