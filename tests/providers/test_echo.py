"""The built-in LLM."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.providers.llm.echo import Echo, EchoSettings


def echo(**fields: Any) -> Echo:
    return Echo(EchoSettings(provider="echo.local", **fields))


async def said(llm: Echo, request: dict[str, Any]) -> str:
    return "".join(
        [
            choice["delta"].get("content", "")
            async for chunk in llm.stream(request)
            for choice in chunk["choices"]
            if choice["index"] == 0
        ]
    )


@given(st.text())
async def test_it_says_the_message_back(text: str) -> None:
    """Word by word and whole are the same text, to the last space."""
    request = {"messages": [{"role": "user", "content": "no"}, {"role": "user", "content": text}]}
    assert await said(echo(), request) == text
    assert (await echo().complete(request))["choices"][0]["message"]["content"] == text


async def test_the_manifest_shows_in_the_answer() -> None:
    """`reply` and the system prompt are seen; what a user writes is not expanded."""
    request = {
        "messages": [
            {"role": "system", "content": "You are a parrot."},
            {"role": "user", "content": [{"type": "text", "text": "say {system}"}]},
        ]
    }
    answer = await echo(reply="[{system}] {message} {x}").complete(request)
    assert answer["choices"][0]["message"]["content"] == "[You are a parrot.] say {system} {x}"


async def test_usage_and_n() -> None:
    """Several choices, and usage only where asked for."""
    request: dict[str, Any] = {"messages": [{"role": "user", "content": "one two"}], "n": 2}
    assert [c["index"] for c in (await echo().complete(request))["choices"]] == [0, 1]
    assert all("usage" not in chunk for chunk in [c async for c in echo().stream(request)])
    request["stream_options"] = {"include_usage": True}
    chunks = [chunk async for chunk in echo(delay_seconds=0.001).stream(request)]
    assert chunks[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


@pytest.mark.parametrize(
    "messages", [[], [{"role": "assistant"}], ["odd"], [{"role": "user", "content": None}]]
)
async def test_nothing_to_say(messages: list[Any]) -> None:
    """Without a user's text the message is empty."""
    assert await said(echo(reply="<{message}>"), {"messages": messages}) == "<>"
