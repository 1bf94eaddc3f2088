"""Edits of documents: the manifest's text, changed as little as possible, with its secrets sealed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from agentsd.control.sealing.reseal import reseal_document
from agentsd.core.errors import ConfigError, InvalidManifests, SealError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.edit import IsSealedAt, ManifestEdit, merge_fields, replace_fields
from agentsd.core.manifest.layered_edit import extract_own_part, fill_secrets, refuse_removal
from agentsd.core.manifest.layers import LayeredDocument, merge_layers
from agentsd.core.names import derive_agent_id, derive_slug
from agentsd.core.trust.rules import Destinations
from agentsd.core.violations import Pointer
from agentsd.files.tree import TreeContext
from agentsd.files.yaml.edit import EditableDocument, parse_editable
from agentsd.files.yaml.emitter import dump_value
from agentsd.providers.catalog import Catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.metadata import parse_seal
from agentsd.sops.opener import Opener

FIELD_ORDER = (
    *("id", "name", "description", "default", "active", "prune", "system_prompt", "system_prompt_file"),
    *("greeting", "language", *SECTIONS, "turn", "on_error", "variables", "overrides"),
    *("handoff", "rag", "checks"),
)
"""The order of fields in a new manifest."""

SCHEMA_PATH = "schemas/agent.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""

Secrets = Mapping[Pointer, str]
"""Values to be sealed, by pointer."""


class ManifestEditor(ABC):
    """Editor of manifests. The subclass decides how secrets are sealed."""

    __slots__ = ()

    @abstractmethod
    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return where the secrets of a provider's section may go."""

    @abstractmethod
    def heading(self, slug: str) -> str:
        """Return the first lines of a new manifest."""

    @abstractmethod
    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> Document:
        """Return ``document`` with ``value``, and with ``secrets`` in the form that a file contains."""

    async def created(self, path: str, fields: Mapping[str, Any], beside: TreeContext) -> Document:
        """Return a new manifest with a new id. Raises ``InvalidEdit``, ``ConfigError``, ``SopsFailed``."""
        whole = self.with_layers(Document(path, b"", {"id": str(uuid4())}), beside)
        edit = self._edit(whole, fields, merge=False)
        value = {name: edit.value[name] for name in FIELD_ORDER if name in edit.value}
        text = self.heading(derive_slug(path)) + dump_value(value)
        return await self._seal(Document(path, text.encode(), value), ManifestEdit(value, edit.secrets))

    async def changed(self, document: Document, fields: Mapping[str, Any], *, merge: bool) -> Document:
        """Return the manifest after ``PATCH`` (``merge``) or ``PUT``.

        Raises as ``created``, and ``KeyNeeded``.
        """
        return await self._seal(strip_layers(document), self._edit(document, fields, merge=merge))

    async def with_default(self, document: Document, *, default: bool) -> Document:
        """Return the manifest with ``default: true``, or without. Raises ``KeyNeeded`` under a full MAC."""
        document = strip_layers(document)
        value = {name: child for name, child in document.value.items() if name not in ("sops", "default")}
        return await self._seal(document, ManifestEdit(value | {"default": True} if default else value))

    def with_layers(self, document: Document, beside: TreeContext) -> Document:
        """Return the manifest with its layers. Raises ``ConfigError`` where one cannot be read."""
        layers = [read_document(file.path, file.data) for file in beside.layers_of(document.path)]
        return merge_layers(document, layers, self.destinations)

    def _edit(self, document: Document, fields: Mapping[str, Any], *, merge: bool) -> ManifestEdit:
        """Edit the value merged from all layers, and return what the manifest has to contain."""
        own, change = strip_layers(document), merge_fields if merge else replace_fields
        edit = change(_strip_sops_block(document), fields, self.destinations, get_seals(own))
        if not isinstance(document, LayeredDocument):
            return edit
        layers = [layer for layer in document.layers if layer is not own]

        def whole(value: Mapping[str, Any]) -> dict[str, Any]:
            return _strip_sops_block(
                merge_layers(Document(own.path, b"", dict(value)), layers, self.destinations)
            )

        part = extract_own_part(edit, _strip_sops_block(own), whole({}), whole)
        if merge:
            refuse_removal(fields, whole(fill_secrets(part)))
        return part

    async def _seal(self, document: Document, edit: ManifestEdit) -> Document:
        return await self.sealed(document, _order_fields(document.value, edit.value), edit.secrets)


@dataclass(frozen=True, slots=True)
class SealingEditor(ManifestEditor):
    """Editor of manifests below ``root``: secrets are sealed by the real sops."""

    root: Path
    catalog: Catalog
    opener: Opener
    sops: SopsBinary
    blind: bool = False  # nothing will be written: see ``reseal_document``

    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return the destinations from the catalog."""
        return self.catalog.destinations(kind, provider)

    def heading(self, slug: str) -> str:
        """Return the line that names the schema, where it is available."""
        return make_schema_line(self.root, slug)

    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> Document:
        """Seal as ``reseal_document`` does."""
        file, blind = self.root / document.path, self.blind
        opener, sops = self.opener, self.sops
        return await reseal_document(
            document, value, secrets, file=file, opener=opener, sops=sops, blind=blind
        )


def strip_layers(document: Document) -> Document:
    """Return the manifest without its layers."""
    return document.own if isinstance(document, LayeredDocument) else document


def _strip_sops_block(document: Document) -> dict[str, Any]:
    return {name: value for name, value in document.value.items() if name != "sops"}


def _order_fields(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``wanted`` in the order of ``current``; a new field after the one that usually precedes it."""
    names = [name for name in current if name in wanted]
    for name in sorted(wanted.keys() - current.keys(), key=rank_field):
        before = [place for place, other in enumerate(names) if rank_field(other) < rank_field(name)]
        names.insert(before[-1] + 1 if before else 0, name)
    return {name: wanted[name] for name in names}


def rank_field(name: str) -> int:
    """Return the position of a field in ``FIELD_ORDER``."""
    return FIELD_ORDER.index(name) if name in FIELD_ORDER else len(FIELD_ORDER)


def read_document(path: str, data: bytes) -> EditableDocument:
    """Parse the document on disk. Raises ``ConfigError`` where only a person can correct it."""
    try:
        return parse_editable(path, data)
    except InvalidManifests as error:
        first = error.violations[0]
        raise ConfigError(
            f"{path}:{first.line}:{first.column}: {first.message}", hint="correct the file first"
        ) from None


def read_agent_id(document: Document) -> UUID:
    """Return the id of the agent that a document describes."""
    pinned = document.value.get("id")
    try:
        return UUID(pinned) if isinstance(pinned, str) else derive_agent_id(derive_slug(document.path))
    except ValueError:
        return derive_agent_id(derive_slug(document.path))


def get_seals(document: Document) -> IsSealedAt:
    """Return which values the file's own rule seals.

    None of them where it is not sealed, or its rule cannot be determined.
    """
    try:
        rule = parse_seal(document.value).rule if "sops" in document.value else None
    except SealError:
        rule = None

    def seals(pointer: Pointer) -> bool:
        if rule is None:
            return False
        try:
            hit = any(rule.hit(part) for part in pointer if isinstance(part, str))
        except SealError:
            return False
        return hit == rule.sealed

    return seals


def make_schema_line(root: Path, slug: str) -> str:
    """Return the line by which an editor completes and explains fields, where the schema is available."""
    if not (root.resolve().parent / SCHEMA_PATH).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (slug.count('/') + 1)}{SCHEMA_PATH}\n"
