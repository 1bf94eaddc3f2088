"""Quotas: how many requests a client may make, by the rules and strategy of the library ``limits``.

The strategy is its sliding window counter: two numbers per client (a moving window stores a
timestamp of every request), and no double burst where two windows meet (a fixed window has that).
Counts are in this process, or by the library in a Redis that replicas share; while that is
unavailable, in this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, NamedTuple

from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from prometheus_client import Counter, Gauge

from agentsd.core.errors import ConfigError
from agentsd.telemetry import Metrics
from agentsd.web.middleware.sliding_window import SlidingWindowCounters

REDIS_TIMEOUT_SECONDS = 0.25
"""Timeout of Redis, after which this process counts locally."""
REDIS_RETRY_SECONDS = 5.0
"""Pause after a failure of Redis before the next attempt."""
REDIS_CALLS_MAX = 32
"""Concurrent Redis commands, and so connections."""

_log = logging.getLogger(__name__)


class RedisUnavailable(Exception):
    """Error for a Redis that does not answer."""


class QuotaState(NamedTuple):
    """State of a quota after one request."""

    quota: Quota
    allowed: bool
    remaining: int
    seconds: int  # until more requests are allowed


class QuotaMetrics:
    """Metrics of the quotas."""

    def __init__(self, metrics: Metrics) -> None:
        self.refused = Counter(
            "agentsd_rate_limited", "Requests refused by a rate limit.", ["quota"], registry=metrics.registry
        )
        self.shared = Gauge(
            "agentsd_rate_limit_storage_up",
            "Whether the shared storage of rate limits answers; otherwise each process counts by itself.",
            registry=metrics.registry,
        )


class RedisCounters:
    """Counters that replicas share. An outage is logged once, and Redis is then retried only now and then."""

    def __init__(
        self, storage: Storage, metrics: QuotaMetrics, *, away_seconds: float = REDIS_RETRY_SECONDS
    ) -> None:
        self.storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._places = asyncio.Semaphore(REDIS_CALLS_MAX)
        self._up = metrics.shared
        self._up.set(1)
        self._away_seconds = away_seconds
        self._again = 0.0  # time of the next attempt; 0: available

    async def ask(self, item: RateLimitItem, name: str, key: str) -> tuple[bool, int, float]:
        """Count one request if allowed; return (allowed, number left, seconds until there are more).

        Raise ``RedisUnavailable``.
        """
        now = time.monotonic()
        if now < self._again:
            raise RedisUnavailable
        if self._again:
            self._again = now + self._away_seconds  # other requests need not try as well
        try:
            async with self._places, asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                allowed = await self._limiter.hit(item, name, key)
                stats = await self._limiter.get_window_stats(item, name, key)
        except Exception as error:  # no error of Redis may fail the request
            self._lost(error)
            raise RedisUnavailable from None
        self._found()
        remaining = max(stats.remaining, 0) if allowed else 0
        return allowed, remaining, max(stats.reset_time - time.time(), 0.0)

    async def aclose(self) -> None:
        """Close the connections."""
        bridge = getattr(self.storage, "bridge", None)
        if bridge is not None:
            await bridge.get_connection().aclose(close_connection_pool=True)

    def _lost(self, error: Exception) -> None:
        if not self._again:
            self._up.set(0)
            _log.warning(
                "the shared storage of rate limits is unavailable: each process counts by itself",
                extra={"error": type(error).__name__},
            )
        self._again = time.monotonic() + self._away_seconds

    def _found(self) -> None:
        if self._again:
            self._again = 0.0
            self._up.set(1)
            _log.warning("the shared storage of rate limits is available again")


class Quota:
    """Rule such as 1200 a minute for each token."""

    def __init__(
        self, name: str, rule: str, shared: RedisCounters | None = None, *, local: bool = True
    ) -> None:
        """Parse ``rule``. Raise ``ConfigError``.

        ``local``: it also counts for a server that is open to its own machine.
        """
        self.name = name
        self.local = local
        self._item = _parse_rule(name, rule)
        self._memory = SlidingWindowCounters(self._item.amount, self._item.get_expiry())
        self.shared = shared
        self.policy = f'"{name}";q={self._item.amount};w={self._item.get_expiry()}'

    async def take(self, key: str) -> QuotaState:
        """Count one request of ``key``, if it is allowed."""
        if self.shared is None:
            return self.take_here(key)
        try:
            allowed, remaining, seconds = await self.shared.ask(self._item, self.name, key)
        except RedisUnavailable:
            return self.take_here(key)
        return QuotaState(self, allowed, remaining, int(seconds) + 1)

    def take_here(self, key: str) -> QuotaState:
        """Count one request of ``key`` in this process alone, if it is allowed."""
        allowed, remaining, seconds = self._memory.take(key)
        return QuotaState(self, allowed, remaining, int(seconds) + 1)


def open_redis_counters(url: str, metrics: QuotaMetrics) -> RedisCounters:
    """Open counters in a Redis: ``redis://``, ``rediss://`` or ``redis+unix://``. Raise ``ConfigError``."""
    if not url.startswith(("redis://", "rediss://", "redis+unix://")):
        raise ConfigError(
            "AGENTSD_RATE_LIMIT_STORAGE is not a Redis URL", hint="for example redis://:password@host:6379/0"
        )
    try:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            "socket_timeout": REDIS_TIMEOUT_SECONDS,
            "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }
        storage = storage_from_string(
            f"async+{url}", implementation="redispy", key_prefix="agentsd", **options
        )
    except ImportError:
        raise ConfigError(
            "a shared rate limit needs the Redis client", hint="in a clone of agentsd: pip install '.[redis]'"
        ) from None
    except (ConfigurationError, ValueError):  # their text may quote the password
        raise ConfigError(
            "AGENTSD_RATE_LIMIT_STORAGE cannot be used", hint="for example redis://:password@host:6379/0"
        ) from None
    assert isinstance(storage, Storage)  # noqa: S101  (an async scheme yields an async storage)
    return RedisCounters(storage, metrics)


def make_quota(
    name: str, rule: str | None, default: str, shared: RedisCounters | None = None
) -> Quota | None:
    """Make the quota of a setting, None for ``off``.

    The default rule does not count for a server that is open to its own machine.
    """
    if rule is not None and rule.strip().lower() == "off":
        return None
    return Quota(name, rule or default, shared, local=rule is not None)


def _parse_rule(name: str, rule: str) -> RateLimitItem:
    try:
        return parse(rule)
    except ValueError:
        raise ConfigError(
            f"the rate limit of each {name} is not a rate: {rule!r}",
            hint="write 1200/minute, 20/second or off",
        ) from None
