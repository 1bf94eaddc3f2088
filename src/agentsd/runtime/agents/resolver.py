"""Resolver: finds the newest of an agent's documents that opens and builds.

Every replica looks at the same documents in the same order, so replicas agree on what serves,
whether they were there when a broken version came in or started after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from agentsd.audio import turn_model
from agentsd.core.errors import StoreError
from agentsd.core.manifest.agent import AgentHead, AgentRow
from agentsd.providers.schema import ProviderSettings
from agentsd.runtime.agents.builder import Builder, DocumentRefused, OpenedAgent, ParsedDocument
from agentsd.runtime.agents.cooperative import CooperativeYield
from agentsd.runtime.agents.leases import (
    BuiltAgent,
    ProviderPool,
    SharedSettings,
    list_tool_settings,
    make_live_agent,
)
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.telemetry import Metrics

_log = logging.getLogger(__name__)


class DocumentHistory(Protocol):
    """Store lookups that the resolver needs. Both methods raise ``StoreError``."""

    async def owners(self, seals: Collection[bytes]) -> Mapping[bytes, str]:
        """Return the owner that each fingerprint was first seen under."""

    async def older(self, row: AgentRow) -> Sequence[AgentRow]:
        """Return the agent's earlier documents under the same owner, newest first."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Result for one row: its condition, the document that serves, and the build (with one hold)."""

    condition: AgentCondition
    good: AgentRow | None = None
    built: BuiltAgent | None = None
    retry: bool = False  # the same row may succeed later

    def drop(self) -> None:
        """Release the build."""
        if self.built is not None:
            self.built.release()


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """Parsed document with the owners of its seals; ``sure`` is False where the store did not answer."""

    candidate: ParsedDocument
    owners: Mapping[bytes, str]
    sure: bool = True


class Resolver:
    """Resolver of rows to the documents that serve."""

    def __init__(
        self,
        builder: Builder,
        history: DocumentHistory,
        boxes: ProviderPool,
        metrics: Metrics,
    ) -> None:
        self._builder = builder
        self._history = history
        self._boxes = boxes
        self._metrics = metrics

    async def read(
        self, rows: Sequence[AgentRow], pacer: CooperativeYield | None = None
    ) -> list[CheckedDocument]:
        """Parse ``rows`` and ask, in one query, who owns their seals.

        While the store is unavailable an agent opens without that answer, to be checked again later: the
        owner was checked when the document was stored, and a runtime must outlive its database.
        """
        pacer = pacer or CooperativeYield()
        candidates = []
        for row in rows:
            candidates.append(await self._builder.read(row))
            await pacer.turn()
        seals = frozenset[bytes]().union(*(one.seals | one.lent for one in candidates))
        try:
            owners = await self._history.owners(seals) if seals else {}
        except StoreError:
            return [CheckedDocument(candidate, {}, sure=not candidate.seals) for candidate in candidates]
        return [CheckedDocument(candidate, owners) for candidate in candidates]

    async def resolve(
        self, checked: CheckedDocument, previous: SnapshotEntry | None = None, deadline: float | None = None
    ) -> Resolution:
        """Resolve the row. Never raises for a bad document: the resolution contains the reason."""
        row = checked.candidate.row
        try:
            built = await self._attempt(row, checked, deadline)
        except DocumentRefused as refused:
            return await self._fall_back(row, refused, previous, deadline)
        return Resolution(make_opened_condition(built.agent.spec), row, built, retry=not checked.sure)

    async def _attempt(
        self, wanted: AgentRow, checked: CheckedDocument, deadline: float | None
    ) -> BuiltAgent:
        """Build one document for ``wanted``. Raises ``DocumentRefused``."""
        try:
            recipe = await self._builder.open(checked.candidate, checked.owners, deadline)
            self._metrics.opened.inc()
            return self._build(wanted, recipe)
        except DocumentRefused as refused:
            self._metrics.build_failures.labels(refused.reason).inc()
            raise
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._metrics.build_failures.labels("BuildFailed").inc()
            name = type(error).__name__
            _log.error("a document failed to open", extra={"agent": wanted.slug, "error": name})
            message = f"the document of {wanted.slug} failed to open: {name}"
            raise DocumentRefused("BuildFailed", message) from None

    def _build(self, wanted: AgentRow, recipe: OpenedAgent) -> BuiltAgent:
        """Build the agent: its identity is the wanted row's, its content the opened document's."""
        usable: dict[str, SharedSettings] = {
            kind: settings
            for kind, settings in recipe.settings.items()
            if self._builder.has_client(kind, settings)
        }
        usable |= list_tool_settings(recipe.tools)
        boxes = self._boxes.take_all(wanted.id, usable, wanted.owner)
        return BuiltAgent(make_live_agent(merge_agent_fields(wanted, recipe), boxes), boxes, self._boxes)

    async def _fall_back(
        self, row: AgentRow, refused: DocumentRefused, previous: SnapshotEntry | None, deadline: float | None
    ) -> Resolution:
        """Return the newest older document that opens and builds.

        Where the store is unavailable this is the last good one.
        """
        last = _find_last_good(row, previous)
        older, retry = await self._older(row, last)
        retry = retry or refused.retryable
        for document in older:
            serving = previous.built if previous and last and document.digest == last.digest else None
            built, sure = await self._again(row, document, serving, deadline)
            if built is not None:
                message = f"{refused.message}; version {document.version} is serving"
                condition = AgentCondition("Degraded", refused.reason, message, datetime.now(UTC))
                return Resolution(condition, document, built, retry or not sure)
        return Resolution(
            AgentCondition("Invalid", refused.reason, refused.message, datetime.now(UTC)), retry=retry
        )

    async def _again(
        self, row: AgentRow, document: AgentRow, serving: BuiltAgent | None, deadline: float | None
    ) -> tuple[BuiltAgent | None, bool]:
        """Build an older document for ``row``: from the build that still serves it, or opened anew."""
        built = serving.renamed(row.slug, row.owner) if serving else None
        if built is not None:
            return built, True
        (checked,) = await self.read([document])
        try:
            return await self._attempt(row, checked, deadline), checked.sure
        except DocumentRefused:
            return None, checked.sure

    async def _older(self, row: AgentRow, last: AgentRow | None) -> tuple[Sequence[AgentRow], bool]:
        """Return documents to fall back to, and whether the store has to be asked again."""
        known = [last] if last else []
        try:
            found = await self._history.older(row)
        except StoreError:
            return known, True
        kept = [older for older in found if older.documents != row.documents]
        if last and all(older.digest != last.digest for older in kept):
            kept.append(last)
        return kept, False


def merge_agent_fields(wanted: AgentRow, recipe: OpenedAgent) -> dict[str, Any]:
    """Return a ``LiveAgent``'s fields but for its providers.

    Its identity comes from ``wanted``, its content from the opened document.
    """
    return {
        "id": wanted.id,
        "slug": wanted.slug,
        "owner": wanted.owner,
        "version": recipe.row.version,
        "digest": recipe.row.digest,
        "commit": recipe.row.commit,
        "spec": recipe.head,
        "sources": recipe.row.sources,
        "provider_names": {kind: settings.provider for kind, settings in recipe.settings.items()},
        "client_options": frozenset(getattr(recipe.settings.get("llm"), "client_options", None) or ()),
        "texts": recipe.texts,
        "own_settings": {} if recipe.head.overrides is None else list_own_settings(recipe.settings),
    }


def list_own_settings(settings: Mapping[str, ProviderSettings]) -> dict[str, Any]:
    """Return the values of an agent's sections that clients override in other agents, by OpenAI's names."""
    llm, tts = settings.get("llm"), settings.get("tts")
    found = {name: getattr(llm, name, None) for name in ("temperature", "top_p", "max_tokens")}
    found |= getattr(llm, "extra_body", None) or {}
    found |= {"voice": getattr(tts, "voice", None) or getattr(tts, "voice_id", None)}
    found |= {"speed": getattr(tts, "speed", None)}
    return {name: value for name, value in found.items() if value is not None}


def _find_last_good(row: AgentRow, previous: SnapshotEntry | None) -> AgentRow | None:
    """Return what served before ``row``, unless it is the same document or had another owner."""
    last = (previous.good or previous.row) if previous else None
    return last if last and last.owner == row.owner and last.documents != row.documents else None


def make_suspended_condition(now: datetime) -> AgentCondition:
    """Return the condition of an inactive row."""
    return AgentCondition("Suspended", "Inactive", "its manifest contains `active: false`", now)


def make_opened_condition(head: AgentHead) -> AgentCondition:
    """Return the condition of an agent that was opened, with what of it this machine cannot do."""
    now = datetime.now(UTC)
    if head.turn.detection == "silence" or turn_model.find_turn_model() is not None:
        return AgentCondition("Ready", "Opened", "", now)
    message = (
        "turn.detection: smart runs as silence, since its model is not installed on this machine; "
        f"in a clone of agentsd: {turn_model.INSTALL}; then restart agentsd"
    )
    return AgentCondition("Ready", "TurnModelMissing", message, now)


def make_not_opened_condition(now: datetime) -> AgentCondition:
    """Return the condition of a row that has not been opened yet."""
    return AgentCondition("Ready", "NotOpened", "it opens at its first use", now)
