"""Calls of a client's tools in an answer."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.services.voicebot.conversation import Conversation
from agentsd.services.voicebot.tool_calls import ToolCallBuilder


def part(index: int, arguments: str) -> dict[str, Any]:
    """A whole call."""
    return {"index": index, "id": f"c{index}", "function": {"name": "look", "arguments": arguments}}


@pytest.mark.parametrize("rest", ["", '{"a": "b'])
def test_a_call_that_was_cut_off_is_not_whole(rest: str) -> None:
    """Neither the client nor a model gets half a call; those before it count."""
    conversation = Conversation()
    builder = ToolCallBuilder("resp_1", conversation)
    calls = [part(0, '{"a": 1}'), part(1, rest)]
    list(builder.take({"choices": [{"delta": {"tool_calls": calls}}]}))
    assert [one.whole for one in builder.end(whole=True, cut=True)] == [True, False]
    (made, _) = conversation.messages()
    assert [one["id"] for one in made["tool_calls"]] == ["c0"]
