"""/v1/responses over real sockets, with OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsd.core.access import Principal
from agentsd.web.openai.responses.store import KEEP_SECONDS, OWNER_BYTES_MAX, ResponseStore
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import CANARY, Stack, vendor_manifest
from tests.web.openai.test_chat_completions import client_of, sales

__all__ = ["sales"]

KIND = "Be kind."
SUM = {"type": "function", "name": "sum", "parameters": {"type": "object", "properties": {}}, "strict": True}


def delta(**members: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    finish = members.pop("finish", None)
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def call(index: int, text: str, **members: Any) -> dict[str, Any]:
    """A piece of a call."""
    name = {"name": members.pop("name")} if "name" in members else {}
    part = {"index": index, "type": "function", "function": {**name, "arguments": text}, **members}
    return delta(tool_calls=[part])


@asynccontextmanager
async def scripted(stack: Stack, chunks: Sequence[Any]) -> AsyncIterator[list[Any]]:
    """An agent whose vendor streams these chunks; yields what it was asked."""
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return web.Response(text="".join([*frames, "data: [DONE]\n\n"]), content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        stack.write("scripted.yaml", vendor_manifest(str(server.make_url("")).rstrip("/")), sealed=True)
        await stack.sync()
        yield asked


async def test_the_official_client_gets_a_response(sales: Stack, vendor: OpenAIServer) -> None:
    """Whole and streamed: text, usage, the slug, the instructions after the agent's own prompt."""
    async with client_of(sales) as client:
        whole = await client.responses.create(model="acme/sales", input="Hello there", instructions=KIND)
        assert (whole.status, whole.output_text, whole.model) == (
            "completed",
            "This is a test.",
            "acme/sales",
        )
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens > 0
        assert (whole.store, whole.instructions) == (False, KIND)  # type: ignore[attr-defined]
        async with client.responses.stream(
            model="acme/sales", input=[{"role": "user", "content": "Hi"}]
        ) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
    assert final.output_text == "This is a test."
    assert final.usage is not None
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    system, question = vendor.requests[0].body["messages"]
    assert system == {"role": "system", "content": "You are terse.\n\nBe kind."}
    assert question == {"role": "user", "content": "Hello there"}


async def test_reasoning_and_calls_are_items(stack: Stack) -> None:
    """As OpenAI's client puts them together, calls of one turn beside each other."""
    chunks = [
        delta(role="assistant", reasoning_content="Let me "),
        delta(reasoning_content="see."),
        delta(content="One moment."),
        call(0, '{"a"', id="call_1", name="sum"),
        call(1, "{}", id="call_2", name="sum"),
        call(0, ":1}"),
        delta(finish="tool_calls"),
    ]
    async with scripted(stack, chunks) as asked, client_of(stack) as client:
        async with client.responses.stream(model="scripted", input="Add", tools=[SUM]) as stream:  # type: ignore[list-item]
            pieces = [event.delta async for event in stream if event.type.endswith("arguments.delta")]
            final = await stream.get_final_response()
        assert pieces == ['{"a"', "{}", ":1}"]
        thought, message, first, second = final.output
        assert thought.content[0].text == "Let me see."  # type: ignore[union-attr,index]
        assert message.content[0].text == "One moment."  # type: ignore[union-attr,index]
        assert (first.call_id, first.name, first.arguments) == ("call_1", "sum", '{"a":1}')  # type: ignore[union-attr]
        assert (second.call_id, second.arguments) == ("call_2", "{}")  # type: ignore[union-attr]
        assert {item.status for item in final.output} == {"completed"}
        tool = {"type": "function", "function": {key: value for key, value in SUM.items() if key != "type"}}
        assert asked[0]["tools"] == [tool]


async def test_the_output_of_a_call_goes_back(sales: Stack, vendor: OpenAIServer) -> None:
    """The items of a round are the messages that a chat completion has for them."""
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Add"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        {"type": "function_call", "call_id": "a", "name": "sum", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "sum", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
    ]
    async with client_of(sales) as client:
        await client.responses.create(model="acme/sales", input=items, tools=[SUM])  # type: ignore[arg-type,list-item]
    calls = [{"id": one, "type": "function", "function": {"name": "sum", "arguments": "{}"}} for one in "ab"]
    assert vendor.last.body["messages"][1:] == [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": "Well.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ]


async def test_a_stored_response_is_continued(sales: Stack, vendor: OpenAIServer) -> None:
    """On request only; instructions are not carried over; what was deleted does not exist."""
    async with client_of(sales) as client:
        first = await client.responses.create(model="acme/sales", input="One", instructions=KIND, store=True)
        second = await client.responses.create(
            model="acme/sales", input="Two", previous_response_id=first.id, store=True
        )
        said = [message["content"] for message in vendor.last.body["messages"]]
        assert said == ["You are terse.", "One", "This is a test.", "Two"]
        assert (await client.responses.retrieve(second.id)).output_text == "This is a test."
        items = [item async for item in client.responses.input_items.list(second.id)]
        assert [item.content for item in items] == ["Two"]  # type: ignore[union-attr]
        await client.responses.delete(first.id)
        for missing in (first.id, "resp_none"):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="acme/sales", input="3", previous_response_id=missing)
            assert (caught.value.code, caught.value.param) == (
                "previous_response_not_found",
                "previous_response_id",
            )
        unstored = await client.responses.create(model="acme/sales", input="One")
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(unstored.id)


async def test_input_items_have_openais_pages(sales: Stack) -> None:
    """``limit``, ``after`` and ``order``; ids are unique, and the client's own where they are."""
    known = {"id": "msg_mine", "type": "message", "role": "user"}
    items = [{**known, "content": "0"}, *({"role": "user", "content": str(at)} for at in range(1, 4))]
    items.append({**known, "content": "4"})
    async with client_of(sales) as client:
        stored = await client.responses.create(model="acme/sales", input=items, store=True)  # type: ignore[arg-type]
        path = f"/v1/responses/{stored.id}/input_items"
        for order, expected in (("asc", "01234"), ("desc", "43210"), (None, "43210")):
            options: Any = {"limit": 2} | ({"order": order} if order else {})
            listed = [item async for item in client.responses.input_items.list(stored.id, **options)]
            assert "".join(item.content for item in listed) == expected  # type: ignore[union-attr,misc]
            assert len({item.id for item in listed}) == len(items)
        _, first = await sales.get(f"{path}?limit=2&order=asc&include[]=reasoning.encrypted_content")
        assert (first["first_id"], first["has_more"], len(first["data"])) == ("msg_mine", True, 2)
        _, rest = await sales.get(f"{path}?limit=3&order=asc&after={first['last_id']}")
        assert [item["content"] for item in rest["data"]] == ["2", "3", "4"]
        assert rest["has_more"] is False
        _, none = await sales.get(f"{path}?order=asc&after={rest['last_id']}")
        assert none == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        for query in ("limit=0", "limit=101", "order=up", "after=msg_none", "before=x"):
            status, reply = await sales.get(f"{path}?{query}")
            assert (status, reply["error"]["param"]) == (400, query.partition("=")[0]), query


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("background", True, "background"),
        ("conversation", "conv_1", "conversation"),
        ("prompt", {"id": "pmpt_1"}, "prompt"),
        ("tools", [{"type": "web_search"}], "tools[0]"),
        ("tools", [{"type": "mcp", "server_label": "x"}], "tools[0]"),
        ("include", ["file_search_call.results"], "include[0]"),
        ("truncation", "auto", "truncation"),
        ("input", [{"type": "item_reference", "id": "x"}], "input[0]"),
        (
            "input",
            [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}],
            "input[0].content[0]",
        ),
        ("input", [1], "input[0]"),
        ("input", [], "input"),
        ("input", 5, "input"),
        ("text", {"format": {"type": "grammar"}}, "text.format"),
        ("service_tier", "priority", "service_tier"),
        ("made_up", 1, "made_up"),
        ("instructions", 5, "instructions"),
        ("max_output_tokens", "many", "max_output_tokens"),
        ("metadata", [], "metadata"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    sales: Stack, vendor: OpenAIServer, field: str, value: Any, param: str
) -> None:
    """Never dropped in silence, and nothing was asked of the vendor."""
    body = {"model": "acme/sales", "input": "Hello", field: value}
    status, reply = await sales.ask("POST", "/v1/responses", json=body)
    assert (status, reply["error"]["param"]) == (400, param), reply
    assert vendor.requests == []


async def test_what_clients_send_by_default_is_taken(sales: Stack, vendor: OpenAIServer) -> None:
    """The fields of Codex, the Agents SDK and Vercel's, with their values."""
    body = {
        "model": "acme/sales", "input": "Hello", "store": False, "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"verbosity": "low"}, "tools": [],
        "tool_choice": "auto", "parallel_tool_calls": True, "prompt_cache_key": "k", "truncation": "disabled",
        "service_tier": "auto", "temperature": 0.1, "max_output_tokens": 9, "metadata": {"a": "b"},
    }  # fmt: skip
    status, reply = await sales.ask("POST", "/v1/responses", json=body)
    assert (status, reply["status"], reply["metadata"]) == (200, "completed", {"a": "b"})
    sent = vendor.last.body
    assert (sent["reasoning_effort"], sent["verbosity"], sent["max_completion_tokens"]) == ("low", "low", 9)
    assert "tool_choice" not in sent


async def test_an_answer_that_was_cut_is_incomplete(stack: Stack) -> None:
    """It says why, and the item as well."""
    chunks = [delta(content="Half a"), delta(finish="length")]
    async with (
        scripted(stack, chunks),
        client_of(stack) as client,
        client.responses.stream(model="scripted", input="Go on") as stream,
    ):
        last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"  # type: ignore[union-attr]
    assert last.response.output[0].status == "incomplete"  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", [Fault.ERROR_FRAME, Fault.EARLY_CLOSE])
async def test_a_failure_in_mid_answer_is_the_last_event(
    sales: Stack, vendor: OpenAIServer, fault: Fault
) -> None:
    """In our own words; the half of an answer is not stored."""
    vendor.fault = fault
    body = {"model": "acme/sales", "input": "Hello", "stream": True, "store": True}
    async with sales.client.post(f"{sales.url}/v1/responses", json=body) as reply:
        text = await reply.text()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] in ("server_error", "rate_limit_exceeded")
    assert "secret words" not in text
    assert CANARY not in text
    status, _ = await sales.get(f"/v1/responses/{events[0]['response']['id']}")
    assert status == 404


def holder(owner: str, token: bytes = b"1") -> Principal:
    """The holder of a token."""
    return Principal(owner, "t", "viewer", digest=token)


def test_a_stored_response_belongs_to_its_token_and_agent() -> None:
    """For any other, and after an hour, it does not exist."""
    now = 0.0
    store = ResponseStore(lambda: now)
    ann = holder("acme")
    assert store.add(ann, "acme/sales", {"id": "r"}, [], [])
    assert store.find(ann, "r", "acme/sales")
    assert not store.find(ann, "r", "acme/other")
    assert not store.find(holder("acme", b"2"), "r")
    assert not store.find(holder("globex"), "r")
    assert not store.remove(holder("globex"), "r")
    now = KEEP_SECONDS + 1
    assert not store.find(ann, "r")


def test_the_memory_of_an_owner_is_bounded() -> None:
    """The oldest go first, and nobody else's."""
    store = ResponseStore(lambda: 0.0)
    ann, bob = holder("acme"), holder("globex")
    store.add(bob, "globex/a", {"id": "bob"}, [], [])
    big = [{"content": "x" * (OWNER_BYTES_MAX // 3)}]
    for number in range(4):
        store.add(ann, "acme/a", {"id": f"r{number}"}, big, [])
    assert [bool(store.find(ann, f"r{number}")) for number in range(4)] == [False, False, True, True]
    assert store.find(bob, "bob")
    assert not store.add(ann, "acme/a", {"id": "huge"}, [{"content": "x" * OWNER_BYTES_MAX}], [])


async def test_tools_of_a_namespace_are_called_by_their_own_names(stack: Stack) -> None:
    """Codex groups tools: the vendor gets one name, the client namespace and name."""
    group = {"type": "namespace", "name": "crm", "description": "CRM", "tools": [SUM]}
    chunks = [call(0, "{}", name="crm__sum", id="call_1"), delta(finish="tool_calls")]
    async with scripted(stack, chunks) as asked, client_of(stack) as client:
        how: dict[str, Any] = {
            "model": "scripted",
            "tools": [SUM, group],
            "extra_body": {"client_metadata": {}},
        }
        async with client.responses.stream(input="Hi.", **how) as stream:
            first = await stream.get_final_response()
        items = [*first.output, {"type": "function_call_output", "call_id": "call_1", "output": "3"}]
        async with client.responses.stream(input=items, **how) as stream:
            second = await stream.get_final_response()
    for answer in (first, second):
        (item,) = answer.output
        assert item.type == "function_call"
        assert (item.namespace, item.name) == ("crm", "sum")
    assert [tool["function"]["name"] for tool in asked[0]["tools"]] == ["sum", "crm__sum"]
    (called,) = [one for one in asked[1]["messages"] if one.get("tool_calls")]
    assert called["tool_calls"][0]["function"]["name"] == "crm__sum"


async def test_what_only_openai_runs_is_refused_by_its_name(sales: Stack) -> None:
    """Also where the client asks for its results, and inside a namespace: the tool comes first."""
    tool: Any = {"type": "web_search"}
    async with client_of(sales) as client:
        for tools, param in (
            ([SUM, tool], "tools[1]"),
            ([{"type": "namespace", "name": "n", "tools": [tool]}], "tools[0].tools[0]"),
        ):
            with pytest.raises(openai.BadRequestError, match="web_search") as refused:
                await client.responses.create(
                    model="sales", input="Hi.", tools=tools, include=["web_search_call.action.sources"]
                )
            assert refused.value.param == param
