"""Agents as clients see them: the fields of the table ``agents``, with secrets masked; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from agentsd.core.errors import InvalidManifests
from agentsd.core.ledger.status import AgentStatus
from agentsd.core.manifest.agent import SECTIONS, AgentRow
from agentsd.core.manifest.layers import merge_stored_layers
from agentsd.core.masker import Masker
from agentsd.core.sealed import SAMPLE_RECIPIENT
from agentsd.core.trust.rules import DestinationsOf
from agentsd.providers.base import LiveAgent
from agentsd.runtime.agents.snapshot import AgentCondition
from agentsd.store.queries.agents import Revision
from agentsd.web.http.reply import Count
from agentsd.web.views.statuses import StatusReply

_TEXT_FIELDS = ("description", "system_prompt", "greeting")
_OPTIONAL_FIELDS = ("system_prompt_file", "language")
_SECTION_FIELDS = tuple((kind, f"{kind}_provider_config") for kind in SECTIONS)

Section = Annotated[
    dict[str, Any],
    Field(
        description="The section of the manifest, secrets masked; `{}` where it is absent.",
        json_schema_extra={"properties": {"provider": {"type": "string"}}},
    ),
]
Digest = Annotated[
    str,
    Field(description="SHA-256 of its content; empty for the built-in agent.", pattern="^([0-9a-f]{64})?$"),
]


Lacks = Annotated[
    Sequence[str],
    Field(description="What it lacks to answer, as far as it can be seen without asking a vendor."),
]
ListMissing = Callable[[str, str], Sequence[str]]
"""The packages that a provider of a section needs and that are not installed here."""


@dataclass(frozen=True)
class ConditionReply:
    """Condition of an agent: `Ready`, `Degraded`, `Invalid` or `Suspended`."""

    type: str
    reason: Annotated[str, Field(description="For programs, in CamelCase.")]
    message: str
    since: Annotated[datetime | None, Field(description="Null for the built-in agent.")]

    @classmethod
    def of(cls, condition: AgentCondition) -> ConditionReply:
        """Return the reply for a condition."""
        return cls(condition.type, condition.reason, condition.message, condition.since)


@dataclass(frozen=True)
class ManifestReply:
    """Content of a manifest; the fields that it leaves out are empty."""

    description: str
    system_prompt: str
    greeting: str
    system_prompt_file: str | None
    language: str | None
    llm_provider_config: Section
    tts_provider_config: Section
    stt_provider_config: Section
    embedding_provider_config: Section
    rag_config: dict[str, Any]
    turn: dict[str, Any]
    on_error: dict[str, Any]
    variables: dict[str, Any]
    overrides: Annotated[list[str] | None, Field(description="Null: clients may change everything.")]
    handoff: list[Any]
    tools: list[Any]
    tool_rounds: int | None
    checks: list[Any]


@dataclass(frozen=True)
class AgentIdentity:
    """Identity of an agent."""

    id: UUID
    user: Annotated[str, Field(description="The owner.")]
    slug: str
    name: str


@dataclass(frozen=True)
class AgentHead(ManifestReply, AgentIdentity):
    """Agent as its row contains it: the part of a reply that stays the same until a new version."""

    is_default: Annotated[bool, Field(description="Answers when no agent is named.")]
    is_active: Annotated[bool, Field(description="False: suspended.")]
    digest: Digest
    version: Annotated[Count, Field(description="The version that last touched it.")]
    source: Annotated[str, Field(description="The source of its file.")]
    path: str | None
    commit: str | None
    created_at: datetime | None
    updated_at: datetime | None
    lacks: Lacks


@dataclass(frozen=True)
class AgentState:
    """State of an agent in this process."""

    condition: ConditionReply
    status: StatusReply
    serving_version: Annotated[
        Count | None, Field(description="The version that is served; null where none can be.")
    ]


@dataclass(frozen=True)
class AgentReply(AgentState, AgentHead):
    """Agent. Secrets are always `**********`."""


@dataclass(frozen=True)
class AgentSummary:
    """Agent as `view=summary` lists it, or a refused file that never became one."""

    id: Annotated[UUID | None, Field(description="Null for a refused file that never became an agent.")]
    user: Annotated[str, Field(description="The owner.")]
    slug: str
    name: str
    description: str
    is_default: bool
    is_active: bool
    version: Count
    serving_version: Count | None
    commit: str | None
    path: str | None
    source: str
    updated_at: datetime | None
    condition: ConditionReply
    status: StatusReply
    providers: Annotated[Mapping[str, str], Field(description="Vendors by section.")]
    lacks: Lacks


def make_agent_head(
    row: AgentRow, document: Mapping[str, Any], masker: Masker, lacks: Sequence[str] = ()
) -> AgentHead:
    """Return one agent with its document, without its condition."""
    return AgentHead(
        id=row.id,
        user=row.owner,
        slug=row.slug,
        name=row.name,
        is_default=row.is_default,
        is_active=row.is_active,
        digest=row.digest.hex(),
        version=row.version,
        source=row.source,
        path=row.path,
        commit=row.commit,
        created_at=row.created_at,
        updated_at=row.updated_at,
        lacks=lacks,
        **mask_document(document, masker),
    )


def make_agent_state(condition: AgentCondition, good: AgentRow | None, status: AgentStatus) -> AgentState:
    """Return the part of a reply that changes without a new version. ``good``: the row that is served."""
    return AgentState(ConditionReply.of(condition), StatusReply.of(status), good.version if good else None)


def make_agent_summary(
    row: AgentRow,
    state: AgentState,
    description: str,
    providers: Mapping[str, str],
    lacks: Sequence[str],
) -> AgentSummary:
    """Return one agent as in a list. ``description`` and ``providers`` (kind → vendor) are masked."""
    return AgentSummary(
        id=row.id if row.version else None,
        user=row.owner,
        slug=row.slug,
        name=row.name,
        description=description,
        is_default=row.is_default,
        is_active=row.is_active,
        version=row.version,
        serving_version=state.serving_version,
        commit=row.commit,
        path=row.path,
        source=row.source,
        updated_at=row.updated_at,
        condition=state.condition,
        status=state.status,
        providers=providers,
        lacks=lacks,
    )


def make_fallback_reply(agent: LiveAgent) -> AgentReply:
    """Return the built-in agent, which has no file and no row, in the same fields."""
    document = mask_document({}, Masker())
    for kind, provider in agent.provider_names.items():
        document[f"{kind}_provider_config"] = {"provider": provider}
    texts = {"description": agent.spec.description, "system_prompt": agent.spec.system_prompt}
    return AgentReply(
        id=agent.id,
        user=agent.owner,
        slug=agent.slug,
        name=agent.spec.name or agent.slug,
        is_default=False,
        is_active=True,
        digest=agent.digest.hex(),
        version=agent.version,
        source="built-in",
        path=None,
        commit=None,
        created_at=None,
        updated_at=None,
        lacks=(),
        condition=ConditionReply("Ready", "BuiltIn", "", None),
        status=StatusReply.of(AgentStatus("Ready")),
        serving_version=agent.version,
        **document | texts,
    )


def mask_document(document: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Return the fields of ``ManifestReply``: texts, and ``{}`` for each missing section."""
    get, mask = document.get, masker.mask
    return {
        **{name: mask(_get_text(get(name))) for name in _TEXT_FIELDS},
        **{name: mask(get(name)) for name in _OPTIONAL_FIELDS},
        **{field: _mask_section(get(kind), masker) for kind, field in _SECTION_FIELDS},
        "rag_config": _mask_section(get("rag"), masker),
        "turn": _mask_section(get("turn"), masker),
        "on_error": _mask_section(get("on_error"), masker),
        "variables": _mask_section(get("variables"), masker),
        "overrides": mask(get("overrides")),
        "handoff": mask(get("handoff") or []),
        "tools": mask(get("tools") or []),
        "tool_rounds": mask(get("tool_rounds")),
        "checks": mask(get("checks") or []),
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
    names = {kind: one.get("provider") for kind, one in sections.items() if isinstance(one, dict)}
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


def _mask_section(section: Any, masker: Masker) -> Any:
    return masker.mask(section) if isinstance(section, dict) else {}


def _get_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
