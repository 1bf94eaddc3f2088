"""Policies of the HTTP interface, made from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentsd.core.errors import ConfigError
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.telemetry import Metrics
    from agentsd.web.http.client_address import Proxies
    from agentsd.web.middleware.policies import Guards
    from agentsd.web.middleware.quota import QuotaMetrics, Shared
    from agentsd.web.middleware.rate_limit import Limiter
    from agentsd.web.server.connection_limits import Bounds


def make_bounds(settings: Settings) -> Bounds:
    """Return how many connections there may be, and how slow."""
    from agentsd.web.server.connection_limits import Bounds

    return Bounds(total=settings.max_connections, per_address=settings.max_connections_per_address)


def make_guards(settings: Settings, metrics: Metrics) -> Guards:
    """Return rate limits, listed origins and trusted proxies. Raises ``ConfigError``."""
    from agentsd.web.http.client_address import Proxies
    from agentsd.web.middleware.cors import Cors
    from agentsd.web.middleware.memory_budget import MIB, Budget
    from agentsd.web.middleware.owner_budgets import OwnerBudgets
    from agentsd.web.middleware.policies import Guards

    try:
        proxies = Proxies.parse(settings.trusted_proxies)
    except ValueError:
        raise ConfigError(
            "AGENTSD_TRUSTED_PROXIES has an entry that is no address",
            hint="list addresses and networks: 10.0.0.7,192.168.0.0/16",
        ) from None
    try:
        cors = Cors.parse(settings.cors_origins)
    except ValueError as error:
        hint = "list each origin by itself, without a path; * is not allowed"
        raise ConfigError(f"AGENTSD_CORS_ORIGINS: {error}", hint=hint) from None
    memory = Budget(settings.max_memory_per_owner * MIB, settings.max_memory * MIB)
    budgets = OwnerBudgets(metrics, settings.max_requests_per_owner, settings.max_works_per_owner)
    return Guards(_make_limiter(settings, metrics, proxies), cors, proxies, memory, budgets)


def _make_limiter(settings: Settings, metrics: Metrics, proxies: Proxies) -> Limiter | None:
    from agentsd.web.middleware.quota import QuotaMetrics, make_quota
    from agentsd.web.middleware.rate_limit import ADDRESS_DEFAULT, FAILED_DEFAULT, PRINCIPAL_DEFAULT, Limiter

    counts = QuotaMetrics(metrics)
    shared = _open_shared(settings, counts)
    token = make_quota("token", settings.rate_limit, PRINCIPAL_DEFAULT, shared)
    address = make_quota("address", settings.rate_limit_address, ADDRESS_DEFAULT, shared)
    failed = make_quota("failed", settings.rate_limit_failed, FAILED_DEFAULT, shared)
    if not (token or address or failed):
        return None
    return Limiter(counts, token=token, address=address, failed=failed, proxies=proxies)


def _open_shared(settings: Settings, metrics: QuotaMetrics) -> Shared | None:
    from agentsd.web.middleware.quota import open_shared

    url = settings.rate_limit_storage
    return open_shared(url.get_secret_value(), metrics) if url else None
