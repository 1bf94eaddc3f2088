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

from agentsd.control.sync.syncer import EDIT_PATIENCE, Syncer, Turn
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.delivery import Decided, GitOptions, Landing, Mode, Preview, Written
from agentsd.control.writeback.errors import ReadOnly, WriteConflict
from agentsd.control.writeback.manifest_editor import Desk, Pen
from agentsd.control.writeback.operations import Decide, Edits, Target, refuse_viewers
from agentsd.control.writeback.preconditions import refuse_quarantined, refuse_undeleted, version_of
from agentsd.core.access import Principal
from agentsd.core.errors import AgentsdError, Bug, InvalidManifests, SopsFailed
from agentsd.core.violations import ATTACHMENT_PENDING, errors_of
from agentsd.files.atomic.compare_and_swap import FileChanged, sweep
from agentsd.files.atomic.folder_lock import folder_lock, unwritable

__all__ = ["Target", "WriteBack"]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

ATTEMPTS = 10
"""How often an edit is decided anew because somebody else changed the file in between."""


class WriteBack(Edits[Written]):
    """Edits of the manifests below one folder. Safe for concurrent use."""

    def __init__(
        self,
        desk: Desk,
        syncer: Syncer,
        checker: Checker,
        *,
        mode: Mode = "files",
        git: GitOptions = GitOptions(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(desk, checker)
        self.mode = mode
        self.source = syncer.source
        self._root = desk.root
        self._looking = replace(desk, blind=True)
        self._syncer = syncer
        self._landing = Landing(desk.root, git if mode == "git" else None)
        self._one = asyncio.Lock()

    async def recover(self) -> bool:
        """Finish what a killed process began, remove what it left, and return whether there was anything.

        What cannot be finished now (a merge is under way) waits for the next write.
        """
        if self.mode == "off" or unwritable(self._root) is not None:
            return False
        try:
            async with self._one, folder_lock(self._root):
                sweep(self._root)
                return await self._landing.finish()
        except Exception as error:  # whatever stands in the folder: the start goes on
            known = error if isinstance(error, AgentsdError) else Bug(error)
            _log.warning("an unfinished edit waits: %s", known.message)
            return True

    async def aclose(self) -> None:
        """Wait until a write that is under way is over."""
        async with self._one:
            pass

    async def carry(self, who: Principal, owner: str, decide: Decide) -> Written:
        """Make an edit of files of ``owner`` other than agents: see ``token_operations``. Raises as they do."""
        return await self._made(who, owner, None, decide)

    # How they are made

    async def _made(self, who: Principal, owner: str, target: Target | None, decide: Decide) -> Written:
        """Carry out an edit, deciding it anew as often as somebody else was faster."""
        self._check(who, owner, target)
        for _ in range(ATTEMPTS):
            try:
                return await self._patiently(lambda: self._attempt(who, decide))
            except FileChanged:
                continue
        raise WriteConflict("the file is being changed by someone else all the time", hint="try again")

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return what ``attempt`` does; once more after a wait, where it only lacks what is still being read.

        That wait keeps nobody out: neither rounds nor other edits.
        """
        try:
            return await attempt()
        except InvalidManifests as error:
            if {one.code for one in errors_of(error.violations)} != {ATTACHMENT_PENDING}:
                raise
            paths = {one.path for one in error.violations}
        await self._syncer.wait_for(paths, EDIT_PATIENCE)
        return await attempt()

    @property
    def rehearsal(self) -> Edits[Preview]:
        """Return the same edits as a dry run: decided and checked alike, and not made."""
        return _Rehearsal(self, self._looking, self._checker)

    async def _rehearsed(self, who: Principal, owner: str, target: Target | None, decide: Decide) -> Preview:
        """Decide on the files as they are: a preview does not finish what a killed writer left undone."""
        self._check(who, owner, target)

        async def attempt() -> Preview:
            async with self._one, folder_lock(self._root), self._syncer.turn() as turn:
                decided, _ = await _decided(turn, decide)
                return await self._landing.preview(who, decided, self.mode)

        return await self._patiently(attempt)

    async def _attempt(self, who: Principal, decide: Decide) -> Written:
        async with self._turn() as turn:
            decided, version = await _decided(turn, decide)
            written = Written(decided.action, decided.id, decided.slug, decided.path, self.mode, version)
            if not (decided.changing or decided.explicit):
                return replace(written, changed=False, message="nothing to change")
            order = self._landing.order_of(who, decided)
            if order is not None and self._landing.branches and decided.changing:
                written = await self._landing.branch(written, decided, order)
            else:
                if decided.changing:
                    written = replace(written, commit=await self._landing.carry_out(decided, order))
                report = await turn.round(decided.after, decided.explicit)
                written = replace(written, version=version_of(report, written))
        return await self._landing.push(written)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Turn]:
        """Exclude all other writers, and finish what a killed one left undone."""
        async with self._one, folder_lock(self._root), self._syncer.turn() as turn:
            if await self._landing.finish():
                await turn.round(())
            yield turn

    # What must hold

    def _check(self, who: Principal, owner: str, target: Target | None) -> None:
        """Raise ``ReadOnly`` and ``Forbidden``."""
        refuse_viewers(who, owner)
        reason = self.refusal(target)
        if reason is not None:
            raise reason

    def refusal(self, target: Target | None = None) -> ReadOnly | None:
        """Return why nothing can be written here, or not this agent; None where it can."""
        if self.mode == "off":
            return ReadOnly("this server is read-only", hint="start it with --write-back files or git")
        if target is not None and target.source != self.source:
            where = f"its file is in the tree {target.source!r}, and this server writes {self.source!r}"
            return ReadOnly(f"the agent is not this server's to write: {where}", hint="edit it there")
        why = unwritable(self._root)
        if why is None:
            return None
        return ReadOnly(f"{self._root} cannot be written: {why}", hint="edit the files in git, then sync")


class _Rehearsal(Edits[Preview]):
    """Dry run of edits of the files of a ``WriteBack``."""

    def __init__(self, writeback: WriteBack, pen: Pen, checker: Checker) -> None:
        super().__init__(pen, checker)
        self._writeback = writeback

    async def _made(self, who: Principal, owner: str, target: Target | None, decide: Decide) -> Preview:
        return await self._writeback._rehearsed(who, owner, target, decide)


async def _decided(turn: Turn, decide: Decide) -> tuple[Decided, int]:
    """Return the plan of an edit, and the store's version; raise where a sync would not accept it."""
    tree = await turn.tree()
    try:
        async with asyncio.timeout(EDIT_PATIENCE):
            decided = await decide(tree)
    except TimeoutError:
        message = f"the edit was not made within {EDIT_PATIENCE:g} s"
        raise SopsFailed(message, hint="does the file's key service answer? try again") from None
    outcome = await turn.preview(decided.after, decided.explicit)
    refuse_quarantined(outcome, decided)
    refuse_undeleted(outcome, decided)
    return decided, outcome.stored.version
