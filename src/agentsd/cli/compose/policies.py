"""Policies of the HTTP interface, made from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentsd.core.errors import ConfigError
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.telemetry import Metrics
    from agentsd.web.http.client_address import TrustedProxies
    from agentsd.web.middleware.policies import Policies
    from agentsd.web.middleware.quota import QuotaMetrics, RedisCounters
    from agentsd.web.middleware.rate_limit import RateLimiter
    from agentsd.web.server.connection_limits import ConnectionLimits


def make_bounds(settings: Settings) -> ConnectionLimits:
    """Return how many connections there may be, and how slow."""
    from agentsd.web.server.connection_limits import ConnectionLimits

    return ConnectionLimits(total=settings.max_connections, per_address=settings.max_connections_per_address)


def make_policies(settings: Settings, metrics: Metrics) -> Policies:
    """Return rate limits, listed origins and trusted proxies. Raises ``ConfigError``."""
    from agentsd.web.http.client_address import TrustedProxies
    from agentsd.web.middleware.cors import CorsPolicy
    from agentsd.web.middleware.memory_budget import MIB, MemoryBudget
    from agentsd.web.middleware.owner_budgets import OwnerBudgets
    from agentsd.web.middleware.policies import Policies

    try:
        proxies = TrustedProxies.parse(settings.trusted_proxies)
    except ValueError:
        raise ConfigError(
            "AGENTSD_TRUSTED_PROXIES has an entry that is not an address",
            hint="list addresses and networks: 10.0.0.7,192.168.0.0/16",
        ) from None
    try:
        cors = CorsPolicy.parse(settings.cors_origins)
    except ValueError as error:
        hint = "list each origin by itself, without a path; * is not allowed"
        raise ConfigError(f"AGENTSD_CORS_ORIGINS: {error}", hint=hint) from None
    memory = MemoryBudget(settings.max_memory_per_owner * MIB, settings.max_memory * MIB)
    budgets = OwnerBudgets(metrics, settings.max_requests_per_owner, settings.max_works_per_owner)
    return Policies(_make_limiter(settings, metrics, proxies), cors, proxies, memory, budgets)


def _make_limiter(settings: Settings, metrics: Metrics, proxies: TrustedProxies) -> RateLimiter | None:
    from agentsd.web.middleware.quota import QuotaMetrics, make_quota
    from agentsd.web.middleware.rate_limit import (
        ADDRESS_RULE_DEFAULT,
        FAILED_RULE_DEFAULT,
        PRINCIPAL_RULE_DEFAULT,
        RateLimiter,
    )

    counts = QuotaMetrics(metrics)
    shared = _open_counters(settings, counts)
    token = make_quota("token", settings.rate_limit, PRINCIPAL_RULE_DEFAULT, shared)
    address = make_quota("address", settings.rate_limit_address, ADDRESS_RULE_DEFAULT, shared)
    failed = make_quota("failed", settings.rate_limit_failed, FAILED_RULE_DEFAULT, shared)
    if not (token or address or failed):
        return None
    return RateLimiter(counts, token=token, address=address, failed=failed, proxies=proxies)


def _open_counters(settings: Settings, metrics: QuotaMetrics) -> RedisCounters | None:
    from agentsd.web.middleware.quota import open_redis_counters

    url = settings.rate_limit_storage
    return open_redis_counters(url.get_secret_value(), metrics) if url else None
