"""Addresses of git repositories: nothing of a credential is shown, and one repository is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.errors import ConfigError
from agentsd.core.trust.remotes import check_ref, parse_remote

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "shown", "identity"),
    [
        ("https://git.org/org/repo.git", "https://git.org/org/repo.git", "git.org/org/repo"),
        ("https://ghp_token@Git.Org:443/org/repo/", "https://git.org/org/repo/", "git.org/org/repo"),
        ("git@git.org:org/repo.git", "ssh://git.org/org/repo.git", "git.org/org/repo"),
        ("ssh://git@git.org:2222/org/repo", "ssh://git.org:2222/org/repo", "git.org/org/repo"),
        ("file:///srv/repo.git", "/srv/repo.git", "/srv/repo"),
        ("/srv/repo.git", "/srv/repo.git", "/srv/repo"),
        ("../repo", "../repo", "../repo"),
    ],
)  # fmt: skip
def test_forms(text: str, shown: str, identity: str) -> None:
    """Each of git's forms, what is shown of it, and what it is."""
    remote = parse_remote(text)
    assert (remote.shown, remote.identity) == (shown, identity)
    assert "ghp_token" not in repr(remote) + str(remote)
    assert parse_remote(remote.shown).identity == remote.identity


@pytest.mark.parametrize(
    "text",
    [
        *("", " /srv/repo", "-oProxyCommand=x", "https://", "https:///path", "ftp://example.org/x"),
        *("ext::sh -c true", "https://user:hunter22@example.org/x", "https://example.org/x?token=hunter22"),
        *("https://example.org/x#hunter22", "https://example.org:port/x", "a\nb", "https://[hunter22/x"),
    ],
)
def test_what_is_refused(text: str) -> None:
    """Passwords, other transports and nonsense, without a word of what was given."""
    with pytest.raises(ConfigError) as refused:
        parse_remote(text)
    assert "hunter22" not in str(refused.value)


@given(WORD, WORD, WORD, WORD)
def test_user_and_protocol_make_no_difference(user: str, host: str, owner: str, name: str) -> None:
    """A source that moves from ssh to https is still the same; what names the user is never shown."""
    secret = f"zz{user}zz"
    texts = [
        f"https://{secret}@{host}.org/{owner}/{name}",
        f"ssh://{secret}@{host}.org/{owner}/{name}.git",
        f"{secret}@{host}.org:{owner}/{name}.git",
    ]
    remotes = [parse_remote(text) for text in texts]
    assert {remote.identity for remote in remotes} == {f"{host}.org/{owner}/{name}"}
    assert not any(secret in remote.shown + repr(remote) for remote in remotes)


def test_refs() -> None:
    """Names that git could not mean, or could take for an option or a pattern, are refused."""
    for ref in ("main", "HEAD", "refs/heads/x", "v1.0", "feature/a-b", "0" * 40):
        assert check_ref(ref) == ref
    for ref in (
        "",
        "-x",
        "+main",
        "a b",
        "a:b",
        "a..b",
        "a^",
        "a~1",
        "*",
        "a?",
        "a\\b",
        "/a",
        "a/",
        "a.lock",
        "@{u}",
    ):
        with pytest.raises(ConfigError):
            check_ref(ref)
