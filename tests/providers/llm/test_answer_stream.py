"""What is passed on is whole, as clients' helpers need it, however the vendor writes it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.errors import ProviderError
from agentsd.providers.errors import VendorRef
from agentsd.providers.llm.answer_stream import AnswerStream, complete_answer
from agentsd.providers.llm.completion import Normalizer
from agentsd.providers.llm.surrogates import join_halves
from agentsd.providers.redaction import Redactor
from agentsd.providers.transport.endpoint import decode_json

WHO = VendorRef("groq.com", "llm")
KEY = "sk-canary-7d1f0a9b3c5e"


def passed(*deltas: dict[str, Any], finish: str | None = "stop") -> list[dict[str, Any]]:
    """What leaves for a client: the deltas of one choice, with its finish reason at the end."""
    normalizer, answer = Normalizer(WHO, Redactor([KEY])), AnswerStream(WHO)
    chunks: list[Any] = [{"choices": [{"delta": delta}]} for delta in deltas]
    if finish:
        chunks.append({"choices": [{"finish_reason": finish}]})
    out: list[dict[str, Any]] = []
    for chunk in chunks:
        told = normalizer.chunk(chunk)
        out += [told] if answer.is_plain(told) else answer.take(told)
    out += answer.end()
    return [choice for chunk in out for choice in chunk["choices"]]


def call(arguments: str | None = None, **more: Any) -> dict[str, Any]:
    function = {} if arguments is None else {"arguments": arguments}
    name = more.pop("name", None)
    return {"tool_calls": [{**more, "function": function | ({"name": name} if name else {})}]}


def merged(choices: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The calls as OpenAI's Python helper accumulates them: every text is appended."""
    calls: dict[int, dict[str, str]] = {}
    for choice in choices:
        for part in choice["delta"].get("tool_calls", ()):
            whole = calls.setdefault(part["index"], {"id": "", "type": "", "name": "", "arguments": ""})
            whole["id"] += part.get("id", "")
            whole["type"] = part.get("type", whole["type"])
            for key in ("name", "arguments"):
                whole[key] += part.get("function", {}).get(key, "")
    return [calls[index] for index in sorted(calls)]


def test_the_role_comes_once() -> None:
    """OpenAI's helpers append it: a role in each delta becomes `assistantassistant`, none at all raises."""
    for role in ({}, {"role": "assistant"}):
        choices = passed({**role, "content": "a"}, {**role, "content": "b"})
        assert [choice["delta"].get("role") for choice in choices] == ["assistant", None, None]
        assert [choice["index"] for choice in choices] == [0, 0, 0]


def test_each_choice_gets_a_finish_reason() -> None:
    """`[DONE]` alone does not end a choice for clients that wait for one."""
    assert [choice["finish_reason"] for choice in passed({"content": "a"}, finish=None)] == [None, "stop"]
    assert passed(call("{}", name="f", id="c1"), finish=None)[-1]["finish_reason"] == "tool_calls"
    assert passed(call("{}", name="f", id="c1"), finish="stop")[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "deltas",
    [
        [call('{"a":1}', id="c1", name="f"), call('{"b":2}', id="c2", name="g")],
        [call(id="c1", name="f"), call('{"a"'), call(":1}"), call(id="c2", name="g"), call('{"b":2}')],
        [
            call('{"a":1}', id="c1", name="f", index=0),
            call('{"b":2}', id="c2", name="g", index=0),  # Gemini numbers all of them 0
        ],
        [
            call('{"a"', id="c1", name="f", index=0),
            call(":1}", id="c1", name="f", index=0),  # id and name in each part
            call('{"b":2}', id="c2", name="g", index=1),
        ],
        [{"tool_calls": call('{"a":1}', id="c1", name="f")["tool_calls"]
                        + call('{"b":2}', id="c2", name="g")["tool_calls"]}],
        [call('{"a":1}', id="c1", name="f", index=3), call('{"b":2}', id="c2", name="g", index=7)],
        [call('{"a":1}', id="c1", name="f", index=None),
         call('{"b":2}', id="c2", name="g", index=None)],
    ],
    ids=["no-index", "in-pieces", "all-0", "repeated", "one-chunk", "gaps", "null-index"],
)  # fmt: skip
def test_tool_calls_are_told_apart(deltas: list[dict[str, Any]]) -> None:
    """By index, id or order; id, type and name come once."""
    choices = passed(*deltas)
    assert merged(choices) == [
        {"id": "c1", "type": "function", "name": "f", "arguments": '{"a":1}'},
        {"id": "c2", "type": "function", "name": "g", "arguments": '{"b":2}'},
    ]
    assert choices[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "more", [{"index": 0}, {"index": 0, "id": "c1"}, {"id": "c1"}, {"index": 0, "id": " "}]
)
def test_whole_calls_of_one_index_and_id_are_told_apart(more: dict[str, Any]) -> None:
    """Ollama and gateways: 0 for each, no id or always the same; also two calls of one tool."""
    choices = passed(
        call('{"a":1}', name="f", **more),
        call('{"b":2}', name="g", **more),
        call('{"c":3}', name="f", **more),
    )
    calls = merged(choices)
    assert [(one["name"], one["arguments"]) for one in calls] == [
        ("f", '{"a":1}'), ("g", '{"b":2}'), ("f", '{"c":3}'),
    ]  # fmt: skip
    assert len({one["id"] for one in calls}) == 3


def test_an_id_is_one_calls() -> None:
    """A conversation with an id twice is refused by vendors."""
    first, second = merged(
        passed(call('{"a":1}', id="x", name="f", index=0), call("{}", id="x", name="f", index=1))
    )
    assert first["id"] == "x" != second["id"]
    calls = [{"id": "x", "type": "function", "function": {"name": "f"}} for _ in range(2)]
    whole = complete_answer(
        WHO, Normalizer(WHO, Redactor([])).whole({"choices": [{"message": {"tool_calls": calls}}]})
    )
    first, second = whole["choices"][0]["message"]["tool_calls"]
    assert first["id"] == "x" != second["id"]


def test_parts_of_a_call_whose_id_is_not_passed_on_stay_together() -> None:
    """Without an index, they are told apart by it: too long, or blank."""
    for identifier in ("x" * 65, " "):
        parts = [call('{"a"', id=identifier, name="f"), call(":1}", id=identifier)]
        (one,) = merged(passed(*parts))
        assert (one["name"], one["arguments"]) == ("f", '{"a":1}')
        assert one["id"].startswith("call_")


def test_calls_without_an_id_get_one() -> None:
    """The client has to send it back."""
    first, second = merged(passed(call("{}", name="f"), call("{}", name="f")))
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]


def test_a_whole_answer_is_completed() -> None:
    """Finish reason, type, arguments: all that OpenAI's models require."""
    calls = [{"function": {"name": "f"}}]
    answer = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "stop"}, {"message": {}}]}
    told = complete_answer(WHO, Normalizer(WHO, Redactor([])).whole(answer))
    one, other = told["choices"]
    assert one["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (one["finish_reason"], other["finish_reason"]) == ("tool_calls", "stop")
    assert (one["index"], other["index"], other["message"]["role"]) == (0, 1, "assistant")


def test_thoughts_flow_but_are_not_an_answer() -> None:
    """Whoever watches sees them at once; an end after them is a failure."""
    normalizer, answer = Normalizer(WHO, Redactor([])), AnswerStream(WHO)
    thought = normalizer.chunk({"choices": [{"delta": {"reasoning_content": "Hm."}}]})
    assert answer.take(thought) == [thought]
    with pytest.raises(ProviderError):
        list(answer.end())


SMILE = "\N{SLIGHTLY SMILING FACE}"


@pytest.mark.parametrize(
    "frames",
    [
        [
            b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}',
            b'{"choices":[{"delta":{"content":"\\ude42b"}}]}',
        ],
        [
            b'{"choices":[{"delta":{"content":"a\xf0\x9f"}}]}',
            b'{"choices":[{"delta":{"content":"\x99\x82b"}}]}',
        ],
        [b'{"choices":[{"delta":{"content":"a\\ud83d\\ude42b"}}],"x":NaN,"y":-Infinity}'],
    ],
    ids=["pair", "bytes", "nan"],
)
def test_json_is_read_as_python_and_javascript_write_it(frames: list[bytes]) -> None:
    """A character that was cut between two chunks is whole again."""
    normalizer = Normalizer(WHO, Redactor([KEY]))
    told = [normalizer.chunk(decode_json(WHO, frame)) for frame in frames]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in told) == f"a{SMILE}b"
    assert json.dumps(told)


@given(
    st.text(max_size=12), st.lists(st.integers(0, 60), max_size=6), st.sampled_from(["utf-8", "utf-16-le"])
)
def test_halves_meet_however_a_text_is_cut(text: str, cuts: list[int], encoding: str) -> None:
    """Between bytes of UTF-8, and between the two of a pair."""
    data, unit = text.encode(encoding, "replace"), 2 if encoding == "utf-16-le" else 1
    edges = sorted({0, len(data), *(cut * unit for cut in cuts if cut * unit < len(data))})
    out, held = "", ""
    for start, end in pairwise(edges):
        errors = "surrogatepass" if unit == 2 else "surrogateescape"
        piece, held = join_halves(held, data[start:end].decode(encoding, errors))
        piece.encode()
        out += piece
    assert (out, held) == (data.decode(encoding), "")


@pytest.mark.parametrize(
    ("told", "calls", "right"),
    [
        ("tool_calls", False, "stop"),
        ("stop", True, "tool_calls"),
        ("", True, "tool_calls"),
        ("", False, "stop"),
        ("length", True, "length"),
    ],
)
def test_the_reason_fits_the_answer(told: str, *, calls: bool, right: str) -> None:
    """Clients run tools where it says so, whole and streamed; LocalAI says so for a plain text."""
    deltas = [call("{}", name="f", id="1")] if calls else [{"content": "Hi"}]
    assert passed(*deltas, finish=told)[-1]["finish_reason"] == right
    message = {"role": "assistant", **deltas[0]}
    answer = Normalizer(WHO, Redactor([KEY])).whole(
        {"choices": [{"message": message, "finish_reason": told}]}
    )
    assert complete_answer(WHO, answer)["choices"][0]["finish_reason"] == right
