"""Enforcement of the outbound rules where they cannot be bypassed: at the socket that is about to connect.

aiohttp asks for a socket once for every address that it tries, after DNS, for literal addresses and
WebSockets too. So it does not matter what a name resolved to before, or resolves to at the next lookup.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal

from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.proxies import Proxy

if TYPE_CHECKING:
    import socket


class OutboundRefused(OSError):
    """Refused connection to an address. Its text is the reason, worded here."""


class ProxyFailed(OSError):
    """Failure of a forward proxy before the connection through it began.

    ``what``: it answered with ``status``, cannot be reached, did not answer in time, closed the connection,
    or does not speak HTTP.
    """

    def __init__(
        self,
        proxy: Proxy,
        what: Literal["status", "unreachable", "timeout", "closed", "protocol"],
        status: int = 0,
    ) -> None:
        super().__init__(what)
        self.proxy = proxy
        self.what = what
        self.status = status


def make_socket_factory(rules: Outbound, host: str) -> Callable[[Any], socket.socket]:
    """Return ``TCPConnector(socket_factory=…)`` for connections of one URL's ``host``."""
    import socket

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        reason = rules.refuses(host, ip_address(address[0]))
        if reason is not None:
            raise OutboundRefused(reason)
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
