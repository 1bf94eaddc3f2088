"""Overrides: a manifest leaves to clients what it lists; what asks for nothing else is let pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack

HELLO = {"role": "user", "content": "Hello there"}
CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
FLAT_TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def manifest(url: str, *overrides: str, **fields: Any) -> str:
    """An agent with settings of its own, at a vendor without a key."""
    llm = {
        "provider": "openai-compatible",
        "model": "m",
        "api_url": url,
        "temperature": 0.3,
        "max_tokens": 50,
    }
    shown = {"name": "Kiosk", "llm": llm, "system_prompt": "You are {{who}}.", "overrides": list(overrides)}
    return json.dumps({**shown, "variables": {"who": {"type": "string", "default": "a kiosk"}}, **fields})


@pytest.fixture
async def kiosk(stack: Stack, vendor: OpenAIServer) -> Stack:
    """Agents that leave nothing, one thing, and everything to clients."""
    stack.write("kiosk.yaml", manifest(vendor.url))
    for part in ("instructions", "temperature", "max_tokens", "tools"):
        stack.write(f"{part}.yaml", manifest(vendor.url, part))
    stack.write("free.yaml", manifest(vendor.url).replace('"overrides": [], ', ""))
    await stack.sync()
    return stack


SYSTEM = {"role": "system", "content": "Obey me."}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "temperature": ("temperature", {"temperature": 1.9}, "temperature"),
    "sampling": ("temperature", {"top_p": 0.1}, "top_p"),
    "penalty": ("temperature", {"presence_penalty": 2}, "presence_penalty"),
    "max_tokens": ("max_tokens", {"max_tokens": 4000}, "max_tokens"),
    "max_completion_tokens": ("max_tokens", {"max_completion_tokens": 51}, "max_completion_tokens"),
    "n": ("max_tokens", {"n": 8}, "n"),
    "tools": ("tools", {"tools": [TOOL]}, "tools"),
    "tool_choice": ("tools", {"tool_choice": "required"}, "tool_choice"),
    "system": ("instructions", {"messages": [HELLO, SYSTEM]}, "messages[1]"),
    "developer": ("instructions", {"messages": [{**SYSTEM, "role": "developer"}, HELLO]}, "messages[0]"),
    "parts": (
        "instructions",
        {"messages": [{"role": "system", "content": [{"type": "text", "text": "Obey me."}]}, HELLO]},
        "messages[0]",
    ),
}


async def test_what_is_not_left_to_clients_is_refused_by_name(kiosk: Stack, vendor: OpenAIServer) -> None:
    """400, and the vendor is not asked; where the part is listed, or nothing is, it is passed on."""
    for case, (part, fields, param) in REFUSED.items():
        body = {"messages": [HELLO], **fields}
        before = len(vendor.requests)
        status, reply = await kiosk.ask("POST", CHAT, json={"model": "kiosk", **body})
        assert status == 400, case
        assert (reply["error"]["param"], reply["error"]["code"]) == (param, "override_refused")
        assert "Obey" not in json.dumps(reply)
        assert len(vendor.requests) == before
        for model in (part, "free"):
            status, _ = await kiosk.ask("POST", CHAT, json={"model": model, **body})
            assert status == 200, case


SILENT: dict[str, dict[str, Any]] = {
    "its own": {"temperature": 0.3, "max_tokens": 50},
    "its own by the newer name": {"max_completion_tokens": 50},
    "clients' defaults": {"top_p": 1, "n": 1, "frequency_penalty": 0, "presence_penalty": 0, "tools": [],
                          "tool_choice": "auto", "parallel_tool_calls": True, "logit_bias": None},
    "no part of an agent": {"stop": ["x"], "user": "u", "response_format": {"type": "text"}},
    "its own prompt": {"messages": [{"role": "system", "content": "You are a kiosk. "}, HELLO]},
    "nothing": {"messages": [{"role": "system", "content": ""}, HELLO]},
}  # fmt: skip


async def test_what_changes_nothing_passes(kiosk: Stack, vendor: OpenAIServer) -> None:
    """Many clients always send their defaults; a prompt that is repeated is sent once."""
    for case in SILENT:
        await _pass(kiosk, vendor, case)


async def _pass(kiosk: Stack, vendor: OpenAIServer, case: str) -> None:
    status, _ = await kiosk.ask("POST", CHAT, json={"model": "kiosk", "messages": [HELLO], **SILENT[case]})
    assert status == 200
    sent = vendor.last_chat
    assert (sent["temperature"], sent["messages"]) == (
        0.3,
        [{"role": "system", "content": "You are a kiosk."}, HELLO],
    )


async def test_responses_use_their_own_names(kiosk: Stack, vendor: OpenAIServer) -> None:
    """Of fields, and of where a system message came from."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"instructions": "Obey me."}, "instructions"),
        ({"input": [{"role": "developer", "content": "Obey me."}, HELLO]}, "input"),
        ({"max_output_tokens": 4000}, "max_output_tokens"),
        ({"temperature": 1.9}, "temperature"),
        ({"top_p": 0.1}, "top_p"),
        ({"tools": [FLAT_TOOL]}, "tools"),
    ]
    for fields, param in cases:
        body = {"model": "kiosk", "input": "Hi", **fields}
        status, reply = await kiosk.ask("POST", "/v1/responses", json=body)
        assert (status, reply["error"]["param"]) == (400, param)
        status, _ = await kiosk.ask("POST", "/v1/responses", json={**body, "model": "free"})
        assert status == 200
    same = {"model": "kiosk", "input": "Hi", "instructions": "You are a kiosk.", "max_output_tokens": 50}
    assert (await kiosk.ask("POST", "/v1/responses", json=same))[0] == 200
    assert [one["content"] for one in vendor.last_chat["messages"]] == ["You are a kiosk.", "Hi"]


async def test_a_prompt_is_compared_as_it_is_filled(kiosk: Stack) -> None:
    """With the values of the same request."""
    messages = [{"role": "system", "content": "You are a robot."}, HELLO]
    body = {"model": "kiosk", "messages": messages, "metadata": {"variables": {"who": "a robot"}}}
    assert (await kiosk.ask("POST", CHAT, json=body))[0] == 200
    assert (await kiosk.ask("POST", CHAT, json={**body, "metadata": {}}))[0] == 400


async def test_completions_are_held_to_it(kiosk: Stack) -> None:
    """By the same rules."""
    body = {"model": "kiosk", "prompt": "Hi"}
    status, reply = await kiosk.ask("POST", "/v1/completions", json={**body, "temperature": 1.9})
    assert (status, reply["error"]["param"]) == (400, "temperature")
    assert (await kiosk.ask("POST", "/v1/completions", json={**body, "temperature": 0.3}))[0] == 200
