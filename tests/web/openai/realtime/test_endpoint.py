"""/v1/realtime: whole turns, byte for byte, and what each event holds."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

from openai import AsyncOpenAI

from agentsd.audio import g711
from tests.services.speech import silence, spoken
from tests.vendors.openai_server import heard, voice_of
from tests.web.conftest import Make, Stack
from tests.web.voices import Vendors, call


async def test_a_turn_from_speech_to_speech(bot: Stack, voices: Vendors) -> None:
    """The caller gets the sound that the TTS sent, and the LLM's words; the STT got the speech."""
    async with call(bot, "bot") as line:
        await line.speak()
        started = await line.until("input_audio_buffer.speech_started")
        response = await line.done()
    frames = [frame for frame in voices.stt.last.frames if isinstance(frame, bytes)]
    transcript = heard(b"".join(frames))
    (completed,) = line.of("conversation.item.input_audio_transcription.completed")
    assert (completed["transcript"], completed["item_id"]) == (transcript, started["item_id"])
    assert voices.llm.last.body["messages"] == [
        {"role": "system", "content": "You are alpha."},
        {"role": "user", "content": transcript},
    ]
    assert line.text(response["id"]).strip() == f"I am alpha. You said {transcript}"
    assert line.sound(response["id"]) == voice_of("I am alpha.") + voice_of(f"You said {transcript}")
    assert (response["status"], response["agent"]) == ("completed", "bot")
    assert response["usage"]["total_tokens"] == 5
    assert response["output"][0]["content"][0]["transcript"] == line.text(response["id"]).strip()


async def test_speech_is_recognised_while_it_is_spoken(bot: Stack, voices: Vendors) -> None:
    """The STT has sound, and the caller a partial transcript, before the caller has finished."""
    async with call(bot, "bot") as line:
        await line.append(silence(0.3) + spoken())
        await line.until("input_audio_buffer.speech_started")
        await line.until("conversation.item.input_audio_transcription.delta")
        assert line.of("input_audio_buffer.speech_stopped") == []
        await line.append(silence(0.8))
        await line.done()


async def test_events_come_in_the_order_that_clients_expect(bot: Stack) -> None:
    """Speech, item, transcript, response; each part is opened, filled and closed."""
    async with call(bot, "bot") as line:
        await line.speak()
        await line.done()
    kinds = [event["type"] for event in line.events]
    once = list(dict.fromkeys(kinds))
    deltas = {"response.output_audio_transcript.delta", "response.output_audio.delta"}
    assert [kind for kind in once if not kind.endswith(".delta")] == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    assert kinds.index("response.content_part.added") < min(kinds.index(kind) for kind in deltas)


async def test_the_first_sentence_is_spoken_while_the_second_is_written(bot: Stack, voices: Vendors) -> None:
    """Sound comes before the LLM's last word."""
    voices.llm.delay = 0.02
    async with call(bot, "bot") as line:
        await line.write("one two three four five six seven eight nine ten.")
        await line.done()
    kinds = [event["type"] for event in line.events]
    last_word = len(kinds) - kinds[::-1].index("response.output_audio_transcript.delta")
    assert kinds.index("response.output_audio.delta") < last_word


async def test_a_voice_of_another_rate_is_brought_to_the_calls(bot: Stack, voices: Vendors) -> None:
    """16 kHz of the TTS is 24 kHz for the caller: one and a half times as many samples."""
    tts = {
        "provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url,
        "sample_rate": 16_000,
    }  # fmt: skip
    voices.llm.audio = spoken(16_000)
    bot.write("slow.yaml", voices.manifest("beta", tts=tts, greeting="Welcome"))
    await bot.sync()
    async with call(bot, "slow") as line:
        response = await line.done()
    assert len(line.sound(response["id"])) == len(voices.llm.audio) * 3 // 2


async def test_telephones(bot: Stack, voices: Vendors) -> None:
    """G.711 both ways: 8,000 bytes a second."""
    law = {"format": {"type": "audio/pcmu"}}
    async with call(bot, "bot") as line:
        session = await line.update(audio={"input": law, "output": law})
        assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
        sound = g711.encode_g711("u", silence(0.3, 8000) + spoken(8000) + silence(0.8, 8000))
        await line.send("input_audio_buffer.append", audio=base64.b64encode(sound).decode())
        await line.until("input_audio_buffer.speech_stopped")
        response = await line.done()
    text = line.text(response["id"]).strip()
    assert abs(len(line.sound(response["id"])) - len(voice_of(text)) / 6) < 100


async def test_a_client_that_takes_turns_itself(bot: Stack, voices: Vendors) -> None:
    """Without turn detection nothing happens until it commits and asks; ``clear`` forgets."""
    async with call(bot, "bot") as line:
        await line.by_hand()
        await line.append(silence(0.2))
        await line.send("input_audio_buffer.clear")
        await line.until("input_audio_buffer.cleared")
        await line.append(spoken())
        await line.send("input_audio_buffer.commit")
        await line.send("response.create")
        committed = await line.until("input_audio_buffer.committed")
        response = await line.done()
        await line.send("input_audio_buffer.commit")
        assert (await line.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
    assert len(line.of("input_audio_buffer.speech_started")) == 0
    (completed,) = line.of("conversation.item.input_audio_transcription.completed")
    assert completed["item_id"] == committed["item_id"]
    assert completed["usage"] == {"type": "duration", "seconds": round(len(spoken()) / 48_000, 3)}
    assert completed["transcript"] in line.text(response["id"])


async def test_writing_and_reading(bot: Stack, voices: Vendors) -> None:
    """Text in, text out: no sound is made; instructions come after the agent's own prompt."""
    async with call(bot, "bot") as line:
        session = await line.update(output_modalities=["text"], instructions="Be brief.")
        assert session["output_modalities"] == ["text"]
        await line.write("Hi.")
        response = await line.done()
        assert line.text(response["id"]).strip() == "I am alpha. You said Hi."
        assert response["output"][0]["content"][0]["type"] == "output_text"
        await line.write("Again.")
        await line.done()
    assert voices.tts.requests == []
    assert [message["content"] for message in voices.llm.last.body["messages"]] == [
        "You are alpha.\n\nBe brief.", "Hi.", "I am alpha. You said Hi.", "Again.",
    ]  # fmt: skip


async def test_items_can_be_placed_read_and_deleted(bot: Stack, voices: Vendors) -> None:
    """The conversation is the client's to arrange."""
    async with call(bot, "bot") as line:
        for name, role in (("first", "user"), ("third", "assistant")):
            part = {"type": "output_text" if role == "assistant" else "input_text", "text": name}
            await line.send("conversation.item.create", item={"id": name, "type": "message", "role": role, "content": [part]})  # noqa: E501  # fmt: skip
        second = {"id": "second", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "second"}]}  # noqa: E501  # fmt: skip
        await line.send("conversation.item.create", previous_item_id="first", item=second)
        added = await line.until("conversation.item.added", previous_item_id="first")
        while added["item"]["id"] != "second":
            added = await line.until("conversation.item.added")
        await line.send("conversation.item.retrieve", item_id="third")
        assert (await line.until("conversation.item.retrieved"))["item"]["role"] == "assistant"
        await line.send("conversation.item.delete", item_id="first")
        await line.until("conversation.item.deleted", item_id="first")
        await line.send("response.create", response={"output_modalities": ["text"]})
        await line.done()
    system, opening = voices.llm.last.body["messages"]
    assert (system["role"], opening["role"]) == ("system", "user")
    assert re.fullmatch(r"You are alpha\.\n\nsecond\n\n.*\n\nthird", system["content"])


async def test_a_greeting_comes_first(bot: Stack, voices: Vendors) -> None:
    """It is spoken, kept in the history, and asks no LLM."""
    bot.write("bot.yaml", voices.manifest("alpha", greeting="Welcome to us."))
    await bot.sync()
    async with call(bot, "bot") as line:
        response = await line.done()
        assert line.sound(response["id"]) == voice_of("Welcome to us.")
        assert voices.llm.requests == []
        await line.write("Hi.")
        await line.done()
    system, question = voices.llm.last.body["messages"]  # templates want the user first
    assert system["role"] == "system"
    assert system["content"].endswith("Welcome to us.")
    assert question == {"role": "user", "content": "Hi."}


async def test_a_greeting_waits_for_the_clients_format(bot: Stack, voices: Vendors) -> None:
    """A telephone's client is greeted in its own format, and may ask at once: it is answered next."""
    bot.write("bot.yaml", voices.manifest("alpha", greeting="Welcome to us."))
    await bot.sync()
    law = {"format": {"type": "audio/pcma"}}
    async with call(bot, "bot") as line:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
        await line.send("session.update", session={"type": "realtime", "audio": {"output": law}})
        await line.send("conversation.item.create", item=item)
        await line.send("response.create")
        greeting, answer = await line.done(), await line.done()
    assert greeting["audio"]["output"]["format"] == {"type": "audio/pcma"}
    assert abs(len(line.sound(greeting["id"])) - len(voice_of("Welcome to us.")) / 6) < 100
    assert line.text(answer["id"]).strip() == "I am alpha. You said Hi."


async def test_an_agent_can_be_asked_to_begin(bot: Stack) -> None:
    """``response.create`` before anything was said is an answer, not an error."""
    async with call(bot, "bot") as line:
        await line.send("response.create")
        response = await line.done()
        assert response["status"] == "completed"
        assert "open the conversation" in line.text(response["id"])


async def test_agents_without_some_organ(bot: Stack, voices: Vendors) -> None:
    """No voice: it writes. No ears: speech is an error that says so. No LLM: so is an answer."""
    for kind in ("tts", "stt", "llm"):
        bot.write(f"no-{kind}.yaml", voices.manifest(kind, **{kind: None}))
    await bot.sync()
    async with call(bot, "no-tts") as line:
        await line.speak()
        response = await line.done()
        assert response["output_modalities"] == ["text"]
        assert line.text(response["id"]).startswith("I am tts. You said heard ")
    async with call(bot, "no-stt") as line:
        await line.speak()
        failed = await line.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "agent_unavailable"
        await line.write("Hi.")
        assert (await line.done())["status"] == "completed"
    async with call(bot, "no-llm") as line:
        await line.write("Hi.")
        response = await line.done()
        assert response["status_details"]["error"]["code"] == "agent_unavailable"
        assert "llm section" in response["status_details"]["error"]["message"]


async def test_the_official_client(bot: Stack, voices: Vendors) -> None:
    """Unmodified: text and sound, typed events, and a key."""
    async with asyncio.timeout(30), AsyncOpenAI(api_key="any", base_url=f"{bot.url}/v1") as client:  # noqa: SIM117
        async with client.realtime.connect(model="bot") as connection:
            assert (await connection.recv()).type == "session.created"
            item: Any = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi."}],
            }
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            sound, words = b"", ""
            async for event in connection:
                if event.type == "response.output_audio.delta":
                    sound += base64.b64decode(event.delta)
                elif event.type == "response.output_audio_transcript.delta":
                    words += event.delta
                elif event.type == "response.done":
                    assert event.response.status == "completed"
                    assert event.response.usage is not None
                    assert event.response.usage.total_tokens == 5
                    break
            assert words.strip() == "I am alpha. You said Hi."
            assert sound == voice_of("I am alpha.") + voice_of("You said Hi.")
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            )
            await connection.input_audio_buffer.append(audio=base64.b64encode(spoken()).decode())
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            transcript = ""
            async for event in connection:
                if event.type == "conversation.item.input_audio_transcription.completed":
                    transcript = event.transcript
                if event.type == "response.done":
                    (output,) = event.response.output or []
                    assert output.type == "message"
                    assert f"You said {transcript}" in (output.content[0].transcript or "")
                    break
            assert transcript.startswith("heard ")


async def test_a_call_too_many_is_refused_by_name(make: Make, voices: Vendors) -> None:
    """Those that are open go on as before, and when one ends there is room again."""
    stack = await make(limits={"max_calls": 2})
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    url = f"{stack.url}/v1/realtime?model=a"
    async with call(stack, "a") as one:
        async with call(stack, "a"):
            for _ in range(3):
                async with stack.client.get(url) as reply:
                    error = (await reply.json())["error"]
                assert (reply.status, error["code"], reply.headers["Retry-After"]) == (
                    503,
                    "too_many_calls",
                    "5",
                )
                assert "AGENTSD_MAX_CALLS" in error["message"]
            await one.speak()
            assert (await one.done())["status"] == "completed"
        value = stack.metrics.registry.get_sample_value
        async with asyncio.timeout(10):
            while value("agentsd_calls") != 1:
                await asyncio.sleep(0.01)
        async with call(stack, "a") as another:
            await another.speak()
            assert (await another.done())["status"] == "completed"
    assert value("agentsd_calls_refused_total") == 3
