"""Merging documents field by field, and how a sealed one shows in a diff."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.three_way_merge import Merged, Sealed, alike, merge
from agentsd.core.trust.masking import masked

leaf = st.one_of(
    st.text(max_size=2), st.integers(0, 3), st.booleans(), st.builds(Sealed, st.text(max_size=1))
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
BASE = {"name": "A", "llm": {"provider": "groq.com", "api_key": Sealed("1"), "model": "m"}}


def llm(**changes: Any) -> dict[str, Any]:
    return {**BASE, "llm": {**BASE["llm"], **changes}}  # type: ignore[dict-item]


@given(documents, documents)
def test_one_side_alone(base: dict[str, Any], side: dict[str, Any]) -> None:
    """What only one side changed is that side's, whichever it is; what both changed alike is that."""
    for merged in (merge(base, side, base), merge(base, base, side), merge(base, side, side)):
        assert alike(merged.value, side)
        assert merged.conflicts == ()


@given(documents, documents, documents)
def test_both_sides(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Which side is whose decides nothing but what a conflict leaves; without one, the two agree."""
    one, other = merge(base, ours, theirs), merge(base, theirs, ours)
    assert set(one.conflicts) == set(other.conflicts)
    if not one.conflicts:
        assert alike(one.value, other.value)


def test_fields_of_one_section() -> None:
    """Each side's field, in the order of ours, a new one behind the one that it follows."""
    theirs = {**llm(model="n"), "greeting": "hi"}
    theirs = {"name": "A", "language": "en", **{key: theirs[key] for key in ("llm", "greeting")}}
    merged = merge(BASE, llm(api_key=Sealed("2")), theirs)
    assert [*merged.value] == ["name", "language", "llm", "greeting"]
    assert merged.value["llm"] == {"provider": "groq.com", "api_key": Sealed("2"), "model": "n"}


@pytest.mark.parametrize("moved", [{"provider": "openai.com"}, {"api_url": "https://x.example"}])
def test_a_secret_goes_where_one_side_meant_it_to(moved: dict[str, str]) -> None:
    """Neither side sent the new key to the new address: the whole section stays ours."""
    keyed = llm(api_key=Sealed("2"))
    assert merge(BASE, llm(**moved), keyed) == Merged(llm(**moved), (("llm", "api_key"),))
    assert merge(BASE, keyed, llm(**moved)) == Merged(keyed, (("llm", "api_key"),))
    both = llm(**moved, api_key=Sealed("2"))
    assert merge(BASE, both, BASE).conflicts == ()


def test_lists() -> None:
    """Sections by their places while there are as many; other lists as a whole."""
    base = {"fallback": [{"model": "a"}, {"model": "b"}], "words": ["x"]}
    ours = {"fallback": [{"model": "c"}, {"model": "b"}], "words": ["x", "y"]}
    theirs = {"fallback": [{"model": "a"}, {"model": "d"}], "words": ["z"]}
    merged = merge(base, ours, theirs)
    assert merged.value["fallback"] == [{"model": "c"}, {"model": "d"}]
    assert (merged.value["words"], merged.conflicts) == (["x", "y"], (("words",),))


def test_types_count() -> None:
    """1, 1.0 and true are three things."""
    assert not alike(1, True)
    assert not alike({"a": 1}, {"a": 1.0})
    assert merge({"a": 1}, {"a": True}, {"a": 1}).value == {"a": True}


def test_a_sealed_value_does_not_show() -> None:
    """Not in a repr, and so in no traceback."""
    assert "1" not in repr(merge(BASE, BASE, BASE))


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
    text = masked(SEALED.format("YQ=="))
    assert text.splitlines()[:2] + text.splitlines()[3:] == [
        "# a comment",
        "llm:",
        "    model: m",
        "name: behind",
        "# sealed to age1a",
        "# sealed to age1b",
    ]
    assert text != masked(SEALED.format("Yg=="))
    assert masked("a: 1") == "a: 1\n"
    assert masked("") == ""


@given(st.text())
def test_masking_never_fails(text: str) -> None:
    """Whatever is in the file; what holds no seal stays as it is."""
    assert masked(text).startswith(text) or "sops:" in text or "ENC[" in text
