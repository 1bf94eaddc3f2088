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

from agentsd.control.sealing.compare import planted
from agentsd.control.sealing.reseal import unsealed
from agentsd.control.validation.checker import Checker
from agentsd.control.writeback.delivery import Decided, Preview
from agentsd.control.writeback.manifest_editor import Pen, Secrets, read
from agentsd.control.writeback.operations import Decide, Edits, Target, refuse_viewers
from agentsd.core.access import Principal
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.pointers import leaves
from agentsd.core.names import inner, is_overlay, slug_of
from agentsd.core.trust.rules import Destinations
from agentsd.core.violations import Pointer, Violation, errors_of
from agentsd.files.tree import NO_SIGNATURE, SourceFile, Tree
from agentsd.files.yaml.edit import rewrite
from agentsd.providers.catalog import Catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener

STAND_IN: Final = "ENC[sealed by: agentsd edit {slug}]"
"""Stands for a secret that was given: it is neither sealed nor kept here."""

_ELSEWHERE = frozenset(("attachment-missing", "engine-context", "secret-destination"))
"""What only a sync can find: it has the files beside the manifest, the trusted origins, bounds of models."""

_SEAL = "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]"
_SOPS = {"mac": _SEAL, "lastmodified": "2000-01-01T00:00:00Z"}

Rows = Callable[[str], Sequence[AgentRow]]
"""The stored agents of an owner."""


@dataclass(frozen=True, slots=True)
class Pad(Pen):
    """Editor of manifests that seals nothing."""

    catalog: Catalog

    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return the destinations from the catalog."""
        return self.catalog.destinations(kind, provider)

    def heading(self, slug: str) -> str:
        """Return nothing, since it is unknown here whether a schema is available."""
        return ""

    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> bytes:
        """Edit as ``reseal_placeholder`` does."""
        return await unsealed(document, value, secrets, STAND_IN.format(slug=slug_of(document.path)))


class Sketch(Edits[Preview]):
    """Previews of edits of stored manifests; ``OfflinePreviewFactory`` makes them.

    Checked: rights, ``expected`` (against the stored digest), the schema, the rules for one manifest
    with its layers, and that a new name is free among the owner's agents. Not checked, for want of
    files and keys: seals, the files that a manifest names, trusted origins, what other sources contain,
    and whether the file still is what was synced. Of layers, those are known that an agent of the owner
    has; the manifest itself is edited, also where an overlay overrides it.
    """

    def __init__(self, pad: Pad, checker: Checker, rows: Rows) -> None:
        super().__init__(pad, checker)
        self._rows = rows

    async def _made(self, who: Principal, owner: str, target: Target | None, decide: Decide) -> Preview:
        refuse_viewers(who, owner)
        rows = [row for row in self._rows(owner) if target is None or row.source == target.source]
        tree = _tree_of(rows)
        decided = await decide(tree)
        found = await asyncio.to_thread(self._violations, decided, tree)
        if found:
            raise InvalidManifests(found)
        return Preview(decided, "off")

    def _digest(self, file: SourceFile, tree: Tree) -> str:
        return file.digest.hex()  # as stored: it is over the files beside it, too, which are not here

    def _defaults(self, owner: str, tree: Tree) -> Iterator[SourceFile]:
        paths = [row.path for row in self._rows(owner) if row.is_default]
        return (tree.files[path] for path in paths if path in tree.files)

    def _violations(self, decided: Decided, tree: Tree) -> list[Violation]:
        return [one for path, data in decided.after.items() if data for one in self._faults(path, data, tree)]

    def _faults(self, path: str, data: bytes, tree: Tree) -> Iterator[Violation]:
        data, stand_ins = _with_seals(path, data)
        file = SourceFile(path, NO_SIGNATURE, sha256(data).digest(), data)
        for one in errors_of(self._checker.check(file, tree.beside).violations):
            if one.code not in _ELSEWHERE and one.pointer not in stand_ins:
                yield one


class Sketchpad:
    """Factory of offline previews, with their shared parts."""

    def __init__(self, catalog: Catalog) -> None:
        self._pad = Pad(catalog)
        self._checker = Checker(catalog, Opener(Identities(), None))

    def of(self, rows: Rows) -> Sketch:
        """Return previews of edits of these agents."""
        return Sketch(self._pad, self._checker, rows)


def _tree_of(rows: Sequence[AgentRow]) -> Tree:
    """Return stored manifests and their layers as files; a manifest's digest is the stored one."""
    files = {row.path: SourceFile(row.path, NO_SIGNATURE, row.digest, row.data) for row in rows}
    layers = {layer.path: layer for row in rows for layer in row.layers}
    for path, layer in layers.items():
        files[path] = SourceFile(path, NO_SIGNATURE, layer.digest, layer.data or b"")
    overlay = next((path.removesuffix(inner(path)) for path in layers if is_overlay(path)), "")
    return Tree(Path(), files, overlay=overlay)


def _with_seals(path: str, data: bytes) -> tuple[bytes, frozenset[Pointer]]:
    """Return the manifest with a well-formed seal for each placeholder, and the places of those."""
    document = read(path, data)
    stand_in = STAND_IN.format(slug=slug_of(path))
    places = frozenset(pointer for pointer, leaf in leaves(document.value) if leaf == stand_in)
    if not places:
        return data, places
    value = {"sops": _SOPS} | planted(document.value, dict.fromkeys(places, _SEAL))
    return rewrite(data.decode(), value).encode(), places
