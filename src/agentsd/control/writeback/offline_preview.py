"""Previews of edits where nothing can be written: shown on the stored manifests, for a person to make.

Only the store's rows are read: there may be no folder of manifests here, and no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from agentsd.control.sealing.compare import with_leaves
from agentsd.control.sealing.reseal import reseal_placeholder
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.commands import AgentCommand, get_owner, get_target
from agentsd.control.writeback.delivery import EditPlan, EditPreview
from agentsd.control.writeback.edit_planner import plan_edit, refuse_unauthorised
from agentsd.control.writeback.manifest_editor import ManifestEditor, Secrets, read_document
from agentsd.core.access import Principal
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.pointers import iter_leaves
from agentsd.core.names import derive_slug, is_overlay, strip_overlay
from agentsd.core.trust.rules import Destinations
from agentsd.core.violations import Pointer, Violation, filter_errors
from agentsd.files.tree import NO_SIGNATURE, SourceFile, Tree
from agentsd.files.yaml.edit import update_document
from agentsd.providers.catalog import Catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener

SEAL_PLACEHOLDER: Final = "ENC[sealed by: agentsd edit {slug}]"
"""Placeholder for a given secret: it is neither sealed nor stored here."""

_UNCHECKED_RULES = frozenset(("attachment-missing", "engine-context", "secret-destination"))
"""Codes that only a sync can find: it has the attached files, trusted origins and bounds of models."""

_SEAL = "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]"
_SOPS = {"mac": _SEAL, "lastmodified": "2000-01-01T00:00:00Z"}

LoadRows = Callable[[str], Sequence[AgentRow]]
"""The stored agents of an owner."""


@dataclass(frozen=True, slots=True)
class PlaceholderEditor(ManifestEditor):
    """Editor of manifests that seals nothing."""

    catalog: Catalog

    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return the destinations from the catalog."""
        return self.catalog.destinations(kind, provider)

    def heading(self, slug: str) -> str:
        """Return nothing, since it is unknown here whether a schema is available."""
        return ""

    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> Document:
        """Edit as ``reseal_placeholder`` does."""
        return await reseal_placeholder(
            document, value, secrets, SEAL_PLACEHOLDER.format(slug=derive_slug(document.path))
        )


class OfflinePreview:
    """Previews of edits of stored manifests; ``OfflinePreviewFactory`` makes them.

    Checked: rights, ``expected`` (against the stored digest), the schema, the rules for one manifest
    with its layers, and that a new name is free among the owner's agents. Not checked, for want of
    files and keys: seals, the files that a manifest names, trusted origins, what other sources contain,
    and whether the file still is what was synced. Of layers, those are known that an agent of the owner
    has; the manifest itself is edited, also where an overlay overrides it.
    """

    def __init__(self, editor: PlaceholderEditor, checker: Checker, rows: LoadRows) -> None:
        self._editor, self._checker = editor, checker
        self._rows = rows

    async def preview(self, who: Principal, command: AgentCommand) -> EditPreview:
        """Return the result that a command would have. Raises as ``WriteBack.preview`` does."""
        refuse_unauthorised(who, command)
        target = get_target(command)
        rows = self._rows(get_owner(command))
        tree = _make_tree([row for row in rows if target is None or row.source == target.source])
        plan = await plan_edit(who, command, tree, self._editor, _StoredFacts(rows))
        found = await asyncio.to_thread(self._find_violations, plan, tree)
        if found:
            raise InvalidManifests(found)
        return EditPreview(plan, "off")

    def _find_violations(self, plan: EditPlan, tree: Tree) -> list[Violation]:
        documents = {(one.path, one.data): one for one in plan.documents}
        return [
            one
            for path, data in plan.after.items()
            if data
            for one in self._check(documents.get((path, data)) or read_document(path, data), tree)
        ]

    def _check(self, document: Document, tree: Tree) -> Iterator[Violation]:
        document, stand_ins = _replace_placeholders(document)
        file = SourceFile(document.path, NO_SIGNATURE, sha256(document.data).digest(), document.data)
        for one in filter_errors(self._checker.check(file, tree.beside, parsed=document).violations):
            if one.code not in _UNCHECKED_RULES and one.pointer not in stand_ins:
                yield one


@dataclass(frozen=True, slots=True)
class _StoredFacts:
    """Facts about manifests by the rows of their owner."""

    rows: Sequence[AgentRow]

    async def compute_digest(self, file: SourceFile, _: Tree) -> str:
        """Return the stored digest: it is over the files beside the manifest, too, which are not here."""
        return file.digest.hex()

    async def find_defaults(self, _: str, tree: Tree) -> Sequence[SourceFile]:
        """Return the manifests that make their agent the default of the owner."""
        return [tree.files[row.path] for row in self.rows if row.is_default and row.path in tree.files]


class OfflinePreviewFactory:
    """Factory of offline previews, with their shared parts."""

    def __init__(self, catalog: Catalog) -> None:
        self._editor = PlaceholderEditor(catalog)
        self._checker = Checker(catalog, Opener(Identities(), None))

    def of(self, rows: LoadRows) -> OfflinePreview:
        """Return previews of edits of these agents."""
        return OfflinePreview(self._editor, self._checker, rows)


def _make_tree(rows: Sequence[AgentRow]) -> Tree:
    """Return stored manifests and their layers as files; a manifest's digest is the stored one."""
    files = {row.path: SourceFile(row.path, NO_SIGNATURE, row.digest, row.data) for row in rows}
    layers = {layer.path: layer for row in rows for layer in row.layers}
    for path, layer in layers.items():
        files[path] = SourceFile(path, NO_SIGNATURE, layer.digest, layer.data or b"")
    overlay = next((path.removesuffix(strip_overlay(path)) for path in layers if is_overlay(path)), "")
    return Tree(Path(), files, overlay=overlay)


def _replace_placeholders(document: Document) -> tuple[Document, frozenset[Pointer]]:
    """Return the manifest with a well-formed seal for each placeholder, and the places of those."""
    stand_in = SEAL_PLACEHOLDER.format(slug=derive_slug(document.path))
    places = frozenset(pointer for pointer, leaf in iter_leaves(document.value) if leaf == stand_in)
    if not places:
        return document, places
    value = {"sops": _SOPS} | with_leaves(document.value, dict.fromkeys(places, _SEAL))
    return update_document(document, value), places
