"""Items, responses and audio as clients send them: places, options of one answer, cancels, odd bytes."""

from __future__ import annotations

import base64
from typing import Any

from tests.services.speech import silence, spoken
from tests.vendors.openai_server import heard
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call


def message(text: str, role: str = "user", kind: str = "input_text", **fields: Any) -> dict[str, Any]:
    """A written or spoken contribution."""
    said = "transcript" if kind.endswith("audio") else "text"
    return {"type": "message", "role": role, "content": [{"type": kind, said: text}], **fields}


async def error_of(line: Line, kind: str, **fields: Any) -> dict[str, Any]:
    """The error that an event gets."""
    await line.send(kind, event_id="mine", **fields)
    error: dict[str, Any] = (await line.until("error"))["error"]
    assert error["event_id"] == "mine"
    return error


async def test_the_places_of_items(bot: Stack, voices: Vendors) -> None:
    """``root`` is the first place; items of every role, written and spoken, come to the model in order."""
    async with call(bot, "bot") as line:
        await line.send("conversation.item.create", item=message("three", id="c"))
        await line.send(
            "conversation.item.create",
            previous_item_id="root",
            item=message("one", id="a", kind="input_audio"),
        )
        spoken_item = message("two", "assistant", "output_audio", id="b")
        await line.send("conversation.item.create", previous_item_id="a", item=spoken_item)
        for _ in range(3):
            await line.until("conversation.item.done")
        places = [
            (event["item"]["id"], event["previous_item_id"]) for event in line.of("conversation.item.done")
        ]
        assert places == [("c", None), ("a", None), ("b", "a")]
        for item, kind in (("a", "input_audio"), ("b", "output_audio"), ("c", "input_text")):
            await line.send("conversation.item.retrieve", item_id=item)
            part = (await line.until("conversation.item.retrieved"))["item"]["content"][0]
            assert part["type"] == kind
            assert part.get("transcript" if kind.endswith("audio") else "text") in ("one", "two", "three")
        await line.send("response.create", response={"output_modalities": ["text"]})
        await line.done()
        said = [one["content"] for one in voices.llm.last.body["messages"][1:]]
        assert said == ["one", "two", "three"]
        again = await error_of(line, "conversation.item.create", item=message("x", id="a"))
        assert again["code"] == "item_create_duplicate_item_id"
        image = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:"}],
        }
        assert (await error_of(line, "conversation.item.create", item=image))[
            "param"
        ] == "item.content[0].type"
        lost = await error_of(line, "conversation.item.retrieve", item_id="none")
        assert lost["code"] == "item_retrieve_invalid_item_id"
        nowhere = await error_of(line, "conversation.item.create", item=message("x"), previous_item_id="none")
        assert nowhere["param"] == "previous_item_id"


async def test_a_recording_inside_of_an_item_is_transcribed(bot: Stack, voices: Vendors) -> None:
    """And answered with its transcript."""
    audio = base64.b64encode(spoken() + b"\0").decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
    async with call(bot, "bot") as line:
        await line.send("conversation.item.create", item=item)
        await line.send("response.create")
        response = await line.done()
    (completed,) = line.of("conversation.item.input_audio_transcription.completed")
    frames = [frame for frame in voices.stt.last.frames if isinstance(frame, bytes)]
    assert completed["transcript"] == heard(b"".join(frames))
    assert response["output"][0]["content"][0]["transcript"].strip().endswith(completed["transcript"])


async def test_an_answer_beside_the_conversation(bot: Stack, voices: Vendors) -> None:
    """It has its own input, instructions and metadata, runs beside another answer, and leaves no trace."""
    voices.llm.delay = 0.05
    async with call(bot, "bot") as line:
        await line.write("First.")
        main = (await line.until("response.created"))["response"]
        asked = {
            "conversation": "none", "metadata": {"topic": "mood"}, "output_modalities": ["text"],
            "instructions": "Classify.", "input": [message("Angry!")], "max_output_tokens": 5,
        }  # fmt: skip
        await line.send("response.create", response=asked, event_id="beside")
        first, second = await line.done(), await line.done()
        beside = second if first["id"] == main["id"] else first
        assert (beside["metadata"], beside["conversation_id"]) == ({"topic": "mood"}, None)
        assert beside["max_output_tokens"] == 5
        assert beside["output"][0]["content"][0]["text"].strip().endswith("You said Angry!")
        assert {first["status"], second["status"]} == {"completed"}
        assert beside["output"][0]["id"] not in [
            event["item"]["id"] for event in line.of("conversation.item.added")
        ]
        chat = next(one.body for one in voices.llm.requests if "Classify." in str(one.body))
        assert chat["messages"] == [
            {"role": "system", "content": "You are alpha.\n\nClassify."},
            {"role": "user", "content": "Angry!"},
        ]  # fmt: skip
        assert chat["max_tokens"] == 5
        reference = {"type": "item_reference", "id": main["id"]}
        unknown = await error_of(line, "response.create", response={"input": [reference]})
        assert unknown["param"] == "response.input[0].id"
        voices.llm.delay = 0
        await line.write("Second.")
        await line.done()
        assert "Angry!" not in str(voices.llm.last.body)
        assert "Classify." not in str(voices.llm.last.body)


async def test_what_a_response_cannot_have_is_named(bot: Stack) -> None:
    """The answer is refused, under the event's id, so that a client need not wait for it."""
    wrong: list[tuple[Any, str]] = [
        ({"metadata": {"x": 1}}, "response.metadata"),
        ({"metadata": {"x" * 65: "y"}}, "response.metadata"),
        ({"instructions": 5}, "response.instructions"),
        ({"conversation": "other"}, "response.conversation"),
        ({"input": "text"}, "response.input"),
        ({"colour": "red"}, "response.colour"),
        ({"prompt": {"id": "p"}}, "response.prompt"),
        ({"audio": {"output": {"format": {"type": "audio/mp3"}}}}, "response.audio.output.format.type"),
        ("text", "response"),
    ]
    async with call(bot, "bot") as line:
        for response, param in wrong:
            assert (await error_of(line, "response.create", response=response))["param"] == param
        assert line.of("response.created") == []


async def test_a_cancel_names_its_response(bot: Stack, voices: Vendors) -> None:
    """One of another response is an error, and the answer goes on."""
    voices.llm.delay = 0.05
    async with call(bot, "bot") as line:
        await line.write("One two three.")
        response = (await line.until("response.created"))["response"]
        error = await error_of(line, "response.cancel", response_id="resp_other")
        assert (error["code"], error["param"]) == ("response_cancel_not_active", "response_id")
        assert error["message"].startswith("Cancellation failed")
        await line.send("response.cancel", response_id=response["id"])
        assert (await line.done())["status"] == "cancelled"


async def test_a_truncation_under_way_is_taken(bot: Stack, voices: Vendors) -> None:
    """Clients report what was played before they cancel; the history keeps that much."""
    voices.llm.delay = 0.02
    async with call(bot, "bot") as line:
        await line.write("one two three four five six seven eight nine ten eleven twelve.")
        delta = await line.until("response.output_audio.delta")
        where = {"item_id": delta["item_id"], "content_index": 0, "audio_end_ms": 1}
        await line.send("conversation.item.truncate", **where)
        truncated = await line.until("conversation.item.truncated")
        assert (truncated["item_id"], truncated["audio_end_ms"]) == (delta["item_id"], 1)
        await line.send("response.cancel")
        await line.done()
        voices.llm.delay = 0
        await line.write("And?")
        await line.done()
        assert line.of("error") == []
    assert "twelve" not in str(
        [one for one in voices.llm.last.body["messages"] if one["role"] == "assistant"]
    )


async def test_an_odd_byte_is_joined_with_the_next_append(bot: Stack, voices: Vendors) -> None:
    """Streams are cut anywhere: no sample is lost, none is shifted."""
    async with call(bot, "bot") as line:
        await line.by_hand()
        pcm = spoken()
        for at in range(0, len(pcm), 4801):
            piece = base64.b64encode(pcm[at : at + 4801]).decode()
            await line.send("input_audio_buffer.append", audio=piece)
        await line.send("input_audio_buffer.commit")
        completed = await line.until("conversation.item.input_audio_transcription.completed")
        await line.append(pcm)
        await line.send("input_audio_buffer.commit")
        whole = await line.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == whole["transcript"]
        assert line.of("error") == []


async def test_a_caller_who_says_nothing(bot: Stack, voices: Vendors) -> None:
    """``idle_timeout_ms`` after the answer: an event, an item of silence, and the agent speaks."""
    async with call(bot, "bot") as line:
        detection = {"type": "server_vad", "idle_timeout_ms": 1000}
        session = await line.update(audio={"input": {"turn_detection": detection}})
        assert session["audio"]["input"]["turn_detection"]["idle_timeout_ms"] == 1000
        await line.write("Hi.")
        await line.done()
        triggered = await line.until("input_audio_buffer.timeout_triggered")
        committed = await line.until("input_audio_buffer.committed")
        assert committed["item_id"] == triggered["item_id"]
        response = await line.done()
        assert "said nothing" in response["output"][0]["content"][0]["transcript"]


async def test_transcription_sessions(bot: Stack, voices: Vendors) -> None:
    """By ``intent`` or by the type of the session: speech becomes text, and nothing answers."""
    bot.write("bot.yaml", voices.manifest("alpha", llm=None, greeting="Welcome."))
    await bot.sync()
    for query, update in (("&intent=transcription", False), ("", True)):
        async with call(bot, f"bot{query}") as line:
            if update:
                heard_by = {"transcription": {"model": "gpt-4o-transcribe"}}
                await line.send(
                    "session.update", session={"type": "transcription", "audio": {"input": heard_by}}
                )
                session = (await line.until("session.updated"))["session"]
            else:
                session = line.events[0]["session"]
            assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
            assert session["audio"]["input"]["transcription"]["model"] == "whisper.local"
            await line.append(silence(0.3) + spoken() + silence(0.8))
            completed = await line.until("conversation.item.input_audio_transcription.completed")
            assert completed["transcript"]
            assert line.of("conversation.item.input_audio_transcription.delta")
            assert (await error_of(line, "response.create"))["param"] == "type"
            error = await error_of(line, "session.update", session={"instructions": "x"})
            assert error["param"] == "session.instructions"
            assert line.of("response.created") == []


async def test_the_type_of_a_session_is_settled_when_it_begins(bot: Stack) -> None:
    """Later the update names it; a conversation is not a transcription any more."""
    async with call(bot, "bot") as line:
        await line.write("Hi.")
        await line.done()
        error = await error_of(line, "session.update", session={"type": "transcription"})
        assert error["param"] == "session.type"


async def test_what_this_server_does_not_open_is_named(bot: Stack) -> None:
    """``call_id`` is a call of WebRTC or SIP: it opens no new one with the default agent."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }  # fmt: skip
    for query, param in (("call_id=rtc_1", "call_id"), ("model=bot&intent=translation", "intent")):
        status, body = await bot.get(f"/v1/realtime?{query}", headers=upgrade)
        assert (status, body["error"]["param"]) == (400, param)
