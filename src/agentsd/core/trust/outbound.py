"""Allowed destinations of connections on an agent's behalf: never link-local or metadata addresses.

Cloud machines answer on such addresses, without a password, with credentials of the machine itself.
An owner of a manifest chooses URLs, so a URL must not reach them, however the address is written or
whatever a name resolves to. An allowlist narrows further.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORBIDDEN_NETWORKS: tuple[Network, ...] = (
    IPv4Network("169.254.0.0/16"),  # link-local (RFC 3927); AWS, Azure, Google, Oracle, … metadata
    IPv6Network("fe80::/10"),  # link-local (RFC 4291)
    IPv6Network("fd00:ec2::/32"),  # AWS: metadata, credentials, DNS and time of the instance
    IPv6Network("fd20:ce::254/128"),  # Google's metadata server
    IPv4Network("100.100.100.200/32"),  # Alibaba's
    IPv4Network("192.0.0.192/32"),  # Oracle's
    IPv4Network("168.63.129.16/32"),  # Azure's host agent
)
"""Networks that are always refused, whatever the allowlist contains."""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, deprecated
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

METADATA_NAMES = frozenset(
    {
        "instance-data", "instance-data.ec2.internal", "metadata", "metadata.azure.internal",
        "metadata.goog", "metadata.google.internal", "metadata.tencentyun.com",
    }
)  # fmt: skip
"""Names of metadata services, which a proxy in a cloud may resolve where this machine cannot."""

LOCAL_REASON = "its address is link-local or a machine's metadata service, which no agent may reach"
UNLISTED_REASON = "it is not in the list of hosts that this server may connect to"


@dataclass(frozen=True, slots=True)
class Outbound:
    """Allowed destinations; all but ``FORBIDDEN_NETWORKS`` without names, suffixes and networks."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()  # ".example.org", of "*.example.org"
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Outbound:
        """Build from host names, ``*.`` and a suffix, addresses and CIDRs.

        Raises ``ValueError`` with the bad entry.
        """
        names, suffixes, networks = set(), set(), set()
        for entry in entries:
            text = entry.strip().lower().rstrip(".")
            if network := _parse_network(text):
                networks.add(network)
            elif not _NAME.fullmatch(text):
                raise ValueError(f"{entry!r} is not a host name, a *.suffix or a network such as 10.0.0.0/8")
            elif text.startswith("*."):
                suffixes.add(text[1:])
            else:
                names.add(text)
        return cls(frozenset(names), tuple(sorted(suffixes)), tuple(sorted(networks, key=str)))

    def refuses_host(self, host: str) -> str | None:
        """Return why a URL's host is forbidden, judged by the host alone; None: it is allowed."""
        address = _parse_address(host.strip("[]"))
        if address is not None:
            return self.refuses(host, address)
        if self._open or self.networks or self._names(host):
            return None  # a name that is not listed is judged by its address
        return UNLISTED_REASON

    def refuses(self, host: str, address: Address) -> str | None:
        """Return why ``address``, resolved from the URL's ``host``, is forbidden; None: it is allowed."""
        if any(one in network for one in iter_addresses(address) for network in FORBIDDEN_NETWORKS):
            return LOCAL_REASON
        if self._open or self._names(host):
            return None
        plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
        return None if any(plain in network for network in self.networks) else UNLISTED_REASON

    def refuses_proxied(self, host: str, addresses: Collection[Address]) -> str | None:
        """Return why a proxy must not be asked to connect to ``host``; None: it may.

        ``addresses``: what the host resolves to here. The proxy resolves it again, so this is the best that
        can be known; a host that does not resolve here is judged by its name alone.
        """
        if host.lower().rstrip(".") in METADATA_NAMES:
            return LOCAL_REASON
        if not addresses and not (self._open or self._names(host)):
            return UNLISTED_REASON
        return next((reason for one in addresses if (reason := self.refuses(host, one))), None)

    @property
    def _open(self) -> bool:
        return not (self.names or self.suffixes or self.networks)

    def _names(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return name in self.names or name.endswith(self.suffixes)


def iter_addresses(address: Address) -> Iterator[Address]:
    """Yield the address, and every IPv4 address that it embeds or tunnels to."""
    yield address
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    low = IPv4Address(number & 0xFFFFFFFF)
    tunnels = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    yield from (one for one in tunnels if one is not None)
    if address in _NAT64 or address in _COMPATIBLE or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield low
    if address in _NAT64_LOCAL:  # 48, 56, 64 or 96 bits before the IPv4 address: RFC 6052, section 2.2
        yield low
        yield from (IPv4Address(_extract_ipv4_bits(number, prefix)) for prefix in (48, 56, 64))


def _extract_ipv4_bits(number: int, prefix: int) -> int:
    """Return the 32 bits after ``prefix``, which skip bits 64 to 71."""
    bits = f"{number:0128b}"
    return int((bits[prefix:64] + bits[72:])[:32], 2)


def _parse_network(text: str) -> Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _parse_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
