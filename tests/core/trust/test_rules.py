"""A secret goes only where it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.trust.rules import (
    NO_ORIGIN,
    Destinations,
    MisdirectedField,
    find_misdirected,
    is_http_url,
    normalise_origin,
)

HOME = Destinations(
    secrets=frozenset({"api_key"}),
    urls={"api_url": "https://api.groq.com", "ws_url": None},
    home=frozenset({"https://api.groq.com"}),
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.groq.com", "https://api.groq.com"),
        ("HTTPS://API.Groq.COM:443/openai/v1", "https://api.groq.com"),
        ("http://host:80", "http://host"),
        ("http://host:443", "http://host:443"),
        ("ws://host:80/x", "ws://host"),
        ("wss://host:443/x", "wss://host"),
        ("https://host:8443", "https://host:8443"),
        ("https://host:", "https://host"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
        ("https://user:pass@host/x", "https://host"),
        ("https://api.groq.com@evil.example", "https://evil.example"),
        ("https://api.groq.com.evil.example", "https://api.groq.com.evil.example"),
        ("https://api.groq.com:99999", NO_ORIGIN),
        ("https://api.groq.com:x", NO_ORIGIN),
        ("https://[::1", NO_ORIGIN),
        ("https://", NO_ORIGIN),
        ("api.groq.com", NO_ORIGIN),
        ("", NO_ORIGIN),
    ],
)
def test_an_origin_is_normalised(url: str, expected: str) -> None:
    """Scheme, host and port; what is no address is nowhere."""
    assert normalise_origin(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example.com/v4", True),
        ("http://[::1]:8080", True),
        ("https://[::1", False),
        ("https://a.example:x", False),
        ("https://a.example:0", False),
        ("ftp://a.example", False),
        ("https:///path", False),
        ("https://a.example/a b", False),
    ],
)
def test_the_url_of_an_http_server_is_recognised(text: str, expected: bool) -> None:
    """What cannot be read as a URL is not one, and raises nothing."""
    assert is_http_url(text) is expected


@given(st.text())
def test_an_origin_of_anything(text: str) -> None:
    """Never raises; and an origin is its own origin."""
    found = normalise_origin(text)
    assert found == NO_ORIGIN or normalise_origin(found) == found


def check(
    section: dict[str, str], sealed: set[str] = frozenset(), trusted: set[str] = frozenset()
) -> list[str]:  # type: ignore[assignment]
    found = find_misdirected(section, frozenset(sealed), HOME, frozenset(trusted))
    assert all(isinstance(one, MisdirectedField) for one in found)
    return [one.field for one in found]


def test_a_section_without_secrets_may_go_anywhere() -> None:
    """There is nothing to protect."""
    assert check({"api_url": "https://evil.example"}) == []


def test_a_sealed_address_is_not_quoted() -> None:
    """What the seal does not tie together is refused; where it would go stays sealed."""
    section = {"api_key": "x", "api_url": "https://private.example"}
    [wrong] = find_misdirected(section, frozenset(("api_key", "api_url")), HOME, frozenset(), bound=False)
    assert "private.example" not in f"{wrong} {wrong.remedy}"
    [wrong] = find_misdirected(section, frozenset(("api_key",)), HOME, frozenset(), bound=False)
    assert "https://private.example" in wrong.remedy


def test_a_secret_goes_to_the_vendor_by_default() -> None:
    """The default, and the vendor's own origin written out in any spelling."""
    assert check({"api_key": "x"}) == []
    assert check({"api_key": "x", "api_url": "https://API.groq.com:443/v1"}) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "http://api.groq.com",
        "https://api.groq.com:8443",
        "https://api.groq.com@evil.example",
        "https://api.groq.com.evil.example",
        "https://api.groq.com:99999",
    ],
)
def test_another_origin_is_refused(url: str) -> None:
    """Another host, scheme or port is another place."""
    assert check({"api_key": "x", "api_url": url}) == ["api_url"]


def test_what_allows_another_origin() -> None:
    """A trusted origin, or a URL that is sealed itself: whoever sealed it holds a key."""
    section = {"api_key": "x", "api_url": "https://llm.example"}
    assert check(section, trusted={"https://llm.example"}) == []
    assert check(section, sealed={"api_url", "api_key"}) == []
    assert check(section, sealed={"api_key"}) == ["api_url"]


def test_every_destination_counts() -> None:
    """One good URL does not vouch for another one; and any sealed field makes a secret of the section."""
    section = {"model": "x", "ws_url": "wss://evil.example"}
    assert check(section) == []
    assert check(section, sealed={"model"}) == ["ws_url"]


def test_nowhere_is_never_trusted() -> None:
    """Not even by a setting that is none."""
    assert check({"api_key": "x", "api_url": "https://[x"}, trusted={NO_ORIGIN}) == ["api_url"]
