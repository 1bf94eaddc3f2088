"""Turns are atomic: agents that change and are switched in mid-call, faults, calls side by side, the end."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from agentsd.web.middleware.auth import AccessPolicy
from tests.services.speech import silence, spoken
from tests.vendors.base import Fault, VendorServer
from tests.vendors.openai_server import voice_of
from tests.web.conftest import Make, Stack
from tests.web.voices import Line, Vendors, call, settled, vendors


async def test_a_long_call(stack: Stack, voices: Vendors) -> None:
    """8 turns, 4 changes of the manifest, 2 switches."""
    await _long_call(stack, voices, turns=8, change_every=2, switch_every=4)


@pytest.mark.soak
async def test_a_very_long_call(stack: Stack, voices: Vendors) -> None:
    """20 turns, 10 changes of the manifest, 5 switches."""
    await _long_call(stack, voices, turns=20, change_every=2, switch_every=4)


async def _long_call(
    stack: Stack, voices: Vendors, *, turns: int, change_every: int, switch_every: int
) -> None:
    """The right agent and version on every turn, nothing lost of the history, no turn cut."""
    ids = {name: str(uuid4()) for name in ("a", "b")}
    for name, agent in ids.items():
        stack.write(f"{name}.yaml", voices.manifest(f"{name}-0", id=agent))
    await stack.sync()
    voices.llm.delay = 0.02  # a turn takes longer than a sync
    current, models, answers = "a", {"a": "a-0", "b": "b-0"}, []
    async with call(stack, "a") as line:
        for turn in range(turns):
            if turn % switch_every == switch_every - 1:
                current = "b" if current == "a" else "a"
                assert (await line.update(model=current))["model"] == current
            await line.write(f"Turn {turn}.")
            if turn % change_every == change_every - 1:  # in the middle of this very turn
                await line.until("response.created")
                answers_as, models[current] = models[current], f"{current}-{turn}"
                stack.write(f"{current}.yaml", voices.manifest(models[current], id=ids[current]))
                version = await stack.sync()
                response = await line.done()
                assert response["agent_version"] < version
            else:
                answers_as = models[current]
                response = await line.done()
            text = f"I am {answers_as}. You said Turn {turn}."
            assert (response["status"], response["agent"]) == ("completed", current)
            assert voices.llm.last.body["model"] == answers_as
            assert line.text(response["id"]).strip() == text
            assert line.sound(response["id"]) == b"".join(voice_of(f"{part}.") for part in text[:-1].split(". "))  # noqa: E501  # fmt: skip
            answers.append(text)
        history = [message["content"] for message in voices.llm.last.body["messages"][1:]]
    told = [text for turn in range(turns) for text in (f"Turn {turn}.", answers[turn])]
    assert history == told[:-1]


async def test_another_version_is_told(stack: Stack, voices: Vendors) -> None:
    """``session.updated`` comes with the turn that it serves first; an unknown agent changes nothing."""
    agent = str(uuid4())
    stack.write("a.yaml", voices.manifest("one", id=agent))
    first = await stack.sync()
    async with call(stack, "a") as line:
        assert line.events[0]["session"]["agent_version"] == first
        stack.write("a.yaml", voices.manifest("two", id=agent, turn={"silence_ms": 300}))
        second = await stack.sync()
        await line.write("Hi.")
        session = (await line.until("session.updated"))["session"]
        assert (session["agent"], session["agent_version"]) == ("a", second)
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 300
        assert (await line.done())["agent_version"] == second
        await line.send("session.update", session={"type": "realtime", "model": "nobody"})
        assert (await line.until("error"))["error"]["code"] == "model_not_found"
        await line.write("Hi.")
        assert (await line.done())["agent"] == "a"


async def test_an_agent_that_goes_ends_turns_not_the_call(stack: Stack, voices: Vendors) -> None:
    """Its next turn is an error; another agent takes the call over, history and all."""
    stack.write("a.yaml", voices.manifest("one"))
    stack.write("b.yaml", voices.manifest("two"))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write("Hi.")
        await line.done()
        (stack.root / "a.yaml").unlink()
        await stack.sync()
        await line.write("Are you there?")
        assert (await line.until("error"))["error"]["code"] == "agent_not_found"
        await line.update(model="b")
        await line.send("response.create")
        response = await line.done()
    assert line.text(response["id"]).strip() == "I am two. You said Are you there?"
    assert len(voices.llm.last.body["messages"]) == 4


async def test_calls_side_by_side_never_mix(stack: Stack) -> None:
    """Two calls of two agents with vendors of their own: each vendor hears its own caller only."""
    async with vendors() as one, vendors() as other:
        stack.write("one.yaml", one.manifest("uno"))
        stack.write("two.yaml", other.manifest("dos"))
        await stack.sync()
        async with call(stack, "one") as first, call(stack, "two") as second:
            for turn in range(3):
                await asyncio.gather(first.speak(), second.write(f"Turn {turn}."))
                answers = await asyncio.gather(first.done(), second.done())
                assert first.text(answers[0]["id"]).startswith("I am uno. You said heard ")
                assert second.text(answers[1]["id"]).strip() == f"I am dos. You said Turn {turn}."
                text = f"You said Turn {turn}."
                assert second.sound(answers[1]["id"]) == voice_of("I am dos.") + voice_of(text)
        assert {request.body["model"] for request in one.llm.requests} == {"uno"}
        assert {request.body["model"] for request in other.llm.requests} == {"dos"}
        assert other.stt.requests == []
        assert not any("uno" in str(request.frames) for request in other.tts.requests)


FAULTS = [
    ("llm", Fault.UNAUTHORIZED, "provider_auth"),
    ("llm", Fault.RATE_LIMITED, "provider_rate_limited"),
    ("llm", Fault.STALL_LATER, "provider_timeout"),
    ("llm", Fault.EARLY_CLOSE, "provider_unavailable"),
    ("llm", Fault.MALFORMED_FRAME, "provider_protocol"),
    ("tts", Fault.UNAUTHORIZED, "provider_auth"),
    ("tts", Fault.STALL_LATER, "provider_timeout"),
    ("tts", Fault.EARLY_CLOSE, "provider_unavailable"),
    ("tts", Fault.NUMBER_FRAME, "provider_protocol"),
    ("stt", Fault.UNAUTHORIZED, "provider_auth"),
    ("stt", Fault.SILENT, "provider_timeout"),
    ("stt", Fault.EARLY_CLOSE, "provider_unavailable"),
    ("stt", Fault.ERROR_FRAME, None),
]


@pytest.mark.parametrize(("kind", "fault", "code"), FAULTS)
async def test_a_vendors_fault_ends_the_turn_only(
    stack: Stack, voices: Vendors, kind: str, fault: Fault, code: str | None
) -> None:
    """One typed error, then the next turn works, and nothing is left behind."""
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    server: VendorServer = getattr(voices, kind)
    async with call(stack, "a") as line:
        server.fault = fault
        await line.speak()
        error = await line.failure()
        assert code is None or error["code"] == code
        assert "secret words" not in str(line.events)
        if kind == "stt":
            assert line.of("conversation.item.input_audio_transcription.failed")
            assert line.of("response.created") == []
        else:
            (done,) = line.of("response.done")
            assert done["response"]["status"] == "failed"
            assert done["response"]["status_details"]["error"]["code"] == error["code"]
        server.fault = None
        await line.speak()
        response = await line.done()
        assert response["status"] == "completed"
        assert line.text(response["id"]).startswith("I am one. You said heard ")
    await settled(stack, voices)


async def test_an_answer_without_content_is_a_failed_turn(stack: Stack, voices: Vendors) -> None:
    """A model without words: the caller is told, and the next turn works."""
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        voices.llm.mute = True
        await line.speak()
        response = await line.done()
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "provider_empty"
        voices.llm.mute = False
        await line.speak()
        assert (await line.done())["status"] == "completed"
    await settled(stack, voices)


async def test_hanging_up_at_any_moment_leaves_nothing(stack: Stack, voices: Vendors) -> None:
    """The caller's socket is cut while it is heard, thought for and spoken to."""
    voices.llm.delay = voices.tts.delay = 0.005
    stack.write("a.yaml", voices.manifest("one", greeting="Welcome to us all."))
    await stack.sync()
    rng = random.Random(5)
    for _ in range(8):
        async with call(stack, "a") as line:
            await line.speak()
            for _ in range(rng.randrange(40)):
                event = await line.next()
                if event["type"] == "response.done":
                    break
            if rng.random() < 0.5 and line.socket._response.connection:
                line.socket._response.connection.transport.abort()  # type: ignore[union-attr]
    await settled(stack, voices)
    assert stack.metrics.registry.get_sample_value("agentsd_calls") == 0


async def test_a_server_that_stops_lets_the_turn_end(make: Make, voices: Vendors) -> None:
    """The answer is whole, then the socket closes with 1001."""
    stack = await make()
    voices.llm.delay = 0.02
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write("Hello again.")
        await line.until("response.created")
        stopping = asyncio.create_task(stack.running.stop())
        response = await line.done()
        assert line.sound(response["id"]) == voice_of("I am one.") + voice_of("You said Hello again.")
        with pytest.raises(StopAsyncIteration):
            await line.next()
        assert line.socket.close_code == 1001
        await stopping


async def test_a_server_that_stops_hears_its_caller_out(make: Make, voices: Vendors) -> None:
    """Who is speaking is heard to the end and answered; nothing new begins, and who asks is told."""
    stack = await make()
    voices.llm.delay = 0.05
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        sound = silence(0.3) + spoken()
        await line.append(sound[: len(sound) // 2])
        await line.until("input_audio_buffer.speech_started")
        stopping = asyncio.create_task(stack.running.stop())
        await asyncio.sleep(0.1)
        await line.append(sound[len(sound) // 2 :] + silence(0.8))
        await line.until("response.created")
        await line.append(silence(0.3) + spoken() + silence(0.8))
        await line.send("response.create", event_id="late")
        response = await line.done()
        assert response["status"] == "completed"
        assert line.text(response["id"]).startswith("I am one. You said heard ")
        with pytest.raises(StopAsyncIteration):
            await line.next()
        assert line.socket.close_code == 1001
        assert len(line.of("input_audio_buffer.speech_started")) == 1
        (refusal,) = line.of("error")
        assert refusal["error"]["event_id"] == "late"
        await stopping


async def test_who_may_call(make: Make, voices: Vendors) -> None:
    """A token in the header or, as browsers do it, among the protocols; never a page of elsewhere."""
    import hashlib

    from agentsd.web.middleware.auth import FileTokens

    token = "a-token-of-some-length"
    stack = await make(access=AccessPolicy(FileTokens((hashlib.sha256(token.encode()).digest(),))))
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    for options in (
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"protocols": ["realtime", f"openai-insecure-api-key.{token}"]},
    ):
        async with call(stack, "a", **options) as line:
            assert line.socket.protocol == ("realtime" if "protocols" in options else None)
    refused: list[dict[str, Any]] = [
        {},
        {"protocols": ["realtime", "openai-insecure-api-key.wrong"]},
        {"headers": {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}},
    ]
    for options in refused:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with call(stack, "a", **options):
                pass
        assert caught.value.status in (401, 403)


async def test_what_is_no_call(stack: Stack, voices: Vendors) -> None:
    """An unknown agent is a 404 before the handshake; a plain GET is told to upgrade."""
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with call(stack, "nobody"):
            pass
    assert caught.value.status == 404
    status, body = await stack.get("/v1/realtime?model=a")
    assert (status, body["error"]["type"]) == (426, "invalid_request_error")


async def wrong(line: Line, data: str | bytes) -> dict[str, Any]:
    """The error that ``data`` gets."""
    await (line.socket.send_str(data) if isinstance(data, str) else line.socket.send_bytes(data))
    error: dict[str, Any] = (await line.until("error"))["error"]
    return error


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("42 ", "invalid_json", None),
        (b"\0\1", "invalid_request", None),
        ('{"type": "nonsense", "event_id": "mine"}', "invalid_request", "type"),
        ('{"type": ["session.update"], "event_id": "mine"}', "invalid_request", "type"),
        ('{"type": "session.update"}', "invalid_value", "session"),
        ('{"type": "session.update", "session": {"output_modalities": ["smell"]}}', "invalid_value", None),
        ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "other"}}}}}', "invalid_value", "session.audio.input.turn_detection.type"),  # noqa: E501
        ('{"type": "session.update", "session": {"tools": [{}]}}', "invalid_value", "session.tools[0].name"),
        ('{"type": "input_audio_buffer.append", "audio": "***"}', "invalid_request", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA="}', None, None),
        ('{"type": "input_audio_buffer.append", "audio": "AA=="}', None, None),
        ('{"type": "input_audio_buffer.append"}', "invalid_request", "audio"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        ('{"type": "conversation.item.create", "item": {"type": "function_call"}}', "invalid_value", None),
        ('{"type": "conversation.item.delete", "item_id": "none"}', "item_delete_invalid_item_id", "item_id"),
        ('{"type": "conversation.item.truncate", "item_id": "none", "audio_end_ms": 1}', "item_truncate_invalid_item_id", "item_id"),  # noqa: E501
        ('{"type": "response.create", "response": {"conversation": "other"}}', "invalid_value", "response.conversation"),  # noqa: E501
        ('{"type": "response.cancel"}', "response_cancel_not_active", None),
        ('{"type": "x", "pad": "' + "x" * (1 << 20) + '"}', "body_too_large", None),
    ],
)  # fmt: skip
async def test_a_wrong_event_is_an_error_never_a_dead_socket(
    stack: Stack, voices: Vendors, data: str | bytes, code: str | None, param: str | None
) -> None:
    """It names what is wrong, and the event's id; the call goes on."""
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        if code is not None:
            error = await wrong(line, data)
            assert error["code"] == code
            assert param is None or error["param"] == param
            assert error["event_id"] == ("mine" if "mine" in str(data) else None)
        await line.write("Hi.")
        assert (await line.done())["status"] == "completed"


async def test_too_many_events_are_dropped_one_by_one(
    stack: Stack, voices: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told; the call goes on when the client slows down."""
    monkeypatch.setattr("agentsd.web.openai.realtime.endpoint.EVENTS_BURST", 3.0)
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        for _ in range(20):
            await line.send("response.cancel")
        codes = {(await line.until("error"))["error"]["code"] for _ in range(20)}
        assert codes == {"response_cancel_not_active", "rate_limit_exceeded"}


async def test_one_answer_at_a_time(stack: Stack, voices: Vendors) -> None:
    """A second request for one is refused while the first goes on, which ``response.cancel`` ends."""
    voices.llm.delay = 0.05
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write("One two three four five.")
        await line.send("response.create")
        error = (await line.until("error"))["error"]
        assert error["code"] == "conversation_already_has_active_response"
        await line.send("response.cancel")
        response = await line.done()
        assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        voices.llm.delay = 0
        await line.write("Six.")
        response = await line.done()
        said = "One two three four five.\n\nSix."  # one message: templates alternate
        assert line.text(response["id"]).strip() == f"I am one. You said {said}"


async def test_an_utterance_that_nobody_commits_is_bounded(stack: Stack, voices: Vendors) -> None:
    """``turn.max_seconds`` of it, then an error for what is more."""
    stack.write("a.yaml", voices.manifest("one", turn={"max_seconds": 1, "prefix_padding_ms": 0}))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.by_hand()
        await line.append(b"\0\0" * 24_000 * 3)
        assert (await line.until("error"))["error"]["code"] == "input_audio_buffer_full"
        await line.send("input_audio_buffer.commit")
        await line.until("input_audio_buffer.committed")
