"""Public reports on realtime servers and their clients, replayed with the events that those clients send."""

from __future__ import annotations

from typing import Any

from tests.services.speech import silence, spoken
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call

HARMLESS_TO_PIPECAT = {"response_cancel_not_active", "conversation_already_has_active_response"}
"""Codes after which Pipecat goes on (pull requests 3795 and 3960); any other error ends its call."""


async def truncate(line: Line, item: str, milliseconds: int) -> None:
    """Report how much was played."""
    where = {"item_id": item, "content_index": 0, "audio_end_ms": milliseconds}
    await line.send("conversation.item.truncate", **where)


async def test_a_truncation_beyond_the_sound_changes_nothing(bot: Stack, voices: Vendors) -> None:
    """Pipecat 2106 and 3677, openai-agents 2370: clients count more than there was, and may do so always."""
    async with call(bot, "bot") as line:
        await line.write("Hi.")
        item = (await line.done())["output"][0]["id"]
        for _ in range(2):
            await truncate(line, item, 9100)
            await line.until("conversation.item.truncated", item_id=item)
        await line.write("And?")
        await line.done()
        assert line.of("error") == []
    assert voices.llm.last.body["messages"][2]["content"].strip() == "I am alpha. You said Hi."


async def test_a_failing_vendor_is_not_an_error_event(bot: Stack, voices: Vendors) -> None:
    """Pipecat 1781: every ``error`` ends its call, so one bad answer would make it mute."""
    async with call(bot, "bot") as line:
        for server in (voices.llm, voices.tts, voices.stt):
            server.fault = Fault.EARLY_CLOSE
            await line.speak()
            assert (await line.failure())["code"]
            server.fault = None
        await line.speak()
        assert (await line.done())["status"] in ("completed", "failed")
        assert line.of("error") == []


async def test_cancels_and_requests_at_the_wrong_moment(bot: Stack, voices: Vendors) -> None:
    """Pipecat 3755 and 3960, openai-agents 1466: clients know these two codes and go on."""
    voices.llm.delay = 0.05
    async with call(bot, "bot") as line:
        await line.send("response.cancel")
        assert (await line.until("error"))["error"]["code"] in HARMLESS_TO_PIPECAT
        await line.write("One two three.")
        await line.until("response.created")
        await line.send("response.create")
        assert (await line.until("error"))["error"]["code"] in HARMLESS_TO_PIPECAT
        delta = await line.until("response.output_audio.delta")
        await truncate(line, delta["item_id"], 1)  # openai-agents: first this, then the cancel
        await line.send("response.cancel")
        assert (await line.done())["status"] == "cancelled"
        assert len(line.of("error")) == 2


async def test_nothing_heard_stays_nothing(bot: Stack, voices: Vendors) -> None:
    """livekit 6157, twilio-samples 45: a client reports 0 ms, then a clock that went on."""
    voices.llm.delay = 0.05
    async with call(bot, "bot") as line:
        await line.write("One two three four.")
        delta = await line.until("response.output_audio.delta")
        for milliseconds in (0, 5000):
            await truncate(line, delta["item_id"], milliseconds)
            truncated = await line.until("conversation.item.truncated")
            assert truncated["audio_end_ms"] == 0
        await line.send("response.cancel")
        await line.done()
        voices.llm.delay = 0
        await line.write("And?")
        await line.done()
    assert "assistant" not in {one["role"] for one in voices.llm.last.body["messages"]}


async def test_a_parameter_that_is_missing_is_named(bot: Stack) -> None:
    """openai_realtime_client 13: a truncation of the item's id alone."""
    async with call(bot, "bot") as line:
        await line.send("conversation.item.truncate", item_id="x", event_id="mine")
        error = (await line.until("error"))["error"]
        assert (error["param"], error["event_id"]) == ("audio_end_ms", "mine")


async def test_an_item_after_one_that_was_interrupted(bot: Stack, voices: Vendors) -> None:
    """livekit 6157: an answer of which nothing was heard is still a place for the next item."""
    voices.llm.delay = 0.05
    async with call(bot, "bot") as line:
        await line.write("One two three four.")
        delta = await line.until("response.output_audio_transcript.delta")
        await line.send("response.cancel")
        await line.done()
        part: dict[str, Any] = {"type": "input_text", "text": "And?"}
        item = {"type": "message", "role": "user", "content": [part]}
        await line.send("conversation.item.create", previous_item_id=delta["item_id"], item=item)
        added = await line.until("conversation.item.added", previous_item_id=delta["item_id"])
        assert added["item"]["content"][0]["text"] == "And?"
        await line.send("conversation.item.delete", item_id=delta["item_id"])
        await line.until("conversation.item.deleted")
        assert line.of("error") == []


async def test_the_samples_of_telephony_and_transcription_in_the_beta_shape(bot: Stack) -> None:
    """Twilio's speech assistant and VoxInput (LocalAI 6445), as they were written."""
    beta = {"OpenAI-Beta": "realtime=v1"}
    async with call(bot, "bot", headers=beta) as line:
        session = {
            "turn_detection": {"type": "server_vad"}, "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw", "voice": "alloy", "instructions": "Be bubbly.",
            "modalities": ["text", "audio"], "temperature": 0.8,
        }  # fmt: skip
        await line.send("session.update", session=session)
        updated = (await line.until("session.updated"))["session"]
        assert {key: updated[key] for key in session if key not in ("turn_detection", "voice")} == {
            key: value for key, value in session.items() if key not in ("turn_detection", "voice")
        }
        await line.send("response.create", response={"modalities": ["text"], "instructions": "Assist."})
        response = await line.done()
        assert (response["modalities"], response["output"][0]["content"][0]["type"]) == (["text"], "text")
        assert line.of("error") == []
    url = f"{bot.url}/v1/realtime?intent=transcription&model=bot"
    async with bot.client.ws_connect(url, headers=beta, max_msg_size=0) as socket:
        line = Line(socket)
        await line.until("transcription_session.created")
        settings = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"},
                    "turn_detection": {"type": "server_vad", "silence_duration_ms": 400}}  # fmt: skip
        await line.send("transcription_session.update", session=settings)
        updated = (await line.until("transcription_session.updated"))["session"]
        assert updated["turn_detection"]["silence_duration_ms"] == 400
        await line.append(silence(0.3) + spoken() + silence(0.8))
        completed = await line.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"]
        assert line.of("error") == []
