"""Tools over real sockets: sealed keys, OpenAI's own client, consent, and what a stranger sees."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from agentsd.control.sync.reconciler import Reconciler
from agentsd.control.validation.checker import Checker
from agentsd.providers.catalog import default_catalog
from agentsd.services.turn_records.record import TurnRecord
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from agentsd.web.context import TURN_SINKS
from tests.vendors.base import Fault
from tests.vendors.openai_server import Call, OpenAIServer
from tests.vendors.tool_server import ToolServer
from tests.web.conftest import CANARY, Make, Stack, vendor_manifest
from tests.web.openai.test_chat_completions import client_of, frames_of

ASK = [{"role": "user", "content": "Where is my order?"}]
LOOK = Call("order_status", '{"order_id": "123456"}')
KEY = "tool-canary-93ab-that-nobody-may-see"
OTHER = "tool-canary-57cd-that-nobody-may-see"
TOOLS = """\
tools:
  - name: order_status
    description: Looks an order up.
    parameters: {{order_id: {{type: string, pattern: '^[0-9]+$'}}}}
    http: {{url: "{url}/orders/{{order_id}}"}}
    auth_token: {{value: {key}, origin: {url}}}
  - name: refund
    parameters: {{order_id: {{type: string}}}}
    http: {{url: "{url}/refunds", method: POST}}
    confirm: true
  - name: open_page
    client: true
    parameters: {{path: {{type: string}}}}
"""


@pytest.fixture
async def tools() -> AsyncIterator[ToolServer]:
    """A server of tools."""
    async with ToolServer() as server:
        yield server


@pytest.fixture
async def sales(stack: Stack, vendor: OpenAIServer, tools: ToolServer) -> Stack:
    """An agent with tools, its keys sealed."""
    text = vendor_manifest(vendor.url) + TOOLS.format(url=tools.url, key=KEY)
    stack.write("acme/sales.yaml", text, sealed=True)
    await stack.sync()
    return stack


async def chat(stack: Stack, messages: Any = ASK, status: int = 200, **body: Any) -> dict[str, Any]:
    """A chat, in the conversation of the header."""
    headers = body.pop("headers", {})
    asked = {"model": "acme/sales", "messages": messages, **body}
    got, reply = await stack.ask("POST", "/v1/chat/completions", json=asked, headers=headers)
    assert got == status, reply
    assert KEY not in json.dumps(reply)
    return dict(reply)


async def test_the_official_client_gets_the_answer(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """Whole and streamed; the tool's key reaches the tool, the vendor's the vendor."""
    async with client_of(sales) as client:
        for stream in (False, True):
            vendor.script = [[LOOK], ["It is ", "on its way."]]
            answer: Any = await client.chat.completions.create(
                model="acme/sales", messages=ASK, stream=stream
            )  # type: ignore[call-overload]
            if stream:
                chunks = [chunk async for chunk in answer]
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                reason = chunks[-1].choices[0].finish_reason
            else:
                text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
                assert answer.choices[0].message.tool_calls is None
            assert (text, reason) == ("It is on its way.", "stop")
            assert tools.last.path == "/orders/123456"
            assert tools.last.headers["authorization"] == f"Bearer {KEY}"
    assert all(one.headers["authorization"] == f"Bearer {CANARY}" for one in vendor.requests)
    assert KEY not in json.dumps([one.body for one in vendor.requests])


async def test_who_asks_sees_each_call(sales: Stack, vendor: OpenAIServer, tools: ToolServer) -> None:
    """With its arguments, outcome and time; a plain client sees no more chunks than the answer has."""
    tools.answers["/orders/123456"] = {"state": "shipped"}
    seen = []
    for options in ({"include_tools": True}, {}):
        vendor.script = [[LOOK], ["Done."]]
        body = {"model": "acme/sales", "messages": ASK, "stream": True, "stream_options": options}
        async with sales.client.post(f"{sales.url}/v1/chat/completions", json=body) as reply:
            seen.append([json.loads(one) for one in await frames_of(reply) if one != "[DONE]"])
    calls = [one["tool_call"] for one in seen[0] if "tool_call" in one]
    assert [one["status"] for one in calls] == ["in_progress", "completed"]
    assert calls[1]["milliseconds"] > 0
    assert {key: calls[1][key] for key in ("name", "arguments", "outcome", "output")} == {
        "name": "order_status", "arguments": LOOK.arguments, "outcome": "ok",
        "output": '{"state": "shipped"}',
    }  # fmt: skip
    assert not any("tool_call" in one or "tool_event" in one for one in seen[1])
    assert all(
        "stream_options" not in one.body or "include_tools" not in str(one.body) for one in vendor.requests
    )


async def test_the_older_interface_has_tools_too(sales: Stack, vendor: OpenAIServer) -> None:
    """And sees no calls."""
    for stream in (False, True):
        vendor.script = [[LOOK], ["Done."]]
        body = {"model": "acme/sales", "prompt": "Where?", "stream": stream}
        async with sales.client.post(f"{sales.url}/v1/completions", json=body) as reply:
            text = (await reply.read()).decode()
        assert "Done." in text
        assert "tool" not in text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_has_an_item_for_each_call(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer, stream: bool
) -> None:
    """As OpenAI's own client reads those of MCP servers; the texts of two rounds are two items."""
    vendor.script = [["Let me see. ", LOOK], ["Done."]]
    async with client_of(sales) as client:
        answer: Any = await client.responses.create(model="acme/sales", input="Where?", stream=stream)
        if stream:
            events = [event async for event in answer]
            kinds = [event.type for event in events]
            assert "response.mcp_call.in_progress" in kinds
            assert "response.mcp_call_arguments.done" in kinds
            assert "response.mcp_call.completed" in kinds
            assert [event.sequence_number for event in events] == list(range(len(events)))
            answer = events[-1].response
    kinds = [item.type for item in answer.output]
    assert kinds == (["message", "mcp_call", "message"] if stream else ["mcp_call", "message"])
    call = next(item for item in answer.output if item.type == "mcp_call")
    assert (call.name, call.arguments, call.error) == ("order_status", LOOK.arguments, None)
    assert json.loads(call.output) == {"path": "/orders/123456"}
    texts = [item.content[0].text for item in answer.output if item.type == "message"]
    assert texts == (["Let me see. ", "Done."] if stream else ["Let me see. \n\nDone."])


async def test_a_stored_response_goes_on_with_its_calls(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """The model knows what the tool answered, whether the response was stored or its items are sent back."""
    vendor.script = [[LOOK], ["Done."]]
    async with client_of(sales) as client:
        first = await client.responses.create(model="acme/sales", input="Where?", store=True)
        await client.responses.create(model="acme/sales", input="And?", previous_response_id=first.id)
        sent = [{"role": "user", "content": "Where?"}, *(item.model_dump() for item in first.output)]
        await client.responses.create(model="acme/sales", input=[*sent, {"role": "user", "content": "And?"}])  # type: ignore[list-item,misc]
    for request in vendor.requests[-2:]:
        heard = request.body["messages"][1:]
        assert [one["role"] for one in heard] == ["user", "assistant", "tool", "assistant", "user"]
        assert json.loads(heard[2]["content"]) == {"path": "/orders/123456"}
    assert len(tools.requests) == 1


async def test_a_forced_choice_of_the_agent_s_tool(sales: Stack, vendor: OpenAIServer) -> None:
    """It needs no tools of the client, in chat and in responses."""
    named = {"type": "function", "function": {"name": "order_status"}}
    vendor.script = [[LOOK], ["Done."], [LOOK], ["Done."]]
    await chat(sales, tool_choice=named)
    choice = {"type": "function", "name": "order_status"}
    body = {"model": "acme/sales", "input": "Where?", "tool_choice": choice}
    assert (await sales.ask("POST", "/v1/responses", json=body))[0] == 200
    assert [one.body.get("tool_choice") for one in vendor.requests] == [named, "auto"] * 2


async def test_a_client_s_tool_named_like_a_server_s(sales: Stack, vendor: OpenAIServer) -> None:
    """400 by its place, in chat and in responses."""
    same = {"type": "function", "function": {"name": "order_status"}}
    reply = await chat(sales, status=400, tools=[same])
    assert reply["error"]["param"] == "tools[0]"
    body = {"model": "acme/sales", "input": "x", "tools": [{"type": "function", "name": "order_status"}]}
    assert (await sales.ask("POST", "/v1/responses", json=body))[0] == 400
    assert vendor.requests == []


async def test_a_mixed_round_loses_neither(sales: Stack, vendor: OpenAIServer, tools: ToolServer) -> None:
    """The client gets its call, and the model both results."""
    vendor.script = [[LOOK, Call("open_page", '{"path": "/a"}', "D681PevKs")], ["Done."]]
    first = await chat(sales)
    message = first["choices"][0]["message"]
    assert [one["id"] for one in message["tool_calls"]] == ["D681PevKs"]
    result = {"role": "tool", "tool_call_id": "D681PevKs", "content": "opened"}
    answer = await chat(sales, [*ASK, message, result])
    assert answer["choices"][0]["message"]["content"] == "Done."
    heard = vendor.last_chat["messages"][1:]
    assert [one.get("tool_call_id") for one in heard] == [None, None, "call_1", "D681PevKs"]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "sent"])
async def test_items_of_a_mixed_round_are_not_doubled(
    sales: Stack, vendor: OpenAIServer, stored: bool
) -> None:
    """Responses show the server's calls as items: the model gets each once, whoever keeps them."""
    other = Call("order_status", '{"order_id": "654321"}')
    vendor.script = [[LOOK], [other, Call("open_page", '{"path": "/a"}', "open_page:0")], ["Done."]]
    async with client_of(sales) as client:
        first: Any = await client.responses.create(model="acme/sales", input="Hi", store=True)
        call_id = next(one.call_id for one in first.output if one.type == "function_call")
        result: Any = {"type": "function_call_output", "call_id": call_id, "output": "opened"}
        sent: Any = [{"role": "user", "content": "Hi"}, *(one.model_dump() for one in first.output), result]
        more: Any = {"input": [result], "previous_response_id": first.id} if stored else {"input": sent}
        await client.responses.create(model="acme/sales", **more)
    heard = vendor.last_chat["messages"][1:]
    assert [one["role"] for one in heard] == ["user"] + ["assistant", "tool"] * 3
    assert [one["content"] for one in heard[2::2]] == [
        '{"path": "/orders/123456"}', '{"path": "/orders/654321"}', "opened",
    ]  # fmt: skip
    assert heard[-1]["tool_call_id"] == "open_page:0"


REFUND = Call("refund", '{"order_id": "7"}')


def errors_of(vendor: OpenAIServer) -> list[str]:
    """Outcomes that the model read of failed calls in its newest request."""
    texts = [one["content"] for one in vendor.last_chat["messages"] if one["role"] == "tool"]
    return [json.loads(text)["error"] for text in texts if '"error"' in text]


async def test_consent_is_asked_and_used_once(sales: Stack, vendor: OpenAIServer, tools: ToolServer) -> None:
    """Not in the turn that asks, once in the user's next one, for exactly the call that was asked for."""
    headers = {"X-Conversation-Id": "c1"}
    vendor.script = [[REFUND], [REFUND], ["Shall I?"]]
    await chat(sales, headers=headers)
    assert errors_of(vendor) == ["confirmation_required"] * 2
    assert tools.requests == []
    other = Call("refund", '{"order_id": "8"}')
    vendor.script = [[other], [REFUND], [REFUND], ["Done."]]
    await chat(sales, headers=headers)
    assert errors_of(vendor) == ["confirmation_required"] * 2
    assert [one.body for one in tools.requests] == [{"order_id": "7"}]


async def test_consent_expires_with_the_next_turn(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """Even if that one calls nothing; another conversation has none; nor has a request without an id."""
    vendor.script = [
        [REFUND],
        ["Shall I?"],
        ["Nice weather."],
        [REFUND],
        ["?"],
        [REFUND],
        ["?"],
        [REFUND],
        ["?"],
    ]
    for name in ("c1", "c1", "c1", "c2", None):
        await chat(sales, headers={"X-Conversation-Id": name} if name else {})
    assert errors_of(vendor) == ["confirmation_unavailable"]
    assert tools.requests == []


async def test_consent_is_to_all_that_a_call_sends(
    stack: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """Not to the same arguments for another customer, nor to a tool that leads elsewhere meanwhile."""
    head = (
        vendor_manifest(vendor.url)
        + "variables: {customer: {type: string}, mood: {type: string, default: x}}\n"
    )
    entry = (
        "tools:\n  - name: refund\n    parameters: {{order_id: {{type: string}}}}\n    confirm: true\n"
        '    http: {{url: "{url}/{path}/{{{{customer}}}}", method: POST}}\n'
    )

    async def turn(customer: str, mood: str = "x") -> None:
        values = {"customer": customer, "mood": mood}
        await chat(stack, headers={"X-Conversation-Id": "c1"}, metadata={"variables": values})

    stack.write("acme/sales.yaml", head + entry.format(url=tools.url, path="refunds"), sealed=True)
    await stack.sync()
    vendor.script = [[REFUND], ["?"], [REFUND], ["?"], [REFUND], ["?"], [REFUND], ["Done."]]
    await turn("ada")
    await turn("bob")
    assert errors_of(vendor) == ["confirmation_required"]
    stack.write("acme/sales.yaml", head + entry.format(url=tools.url, path="payments"), sealed=True)
    await stack.sync()
    await turn("bob")
    assert errors_of(vendor) == ["confirmation_required"]
    assert tools.requests == []
    await turn("bob", mood="y")  # which the tool does not send
    assert [one.path for one in tools.requests] == ["/payments/bob"]


async def test_results_of_a_client_s_tools_are_no_turn_of_the_user(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """What was asked for waits for the user's own words."""
    headers = {"X-Conversation-Id": "c1"}
    page = Call("open_page", "{}", "call_2")
    vendor.script = [[REFUND], [page], [REFUND], ["Shall I?"], [page], [REFUND], ["Done."]]
    for _ in range(2):
        first = await chat(sales, headers=headers)
        called = first["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "opened"}
        await chat(sales, [*ASK, called, result], headers=headers)
    assert [one.path for one in tools.requests] == ["/refunds"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_call_of_the_client_that_was_cut_off_is_incomplete(
    sales: Stack, vendor: OpenAIServer, stream: bool
) -> None:
    """In responses by its status, in chats by the reason: nobody runs half a call."""
    vendor.finish = "length"
    cut = Call("open_page", '{"path": "/a', "c2")
    vendor.script = [[Call("open_page", '{"path": "/a"}'), cut], [cut]]
    async with client_of(sales) as client:
        answer: Any = await client.responses.create(model="acme/sales", input="Open it", stream=stream)
        if stream:
            (answer,) = [one.response async for one in answer if one.type == "response.incomplete"]
    assert (answer.status, [item.status for item in answer.output]) == (
        "incomplete",
        ["completed", "incomplete"],
    )
    if not stream:
        assert (await chat(sales))["choices"][0]["finish_reason"] == "length"


async def test_consent_in_responses_is_an_item(sales: Stack, vendor: OpenAIServer, tools: ToolServer) -> None:
    """Agreed to by its id: the call is made at once, and once; declined: the model reads that."""
    async with client_of(sales) as client:
        vendor.script = [[REFUND], ["Shall I?"]]
        first = await client.responses.create(model="acme/sales", input="Refund 7", store=True)
        [asked] = [item for item in first.output if item.type == "mcp_approval_request"]
        assert (asked.name, asked.arguments) == ("refund", REFUND.arguments)
        answer: Any = {"type": "mcp_approval_response", "approval_request_id": asked.id, "approve": True}
        done = await client.responses.create(
            model="acme/sales", input=[answer], previous_response_id=first.id
        )
        [call] = [item for item in done.output if item.type == "mcp_call"]
        assert (call.name, call.approval_request_id, call.error) == ("refund", asked.id, None)
        assert [one.body for one in tools.requests] == [{"order_id": "7"}]
        again = await client.responses.create(
            model="acme/sales", input=[answer], previous_response_id=first.id
        )
        assert "mcp_approval_request" in [item.type for item in again.output]
        refused = {**answer, "approve": False}
        await client.responses.create(model="acme/sales", input=[refused], previous_response_id=first.id)
        assert "declined" in errors_of(vendor)
    assert len(tools.requests) == 1


@pytest.mark.parametrize("name", ["refund", "order_status"])
async def test_nobody_approves_what_nobody_asked(
    sales: Stack, tools: ToolServer, vendor: OpenAIServer, name: str
) -> None:
    """A client that writes the request itself runs nothing."""
    request = {"type": "mcp_approval_request", "id": "mcpr_1", "name": name, "arguments": '{"order_id": "7"}'}
    answer = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    user = {"role": "user", "content": "x"}
    body = {"model": "acme/sales", "input": [user, request, answer]}
    assert (await sales.ask("POST", "/v1/responses", json=body))[0] == 200
    assert tools.requests == []
    body["input"] = [user, answer]
    status, reply = await sales.ask("POST", "/v1/responses", json=body)
    assert (status, reply["error"]["param"]) == (400, "input[1]")


async def test_a_key_that_is_moved_to_another_origin_stays_here(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """Whoever syncs without a key cannot know; the runtime refuses, and the last good version serves."""
    file = sales.root / "acme/sales.yaml"
    async with ToolServer() as thief:
        file.write_text(file.read_text().replace(f"{tools.url}/orders", f"{thief.url}/orders"))
        keyless = Reconciler(Checker(default_catalog(), Opener(Identities(), None)), sales.database)
        await replace(sales, reconciler=keyless).sync()
        vendor.script = [[LOOK], ["Done."]]
        await chat(sales)
        assert thief.requests == []
        assert tools.last.path == "/orders/123456"
    _, agent = await sales.get("/api/agents/acme~sales")
    assert (agent["condition"]["type"], agent["condition"]["reason"]) == ("Degraded", "SecretDestination")
    assert agent["tools"][0]["auth_token"] == "**********"
    assert KEY not in json.dumps(agent)


@pytest.mark.soak
async def test_the_embedded_model_calls_a_real_tool(stack: Stack, tools: ToolServer) -> None:
    """Forced by `tool_choice`, in a chat and in a response, without a network."""
    text = "name: Local\nllm: {provider: llama-cpp.embedded, temperature: 0, max_tokens: 48}\n"
    if default_catalog().vendor("llm", "llama-cpp.embedded").needs.missing():  # type: ignore[union-attr]
        pytest.skip("llama-cpp.embedded is not installed")
    stack.write("local.yaml", text + "\n".join(TOOLS.format(url=tools.url, key="").splitlines()[:5]) + "\n")
    await stack.sync()
    named = {"type": "function", "function": {"name": "order_status"}}
    body = {"model": "local", "messages": [{"role": "user", "content": "Where is order 123456?"}]}
    status, reply = await stack.ask("POST", "/v1/chat/completions", json={**body, "tool_choice": named})
    assert status == 200
    assert reply["choices"][0]["message"]["content"]
    asked = {"model": "local", "input": "Where is order 123456?", "tool_choice": "required"}
    status, reply = await stack.ask("POST", "/v1/responses", json=asked)
    assert status == 200
    assert [one["type"] for one in reply["output"]] == ["mcp_call", "message"]
    assert reply["output"][0]["error"] is None
    assert len(tools.requests) == 2


async def test_an_editor_runs_a_tool_by_hand(sales: Stack, tools: ToolServer) -> None:
    """One that asks for consent as well; the audit has who, which and how it ended, and no argument."""
    path = "/api/agents/acme~sales/tools"
    ran = []
    for name, arguments in (
        ("order_status", {"order_id": "1"}),
        ("refund", {"order_id": "7"}),
        ("refund", {}),
    ):
        status, reply = await sales.ask("POST", f"{path}/{name}", json={"arguments": arguments})
        assert status == 200
        ran.append((reply["name"], reply["outcome"]))
    assert ran == [("order_status", "ok"), ("refund", "ok"), ("refund", "invalid_arguments")]
    assert [one.path for one in tools.requests] == ["/orders/1", "/refunds"]
    _, page = await sales.get("/api/audit")
    found = [(one["action"], one["path"], one["code"]) for one in page["items"]]
    assert ("run-tool", "tools/refund", "invalid_arguments") in found
    assert len(found) == 3
    assert (await sales.ask("POST", f"{path}/nothing", json={}))[0] == 404
    assert (await sales.ask("POST", f"{path}/open_page", json={}))[0] == 400


async def test_a_probe_sends_what_changes_nothing(
    stack: Stack, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """A GET whose parameters have examples or defaults; nothing else is called."""
    text = vendor_manifest(vendor.url) + (
        f"tools:\n  - name: ping\n    http: {{url: '{tools.url}/ping'}}\n"
        "  - name: look\n"
        "    parameters: {id: {type: string, examples: ['7']}, lang: {type: string, default: en}}\n"
        f"    http: {{url: '{tools.url}/look/{{id}}'}}\n"
        f"  - name: gone\n    http: {{url: '{tools.url}/bad/status/404'}}\n"
        "  - name: other\n    parameters: {id: {type: string}}\n"
        f"    http: {{url: '{tools.url}/other/{{id}}'}}\n"
        f"  - name: post\n    http: {{url: '{tools.url}/post', method: POST}}\n"
    )
    stack.write("acme/sales.yaml", text, sealed=True)
    await stack.sync()
    _, verdict = await stack.ask("POST", "/api/agents/acme~sales/test")
    found = {one["at"]: (one["ok"], one["reason"]) for one in verdict["providers"]}
    assert found == {
        "llm": (True, ""), "tools.ping": (True, ""), "tools.look": (True, ""),
        "tools.gone": (False, "failed"),
    }  # fmt: skip
    assert {one.path for one in tools.requests} == {"/ping", "/look/7", "/bad/status/404"}


async def test_a_tool_s_key_is_nowhere_else(
    sales: Stack, vendor: OpenAIServer, tools: ToolServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log, the database, the page of metrics, a reply, nor an error, whatever the tool does."""
    caplog.set_level("DEBUG")
    tools.answers["/orders/123456"] = {"you": f"Bearer {KEY}"}
    for fault in (None, Fault.UNAUTHORIZED, Fault.REDIRECT, Fault.BROKEN):
        tools.fault = fault
        vendor.script = [[LOOK], ["Done."]] * 2
        await chat(sales)
        await sales.ask(
            "POST", "/api/agents/acme~sales/tools/order_status", json={"arguments": {"order_id": "1"}}
        )
    async with sales.client.get(f"{sales.url}/metrics") as reply:
        seen = await reply.text()
    async with sales.database.transaction() as connection:
        tables = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in await tables.fetchall():
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
            seen += str(await (await connection.execute(query)).fetchall())
    assert base64.b64encode(KEY.encode()[:24]).decode() not in seen
    assert KEY.encode().hex() not in seen
    assert KEY not in seen
    assert KEY not in caplog.text
    assert KEY not in json.dumps([one.body for one in vendor.requests])
    assert all(KEY in str(one.headers) for one in tools.requests if one.path.startswith("/orders"))


async def test_an_edit_through_the_api_seals_a_key_and_keeps_the_others(
    make: Make, vendor: OpenAIServer, tools: ToolServer
) -> None:
    """A masked key is kept with its tool, also where that moved; a new one is sealed with its origin."""
    stack = await make(write_back="files")
    text = vendor_manifest(vendor.url) + TOOLS.format(url=tools.url, key=KEY)
    stack.write("acme/sales.yaml", text, sealed=True)
    await stack.sync()
    _, agent = await stack.get("/api/agents/acme~sales")
    listed = agent["tools"]
    new = {
        "name": "news", "http": {"url": f"{tools.url}/news"},
        "auth_token": {"value": OTHER, "origin": tools.url},
    }  # fmt: skip
    status, reply = await stack.ask("PATCH", "/api/agents/acme~sales", json={"tools": [new, *listed]})
    assert status == 200, reply
    file = (stack.root / "acme/sales.yaml").read_text()
    assert KEY not in file
    assert OTHER not in file
    assert tools.url not in file.partition("auth_token")[2].partition("http")[0]
    for name, key in (("news", OTHER), ("order_status", KEY)):
        arguments = {"order_id": "1"} if name == "order_status" else {}
        path = f"/api/agents/acme~sales/tools/{name}"
        _, ran = await stack.ask("POST", path, json={"arguments": arguments})
        assert ran["outcome"] == "ok"
        assert tools.last.headers["authorization"] == f"Bearer {key}"


async def test_a_turn_s_record_has_its_tools(sales: Stack, vendor: OpenAIServer) -> None:
    """With outcome and time, and without arguments."""
    records: list[TurnRecord] = []

    async def take(record: TurnRecord) -> None:
        records.append(record)

    sales.running._runner.app[TURN_SINKS].add("test", take)
    vendor.script = [[LOOK, Call("nothing", "{}", "c2")], ["Done."]]
    await chat(sales)
    while not records:
        await asyncio.sleep(0.001)
    used = {one.name: one.outcome for one in records[0].tools}
    assert used == {"order_status": "ok", "nothing": "unknown_tool"}
    assert "123456" not in str(records)
