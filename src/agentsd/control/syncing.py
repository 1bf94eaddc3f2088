"""One tree and one store, kept in step: rounds, one at a time, whoever asks for them.

The watcher asks when files changed; a write-back asks when it changed some, and holds its turn
while it does, so that no round sees half of an edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from agentsd.control.reconcile import Options, Outcome, Reconciler
from agentsd.core.errors import AgentsdError, Bug
from agentsd.files.git import head_commit, lock_of
from agentsd.files.tree import NO_SIGNATURE, SourceFile, Tree, read_tree, reread

Changes = frozenset[str] | None
"""Relative paths of manifests that changed in place; None: look at everything."""

VANISHED = 0.2  # s for a file that is gone to come back: editors remove before they write
GIT_PATIENCE = 30.0  # s to wait for a git operation under way

OnReport = Callable[["Report"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Report:
    """What one round did: an outcome, or the error that the next round will meet again."""

    outcome: Outcome | None = None
    error: AgentsdError | None = None
    commit: str | None = None  # that the tree was at


class Syncer:
    """Rounds over one folder of manifests. ``on_report`` hears of each."""

    def __init__(self, root: Path, reconciler: Reconciler, options: Options, on_report: OnReport) -> None:
        self.root = root
        self._reconciler = reconciler
        self._options = replace(options, strict=False)
        self._on_report = on_report
        self._tree: Tree | None = None
        self._busy = asyncio.Lock()

    @property
    def source(self) -> str:
        """The name of this tree."""
        return self._options.source

    def forget(self) -> None:
        """Look anew at the store, and at seals that could not be verified."""
        self._reconciler.forget()

    async def round(self, changes: Changes) -> Report:
        """Reconcile what changed, as soon as nobody else does. Raises nothing: the report says it."""
        async with self._busy:
            return await self._round(changes)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Keep rounds out while files are looked at and changed together."""
        async with self._busy:
            yield Turn(self)

    async def _round(self, changes: Changes, explicit: frozenset[UUID] = frozenset()) -> Report:
        commit = None
        try:
            commit, tree = await self._gather(changes, settled=bool(explicit))
            self._tree = tree
            options = replace(self._options, commit=commit, explicit=explicit)
            report = Report(await self._reconciler.sync(tree, options), commit=commit)
        except Exception as error:
            self._reconciler.forget()
            report = Report(error=error if isinstance(error, AgentsdError) else Bug(error), commit=commit)
        await self._on_report(report)
        return report

    async def _look(self) -> Tree:
        self._tree = await self._read(None)
        return self._tree

    async def _preview(self, edits: Mapping[str, bytes | None], explicit: frozenset[UUID]) -> Outcome:
        self._tree = await self._read(frozenset(edits))
        tree = edited(self._tree, edits)
        return await self._reconciler.plan(tree, replace(self._options, explicit=explicit))

    async def _gather(self, changes: Changes, *, settled: bool) -> tuple[str | None, Tree]:
        """The commit and the tree, read while git was not writing. ``settled``: what is gone is gone."""
        lock = lock_of(self.root)
        deadline = asyncio.get_running_loop().time() + GIT_PATIENCE
        while True:
            while lock and lock.exists() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)  # a lock file tells nobody when it goes
                changes = None  # what is known so far is a part of it
            commit, tree = await asyncio.gather(head_commit(self.root), self._read(changes, settled=settled))
            if not (lock and lock.exists()) or asyncio.get_running_loop().time() >= deadline:
                return commit, tree
            changes = None  # it began meanwhile

    async def _read(self, changes: Changes, *, settled: bool = False) -> Tree:
        before = self._tree
        tree = reread(before, changes) if before and changes is not None else read_tree(self.root, before)
        if before and not settled and before.files.keys() - tree.files.keys():
            await asyncio.sleep(VANISHED)
            tree = read_tree(self.root, tree)
        return tree


class Turn:
    """A stretch of time in which no other round runs."""

    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer

    async def tree(self) -> Tree:
        """The files as they are now."""
        return await self._syncer._look()

    async def preview(self, edits: Mapping[str, bytes | None], explicit: Collection[UUID] = ()) -> Outcome:
        """What a round would do if the files at these paths held these bytes (None: were gone)."""
        return await self._syncer._preview(edits, frozenset(explicit))

    async def round(self, paths: Collection[str], explicit: Collection[UUID] = ()) -> Report:
        """Reconcile these files, which were just written. ``explicit``: agents that are meant to go."""
        return await self._syncer._round(frozenset(paths), frozenset(explicit))


def edited(tree: Tree, edits: Mapping[str, bytes | None]) -> Tree:
    """``tree`` as it would be after ``edits``."""
    files = dict(tree.files)
    for path, data in edits.items():
        if data is None:
            files.pop(path, None)
        else:
            files[path] = SourceFile(path, NO_SIGNATURE, sha256(data).digest(), data)
    return replace(tree, files=files)
