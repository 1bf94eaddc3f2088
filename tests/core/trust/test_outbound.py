"""Where agents may connect to: pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.trust.outbound import LOCAL_REASON, UNLISTED_REASON, Outbound, iter_addresses

ANY = Outbound()
LISTED = Outbound.parse(["api.groq.com", "*.Example.org.", "10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:169.254.169.254",  # IPv4-mapped
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",  # IPv4-compatible
    "2002:a9fe:a9fe::1",  # 6to4
    "64:ff9b::a9fe:a9fe",  # NAT64
    "64:ff9b:1::a9fe:a9fe",  # NAT64 of a network's own, /96
    "64:ff9b:1:a9fe:a9:fe00::",  # … /48
    "64:ff9b:1:a9:fe:a9fe::",  # … /56
    "64:ff9b:1:0:a9:fea9:fe00:0",  # … /64
    "2001:0:a9fe:a9fe::1",  # Teredo's server
    "2001:0:1:1:0:0:5601:5601",  # Teredo's client, inverted
    "2001:db8::5efe:a9fe:a9fe",  # ISATAP
    "2001:db8::200:5efe:169.254.169.254",
]


@pytest.mark.parametrize("text", NEVER)
def test_metadata_and_link_local_are_refused_however_they_are_written(text: str) -> None:
    """Also where a list allows every network there is."""
    address = ip_address(text)
    everything = Outbound.parse(["0.0.0.0/0", "::/0", "any.example"])
    for rules in (ANY, everything):
        assert rules.refuses("any.example", address) == LOCAL_REASON
        assert rules.refuses_host(f"[{text}]" if ":" in text else text) == LOCAL_REASON


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.7", "8.8.8.8", "2001:4860::1"])
def test_without_a_list_everything_else_is_allowed(text: str) -> None:
    """A model may run on this machine or in this network."""
    assert ANY.refuses("h", ip_address(text)) is None
    assert ANY.refuses_host(text) is None


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("api.groq.com", "8.8.8.8", True),
        ("API.Groq.com.", "8.8.8.8", True),
        ("evil-api.groq.com", "8.8.8.8", False),
        ("groq.com", "8.8.8.8", False),
        ("tts.example.org", "8.8.8.8", True),
        ("a.b.example.org", "8.8.8.8", True),
        ("example.org", "8.8.8.8", False),
        ("badexample.org", "8.8.8.8", False),
        ("anything", "10.9.8.7", True),
        ("anything", "::ffff:10.9.8.7", True),
        ("anything", "11.9.8.7", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.8", "192.0.2.8", False),
        ("anything", "2001:db8::1", True),
    ],
)
def test_a_list_allows_names_suffixes_and_networks(host: str, address: str, allowed: bool) -> None:
    """A name by itself, a wildcard below its suffix, a network by the address that is connected to."""
    assert LISTED.refuses(host, ip_address(address)) == (None if allowed else UNLISTED_REASON)


def test_a_host_is_refused_early_where_no_address_could_help() -> None:
    """So that a manifest's mistake shows before the first call; names wait for their address."""
    names = Outbound.parse(["api.groq.com"])
    assert names.refuses_host("other.example") == UNLISTED_REASON
    assert names.refuses_host("api.groq.com") is None
    assert LISTED.refuses_host("other.example") is None
    assert LISTED.refuses_host("11.0.0.1") == UNLISTED_REASON


@pytest.mark.parametrize("entry", ["https://groq.com", "*", "a b", "10.0.0.0/64", "*.*.org", "-x-", "a/b"])
def test_a_wrong_entry_is_named(entry: str) -> None:
    """Nothing is half understood."""
    with pytest.raises(ValueError, match="not a host name") as caught:
        Outbound.parse(["fine.example", entry])
    assert repr(entry) in str(caught.value)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"), st.sampled_from([48, 56, 64, 96]))
def test_every_link_local_address_is_found_behind_a_translator(hidden: IPv4Address, prefix: int) -> None:
    """At each place that RFC 6052 has for it."""
    bits = f"{int(hidden):032b}"
    head = f"{int(IPv6Address('64:ff9b:1::')):0128b}"[:prefix]
    split = max(0, 64 - prefix) if prefix < 96 else 32
    tail = bits[:split] + ("0" * 8 if prefix < 96 else "") + bits[split:]
    number = int((head + tail).ljust(128, "0")[:128], 2)
    assert hidden in set(iter_addresses(IPv6Address(number)))
