"""What of a vendor's completion is passed on: an allow-list at every depth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.errors import ProviderError
from agentsd.core.secret import MASK
from agentsd.providers.base import ProviderProtocolError, ProviderRateLimited, ProviderUnavailable
from agentsd.providers.errors import VendorRef
from agentsd.providers.llm.completion import CALLS_MAX, CHOICES_MAX, Normalizer
from agentsd.providers.redaction import HOLD_AFTER, RedactedStream, Redactor
from tests.vendors.leaves import chunk, completion, mutated

KEY = "sk-canary-7d1f0a9b3c5e"
WHO = VendorRef("groq.com", "llm")
HOSTILE = (
    KEY,
    f"Incorrect API key provided: {KEY}.",
    f"fp_{KEY}",
    KEY[:-1] + KEY,
    {KEY: KEY},
    [KEY],
    [[{KEY: [KEY]}]],
)
ODD = (None, True, 1e308, -1, 1 << 62, "", [], {}, [[]], [None], {"a": 1}, "x" * 100, 0.5, [1, "a", {}])


def whole(answer: Any) -> dict[str, Any]:
    return Normalizer(WHO, Redactor([KEY])).whole(answer)


def passed_on(answer: Any, *, streamed: bool) -> str:
    """What a client could see of ``answer``: the reply or the error."""
    normalizer = Normalizer(WHO, Redactor([KEY]))
    try:
        return json.dumps(normalizer.chunk(answer) if streamed else normalizer.whole(answer))
    except ProviderError as error:
        return f"{error.message} {error.hint}"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("put", HOSTILE, ids=range(len(HOSTILE)))
def test_a_key_in_any_place_is_not_passed_on(put: Any, streamed: bool) -> None:
    """As a value, a name of a member, an object or a list: whole answers and chunks alike."""
    for path, answer in mutated(chunk() if streamed else completion(), put):
        assert KEY not in passed_on(answer, streamed=streamed), path


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("put", ODD, ids=range(len(ODD)))
def test_an_odd_value_in_any_place_is_an_answer_or_a_typed_error(put: Any, streamed: bool) -> None:
    """Whatever a vendor sends costs one request, and what is passed on is JSON."""
    for _, answer in mutated(chunk() if streamed else completion(), put):
        assert passed_on(answer, streamed=streamed)
    assert passed_on(put, streamed=streamed)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(KEY),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "delta", "usage", "error", "tool_calls", "content", KEY]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=30,
    )
)
def test_nothing_but_provider_errors_is_raised(answer: Any) -> None:
    """For any JSON at all."""
    for streamed in (False, True):
        assert KEY not in passed_on(answer, streamed=streamed)


def test_an_ordinary_answer_is_whole() -> None:
    """All that clients rely on is there, as it came."""
    answer, told = completion(), whole(completion())
    (choice,), (mine,) = answer["choices"], told["choices"]
    for field in ("content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "annotations", "audio"):  # noqa: E501  # fmt: skip
        expected = choice["message"][field]
        if field == "tool_calls":
            expected = [{key: value for key, value in call.items() if key != "index"} for call in expected]
        assert mine["message"][field] == expected, field
    assert (mine["finish_reason"], mine["logprobs"]) == ("stop", choice["logprobs"])
    assert told["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert told["service_tier"] == "default"
    assert told["system_fingerprint"] == "fp_0123456789"
    assert {"id", "model", "x_groq", "timings", "citations", "provider"}.isdisjoint(told)


def test_an_ordinary_chunk_is_as_it_came() -> None:
    """Without more fields than the vendor's."""
    delta = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
    told = Normalizer(WHO, Redactor([KEY])).chunk({"id": "x", "object": "o", "created": 5, **delta})
    assert told == {"object": "chat.completion.chunk", "created": 5, **delta}


@pytest.mark.parametrize(
    "choice",
    [
        {"finish_reason": "error", "error": {"message": f"bad key {KEY}", "code": 502}, "message": {}},
        {"finish_reason": "error", "message": {"role": "assistant", "content": ""}},
        {"error": {"message": KEY}, "message": {"content": "Hi"}},
        {"message": {"content": "Hi", "error": {"message": KEY}}, "finish_reason": "stop"},
        {"message": {"content": "Hi"}, "finish_reason": "abort"},
    ],
)
def test_an_error_inside_a_choice_is_a_failure(choice: Any) -> None:
    """OpenRouter reports a failing provider with status 200 in the choice."""
    with pytest.raises(ProviderUnavailable) as caught:
        whole({"choices": [choice]})
    assert KEY not in str(caught.value)


def test_an_error_keeps_its_kind() -> None:
    """A rate limit inside a choice is one."""
    with pytest.raises(ProviderRateLimited):
        whole({"choices": [{"error": {"code": 429, "message": KEY}}]})
    with pytest.raises(ProviderUnavailable):
        whole({"object": "error", "message": KEY, "code": 50300})


@pytest.mark.parametrize(
    "usage", [[1], "x", 5, {"prompt_tokens": "5"}, {"total_tokens": -1}, {"total_tokens": [1]}]
)
def test_a_usage_that_does_not_count_is_a_failure(usage: Any) -> None:
    """An odd one once wrote an error page into an open WebSocket."""
    with pytest.raises(ProviderProtocolError, match="usage"):
        whole({**completion(), "usage": usage})


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        ({"choices": [{}] * (CHOICES_MAX + 1)}, CHOICES_MAX),
        ({"choices": [{"message": {"tool_calls": [{}] * (CALLS_MAX + 1)}}]}, CALLS_MAX),
    ],
)
def test_a_message_names_the_limit(answer: Any, limit: int) -> None:
    """So that whoever reads it knows what to look for."""
    with pytest.raises(ProviderProtocolError, match=f"more than {limit} "):
        whole(answer)


def test_tool_calls_keep_ids_that_cannot_be_a_key() -> None:
    """The vendor gets them back; anything else is replaced by one of ours, the same shape everywhere."""
    ids = [
        "call_1",
        "functions.get:0",
        "D681PevKs",
        KEY,
        f"x{KEY}x",
        KEY[:12],
        "spaces are no id",
        5,
        None,
        "",
    ]
    calls = [{"id": one, "function": {"name": "f", "arguments": {"a": 1}}} for one in ids]
    (choice,) = whole({"choices": [{"message": {"tool_calls": calls}}]})["choices"]
    told = [call["id"] for call in choice["message"]["tool_calls"]]
    assert told[:3] == ids[:3]
    assert all(one.startswith("call_") and len(one) == 29 for one in told[3:])
    assert {call["function"]["arguments"] for call in choice["message"]["tool_calls"]} == {'{"a":1}'}


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.integers(0, 200), max_size=30))
def test_a_key_that_is_cut_into_pieces_is_masked(before: str, after: str, cuts: list[int]) -> None:
    """However it is cut; at most its beginning has left by then."""
    stream = RedactedStream(Redactor([KEY]))
    text = f"{before}{KEY}{after}"
    sent = "".join(stream.take(piece) for piece in pieces(text, cuts))
    assert KEY[:HOLD_AFTER] not in sent
    assert MASK in sent
    assert sent.endswith(after) or KEY.startswith(after[-1:])


@given(st.text("sk-canary x", max_size=60), st.lists(st.integers(0, 80), max_size=10))
def test_other_texts_are_not_changed(text: str, cuts: list[int]) -> None:
    """Not even those that begin like the key; none of it waits."""
    stream = RedactedStream(Redactor([KEY]))
    assert "".join(stream.take(piece) for piece in pieces(text, cuts)) == text or KEY[:HOLD_AFTER] in text


def test_short_secrets_are_words() -> None:
    """Local servers are given `none` for a key, and every answer may hold that word."""
    assert Redactor(["none"]).redact("none of them") == "none of them"
    assert RedactedStream(Redactor(["none"])).take("none of them") == "none of them"


def test_tokens_of_a_masked_text_are_dropped() -> None:
    """They would spell the key."""
    answer = completion()
    answer["choices"][0]["message"]["content"] = f"It is {KEY}."
    (choice,) = whole(answer)["choices"]
    assert choice["message"]["content"] == f"It is {MASK}."
    assert "logprobs" not in choice


@pytest.mark.parametrize(
    "written",
    ["sk/canary+of&beta77", "sk%2Fcanary%2Bof%26beta77", "sk\\/canary+of&beta77", "sk/canary+of&amp;beta77"],
)
def test_a_key_is_masked_as_texts_write_it(written: str) -> None:
    """In a URL, in HTML, in JSON within a text: as the arguments of a tool call are, and PHP writes them."""
    redactor = Redactor(["sk/canary+of&beta77"])
    assert redactor.redact(f'{{"a":"{written}"}}') == f'{{"a":"{MASK}"}}'
    assert "".join(map(RedactedStream(redactor).take, f" {written} ")) in (
        f" {MASK} ",
        f" {written[:7]}{MASK} ",
    )
