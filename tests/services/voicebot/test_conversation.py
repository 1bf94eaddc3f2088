"""Conversation of a call, as models get it."""

from __future__ import annotations

import pytest

from agentsd.services.voicebot.conversation import Conversation, ConversationItem


@pytest.mark.parametrize(
    ("written", "sent"), [('{"a": 1}', '{"a": 1}'), ("", "{}"), ('{"a": "b', "{}"), ("null", "{}")]
)
def test_arguments_that_are_no_object_do_not_spoil_the_call(written: str, sent: str) -> None:
    """Vendors parse the arguments of earlier calls, and would refuse every further turn."""
    conversation = Conversation()
    conversation.add(ConversationItem("i1", "assistant", written, kind="call", call_id="c1", name="look"))
    called, result = conversation.messages()
    assert called["tool_calls"][0]["function"] == {"name": "look", "arguments": sent}
    assert result["tool_call_id"] == "c1"
