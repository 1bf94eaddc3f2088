"""Which proxy a connection takes: pure."""

from __future__ import annotations

from base64 import b64encode

import pytest

from agentsd.core.errors import ConfigError
from agentsd.core.trust.proxies import ProxyRules, parse_proxy

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "taken"),
    [
        ({"HTTPS_PROXY": PROXY}, "https://a.example/v1", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": PROXY}, "wss://a.example/v1", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": PROXY}, "http://a.example/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://a.example", "HTTP_PROXY"),
        ({"HTTP_PROXY": PROXY}, "ws://a.example", "HTTP_PROXY"),
        ({"HTTP_PROXY": PROXY}, "https://a.example", None),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://b"}, "https://a.example", "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, "https://a.example", None),
        ({"ALL_PROXY": PROXY}, "https://a.example", "ALL_PROXY"),
        ({"all_proxy": PROXY}, "ws://a.example", "all_proxy"),
        ({"ALL_PROXY": "http://b", "HTTPS_PROXY": PROXY}, "https://a.example", "HTTPS_PROXY"),
        (
            {"ALL_PROXY": "socks5://b", "HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY},
            "ws://a.example",
            "HTTP_PROXY",
        ),
        ({}, "https://a.example", None),
    ],
)
def test_the_variable_that_counts(environ: dict[str, str], url: str, taken: str | None) -> None:
    """By the scheme of the vendor; a lower-case name wins, as with curl."""
    proxy = ProxyRules.parse(environ).choose(url)
    assert (proxy.variable if proxy else None) == taken


@pytest.mark.parametrize(
    ("entries", "url", "direct"),
    [
        ("*", "https://a.example", True),
        ("a.example", "https://a.example", True),
        ("A.Example.", "https://a.example", True),
        ("a.example", "https://b.a.example", True),
        (".a.example", "https://b.a.example", True),
        (".a.example", "https://a.example", True),
        ("*.a.example", "https://b.a.example", True),
        ("a.example", "https://ba.example", False),
        ("example.a", "https://a.example", False),
        ("b.example , a.example", "https://a.example", True),
        ("b.example a.example", "https://a.example", True),
        ("a.example:8443", "https://a.example:8443", True),
        ("a.example:8443", "https://a.example", False),
        ("a.example:443", "wss://a.example", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://10.example", False),
        ("10.1.2.3", "https://10.1.2.3:99", True),
        ("10.1.2.3:98", "https://10.1.2.3:99", False),
        ("2001:db8::/32", "https://[2001:db8::7]", True),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]:8443", True),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]", False),
        (", ,", "https://a.example", False),
        ("https://a.example", "https://a.example", False),
        ("", "https://localhost:8000", True),
        ("", "https://llm.localhost", True),
        ("", "https://127.0.0.7", True),
        ("", "https://[::1]", True),
        ("", "https://[::ffff:127.0.0.1]", True),
        ("", "https://10.1.2.3", False),
        ("", "https://vendor", False),
    ],
)
def test_what_no_proxy_excepts(entries: str, url: str, direct: bool) -> None:
    """Names with all below them, addresses, networks, ports, everything; this machine in any case."""
    rules = ProxyRules.parse({"ALL_PROXY": PROXY, "NO_PROXY": entries})
    assert (rules.choose(url) is None) is direct


def test_user_info_is_what_authenticates_and_is_never_shown() -> None:
    """Percent-decoded, in UTF-8."""
    proxy = parse_proxy("http://me:p%40ss%C3%BC@proxy.example:3128", "HTTPS_PROXY")
    assert proxy.authorization == "Basic " + b64encode("me:p@ssü".encode()).decode()
    assert proxy.url == PROXY
    assert not [word for word in ("p@ss", "Basic") if word in repr(proxy)]
    assert parse_proxy("proxy.example:3128").url == PROXY
    assert parse_proxy("https://proxy.example").url == "https://proxy.example"


@pytest.mark.parametrize(
    "text", ["socks5://canary:1080", "ftp://canary", "http://", "http://canary:99999", "h\tx"]
)
def test_what_is_not_a_proxy_is_refused_by_its_variable(text: str) -> None:
    """The value may hold a password."""
    with pytest.raises(ConfigError) as caught:
        ProxyRules.parse({"ALL_PROXY": text})
    assert "ALL_PROXY" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("password", ["p#ss", "12#3", "12/3", "12?3", "1@2/3@4"])
def test_a_password_that_is_not_encoded_names_no_other_proxy(password: str) -> None:
    """Its URL would be of a host with the user's name. The error quotes none of it."""
    with pytest.raises(ConfigError) as refused:
        parse_proxy(f"http://mallory:{password}@proxy.example:3128", "HTTPS_PROXY")
    told = f"{refused.value.message} {refused.value.hint}"
    assert "HTTPS_PROXY" in told
    assert password not in told
    assert "mallory" not in told
