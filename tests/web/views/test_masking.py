"""Masking, JSON and depth: pure."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.masker import Masker
from agentsd.core.secret import MASK
from agentsd.web.http.json import to_json
from agentsd.web.json_body import measure_depth
from agentsd.web.views.agent import ConditionReply

SEALED = "ENC[AES256_GCM,data:Q2FuYXJ5,iv:aXY=,tag:dGFn,type:str]"
MASKER = Masker(frozenset({"special_field"}))

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
hidden = st.recursive(
    st.just(SEALED) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(hidden)
def test_no_sealed_value_is_ever_shown(value: Any) -> None:
    """Wherever a sealed string stands, the mask stands in its place."""
    assert "Q2FuYXJ5" not in json.dumps(MASKER.mask(value))


@given(st.sampled_from(["api_key", "special_field", "x_token", "Password", "client_secret"]), plain)
def test_a_secret_field_is_masked_even_in_plain(name: str, value: Any) -> None:
    """What was written in plain by hand is not shown either."""
    shown = MASKER.mask({"llm": {name: value}})["llm"][name]
    assert shown == MASK or (value in (None, "") and shown == value)


def test_what_is_no_secret_stays() -> None:
    """Limits that merely sound like secrets, dates and numbers are shown; the seal's block is not."""
    value = {"max_tokens": 5, "top_k": 0.5, "when": datetime(2026, 1, 2, tzinfo=UTC), "sops": {"mac": "x"}}
    assert MASKER.mask(value) == {key: item for key, item in value.items() if key != "sops"}


def test_a_foreign_type_is_masked() -> None:
    """What no manifest can hold is hidden rather than shown."""
    assert MASKER.mask({"x": b"bytes"}) == {"x": MASK}


@given(plain)
def test_json_takes_all_that_a_manifest_can_hold(value: Any) -> None:
    """Huge integers and lone surrogates included."""
    assert isinstance(json.loads(to_json(value)), type(value)) or isinstance(value, float)


def test_json_writes_surrogates_and_huge_integers() -> None:
    """What orjson refuses is written nevertheless."""
    assert json.loads(to_json({"a": "\ud800", "b": 2**70})) == {"a": "\ud800", "b": 2**70}


def test_what_orjson_refuses_is_written_in_the_same_form() -> None:
    """A reply with a huge integer in a manifest's section has the same members and dates as any other."""
    condition = ConditionReply("Ready", "Opened", "", datetime(2026, 1, 2, tzinfo=UTC))
    usual, unusual = ({"turn": {"x": number}, "condition": condition} for number in (1, 2**70))
    written = json.loads(to_json(unusual))
    assert written["turn"] == {"x": 2**70}
    assert written["condition"] == json.loads(to_json(usual))["condition"]
    assert written["condition"]["since"] == "2026-01-02T00:00:00Z"


@given(st.integers(0, 300))
def test_depth_counts_nesting(depth: int) -> None:
    """Lists and objects alike, without recursion."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    assert measure_depth(value) == depth
