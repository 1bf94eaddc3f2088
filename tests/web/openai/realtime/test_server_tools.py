"""Tools of the agent in a call: run by this server, seen by clients, and what a caller hears meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.services.speech import silence, spoken
from tests.vendors.tool_server import ToolServer
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call, call_deltas, settled

SAY = "One moment."
REAL_EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


@pytest.fixture
async def server() -> AsyncIterator[ToolServer]:
    """A server of tools."""
    async with ToolServer() as made:
        yield made


async def serve(stack: Stack, voices: Vendors, server: ToolServer, path: str = "/w", **tool: Any) -> None:
    """An agent ``a`` with the tool ``weather``, which its model calls once in each turn."""
    value = {
        "name": "weather",
        "description": "Weather.",
        "parameters": {"place": {"type": "string"}},
        "http": {"url": f"{server.url}{path}"},
    }
    extra = {key: tool.pop(key) for key in ("variables",) if key in tool}
    manifest = voices.manifest("one", turn={"eager": False}, tools=[value | tool], **extra)
    stack.write("a.yaml", manifest)
    await stack.sync()


def asked(voices: Vendors) -> list[dict[str, Any]]:
    """What the model was told last, without the prompt."""
    messages: list[dict[str, Any]] = voices.llm.last_chat["messages"]
    return [one for one in messages if one["role"] != "system"]


def check_shapes(line: Line) -> None:
    """Every event of answers and items is one of OpenAI's, by the types of its own library."""
    for event in line.events:
        if event["type"].startswith(("response.", "conversation.")):
            REAL_EVENTS.validate_python(event)


async def test_clients_see_a_call_as_one_of_an_mcp_server(
    stack: Stack, voices: Vendors, server: ToolServer
) -> None:
    """Its events and item in the shapes of OpenAI's library; the history, and the record, have it, too."""
    await serve(stack, voices, server)
    server.answers["/w"] = "It rains."
    async with call(stack, "a") as line:
        await line.update(include=["agentsd.turn"])
        await line.write("Weather in Bonn?")
        response = await line.done()
        made, message = response["output"]
        assert (made["type"], made["name"], made["arguments"]) == ("mcp_call", "weather", '{"place": "Bonn"}')
        assert (made["output"], made["error"], made["server_label"]) == ("It rains.", None, "agentsd")
        assert message["content"][0]["transcript"].endswith("You said It rains.")
        kinds = [event["type"] for event in line.events if event.get("item_id") == made["id"]]
        assert kinds == [
            "response.mcp_call_arguments.done",
            "response.mcp_call.in_progress",
            "response.mcp_call.completed",
        ]
        items = [event for event in line.events if (event.get("item") or {}).get("id") == made["id"]]
        assert [event["type"] for event in items] == [
            "response.output_item.added",
            "conversation.item.added",
            "response.output_item.done",
            "conversation.item.done",
        ]
        assert items[-1]["item"] == made
        (added,) = (one for one in line.of("conversation.item.added") if one["item"]["id"] == message["id"])
        assert added["previous_item_id"] == made["id"]
        report = (await line.until("agentsd.turn.done"))["turn"]["tools"]
        assert [(one["name"], one["outcome"]) for one in report] == [("weather", "ok")]
        await line.send("conversation.item.retrieve", item_id=made["id"])
        assert (await line.until("conversation.item.retrieved"))["item"] == made
        await line.write("Thanks.")
        await line.done()
        check_shapes(line)
        assert line.of("error") == []
    roles = [one["role"] for one in asked(voices)]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert asked(voices)[2]["content"] == "It rains."


async def test_a_call_that_fails_is_shown_as_failed(
    stack: Stack, voices: Vendors, server: ToolServer
) -> None:
    """With its outcome; the turn goes on."""
    await serve(stack, voices, server, "/bad/status/500")
    async with call(stack, "a") as line:
        await line.write("Weather in Bonn?")
        response = await line.done()
        made = response["output"][0]
        assert response["status"] == "completed"
        assert (made["output"], made["error"]["type"]) == (None, "tool_execution_error")
        assert made["error"]["message"].startswith("failed: ")
        assert line.of("response.mcp_call.failed")
        check_shapes(line)


async def test_say_is_spoken_while_a_tool_runs(stack: Stack, voices: Vendors, server: ToolServer) -> None:
    """Once, with the session's values in it, before the result; it is kept as what the caller heard."""
    variables = {"who": {"type": "string", "default": "there"}}
    say = {"say": "One moment, {{who}}.", "say_after_ms": 50}
    await serve(stack, voices, server, variables=variables, **say)
    server.answers["/w"] = "It rains."
    server.delay = 0.4
    async with call(stack, "a") as line:
        await line.update(variables={"who": "Ada"})
        await line.write("Weather in Bonn?")
        await line.until("response.output_audio.delta")
        assert line.of("response.mcp_call.completed") == []
        response = await line.done()
        words = response["output"][1]["content"][0]["transcript"]
        assert words == "One moment, Ada.\n\nI am one. You said It rains."
        check_shapes(line)
        await line.write("Thanks.")
        await line.done()
    assert asked(voices)[3]["content"] == words
    await settled(stack, voices)


async def test_nothing_is_said_for_a_tool_that_is_quick(
    stack: Stack, voices: Vendors, server: ToolServer, monkeypatch: Any
) -> None:
    """Nor where the model itself said something before it asked for the tool, nor in writing."""
    await serve(stack, voices, server, say=SAY, say_after_ms=100)
    async with call(stack, "a") as line:
        await line.write("Weather in Bonn?")
        await line.done()
        server.delay = 0.3
        await line.update(output_modalities=["text"])
        await line.write("Weather in Bonn?")
        await line.done()
        await line.update(output_modalities=["audio"])
        asks = call_deltas("weather", '{"place": "Bonn"}')
        answers: list[list[Any]] = [["Let me look. ", *asks], ["Rain."]]
        monkeypatch.setattr(voices.llm, "answer", lambda body: answers.pop(0))
        await line.write("Weather in Bonn?")
        response = await line.done()
        assert response["output"][0]["content"][0]["transcript"] == "Let me look. \n\nRain."
    assert SAY not in str(line.events)


async def interrupt(line: Line, server: ToolServer) -> dict[str, Any]:
    """Ask, and speak while the tool runs; the response that was interrupted."""
    await line.write("Weather in Bonn?")
    await asyncio.wait_for(server.arrived.wait(), 5)
    await line.append(silence(0.3) + spoken())
    response = await line.done()
    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "turn_detected")
    return response


async def test_a_tool_that_is_to_finish_does_when_the_caller_goes_on(
    stack: Stack, voices: Vendors, server: ToolServer, monkeypatch: Any
) -> None:
    """Its result is in the history for the next turn, and nothing is said of it by itself."""
    await serve(stack, voices, server)
    server.answers["/w"] = "It rains."
    done = asyncio.Event()
    monkeypatch.setattr(server, "pause", done.wait)
    async with call(stack, "a") as line:
        await line.update(include=["agentsd.turn"])
        response = await interrupt(line, server)
        (made,) = response["output"]
        assert (made["type"], made["output"]) == ("mcp_call", None)
        monkeypatch.setattr(voices.llm, "answer", lambda body: ["Yes. "])
        await line.append(silence(0.8))
        assert (await line.done())["status"] == "completed"
        assert asked(voices)[2]["content"].startswith("This call has not ended yet.")
        assert line.of("response.mcp_call.completed") == []
        done.set()
        await line.until("response.mcp_call.completed", item_id=made["id"])
        late = (await line.until("conversation.item.done"))["item"]
        assert (late["id"], late["output"]) == (made["id"], "It rains.")
        reports = [one["turn"]["tools"] for one in line.of("agentsd.turn.done")]
        assert [(one["name"], one["outcome"]) for one in reports[0]] == [("weather", "unfinished")]
        await line.write("And?")
        await line.done()
        check_shapes(line)
    assert [one["content"] for one in asked(voices) if one["role"] == "tool"] == ["It rains."]
    assert len(server.requests) == 1
    await settled(stack, voices)


async def test_a_tool_that_is_to_be_cancelled_is(
    stack: Stack, voices: Vendors, server: ToolServer, monkeypatch: Any
) -> None:
    """The request ends at the barge-in; history, client and record have it as cancelled."""
    await serve(stack, voices, server, "/bad/stall", on_interrupt="cancel")
    async with call(stack, "a") as line:
        await line.update(include=["agentsd.turn"])
        await interrupt(line, server)
        await asyncio.wait_for(server.last.disconnected.wait(), 5)
        monkeypatch.setattr(voices.llm, "answer", lambda body: ["Yes. "])
        await line.append(silence(0.8))
        assert (await line.done())["status"] == "completed"
        assert line.of("response.mcp_call.failed")
        check_shapes(line)
        (report,) = line.of("agentsd.turn.done")[0]["turn"]["tools"]
        assert (report["name"], report["outcome"]) == ("weather", "cancelled")
    assert '"error":"cancelled"' in asked(voices)[2]["content"]
    await settled(stack, voices)


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_call_that_ends_leaves_no_tool_running(
    stack: Stack, voices: Vendors, server: ToolServer, hangs_up: bool
) -> None:
    """Also where it was to finish: nobody is left to hear of it. The lease is given back."""
    await serve(stack, voices, server, "/bad/stall", timeout_seconds=60)
    async with call(stack, "a") as line:
        if hangs_up:
            await line.write("Weather in Bonn?")
            await asyncio.wait_for(server.arrived.wait(), 5)
        else:
            await interrupt(line, server)
            assert not server.last.disconnected.is_set()
    await asyncio.wait_for(server.last.disconnected.wait(), 5)
    await settled(stack, voices)


@pytest.mark.parametrize("beta", [True, False])
async def test_clients_that_do_not_know_such_items_see_none(
    stack: Stack, voices: Vendors, server: ToolServer, beta: bool
) -> None:
    """Of the beta interface, which did not have them, and those that ask for it: the answer alone."""
    await serve(stack, voices, server)
    async with call(stack, "a", headers={"OpenAI-Beta": "realtime=v1"} if beta else {}) as line:
        if not beta:
            await line.update(include=["agentsd.hidden_tools"])
        await line.write("Weather in Bonn?")
        response = await line.done()
        assert [one["type"] for one in response["output"]] == ["message"]
        assert "mcp_" not in str(line.events)
    assert len(server.requests) == 1


async def test_consent_by_the_callers_next_words(stack: Stack, voices: Vendors, server: ToolServer) -> None:
    """The first call is not made, and a request is seen; the same call in the next turn is made, once."""
    await serve(stack, voices, server, confirm=True)
    async with call(stack, "a") as line:
        await line.write("Weather in Bonn?")
        response = await line.done()
        made, request, message = response["output"]
        assert made["error"]["message"].startswith("confirmation_required")
        assert (request["type"], request["name"]) == ("mcp_approval_request", "weather")
        assert request["arguments"] == '{"place": "Bonn"}'
        assert "has not agreed" in message["content"][0]["transcript"]
        await line.send("response.create")  # nobody has said anything
        assert "confirmation_required" in str((await line.done())["output"])
        assert server.requests == []
        await line.write("Yes.")
        assert (await line.done())["output"][0]["error"] is None
        await line.write("And again?")
        assert "confirmation_required" in str((await line.done())["output"])
        check_shapes(line)
    assert len(server.requests) == 1


@pytest.mark.parametrize("approve", [True, False])
async def test_consent_by_the_clients_answer_to_the_request(
    stack: Stack, voices: Vendors, server: ToolServer, monkeypatch: Any, approve: bool
) -> None:
    """The call is made at once, with the request's id; or the model reads that it is declined."""
    await serve(stack, voices, server, confirm=True)
    async with call(stack, "a") as line:
        await line.write("Weather in Bonn?")
        request = (await line.done())["output"][1]
        monkeypatch.setattr(voices.llm, "answer", lambda body: ["Done. "])
        item = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}
        await line.send("conversation.item.create", item=item)
        response = await line.done()
        assert response["output"][-1]["content"][0]["transcript"] == "Done."
        calls = [one for one in response["output"] if one["type"] == "mcp_call"]
        assert [(one["approval_request_id"], one["error"]) for one in calls] == [
            (request["id"], None)
        ] * approve
        await line.send("conversation.item.create", item=item)
        assert (await line.until("error"))["error"]["param"] == "item.approval_request_id"
        check_shapes(line)
    results = [one["content"] for one in asked(voices) if one["role"] == "tool"]
    assert any('"error":"declined"' in one for one in results) is not approve
    assert len(server.requests) == approve
