"""/v1/completions over real sockets, with OpenAI's own client."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack
from tests.web.openai.test_chat_completions import client_of, frames_of, sales

__all__ = ["sales"]


async def test_the_official_client_completes(sales: Stack, vendor: OpenAIServer) -> None:
    """Whole and streamed; the prompt is the user's message, after the agent's own prompt."""
    async with client_of(sales) as client:
        whole = await client.completions.create(model="acme/sales", prompt="Hello", max_tokens=5)
        assert (whole.object, whole.choices[0].text) == ("text_completion", "This is a test.")
        assert whole.choices[0].finish_reason == "stop"
        stream = await client.completions.create(model="acme/sales", prompt=["Hello"], stream=True)
        words = [chunk.choices[0].text async for chunk in stream]
    assert "".join(words) == "This is a test."
    assert vendor.requests[0].body["max_tokens"] == 5
    assert [one["content"] for one in vendor.last.body["messages"]] == ["You are terse.", "Hello"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", [1, 2]),
        ("prompt", ["a", "b"]),
        ("prompt", ""),
        ("suffix", "x"),
        ("echo", True),
        ("best_of", 2),
    ],
)
async def test_what_a_chat_cannot_do_is_refused_by_name(
    sales: Stack, vendor: OpenAIServer, field: str, value: Any
) -> None:
    """Not answered as if it had been done."""
    body = {"model": "acme/sales", "prompt": "Hello", field: value}
    status, reply = await sales.ask("POST", "/v1/completions", json=body)
    assert (status, reply["error"]["param"]) == (400, field)
    assert vendor.requests == []


async def test_a_failure_in_mid_answer_ends_without_done(sales: Stack, vendor: OpenAIServer) -> None:
    """As in a chat."""
    vendor.fault = Fault.ERROR_FRAME
    body = {"model": "acme/sales", "prompt": "Hello", "stream": True}
    async with sales.client.post(f"{sales.url}/v1/completions", json=body) as reply:
        frames = await frames_of(reply)
    assert '"error"' in frames[-1]
    assert "secret words" not in frames[-1]
