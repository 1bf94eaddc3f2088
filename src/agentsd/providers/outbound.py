"""The outbound rules at the only place that cannot be talked round: the socket that is about to connect.

aiohttp asks for a socket once for every address that it tries, after DNS, for literal addresses and
WebSockets too. So what a name resolved to a moment ago, or resolves to at the next look, is no matter.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from agentsd.core.trust.outbound import Outbound

if TYPE_CHECKING:
    import socket


class OutboundRefused(OSError):
    """An address that must not be connected to. Its text is the reason, in our own words."""


def socket_factory(rules: Outbound, host: str) -> Callable[[Any], socket.socket]:
    """``TCPConnector(socket_factory=…)`` for connections of one URL's ``host``."""
    import socket

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        reason = rules.refuses(host, ip_address(address[0]))
        if reason is not None:
            raise OutboundRefused(reason)
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
