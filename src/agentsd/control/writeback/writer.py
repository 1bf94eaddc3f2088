"""Write-back: an edit that arrived through the API becomes an edit of a file, then an ordinary sync.

    decide (the new content of each file) → preview (would a sync accept it?) → record the intent
    → swap the files → commit → clear the intent → sync → push

One writer at a time per folder, among all processes. Nothing is touched before the preview, and a
process that is killed after it leaves an intent by which the next one finishes the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from agentsd.control.sync.syncer import EDIT_TIMEOUT_SECONDS, Exclusive, Syncer
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.delivery import (
    Delivery,
    EditPlan,
    EditPreview,
    GitOptions,
    WriteMode,
    WriteResult,
)
from agentsd.control.writeback.errors import ReadOnly, WriteConflict
from agentsd.control.writeback.manifest_editor import ManifestEditor, SealingEditor
from agentsd.control.writeback.operations import AgentOperations, EditTarget, PlanEdit, refuse_viewers
from agentsd.control.writeback.preconditions import get_written_version, refuse_quarantined, refuse_undeleted
from agentsd.core.access import Principal
from agentsd.core.errors import AgentsdError, Bug, InvalidManifests, SopsFailed
from agentsd.core.violations import ATTACHMENT_PENDING, filter_errors
from agentsd.files.atomic.compare_and_swap import FileChanged, recover_files
from agentsd.files.atomic.folder_lock import find_write_problem, lock_folder

__all__ = ["EditTarget", "WriteBack"]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

ATTEMPTS_MAX = 10
"""Attempts to decide an edit again because the file changed in between."""


class WriteBack(AgentOperations[WriteResult]):
    """Edits of the manifests below one folder. Safe for concurrent use."""

    def __init__(
        self,
        desk: SealingEditor,
        syncer: Syncer,
        checker: Checker,
        *,
        mode: WriteMode = "files",
        git: GitOptions = GitOptions(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(desk, checker)
        self.mode = mode
        self.source = syncer.source
        self._root = desk.root
        self._looking = replace(desk, blind=True)
        self._syncer = syncer
        self._landing = Delivery(desk.root, git if mode == "git" else None)
        self._one = asyncio.Lock()

    async def recover(self) -> bool:
        """Finish what a killed process began, remove what it left, and return whether there was anything.

        What cannot be finished now (a merge is under way) waits for the next write.
        """
        if self.mode == "off" or find_write_problem(self._root) is not None:
            return False
        try:
            async with self._one, lock_folder(self._root):
                recover_files(self._root)
                return await self._landing.finish()
        except Exception as error:  # whatever the folder contains, continue the start
            known = error if isinstance(error, AgentsdError) else Bug(error)
            _log.warning("an unfinished edit waits: %s", known.message)
            return True

    async def aclose(self) -> None:
        """Wait until a write that is under way is over."""
        async with self._one:
            pass

    async def carry(self, who: Principal, owner: str, decide: PlanEdit) -> WriteResult:
        """Edit files of ``owner`` other than agents: see ``token_operations``. Raises as they do."""
        return await self._made(who, owner, None, decide)

    # Execution

    async def _made(
        self, who: Principal, owner: str, target: EditTarget | None, decide: PlanEdit
    ) -> WriteResult:
        """Carry out an edit, deciding it anew as often as somebody else was faster."""
        self._check(who, owner, target)
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._patiently(lambda: self._attempt(who, decide))
            except FileChanged:
                continue
        raise WriteConflict("other processes change the file all the time", hint="try again")

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return what ``attempt`` does; once more after a wait, where it only lacks what is still being read.

        That wait keeps nobody out: neither rounds nor other edits.
        """
        try:
            return await attempt()
        except InvalidManifests as error:
            if {one.code for one in filter_errors(error.violations)} != {ATTACHMENT_PENDING}:
                raise
            paths = {one.path for one in error.violations}
        await self._syncer.wait_for(paths, EDIT_TIMEOUT_SECONDS)
        return await attempt()

    @property
    def rehearsal(self) -> AgentOperations[EditPreview]:
        """Return the same edits as a dry run: decided and checked alike, and not made."""
        return _DryRun(self, self._looking, self._checker)

    async def _rehearsed(
        self, who: Principal, owner: str, target: EditTarget | None, decide: PlanEdit
    ) -> EditPreview:
        """Decide on the files as they are: a preview does not finish what a killed writer left undone."""
        self._check(who, owner, target)

        async def attempt() -> EditPreview:
            async with self._one, lock_folder(self._root), self._syncer.turn() as turn:
                decided, _ = await _plan_and_check(turn, decide)
                return await self._landing.preview(who, decided, self.mode)

        return await self._patiently(attempt)

    async def _attempt(self, who: Principal, decide: PlanEdit) -> WriteResult:
        async with self._turn() as turn:
            decided, version = await _plan_and_check(turn, decide)
            written = WriteResult(decided.action, decided.id, decided.slug, decided.path, self.mode, version)
            if not (decided.changing or decided.explicit):
                return replace(written, changed=False, message="nothing to change")
            order = self._landing.order_of(who, decided)
            if order is not None and self._landing.branches and decided.changing:
                written = await self._landing.branch(written, decided, order)
            else:
                if decided.changing:
                    written = replace(written, commit=await self._landing.carry_out(decided, order))
                report = await turn.round(decided.after, decided.explicit)
                written = replace(written, version=get_written_version(report, written))
        return await self._landing.push(written)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Exclusive]:
        """Exclude all other writers, and finish what a killed one left undone."""
        async with self._one, lock_folder(self._root), self._syncer.turn() as turn:
            if await self._landing.finish():
                await turn.round(())
            yield turn

    # Preconditions

    def _check(self, who: Principal, owner: str, target: EditTarget | None) -> None:
        """Raise ``ReadOnly`` and ``Forbidden``."""
        refuse_viewers(who, owner)
        reason = self.refusal(target)
        if reason is not None:
            raise reason

    def refusal(self, target: EditTarget | None = None) -> ReadOnly | None:
        """Return why nothing can be written here, or not this agent; None where it can."""
        if self.mode == "off":
            return ReadOnly("this server is read-only", hint="start it with --write-back files or git")
        if target is not None and target.source != self.source:
            where = f"its file is in the tree {target.source!r}, and this server writes {self.source!r}"
            return ReadOnly(f"this server cannot write the agent: {where}", hint="edit it there")
        why = find_write_problem(self._root)
        if why is None:
            return None
        return ReadOnly(f"{self._root} cannot be written: {why}", hint="edit the files in git, then sync")


class _DryRun(AgentOperations[EditPreview]):
    """Dry run of edits of the files of a ``WriteBack``."""

    def __init__(self, writeback: WriteBack, pen: ManifestEditor, checker: Checker) -> None:
        super().__init__(pen, checker)
        self._writeback = writeback

    async def _made(
        self, who: Principal, owner: str, target: EditTarget | None, decide: PlanEdit
    ) -> EditPreview:
        return await self._writeback._rehearsed(who, owner, target, decide)


async def _plan_and_check(turn: Exclusive, decide: PlanEdit) -> tuple[EditPlan, int]:
    """Return the plan of an edit, and the store's version; raise where a sync would not accept it."""
    tree = await turn.tree()
    try:
        async with asyncio.timeout(EDIT_TIMEOUT_SECONDS):
            decided = await decide(tree)
    except TimeoutError:
        message = f"the edit was not made within {EDIT_TIMEOUT_SECONDS:g} s"
        raise SopsFailed(message, hint="check that the file's key service answers, then retry") from None
    outcome = await turn.preview(decided.after, decided.explicit)
    refuse_quarantined(outcome, decided)
    refuse_undeleted(outcome, decided)
    return decided, outcome.stored.version
