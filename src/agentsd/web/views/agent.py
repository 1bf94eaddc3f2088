"""Agents as clients see them: the fields of the table ``agents``, with secrets masked; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import SECTIONS, AgentRow
from agentsd.core.manifest.layers import merge_stored_layers
from agentsd.core.masker import Masker
from agentsd.core.sealed import SAMPLE_RECIPIENT
from agentsd.core.trust.rules import DestinationsOf
from agentsd.providers.base import LiveAgent
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.store.queries.agents import Revision

_TEXT_FIELDS = ("description", "system_prompt", "greeting")
_OPTIONAL_FIELDS = ("system_prompt_file", "language")


ListMissing = Callable[[str, str], Sequence[str]]
"""The packages that a provider of a section needs and that are not installed here."""


def make_row_view(row: AgentRow, document: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Return one agent with its document, without its condition."""
    return {
        "id": row.id,
        "user": row.owner,
        "slug": row.slug,
        "name": row.name,
        **make_document_view(document, masker),
        "is_default": row.is_default,
        "is_active": row.is_active,
        "digest": row.digest.hex(),
        "version": row.version,
        "source": row.source,
        "path": row.path,
        "commit": row.commit,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def make_summary_view(
    entry: SnapshotEntry, description: str, providers: Mapping[str, str], lacks: Sequence[str]
) -> dict[str, Any]:
    """Return one agent as in a list. ``description`` and ``providers`` (kind → vendor) are masked."""
    row, good = entry.row, entry.good
    return {
        "id": row.id,
        "user": row.owner,
        "slug": row.slug,
        "name": row.name,
        "description": description,
        "is_default": row.is_default,
        "is_active": row.is_active,
        "version": row.version,
        "serving_version": good.version if good else None,
        "commit": row.commit,
        "path": row.path,
        "source": row.source,
        "updated_at": row.updated_at,
        "condition": make_condition_view(entry.condition),
        "providers": providers,
        "lacks": lacks,
    }


def make_fallback_view(agent: LiveAgent) -> dict[str, Any]:
    """Return the built-in agent, which has no file and no row, in the same fields."""
    configs: dict[str, Any] = make_document_view({}, Masker())
    for kind, provider in agent.provider_names.items():
        configs[f"{kind}_provider_config"] = {"provider": provider}
    nothing = dict.fromkeys(("path", "commit", "created_at", "updated_at"))
    return {
        "id": agent.id,
        "user": agent.owner,
        "slug": agent.slug,
        "name": agent.spec.name or agent.slug,
        **configs,
        "description": agent.spec.description,
        "system_prompt": agent.spec.system_prompt,
        "is_default": False,
        "is_active": True,
        "digest": agent.digest.hex(),
        "version": agent.version,
        "source": "built-in",
        **nothing,
        "lacks": [],
        "condition": {"type": "Ready", "reason": "BuiltIn", "message": "", "since": None},
        "serving_version": agent.version,
    }


def make_document_view(document: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Return the content of a manifest: its texts, and ``{}`` for each missing section."""
    texts = {name: masker.mask(_get_text(document.get(name))) for name in _TEXT_FIELDS}
    optional = {name: masker.mask(document.get(name)) for name in _OPTIONAL_FIELDS}
    configs = {f"{kind}_provider_config": _make_section_view(document.get(kind), masker) for kind in SECTIONS}
    others = {
        "rag_config": _make_section_view(document.get("rag"), masker),
        "turn": _make_section_view(document.get("turn"), masker),
    }
    return texts | optional | configs | others | {"checks": masker.mask(document.get("checks") or [])}


def make_condition_view(condition: AgentCondition) -> dict[str, Any]:
    """Return ``{"type", "reason", "message", "since"}``."""
    return {
        "type": condition.type,
        "reason": condition.reason,
        "message": condition.message,
        "since": condition.since,
    }


def load_document(row: AgentRow | Revision, destinations: DestinationsOf) -> Mapping[str, Any]:
    """Return the content of the manifest, its layers merged in, still sealed.

    The result is empty where it cannot be read: the condition contains the reason.
    """
    try:
        return merge_stored_layers(row.path, row.data, row.layers, destinations).value
    except InvalidManifests:
        return {}


def list_vendors(document: Mapping[str, Any], masker: Masker) -> dict[str, str]:
    """Return the vendors in a manifest, by section, for its existing sections."""
    sections = {kind: document.get(kind) for kind in SECTIONS}
    names = {kind: one.get("provider") for kind, one in sections.items() if isinstance(one, Mapping)}
    return {kind: masker.mask(name) for kind, name in names.items() if isinstance(name, str)}


def list_lacks(row: AgentRow, document: Mapping[str, Any], list_missing: ListMissing) -> list[str]:
    """Return what an agent lacks to answer, as far as it can be seen without asking its vendors."""
    found = []
    if any(SAMPLE_RECIPIENT.encode() in data for data in row.documents):
        found.append(
            "it is sealed with the samples' published key, and their placeholders do not work: "
            "seal keys of yours with a key of your own (agentsd init)"
        )
    for kind in SECTIONS:
        section = document.get(kind)
        name = section.get("provider") if isinstance(section, Mapping) else None
        missing = list_missing(kind, name) if isinstance(name, str) else ()
        if missing:
            found.append(f"{name} needs {' and '.join(missing)}, not installed on this server")
    return found


def can_name_provider(documents: Iterable[bytes], provider: str) -> bool:
    """Return whether a document might name ``provider``. False is certain; an escape yields True."""
    name = provider.encode("utf-8", "replace")
    return any(name in data or b"\\" in data for data in documents)


def _make_section_view(section: Any, masker: Masker) -> dict[str, Any]:
    return dict(masker.mask(section)) if isinstance(section, Mapping) else {}


def _get_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
