"""Free probes of what fails: the vendor lists its models, or, on this machine, answers for real.

A replica claims what is due in the store, so that of several replicas one asks; the pause doubles each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from agentsd.core.errors import AgentsdError, ProviderError
from agentsd.providers.base import Leases, LiveAgent, ProviderNotFound
from agentsd.services.failures import describe_failure
from agentsd.services.ledger.health import HealthBoard
from agentsd.services.probe import ProviderChain, probe_section
from agentsd.services.turn_records.record import TurnFailure
from agentsd.store.database import Database
from agentsd.store.ledger.health import ClaimedProbe, HealthRow, claim_probes, hasten_probes

PROBE_FIRST = timedelta(seconds=30)
PROBE_LONGEST = timedelta(minutes=10)
LOOK_SECONDS = 2.0
"""Time between two looks for probes that are due, while anything fails."""
PROBES_AT_ONCE = 20
LISTED_REASONS = frozenset(
    {"wrong-key", "rate-limited", "not-found", "forbidden", "timeout", "unreachable", "wrong-url", "failed"}
)
"""Reasons that a list of models disproves; the others only a turn does."""

VersionOf = Callable[[UUID], int | None]
"""Returns the newest version of an agent; None where there is no such agent."""

_log = logging.getLogger(__name__)


class Prober:
    """Prober of one replica. ``run`` it as a task."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        board: HealthBoard,
        version_of: VersionOf,
        *,
        first: timedelta = PROBE_FIRST,
        longest: timedelta = PROBE_LONGEST,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._database = database
        self._leases = leases
        self._board = board
        self._version_of = version_of
        self.first = first
        self._longest = longest
        self._look_seconds = look_seconds
        self._hastened: dict[UUID, int] = {}  # agent → the version that was probed at once

    async def run(self) -> None:
        """Probe what is due until cancelled. While the store is away nothing is probed."""
        while True:
            await asyncio.sleep(self._look_seconds)
            failing = self._board.list_failing()
            if not failing:
                self._hastened.clear()
                continue
            try:
                async with self._database.transaction() as connection:
                    await hasten_probes(connection, self._find_edited(failing))
                    due = await claim_probes(connection, self.first, self._longest, PROBES_AT_ONCE)
            except AgentsdError as error:
                _log.debug("probes are put off: %s", error.message)
                continue
            await asyncio.gather(*map(self._probe, due))

    def _find_edited(self, failing: Iterable[tuple[UUID, HealthRow]]) -> list[UUID]:
        """Return the agents that were edited since they failed: the edit may be the remedy."""
        edited = []
        for agent, row in failing:
            version = self._version_of(agent)
            if version is not None and version > row.version and self._hastened.get(agent) != version:
                self._hastened[agent] = version
                edited.append(agent)
        return edited

    async def _probe(self, due: ClaimedProbe) -> None:
        try:
            async with self._leases.lease(str(due.agent_id)) as agent:
                found = await probe_freely(agent, due.kind, due.reason)
                if isinstance(found, TurnFailure):
                    self._board.note_failure(agent.id, agent.version, found)
                elif found is not None:
                    self._board.note_probe(agent.id, agent.version, due.kind, found)
        except AgentsdError as error:  # it was deleted, or cannot be opened
            _log.debug("a probe was not made: %s", type(error).__name__)


async def probe_freely(agent: LiveAgent, kind: str, reason: str) -> str | TurnFailure | None:
    """Ask the providers of a section for what is free of charge.

    Return the name of the first one that answers, or how the first one failed; None: that cannot be known
    without a turn.
    """
    provider = getattr(agent, kind, None)
    if provider is None:
        return None
    failure: TurnFailure | None = None
    for index, (name, one) in enumerate(_list_members(agent, kind, provider)):
        found = await _ask(agent, f"{kind}.fallback[{index - 1}]" if index else kind, name, one, reason)
        if isinstance(found, str):
            return found
        failure = failure or found
    return failure


def _list_members(agent: LiveAgent, kind: str, provider: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(provider, ProviderChain):
        return provider.each()
    return ((agent.provider_names.get(kind, ""), provider),)


async def _ask(agent: LiveAgent, at: str, name: str, provider: Any, reason: str) -> str | TurnFailure | None:
    metered, ask = getattr(provider, "metered", None), getattr(provider, "list_models", None)
    if metered is not None and metered.local:
        result = await probe_section(agent.slug, at, name, provider)
        return name if result.ok else result.failure
    if ask is None or reason not in LISTED_REASONS:
        return None
    try:
        models = await ask()
    except ProviderNotFound:
        return None  # this server lists none
    except ProviderError as error:
        error.kind, error.vendor = at.partition(".")[0], name
        return describe_failure(error)
    if models is None or (reason == "not-found" and metered is not None and metered.model not in models):
        return None
    return name
