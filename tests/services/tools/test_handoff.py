"""Names of hand-offs, and what is left of a conversation when one is made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentsd.services.tools.carry import LAST_MESSAGES, carry_messages
from agentsd.services.tools.handoff import NAME_MAX, drop_handoff_calls, make_tool_name


@pytest.mark.parametrize(
    ("slug", "taken", "name"),
    [
        ("acme/billing", (), "transfer_to_billing"),
        ("billing.v2", (), "transfer_to_billing_v2"),
        ("acme/billing", ("transfer_to_billing",), "transfer_to_billing_2"),
        ("beta/billing", ("transfer_to_billing", "transfer_to_billing_2"), "transfer_to_billing_3"),
    ],
)
def test_names_are_those_of_tools(slug: str, taken: tuple[str, ...], name: str) -> None:
    """Whatever a slug contains; two never have the same."""
    assert make_tool_name(slug, set(taken)) == name


def test_a_long_name_is_cut() -> None:
    """Also where it has to be made unique."""
    first = make_tool_name("x" * 200, set())
    second = make_tool_name("x" * 200, {first})
    assert first != second
    assert all(
        re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) and len(name) == NAME_MAX for name in (first, second)
    )


def call(name: str, call_id: str) -> dict[str, Any]:
    """A call in a message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_calls_of_other_tools_stay_with_their_results() -> None:
    """The hand-off itself is nothing that the other agent should see, nor what was said to it."""
    rounds: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call("look", "a")]},
        {"role": "tool", "tool_call_id": "a", "content": "found"},
        {"role": "assistant", "content": None, "tool_calls": [call("look", "b"), call("transfer_to_x", "c")]},
        {"role": "tool", "tool_call_id": "b", "content": "more"},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    kept = drop_handoff_calls(rounds, frozenset({"transfer_to_x"}))
    assert kept == [*rounds[:2], {**rounds[2], "tool_calls": [call("look", "b")]}, rounds[3]]
    alone = [{"role": "assistant", "content": "Bye.", "tool_calls": [call("transfer_to_x", "c")]}, rounds[4]]
    assert drop_handoff_calls(alone, frozenset({"transfer_to_x"})) == []
    again = [  # refused first; vendors number each round anew
        {"role": "assistant", "content": None, "tool_calls": [call("transfer_to_x", "c")]}, rounds[4],
        {"role": "assistant", "content": None, "tool_calls": [call("look", "c")]}, rounds[4],
    ]  # fmt: skip
    assert drop_handoff_calls(again, frozenset({"transfer_to_x"})) == again[2:]


class Silent:
    """A model that writes nothing down."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def complete(self, request: Any) -> dict[str, Any]:
        """The answer, whatever it is."""
        return {"choices": [{"message": {"content": self.answer}}]}


@pytest.mark.parametrize("answer", ["", "  \n", None, 5])
async def test_without_a_summary_the_last_messages_are_carried(answer: Any) -> None:
    """From one of the user's on, without calls of tools; the client's instructions stay."""
    said: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number in range(10):
        said += [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
    said += [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": []}]
    carried = await carry_messages("summary", Silent(answer), said[:-1], [])  # type: ignore[arg-type]
    assert carried[0] == said[0]
    assert (carried[1]["role"], carried[-1]["content"]) == ("user", "q")
    assert len(carried) <= LAST_MESSAGES + 1
