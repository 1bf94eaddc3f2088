"""Messages as a vendor's chat template takes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.messages import (
    BEGINNING,
    FREE,
    INTERRUPTED,
    OPENING,
    STRICT,
    MessageRules,
    arrange_messages,
)

roles = st.sampled_from(("system", "developer", "user", "assistant"))
contents = st.one_of(
    st.text(min_size=1),
    st.lists(st.builds(lambda t: {"type": "text", "text": t}, st.text(min_size=1)), min_size=1),
)
conversations = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, roles, contents), max_size=8
)
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "42"}


def say(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    """Messages of (role, content)."""
    return [{"role": role, "content": content} for role, content in pairs]


def texts_of(messages: list[Any]) -> str:
    """Every text of a conversation, in order of appearance."""
    parts = []
    for message in messages:
        content = message["content"]
        parts += [content] if isinstance(content, str) else [part["text"] for part in content]
    return "\n\n".join(parts)


@given(conversations)
def test_strict_rules_make_what_every_template_takes(messages: list[dict[str, Any]]) -> None:
    """One system message at most, in front; then the user and the assistant in turn, the user first."""
    arranged = [message["role"] for message in arrange_messages(messages, STRICT)]
    turns = arranged[1:] if arranged[0] == "system" else arranged
    assert turns == [("user", "assistant")[at % 2] for at in range(len(turns))]
    assert turns


@given(
    conversations,
    st.sampled_from([STRICT, FREE, MessageRules("user"), MessageRules("first", alternate=False)]),
)
def test_no_text_is_lost(messages: list[dict[str, Any]], rules: MessageRules) -> None:
    """Whatever is joined or moved, every text reaches the vendor."""
    arranged = texts_of(arrange_messages(messages, rules))  # type: ignore[arg-type]
    for message in messages:
        assert texts_of([message]) in arranged


@given(conversations, st.sampled_from([STRICT, FREE, MessageRules("user")]))
def test_what_is_arranged_stays(messages: list[dict[str, Any]], rules: MessageRules) -> None:
    """Arranging is idempotent."""
    once = arrange_messages(messages, rules)
    assert arrange_messages(once, rules) == once


def test_a_greeting_becomes_part_of_the_system_message() -> None:
    """A template that wants the user first takes the conversation of a call."""
    messages = say(("system", "Be kind."), ("assistant", "Hello!"), ("user", "Hi"))
    opening = f"Be kind.\n\n{OPENING}\n\nHello!"
    assert arrange_messages(messages, STRICT) == say(("system", opening), ("user", "Hi"))
    assert arrange_messages(messages, FREE) == messages


def test_two_questions_after_a_cancelled_answer_are_one() -> None:
    """The answer between them was never heard."""
    messages = say(("user", "Wait"), ("user", "What time is it?"))
    assert arrange_messages(messages, STRICT) == say(("user", "Wait\n\nWhat time is it?"))


def test_a_template_without_a_system_role_gets_it_from_the_user() -> None:
    """Gemma's templates refuse the role."""
    messages = say(("system", "Be kind."), ("user", [{"type": "text", "text": "Hi"}]))
    text = [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Hi"}]
    assert arrange_messages(messages, MessageRules("user")) == say(("user", text))


def test_somebody_has_to_begin() -> None:
    """A template that wants a user's message gets one."""
    assert arrange_messages(say(("system", "Be kind.")), STRICT) == say(
        ("system", "Be kind."), ("user", BEGINNING)
    )


@pytest.mark.parametrize("rules", [STRICT, FREE])
def test_tool_calls_and_names_are_left_alone(rules: MessageRules) -> None:
    """Only bare messages of one role are joined."""
    named = {"role": "user", "content": "What is it?", "name": "Ann"}
    messages = [*say(("user", "Hi")), named, CALL, RESULT, *say(("assistant", "It is 42."))]
    assert arrange_messages(messages, rules) == messages


def test_words_and_the_call_after_them_are_one_message() -> None:
    """Templates do not count a message with calls, so its words must not stand alone."""
    messages = [*say(("user", "Hi"), ("assistant", "Let me see.")), CALL, RESULT]
    assert arrange_messages(messages, STRICT) == [
        *say(("user", "Hi")),
        {**CALL, "content": "Let me see."},
        RESULT,
    ]
    assert arrange_messages(messages, FREE) == messages


def test_a_user_who_speaks_after_a_tool_follows_an_answer() -> None:
    """The answer to the result was stopped, or the call was denied."""
    messages = [*say(("user", "Hi")), CALL, RESULT, *say(("user", "Stop"))]
    expected = [*messages[:3], *say(("assistant", INTERRUPTED), ("user", "Stop"))]
    assert arrange_messages(messages, STRICT) == expected
    assert arrange_messages(messages, FREE) == messages
