"""Operations on agents that arrive through the API: which files they change. Reads files, writes none."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from agentsd.control.validation.checker import Checker
from agentsd.control.writeback import slugs as naming
from agentsd.control.writeback.delivery import EditPlan, WriteAction
from agentsd.control.writeback.errors import Forbidden, PreconditionFailed, WriteConflict
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import ManifestEditor, read_agent_id, read_document
from agentsd.control.writeback.preconditions import refuse_elsewhere
from agentsd.core.access import Principal
from agentsd.core.manifest.document import Document
from agentsd.core.names import derive_owner
from agentsd.files.tree import SourceFile, Tree

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EditTarget:
    """Agent that is meant, as the caller identifies it."""

    id: UUID
    slug: str
    owner: str
    path: str
    source: str


PlanEdit = Callable[[Tree], Awaitable[EditPlan]]
"""What an edit comes to on the files as they are; asked anew where they changed meanwhile."""


class AgentOperations(ABC, Generic[T]):
    """Operations on agents. The subclass decides whether an edit is carried out, or shown.

    ``expected``: hex digests, of which the agent must have one. Every edit raises ``Forbidden``,
    ``ReadOnly``, ``WriteConflict``, ``PreconditionFailed``, ``InvalidManifests``, and as
    ``ManifestEditor`` does.
    """

    def __init__(self, pen: ManifestEditor, checker: Checker) -> None:
        self._pen, self._checker = pen, checker

    @abstractmethod
    async def _made(self, who: Principal, owner: str, target: EditTarget | None, decide: PlanEdit) -> T:
        """Make the edit of an agent of ``owner``; ``target`` is None for one that does not exist yet."""

    async def create(self, who: Principal, owner: str, slug: str | None, fields: Mapping[str, Any]) -> T:
        """Create a manifest. Without ``slug``, one is made from the name, in the folder of ``owner``."""
        chosen = slug if slug is not None else naming.slug_from_name(owner, fields.get("name"))

        async def decide(tree: Tree) -> EditPlan:
            free = chosen if slug is not None else naming.next_free_slug(tree, chosen)
            naming.check_slug(tree, free)
            path = f"{free}.yaml"
            data = await self._pen.created(path, fields, tree.beside)
            edits = (*await self._cleared(tree, path, data), FileEdit(path, None, data))
            return EditPlan("create", read_agent_id(read_document(path, data)), free, path, edits)

        return await self._made(who, derive_owner(f"{chosen}.yaml"), None, decide)

    async def change(
        self,
        who: Principal,
        target: EditTarget,
        fields: Mapping[str, Any],
        *,
        merge: bool,
        expected: frozenset[str] | None = None,
    ) -> T:
        """Change a manifest as ``PATCH`` (``merge``) or ``PUT``."""

        async def made(document: Document) -> bytes:
            return await self._pen.changed(document, fields, merge=merge)

        return await self._edit(who, target, "update", made, expected)

    async def restore(
        self,
        who: Principal,
        target: EditTarget,
        data: bytes,
        expected: frozenset[str] | None = None,
        *,
        revive: bool = False,
    ) -> T:
        """Restore the manifest of an older revision, byte for byte; ``revive``: also where it is gone."""
        if read_agent_id(read_document(target.path, data)) != target.id:
            raise WriteConflict(
                f"{target.path} would describe another agent: that revision has no `id:` of its own",
                hint="the agent was renamed since: add `id:` to the older text manually",
            )

        async def made(_: Document) -> bytes:
            return data

        return await self._edit(who, target, "rollback", made, expected, revive=revive)

    async def set_default(
        self, who: Principal, target: EditTarget, expected: frozenset[str] | None = None
    ) -> T:
        """Make it its owner's default; the previous one is cleared first."""

        async def made(document: Document) -> bytes:
            if document.value.get("default") is True:
                return document.data
            return await self._pen.with_default(document, default=True)

        return await self._edit(who, target, "set-default", made, expected)

    async def delete(self, who: Principal, target: EditTarget, expected: frozenset[str] | None = None) -> T:
        """Delete the manifest, or an agent that outlived it. Other files beside it (prompts) stay."""

        async def decide(tree: Tree) -> EditPlan:
            edits: tuple[FileEdit, ...] = ()
            if expected is not None or target.path in tree.files:
                edits = (FileEdit(target.path, await self._present(tree, target, expected), None),)
            return EditPlan(
                "delete", target.id, target.slug, target.path, edits, explicit=frozenset((target.id,))
            )

        return await self._made(who, target.owner, target, decide)

    async def _edit(
        self,
        who: Principal,
        target: EditTarget,
        action: WriteAction,
        made: Callable[[Document], Awaitable[bytes]],
        expected: frozenset[str] | None,
        *,
        revive: bool = False,
    ) -> T:
        async def decide(tree: Tree) -> EditPlan:
            before: bytes | None = None
            if revive and target.path not in tree.files:
                refuse_elsewhere(tree, target.id)
            else:
                before = await self._present(tree, target, expected)
            old = Document(target.path, b"", {}) if before is None else read_document(target.path, before)
            data = await made(self._pen.with_layers(old, tree.beside))
            edits = (*await self._cleared(tree, target.path, data), FileEdit(target.path, before, data))
            return EditPlan(action, target.id, target.slug, target.path, edits)

        return await self._made(who, target.owner, target, decide)

    # Preconditions

    async def _present(self, tree: Tree, target: EditTarget, expected: frozenset[str] | None) -> bytes:
        """Return the file of ``target`` as it is now, if it is still that agent's and what the caller saw."""
        file = tree.files.get(target.path)
        if file is None or file.problem:
            raise WriteConflict(
                f"{target.path} is not there, or cannot be read",
                hint="the next sync will report it; see: agentsd status",
            )
        if read_agent_id(read_document(target.path, file.data)) != target.id:
            raise WriteConflict(f"{target.path} now describes another agent", hint="read the list again")
        if expected is not None and await asyncio.to_thread(self._digest, file, tree) not in expected:
            raise PreconditionFailed(
                "the agent has changed since you read it", hint="read it again, and edit what you get"
            )
        return file.data

    def _digest(self, file: SourceFile, tree: Tree) -> str:
        """Return the digest in the agent's ETag: over the manifest and the files that it names.

        May take long to read.
        """
        checked = self._checker.check(file, tree.beside)
        return (checked.manifest.digest if checked.manifest else file.digest).hex()

    def _defaults(self, owner: str, tree: Tree) -> Iterator[SourceFile]:
        """Yield the valid manifests that make their agent the default of ``owner``. May take long."""
        for file in tree.files.values():
            if derive_owner(file.path) != owner or b"default" not in file.data:
                continue
            checked = self._checker.check(file, tree.beside)
            if checked.manifest is not None and checked.manifest.default:
                yield file

    async def _cleared(self, tree: Tree, path: str, data: bytes) -> tuple[FileEdit, ...]:
        """Return edits that clear every other ``default: true`` of the owner, if ``data`` contains it.

        There is one default per owner.
        """
        if read_document(path, data).value.get("default") is not True:
            return ()
        edits = []
        for other in await asyncio.to_thread(lambda: list(self._defaults(derive_owner(path), tree))):
            if other.path != path:
                cleared = await self._pen.with_default(read_document(other.path, other.data), default=False)
                edits.append(FileEdit(other.path, other.data, cleared))
        return tuple(edits)


def refuse_viewers(who: Principal, owner: str) -> None:
    """Raise ``Forbidden`` for viewers. Shared by all ways to write."""
    if not who.may_write(owner):
        raise Forbidden("your role does not allow this", hint="use a token with the role editor")
