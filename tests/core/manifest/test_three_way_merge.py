"""Merging documents field by field, and how a sealed one shows in a diff."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.three_way_merge import MergedDocument, SealedLeaf, is_identical, merge_documents
from agentsd.core.trust.rules import Destinations
from agentsd.core.trust.sealed_text import mask_sealed_text

leaf = st.one_of(
    st.text(max_size=2), st.integers(0, 3), st.booleans(), st.builds(SealedLeaf, st.text(max_size=1))
)
documents = st.dictionaries(
    st.sampled_from(["a", "provider", "api_url", "key"]),
    st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["provider", "x"]), inner, max_size=2)
        ),
        max_leaves=6,
    ),
    max_size=4,
)
BASE = {"name": "A", "llm": {"provider": "groq.com", "api_key": SealedLeaf("1"), "model": "m"}}


def llm(**changes: Any) -> dict[str, Any]:
    return {**BASE, "llm": {**BASE["llm"], **changes}}  # type: ignore[dict-item]


@given(documents, documents)
def test_one_side_alone(base: dict[str, Any], side: dict[str, Any]) -> None:
    """What only one side changed is that side's, whichever it is; what both changed alike is that."""
    for merged in (
        merge_documents(base, side, base),
        merge_documents(base, base, side),
        merge_documents(base, side, side),
    ):
        assert is_identical(merged.value, side)
        assert merged.conflicts == ()


@given(documents, documents, documents)
def test_both_sides(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Which side is whose decides nothing but what a conflict leaves; without one, the two agree."""
    one, other = merge_documents(base, ours, theirs), merge_documents(base, theirs, ours)
    assert set(one.conflicts) == set(other.conflicts)
    if not one.conflicts:
        assert is_identical(one.value, other.value)


def test_fields_of_one_section() -> None:
    """Each side's field, in the order of ours, a new one behind the one that it follows."""
    theirs = {**llm(model="n"), "greeting": "hi"}
    theirs = {"name": "A", "language": "en", **{key: theirs[key] for key in ("llm", "greeting")}}
    merged = merge_documents(BASE, llm(api_key=SealedLeaf("2")), theirs)
    assert [*merged.value] == ["name", "language", "llm", "greeting"]
    assert merged.value["llm"] == {"provider": "groq.com", "api_key": SealedLeaf("2"), "model": "n"}


@pytest.mark.parametrize("moved", [{"provider": "openai.com"}, {"api_url": "https://x.example"}])
def test_a_secret_goes_where_one_side_meant_it_to(moved: dict[str, str]) -> None:
    """Neither side sent the new key to the new address: the whole section stays ours."""
    keyed = llm(api_key=SealedLeaf("2"))
    assert merge_documents(BASE, llm(**moved), keyed) == MergedDocument(llm(**moved), (("llm", "api_key"),))
    assert merge_documents(BASE, keyed, llm(**moved)) == MergedDocument(keyed, (("llm", "api_key"),))
    both = llm(**moved, api_key=SealedLeaf("2"))
    assert merge_documents(BASE, both, BASE).conflicts == ()


@pytest.mark.parametrize("place", [("llm",), ("llm", "fallback", 0)])
def test_a_vendors_own_names_of_addresses_and_secrets_count(place: tuple[str | int, ...]) -> None:
    """Those of a plug-in, too: neither word is one that addresses and secrets usually have."""
    known = Destinations(frozenset({"endpoint_key"}), {"server": None}, frozenset())

    def make(**changed: str | SealedLeaf) -> dict[str, Any]:
        section = {
            "provider": "plug.example",
            "server": "a.example",
            "endpoint_key": SealedLeaf("1"),
        } | changed
        return {"llm": section if len(place) == 1 else {"provider": "echo.local", "fallback": [section]}}

    base, moved, keyed = make(), make(server="b.example"), make(endpoint_key=SealedLeaf("2"))
    for ours, theirs in ((moved, keyed), (keyed, moved)):
        merged = merge_documents(
            base, ours, theirs, lambda kind, name: known if name == "plug.example" else None
        )
        assert merged == MergedDocument(ours, ((*place, "endpoint_key"),))


def test_lists() -> None:
    """Sections by their places while there are as many; other lists as a whole."""
    base = {"fallback": [{"model": "a"}, {"model": "b"}], "words": ["x"]}
    ours = {"fallback": [{"model": "c"}, {"model": "b"}], "words": ["x", "y"]}
    theirs = {"fallback": [{"model": "a"}, {"model": "d"}], "words": ["z"]}
    merged = merge_documents(base, ours, theirs)
    assert merged.value["fallback"] == [{"model": "c"}, {"model": "d"}]
    assert (merged.value["words"], merged.conflicts) == (["x", "y"], (("words",),))


def test_types_count() -> None:
    """1, 1.0 and true are three things."""
    assert not is_identical(1, True)
    assert not is_identical({"a": 1}, {"a": 1.0})
    assert merge_documents({"a": 1}, {"a": True}, {"a": 1}).value == {"a": True}


def test_a_sealed_value_does_not_show() -> None:
    """Not in a repr, and so in no traceback."""
    assert "1" not in repr(merge_documents(BASE, BASE, BASE))


SEALED = """\
# a comment
llm:
    api_key: ENC[AES256_GCM,data:{},iv:aXY=,tag:dGFn,type:str]
    model: m
sops:
    age:
        - recipient: age1b
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdl
            -----END AGE ENCRYPTED FILE-----
        - recipient: age1a
    lastmodified: "2026-01-01T00:00:00Z"
    mac: ENC[AES256_GCM,data:bWFj,iv:aXY=,tag:dGFn,type:str]
name: behind
"""


def test_a_masked_manifest() -> None:
    """A hash for each seal, the keys that open it, and nothing that every edit renews."""
    text = mask_sealed_text(SEALED.format("YQ=="))
    assert text.splitlines()[:2] + text.splitlines()[3:] == [
        "# a comment",
        "llm:",
        "    model: m",
        "name: behind",
        "# sealed to age1a",
        "# sealed to age1b",
    ]
    assert text != mask_sealed_text(SEALED.format("Yg=="))
    assert mask_sealed_text("a: 1") == "a: 1\n"
    assert mask_sealed_text("") == ""


@given(st.text())
def test_masking_never_fails(text: str) -> None:
    """Whatever is in the file; what holds no seal stays as it is."""
    assert mask_sealed_text(text).startswith(text) or "sops:" in text or "ENC[" in text
