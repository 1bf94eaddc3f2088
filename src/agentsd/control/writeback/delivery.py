"""Delivery of a planned edit: to the files, in a commit, on a branch, at the remote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

from agentsd.control.writeback import intent_log as intents
from agentsd.control.writeback.errors import WriteConflict
from agentsd.control.writeback.intent_log import FileEdit, Intent
from agentsd.core.access import Principal
from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.document import Document
from agentsd.files.git.command import is_clean
from agentsd.files.git.commit import Author, CommitSpec, commit_files, commit_to_branch
from agentsd.files.git.ignore import refuse_unfit
from agentsd.files.git.push import push_commits

_log = logging.getLogger(__name__)

UNKNOWN_STAMP = "…"
"""Placeholder for the stamp of an edit that is not made."""

WriteMode = Literal["off", "files", "git"]
WriteAction = Literal[
    "create", "update", "delete", "set-default", "rollback", "write-text", "token-create", "token-revoke"
]


@dataclass(frozen=True, slots=True)
class GitOptions:
    """Options of committing an edit. Templates may contain ``{action} {slug} {actor} {stamp}``."""

    message: str = "agentsd: {action} {slug}"
    branch: str = ""  # empty: on the branch that is checked out; else a new one for each edit
    push: bool = False


@dataclass(frozen=True, slots=True)
class UserChange:
    """Change of a user file's value, by one token."""

    old: Mapping[str, Any] = field(repr=False)
    new: Mapping[str, Any] = field(repr=False)
    sha256: str = field(repr=False)  # of the token that comes or goes
    new_owner: bool  # there is no such folder yet


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Result of one write-back."""

    action: WriteAction
    id: UUID
    slug: str
    path: str
    mode: WriteMode
    version: int | None = None  # that serves it; None: it waits on a branch
    changed: bool = True  # False: the file already had it
    commit: str | None = None
    branch: str | None = None
    pushed: bool | None = None  # None: not requested
    message: str = ""
    user: UserChange | None = None  # of a token command

    @property
    def user_value(self) -> Mapping[str, Any]:
        """Return the value of the user file as it is now: on a branch, that is as it was."""
        if self.user is None:
            return {}
        return self.user.old if self.version is None else self.user.new


@dataclass(frozen=True, slots=True)
class EditPlan:
    """Plan of an edit: the files in order, and the agent that is meant."""

    action: WriteAction
    id: UUID
    slug: str
    path: str
    edits: tuple[FileEdit, ...] = field(repr=False)
    explicit: frozenset[UUID] = frozenset()
    documents: tuple[Document, ...] = field(default=(), repr=False)  # the files, as far as they are parsed
    user: UserChange | None = None

    @property
    def changing(self) -> tuple[FileEdit, ...]:
        """Return the files that will change."""
        return tuple(edit for edit in self.edits if edit.before != edit.after)

    @property
    def after(self) -> dict[str, bytes | None]:
        """Return the new content of each file, by path."""
        return {edit.path: edit.after for edit in self.edits}


@dataclass(frozen=True, slots=True)
class EditPreview:
    """Result that an edit would have, were it made now."""

    decided: EditPlan
    mode: WriteMode
    branch: str | None = None  # that it would wait on
    message: str | None = None  # of the commit, as a whole


class Delivery:
    """Delivery of edits to files below ``root``; ``git`` is None where nothing is committed."""

    def __init__(self, root: Path, git: GitOptions | None) -> None:
        self._root = root
        self._git = git

    def order_of(self, who: Principal, decided: EditPlan, stamp: str | None = None) -> CommitSpec | None:
        """Return the commit that is to contain the edit, with the user as author and trailer."""
        if self._git is None:
            return None
        author = Author(who.actor, who.email or f"{who.name}@{who.owner}.agentsd.invalid")
        subject = _fill_template(self._git.message, who.actor, decided, stamp)
        return CommitSpec(subject=subject, author=author, trailers=(("Agentsd-User", who.actor),))

    @property
    def branches(self) -> bool:
        """Return whether every edit goes to a branch of its own, and changes nothing here."""
        return self._git is not None and bool(self._git.branch)

    async def preview(self, who: Principal, decided: EditPlan, mode: WriteMode) -> EditPreview:
        """Return how it would be delivered.

        Raises what can be determined before: ``WriteConflict``, ``GitRefused``.
        """
        order, edits = self.order_of(who, decided, UNKNOWN_STAMP), decided.changing
        self._refuse_outside([edit.path for edit in edits])
        if self._git is None or order is None or not edits:
            return EditPreview(decided, mode)
        await self._refuse_drafts([edit.path for edit in edits])
        kept = [edit.path for edit in edits if edit.after is not None]
        await refuse_unfit(self._root, kept, detached=self.branches)
        branch = (
            _fill_template(self._git.branch, who.actor, decided, UNKNOWN_STAMP) if self.branches else None
        )
        return EditPreview(decided, mode, branch, order.message)

    async def carry_out(self, decided: EditPlan, order: CommitSpec | None) -> str | None:
        """Change the files, then commit them; revert them on an error. Returns the commit."""
        intent = Intent(decided.changing, order)
        self._refuse_outside(intent.paths)
        if order is not None:
            await self._refuse_drafts(intent.paths)
        if order is None:
            await asyncio.to_thread(intents.carry_out, self._root, intent)
            return None
        await asyncio.to_thread(intents.record_intent, self._root, intent)
        try:
            await asyncio.to_thread(intents.apply_edits, self._root, intent.edits)
            made = await commit_files(self._root, intent.paths, order)
        except Exception:
            await asyncio.to_thread(intents.revert_edits, self._root, intent.edits)
            await asyncio.to_thread(intents.clear_intent, self._root)
            raise
        await asyncio.to_thread(intents.clear_intent, self._root)
        return made

    async def branch(self, written: WriteResult, decided: EditPlan, order: CommitSpec) -> WriteResult:
        """Deliver the edit as a branch for review: nothing here changes until it is merged."""
        git = self._git or GitOptions()
        name = _fill_template(git.branch, order.author.name, decided)
        files = {edit.path: edit.after for edit in decided.changing}
        self._refuse_outside(tuple(files))
        await self._refuse_drafts(tuple(files))
        made = await commit_to_branch(self._root, files, name, order)
        return replace(written, version=None, commit=made, branch=name)

    async def push(self, written: WriteResult) -> WriteResult:
        """Push the commit. A push that fails leaves the commit, and the result reports it."""
        if self._git is None or not self._git.push or written.commit is None:
            return written
        try:
            await push_commits(self._root, written.branch)
        except AgentsdError as error:
            told = "; ".join(filter(None, (error.message, error.hint)))
            return replace(written, pushed=False, message=told)
        return replace(written, pushed=True)

    async def finish(self) -> bool:
        """Finish what a killed process began. Returns whether there was anything.

        Raises ``GitRefused`` and ``GitBusy`` where its commit cannot be made now: the intent stays.
        """
        left = await asyncio.to_thread(intents.finish_intent, self._root)
        if left is None:
            return False
        paths, order = left
        if order is not None and paths:
            await self._commit_left(paths, order)
        await asyncio.to_thread(intents.clear_intent, self._root)
        return True

    async def _commit_left(self, paths: Sequence[str], order: CommitSpec) -> None:
        try:
            await commit_files(self._root, paths, order)
        except AgentsdError:
            if self._git is not None:
                raise
            _log.warning("an unfinished edit is completed, but not committed", extra={"paths": paths})

    def _refuse_outside(self, paths: Sequence[str]) -> None:
        """Raise ``WriteConflict`` where a link would lead an edit out of the tree, or to another owner."""
        outside = [path for path in paths if not intents.is_inside(self._root, path)]
        if outside:
            raise WriteConflict(
                f"{outside[0]} would be written outside its owner's folder: a link leads out",
                hint="choose another folder, or replace the link with a real one",
            )

    async def _refuse_drafts(self, paths: Sequence[str]) -> None:
        """Raise ``WriteConflict`` where somebody's work in one of the files is not committed yet."""
        if await is_clean(self._root, paths):
            return
        drafts = [path for path in paths if not await is_clean(self._root, [path])]
        raise WriteConflict(
            f"{', '.join(drafts or paths)} has uncommitted changes",
            hint="commit or undo them first: this edit would record its author for them",
        )


def _fill_template(template: str, actor: str, decided: EditPlan, stamp: str | None = None) -> str:
    stamp = stamp or uuid4().hex[:8]
    return template.format(action=decided.action, slug=decided.slug, actor=actor, stamp=stamp)
