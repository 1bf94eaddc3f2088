"""Plans of write-back commands: which files become what. Reads files, writes none.

One ``match`` decides every command. The plan is a value: a dry run shows it, and a write carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentsd.control.validation.attachments import resolve_attachments
from agentsd.control.writeback import slugs as naming
from agentsd.control.writeback.commands import (
    ChangeAgent,
    CreateAgent,
    CreateToken,
    DeleteAgent,
    Digests,
    EditTarget,
    RestoreAgent,
    RevokeToken,
    SetDefault,
    TokenCommand,
    WriteCommand,
    WriteText,
    get_owner,
)
from agentsd.control.writeback.delivery import EditPlan, WriteAction
from agentsd.control.writeback.errors import Forbidden, PreconditionFailed, WriteConflict
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import ManifestEditor, read_agent_id, read_document
from agentsd.control.writeback.token_edits import plan_token_edit
from agentsd.core.access import Principal
from agentsd.core.manifest.document import Document
from agentsd.core.names import derive_owner, strip_overlay
from agentsd.files.tree import TEXT_SUFFIXES, SourceFile, Tree


class CheckedManifests(Protocol):
    """Facts about manifests that only a check finds."""

    async def compute_digest(self, file: SourceFile, tree: Tree) -> str:
        """Return the digest in an agent's ETag: over the manifest and the files that it names."""

    async def find_defaults(self, owner: str, tree: Tree) -> Sequence[SourceFile]:
        """Return the valid manifests that make their agent the default of ``owner``."""


async def plan_edit(  # noqa: PLR0911  (one for each command)
    who: Principal, command: WriteCommand, tree: Tree, editor: ManifestEditor, checked: CheckedManifests
) -> EditPlan:
    """Return the plan of a command on the files as they are in ``tree``.

    Raises ``WriteConflict``, ``AgentExists``, ``PreconditionFailed``, ``InvalidEdit``, ``TokenExists``,
    ``TokenNotFound``, ``LockedOut``, and as ``ManifestEditor`` does.
    """
    planner = _AgentPlanner(tree, editor, checked)
    match command:
        case CreateAgent():
            return await planner.create(command)
        case ChangeAgent(target, fields, merge, expected):
            old = await planner.read(target, expected)
            new = await editor.changed(editor.with_layers(old, tree.beside), fields, merge=merge)
            return await planner.replace(target, "update", old, new)
        case SetDefault(target, expected):
            old = new = await planner.read(target, expected)
            if editor.with_layers(old, tree.beside).value.get("default") is not True:
                new = await editor.with_default(old, default=True)
            return await planner.replace(target, "set-default", old, new)
        case RestoreAgent():
            return await planner.restore(command)
        case DeleteAgent():
            return await planner.delete(command)
        case WriteText():
            return await planner.write_text(command)
        case CreateToken() | RevokeToken():
            return plan_token_edit(who, command, tree)


def refuse_unauthorised(who: Principal, command: WriteCommand) -> None:
    """Raise ``Forbidden`` for viewers, and for tokens for all but admins. Shared by all ways to write."""
    if isinstance(command, TokenCommand) and not who.is_admin:
        raise Forbidden("only admins may create and revoke tokens", hint="use a token with the role admin")
    if not who.may_write(get_owner(command)):
        raise Forbidden("your role does not allow this", hint="use a token with the role editor")


class _AgentPlanner:
    """Planner of edits of manifests in one tree."""

    def __init__(self, tree: Tree, editor: ManifestEditor, checked: CheckedManifests) -> None:
        self._tree = tree
        self._editor = editor
        self._checked = checked

    async def create(self, command: CreateAgent) -> EditPlan:
        """Return the plan of a new manifest."""
        slug = command.slug
        if slug is None:
            slug = naming.slug_from_name(command.owner, command.fields.get("name"))
            slug = naming.next_free_slug(self._tree, slug)
        naming.check_slug(self._tree, slug)
        path = f"{slug}.yaml"
        new = await self._editor.created(path, command.fields, self._tree.beside)
        edits = (*await self._clear_defaults(new), FileEdit(path, None, new.data))
        return EditPlan("create", read_agent_id(new), slug, path, edits, documents=(new,))

    async def restore(self, command: RestoreAgent) -> EditPlan:
        """Return the plan of a manifest as it was."""
        target = command.target
        new = read_document(target.path, command.data)
        if read_agent_id(new) != target.id:
            raise WriteConflict(
                f"{target.path} would describe another agent: that revision has no `id:` of its own",
                hint="the agent was renamed since: add `id:` to the older text manually",
            )
        if command.revive and target.path not in self._tree.files:
            _refuse_elsewhere(self._tree, target)
            return await self.replace(target, "rollback", None, new)
        old = await self.read(target, command.expected)
        return await self.replace(target, "rollback", old, new)

    async def delete(self, command: DeleteAgent) -> EditPlan:
        """Return the plan of a deletion, also of an agent without a file."""
        target = command.target
        edits: tuple[FileEdit, ...] = ()
        if command.expected is not None or target.path in self._tree.files:
            old = await self.read(target, command.expected)
            edits = (FileEdit(target.path, old.data, None),)
        gone = frozenset((target.id,))
        return EditPlan("delete", target.id, target.slug, target.path, edits, explicit=gone)

    async def write_text(self, command: WriteText) -> EditPlan:
        """Return the plan of another text in a file that the agent names."""
        target, beside = command.target, self._tree.beside
        manifest = self._editor.with_layers(await self.read(target, None), beside)
        named = resolve_attachments(manifest, beside).attachments
        wanted = strip_overlay(command.path)
        texts = (one for one in (named.prompt, *named.sources) if one and one.path.endswith(TEXT_SUFFIXES))
        old = next((one for one in texts if strip_overlay(one.path) == wanted), None)
        if old is None or old.data is None:
            raise WriteConflict(
                f"{command.path} is not a text that this agent names, or cannot be read",
                hint="read the agent's files again",
            )
        if command.expected is not None and old.digest.hex() not in command.expected:
            raise PreconditionFailed(
                "the file has changed since you read it", hint="read it again, and edit what you get"
            )
        edits = (FileEdit(old.path, old.data, command.data),)
        return EditPlan("write-text", target.id, target.slug, old.path, edits)

    async def replace(
        self, target: EditTarget, action: WriteAction, old: Document | None, new: Document
    ) -> EditPlan:
        """Return the plan by which a manifest becomes ``new``, and the owner has one default."""
        edit = FileEdit(target.path, None if old is None else old.data, new.data)
        edits = (*await self._clear_defaults(new), edit)
        documents = (new,) if old is None else (old, new)
        return EditPlan(action, target.id, target.slug, target.path, edits, documents=documents)

    async def read(self, target: EditTarget, expected: Digests) -> Document:
        """Return the file of ``target`` as it is now, if it is still that agent's and what the caller saw."""
        file = self._tree.files.get(target.path)
        if file is None or file.problem:
            raise WriteConflict(
                f"{target.path} is not there, or cannot be read",
                hint="the next sync will report it; see: agentsd status",
            )
        document = read_document(target.path, file.data)
        if read_agent_id(document) != target.id:
            raise WriteConflict(f"{target.path} now describes another agent", hint="read the list again")
        if expected is not None and await self._checked.compute_digest(file, self._tree) not in expected:
            raise PreconditionFailed(
                "the agent has changed since you read it", hint="read it again, and edit what you get"
            )
        return document

    async def _clear_defaults(self, new: Document) -> tuple[FileEdit, ...]:
        """Return edits that clear every other ``default: true`` of the owner, if ``new`` contains it."""
        if new.value.get("default") is not True:
            return ()
        edits = []
        for other in await self._checked.find_defaults(derive_owner(new.path), self._tree):
            if other.path != new.path:
                document = read_document(other.path, other.data)
                cleared = await self._editor.with_default(document, default=False)
                edits.append(FileEdit(other.path, other.data, cleared.data))
        return tuple(edits)


def _refuse_elsewhere(tree: Tree, target: EditTarget) -> None:
    """Raise where the agent whose file is to be restored is in another one."""
    mark = str(target.id).encode()
    other = next((file for file in tree.files.values() if mark in file.data), None)
    if other is not None:
        raise WriteConflict(
            f"{other.path} describes this agent now",
            hint="sync first, then use the agent's current name",
        )
