"""The chat service: what an agent adds to a completion."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from agentsd.core.errors import AgentUnavailable
from agentsd.core.manifest.agent import AgentHead
from agentsd.providers import base
from agentsd.providers.base import LiveAgent
from agentsd.services import chat
from tests.providers.conftest import Make
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer

USER = {"role": "user", "content": "hello there"}


def agent(llm: Any, prompt: str = "") -> LiveAgent:
    return LiveAgent(UUID(int=1), "acme/sales", "acme", 1, b"", AgentHead(system_prompt=prompt), llm=llm)


async def test_an_answer_is_the_agents(make: Make) -> None:
    """`model` is the slug, and what OpenAI's clients require is there, streamed and not."""
    live = agent(make("llm", provider="echo.local"))
    whole = await chat.complete_chat(live, {"model": "x", "messages": [USER]})
    chunks = [chunk async for chunk in chat.stream_chat(live, {"messages": [USER], "stream": True})]
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "hello there"}
    assert {answer["model"] for answer in (whole, *chunks)} == {"acme/sales"}
    assert whole["object"] == "chat.completion"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(re.fullmatch(r"chatcmpl-[0-9a-f]{32}", answer["id"]) for answer in (whole, *chunks))
    assert all(answer["created"] > 1_700_000_000 for answer in (whole, *chunks))


async def test_the_system_prompt_comes_first(make: Make) -> None:
    """Together with the client's own system message: templates take one. Known keys go on."""
    mine = {"role": "system", "content": "Be brief."}
    body = {
        "model": "acme/sales",
        "messages": [mine, USER],
        "temperature": 0.5,
        "top_p": None,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "stop": ["x"],
        "seed": 1,
        "n": 2,
        "stream_options": {"include_usage": True},
    }
    async with OpenAIServer() as server:
        llm = make("llm", provider="openai-compatible", model="m", api_url=server.url)
        answer = await chat.complete_chat(agent(llm, "You are kind."), body)
    passed = {key: body[key] for key in ("temperature", "tools", "response_format", "stop", "seed", "n")}
    messages = [{"role": "system", "content": "You are kind.\n\nBe brief."}, USER]
    assert server.last.body == {**passed, "messages": messages, "model": "m", "stream": False}
    assert len(answer["choices"]) == 2
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", answer["id"])
    assert answer["created"] == 1_700_000_000
    assert body["messages"] == [mine, USER]


@pytest.mark.parametrize("wanted", [True, False])
async def test_usage_only_where_it_was_asked_for(make: Make, wanted: bool) -> None:
    """A chunk without choices breaks clients that did not ask for one."""
    live = agent(make("llm", provider="echo.local"))
    body = {"messages": [USER], "stream_options": {"include_usage": wanted}}
    chunks = [chunk async for chunk in chat.stream_chat(live, body)]
    assert ("usage" in chunks[-1]) is wanted


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0].role"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"messages": [USER], "stream_options": 1}, "stream_options"),
    ],
)
def test_a_bad_request_is_refused_before_the_first_chunk(body: dict[str, Any], param: str) -> None:
    """So that an HTTP status can still be sent; the offending key is named."""
    with pytest.raises(chat.InvalidChat) as caught:
        chat.stream_chat(agent(object()), body)
    assert caught.value.param == param


async def test_an_agent_without_an_llm(make: Make) -> None:
    """It exists, but it cannot chat."""
    with pytest.raises(AgentUnavailable, match="no LLM"):
        await chat.complete_chat(agent(None), {"messages": [USER]})
    with pytest.raises(AgentUnavailable):
        chat.stream_chat(agent(None), {"messages": [USER]})


async def test_closing_the_stream_closes_the_vendors(make: Make) -> None:
    """A client that hangs up stops the generation."""
    async with OpenAIServer(fault=Fault.STALL_LATER) as server:
        llm = make("llm", provider="openai-compatible", model="m", api_url=server.url)
        chunks = chat.stream_chat(agent(llm), {"messages": [USER]})
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        await server.last.disconnected.wait()


async def test_a_vendors_failure_comes_through(make: Make) -> None:
    """Typed, in the middle of a stream too."""
    async with OpenAIServer(fault=Fault.EARLY_CLOSE) as server:
        llm = make("llm", provider="openai-compatible", model="m", api_url=server.url)
        with pytest.raises(base.ProviderUnavailable):
            _ = [chunk async for chunk in chat.stream_chat(agent(llm), {"messages": [USER]})]


@pytest.mark.parametrize("field", ["store", "service_tier", "web_search_options", "api_base", "evil"])
async def test_a_field_that_is_not_passed_on_is_refused_by_name(make: Make, field: str) -> None:
    """Never dropped in silence: what keeps data, costs more or is unknown needs the manifest's word."""
    body = {"messages": [USER], field: True}
    async with OpenAIServer() as server:
        live = agent(make("llm", provider="openai-compatible", model="m", api_url=server.url))
        with pytest.raises(chat.InvalidChat) as caught:
            await chat.complete_chat(live, body)
        assert caught.value.param == field
        assert server.requests == []
        await chat.complete_chat(replace(live, client_options=frozenset({field})), body)
        assert server.last.body[field] is True


async def test_fields_that_ask_for_nothing_are_taken(make: Make) -> None:
    """What SDKs send by default is neither refused nor passed on; metadata goes with ``store`` only."""
    body = {"messages": [USER], "store": False, "service_tier": "auto", "metadata": {"a": "b"}}
    async with OpenAIServer() as server:
        live = agent(make("llm", provider="openai-compatible", model="m", api_url=server.url))
        await chat.complete_chat(live, body)
        assert not server.last.body.keys() & body.keys() - {"messages"}
        stored = replace(live, client_options=frozenset({"store"}))
        await chat.complete_chat(stored, {**body, "store": True})
        assert (server.last.body["store"], server.last.body["metadata"]) == (True, {"a": "b"})


async def test_a_limit_is_sent_under_both_names(make: Make) -> None:
    """A client's ``max_completion_tokens`` replaces the manifest's limit for servers of either name."""
    body = {"messages": [USER], "max_completion_tokens": 7}
    async with OpenAIServer() as server:
        llm = make("llm", provider="openai-compatible", model="m", api_url=server.url, max_tokens=100)
        await chat.complete_chat(agent(llm), body)
    assert (server.last.body["max_tokens"], server.last.body["max_completion_tokens"]) == (7, 7)


async def test_a_section_adds_headers_query_and_fields(make: Make) -> None:
    """For a vendor's quirks; what a client asks for wins."""
    async with OpenAIServer() as server:
        llm = make(
            "llm",
            provider="openai-compatible",
            model="m",
            api_url=f"{server.url}/v1",
            headers={"X-Team": "support"},
            query={"api-version": "2025-04-01"},
            extra_body={"top_k": 5, "seed": 1},
        )
        await chat.complete_chat(agent(llm), {"messages": [USER], "seed": 2})
    assert server.last.headers["x-team"] == "support"
    assert server.last.query == {"api-version": "2025-04-01"}
    assert server.last.path == "/v1/chat/completions"
    assert (server.last.body["top_k"], server.last.body["seed"]) == (5, 2)


@pytest.mark.parametrize(
    ("version", "path", "query"),
    [
        (None, "/openai/v1/chat/completions", {}),
        ("2024-10-21", "/openai/deployments/gpt/chat/completions", {"api-version": "2024-10-21"}),
    ],
)
async def test_azure_has_an_address_and_a_header_of_its_own(
    make: Make, version: str | None, path: str, query: dict[str, str]
) -> None:
    """Both interfaces, by deployment or by model."""
    async with OpenAIServer() as server:
        llm = make(
            "llm",
            provider="azure.com",
            model="gpt",
            api_url=server.url,
            api_key="k" * 16,
            api_version=version,
        )
        with suppress(base.ProviderError):  # the test server may not know the path
            await chat.complete_chat(agent(llm), {"messages": [USER]})
    assert (server.last.path, server.last.query) == (path, query)
    assert server.last.headers["api-key"] == "k" * 16
    assert "authorization" not in server.last.headers
