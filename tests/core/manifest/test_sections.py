"""Where the secrets of a manifest's sections go: one rule for files that are checked and agents that run."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.core.manifest.document import Document
from agentsd.core.manifest.sections import find_misdirected_secrets
from agentsd.core.trust.rules import Destinations

HOME, ELSEWHERE = "https://api.example.com", "https://elsewhere.example"
KNOWN = Destinations(frozenset({"api_key"}), {"api_url": f"{HOME}/v1"}, frozenset({HOME}))


def destinations(kind: str, provider: str) -> Destinations | None:
    return KNOWN if (kind, provider) == ("llm", "example.com") else None


def wrong(
    value: dict[str, Any], *sealed: tuple[str | int, ...], opened: bool = True
) -> list[tuple[Any, ...]]:
    document = Document("a.yaml", b"", value)
    read = dict(value) if opened else value
    return [at for at, _ in find_misdirected_secrets(document, read, sealed, destinations, frozenset())]


def section(url: str | None = None, provider: str = "example.com") -> dict[str, Any]:
    return {"provider": provider, "api_key": "k", **({"api_url": url} if url else {})}


@pytest.mark.parametrize("opened", [True, False])
def test_a_plain_address_must_be_the_vendors_own(opened: bool) -> None:
    """Whether or not a key opens the file, and in a fallback as in its section."""
    key = ("llm", "api_key")
    assert wrong({"llm": section()}, key, opened=opened) == []
    assert wrong({"llm": section(ELSEWHERE)}, key, opened=opened) == [("llm", "api_url")]
    nested = {"llm": {**section(), "fallback": [section(), section(ELSEWHERE)]}}
    assert wrong(nested, key, opened=opened) == [("llm", "fallback", 1, "api_url")]


def test_a_sealed_address_is_trusted_where_its_seal_binds_it_to_the_secret() -> None:
    """Between several fallbacks sops binds nothing: an address can be moved from one to the other."""
    value = {"llm": section(ELSEWHERE)}
    assert wrong(value, ("llm", "api_key"), ("llm", "api_url")) == []
    entries = [section(ELSEWHERE), section()]
    sealed = [("llm", "fallback", index, name) for index in (0, 1) for name in ("api_key", "api_url")]
    assert wrong({"llm": {**section(), "fallback": entries[:1]}}, *sealed[:2]) == []
    assert wrong({"llm": {**section(), "fallback": entries}}, *sealed) == [("llm", "fallback", 0, "api_url")]


def test_a_secret_of_an_unknown_vendor_may_go_nowhere() -> None:
    """Nothing is known of where it would be sent."""
    assert wrong({"llm": section(provider="unknown.example")}) == [("llm", "provider")]
