"""Connections through a forward proxy. Imported by the modules that open a session.

TLS and every WebSocket go through a tunnel (``CONNECT``, RFC 9110 §9.3.6, RFC 6455 §4.1), plain HTTP as
requests to the proxy, as curl does it: many proxies open tunnels to the ports of TLS only.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from time import monotonic
from typing import Any

import aiohttp

from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.proxies import Proxy
from agentsd.providers.outbound import OutboundRefused, ProxyFailed, make_socket_factory

LOOKUP_SECONDS = 1.0
"""Longest wait for a vendor's name to resolve here; behind a proxy it often cannot."""
LOOKUP_LIFETIME_SECONDS = 60.0
"""Time for which a name that did not resolve here is not looked up again."""


class ProxiedRequest(aiohttp.ClientRequest):
    """Request that goes through a tunnel for ``ws``, too, which aiohttp would send to the proxy itself."""

    tunnelled = False

    def is_ssl(self) -> bool:
        """Return whether the connection to the proxy becomes a tunnel."""
        return super().is_ssl() or (self.proxy is not None and self.url.scheme == "ws")


class ProxyConnector(aiohttp.TCPConnector):
    """Connector through ``proxy`` to one ``host``, within the outbound ``rules``.

    A section's own proxy is held to the rules itself; the operator's is the operator's choice. Credentials
    are known here only, and sent to the proxy only.
    """

    def __init__(self, proxy: Proxy, rules: Outbound, host: str, **options: Any) -> None:
        factory = None if proxy.variable else make_socket_factory(rules, proxy.host)
        super().__init__(socket_factory=factory, **options)
        self._proxy = proxy
        self._rules = rules
        self._host = host
        self._unresolved_until = 0.0

    def _update_proxy_auth_header_and_build_proxy_req(
        self, req: aiohttp.ClientRequest
    ) -> aiohttp.ClientRequest:
        built = super()._update_proxy_auth_header_and_build_proxy_req(req)
        if self._proxy.authorization is not None:
            headers = built.headers if req.is_ssl() else req.headers
            headers[aiohttp.hdrs.PROXY_AUTHORIZATION] = self._proxy.authorization
        return built

    async def _create_proxy_connection(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> Any:
        try:
            async with asyncio.timeout(timeout.sock_connect):
                await self._check_host()
                return await super()._create_proxy_connection(req, traces, timeout)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if getattr(req, "tunnelled", False) and not isinstance(error, TimeoutError):
                raise  # the vendor's own failure: the proxy did its part
            raise aiohttp.ClientProxyConnectionError(req.connection_key, self._explain(error)) from None

    async def _start_tls_connection(
        self, underlying_transport: Any, req: Any, timeout: Any, *more: Any, **options: Any
    ) -> Any:
        req.tunnelled = True
        if req.url.scheme != "ws":
            return await super()._start_tls_connection(underlying_transport, req, timeout, *more, **options)
        protocol = self._factory()
        underlying_transport.set_protocol(protocol)
        protocol.connection_made(underlying_transport)
        return underlying_transport, protocol

    async def _check_host(self) -> None:
        """Raise ``OutboundRefused`` for a host that the proxy must not be asked for."""
        reason = self._rules.refuses_proxied(self._host, await self._resolve())
        if reason is not None:
            raise OutboundRefused(reason)

    async def _resolve(self) -> list[Any]:
        """Return what the host resolves to here; nothing where it does not, soon enough."""
        if monotonic() < self._unresolved_until:
            return []
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await loop.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            self._unresolved_until = monotonic() + LOOKUP_LIFETIME_SECONDS
            return []
        return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]

    def _explain(self, error: Exception) -> OSError:
        """Return what failed before the tunnel was open."""
        if isinstance(refusal := getattr(error, "os_error", error), OutboundRefused):
            return refusal
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return ProxyFailed(self._proxy, "status", error.status)
        if isinstance(error, TimeoutError):
            return ProxyFailed(self._proxy, "timeout")
        if isinstance(error, aiohttp.ClientConnectorError):
            return ProxyFailed(self._proxy, "unreachable")
        closed = isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionError))
        return ProxyFailed(self._proxy, "closed" if closed else "protocol")
