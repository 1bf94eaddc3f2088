"""Edits as values: which secrets stay, which may not, and what a body may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.edit import (
    API_FIELDS,
    InvalidEdit,
    SecretNeeded,
    extract_fields,
    merge_fields,
    replace_fields,
)
from agentsd.core.manifest.pointers import iter_leaves
from agentsd.core.secret import MASK
from agentsd.core.trust.rules import Destinations

SEALED = "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]"
OTHER = "ENC[AES256_GCM,data:BBBB,iv:BBBB,tag:BBBB,type:str]"
PROVIDERS = ("groq.com", "openai-compatible")
URLS = ("https://a.example", "https://a.example/v1", "https://b.example", None)


def home(kind: str, provider: str) -> Destinations | None:
    """Two vendors with one secret and one address each."""
    if provider not in PROVIDERS:
        return None
    return Destinations(frozenset({"api_key"}), {"api_url": "https://a.example"}, frozenset())


def never(_: Any) -> bool:
    """No rule seals anything."""
    return False


def manifest(**section: Any) -> dict[str, Any]:
    """An agent with one sealed section."""
    return {"id": "x", "name": "A", "llm": {"provider": "groq.com", "api_key": SEALED, **section}}


sections = st.fixed_dictionaries(
    {"provider": st.sampled_from(PROVIDERS)},
    optional={
        "api_url": st.sampled_from([url for url in URLS if url]),
        "api_key": st.sampled_from([MASK, SEALED, OTHER, "sk-new", None]),
        "model": st.text(max_size=5),
    },
)


@given(sections, st.booleans(), st.sampled_from(URLS))
def test_a_kept_secret_never_goes_elsewhere(section: dict[str, Any], merge: bool, url: str | None) -> None:
    """The old ciphertext stays only with its provider and origin, and none is moved in."""
    current = manifest(**({"api_url": url} if url else {}))
    try:
        edit = (merge_fields if merge else replace_fields)(current, {"llm": section}, home, never)
    except InvalidEdit:
        return
    after = edit.value["llm"]
    key = after.get("api_key")
    assert key in (None, SEALED)
    if key == SEALED and ("llm", "api_key") not in edit.secrets:
        assert after["provider"] == "groq.com"
        before, now = url or "https://a.example", after.get("api_url", "https://a.example")
        assert before.split("/")[2] == now.split("/")[2]
    assert "sk-new" not in [leaf for _, leaf in iter_leaves(edit.value)]


@given(
    st.dictionaries(
        st.sampled_from(["name", "description", "greeting", "language"]), st.text(min_size=1, max_size=9)
    )
)
def test_an_empty_patch_changes_nothing(texts: dict[str, str]) -> None:
    """And a patch of what is there already does not either."""
    current = manifest() | texts
    assert merge_fields(current, {}, home, never).value == current
    same = merge_fields(current, texts, home, never)
    assert (same.value, same.secrets) == (current, {})


def test_put_removes_what_it_does_not_say_but_not_the_secret() -> None:
    """Fields go, the id and the secret stay; null takes the secret, too."""
    current = manifest(model="m") | {"greeting": "Hi"}
    body = {"name": "A", "llm": {"provider": "groq.com"}}
    assert replace_fields(current, body, home, never).value == manifest()
    body["llm"] = {"provider": "groq.com", "api_key": None}
    assert replace_fields(current, body, home, never).value["llm"] == {"provider": "groq.com"}


def test_another_provider_starts_anew() -> None:
    """A patch of the provider leaves nothing of the old section behind."""
    edit = merge_fields(manifest(model="m"), {"llm": {"provider": "openai-compatible"}}, home, never)
    assert edit.value["llm"] == {"provider": "openai-compatible"}


def test_the_secret_of_a_fallback_stays_in_its_place() -> None:
    """A mask stands for what is at its index; another provider there needs its own."""
    entry = {"provider": "openai-compatible", "api_key": OTHER}
    current = manifest(fallback=[entry])
    body = {"llm": {"fallback": [{"provider": "openai-compatible", "api_key": MASK}]}}
    assert merge_fields(current, body, home, never).value == current
    body["llm"]["fallback"][0]["provider"] = "groq.com"
    with pytest.raises(SecretNeeded) as refused:
        merge_fields(current, body, home, never)
    assert refused.value.param == "llm_provider_config.fallback[0].api_key"


def test_what_is_sealed_stays_sealed() -> None:
    """A new text for a sealed prompt is a secret; so is one that the file's rule names."""
    current = manifest() | {"system_prompt": OTHER}
    edit = merge_fields(
        current, {"system_prompt": "new", "greeting": "hi"}, home, lambda at: at == ("greeting",)
    )
    assert edit.secrets == {("system_prompt",): "new", ("greeting",): "hi"}
    assert edit.value == current


@pytest.mark.parametrize(
    ("body", "param"),
    [({"nmae": "x"}, "nmae"), ({"slug": "b"}, "slug"), ({"user": "acme"}, "user"), ({"sops": {}}, "sops")],
)
def test_a_body_says_only_what_can_be_said(body: dict[str, Any], param: str) -> None:
    """Unknown fields and another identity are refused by name."""
    with pytest.raises(InvalidEdit) as refused:
        extract_fields(body, {"id": "x", "slug": "a", "user": "default"})
    assert refused.value.param == param


def test_every_field_of_a_manifest_can_be_edited() -> None:
    """The API's words cover the manifest's, but for its id, and that it outlives its file."""
    from agentsd.core.manifest.agent import SECTIONS, AgentHead

    assert set(API_FIELDS.values()) == {*AgentHead.model_fields, *SECTIONS} - {"id", "prune"}
