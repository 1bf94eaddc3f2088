"""Client address of a request, also behind a trusted reverse proxy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

UNKNOWN_ADDRESS = "unknown"
_SITE_BITS = 64


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are trusted; no others are."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> TrustedProxies:
        """Parse addresses and CIDRs. Raise ``ValueError``."""
        return cls(tuple(ip_network(entry, strict=False) for entry in sorted(entries)))

    def trusts(self, address: str) -> bool:
        """Return whether ``address`` is one of these proxies."""
        if not self.networks:
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.networks)

    def client_of(self, request: web.Request) -> str:
        """Return the client's address: the peer, or the last untrusted one of ``X-Forwarded-For``."""
        peer = request.remote or UNKNOWN_ADDRESS
        if not self.trusts(peer):
            return rate_key(peer)
        for line in reversed(request.headers.getall("X-Forwarded-For", ())):
            for hop in reversed(line.split(",")):
                peer = hop.strip()
                if not self.trusts(peer):
                    return rate_key(peer)
        return rate_key(peer)

    def encrypted(self, request: web.Request) -> bool:
        """Return whether the client used HTTPS, according to a trusted proxy."""
        told = request.headers.get("X-Forwarded-Proto", "")
        return told.lower() == "https" and self.trusts(request.remote or UNKNOWN_ADDRESS)


@lru_cache(maxsize=4096)
def rate_key(address: str) -> str:
    """Return the key of one client: an IPv4 address, or the /64 network of one IPv6 customer."""
    if ":" not in address:
        return address if _is_address(address) else UNKNOWN_ADDRESS
    try:
        found = IPv6Address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return UNKNOWN_ADDRESS
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> _SITE_BITS << _SITE_BITS)}/{_SITE_BITS}"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
