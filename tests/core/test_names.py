"""What a path says about its agent."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.names import (
    derive_agent_id,
    derive_owner,
    derive_slug,
    derive_user_id,
    escape_unprintable,
    find_slug_problem,
    is_uuid,
    slug_from_url,
    slug_to_url,
    suggest_slug,
)


@pytest.mark.parametrize(
    ("path", "slug", "owner"),
    [
        ("support.yaml", "support", "default"),
        ("support.yml", "support", "default"),
        ("acme/sales.yaml", "acme/sales", "acme"),
        ("acme/eu/sales.yaml", "acme/eu/sales", "acme"),
        ("v1.2.yaml", "v1.2", "default"),
    ],
)
def test_slug_and_owner(path: str, slug: str, owner: str) -> None:
    """The path without suffix, and its first folder."""
    assert (derive_slug(path), derive_owner(path)) == (slug, owner)


@pytest.mark.parametrize("slug", ["a", "support", "acme/sales", "v1.2", "a_b-c", "A/b.C", "a" * 200])
def test_allowed_slugs(slug: str) -> None:
    """Letters, digits, dots, dashes and underscores."""
    assert find_slug_problem(slug) is None


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "current",
        "5d4f7f0a-6c0b-4b8e-8b0b-0a3a7e2f1c02",
        "two words",
        "Über",
        "a~b",
        ".hidden",
        "a.",
        "-a",
        "_a",
        "a//b",
        "/a",
        "a/",
        "acme/_x",
        "a\nb",
        "a" * 201,
        "acme/..",
        "../etc",
    ],
)
def test_refused_slugs(slug: str) -> None:
    """Reserved, or not fit for a URL, a file system and a log; the proposal is always fit."""
    assert find_slug_problem(slug)
    if slug not in ("current",) and len(slug) < 200 and not is_uuid(slug):
        assert find_slug_problem(suggest_slug(slug)) is None


@given(st.text(max_size=30))
def test_a_proposal_is_fit_or_reserved(text: str) -> None:
    """Whatever a file is called."""
    assert find_slug_problem(suggest_slug(text)) in (None, f"the name {suggest_slug(text)!r} is reserved")


@given(st.text(max_size=30))
def test_printable_text_is_harmless(text: str) -> None:
    """No control character, no line break, no surrogate; and what was harmless is untouched."""
    shown = escape_unprintable(text)
    assert shown.isprintable()
    shown.encode()
    assert shown == text or not text.isprintable()


def test_ids_hang_on_names_and_never_move() -> None:
    """A database that is rebuilt from git has the same ids, also after an upgrade."""
    assert derive_agent_id("support") == UUID("59e6605b-d74b-5cfe-910c-8efbd14978b0")
    assert derive_user_id("default") == UUID("22931552-3706-5f4e-885b-938313d4d288")
    assert derive_agent_id("a") != derive_agent_id("b") != derive_user_id("b")


def test_urls_hold_a_slug_in_one_segment() -> None:
    """``/`` is written ``~``."""
    assert slug_to_url("acme/sales") == "acme~sales"
    assert slug_from_url("acme~sales") == "acme/sales"
