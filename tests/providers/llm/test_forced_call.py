"""Calls that a request forces, asked as an object by its schema."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.providers.llm.forced_call import find_forced_call

A = {
    "type": "function",
    "function": {"name": "a", "description": "Does A.", "parameters": {"type": "object"}},
}
B: dict[str, Any] = {"type": "function", "function": {"name": "b"}}
NAMED = {"type": "function", "function": {"name": "b"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["a", "b"]),
        (NAMED, ["b"]),
        (ALLOWED, ["b"]),
        ("auto", None),
        ("none", None),
        (None, None),
        ({"type": "function", "function": {"name": "c"}}, None),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}, None),
    ],
)
def test_what_is_forced(choice: Any, names: list[str] | None) -> None:
    """One of all, of some, or a certain one."""
    found = find_forced_call({"tools": [A, B], "tool_choice": choice, "messages": []})
    assert (found and [one["name"] for one in found.functions]) == names


def test_the_object_that_comes_is_the_call() -> None:
    """A cut one stays what it is: the arguments are found invalid later."""
    one = find_forced_call({"tools": [A, B], "tool_choice": NAMED, "messages": []})
    any_of = find_forced_call({"tools": [A, B], "tool_choice": "required", "messages": []})
    assert one is not None
    assert any_of is not None
    asked = one.rewrite(
        {"tools": [A, B], "tool_choice": NAMED, "messages": [{"role": "user", "content": "x"}]}
    )
    assert asked.keys() == {"messages", "response_format"}
    assert "Does A." not in asked["messages"][0]["content"]
    read = [
        one.read('{"x": 1}'),
        any_of.read('{"name": "b", "arguments": {"x": 1}}'),
        any_of.read('{"name": "b'),
    ]
    calls = [delta["tool_calls"][0]["function"] for delta in read]
    assert calls[0] == {"name": "b", "arguments": '{"x": 1}'}
    assert calls[1] == {"name": "b", "arguments": '{"x":1}'}
    assert calls[2] == {"name": "a", "arguments": '{"name": "b'}
