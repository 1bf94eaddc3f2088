"""Telemetry: one injected object that holds every metric of one process.

Nothing here is global: two runtimes in one process (as in tests) count separately. Labels never
contain an agent, a user or anything from a request, so the number of series stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REQUEST_ID: ContextVar[str] = ContextVar("agentsd_request_id", default="")
"""Identifier of the request that the current task works for, for log records."""
_SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Metrics of one process, in a ``CollectorRegistry`` of their own.

    Times are in seconds. ``render()`` is the body of ``/metrics``; ``content_type`` its type.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.swaps = Counter("agentsd_swaps", "Snapshots that replaced their predecessor.", registry=registry)
        self.swap_seconds = Histogram(
            "agentsd_swap_seconds",
            "From changed rows in memory to the swap: opening, building, swapping.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.version = Gauge("agentsd_version", "Version of the snapshot that is serving.", registry=registry)
        self.agents = Gauge("agentsd_agents", "Agents by condition.", ["condition"], registry=registry)
        self.build_failures = Counter(
            "agentsd_build_failures",
            "Documents that did not open, verify or build.",
            ["reason"],
            registry=registry,
        )
        self.opened = Counter("agentsd_documents_opened", "Documents opened and verified.", registry=registry)
        self.leases = Gauge("agentsd_leases_in_use", "Leases held now.", registry=registry)
        self.warm = Gauge("agentsd_agents_warm", "Agents that are built and in memory.", registry=registry)
        self.providers = Gauge(
            "agentsd_providers_open", "Providers built and not closed.", ["kind"], registry=registry
        )
        self.drain_timeouts = Counter(
            "agentsd_drain_timeouts",
            "Replaced agents whose providers were closed under a lease that outlived the bound.",
            registry=registry,
        )
        self.close_failures = Counter(
            "agentsd_provider_close_failures", "Providers that failed to close.", registry=registry
        )
        self.listen_reconnects = Counter(
            "agentsd_listen_reconnects", "Times that the LISTEN connection was restored.", registry=registry
        )
        self.follow_failures = Counter(
            "agentsd_follow_failures", "Loads from Postgres that failed.", ["error"], registry=registry
        )
        self.reloads = Counter(
            "agentsd_full_reloads", "Loads of everything: the first, and after a restore.", registry=registry
        )
        self.contact_age = Gauge(
            "agentsd_store_contact_age_seconds", "Since Postgres last answered.", registry=registry
        )
        self.from_disk = Gauge(
            "agentsd_snapshot_from_disk",
            "1 while what is served comes from an earlier run's file, because Postgres is away.",
            registry=registry,
        )
        self.snapshot_writes = Counter(
            "agentsd_snapshot_writes", "Snapshots written to disk.", registry=registry
        )
        self.snapshot_write_failures = Counter(
            "agentsd_snapshot_write_failures", "Snapshots that could not be written.", registry=registry
        )
        self.snapshot_write_seconds = Histogram(
            "agentsd_snapshot_write_seconds",
            "To write a snapshot, in a thread.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.snapshot_bytes = Gauge(
            "agentsd_snapshot_bytes", "Size of the snapshot on disk.", registry=registry
        )
        self.task_restarts = Counter(
            "agentsd_task_restarts",
            "Background tasks that failed and were restarted.",
            ["task"],
            registry=registry,
        )
        self.resyncs = Counter(
            "agentsd_subscriber_resyncs", "Slow subscribers whose queue was replaced.", registry=registry
        )

        labels = ["kind", "provider"]
        self.provider_requests = Counter(
            "agentsd_provider_requests", "Calls to a vendor, every try counted.", labels, registry=registry
        )
        self.provider_errors = Counter(
            "agentsd_provider_errors", "Tries that failed, by class.", [*labels, "error"], registry=registry
        )
        self.provider_retries = Counter(
            "agentsd_provider_retries", "Tries after the first.", labels, registry=registry
        )
        self.provider_failures = Counter(
            "agentsd_provider_failures", "Calls that a provider never answered.", labels, registry=registry
        )
        self.provider_first_seconds = Histogram(
            "agentsd_provider_first_seconds",
            "To the first token or byte; of speech from its first text, of a transcript from its last sound.",
            labels,
            buckets=(*_SECONDS_BUCKETS, 30.0, 60.0),
            registry=registry,
        )

    def watch_contact(self, age: Callable[[], float]) -> None:
        """Read ``contact_age`` from ``age()`` (seconds) at every scrape."""
        self.contact_age.set_function(age)

    def render(self) -> bytes:
        """Return every metric in Prometheus' text format."""
        return generate_latest(self.registry)
