"""Calls in which something goes wrong: no turn ends in silence, and nothing but speech interrupts."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.services.speech import silence, spoken
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.voices import Vendors, call, settled, vendors, voiced

RATE = 24_000
SORRY = "Sorry, say that again."
COMPLETED = "conversation.item.input_audio_transcription.completed"


@cache
def hum(seconds: float = 0.6, rate: int = RATE) -> bytes:
    """A hum of 13 harmonics of 130 Hz, which the detector takes for speech."""
    time = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 14))
    fade = np.minimum(1, np.minimum(time, seconds - time) / 0.025)
    return bytes((2250 * fade * tone).astype("<i2").tobytes())


def scaled(pcm: bytes, decibels: float) -> bytes:
    """The sound, quieter."""
    return bytes((np.frombuffer(pcm, "<i2") * 10 ** (decibels / 20)).astype("<i2").tobytes())


def batch_stt(voices: Vendors, **more: Any) -> dict[str, Any]:
    """A recogniser without partial transcripts."""
    api = {"provider": "openai-compatible", "model": "m", "api_url": voices.llm.url}
    return {**api, "sample_rate": 16_000, **more}


async def serve(stack: Stack, voices: Vendors, **extra: Any) -> None:
    """One agent, ``a``."""
    stack.write("a.yaml", voices.manifest("one", **extra))
    await stack.sync()


@pytest.mark.parametrize("hum_is", [(0.0, ""), (0.0, None)])
@pytest.mark.parametrize("interrupt", [True, False])
async def test_a_question_is_answered_though_a_hum_follows(
    stack: Stack, voices: Vendors, hum_is: tuple[float, str | None], interrupt: bool
) -> None:
    """The recogniser is slow, and a hum comes before its transcript; also where that cannot be recognised."""
    await serve(stack, voices, stt=batch_stt(voices), turn={"interrupt": interrupt, "silence_ms": 300})
    voices.llm.transcripts = [(0.6, "When do you open?"), *[hum_is] * 4]
    async with call(stack, "a") as line:
        await line.append(silence(0.3) + spoken() + silence(0.5))
        await line.until("input_audio_buffer.committed")
        await line.append(hum() + silence(0.6))
        response = await line.done()
        assert response["status"] == "completed"
        assert line.text(response["id"]).strip() == "I am one. You said When do you open?"
        assert len(line.of("response.created")) == 1
    await settled(stack, voices)


@pytest.mark.parametrize("partials", [True, False])
@pytest.mark.parametrize("sound", ["hum", "mhm"])
async def test_noise_while_the_agent_speaks_ends_nothing(
    stack: Stack, voices: Vendors, partials: bool, sound: str
) -> None:
    """It goes on, or says the rest again; the caller hears all of it."""
    greeting = "Welcome to us all. We are glad that you call today."
    words = "" if sound == "hum" else "Mm-hmm."
    voices.stt.words, voices.llm.transcripts = words, [(0.0, words)]
    await serve(stack, voices, greeting=greeting, **({} if partials else {"stt": batch_stt(voices)}))
    voices.tts.delay = 0.02
    async with call(stack, "a") as line:
        await line.append(silence(0.1))
        await line.until("response.output_audio.delta")
        await line.append(hum() + silence(0.8))
        response = await line.done()
        if response["status"] == "cancelled":  # without partial transcripts, 300 ms of voice interrupt
            assert not partials
            response = await line.done()
        assert response["status"] == "completed"
        told = line.text(response["id"])
        assert greeting.endswith(told)
        assert not partials or told == greeting
    assert not any("messages" in (request.body or {}) for request in voices.llm.requests)


async def test_a_short_sound_only_holds_the_voice(stack: Stack, voices: Vendors) -> None:
    """Less than ``min_ms`` of voice interrupts nothing, and a client does not even learn of it."""
    await serve(stack, voices)
    voices.llm.delay = 0.02
    voices.stt.words = ""
    async with call(stack, "a") as line:
        await line.append(silence(0.2))
        await line.write("one two three four five six seven eight nine ten.")
        await line.until("response.output_audio.delta")
        await line.append(hum(0.2) + silence(0.7))
        response = await line.done()
        assert response["status"] == "completed"
        assert line.of("input_audio_buffer.speech_started") == []


async def test_speech_over_the_agent_interrupts_when_it_is_certain(stack: Stack, voices: Vendors) -> None:
    """``speech_started`` comes once it is confirmed, before the end of the answer, with its own start."""
    await serve(stack, voices)
    voices.llm.delay = 0.02
    async with call(stack, "a") as line:
        await line.append(silence(0.2))
        await line.write(" ".join(f"word{number}" for number in range(60)) + ".")
        await line.until("response.output_audio.delta")
        await line.append(spoken())
        started = await line.until("input_audio_buffer.speech_started")
        response = await line.done()
        assert response["status"] == "cancelled"
        assert started["audio_start_ms"] < 300


async def test_what_a_manifest_ignores_does_not_interrupt(stack: Stack, voices: Vendors) -> None:
    """ "Okay, right." while the agent speaks lets it go on; the same when it is silent is answered."""
    await serve(stack, voices, turn={"ignore": ["okay", "right"]})
    voices.stt.words = "Okay, right."
    voices.llm.delay = 0.02
    async with call(stack, "a") as line:
        await line.append(silence(0.2))
        await line.write("one two three four five six seven eight nine ten.")
        await line.until("response.output_audio.delta")
        await line.append(scaled(spoken()[:30_000], 0) + silence(0.8))
        assert (await line.done())["status"] == "completed"
        voices.llm.delay = 0
        await asyncio.sleep(1.0)
        await line.append(spoken() + silence(0.8))
        response = await line.done()
        assert line.text(response["id"]).strip() == "I am one. You said Okay, right."


async def test_a_caller_who_mutes_in_mid_word_is_answered(stack: Stack, voices: Vendors) -> None:
    """No more sound comes: a clock ends the turn, and the agent can be interrupted afterwards."""
    await serve(stack, voices, turn={"silence_ms": 200})
    async with call(stack, "a") as line:
        await line.append(silence(0.3) + spoken()[: RATE * 2])
        assert (await line.done())["status"] == "completed"
        voices.llm.delay = 0.02
        await line.write(" ".join(f"word{number}" for number in range(60)) + ".")
        await line.until("response.output_audio.delta")
        await line.append(spoken() + silence(0.5))
        assert (await line.done())["status"] == "cancelled"


async def test_a_client_that_sends_ahead_of_time_is_not_cut(stack: Stack, voices: Vendors) -> None:
    """A second of sound in each message, once a second, is one utterance."""
    await serve(stack, voices, turn={"silence_ms": 200})
    async with call(stack, "a") as line:
        sound = silence(0.3) + spoken()
        for at in range(0, len(sound), RATE * 2):
            await line.append(sound[at : at + RATE * 2])
            await asyncio.sleep(0.7)
        await line.append(silence(0.8))
        await line.done()
        assert len(line.of("input_audio_buffer.committed")) == 1


async def test_truncation_is_idempotent_and_restores_nothing(stack: Stack, voices: Vendors) -> None:
    """The client reports what the server cut at, then more: the history stays as it is."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        await line.append(silence(0.1))
        await line.write(" ".join(f"word{number}" for number in range(60)) + ".")
        response = await line.done()
        item = response["output"][0]["id"]
        texts = []
        ms = len(line.sound(response["id"])) / 48
        for heard in (ms / 2, ms / 2, ms, 10 * ms, ms / 4):
            await line.send(
                "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=round(heard)
            )
            await line.until("conversation.item.truncated")
            await line.send("conversation.item.retrieve", item_id=item)
            shown = (await line.until("conversation.item.retrieved"))["item"]["content"][0]
            texts.append(shown.get("transcript") or shown.get("text"))
        assert texts[0] == texts[1] == texts[2] == texts[3]
        assert len(texts[4]) < len(texts[0]) < 400


FAULTS = [
    ("llm", Fault.BROKEN),
    ("llm", Fault.SILENT),
    ("stt", Fault.BROKEN),
    ("stt", Fault.EARLY_CLOSE),
]


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
async def test_a_failing_vendor_is_said(stack: Stack, voices: Vendors, kind: str, fault: Fault) -> None:
    """The caller hears the manifest's sentence; the call goes on."""
    await serve(stack, voices, on_error={"say": SORRY}, turn={"timeouts": {"first_token_seconds": 0.3}})
    server = getattr(voices, kind)
    async with call(stack, "a") as line:
        server.fault = fault
        await line.speak()
        response = await line.done()
        if response["status"] == "failed":
            response = await line.done()
        assert line.text(response["id"]) == SORRY
        assert response["status"] == "completed"
        assert line.sound(response["id"])
        server.fault = None
        await line.speak()
        assert line.text((await line.done())["id"]).startswith("I am one. You said")


async def test_a_failure_can_end_the_call(stack: Stack, voices: Vendors) -> None:
    """``then: hang_up``, after the sentence has been heard."""
    await serve(stack, voices, on_error={"say": "Sorry.", "then": "hang_up"})
    voices.llm.fault = Fault.BROKEN
    async with call(stack, "a") as line:
        await line.write("Hi.")
        assert (await line.done())["status"] == "failed"
        assert line.text((await line.done())["id"]) == "Sorry."
        with pytest.raises(StopAsyncIteration):
            await line.next()


async def test_what_was_whole_is_spoken_when_the_model_dies(stack: Stack, voices: Vendors) -> None:
    """Its first sentence is heard in full, and kept; then the failure is said."""
    await serve(stack, voices, on_error={"say": SORRY})
    voices.llm.fault, voices.llm.fault_at = Fault.EARLY_CLOSE, 5
    async with call(stack, "a") as line:
        await line.write("Hello there.")
        response = await line.done()
        assert response["status"] == "failed"
        kept = response["output"][0]["content"][0]["transcript"]
        assert kept.startswith("I am one. ")
        assert len(line.sound(response["id"])) >= len("I am one.") * 32
        voices.llm.fault = None
        assert line.text((await line.done())["id"]) == SORRY


async def test_a_voice_without_sound_is_a_failure(stack: Stack, voices: Vendors) -> None:
    """The text is not kept as if it had been heard."""
    tts = {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url}
    voices.llm.soundless = True
    await serve(stack, voices, tts=tts)
    async with call(stack, "a") as line:
        await line.write("Hi.")
        response = await line.done()
        assert response["status"] == "failed"
        voices.llm.soundless = False
        await line.write("Again.")
        assert (await line.done())["status"] == "completed"
    roles = [message["role"] for message in voices.llm.last_chat["messages"]]
    assert "assistant" not in roles


async def test_a_lost_recogniser_is_asked_again(stack: Stack, voices: Vendors) -> None:
    """Its socket drops after a partial transcript: all of the speech is sent once more."""
    await serve(stack, voices)
    voices.stt.fault, voices.stt.times = Fault.EARLY_CLOSE, 1
    async with call(stack, "a") as line:
        await line.speak()
        response = await line.done()
        assert response["status"] == "completed"
        assert line.of("error") == []
    first, second = (request.frames for request in voices.stt.requests[-2:])
    sizes = [sum(len(frame) for frame in frames if isinstance(frame, bytes)) for frames in (first, second)]
    assert sizes[1] >= sizes[0] > 0


async def test_a_stalled_model_gives_way_to_its_fallback(stack: Stack, voices: Vendors) -> None:
    """A role, then nothing: after ``first_token_seconds`` another is asked, and the caller is answered."""
    async with vendors() as other:
        manifest = {
            "provider": "openai-compatible", "model": "one", "api_url": voices.llm.url,
            "fallback": [{"provider": "openai-compatible", "model": "two", "api_url": other.llm.url}],
        }  # fmt: skip
        await serve(stack, voices, llm=manifest, turn={"timeouts": {"first_token_seconds": 0.3}})
        voices.llm.fault, voices.llm.fault_at = Fault.STALL_LATER, 1
        async with call(stack, "a") as line:
            await line.write("Hi.")
            response = await line.done()
        assert response["status"] == "completed"
        assert line.text(response["id"]).startswith("I am two.")


@pytest.mark.parametrize("slow", ["voice", "model"])
async def test_a_silent_voice_gives_way_to_its_fallback(stack: Stack, voices: Vendors, slow: str) -> None:
    """``first_sound_seconds`` after the first sentence another is asked; a slow model is not its fault."""
    async with vendors() as other:
        urls = [one.tts.ws_url + one.tts.path for one in (voices, other)]
        first, second = ({"provider": "kokoro.local", "url": url} for url in urls)
        turn = {"timeouts": {"first_sound_seconds": 0.3}}
        await serve(stack, voices, tts={**first, "fallback": [second]}, turn=turn)
        if slow == "voice":
            voices.tts.fault = Fault.SILENT
        else:
            voices.llm.delay = 0.15
        async with call(stack, "a") as line:
            await line.write("Hi.")
            response = await line.done()
            assert response["status"] == "completed"
            assert line.sound(response["id"]) == voiced("I am one.") + voiced("You said Hi.")
        assert bool(other.tts.requests) == (slow == "voice")


async def test_a_voice_that_stays_silent_is_a_failure(stack: Stack, voices: Vendors) -> None:
    """No fallback: the answer fails in ``first_sound_seconds``, not in a minute; the call goes on."""
    tts = {"provider": "kokoro.local", "url": voices.tts.ws_url + voices.tts.path}
    await serve(stack, voices, tts=tts, turn={"timeouts": {"first_sound_seconds": 0.2}})
    voices.tts.fault, voices.tts.times = Fault.SILENT, 1
    async with call(stack, "a") as line:
        await line.write("Hi.")
        response = await line.done()
        assert response["status"] == "failed"
        assert "0.2 s" in response["status_details"]["error"]["message"]
        await line.write("Again.")
        assert (await line.done())["status"] == "completed"


async def test_a_greeting_is_heard_in_the_clients_format(stack: Stack, voices: Vendors) -> None:
    """A telephone's client sets its format after sound has come and gone: the greeting is said in it."""
    tts = {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url}
    voices.llm.audio = spoken()
    await serve(stack, voices, greeting="Welcome to us.", tts=tts)
    law = {"format": {"type": "audio/pcmu"}}
    async with call(stack, "a") as line:
        await line.append(silence(0.1))
        greeting = await line.done()
        await line.send(
            "session.update", session={"type": "realtime", "audio": {"input": law, "output": law}}
        )
        again = await line.done()
        assert again["audio"]["output"]["format"]["type"] == "audio/pcmu"
        assert line.text(again["id"]) == "Welcome to us."
        assert greeting["id"] != again["id"]
        await line.write("Hi.")
        await line.done()
    system = voices.llm.last_chat["messages"][0]["content"]
    assert system.count("Welcome to us.") == 1


async def test_the_recogniser_finishes_beside_the_wait(stack: Stack, voices: Vendors) -> None:
    """It is told to after 200 ms of silence; a caller who goes on is heard as one utterance."""
    await serve(stack, voices, turn={"silence_ms": 1500})
    async with call(stack, "a") as line:
        await line.append(silence(0.3) + spoken() + silence(0.4))
        async with asyncio.timeout(5):
            while not (voices.stt.requests and "end" in str(voices.stt.last.frames[-1:])):
                await asyncio.sleep(0.01)
        assert line.of("input_audio_buffer.committed") == []
        await line.append(silence(0.3) + spoken() + silence(2))
        completed = await line.until(COMPLETED)
        await line.done()
    assert completed["transcript"].count("heard ") == 2
    assert len(line.of("input_audio_buffer.committed")) == 1


async def test_silence_of_both_is_broken(stack: Stack, voices: Vendors) -> None:
    """The agent asks, as often as the manifest says, and hangs up."""
    idle = {"after_seconds": 1, "say": "Still there?", "times": 1, "then": "hang_up"}
    await serve(stack, voices, turn={"idle": idle})
    async with call(stack, "a") as line:
        response = await line.done()
        assert line.text(response["id"]) == "Still there?"
        with pytest.raises(StopAsyncIteration):
            await line.next()
    assert voices.llm.requests == []


@pytest.mark.soak
@pytest.mark.parametrize("decibels", [-12, -30])
async def test_the_agents_own_voice_interrupts_nothing(
    stack: Stack, voices: Vendors, decibels: float
) -> None:
    """A microphone in real time hears the greeting, later and quieter: it is spoken to its end."""
    tts = {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url}
    voices.llm.audio = spoken()
    voices.stt.words = "What are your opening hours?"
    await serve(stack, voices, greeting="What are your opening hours?", tts=tts)
    async with call(stack, "a") as line:
        await line.append(silence(0.1))
        await line.until("response.output_audio.delta")
        heard = silence(0.15) + scaled(spoken(), decibels) + silence(1.2)
        began = asyncio.get_running_loop().time()
        for at in range(0, len(heard), 960):
            await asyncio.sleep(max(0.0, began + at / 48_000 - asyncio.get_running_loop().time()))
            await line.append(heard[at : at + 960])
        await line.write("Hi.")
        first, second = await line.done(), await line.done()
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert line.of("input_audio_buffer.speech_started") == []
    assert line.of("conversation.item.truncated") == []


async def test_a_slow_transcript_is_not_answered_into_newer_speech(stack: Stack, voices: Vendors) -> None:
    """The caller goes on before the first words are known: both are answered, when both are said."""
    await serve(stack, voices, stt=batch_stt(voices), turn={"silence_ms": 300})
    voices.llm.transcripts = [(0.4, "I have a question."), (0.0, "When do you open?")]
    async with call(stack, "a") as line:
        await line.append(silence(0.3) + spoken() + silence(0.4))
        await line.until("input_audio_buffer.committed")
        await line.append(silence(0.1) + spoken())
        await line.until(COMPLETED)
        await asyncio.sleep(0.1)
        await line.update()
        assert line.of("response.created") == []
        await line.append(silence(0.4))
        response = await line.done()
        assert line.text(response["id"]).strip().endswith("When do you open?")
    (chat,) = [request.body for request in voices.llm.requests if "messages" in (request.body or {})]
    assert "I have a question." in str(chat["messages"])
    await settled(stack, voices)


async def test_late_words_do_not_cancel_newer_speech(stack: Stack, voices: Vendors) -> None:
    """A word over the agent is recognised when a question has begun: that is answered, too."""
    await serve(stack, voices, stt=batch_stt(voices), turn={"silence_ms": 300})
    voices.llm.transcripts = [(0.5, "Wait."), (0.8, "When do you open?")]
    voices.llm.delay = 0.05
    async with call(stack, "a") as line:
        await line.write("one two three four five six seven eight nine ten.")
        await line.until("response.output_audio.delta")
        await line.append(silence(0.1) + hum(0.2) + silence(0.4))
        await line.append(silence(0.1) + spoken() + silence(0.4))
        while not line.of("response.done") or "When do you open?" not in line.text(
            line.of("response.done")[-1]["response"]["id"]
        ):
            await line.next()
    await settled(stack, voices)
