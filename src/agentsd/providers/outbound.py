"""Enforcement of the outbound rules where they cannot be bypassed: at the socket that is about to connect.

aiohttp asks for a socket once for every address that it tries, after DNS, for literal addresses and
WebSockets too. So it does not matter what a name resolved to before, or resolves to at the next lookup.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from agentsd.core.trust.outbound import Outbound

if TYPE_CHECKING:
    import socket


class OutboundRefused(OSError):
    """Refused connection to an address. Its text is the reason, worded here."""


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
