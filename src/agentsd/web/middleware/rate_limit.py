"""Rate limits of requests: by token, by address, and stricter for tokens that are not valid.

Responses carry ``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-10),
refusals also ``Retry-After``. A valid token is not refused for invalid ones from its address:
tokens cannot be guessed (256 random bits), and a neighbour's broken client must not lock others
out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from agentsd.core.access import LOCAL, NOBODY, Principal
from agentsd.web.http.client_address import TrustedProxies
from agentsd.web.http.problem import OPENAI_PREFIX, Problem
from agentsd.web.middleware.quota import Quota, QuotaMetrics, QuotaState

PRINCIPAL_RULE_DEFAULT = "1200/minute"
ADDRESS_RULE_DEFAULT = "6000/minute"
FAILED_RULE_DEFAULT = "60/minute"

QUOTA_STATES = web.RequestKey("rate_limit", list[QuotaState])
"""State of the quotas after a request was counted."""


class RateLimiter:
    """Quotas that requests are counted by; None where there is none of a kind."""

    def __init__(
        self,
        metrics: QuotaMetrics,
        *,
        token: Quota | None = None,
        address: Quota | None = None,
        failed: Quota | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._token = token
        self._address = address
        self._failed = failed
        self._proxies = proxies or TrustedProxies()
        self._refused = metrics.refused
        self._policies: dict[tuple[Quota, ...], str] = {}

    async def admitted(self, request: web.Request, admit: Callable[[], Principal]) -> Principal:
        """Return the principal that ``admit`` finds, and count the request.

        Raise the errors of ``admit``, and ``Problem`` 429.
        """
        try:
            principal = admit()
        except Problem as problem:
            if problem.status == 401 and self._failed is not None:
                await self._count(request, [(self._failed, self._proxies.client_of(request))])
            raise
        await self._count(request, self._due(request, principal))
        return principal

    async def failed(self, request: web.Request) -> None:
        """Count a call with an invalid proof other than a token. Raise ``Problem`` 429."""
        if self._failed is not None:
            await self._count(request, [(self._failed, self._proxies.client_of(request))])

    async def aclose(self) -> None:
        """Close the connections of shared counters."""
        quotas = (self._token, self._address, self._failed)
        for shared in {quota.shared for quota in quotas if quota is not None and quota.shared is not None}:
            await shared.aclose()

    def _due(self, request: web.Request, principal: Principal) -> list[tuple[Quota, str]]:
        """Return the quotas that count this request, the widest first.

        Opening a page without a token shares no token's quota: others could exhaust it and so block the
        sign-in for everybody.
        """
        found = []
        local = principal is LOCAL
        if self._address is not None and (self._address.local or not local):
            found.append((self._address, self._proxies.client_of(request)))
        if self._token is not None and principal is not NOBODY and (self._token.local or not local):
            found.append((self._token, principal.actor))
        return found

    async def _count(self, request: web.Request, due: Sequence[tuple[Quota, str]]) -> None:
        readings: list[QuotaState] = []
        if due:
            request[QUOTA_STATES] = readings
        for quota, key in due:
            reading = quota.take_here(key) if quota.shared is None else await quota.take(key)
            readings.append(reading)
            if not reading.allowed:
                self._refused.labels(quota.name).inc()
                raise _make_refusal(request, reading)

    def decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the state of the quotas to the response."""
        readings = request.get(QUOTA_STATES)
        if readings:
            quotas = tuple([reading.quota for reading in readings])
            policy = self._policies.get(quotas)
            if policy is None:
                policy = self._policies[quotas] = ", ".join(quota.policy for quota in quotas)
            response.headers["RateLimit-Policy"] = policy
            states = [f'"{quota.name}";r={left};t={seconds}' for quota, _, left, seconds in readings]
            response.headers["RateLimit"] = ", ".join(states)


def _make_refusal(request: web.Request, reading: QuotaState) -> Problem:
    openai = request.path.startswith(OPENAI_PREFIX)
    what = {"failed": "requests without a valid token", "token": "requests with this token"}
    return Problem(
        429,
        "rate_limit_exceeded" if openai else "rate_limited",
        f"too many {what.get(reading.quota.name, 'requests from this address')}",
        hint=f"try again in {reading.seconds} s",
        headers={"Retry-After": str(reading.seconds)},
    )
