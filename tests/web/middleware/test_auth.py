"""Tokens, host names and origins: pure."""

from hashlib import sha256
from pathlib import Path

import pytest

from agentsd.core.access import OPERATOR
from agentsd.core.errors import ConfigError
from agentsd.web.middleware.auth import (
    AccessPolicy,
    FileTokens,
    check_bind,
    is_loopback,
    load_tokens,
    parse_bearer,
    strip_port,
)

TOKEN = "correct-horse-battery-staple"
TOKENS = FileTokens((sha256(TOKEN.encode()).digest(), sha256(b"another-token-of-ours").digest()))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_no_token(host: str) -> None:
    """A server that only this machine reaches may be open."""
    assert is_loopback(host)
    check_bind([host], known=False)


@pytest.mark.parametrize(
    "host", [".".join("0000"), "::", "", "192.0.2.7", "example.org", "localhost.example.org"]
)
def test_another_bind_needs_a_token(host: str) -> None:
    """A server that others reach is refused without tokens, and the error says how to have some."""
    with pytest.raises(ConfigError) as caught:
        check_bind(["127.0.0.1", host], known=False)
    assert "AGENTSD_TOKEN_FILE" in caught.value.hint
    assert "agentsd token create" in caught.value.hint
    check_bind([host], known=True)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        ("Bearer another-token-of-ours", True),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer ", False),
        (f"Bearer {TOKEN}x", False),
        ("Bearer \udcff", False),
        (None, False),
    ],
)
def test_only_known_bearer_tokens_are_accepted(header: str | None, accepted: bool) -> None:
    """Any listed token, as Bearer, and nothing else."""
    token = parse_bearer(header)
    assert (token is not None and AccessPolicy(TOKENS).book.find(token) is not None) is accepted


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LocalHost:8080", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("127.0.0.2:8080", True),
        ("agents.internal", True),
        ("agents.internal:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:8080@evil.example", False),
        ("localhost:x", False),
        ("", False),
        (None, False),
    ],
)
def test_an_open_server_answers_only_to_its_names(host: str | None, allowed: bool) -> None:
    """A rebound DNS name is another name."""
    assert AccessPolicy(hosts=frozenset({"Agents.Internal"})).host_allowed(host) is allowed


def test_with_tokens_the_host_matters_only_if_configured() -> None:
    """A token proves more than a name; configured names still bind."""
    assert AccessPolicy(TOKENS).host_allowed("anything.example")
    assert not AccessPolicy(TOKENS, frozenset({"agents.internal"})).host_allowed("anything.example")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:8080", False),
        ("https://ui.example:8443", True),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_a_change_must_come_from_our_own_pages(origin: str | None, allowed: bool) -> None:
    """Same origin, a configured one, or no browser at all."""
    access = AccessPolicy(hosts=frozenset({"ui.example:8443"}))
    assert access.origin_allowed(origin, "127.0.0.1:8080") is allowed


def test_bare_host_of_nonsense_is_empty() -> None:
    """What is no host names nothing."""
    assert strip_port("[::1") == ""
    assert strip_port("a:b:c") == ""


def test_a_token_file_holds_plain_and_hashed_tokens(tmp_path: Path) -> None:
    """Comments and empty lines are skipped; a hash stands for its token."""
    file = tmp_path / "tokens"
    hashed = sha256(b"a-token-kept-elsewhere").hexdigest().upper()
    file.write_text(f"# ours\n\n{TOKEN}\r\nsha256:{hashed}\n")
    book = AccessPolicy(load_tokens(file)).book
    assert book.find(TOKEN) is OPERATOR
    assert book.find("a-token-kept-elsewhere") is OPERATOR
    assert book.find(f"sha256:{hashed}") is None


def test_no_file_is_no_token() -> None:
    """Without the setting there are no tokens."""
    assert not load_tokens(None)


@pytest.mark.parametrize(
    "content",
    ["", "# nothing\n", "short\n", "sha256:abc\n", "has a blank in the middle\n", "müller-müller-müller\n"],
)
def test_an_unusable_token_file_is_refused(tmp_path: Path, content: str) -> None:
    """Empty, short or malformed: an error that names the file and shows no token."""
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_tokens(file)
    assert str(file) in caught.value.message
    assert not content.strip() or content.strip() not in str(caught.value)


def test_a_missing_or_binary_token_file_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read is told as such."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tokens(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_tokens(tmp_path / "binary")
