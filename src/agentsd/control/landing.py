"""How a decided edit lands: in the files, in a commit, on a branch, at the remote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

from agentsd.control import intents
from agentsd.control.intents import FileEdit, Intent
from agentsd.control.refusals import WriteConflict
from agentsd.core.access import Principal
from agentsd.core.errors import AgentsdError
from agentsd.files.commit import Author, CommitOrder, commit, commit_to_branch
from agentsd.files.git import is_clean
from agentsd.files.push import push

Mode = Literal["off", "files", "git"]
Action = Literal["create", "update", "delete", "set-default", "rollback"]


@dataclass(frozen=True, slots=True)
class GitOptions:
    """What becomes of an edit in git. Templates know ``{action} {slug} {actor} {stamp}``."""

    message: str = "agentsd: {action} {slug}"
    branch: str = ""  # empty: on the branch that is checked out; else a new one for each edit
    push: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an edit."""

    action: Action
    id: UUID
    slug: str
    path: str
    mode: Mode
    version: int | None = None  # that serves it; None: it waits on a branch
    changed: bool = True  # False: the file said it already
    commit: str | None = None
    branch: str | None = None
    pushed: bool | None = None  # None: nobody asked for it
    message: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What an edit comes to: the files in order, and who is meant."""

    action: Action
    id: UUID
    slug: str
    path: str
    edits: tuple[FileEdit, ...] = field(repr=False)
    explicit: frozenset[UUID] = frozenset()

    @property
    def changing(self) -> tuple[FileEdit, ...]:
        """The files that will not be as they are."""
        return tuple(edit for edit in self.edits if edit.before != edit.after)

    @property
    def after(self) -> dict[str, bytes | None]:
        """What each file is to hold, by path."""
        return {edit.path: edit.after for edit in self.edits}


class Landing:
    """Lands edits of files below ``root``; ``git`` is None where nothing is committed."""

    def __init__(self, root: Path, git: GitOptions | None) -> None:
        self._root = root
        self._git = git

    def order_of(self, who: Principal, decided: Decided) -> CommitOrder | None:
        """The commit that is to hold the edit, with the user as author and trailer."""
        if self._git is None:
            return None
        author = Author(who.actor, who.email or f"{who.name}@{who.owner}.agentsd.invalid")
        subject = _filled(self._git.message, who.actor, decided)
        return CommitOrder(subject=subject, author=author, trailers=(("Agentsd-User", who.actor),))

    @property
    def branches(self) -> bool:
        """Whether every edit goes to a branch of its own, and changes nothing here."""
        return self._git is not None and bool(self._git.branch)

    async def carry_out(self, decided: Decided, order: CommitOrder | None) -> str | None:
        """Change the files, then commit them; an error takes back what was done. Returns the commit."""
        intent = Intent(decided.changing, order)
        if order is not None and not await is_clean(self._root, intent.paths):
            raise WriteConflict(
                "the file has changes that are not committed yet",
                hint="commit or undo them first: this edit would put its author's name on them",
            )
        await asyncio.to_thread(intents.note, self._root, intent)
        try:
            await asyncio.to_thread(intents.carry_out, self._root, intent.edits)
            made = await commit(self._root, intent.paths, order) if order is not None else None
        except AgentsdError:
            await asyncio.to_thread(intents.take_back, self._root, intent.edits)
            await asyncio.to_thread(intents.done, self._root)
            raise
        await asyncio.to_thread(intents.done, self._root)
        return made

    async def branch(self, written: Written, decided: Decided, order: CommitOrder) -> Written:
        """The edit as a branch for review: nothing here changes until it is merged."""
        git = self._git or GitOptions()
        name = _filled(git.branch, order.author.name, decided)
        made = await commit_to_branch(self._root, decided.after, name, order)
        return replace(written, version=None, commit=made, branch=name)

    async def push(self, written: Written) -> Written:
        """A push that fails leaves the commit, and says so."""
        if self._git is None or not self._git.push or written.commit is None:
            return written
        try:
            await push(self._root, written.branch)
        except AgentsdError as error:
            return replace(written, pushed=False, message=f"{error.message} ({error.hint})")
        return replace(written, pushed=True)

    async def finish(self) -> bool:
        """Finish what a killed process began. Says whether there was anything."""
        left = await asyncio.to_thread(intents.finish, self._root)
        if left is None:
            return False
        paths, order = left
        if order is not None:
            await commit(self._root, paths, order)
        await asyncio.to_thread(intents.done, self._root)
        return True


def _filled(template: str, actor: str, decided: Decided) -> str:
    return template.format(action=decided.action, slug=decided.slug, actor=actor, stamp=uuid4().hex[:8])
