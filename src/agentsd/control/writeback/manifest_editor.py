"""Edits as bytes: the manifest's text, changed as little as possible, with its secrets sealed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from agentsd.control.sealing.reseal import resealed
from agentsd.core.errors import ConfigError, InvalidManifests, SealError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.document import Document, parse
from agentsd.core.manifest.edit import Edit, Seals, merged, replaced
from agentsd.core.manifest.layered_edit import complete, own_part, refuse_removal
from agentsd.core.manifest.layers import Layered, layered
from agentsd.core.names import id_of, slug_of
from agentsd.core.trust.rules import Destinations
from agentsd.core.violations import Pointer
from agentsd.files.tree import Beside
from agentsd.files.yaml.emitter import dump
from agentsd.providers.catalog import Catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.metadata import seal_of
from agentsd.sops.opener import Opener

ORDER = (
    *("id", "name", "description", "default", "active", "prune", "system_prompt", "system_prompt_file"),
    *("greeting", "language", *SECTIONS, "turn", "rag", "checks"),
)
"""The order of fields in a new manifest."""

SCHEMA = "schemas/agent.schema.json"
"""Where a repository of manifests keeps the schema, beside the folder of manifests."""

Secrets = Mapping[Pointer, str]
"""What is to be sealed, by place."""


class Pen(ABC):
    """Editor of manifests as bytes. The subclass decides how secrets are sealed."""

    __slots__ = ()

    @abstractmethod
    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return where the secrets of a provider's section may go."""

    @abstractmethod
    def heading(self, slug: str) -> str:
        """Return the first lines of a new manifest."""

    @abstractmethod
    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> bytes:
        """Return ``document`` with ``value``, and with ``secrets`` in the form that a file contains."""

    async def created(self, path: str, fields: Mapping[str, Any], beside: Beside) -> bytes:
        """Return a new manifest with a new id. Raises ``InvalidEdit``, ``ConfigError``, ``SopsFailed``."""
        whole = self.with_layers(Document(path, b"", {"id": str(uuid4())}), beside)
        edit = self._edit(whole, fields, merge=False)
        value = {name: edit.value[name] for name in ORDER if name in edit.value}
        text = self.heading(slug_of(path)) + dump(value)
        return await self._bytes(Document(path, text.encode(), value), Edit(value, edit.secrets))

    async def changed(self, document: Document, fields: Mapping[str, Any], *, merge: bool) -> bytes:
        """Return the manifest after ``PATCH`` (``merge``) or ``PUT``.

        Raises as ``created``, and ``KeyNeeded``.
        """
        return await self._bytes(own_of(document), self._edit(document, fields, merge=merge))

    async def with_default(self, document: Document, *, default: bool) -> bytes:
        """Return the manifest with ``default: true``, or without. Raises ``KeyNeeded`` under a full MAC."""
        document = own_of(document)
        value = {name: child for name, child in document.value.items() if name not in ("sops", "default")}
        return await self._bytes(document, Edit(value | {"default": True} if default else value))

    def with_layers(self, document: Document, beside: Beside) -> Document:
        """Return the manifest with its layers. Raises ``ConfigError`` where one cannot be read."""
        layers = [read(file.path, file.data) for file in beside.layers_of(document.path)]
        return layered(document, layers, self.destinations)

    def _edit(self, document: Document, fields: Mapping[str, Any], *, merge: bool) -> Edit:
        """Edit the value merged from all layers, and return what the manifest has to contain."""
        own, change = own_of(document), merged if merge else replaced
        edit = change(_plain(document), fields, self.destinations, seals_of(own))
        if not isinstance(document, Layered):
            return edit
        layers = [layer for layer in document.layers if layer is not own]

        def whole(value: Mapping[str, Any]) -> dict[str, Any]:
            return _plain(layered(Document(own.path, b"", dict(value)), layers, self.destinations))

        part = own_part(edit, _plain(own), whole({}), whole)
        if merge:
            refuse_removal(fields, whole(complete(part)))
        return part

    async def _bytes(self, document: Document, edit: Edit) -> bytes:
        return await self.sealed(document, _placed(document.value, edit.value), edit.secrets)


@dataclass(frozen=True, slots=True)
class Desk(Pen):
    """Editor of manifests below ``root``: secrets are sealed by the real sops."""

    root: Path
    catalog: Catalog
    opener: Opener
    sops: SopsBinary
    blind: bool = False  # nothing will be written: see ``resealed``

    def destinations(self, kind: str, provider: str) -> Destinations | None:
        """Return the destinations from the catalog."""
        return self.catalog.destinations(kind, provider)

    def heading(self, slug: str) -> str:
        """Return the line that names the schema, where it is available."""
        return schema_line(self.root, slug)

    async def sealed(self, document: Document, value: Mapping[str, Any], secrets: Secrets) -> bytes:
        """Seal as ``reseal`` does."""
        file, blind = self.root / document.path, self.blind
        opener, sops = self.opener, self.sops
        return await resealed(document, value, secrets, file=file, opener=opener, sops=sops, blind=blind)


def own_of(document: Document) -> Document:
    """Return the manifest without its layers."""
    return document.own if isinstance(document, Layered) else document


def _plain(document: Document) -> dict[str, Any]:
    return {name: value for name, value in document.value.items() if name != "sops"}


def _placed(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``wanted`` in the order of ``current``; a new field after the one that usually precedes it."""
    names = [name for name in current if name in wanted]
    for name in sorted(wanted.keys() - current.keys(), key=rank):
        before = [place for place, other in enumerate(names) if rank(other) < rank(name)]
        names.insert(before[-1] + 1 if before else 0, name)
    return {name: wanted[name] for name in names}


def rank(name: str) -> int:
    """Return the position of a field in ``FIELD_ORDER``."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


def read(path: str, data: bytes) -> Document:
    """Parse the document on disk. Raises ``ConfigError`` where only a person can correct it."""
    try:
        return parse(path, data)
    except InvalidManifests as error:
        first = error.violations[0]
        raise ConfigError(
            f"{path}:{first.line}:{first.column}: {first.message}", hint="put the file right by hand first"
        ) from None


def id_in(document: Document) -> UUID:
    """Return the id of the agent that a document describes."""
    pinned = document.value.get("id")
    try:
        return UUID(pinned) if isinstance(pinned, str) else id_of(slug_of(document.path))
    except ValueError:
        return id_of(slug_of(document.path))


def seals_of(document: Document) -> Seals:
    """Return which values the file's own rule seals.

    None of them where it is not sealed, or its rule cannot be determined.
    """
    try:
        rule = seal_of(document.value).rule if "sops" in document.value else None
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


def schema_line(root: Path, slug: str) -> str:
    """Return the line by which an editor completes and explains fields, where the schema is available."""
    if not (root.resolve().parent / SCHEMA).is_file():
        return ""
    return f"# yaml-language-server: $schema={'../' * (slug.count('/') + 1)}{SCHEMA}\n"
