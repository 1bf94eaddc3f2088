"""API tokens as values: their form, their end, and the entries of a user file."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.api_tokens import (
    RANDOM_BYTES,
    ListedToken,
    add_token,
    hash_token,
    list_tokens,
    make_token,
    make_token_entry,
    remove_token,
    resolve_expiry,
    user_path,
)
from agentsd.core.errors import ConfigError
from tests.tokens import is_token

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

entries = st.fixed_dictionaries(
    {"name": st.text("ab", min_size=1, max_size=3), "sha256": st.just(HASH), "role": st.just("viewer")}
)
values = st.fixed_dictionaries(
    {}, optional={"email": st.just("a@example.org"), "tokens": st.lists(entries, max_size=4)}
)


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES), st.data())
def test_a_scanner_tells_a_token(random: bytes, data: st.DataObject) -> None:
    """Every token has the form that is told to scanners; one with another character in it is none."""
    token = make_token(random)
    assert is_token(token)
    assert hash_token(token) == sha256(token.encode()).hexdigest()
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("abAB01-_").filter(lambda char: char != token[place]))
    assert not is_token(token[:place] + other + token[place + 1 :])


def test_a_known_token() -> None:
    """The form never changes: whoever scans for it relies on it."""
    assert make_token(bytes(32)) == "agentsd_" + "A" * 43 + "32BKV9"
    with pytest.raises(ValueError, match="32 bytes"):
        make_token(b"short")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("90d", "2027-02-20"),
        ("2w", "2026-12-06"),
        ("1y", "2027-11-22"),
        ("12h", "2026-11-23T05:30:00Z"),
        ("2027-01-31", "2027-01-31"),
        ("2026-11-22", "2026-11-22"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
    ],
)
def test_an_expiry(said: str, written: str) -> None:
    """How long, the last valid day, or a moment; today is still valid."""
    assert resolve_expiry(said, NOW) == written


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("2026-11-21", "is in the past"),
        ("2026-11-22T17:30:00Z", "is in the past"),
        ("2027-02-30", "is not a time"),
        ("0d", "is not a time"),
        ("-1d", "is not a time"),
        ("90", "is not a time"),
        ("99999y", "is not a time"),
        ("tomorrow", "is not a time"),
        ("9٠d", "is not a time"),
        ("", "is not a time"),
    ],
)
def test_an_expiry_that_is_none(said: str, why: str) -> None:
    """Never taken for something else: a mistake must not make a token eternal."""
    with pytest.raises(ConfigError, match=why):
        resolve_expiry(said, NOW)


@pytest.mark.parametrize("owner", ["a/b", "", "_x", "current", "..", "a b", "x" * 300])
def test_an_owner_that_cannot_be(owner: str) -> None:
    """No path leads out of the tree."""
    with pytest.raises(ConfigError):
        user_path(owner)


def test_where_tokens_stand() -> None:
    """At the top for ``default``, else in the owner's folder."""
    assert (user_path("default"), user_path("acme")) == ("_user.yaml", "acme/_user.yaml")


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "-x", "x-", "ä", "a/b", "<x>", "x" * 101])
def test_a_name_that_cannot_be(name: str) -> None:
    """It stands in logs, commits and audits as it is."""
    with pytest.raises(ConfigError, match="not a valid token name"):
        make_token_entry(name, "default", "viewer", HASH, None)


def test_only_the_top_makes_admins() -> None:
    """An owner's file would make its owner an admin of all."""
    assert make_token_entry("root", "default", "admin", HASH, None)["role"] == "admin"
    with pytest.raises(ConfigError, match="cannot list one"):
        make_token_entry("root", "acme", "admin", HASH, None)


@given(values, entries)
def test_adding_and_taking_away(value: dict[str, Any], entry: dict[str, Any]) -> None:
    """A name stands once; what is added can be taken away, and nothing else changes on the way."""
    names = [token["name"] for token in value.get("tokens", [])]
    if entry["name"] in names:
        with pytest.raises(ConfigError, match="already"):
            add_token(value, entry)
        gone = remove_token(value, entry["name"])
        assert [token["name"] for token in gone["tokens"]] == [n for n in names if n != entry["name"]]
        return
    more = add_token(value, entry)
    assert more["tokens"][-1] == entry
    assert remove_token(more, entry["name"]) == {"tokens": [], **value}
    with pytest.raises(ConfigError, match="no token"):
        remove_token(value, entry["name"])


def test_a_near_name_is_suggested() -> None:
    """A slip of the finger when something must be revoked in a hurry."""
    with pytest.raises(ConfigError) as caught:
        remove_token({"tokens": [{"name": "laptop"}]}, "labtop")
    assert "laptop" in caught.value.hint


def test_how_tokens_are_listed() -> None:
    """Never the whole hash; an end that is no day has passed."""
    tokens = [
        {"name": "a", "sha256": HASH, "role": "editor", "expires": "2026-11-21"},
        {"name": "b", "sha256": HASH, "expires": "2027-02-30"},
        {"name": "c", "sha256": HASH, "expires": "2026-11-22"},
    ]
    assert [*list_tokens("acme", tokens, NOW)] == [
        ListedToken("acme", "a", "editor", "2026-11-21", True, "9f86d081"),
        ListedToken("acme", "b", "viewer", "2027-02-30", True, "9f86d081"),
        ListedToken("acme", "c", "viewer", "2026-11-22", False, "9f86d081"),
    ]
