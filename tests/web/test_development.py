"""The old system's ``.env``, imported: the agent answers through /v1, whichever vendors it names."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from agentsd.control.importers.dotenv import DEFAULT_SLUG, MANIFEST_HEAD, migrate_env, read_env
from agentsd.core.manifest.agent import AgentHead
from agentsd.providers.catalog import default_catalog
from agentsd.runtime.agents.fallback import FallbackAgent
from agentsd.web.middleware.auth import AccessPolicy
from tests.development import LLM_KEY, SECRETS, TTS_KEY, Servers, manifest, sample, servers
from tests.services.speech import spoken
from tests.vendors.openai_server import heard, voice_of
from tests.web.conftest import Make, Stack, echo
from tests.web.openai.test_audio import wav_of
from tests.web.people import ADMIN, DAN, GUS

HELLO = [{"role": "user", "content": "hello"}]
MORE = {"MISTRAL_LLM_API_KEY": "mi_Key9", "OPENROUTER_LLM_API_KEY": "or_Key9"}


@pytest.fixture
async def vendors() -> AsyncIterator[Servers]:
    """The vendors of the sample."""
    async with servers() as made:
        yield made


async def talk(stack: Stack, model: str = DEFAULT_SLUG) -> None:
    """One chat, whole and streamed, one speech and one transcription."""
    status, whole = await stack.ask("POST", "/v1/chat/completions", json={"model": model, "messages": HELLO})
    assert (status, whole["choices"][0]["message"]["content"]) == (200, "This is a test."), whole
    body = {"model": model, "messages": HELLO, "stream": True}
    async with stack.client.post(f"{stack.url}/v1/chat/completions", json=body) as reply:
        text = await reply.text()
        assert (reply.status, "[DONE]" in text) == (200, True), text
    body = {"model": model, "input": "Hello.", "response_format": "wav"}
    async with stack.client.post(f"{stack.url}/v1/audio/speech", json=body) as reply:
        sound = await reply.read()
        assert reply.status == 200, sound
        assert voice_of("Hello.")[:400] in sound
    pcm = spoken(8000)
    form = aiohttp.FormData({"model": model})
    form.add_field("file", wav_of(pcm), filename="a.wav", content_type="audio/wav")
    async with stack.client.post(f"{stack.url}/v1/audio/transcriptions", data=form) as reply:
        assert (reply.status, (await reply.json())["text"]) == (200, heard(pcm))


@pytest.mark.parametrize(
    ("llm", "tts", "stt"),
    [
        ("groq.com", "async.ai", "whisper.local"),
        ("mistral.ai", "elevenlabs.io", "deepgram.com"),
        ("openrouter.ai", "deepgram.com", "whisper.local"),
        ("llama-cpp.local", "hume.ai", "deepgram.com"),
        ("groq.com", "kokoro.local", "whisper.local"),
    ],
)
async def test_it_answers(stack: Stack, vendors: Servers, llm: str, tts: str, stt: str) -> None:
    """Sealed in the store, opened in the runtime: text, voice and transcript, each from its vendor."""
    chosen = {"LLM_PROVIDER": llm, "TTS_PROVIDER": tts, "STT_PROVIDER": stt}
    data = await manifest(vendors, stack.root, stack.keys.rules, **chosen, **MORE)
    assert not [secret for secret in SECRETS if secret.encode() in data]
    (stack.root / f"{DEFAULT_SLUG}.yaml").write_bytes(data)
    await stack.sync()
    await talk(stack)
    _, view = await stack.get(f"/api/agents/{DEFAULT_SLUG}")
    assert (view["name"], view["condition"]["type"]) == ("Development Agent", "Ready")
    if llm == "groq.com":
        assert vendors.llm.last.headers["authorization"] == f"Bearer {LLM_KEY}"
    if tts == "async.ai":
        assert vendors.tts.last.query["api_key"] == TTS_KEY


def in_memory(vendors: Servers) -> FallbackAgent:
    """The same agent as the command line makes it of environment variables."""
    catalog = default_catalog()
    sections = migrate_env(read_env(".env", sample(**vendors.addresses).encode()), catalog).sections
    settings = {kind: catalog.settings_of(kind, section) for kind, section in sections.items()}
    return FallbackAgent(DEFAULT_SLUG, AgentHead.model_validate(dict(MANIFEST_HEAD)), settings)


async def test_in_memory_it_answers_where_no_other_does(make: Make, vendors: Servers) -> None:
    """It stands in the built-in one's place until a manifest takes its name, or is the default."""
    stack = await make(fallback=in_memory(vendors))
    assert [one["id"] for one in (await stack.get("/v1/models"))[1]["data"]] == [DEFAULT_SLUG]
    for model in ("", "current", DEFAULT_SLUG):
        await talk(stack, model)
    status, view = await stack.get("/api/agents/current")
    assert (status, view["slug"], view["llm_provider_config"]) == (
        200,
        DEFAULT_SLUG,
        {"provider": "groq.com"},
    )
    assert not [secret for secret in SECRETS if secret in str(view)]
    assert (await stack.get("/api/agents/echo"))[0] == 404
    stack.write(f"{DEFAULT_SLUG}.yaml", echo("Mine", default=True))
    await stack.sync()
    for model in ("", DEFAULT_SLUG):
        body = {"model": model, "messages": HELLO}
        _, reply = await stack.ask("POST", "/v1/chat/completions", json=body)
        assert reply["choices"][0]["message"]["content"] == "hello"


async def test_in_memory_it_is_the_default_owner_s(make: Make, vendors: Servers) -> None:
    """Another owner's token neither sees it nor talks on its keys."""
    stack = await make(access=AccessPolicy(loopback=False), fallback=in_memory(vendors))
    for owner, users in (("", (ADMIN, DAN)), ("globex/", (GUS,))):
        tokens = "".join(user.entry for user in users)
        stack.write(f"{owner}_user.yaml", f"tokens:\n{tokens}")
    await stack.sync()
    body = {"messages": HELLO}
    for user in (ADMIN, DAN):
        assert (await stack.ask("POST", "/v1/chat/completions", json=body, headers=user.headers))[0] == 200
    asked = len(vendors.llm.requests)
    for model in ("", "current", DEFAULT_SLUG, "echo"):
        named = body | {"model": model}
        status, _ = await stack.ask("POST", "/v1/chat/completions", json=named, headers=GUS.headers)
        assert status == 404
    assert (await stack.get("/v1/models", headers=GUS.headers))[1]["data"] == []
    assert (await stack.get("/api/agents/current", headers=GUS.headers))[0] == 404
    assert len(vendors.llm.requests) == asked
