"""Shared parts of all importers: notes on each thing that was read, and manifests sealed as a whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from pydantic import ValidationError

from agentsd.control.sealing.seal import seal_document
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.manifest.document import parse_document
from agentsd.core.manifest.scalars import UnusableScalar, resolve_scalar
from agentsd.core.manifest.sections import FALLBACK
from agentsd.core.trust.rules import find_misdirected
from agentsd.files.yaml.emitter import dump_value
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.sops.binary import SopsBinary

NoteOutcome = Literal["used", "assumed", "unused", "placeholder", "missing"]

_PLACEHOLDER = re.compile(
    r"change[-_ ]?me|replace[-_ ]?me|fill[-_ ]?me|to[-_ ]?do|tbd|none|null|nil|placeholder|dummy|example"
    r"|secret|key|api[-_ ]?key|token|password|\.{2,}|[*x#]+|.*x{5,}.*|<.*>|\[.*\]"
    r"|(your|insert|enter|put|add|replace|change)[-_ ].*|my[-_ ](api[-_ ])?key"
    r"|.*[-_](here|placeholder|changeme)",
    re.IGNORECASE | re.DOTALL,
)
_UNWRITABLE_CHARACTERS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_SECRET_NAMES = ("api_key", "auth_token")  # what creation rules seal as a matter of course


@dataclass(frozen=True, slots=True)
class ImportNote:
    """Outcome of one thing that was read. Contains no value, which may be a secret."""

    name: str
    outcome: NoteOutcome
    text: str  # its destination, or the reason why it is unused
    line: int | None = None

    def view(self) -> dict[str, Any]:
        """Return the note for JSON."""
        return {"name": self.name, "line": self.line, "outcome": self.outcome, "text": self.text}


@dataclass(frozen=True, slots=True)
class ManifestDraft:
    """Manifest in plain text that is not written yet. ``sealed``: fields to seal besides the secrets."""

    slug: str
    value: dict[str, Any] = field(repr=False)
    has_secrets: bool = False
    sealed: frozenset[str] = frozenset()

    @property
    def providers(self) -> dict[str, str]:
        """Return section → vendor."""
        return {kind: self.value[kind]["provider"] for kind in SECTIONS if kind in self.value}


def explain_placeholder(value: str | None) -> str:
    """Explain why ``value`` cannot work; empty where it may be meant."""
    if value is None or not value.strip():
        return "it is empty"
    if _PLACEHOLDER.fullmatch(value.strip()):
        return "it contains a placeholder"
    if _UNWRITABLE_CHARACTERS.search(value.strip()):
        return "it contains a line break or a control character"
    if "${" in value:
        return "it refers to another variable, which is not looked up: write the value out"
    return ""


def make_draft(
    slug: str,
    head: Mapping[str, Any],
    sections: Mapping[str, dict[str, Any]],
    catalog: Catalog,
    trusted: Collection[str],
) -> ManifestDraft:
    """Make a manifest with a new id.

    An address that receives a secret, and is not the vendor's own, is sealed.
    """
    entries = list(_iterate_entries(sections))
    urls = [
        field
        for kind, section in entries
        for field in _find_foreign_addresses(catalog, kind, section, trusted)
    ]
    secret = any(
        catalog.vendor(kind, one["provider"]).settings.secret_fields() & one.keys() for kind, one in entries
    )
    return ManifestDraft(slug, {"id": str(uuid4()), **head, **sections}, secret, frozenset(urls))


def _iterate_entries(sections: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, section in sections.items():
        yield kind, section
        yield from ((kind, entry) for entry in section.get(FALLBACK, ()))


def _find_foreign_addresses(
    catalog: Catalog, kind: str, section: Mapping[str, Any], trusted: Collection[str]
) -> list[str]:
    known = catalog.vendor(kind, section["provider"]).settings.destinations()
    return [wrong.field for wrong in find_misdirected(section, frozenset(), known, frozenset(trusted))]


async def seal_draft(
    draft: ManifestDraft, file: Path, relative: str, sops: SopsBinary, prefix: str = ""
) -> bytes:
    """Return the manifest's bytes, sealed by the rules that match ``file``, foreign addresses included.

    Raises ``ConfigError`` and ``SopsFailed``.
    """
    data = (prefix + dump_value(draft.value)).encode()
    if not draft.has_secrets:
        return data
    names = sorted({*_SECRET_NAMES, *draft.sealed}) if draft.sealed else []
    pattern = f"^({'|'.join(names)})$" if names else ""
    return await seal_document(parse_document(relative, data), file, sops, encrypted_regex=pattern)


def convert_text(settings: type[ProviderSettings], name: str, text: str) -> Any:
    """Convert a text to the type of its field; return it unchanged where it does not fit.

    The schema then refuses it.
    """
    annotation = settings.model_fields[name].annotation
    choices = {one for part in (annotation, *get_args(annotation)) for one in (part, *get_args(part))}
    if name in settings.secret_fields() or str in choices or text in choices:
        return text
    try:
        return resolve_scalar(text)
    except UnusableScalar:
        return text


def find_schema_errors(settings: type[ProviderSettings], section: Mapping[str, Any]) -> dict[str, str]:
    """Return field → broken rule of the schema (``missing``, ``string_pattern_mismatch``…); no values."""
    try:
        settings.model_validate(dict(section))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return {str(detail["loc"][0]): str(detail["type"]) for detail in details if detail["loc"]}
    return {}


def find_example(settings: type[ProviderSettings], name: str) -> Any:
    """Return the schema's example of a required field that is not a secret; None without an example."""
    examples = settings.model_fields[name].examples if name not in settings.secret_fields() else None
    return examples[0] if examples else None


def count_notes(notes: Sequence[ImportNote]) -> dict[str, int]:
    """Count the notes by outcome, in the order of ``NoteOutcome``."""
    outcomes: tuple[str, ...] = get_args(NoteOutcome)
    counts = {outcome: sum(note.outcome == outcome for note in notes) for outcome in outcomes}
    return {outcome: number for outcome, number in counts.items() if number}
