"""Write-back: a command that arrived through the API becomes an edit of files, then an ordinary sync.

    plan (the new content of each file) → preview (would a sync accept it?) → record the intent
    → swap the files → commit → clear the intent → apply what was previewed → push

One writer at a time per folder, among all processes. Nothing is touched before the preview, and a
process that is killed after it leaves an intent by which the next one finishes the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from agentsd.control.sync.reconciler import SyncResult
from agentsd.control.sync.syncer import EDIT_TIMEOUT_SECONDS, Exclusive, RoundReport, Syncer
from agentsd.control.writeback.commands import EditTarget, WriteCommand, WriteText, get_target
from agentsd.control.writeback.delivery import (
    Delivery,
    EditPlan,
    EditPreview,
    GitOptions,
    WriteMode,
    WriteResult,
)
from agentsd.control.writeback.edit_planner import plan_edit, refuse_unauthorised
from agentsd.control.writeback.errors import NotSynced, ReadOnly, WriteConflict
from agentsd.control.writeback.manifest_editor import ManifestEditor, SealingEditor
from agentsd.core.access import Principal
from agentsd.core.errors import AgentsdError, Bug, InvalidManifests, SopsFailed
from agentsd.core.names import derive_owner
from agentsd.core.plan.conflicts import hands_over
from agentsd.core.violations import ATTACHMENT_PENDING, filter_errors
from agentsd.files.atomic.compare_and_swap import FileChanged, recover_files
from agentsd.files.atomic.folder_lock import find_write_problem, lock_folder
from agentsd.files.tree import SourceFile, Tree, get_overlay_path, reread_files

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

ATTEMPTS_MAX = 10
"""Attempts to plan an edit again because the file changed in between."""


class WriteBack:
    """Writer of the manifests below one folder. Safe for concurrent use.

    Every command raises ``Forbidden``, ``ReadOnly``, ``InvalidManifests``, and as ``plan_edit`` does.
    """

    def __init__(
        self,
        editor: SealingEditor,
        syncer: Syncer,
        *,
        mode: WriteMode = "files",
        git: GitOptions = GitOptions(),  # noqa: B008  (frozen)
    ) -> None:
        self.mode = mode
        self.source = syncer.source
        self._root = editor.root
        self._editor = editor
        self._blind_editor = replace(editor, blind=True)
        self._syncer = syncer
        self._delivery = Delivery(editor.root, git if mode == "git" else None)
        self._one = asyncio.Lock()

    async def execute(self, who: Principal, command: WriteCommand) -> WriteResult:
        """Carry out a command, planning it anew as often as somebody else was faster."""
        self._refuse(who, command)
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._wait_for_sources(self._write, who, command)
            except FileChanged:
                continue
        raise WriteConflict("other processes change the file all the time", hint="try again")

    async def preview(self, who: Principal, command: WriteCommand) -> EditPreview:
        """Return the result that a command would have: planned and checked alike, and not carried out.

        It is planned on the files as they are: a preview does not finish what a killed writer left undone.
        """
        self._refuse(who, command)
        return await self._wait_for_sources(self._preview, who, command)

    async def read_text(self, path: str) -> SourceFile | None:
        """Return a file of the folder that an agent names, as a sync would read it; None where there is none.

        ``path`` has been found among the files of an agent that the caller may see.
        """
        overlay = get_overlay_path(self._syncer.env)
        names = [f"{overlay}{path}", path] if overlay else [path]
        found = await asyncio.to_thread(reread_files, Tree(self._root, {}, overlay=overlay), names)
        return next((found.attachments[name] for name in names if name in found.attachments), None)

    async def recover(self) -> bool:
        """Finish what a killed process began, remove what it left, and return whether there was anything.

        What cannot be finished now (a merge is under way) waits for the next write.
        """
        if self.mode == "off" or find_write_problem(self._root) is not None:
            return False
        try:
            async with self._one, lock_folder(self._root):
                recover_files(self._root)
                return await self._delivery.finish()
        except Exception as error:  # whatever the folder contains, continue the start
            known = error if isinstance(error, AgentsdError) else Bug(error)
            _log.warning("an unfinished edit waits: %s", known.message)
            return True

    async def aclose(self) -> None:
        """Wait until a write that is under way is over."""
        async with self._one:
            pass

    # Execution

    async def _wait_for_sources(
        self,
        attempt: Callable[[Principal, WriteCommand], Awaitable[Result]],
        who: Principal,
        command: WriteCommand,
    ) -> Result:
        """Return what ``attempt`` does; once more after a wait, where it only lacks what is still being read.

        That wait keeps nobody out: neither rounds nor other edits.
        """
        try:
            return await attempt(who, command)
        except InvalidManifests as error:
            if {one.code for one in filter_errors(error.violations)} != {ATTACHMENT_PENDING}:
                raise
            paths = {one.path for one in error.violations}
        await self._syncer.wait_for(paths, EDIT_TIMEOUT_SECONDS)
        return await attempt(who, command)

    async def _preview(self, who: Principal, command: WriteCommand) -> EditPreview:
        async with self._one, lock_folder(self._root), self._syncer.turn() as turn:
            plan, _ = await _plan_and_check(turn, who, command, self._blind_editor)
            return await self._delivery.preview(who, plan, self.mode)

    async def _write(self, who: Principal, command: WriteCommand) -> WriteResult:
        async with self._turn() as turn:
            plan, version = await _plan_and_check(turn, who, command, self._editor)
            written = WriteResult(
                plan.action, plan.id, plan.slug, plan.path, self.mode, version, user=plan.user
            )
            if not (plan.changing or plan.explicit):
                return replace(written, changed=False, message="nothing to change")
            order = self._delivery.order_of(who, plan)
            if order is not None and self._delivery.branches and plan.changing:
                written = await self._delivery.branch(written, plan, order)
            else:
                if plan.changing:
                    written = replace(written, commit=await self._delivery.carry_out(plan, order))
                report = await turn.round(plan.after, plan.explicit)
                written = replace(written, version=_get_written_version(report, written))
        return await self._delivery.push(written)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Exclusive]:
        """Exclude all other writers, and finish what a killed one left undone."""
        async with self._one, lock_folder(self._root), self._syncer.turn() as turn:
            if await self._delivery.finish():
                await turn.round(())
            yield turn

    # Preconditions

    def _refuse(self, who: Principal, command: WriteCommand) -> None:
        """Raise ``ReadOnly`` and ``Forbidden``."""
        refuse_unauthorised(who, command)
        reason = self.refusal(get_target(command))
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


async def _plan_and_check(
    turn: Exclusive, who: Principal, command: WriteCommand, editor: ManifestEditor
) -> tuple[EditPlan, int]:
    """Return the plan of an edit, and the store's version; raise where a sync would not accept it."""
    tree = await turn.tree()
    try:
        async with asyncio.timeout(EDIT_TIMEOUT_SECONDS):
            plan = await plan_edit(who, command, tree, editor, _TurnChecks(turn))
    except TimeoutError:
        message = f"the edit was not made within {EDIT_TIMEOUT_SECONDS:g} s"
        raise SopsFailed(message, hint="check that the file's key service answers, then retry") from None
    outcome = await turn.preview(plan.after, plan.explicit, plan.documents)
    named_by = {command.target.path} if isinstance(command, WriteText) else set()
    _refuse_quarantined(outcome, {*plan.after, *named_by})
    _refuse_broken_handoffs(outcome, plan)
    _refuse_undeleted(outcome, plan)
    return plan, outcome.stored.version


@dataclass(frozen=True, slots=True)
class _TurnChecks:
    """Checks of the files of a tree, as rounds make and remember them."""

    turn: Exclusive

    async def compute_digest(self, file: SourceFile, tree: Tree) -> str:
        """Return the digest in an agent's ETag: over the manifest and the files that it names."""
        (checked,) = await self.turn.check([file], tree)
        return (checked.manifest.digest if checked.manifest else file.digest).hex()

    async def find_defaults(self, owner: str, tree: Tree) -> Sequence[SourceFile]:
        """Return the valid manifests that make their agent the default of ``owner``."""
        files = [
            one for one in tree.files.values() if derive_owner(one.path) == owner and b"default" in one.data
        ]
        checked = await self.turn.check(files, tree)
        pairs = zip(files, checked, strict=True)
        return [file for file, one in pairs if one.manifest is not None and one.manifest.default]


def _refuse_quarantined(outcome: SyncResult, paths: Collection[str]) -> None:
    """Raise what is wrong with the files of this edit; errors in other files do not concern it."""
    bad = [q for q in outcome.plan.quarantined if q.path in paths]
    if bad:
        raise InvalidManifests([violation for one in bad for violation in one.violations])


def _refuse_broken_handoffs(outcome: SyncResult, plan: EditPlan) -> None:
    """Raise where an agent that others hand over to is to be suspended, deleted or made to need more."""
    rows = outcome.stored.agents
    edited = rows.get(plan.id)
    if edited is None:
        return
    naming = {row.path for row in rows.values() if row.links.handoffs and hands_over(row, edited)}
    bad = [q for q in outcome.plan.quarantined if q.path in naming - plan.after.keys()]
    found = [one for q in bad for one in q.violations if one.code.startswith("handoff-")]
    if found:
        raise InvalidManifests(found)


def _refuse_undeleted(outcome: SyncResult, plan: EditPlan) -> None:
    """Raise where an agent without a file is to be deleted, and another file turns out to describe it."""
    if plan.edits or not plan.explicit:
        return
    gone = {change.id for change in outcome.plan.changes if change.operation == "delete"}
    if not plan.explicit <= gone:
        raise WriteConflict(f"another file describes {plan.slug} now", hint="read the list again")


def _get_written_version(report: RoundReport, written: WriteResult) -> int:
    """Return the version that contains the edit. Raises ``NotSynced``."""
    if report.outcome is None:
        reason = report.error.message if report.error else "the sync failed"
        raise NotSynced(
            f"{written.path} is written, but not live yet: {reason}",
            hint="the next sync will apply it; do not send it again",
        )
    head = report.outcome.head
    return head.version if head else report.outcome.stored.version
