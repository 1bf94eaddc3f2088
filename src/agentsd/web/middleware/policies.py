"""Policies of the request middleware: rate limits, cross-origin pages, trusted proxies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from agentsd.web.http.client_address import TrustedProxies
from agentsd.web.middleware.cors import CorsPolicy
from agentsd.web.middleware.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from agentsd.web.middleware.owner_budgets import OwnerBudgets
    from agentsd.web.middleware.rate_limit import RateLimiter

HSTS_VALUE = "max-age=31536000"
"""For clients on HTTPS; without subdomains, which may belong to others."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Policies between a client and the handlers, beside ``AccessPolicy``. The default is none."""

    limiter: RateLimiter | None = None
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    budgets: OwnerBudgets | None = None

    def install(self, app: web.Application) -> None:
        """Add the policies' headers to every response, streams and sockets included; close with ``app``."""
        app.on_cleanup.append(self._close)
        if self.limiter or self.cors or self.proxies.networks:
            app.on_response_prepare.append(self._decorate)

    async def _close(self, _app: web.Application) -> None:
        if self.limiter is not None:
            await self.limiter.aclose()

    async def _decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        if self.limiter is not None:
            self.limiter.decorate(request, response)
        if self.cors:
            self.cors.decorate(request, response)
        if self.proxies.networks and self.proxies.encrypted(request):
            response.headers["Strict-Transport-Security"] = HSTS_VALUE
