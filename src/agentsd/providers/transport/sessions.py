"""Pooled HTTP sessions: one per owner and origin, opened on first use, closed after the last claim.

Vendors' clients never import aiohttp; this package does, in the functions that connect. So a
process that only validates manifests imports neither it nor asyncio (0.15 s together).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentsd import __version__
from agentsd.core.errors import ConfigError
from agentsd.core.names import DEFAULT_OWNER
from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.proxies import Proxy, ProxyRules, parse_proxy
from agentsd.core.trust.rules import NO_ORIGIN
from agentsd.core.trust.rules import normalise_origin as origin_of
from agentsd.providers.limits import OperatorLimits
from agentsd.providers.local.engines import Engines
from agentsd.providers.outbound import OutboundRefused, make_socket_factory

if TYPE_CHECKING:
    import aiohttp


_PoolKey = tuple[str, str, Proxy | None]
"""Owner, origin and proxy: whatever differs in one of them shares no connection."""


@dataclass(slots=True)
class _SessionPool:
    host: str
    proxy: Proxy | None = None
    holders: int = 0
    session: aiohttp.ClientSession | None = None


@dataclass(slots=True)
class HttpSessions:
    """Sessions of one event loop. A new provider for an origin keeps its owner's warm connections.

    ``connections`` bounds how many one owner has open to one origin at a time; a request beyond it
    waits, and its wait counts against the time to the first byte. Owners share no connection, so none
    waits for another.
    """

    connections: int = 512
    keepalive_seconds: float = 30.0
    dns_cache_seconds: int = 60
    engines: Engines = field(default_factory=Engines)  # models that run on this machine
    outbound: Outbound = field(default_factory=Outbound)  # what may be connected to
    limits: OperatorLimits = field(default_factory=OperatorLimits)
    proxies: ProxyRules = field(default_factory=ProxyRules)  # the operator's
    owner: str = DEFAULT_OWNER  # whose providers take sessions here
    _pools: dict[_PoolKey, _SessionPool] = field(default_factory=dict)  # of all owners

    def of(self, owner: str) -> HttpSessions:
        """Return the sessions and models as the providers of ``owner`` take them; bounds count by owner."""
        return self if owner == self.owner else replace(self, owner=owner, engines=self.engines.of(owner))

    def acquire(self, url: str, proxy: str | None = None) -> SessionClaim:
        """Return a claim on the session for ``url``'s origin. Opens nothing.

        ``proxy`` is a section's own; without one, the operator's rules choose. Raises ValueError for an
        invalid URL, ``OutboundRefused`` for a host that must not be connected to.
        """
        origin = origin_of(url)
        if origin == NO_ORIGIN:
            raise ValueError("not an absolute URL")
        host = urlsplit(origin).hostname or ""
        if reason := self.outbound.refuses_host(host):
            raise OutboundRefused(reason)
        taken = self._parse_own_proxy(proxy) if proxy else self.proxies.choose(origin)
        pool = self._pools.setdefault((self.owner, origin, taken), _SessionPool(host, taken))
        pool.holders += 1
        return SessionClaim(self, origin, pool)

    def _parse_own_proxy(self, text: str) -> Proxy:
        """Return a section's own proxy, which is a destination like any other."""
        try:
            proxy = parse_proxy(text)
        except ConfigError:
            raise ValueError("not a proxy's URL") from None
        if reason := self.outbound.refuses_host(proxy.host):
            raise OutboundRefused(reason)
        return proxy

    def holders(self) -> dict[str, int]:
        """Return how many claims each origin has."""
        holders = Counter[str]()
        for (_, origin, _), pool in self._pools.items():
            holders[origin] += pool.holders
        return dict(holders)

    def opened(self) -> frozenset[str]:
        """Return the origins whose session is open."""
        return frozenset(origin for (_, origin, _), pool in self._pools.items() if pool.session is not None)

    async def aclose(self) -> None:
        """Close every session and free every model, held or not."""
        pools = list(self._pools.values())
        self._pools.clear()  # which every owner's view shares
        for pool in pools:
            await _close_pool(pool)
        await self.engines.aclose()

    async def _release(self, origin: str, pool: _SessionPool) -> None:
        pool.holders -= 1
        if pool.holders <= 0:
            if self._pools.get((self.owner, origin, pool.proxy)) is pool:
                del self._pools[self.owner, origin, pool.proxy]
            await _close_pool(pool)

    def _open(self, pool: _SessionPool) -> aiohttp.ClientSession:
        if pool.session is None:
            pool.session = _make_session(self, pool)
        return pool.session


@dataclass(slots=True)
class SessionClaim:
    """Claim of one holder on an origin's session."""

    _sessions: HttpSessions
    origin: str
    _pool: _SessionPool
    _released: bool = False

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the session, opened if it was not. Call it inside the event loop."""
        if self._released:
            raise RuntimeError("this claim was released")
        return self._sessions._open(self._pool)

    @property
    def forwarder(self) -> Proxy | None:
        """Return the proxy that passes requests on without a tunnel, and so answers some of them itself."""
        return self._pool.proxy if self.origin.startswith("http:") else None

    async def release(self) -> None:
        """Give the claim up; the last one closes the session. May be called twice."""
        if not self._released:
            self._released = True
            await self._sessions._release(self.origin, self._pool)


async def _close_pool(pool: _SessionPool) -> None:
    session, pool.session = pool.session, None
    if session is not None:
        await session.close()


def _make_session(sessions: HttpSessions, pool: _SessionPool) -> aiohttp.ClientSession:
    import aiohttp

    from agentsd.providers.transport.responses import BoundedResponse

    options: dict[str, Any] = {
        "limit": sessions.connections,
        "keepalive_timeout": sessions.keepalive_seconds,
        "ttl_dns_cache": sessions.dns_cache_seconds,
    }
    taken: dict[str, Any] = {}
    if pool.proxy is None:
        factory = make_socket_factory(sessions.outbound, pool.host)
        connector = aiohttp.TCPConnector(socket_factory=factory, **options)
    else:
        from agentsd.providers.transport.proxy_connector import ProxiedRequest, ProxyConnector

        connector = ProxyConnector(pool.proxy, sessions.outbound, pool.host, **options)
        taken = {"proxy": pool.proxy.url, "request_class": ProxiedRequest}
    session = aiohttp.ClientSession(
        connector=connector,
        **taken,
        cookie_jar=aiohttp.DummyCookieJar(),  # a vendor's cookie must not tie agents together
        timeout=aiohttp.ClientTimeout(total=None),  # the limits are the endpoint's
        middlewares=(_refuse_redirects,),
        headers={"User-Agent": f"agentsd/{__version__}"},
        trust_env=False,
        response_class=BoundedResponse,
        max_line_size=sessions.limits.header,
        max_field_size=sessions.limits.header,
    )
    session._retry_connection = False  # aiohttp would send a PUT or DELETE twice, unasked
    return session


async def _refuse_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Treat a redirect as an answer: following it would send a key to an address that was never allowed."""
    response = await handler(request)
    if 300 <= response.status < 400:
        import aiohttp

        response.close()
        raise aiohttp.ClientResponseError(
            response.request_info, (), status=response.status, headers=response.headers
        )
    return response
