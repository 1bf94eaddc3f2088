"""Builder of agents: one stored document becomes an agent that is ready to run, or a refusal.

Nothing is trusted because a sync accepted it: a runtime parses, opens, verifies and checks every
document itself, including the destinations of its secrets and the owners of its seals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from agentsd.core.errors import (
    AgentsdError,
    AgentUnavailable,
    InvalidManifests,
    SealError,
    SopsFailed,
)
from agentsd.core.manifest.agent import SECTIONS, AgentHead, AgentRow
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import find_borrowed_seals, merge_stored_layers
from agentsd.core.manifest.sections import find_misdirected_secrets
from agentsd.core.manifest.tool_checks import find_misdirected_tokens
from agentsd.core.manifest.tool_lock import ToolSettings, pin_tools
from agentsd.core.names import DEFAULT_OWNER, strip_overlay
from agentsd.core.text.agent_texts import AgentTexts, compile_texts
from agentsd.core.text.template import InvalidTemplate
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import format_pointer
from agentsd.providers.base import ProviderForbidden
from agentsd.providers.catalog import Catalog
from agentsd.providers.resilience import builder as resilient
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.tools.sources import build_tool_source
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.leases import TOOLS
from agentsd.sops.format import fingerprint_by_owner
from agentsd.sops.opener import OpenedDocument, Opener
from agentsd.supervisor import ENDING_ERRORS
from agentsd.telemetry import Metrics

OPEN_TIMEOUT = 30.0
"""Timeout of opening one document: a key service may not answer."""

THREAD_MIN_BYTES = 64 << 10
"""Documents of at least so many bytes are parsed and opened in a thread."""


T = TypeVar("T")


class DocumentRefused(AgentUnavailable):
    """Refusal of a document that cannot run. ``retryable``: the same bytes may open later."""

    def __init__(self, reason: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Parsed document, with the seals whose owners must be looked up."""

    row: AgentRow
    document: Document | None = None
    seals: frozenset[bytes] = frozenset()
    lent: frozenset[bytes] = frozenset()  # seals in layers of the top level, which belong to another owner
    refused: DocumentRefused | None = None  # set where there is no document


@dataclass(frozen=True, slots=True)
class OpenedAgent:
    """Document that was opened and verified: all that an agent is made of. Contains plaintext."""

    row: AgentRow
    head: AgentHead
    settings: Mapping[str, ProviderSettings] = field(repr=False)
    texts: AgentTexts | None = field(default=None, repr=False)
    tools: tuple[ToolSettings, ...] = field(default=(), repr=False)


class Builder:
    """Reader, opener and checker of documents; builds providers from their settings."""

    def __init__(
        self,
        opener: Opener,
        catalog: Catalog,
        sessions: HttpSessions,
        *,
        trusted_origins: Collection[str] = (),
        open_timeout: float = OPEN_TIMEOUT,
        metrics: Metrics | None = None,
    ) -> None:
        self._opener = opener
        self._catalog = catalog
        self._sessions = sessions
        self._trusted = frozenset(trusted_origins)
        self._timeout = open_timeout
        self._metrics = metrics or Metrics()

    async def read(self, row: AgentRow) -> ParsedDocument:
        """Parse the row's document and take its seals' fingerprints."""
        try:
            if _measure_document(row) < THREAD_MIN_BYTES:
                return _parse_row(row, self._catalog.destinations)
            return await asyncio.to_thread(_parse_row, row, self._catalog.destinations)
        except InvalidManifests as error:
            codes = ", ".join(sorted({violation.code for violation in error.violations}))
            message = f"the document of {row.slug} breaks a rule: {codes}"
        except SealError as error:
            return ParsedDocument(
                row, refused=DocumentRefused(type(error).__name__, error.message, hint=error.hint)
            )
        except ENDING_ERRORS:
            raise
        except BaseException as error:  # one document must not affect the others
            message = f"the document of {row.slug} cannot be read: {type(error).__name__}"
        hint = f"run: agentsd validate {row.path}"
        return ParsedDocument(row, refused=DocumentRefused("InvalidManifest", message, hint=hint))

    async def open(
        self, candidate: ParsedDocument, owners: Mapping[bytes, str], deadline: float | None = None
    ) -> OpenedAgent:
        """Open, verify and check, by ``deadline`` (the loop's clock) if given. Raises ``DocumentRefused``.

        A deadline that has passed stops only what has to wait: opening in process still goes through.
        """
        if candidate.document is None:
            raise candidate.refused or DocumentRefused("InvalidManifest", "the document cannot be read")
        row = candidate.row
        self._check_owners(candidate, owners)
        opened = await self._opened(row, candidate.document, deadline)
        _check_uncovered_seals(row, opened)
        settings = {kind: self._settings(row, kind, opened) for kind in SECTIONS if kind in opened.value}
        self._check_destinations(row, candidate.document, opened)
        head = {key: value for key, value in opened.value.items() if key not in SECTIONS}
        if row.prompt is not None:
            head["system_prompt"] = row.prompt.decode("utf-8-sig", "replace")
        try:
            checked = AgentHead.model_validate(head)
        except ValidationError as error:
            raise _make_refusal(row, (), error) from None
        return OpenedAgent(row, checked, settings, _compile_texts(row, checked), _pin_tools(row, checked))

    def has_client(self, kind: str, settings: ProviderSettings) -> bool:
        """Return whether this program can run the vendor; for some it has the settings only."""
        return self._catalog.vendor(kind, settings.provider).build is not None

    def build(self, kind: str, settings: Any, owner: str = DEFAULT_OWNER) -> Any:
        """Build a provider, or a source of tools, for an agent of ``owner``.

        Raises ``DocumentRefused``; connects to nothing.
        """
        sessions = self._sessions.of(owner)
        if kind == TOOLS:
            return _build_guarded("a tool", lambda: build_tool_source(settings, sessions))
        return _build_guarded(
            f"the {kind} provider {settings.provider}",
            lambda: resilient.build_provider(self._catalog, kind, settings, sessions, self._metrics),
        )

    def _check_owners(self, candidate: ParsedDocument, owners: Mapping[bytes, str]) -> None:
        row = candidate.row
        foreign = any(owners.get(seal, row.owner) != row.owner for seal in candidate.seals)
        foreign |= any(owners.get(seal, DEFAULT_OWNER) != DEFAULT_OWNER for seal in candidate.lent)
        if foreign or (candidate.document and any(find_borrowed_seals(candidate.document, row.owner))):
            message = f"a sealed value of {row.path} belongs to another owner"
            hint = f"seal it again for {row.owner!r}: agentsd edit {row.path}"
            raise DocumentRefused("SealReused", message, hint=hint)

    async def _opened(self, row: AgentRow, document: Document, deadline: float | None) -> OpenedDocument:
        limit = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(min(limit, deadline or limit)):
                if _measure_document(row) >= THREAD_MIN_BYTES:
                    with suppress(SealError):  # otherwise it is opened below, with a timeout
                        return await asyncio.to_thread(self._opener.open, document)
                return await self._opener.open_surely(document)
        except TimeoutError:
            message = f"{row.path} did not open in time"
            hint = "is its key service reachable?"
            raise DocumentRefused("OpenTimeout", message, hint=hint, retryable=True) from None
        except SealError as error:
            raise DocumentRefused(type(error).__name__, error.message, hint=error.hint) from None
        except SopsFailed as error:
            raise DocumentRefused("SopsFailed", error.message, hint=error.hint, retryable=True) from None

    def _settings(self, row: AgentRow, kind: str, opened: OpenedDocument) -> ProviderSettings:
        section = opened.value[kind]
        if not isinstance(section, dict):
            raise DocumentRefused("InvalidManifest", f"{row.path}: {kind} is not a section")
        try:
            settings: ProviderSettings = self._catalog.settings_of(kind, section)
        except ValidationError as error:
            raise _make_refusal(row, (kind,), error) from None
        except AgentsdError as error:
            raise DocumentRefused(
                "InvalidManifest", f"{row.path}: {error.message}", hint=error.hint
            ) from None
        return settings

    def _check_destinations(self, row: AgentRow, document: Document, opened: OpenedDocument) -> None:
        """Refuse an agent that would send a secret where it does not belong."""
        wrong_fields = find_misdirected_secrets(
            document, opened.value, opened.sealed, self._catalog.destinations, self._trusted
        )
        for pointer, wrong in wrong_fields:
            message = f"{row.path}: {format_pointer(pointer)} would send a secret to {wrong.origin}"
            raise DocumentRefused("SecretDestination", message, hint=wrong.remedy)
        for token in find_misdirected_tokens(opened.value, opened.sealed, self._trusted):
            message = f"{row.path}: {format_pointer(token.pointer)}: {token.message}"
            raise DocumentRefused("SecretDestination", message, hint=token.hint)


def _pin_tools(row: AgentRow, head: AgentHead) -> tuple[ToolSettings, ...]:
    """Return the settings of the agent's tools. Raises ``DocumentRefused`` for a lock that does not fit."""
    if not head.tools:
        return ()
    locks = {strip_overlay(one.path): one.data for one in row.locks if one.data is not None}
    try:
        return pin_tools(head.tools, row.path, locks)
    except InvalidManifests as error:
        message = f"{row.path}: {error.violations[0].message}"
        raise DocumentRefused("ToolLock", message, hint=error.violations[0].hint) from None


def _build_guarded(name: str, build: Callable[[], T]) -> T:
    """Return what ``build`` returns. Raises ``DocumentRefused`` for whatever it raises."""
    try:
        return build()
    except ENDING_ERRORS:
        raise
    except BaseException as error:  # a vendor's constructor may raise anything, and quote a secret
        why = error.message if isinstance(error, AgentsdError) else type(error).__name__
        message = f"{name} cannot be built: {why}"
        if isinstance(error, ProviderForbidden):
            raise DocumentRefused("OutboundForbidden", message, hint=error.hint) from None
        raise DocumentRefused("BuildFailed", message) from None


def _check_uncovered_seals(row: AgentRow, opened: OpenedDocument) -> None:
    """Refuse ciphertext outside sealed fields, which must not be used as a key or a prompt."""
    strays = opened.strays()
    if strays:
        message = (
            f"{row.path}: {format_pointer(strays[0])} looks sealed, but the file's seal does not cover it"
        )
        raise DocumentRefused("SealStray", message, hint=f"run: agentsd validate {row.path}")


def _compile_texts(row: AgentRow, head: AgentHead) -> AgentTexts | None:
    """Compile the agent's templates; refuse one with a placeholder that a sealed text hid from a sync."""
    try:
        return compile_texts(head)
    except InvalidTemplate:
        message = f"a text of {row.slug} has a placeholder without a variable"
        hint = f"run: agentsd validate {row.path}"
        raise DocumentRefused("InvalidManifest", message, hint=hint) from None


def _measure_document(row: AgentRow) -> int:
    return sum(map(len, row.documents))


def _parse_row(row: AgentRow, destinations: DestinationsOf) -> ParsedDocument:
    document = merge_stored_layers(row.path, row.data, row.layers, destinations)
    seals, lent = fingerprint_by_owner(document, row.owner)
    return ParsedDocument(row, document, seals, lent)


def _make_refusal(row: AgentRow, prefix: tuple[str, ...], error: ValidationError) -> DocumentRefused:
    """Make the refusal: place and kind of the mistake, never the value, which may be a secret."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    places = {f"{format_pointer((*prefix, *detail['loc']))} ({detail['type']})" for detail in details}
    message = f"the document of {row.slug} does not fit the schema: {', '.join(sorted(places)[:5])}"
    return DocumentRefused("InvalidManifest", message, hint=f"run: agentsd validate {row.path}")
