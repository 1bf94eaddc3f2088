"""Rounds of a turn: what the model gets, what a client sees, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentsd.core.errors import InvalidChat
from agentsd.providers.base import ProviderEmpty
from agentsd.services import chat
from agentsd.services.tools.events import ParagraphBegan, ToolEnded, ToolStarted, get_event
from agentsd.services.tools.hidden_rounds import HiddenRoundStore
from agentsd.services.tools.turn import ToolTurn
from tests.services.tools.conftest import OPEN_PAGE, Bench, MakeBench, order_status, poster
from tests.vendors.base import Fault
from tests.vendors.openai_server import Call, OpenAIServer
from tests.vendors.tool_server import INSTRUCTIONS, ToolServer

ASK = {"role": "user", "content": "Where is my order?"}
LOOK = Call("order_status", '{"order_id": "123456"}')


async def ask(bench: Bench, turn: ToolTurn | None = None, *, stream: bool, **body: Any) -> dict[str, Any]:
    """The text, the calls of the client, the reason and the events of one answer."""
    asked = {"messages": [ASK], **body}
    turn = turn or ToolTurn()
    if not stream:
        whole = await chat.complete_chat(bench.agent, asked, turn)
        message = whole["choices"][0]["message"]
        calls = message.get("tool_calls", [])
        reason, text = whole["choices"][0]["finish_reason"], message["content"] or ""
        return {
            "text": text,
            "calls": calls,
            "reason": reason,
            "events": turn.events,
            "usage": whole["usage"],
        }
    text, reason, usage = "", None, None
    calls: list[Any] = []
    chunks = [
        one
        async for one in chat.stream_chat(
            bench.agent, {**asked, "stream_options": {"include_usage": True, "include_tools": True}}, turn
        )
    ]
    roles = [
        one["choices"][0]["delta"].get("role") for one in chunks if one["choices"] and not get_event(one)
    ]
    assert roles[0] == "assistant"
    assert not any(roles[1:])
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
            for part in choice["delta"].get("tool_calls", ()):
                _grow(calls, part)
    assert [get_event(one) for one in chunks if get_event(one)] == turn.events
    return {"text": text, "calls": calls, "reason": reason, "events": turn.events, "usage": usage}


def _grow(calls: list[Any], part: dict[str, Any]) -> None:
    if part["index"] == len(calls):
        function = {"name": "", "arguments": ""}
        calls.append({"id": part["id"], "type": part["type"], "function": function})
    for key, value in part["function"].items():
        calls[part["index"]]["function"][key] += value


def outcomes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and outcomes of the calls that ended."""
    return [(one.call.name, one.result.outcome) for one in answer["events"] if isinstance(one, ToolEnded)]


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both
async def test_a_tool_is_called_and_its_result_answers(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """The model gets the tool, then its result; the client sees one answer, with the usage of both rounds."""
    made = bench(order_status(tool_server.url), system_prompt="Be brief.")
    made.model.script = [["Let me look. ", LOOK], ["It is on its way."]]
    tool_server.answers["/orders/123456"] = {"state": "shipped"}
    answer = await ask(made, stream=stream)
    assert answer["text"] == "Let me look. \n\nIt is on its way."
    assert (answer["calls"], answer["reason"]) == ([], "stop")
    assert answer["usage"]["total_tokens"] == 10
    assert made.paths == ["/orders/123456"]
    offered = made.model.last_chat["tools"]
    assert [one["function"]["name"] for one in offered] == ["order_status"]
    assert offered[0]["function"]["parameters"]["required"] == ["order_id"]
    call, result = made.heard()[-2:]
    assert call["tool_calls"][0]["function"] == {
        "name": "order_status",
        "arguments": '{"order_id": "123456"}',
    }
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": '{"state": "shipped"}'}
    kinds = [type(one) for one in answer["events"]]
    assert kinds == [ToolStarted, ToolEnded, *([ParagraphBegan] if stream else [])]
    assert answer["events"][1].result.milliseconds > 0


@both
async def test_calls_of_one_round_run_at_the_same_time(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """Unless the client asks for one at a time; results keep the order of the calls."""
    made = bench(order_status(tool_server.url), poster(tool_server.url))
    tool_server.delay = 0.05
    calls = [
        LOOK,
        Call("create", '{"text": "a"}', id="call_2"),
        Call("order_status", '{"order_id": "654321"}', "c3"),
    ]
    for parallel, busiest in ((None, 3), (False, 1)):
        tool_server.busiest = 0
        made.model.script = [calls, ["Done."]]
        answer = await ask(made, stream=stream, parallel_tool_calls=parallel)
        assert tool_server.busiest == busiest
        assert answer["text"] == "Done."
        assert [one["tool_call_id"] for one in made.heard()[-3:]] == ["call_1", "call_2", "c3"]


@both
@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (Call("order_status", '{"order_id": "12"}'), "invalid_arguments"),
        (Call("order_status", '{"order_id": "123456", "admin": true}'), "invalid_arguments"),
        (Call("order_status", "{}"), "invalid_arguments"),
        (Call("order_status", "order 123456, please"), "invalid_arguments"),
        (Call("order_status", "[1]"), "invalid_arguments"),
        (Call("order_status", '{"order_id": "1234'), "invalid_arguments"),
        (Call("order_statuss", "{}"), "unknown_tool"),
        (Call("order_status", LOOK.arguments, named_in_pieces=True), "ok"),
    ],
)
async def test_what_a_model_gets_wrong_is_a_result_that_it_reads(
    bench: MakeBench, tool_server: ToolServer, stream: bool, call: Call, outcome: str
) -> None:
    """Nothing is sent for arguments that do not fit; the turn goes on."""
    made = bench(order_status(tool_server.url))
    made.model.script = [[call], ["I see."]]
    answer = await ask(made, stream=stream)
    assert answer["text"] == "I see."
    assert [one[1] for one in outcomes(answer)] == [outcome]
    assert len(made.paths) == (outcome == "ok")
    again = json.loads(made.heard()[1]["tool_calls"][0]["function"]["arguments"])
    assert isinstance(again, dict)  # vendors refuse a conversation with anything else
    if outcome != "ok":
        assert json.loads(made.heard()[-1]["content"])["error"] == outcome


@both
async def test_a_model_that_calls_for_ever_has_to_answer(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """After `tool_rounds` rounds it may call no more; one that does is a typed error."""
    made = bench(order_status(tool_server.url), tool_rounds=3)
    made.model.always = [LOOK]
    answer = await ask(made, stream=stream)
    assert answer["text"] == "This is a test."
    assert len(made.paths) == 3
    assert made.model.last_chat["tool_choice"] == "none"
    made.model.stubborn = True
    with pytest.raises(ProviderEmpty) as caught:
        await ask(made, stream=stream)
    assert "tool_rounds" in caught.value.hint
    assert len(made.paths) == 6


@both
async def test_a_forced_choice_is_forced_once(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """Or the model could never answer; `none` and `auto` stay."""
    made = bench(order_status(tool_server.url))
    named = {"type": "function", "function": {"name": "order_status"}}
    for choice, later in ((named, "auto"), ("required", "auto"), ("auto", "auto"), (None, None)):
        made.model.script = [[LOOK], ["Done."]]
        await ask(made, stream=stream, tool_choice=choice)
        first, second = (one.body for one in made.model.requests[-2:])
        assert (first.get("tool_choice"), second.get("tool_choice")) == (choice, later)
    await ask(made, stream=stream, tool_choice="none")
    assert made.model.last_chat["tool_choice"] == "none"


@both
async def test_a_client_s_call_ends_the_turn(bench: MakeBench, tool_server: ToolServer, stream: bool) -> None:
    """Of the manifest's `client: true` and of the client's own tools alike."""
    own = {"type": "function", "function": {"name": "beep", "parameters": {"type": "object"}}}
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    for name in ("open_page", "beep"):
        made.model.script = [["So. ", Call(name, '{"path": "/a"}')]]
        answer = await ask(made, stream=stream, tools=[own])
        assert answer["reason"] == "tool_calls"
        assert answer["calls"][0]["function"] == {"name": name, "arguments": '{"path": "/a"}'}
        assert answer["text"] == "So. "
    names = [one["function"]["name"] for one in made.model.last_chat["tools"]]
    assert names == ["order_status", "open_page", "beep"]
    assert made.paths == []


@both
async def test_a_mixed_round_loses_neither(bench: MakeBench, tool_server: ToolServer, stream: bool) -> None:
    """What the client does not see is there again when it sends its results, earlier rounds included."""
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    turn = ToolTurn(hidden=HiddenRoundStore().of("acme", b"1"))
    made.model.script = [
        [LOOK],
        [Call("order_status", '{"order_id": "654321"}', "c2"), Call("open_page", '{"path": "/a"}', "c3")],
        ["All done."],
    ]
    answer = await ask(made, turn, stream=stream)
    assert answer["reason"] == "tool_calls"
    (shown,) = [one["id"] for one in answer["calls"]]
    assert made.paths == ["/orders/123456", "/orders/654321"]
    said = [ASK, {"role": "assistant", "content": None, "tool_calls": answer["calls"]}]
    said.append({"role": "tool", "tool_call_id": shown, "content": "opened"})
    again = await ask(made, ToolTurn(hidden=turn.hidden), stream=stream, messages=said)
    assert again["text"] == "All done."
    heard = made.heard()
    assert [one["role"] for one in heard] == ["user", "assistant", "tool", "assistant", "tool", "tool"]
    assert [one["id"] for one in heard[3]["tool_calls"]] == ["c2", "c3"]
    assert [one["tool_call_id"] for one in heard if one["role"] == "tool"] == ["call_1", "c2", "c3"]
    assert len(made.paths) == 2


@both
async def test_conversations_whose_calls_have_the_same_id(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """Kimi and others number the calls of each conversation anew: one token's must not meet.

    The id of the vendor is then its own affair: the client has another, and the vendor gets its own back.
    """
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    hidden = HiddenRoundStore().of("acme", b"1")
    given = "functions.open_page:0"
    made.model.script = [[Call("open_page", "{}", given)], [LOOK, Call("open_page", "{}", given)]]
    mine, other = [await ask(made, ToolTurn(hidden=hidden), stream=stream) for _ in range(2)]
    assert mine["calls"][0]["id"] != other["calls"][0]["id"]
    for answer, roles in (
        (mine, ["user", "assistant", "tool"]),
        (other, ["user", "assistant", "tool", "tool"]),
    ):
        said = [ASK, {"role": "assistant", "content": None, "tool_calls": answer["calls"]}]
        said.append({"role": "tool", "tool_call_id": answer["calls"][0]["id"], "content": "opened"})
        made.model.script = [["Done."]]
        await ask(made, ToolTurn(hidden=hidden), stream=stream, messages=said)
        assert [one["role"] for one in made.heard()] == roles
        assert made.heard()[-1]["tool_call_id"] == given
        assert made.heard()[1]["tool_calls"][-1]["id"] == given


@both
async def test_an_id_that_is_unique_is_the_vendors(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """Mistral refuses ids of another form, also where this replica knows nothing of the call any more."""
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    for given in ("D681PevKs", "chatcmpl-tool-88d9ce2a72ae4290a4802d3a3252d3ac", "call_JfQKHTbG9eR7"):
        made.model.script = [[Call("open_page", "{}", given)]]
        answer = await ask(made, ToolTurn(hidden=HiddenRoundStore().of("acme", b"1")), stream=stream)
        assert [one["id"] for one in answer["calls"]] == [given]


async def test_usage_that_grows_with_each_chunk_counts_once(
    bench: MakeBench, tool_server: ToolServer
) -> None:
    """Some vendors send the sum so far with every chunk, not only at the end."""
    made = bench(order_status(tool_server.url))
    made.model.growing_usage = True
    made.model.script = [[LOOK], ["It ", "is ", "on its way."]]
    answer = await ask(made, stream=True)
    assert answer["text"] == "It is on its way."
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["usage"]["total_tokens"] == 10


@both
async def test_a_call_that_was_cut_off_is_not_made(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """Arguments that never came are not those of a call without any; a whole call beside it is made."""
    page = {"name": "list_orders", "http": {"url": f"{tool_server.url}/orders/all"}}
    made = bench(order_status(tool_server.url), page, OPEN_PAGE)
    made.model.finish = "length"
    made.model.script = [[LOOK, Call("list_orders", "", "c2")], ["Which one?"]]
    answer = await ask(made, stream=stream)
    assert outcomes(answer) == [("list_orders", "invalid_arguments"), ("order_status", "ok")]
    assert made.paths == ["/orders/123456"]
    made.model.script = [[Call("open_page", '{"path": "/a', "c3")]]
    assert (await ask(made, stream=stream))["reason"] == "length"


@both
async def test_words_before_a_round_without_any_stay(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """An answer that ends with a call of the client's has what was written before it."""
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    made.model.script = [["Let me see.", LOOK], [Call("open_page", "{}", "c3")]]
    answer = await ask(made, stream=stream)
    assert (answer["text"], answer["reason"]) == ("Let me see.", "tool_calls")


async def test_a_stranger_s_token_finds_nothing(bench: MakeBench, tool_server: ToolServer) -> None:
    """What is kept belongs to one token."""
    made = bench(order_status(tool_server.url), OPEN_PAGE)
    store = HiddenRoundStore()
    made.model.script = [[LOOK, Call("open_page", "{}", "c3")]]
    answer = await ask(made, ToolTurn(hidden=store.of("acme", b"1")), stream=False)
    said = [ASK, {"role": "assistant", "content": None, "tool_calls": answer["calls"]}]
    for owner, token, known in (("acme", b"2", 2), ("other", b"1", 2), ("acme", b"1", 3)):
        assert len(store.of(owner, token).restore(said)) == known


@both
async def test_what_a_request_must_not_ask(bench: MakeBench, tool_server: ToolServer, stream: bool) -> None:
    """A client's tool with the name of a server's, several answers, the older functions: 400, by its key."""
    made = bench(order_status(tool_server.url))
    same = {"type": "function", "function": {"name": "order_status"}}
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"tools": [same]}, "tools[0]"), ({"tools": same}, "tools"), ({"n": 2}, "n"),
        ({"functions": [{}]}, "functions"),
    )  # fmt: skip
    for body, param in wrong:
        with pytest.raises(InvalidChat) as caught:
            await ask(made, stream=stream, **body)
        assert caught.value.param == param
    assert made.model.requests == []


@both
async def test_a_result_is_data(bench: MakeBench, tool_server: ToolServer, stream: bool) -> None:
    """Instructions in it reach the model as the tool's message, and nothing else."""
    made = bench(order_status(tool_server.url))
    tool_server.answers["/orders/123456"] = INSTRUCTIONS
    made.model.script = [[LOOK], ["No."]]
    await ask(made, stream=stream)
    holders = [one["role"] for one in made.heard() if INSTRUCTIONS in str(one["content"])]
    assert holders == ["tool"]


async def test_a_turn_that_is_given_up_cancels_its_calls(bench: MakeBench, tool_server: ToolServer) -> None:
    """The client left: the request to the tool ends, too. One that is to finish is handed over."""
    stall = order_status(tool_server.url, http={"url": f"{tool_server.url}/bad/stall?x={{order_id}}"})
    made = bench(stall)
    kept: list[asyncio.Future[Any]] = []
    for keep in (None, lambda task, definition: kept.append(task)):
        made.model.script = [[LOOK]]
        stream = chat.stream_chat(made.agent, {"messages": [ASK]}, ToolTurn(keep=keep))
        reading = asyncio.ensure_future(anext(stream))
        assert get_event(await reading)
        reading = asyncio.ensure_future(anext(stream))
        tool_server.arrived.clear()
        await tool_server.arrived.wait()
        reading.cancel()
        await asyncio.wait([reading])
        await stream.aclose()
        if keep is None:
            await asyncio.wait_for(tool_server.last.disconnected.wait(), 5)
    assert not tool_server.last.disconnected.is_set()
    kept[0].cancel()
    await asyncio.wait(kept)
    await asyncio.wait_for(tool_server.last.disconnected.wait(), 5)


async def test_an_agent_without_tools_is_as_it_was(bench: MakeBench) -> None:
    """Its request goes to the vendor unchanged, and calls of the client's tools come back as they are."""
    made = bench()
    own = {"type": "function", "function": {"name": "beep"}}
    made.model.script = [[Call("anything", "not json")]]
    answer = await ask(made, stream=True, tools=[own], n=1)
    assert answer["calls"][0]["function"] == {"name": "anything", "arguments": "not json"}
    assert made.model.last_chat["tools"] == [own]
    assert made.model.last_chat["stream_options"] == {"include_usage": True}


@both
async def test_a_check_changes_nothing(bench: MakeBench, tool_server: ToolServer, stream: bool) -> None:
    """What is not a GET is not run in a turn that may only read."""
    made = bench(order_status(tool_server.url), poster(tool_server.url))
    made.model.script = [[LOOK, Call("create", '{"text": "a"}', "call_2")], ["Done."]]
    answer = await ask(made, ToolTurn(read_only=True), stream=stream)
    assert sorted(outcomes(answer)) == [("create", "refused"), ("order_status", "ok")]
    assert made.paths == ["/orders/123456"]


@both
async def test_a_retry_of_the_model_repeats_no_tool(
    bench: MakeBench, tool_server: ToolServer, stream: bool
) -> None:
    """The vendor fails after the tool was run: it is asked again, then another one is; the tool is not."""
    async with OpenAIServer(words=["From the other."]) as other:
        made = bench(poster(tool_server.url), fallback=other.url)
        made.model.script = [[Call("create", '{"text": "a"}')]]
        made.model.faults = [None, Fault.BROKEN, Fault.BROKEN]
        answer = await ask(made, stream=stream)
        assert answer["text"] == "From the other."
        assert [one.body for one in tool_server.requests] == [{"text": "a"}]
        assert len(made.model.requests) == 3
        assert other.last_chat["messages"][-1]["role"] == "tool"
