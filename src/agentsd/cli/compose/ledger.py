"""The ledger of a replica: what it is made of, and its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from agentsd.core.ledger.price import parse_price_list
from agentsd.runtime.agents.registry import Registry
from agentsd.services.ledger.ledger import Ledger, Retention
from agentsd.services.ledger.prices import PriceBook
from agentsd.settings import Settings
from agentsd.store.database import Database
from agentsd.supervisor import SupervisedTasks
from agentsd.telemetry import Metrics


def make_ledger(settings: Settings, database: Database, registry: Registry, metrics: Metrics) -> Ledger:
    """Return the ledger of the agents that ``registry`` runs."""

    def find_version(agent: UUID) -> int | None:
        entry = registry.snapshot.ids.get(agent)
        return entry.row.version if entry is not None else None

    def announce(agents: Sequence[UUID]) -> None:
        ids = registry.snapshot.ids
        registry.announce({entry.row.slug for agent in agents if (entry := ids.get(agent)) is not None})

    kept = Retention(timedelta(seconds=settings.keep_activity), timedelta(seconds=settings.keep_usage))
    return Ledger(
        database,
        registry,
        metrics,
        version_of=find_version,
        changed=announce,
        prices=PriceBook(parse_price_list(settings.prices)),
        retention=kept,
        series_max=settings.agent_series,
    )


def start_ledger(tasks: SupervisedTasks, ledger: Ledger) -> None:
    """Start the tasks of ``ledger``."""
    tasks.start("ledger", ledger.run_counters)
    tasks.start("health", ledger.run_health)
    tasks.start("health-feed", ledger.follow_health)
    tasks.start("probes", ledger.run_probes)
