"""Synchronization of one tree with one store: rounds, one at a time, whoever asks for them.

The watcher asks when files changed; a write-back asks when it changed some, and holds its turn
while it does, so that no round sees half of an edit. With a ``LeaderGate``, only a leader's rounds
apply.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from agentsd.control.sync.leadership import LeaderGate
from agentsd.control.sync.reconciler import Reconciler, SyncOptions, SyncResult
from agentsd.control.validation.checker import CheckResult
from agentsd.core.errors import AgentsdError, Bug, NotLeading, SessionLost, StoreReadOnly, StoreUnavailable
from agentsd.core.manifest.document import Document
from agentsd.files.git.command import locate_index_lock, read_head_commit
from agentsd.files.git.sparse import mark_absent
from agentsd.files.tree import (
    NO_SIGNATURE,
    WRITER_POLL_SECONDS,
    SourceFile,
    Tree,
    find_finished,
    is_attachment_name,
    read_tree,
    read_tree_at_rest,
    reread_files,
)
from agentsd.store.leader_election import Term
from agentsd.store.listener import Notification
from agentsd.supervisor import ENDING_ERRORS

_log = logging.getLogger(__name__)

ChangedPaths = frozenset[str] | None
"""Relative paths of manifests that changed in place; None: check everything."""

FIRST_WRITERS_SECONDS = 1.0  # s for files that are being written when the first round begins
WRITER_POLL_LONGEST_SECONDS = 0.25  # s between looks at a file that is open for writing for long
VANISHED_SECONDS = 0.2  # s for a file that is gone to come back: editors remove before they write
GIT_TIMEOUT_SECONDS = 30.0  # s to wait for a git operation under way
LEADER_TIMEOUT_SECONDS = 10.0  # s in which a leader elsewhere must take an edit that was made here
LEADER_POLL_SECONDS = 0.05  # s between checks for it
EDIT_TIMEOUT_SECONDS = 10.0  # s in which sops must answer for an edit of the API: other edits wait behind it
RETRY_SECONDS = 0.5  # s until a round that was owed is tried again

RoundTrigger = Literal["watch", "api"]
"""Cause of a round: changed files, or an edit that was written here."""

OnReport = Callable[["RoundReport"], Awaitable[None]]

ReadPulled = Callable[[], tuple[str, Tree]]
"""The commit that is to be reconciled, and its files."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Result of one round: a sync result, or the error that the next round will meet again."""

    outcome: SyncResult | None = None
    error: AgentsdError | None = None
    commit: str | None = None  # that the tree was at
    standby: bool = False  # another process leads: nothing was done, and nothing is reported
    term: Term | None = None  # under which it was done
    trigger: RoundTrigger = "watch"


class Syncer:
    """Rounds over one folder of manifests. ``on_report`` is called after each."""

    def __init__(
        self,
        root: Path,
        reconciler: Reconciler,
        options: SyncOptions,
        on_report: OnReport,
        *,
        env: str | None = None,
        gate: LeaderGate | None = None,
        pulled: ReadPulled | None = None,
    ) -> None:
        """Prepare rounds; ``gate`` decides whether this process leads; without one it does.

        ``pulled`` returns the tree, instead of the folder; then nobody may ``keep_up``, but pull anew.
        """
        self.root = root
        self.env = env  # the overlay, beside ``root``
        self._reconciler = reconciler
        self._options = replace(options, strict=False, work_tree=root if pulled is None else None)
        self._on_report = on_report
        self._gate = gate
        self._pulled = pulled
        self._owed = False  # a round was requested while another process led
        self._tree: Tree | None = None
        self._busy = asyncio.Lock()
        self.on_late: Callable[[RoundReport], None] = lambda _: None  # called after a round for such paths
        self._late: set[str] = set()  # paths of manifests whose slow work was done after their round
        self._catching_up: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None  # for other processes to close files
        self._telling: asyncio.Task[None] | None = None  # the report of an edit of the API
        reconciler.on_settled(self._catch_up)

    @property
    def source(self) -> str:
        """Return the name of this tree."""
        return self._options.source

    def forget(self) -> None:
        """Forget the store, and seals that could not be verified."""
        self._reconciler.forget()

    async def round(self, changes: ChangedPaths, *, quiet: bool = False) -> RoundReport:
        """Reconcile what changed, as soon as nobody else does. Raises nothing: the report contains the error.

        ``quiet``: reported to nobody unless it wrote.
        """
        async with self._busy:
            return await self._round(changes, quiet=quiet)

    async def aclose(self) -> None:
        """End what goes on between rounds, and wait for what is still being reported."""
        await self._finish_telling()
        await self._reconciler.aclose()
        for task in filter(None, (self._catching_up, self._waiting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _catch_up(self, path: str) -> None:
        """Have a round soon for a manifest that nothing is pending for by now."""
        self._late.add(path)
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._rounds_of_late(), name="settled")

    async def _rounds_of_late(self) -> None:
        while self._late:
            paths = frozenset(self._late)
            self._late.clear()
            self.on_late(await self.round(paths))

    async def wait_for(self, paths: Collection[str], seconds: float) -> None:
        """Wait for what the manifests at ``paths`` wait for, so long at most. Outside a turn."""
        await self._reconciler.wait_for(paths, seconds)

    async def keep_up(self) -> None:
        """Run the rounds that are due as soon as this process leads. Never ends."""
        if self._gate is None:
            return
        async for term in self._gate.gained():
            while self._owed and not _is_settled(await self.round(None)):
                await asyncio.sleep(RETRY_SECONDS)
                if await self._led() != term:
                    break

    async def follow_store(self, hints: AsyncIterator[Notification]) -> None:
        """Reconcile everything as soon as a dump was restored over what was applied. Never ends."""
        async for hint in hints:
            if hint.kind != "lost" and await self._reconciler.is_outdated():
                self.forget()
                await self.round(None)

    async def refuse(self, error: AgentsdError, commit: str | None) -> RoundReport:
        """Report that there was nothing to reconcile, or that it must not be."""
        report = RoundReport(error=error, commit=commit)
        async with self._busy:
            await self._finish_telling()
            await self._tell(report)
        return report

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Exclusive]:
        """Keep rounds out while files are read and changed together."""
        async with self._busy:
            yield Exclusive(self)

    async def _round(
        self,
        changes: ChangedPaths,
        explicit: frozenset[UUID] = frozenset(),
        *,
        quiet: bool = False,
        patience: float | None = None,
        trigger: RoundTrigger = "watch",
    ) -> RoundReport:
        await self._finish_telling()
        commit, term = None, None
        try:
            term = await self._gate.term() if self._gate else None
            if self._gate and term is None:
                return self._stand_by()
            commit, tree = await self._gather(None if self._owed else changes, settled=bool(explicit))
            self._tree = tree
            tree = await self._mark_absent(tree)
            options = replace(self._options, commit=commit, explicit=explicit, term=term, patience=patience)
            outcome = await self._sync(tree, options)
            report = RoundReport(outcome, commit=commit, term=term, trigger=trigger)
            self._owed = False
        except NotLeading:
            return self._stand_by()
        except ENDING_ERRORS:
            raise
        except BaseException as error:
            self._reconciler.forget()
            known = error if isinstance(error, AgentsdError) else Bug(error)
            self._owed = self._owed or known.retryable  # at once, if this process gains the lead anew
            report = RoundReport(error=known, commit=commit, term=term, trigger=trigger)
        if trigger == "api":  # the reply does not wait for the record; the next round does
            self._telling = asyncio.create_task(self._tell(report), name="report")
        elif not quiet or (report.outcome and report.outcome.head):
            await self._tell(report)
        return report

    async def _sync(self, tree: Tree, options: SyncOptions) -> SyncResult:
        """Reconcile; once more, from the start, where the session caused the failure."""
        try:
            return await self._reconciler.sync(tree, options)
        except (SessionLost, StoreReadOnly):
            self._reconciler.forget()
            return await self._reconciler.sync(tree, options)

    async def _finish_telling(self) -> None:
        if self._telling is not None:
            await asyncio.wait((self._telling,))
            self._telling = None

    async def _tell(self, report: RoundReport) -> None:
        """Pass a report on; an error there does not affect the round."""
        try:
            await self._on_report(report)
        except Exception as error:
            known = error if isinstance(error, AgentsdError) else Bug(error)
            _log.warning("a round was not reported: %s", known.message)

    def _stand_by(self) -> RoundReport:
        if not self._owed:
            self._reconciler.forget()
        self._owed = True
        return RoundReport(standby=True)

    async def _led(self) -> Term | None:
        try:
            return await self._gate.term() if self._gate else None
        except AgentsdError:
            return None

    async def _turned(self, paths: frozenset[str], explicit: frozenset[UUID]) -> RoundReport:
        """Reconcile our own edit here, or wait for the leader, which watches the same files."""
        deadline = asyncio.get_running_loop().time() + LEADER_TIMEOUT_SECONDS
        how: Any = {"patience": EDIT_TIMEOUT_SECONDS, "trigger": "api"}
        while (report := await self._round(paths, explicit, **how)).standby:
            try:
                commit, self._tree = await self._gather(None, settled=True)
                tree = await self._mark_absent(self._tree)
                outcome = await self._reconciler.plan(tree, replace(self._options, explicit=explicit))
            except AgentsdError as error:
                return RoundReport(error=error)
            if not paths & {change.path for change in outcome.plan.changes}:
                return RoundReport(outcome, commit=commit)
            if asyncio.get_running_loop().time() > deadline:
                return RoundReport(error=_make_leader_silent())
            await asyncio.sleep(LEADER_POLL_SECONDS)
        return report

    async def _mark_absent(self, tree: Tree) -> Tree:
        """Return the tree with what git has and this checkout lacks; a pulled tree is whole."""
        return tree if self._pulled is not None else await mark_absent(tree)

    async def _look(self) -> Tree:
        self._tree = await self._read(None)
        return self._tree

    async def _preview(
        self, edits: Mapping[str, bytes | None], explicit: frozenset[UUID], parsed: Iterable[Document]
    ) -> SyncResult:
        self._tree = await self._read(frozenset(edits))
        tree = await self._mark_absent(apply_edits(self._tree, edits))
        options = replace(self._options, explicit=explicit, patience=EDIT_TIMEOUT_SECONDS)
        return await self._reconciler.plan(tree, options, parsed=parsed)

    async def _gather(self, changes: ChangedPaths, *, settled: bool) -> tuple[str | None, Tree]:
        """Return the commit and the tree, read while git was not writing.

        ``settled``: a file that is missing is gone, and not looked for again.
        """
        if self._pulled is not None:
            return self._pulled()
        lock = locate_index_lock(self.root)
        deadline = asyncio.get_running_loop().time() + GIT_TIMEOUT_SECONDS
        while True:
            while lock and lock.exists() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)  # removing a lock file causes no event here
                changes = None  # the known changes are only a part
            commit, tree = await asyncio.gather(
                read_head_commit(self.root), self._read(changes, settled=settled)
            )
            if not (lock and lock.exists()) or asyncio.get_running_loop().time() >= deadline:
                return commit, tree
            changes = None  # it began meanwhile

    async def _read(self, changes: ChangedPaths, *, settled: bool = False) -> Tree:
        before = self._tree
        if before is None:
            read = partial(read_tree_at_rest, self.root, env=self.env, seconds=FIRST_WRITERS_SECONDS)
            tree = await asyncio.to_thread(read)
        elif changes is not None:
            tree = await asyncio.to_thread(reread_files, before, changes)
        else:
            tree = await asyncio.to_thread(read_tree, self.root, before, env=self.env)
        if before and not settled and before.files.keys() - tree.files.keys():
            await asyncio.sleep(VANISHED_SECONDS)  # what comes back may take its time to be written
            known = replace(tree, files={**before.files, **tree.files})
            tree = await asyncio.to_thread(read_tree, self.root, known)
        if tree.writing and (self._waiting is None or self._waiting.done()):
            self._waiting = asyncio.create_task(self._wait_for_writers(), name="writers")
        return tree

    async def _wait_for_writers(self) -> None:
        """Have a round for each file that other processes were writing, as soon as they have closed it."""
        pause = WRITER_POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, WRITER_POLL_LONGEST_SECONDS)
            async with self._busy:
                tree = self._tree
                done = await asyncio.to_thread(find_finished, tree) if tree else frozenset[str]()
            for path in done:
                self._catch_up(path)
            if not tree or tree.writing <= done:
                return


class Exclusive:
    """Period in which no other round runs."""

    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer

    async def tree(self) -> Tree:
        """Return the files as they are now."""
        return await self._syncer._look()

    async def check(self, files: Sequence[SourceFile], tree: Tree) -> list[CheckResult]:
        """Return the check result of each of these files of ``tree``."""
        return await self._syncer._reconciler.check(files, tree)

    async def preview(
        self,
        edits: Mapping[str, bytes | None],
        explicit: Collection[UUID] = (),
        parsed: Iterable[Document] = (),
    ) -> SyncResult:
        """Return what a round would do if files at these paths contained these bytes (None: were gone).

        ``round`` applies exactly that, unless files or store change in between. ``parsed``: files that
        need not be parsed again.
        """
        return await self._syncer._preview(edits, frozenset(explicit), parsed)

    async def round(self, paths: Collection[str], explicit: Collection[UUID] = ()) -> RoundReport:
        """Reconcile these files, which were just written. ``explicit``: agents that are meant to go."""
        return await self._syncer._turned(frozenset(paths), frozenset(explicit))


def _is_settled(report: RoundReport) -> bool:
    """Return whether trying again soon would be useless."""
    return not report.standby and (report.error is None or not report.error.retryable)


def _make_leader_silent() -> StoreUnavailable:
    return StoreUnavailable(
        f"another process leads, and has not applied the edit in {LEADER_TIMEOUT_SECONDS:.0f} s",
        hint="does it watch the same files? agentsd status shows the leader",
    )


def apply_edits(tree: Tree, edits: Mapping[str, bytes | None]) -> Tree:
    """Return ``tree`` as it would be after ``edits``."""
    files, attachments = dict(tree.files), dict(tree.attachments)
    for path, data in edits.items():
        found = attachments if is_attachment_name(path) else files
        if data is None:
            found.pop(path, None)
        else:
            found[path] = SourceFile(path, NO_SIGNATURE, sha256(data).digest(), data)
    return replace(tree, files=files, attachments=attachments)
