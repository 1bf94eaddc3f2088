"""Hand-offs in chat, completions and responses: the answer goes on as the other agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsd.control.sync.reconciler import SyncOptions
from agentsd.files.tree import read_tree
from agentsd.services.tools.handoff import HANDOFFS_PER_TURN_MAX
from tests.control.place import uid
from tests.vendors.openai_server import Call, OpenAIServer
from tests.web.conftest import Stack

CHAT = "/v1/chat/completions"
QUESTION = {"role": "user", "content": "What of my invoice?"}
EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
OVER = [Call("transfer_to_billing")]


def manifest(url: str, name: str, *handoffs: dict[str, Any], **fields: Any) -> str:
    """An agent at the vendor, which sees the name as the model."""
    llm = {"provider": "openai-compatible", "model": name, "api_url": url, "retries": 0}
    head = {"name": name, "llm": llm, "system_prompt": f"You are {name}.", "handoff": list(handoffs)}
    return json.dumps({**head, **fields})


def to(target: str, **more: Any) -> dict[str, Any]:
    """An entry of ``handoff``."""
    return {"to": target, "when": "an invoice", **more}


@pytest.fixture
async def desk(stack: Stack, vendor: OpenAIServer) -> Stack:
    """A front desk of acme, and those to whom it hands over."""
    url, name = vendor.url, {"type": "string", "default": "nobody"}
    front = manifest(url, "front", to("acme/billing"), to("acme/back"), variables={"who": name})
    stack.write("acme/front.yaml", front)
    stack.write("acme/brief.yaml", manifest(url, "brief", to("acme/billing", carry="nothing")))
    stack.write("acme/noted.yaml", manifest(url, "noted", to("acme/billing", carry="summary")))
    prompt = {"system_prompt": "You are billing for {{who}}.", "variables": {"who": name}}
    stack.write("acme/billing.yaml", manifest(url, "billing", id=uid(7), overrides=[], **prompt))
    stack.write("acme/back.yaml", manifest(url, "back", to("acme/front")))
    await stack.sync()
    return stack


async def ask(stack: Stack, model: str = "acme/front", **fields: Any) -> tuple[Any, Any]:
    """A chat; headers and body of the reply."""
    body = {"model": model, "messages": [*EARLIER, QUESTION], **fields}
    async with stack.client.post(stack.url + CHAT, json=body) as reply:
        assert reply.status == 200, await reply.text()
        return reply.headers, await reply.json()


async def stream(stack: Stack, path: str = CHAT, **fields: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A streamed answer; its headers and its frames."""
    async with stack.client.post(stack.url + path, json={"stream": True, **fields}) as reply:
        assert reply.status == 200, await reply.text()
        text = await reply.text()
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return reply.headers, [json.loads(line) for line in lines if line != "[DONE]"]


def bodies(vendor: OpenAIServer) -> list[dict[str, Any]]:
    """All chats that the vendor got."""
    return [one.body for one in vendor.requests if "messages" in (one.body or {})]


def held(stack: Stack) -> float | None:
    """Leases that are held."""
    return stack.metrics.registry.get_sample_value("agentsd_leases_in_use")


async def test_the_answer_goes_on_as_the_other_agent(desk: Stack, vendor: OpenAIServer) -> None:
    """Its name is on the reply, its prompt and settings hold, and it knows the conversation, not the call."""
    vendor.script = [["One moment.", *OVER], ["Paid."]]
    headers, reply = await ask(desk, temperature=1.5, metadata={"variables": {"who": "Ada"}})
    assert (headers["X-Agent"], reply["model"]) == ("acme/billing", "acme/billing")
    message = reply["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message) == ("One moment.\n\nPaid.", False)
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["total_tokens"]) == ("stop", 10)
    first, second = bodies(vendor)
    names = [tool["function"]["name"] for tool in first["tools"]]
    assert names == ["transfer_to_billing", "transfer_to_back"]
    assert "an invoice" in first["tools"][0]["function"]["description"]
    assert (first["temperature"], "temperature" in second, "tools" in second) == (1.5, False, False)
    prompt = {"role": "system", "content": "You are billing for Ada."}
    assert second["messages"] == [prompt, *EARLIER, QUESTION]
    assert held(desk) == 0


async def test_a_stream_goes_on_as_the_other_agent(desk: Stack, vendor: OpenAIServer) -> None:
    """One id, one role; later chunks have the other's name, and the usage is of both."""
    vendor.script = [["One ", "moment.", *OVER], ["It is ", "paid."]]
    body = {"model": "acme/front", "messages": [QUESTION], "stream_options": {"include_usage": True}}
    _, frames = await stream(desk, **body)
    models = [one["model"] for one in frames]
    assert models == sorted(models, reverse=True)
    assert set(models) == {"acme/front", "acme/billing"}
    assert len({one["id"] for one in frames}) == 1
    deltas = [one["choices"][0]["delta"] for one in frames if one["choices"]]
    assert "".join(one.get("content") or "" for one in deltas) == "One moment.\n\nIt is paid."
    assert sum("role" in one for one in deltas) == 1
    assert not any("tool_calls" in one for one in deltas)
    ends = [one["choices"][0]["finish_reason"] for one in frames if one["choices"]]
    assert [end for end in ends if end] == ["stop"]
    assert frames[-1]["usage"]["total_tokens"] == 10
    vendor.script = [OVER, ["Paid."]]
    headers, frames = await stream(desk, **body)
    assert (headers["X-Agent"], {one["model"] for one in frames}) == ("acme/billing", {"acme/billing"})
    assert held(desk) == 0


async def test_responses_go_on_as_the_other_agent(desk: Stack, vendor: OpenAIServer) -> None:
    """The response has its name, and continues with either of the two."""
    vendor.script = [OVER, ["Paid."]]
    body = {"model": "acme/front", "input": "What of my invoice?", "store": True}
    async with desk.client.post(desk.url + "/v1/responses", json=body) as reply:
        response = await reply.json()
        assert (reply.headers["X-Agent"], response["model"]) == ("acme/billing", "acme/billing")
    texts = [item for item in response["output"] if item["type"] == "message"]
    assert texts[0]["content"][0]["text"] == "Paid."
    for model in ("acme/billing", "acme/front"):
        again = {"model": model, "input": "Thanks", "previous_response_id": response["id"]}
        assert (await desk.ask("POST", "/v1/responses", json=again))[0] == 200
    vendor.script = [OVER, ["Paid."]]
    _, events = await stream(desk, "/v1/responses", model="acme/front", input="What of my invoice?")
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["model"] == "acme/billing"
    assert held(desk) == 0


async def test_completions_go_on_as_the_other_agent(desk: Stack, vendor: OpenAIServer) -> None:
    """As chats do."""
    vendor.script = [OVER, ["Paid."]]
    status, reply = await desk.ask("POST", "/v1/completions", json={"model": "acme/front", "prompt": "Hi"})
    assert (status, reply["model"], reply["choices"][0]["text"]) == (200, "acme/billing", "Paid.")


async def test_what_the_other_agent_gets(desk: Stack, vendor: OpenAIServer) -> None:
    """The last question alone, or with notes of the first agent's model; without these, the last turns."""
    prompt = {"role": "system", "content": "You are billing for nobody."}
    vendor.script = [OVER, ["Paid."]]
    await ask(desk, "acme/brief")
    assert bodies(vendor)[-1]["messages"] == [prompt, QUESTION]
    vendor.script = [OVER, ["They wait for a refund."], ["Paid."]]
    await ask(desk, "acme/noted")
    wrote, last = bodies(vendor)[-2:]
    assert (wrote["model"], wrote["max_tokens"], "tools" in wrote) == ("noted", 400, False)
    assert [one["content"] for one in wrote["messages"]][:2] == ["Hello", "Hi."]
    assert wrote["messages"][2]["content"].startswith(QUESTION["content"])
    notes, question = last["messages"][1]["content"].rsplit("\n\n", 1)
    assert (last["messages"][0], question, len(last["messages"])) == (prompt, QUESTION["content"], 2)
    assert notes.endswith("They wait for a refund.")
    vendor.script = [OVER, [], ["Paid."]]
    await ask(desk, "acme/noted")
    assert bodies(vendor)[-1]["messages"] == [prompt, *EARLIER, QUESTION]


async def test_agents_that_hand_over_to_each_other_end(desk: Stack, vendor: OpenAIServer) -> None:
    """After so many hand-offs of a turn none is offered any more."""
    there, back = [Call("transfer_to_back")], [Call("transfer_to_front")]
    vendor.script = [there, back, there, ["Enough."]]
    headers, reply = await ask(desk)
    assert HANDOFFS_PER_TURN_MAX == 3
    assert (headers["X-Agent"], reply["choices"][0]["message"]["content"]) == ("acme/back", "Enough.")
    assert "tools" in bodies(vendor)[2]
    assert "tools" not in bodies(vendor)[3]
    assert held(desk) == 0


async def test_two_at_once_and_the_clients_own_tools(desk: Stack, vendor: OpenAIServer) -> None:
    """The first hand-off of a round counts; one beside a call of the client's tool is not made."""
    both = [Call("transfer_to_billing", id="a"), Call("transfer_to_back", id="b")]
    vendor.script = [both, ["Paid."]]
    headers, _ = await ask(desk)
    assert headers["X-Agent"] == "acme/billing"
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    vendor.script = [[Call("look", id="c"), Call("transfer_to_back", id="d")]]
    headers, reply = await ask(desk, tools=[tool])
    assert headers["X-Agent"] == "acme/front"
    (asked,) = reply["choices"][0]["message"]["tool_calls"]
    assert asked["function"]["name"] == "look"
    assert held(desk) == 0


@pytest.mark.parametrize("change", ["suspended", "of another owner", "gone"])
async def test_a_target_that_cannot_take_over(desk: Stack, vendor: OpenAIServer, change: str) -> None:
    """The plan refuses the file that names it; where that serves on, the model reads so, and answers."""
    file = desk.root / "acme/billing.yaml"
    front = manifest(vendor.url, "front", to(uid(7) if change == "of another owner" else "acme/billing"))
    desk.write("acme/front.yaml", front)
    await desk.sync()
    if change == "suspended":
        file.write_text(file.read_text().replace("{", '{"active": false, ', 1))
    else:
        (desk.root / "beta").mkdir()
        file.rename(desk.root / "beta/billing.yaml")
    outcome = await desk.reconciler.sync(read_tree(desk.root), SyncOptions(strict=False))
    assert "acme/front.yaml" in {one.path for one in outcome.plan.quarantined}
    vendor.script = [OVER if change != "of another owner" else [Call(f"transfer_to_{uid(7)}")], ["Myself."]]
    while desk.registry.snapshot.version < (outcome.head.version if outcome.head else 0):
        await desk.client.get(desk.url + "/healthz")
    headers, reply = await ask(desk)
    assert (headers["X-Agent"], reply["choices"][0]["message"]["content"]) == ("acme/front", "Myself.")
    result = bodies(vendor)[-1]["messages"][-1]
    assert (result["role"], json.loads(result["content"])["error"]) == ("tool", "unavailable")
    assert held(desk) == 0


async def test_a_client_that_leaves_holds_no_lease(desk: Stack, vendor: OpenAIServer) -> None:
    """The other agent's lease ends with the stream."""
    vendor.script = [OVER, ["It ", "is ", "paid."]]
    vendor.delay = 0.05
    body = {"model": "acme/front", "messages": [QUESTION], "stream": True}
    async with desk.client.post(desk.url + CHAT, json=body) as reply:
        await reply.content.readline()
        reply.close()
    while held(desk):
        await desk.client.get(desk.url + "/healthz")


async def test_an_assistant_s_question_goes_on_as_the_other_agent(desk: Stack, vendor: OpenAIServer) -> None:
    """``ask_agent`` of /mcp does what a chat does."""
    vendor.script = [["One moment.", *OVER], ["Paid."]]
    arguments = {"agent": "acme/front", "message": "What of my invoice?"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
               "params": {"name": "ask_agent", "arguments": arguments}}  # fmt: skip
    headers = {"Accept": "application/json, text/event-stream"}
    async with desk.client.post(f"{desk.url}/mcp", json=message, headers=headers) as reply:
        told = (await reply.json())["result"]["structuredContent"]
    assert (told["agent"], told["answer"]) == ("acme/billing", "One moment.\n\nPaid.")
    assert told["usage"]["completion_tokens"] == 8
    assert bodies(vendor)[1]["messages"][0]["content"] == "You are billing for nobody."
    assert held(desk) == 0
