"""Write-back: an edit that came through the API becomes an edit of a file, then an ordinary sync.

    decide (what each file will say) → preview (would a sync take it?) → note the intent
    → swap the files → commit → drop the note → sync → push

One writer at a time per folder, among all processes. Nothing is touched before the preview, and a
process that is killed after it leaves a note by which the next one finishes the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from agentsd.control import naming
from agentsd.control.check import Checker
from agentsd.control.editing import Desk, id_in, read
from agentsd.control.intents import FileEdit
from agentsd.control.landing import Action, Decided, GitOptions, Landing, Mode, Written
from agentsd.control.refusals import Forbidden, PreconditionFailed, ReadOnly, WriteConflict
from agentsd.control.syncing import Syncer, Turn
from agentsd.control.verdict import refuse_elsewhere, refuse_quarantined, refuse_undeleted, version_of
from agentsd.core.access import Principal
from agentsd.core.document import Document
from agentsd.core.errors import AgentsdError
from agentsd.core.names import owner_of
from agentsd.files.lock import folder_lock, unwritable
from agentsd.files.swap import FileChanged, sweep
from agentsd.files.tree import SourceFile, Tree

_log = logging.getLogger(__name__)

ATTEMPTS = 10
"""How often an edit is decided anew because somebody else changed the file in between."""


@dataclass(frozen=True, slots=True)
class Target:
    """The agent that is meant, as the caller knows it."""

    id: UUID
    slug: str
    owner: str
    path: str
    source: str


_Decide = Callable[[Turn], Awaitable[Decided]]


class WriteBack:
    """Edits the manifests below one folder. Safe for concurrent use."""

    def __init__(
        self,
        desk: Desk,
        syncer: Syncer,
        checker: Checker,
        *,
        mode: Mode = "files",
        git: GitOptions = GitOptions(),  # noqa: B008  (frozen)
    ) -> None:
        self.mode = mode
        self.source = syncer.source
        self._desk, self._root = desk, desk.root
        self._syncer, self._checker = syncer, checker
        self._landing = Landing(desk.root, git if mode == "git" else None)
        self._one = asyncio.Lock()

    # The edits

    async def create(
        self, who: Principal, owner: str, slug: str | None, fields: Mapping[str, Any]
    ) -> Written:
        """A new manifest. Without ``slug``, one is made from the name, in the folder of ``owner``."""
        chosen = slug if slug is not None else naming.derived(owner, fields.get("name"))
        self._check(who, owner_of(f"{chosen}.yaml"))

        async def decide(turn: Turn) -> Decided:
            tree = await turn.tree()
            free = chosen if slug is not None else naming.free(tree, chosen)
            naming.check(tree, free)
            path = f"{free}.yaml"
            data = await self._desk.created(path, fields, tree.beside)
            edits = (*await self._cleared(tree, path, data), FileEdit(path, None, data))
            return Decided("create", id_in(read(path, data)), free, path, edits)

        return await self._write(who, decide)

    async def change(
        self,
        who: Principal,
        target: Target,
        fields: Mapping[str, Any],
        *,
        merge: bool,
        expected: frozenset[str] | None = None,
    ) -> Written:
        """``PATCH`` (``merge``) or ``PUT``. ``expected``: hex digests, of which the agent must have one."""

        async def made(document: Document) -> bytes:
            return await self._desk.changed(document, fields, merge=merge)

        return await self._edit(who, target, "update", made, expected)

    async def restore(
        self,
        who: Principal,
        target: Target,
        data: bytes,
        expected: frozenset[str] | None = None,
        *,
        revive: bool = False,
    ) -> Written:
        """Put back the manifest of an older revision, byte for byte; ``revive``: also where it is gone."""
        if id_in(read(target.path, data)) != target.id:
            raise WriteConflict(
                f"{target.path} would describe another agent: that revision has no `id:` of its own",
                hint="the agent was renamed since: put `id:` into the older text by hand",
            )

        async def made(_: Document) -> bytes:
            return data

        return await self._edit(who, target, "rollback", made, expected, revive=revive)

    async def set_default(
        self, who: Principal, target: Target, expected: frozenset[str] | None = None
    ) -> Written:
        """Make it its owner's default; who was, is cleared first."""

        async def made(document: Document) -> bytes:
            if document.value.get("default") is True:
                return document.data
            return await self._desk.with_default(document, default=True)

        return await self._edit(who, target, "set-default", made, expected)

    async def delete(self, who: Principal, target: Target, expected: frozenset[str] | None = None) -> Written:
        """Remove the manifest, or an agent that outlived it. What lies beside it (prompts) stays."""
        self._check(who, target.owner, target)

        async def decide(turn: Turn) -> Decided:
            edits: tuple[FileEdit, ...] = ()
            if expected is not None or target.path in (await turn.tree()).files:
                before, _ = await self._present(turn, target, expected)
                edits = (FileEdit(target.path, before, None),)
            return Decided(
                "delete", target.id, target.slug, target.path, edits, explicit=frozenset((target.id,))
            )

        return await self._write(who, decide)

    async def recover(self) -> bool:
        """Finish what a killed process began, remove what it left, and say whether there was anything.

        What cannot be finished now (a merge is under way) waits for the next write.
        """
        if self.mode == "off" or unwritable(self._root) is not None:
            return False
        try:
            async with self._one, folder_lock(self._root):
                sweep(self._root)
                return await self._landing.finish()
        except AgentsdError as error:
            _log.warning("an unfinished edit waits: %s", error.message)
            return True

    async def aclose(self) -> None:
        """Wait until a write that is under way is over."""
        async with self._one:
            pass

    # How they are made

    async def _edit(
        self,
        who: Principal,
        target: Target,
        action: Action,
        made: Callable[[Document], Awaitable[bytes]],
        expected: frozenset[str] | None,
        *,
        revive: bool = False,
    ) -> Written:
        self._check(who, target.owner, target)

        async def decide(turn: Turn) -> Decided:
            before: bytes | None = None
            tree = await turn.tree()
            if revive and target.path not in tree.files:
                refuse_elsewhere(tree, target.id)
            else:
                before, tree = await self._present(turn, target, expected)
            old = Document(target.path, b"", {}) if before is None else read(target.path, before)
            data = await made(self._desk.with_layers(old, tree.beside))
            edits = (*await self._cleared(tree, target.path, data), FileEdit(target.path, before, data))
            return Decided(action, target.id, target.slug, target.path, edits)

        return await self._write(who, decide)

    async def _write(self, who: Principal, decide: _Decide) -> Written:
        """Carry out an edit, deciding it anew as often as somebody else was quicker."""
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(who, decide)
            except FileChanged:
                continue
        raise WriteConflict("the file is being changed by someone else all the time", hint="try again")

    async def _attempt(self, who: Principal, decide: _Decide) -> Written:
        async with self._turn() as turn:
            decided = await decide(turn)
            outcome = await turn.preview(decided.after, decided.explicit)
            refuse_quarantined(outcome, decided)
            refuse_undeleted(outcome, decided)
            version = outcome.stored.version
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
        """Alone among all writers, and with what a killed one left undone finished."""
        async with self._one, folder_lock(self._root), self._syncer.turn() as turn:
            if await self._landing.finish():
                await turn.round(())
            yield turn

    # What must hold

    def _check(self, who: Principal, owner: str, target: Target | None = None) -> None:
        """Raises ``ReadOnly`` and ``Forbidden``. Below every way to write there is."""
        if not who.may_write(owner):
            raise Forbidden("your role does not allow this", hint="ask for a token with the role editor")
        reason = self.refusal(target)
        if reason is not None:
            raise reason

    def refusal(self, target: Target | None = None) -> ReadOnly | None:
        """Why nothing can be written here, or not this agent; None: it can."""
        if self.mode == "off":
            return ReadOnly("this server is read-only", hint="start it with --write-back files or git")
        if target is not None and target.source != self.source:
            where = f"its file is in the tree {target.source!r}, and this server writes {self.source!r}"
            return ReadOnly(f"the agent is not this server's to write: {where}", hint="edit it there")
        why = unwritable(self._root)
        if why is None:
            return None
        return ReadOnly(f"{self._root} cannot be written: {why}", hint="edit the files in git, then sync")

    async def _present(
        self, turn: Turn, target: Target, expected: frozenset[str] | None
    ) -> tuple[bytes, Tree]:
        """The file of ``target`` as it is now, if it is still that agent's and what the caller saw."""
        tree = await turn.tree()
        file = tree.files.get(target.path)
        if file is None or file.problem:
            raise WriteConflict(
                f"{target.path} is not there, or cannot be read",
                hint="the next sync will tell; look at it with: agentsd status",
            )
        if id_in(read(target.path, file.data)) != target.id:
            raise WriteConflict(f"{target.path} now describes another agent", hint="read the list again")
        if expected is not None and self._digest(file, tree) not in expected:
            raise PreconditionFailed(
                "the agent has changed since you read it", hint="read it again, and edit what you get"
            )
        return file.data, tree

    def _digest(self, file: SourceFile, tree: Tree) -> str:
        """As in the agent's ETag: over the manifest and what it names."""
        checked = self._checker.check(file, tree.beside)
        return (checked.manifest.digest if checked.manifest else file.digest).hex()

    async def _cleared(self, tree: Tree, path: str, data: bytes) -> tuple[FileEdit, ...]:
        """One default per owner: whoever else says ``default: true`` is cleared, if ``data`` says it."""
        if read(path, data).value.get("default") is not True:
            return ()
        edits, owner = [], owner_of(path)
        for other in tree.files.values():
            if other.path == path or owner_of(other.path) != owner or b"default" not in other.data:
                continue
            checked = self._checker.check(other, tree.beside)
            if checked.manifest is not None and checked.manifest.default:
                cleared = await self._desk.with_default(read(other.path, other.data), default=False)
                edits.append(FileEdit(other.path, other.data, cleared))
        return tuple(edits)
