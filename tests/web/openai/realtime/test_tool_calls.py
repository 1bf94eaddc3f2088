"""Tools of the client: declared, called, answered; in the words of the interface, and in the vendor's."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call, call_deltas

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CLOCK = {"type": "function", "name": "clock", "description": "Returns the time."}


async def answer_call(line: Line, call_id: str, output: str) -> None:
    """The result of a call, and the wish to hear more."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    await line.send("conversation.item.create", item=item)
    await line.until("conversation.item.done")
    await line.send("response.create")


async def test_a_call_and_its_result(bot: Stack, voices: Vendors) -> None:
    """Item, arguments piece by piece, item done; the result comes back to the model under the same id."""
    async with call(bot, "bot") as line:
        await line.update(tools=[WEATHER])
        await line.write("Weather in Bonn?")
        response = await line.done()
        (item,) = response["output"]
        assert (item["type"], item["name"], item["status"]) == ("function_call", "weather", "completed")
        assert item["arguments"] == '{"place": "Bonn"}'
        kinds = list(dict.fromkeys(event["type"] for event in line.events))
        start = kinds.index("response.created")
        assert kinds[start:] == [
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.done",
        ]
        deltas = line.of("response.function_call_arguments.delta")
        assert "".join(event["delta"] for event in deltas) == item["arguments"]
        assert {(event["call_id"], event["item_id"]) for event in deltas} == {(item["call_id"], item["id"])}
        (done,) = line.of("response.function_call_arguments.done")
        assert (done["name"], done["arguments"]) == (item["name"], item["arguments"])
        await answer_call(line, item["call_id"], "It rains.")
        response = await line.done()
        assert response["output"][0]["content"][0]["transcript"].strip().endswith("You said It rains.")
        await line.send("conversation.item.retrieve", item_id=item["id"])
        assert (await line.until("conversation.item.retrieved"))["item"] == item
    asked, made, result = voices.llm.last.body["messages"][1:]
    assert asked == {"role": "user", "content": "Weather in Bonn?"}
    function = {"name": "weather", "arguments": '{"place": "Bonn"}'}
    assert made["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "It rains."}


async def test_the_choice_among_tools(bot: Stack, voices: Vendors) -> None:
    """Of the session and of one response; without tools nothing of them is sent."""
    async with call(bot, "bot") as line:
        await line.update(tools=[WEATHER, CLOCK], tool_choice={"type": "function", "name": "clock"})
        await line.write("Now?")
        assert (await line.done())["output"][0]["name"] == "clock"
        assert voices.llm.last.body["tool_choice"] == {"type": "function", "function": {"name": "clock"}}
        await line.send("response.create", response={"tool_choice": "none"})
        assert (await line.done())["output"][0]["type"] == "message"
        await line.send("response.create", response={"tools": [], "output_modalities": ["text"]})
        await line.done()
        assert not {"tools", "tool_choice"} & voices.llm.last.body.keys()
        wrong = {"tools": [CLOCK], "tool_choice": {"type": "function", "name": "weather"}}
        await line.send("response.create", response=wrong, event_id="mine")
        error = (await line.until("error"))["error"]
        assert (error["param"], error["event_id"]) == ("response.tool_choice", "mine")
        session = await line.update(tools=[], tool_choice="auto")
        assert session["tools"] == []


async def test_calls_side_by_side_after_words(bot: Stack, voices: Vendors, monkeypatch: Any) -> None:
    """Words and two calls are three items in order; ids that a vendor uses again are made unique."""
    answers: list[list[Any]] = [
        ["One ", "moment. ", *call_deltas("weather", "{}"), *call_deltas("clock", call_id="call_2", index=1)],
        ["It ", "rains."],
        call_deltas("weather", "{}"),
        ["Still."],
    ]
    monkeypatch.setattr(voices.llm, "answer", lambda body: answers.pop(0))
    async with call(bot, "bot") as line:
        await line.update(tools=[WEATHER, CLOCK])
        await line.write("Weather and time?")
        response = await line.done()
        message, weather, clock = response["output"]
        assert message["content"][0]["transcript"] == "One moment."
        assert (weather["name"], weather["call_id"], clock["name"]) == ("weather", "call_1", "clock")
        assert clock["arguments"] == "{}"
        added = [event["item"]["id"] for event in line.of("response.output_item.added")]
        assert added == [item["id"] for item in (message, weather, clock)]
        places = {
            event["item"]["id"]: event["output_index"] for event in line.of("response.output_item.done")
        }
        assert [places[one["id"]] for one in (message, weather, clock)] == [0, 1, 2]
        await answer_call(line, "call_1", "rain")
        await line.done()
        messages = voices.llm.last.body["messages"]
        assert [one["role"] for one in messages[-4:]] == ["user", "assistant", "tool", "tool"]
        assert messages[-3]["content"] == "One moment."
        assert [one["content"] for one in messages[-2:]] == ["rain", "There is no result yet."]
        await line.write("Again?")
        (again,) = (await line.done())["output"]
        assert again["call_id"] not in ("call_1", "call_2")


async def test_a_result_without_a_call_is_refused(bot: Stack) -> None:
    """Vendors refuse the whole conversation for it; an earlier call can be told together with its result."""
    async with call(bot, "bot") as line:
        item = {"type": "function_call_output", "call_id": "call_9", "output": "{}"}
        await line.send("conversation.item.create", item=item, event_id="mine")
        error = (await line.until("error"))["error"]
        assert (error["code"], error["param"], error["event_id"]) == (
            "invalid_tool_call_id", "item.call_id", "mine",
        )  # fmt: skip
        made = {"type": "function_call", "call_id": "call_9", "name": "weather", "arguments": "{}"}
        for one in (made, item):
            await line.send("conversation.item.create", item=one)
            assert (await line.until("conversation.item.added"))["item"]["call_id"] == "call_9"


async def test_an_answer_that_ran_out_of_tokens(bot: Stack, voices: Vendors, monkeypatch: Any) -> None:
    """It is incomplete, and says why; the words that came are kept."""
    answer = ["One ", "two.", {"finish_reason": "length"}]
    monkeypatch.setattr(voices.llm, "answer", lambda body: [*answer[:2], dict(answer[2])])
    async with call(bot, "bot") as line:
        await line.write("Count.")
        response = await line.done()
        assert (response["status"], response["output"][0]["status"]) == ("incomplete", "incomplete")
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["output"][0]["content"][0]["transcript"] == "One two."
