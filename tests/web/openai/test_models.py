"""/v1/models: what each agent can do."""

from __future__ import annotations

import json

import pytest

from agentsd.web.views.abilities import scan_sections
from tests.web.conftest import Stack, echo

LLM = "llm:\n  provider: echo.local\n"
TTS = "tts:\n  provider: kokoro.local\n  url: ws://127.0.0.1:9/tts\n"
STT = "stt:\n  provider: whisper.local\n  url: ws://127.0.0.1:9\n"
EMBEDDING = "embedding:\n  provider: openai-compatible\n  model: e\n  api_url: http://127.0.0.1:9\n"


async def test_each_model_says_what_it_can_do(stack: Stack) -> None:
    """Block style and JSON, one section and all, one by one and in the list, also after an edit."""
    stack.write("all.yaml", LLM + TTS + STT + EMBEDDING)
    stack.write("chat.yaml", f"name: Chatty\n{LLM}")
    stack.write("ears.yaml", json.dumps({"stt": {"provider": "whisper.local", "url": "ws://127.0.0.1:9"}}))
    await stack.sync()
    _, reply = await stack.get("/v1/models")
    found = {model["id"]: (model["name"], model["abilities"]) for model in reply["data"]}
    assert found == {
        "all": ("all", ["chat", "embeddings", "realtime", "speech", "transcription"]),
        "chat": ("Chatty", ["chat"]),
        "ears": ("ears", ["transcription"]),
    }
    stack.write("chat.yaml", LLM + EMBEDDING)
    await stack.sync()
    _, one = await stack.get("/v1/models/chat")
    assert one["abilities"] == ["chat", "embeddings"]


async def test_sections_of_layers_count(stack: Stack) -> None:
    """What ``_defaults.yaml`` adds, an agent can do."""
    stack.write("acme/_defaults.yaml", TTS)
    stack.write("acme/loud.yaml", LLM)
    await stack.sync()
    _, reply = await stack.get("/v1/models")
    found = {model["id"]: model["abilities"] for model in reply["data"]}
    assert found == {"acme/loud": ["chat", "speech"]}


async def test_the_built_in_agent_chats(stack: Stack) -> None:
    """Where there is no other."""
    _, reply = await stack.get("/v1/models")
    assert [model["abilities"] for model in reply["data"]] == [["chat"]]


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        (LLM + TTS, {"llm", "tts"}),
        (LLM.replace("\n", "\r\n"), {"llm"}),
        ("system_prompt: |\n  llm:\n    x\n" + TTS, {"tts"}),
        ("llm:  # ours\n\n  # which\n  provider: echo.local\n", {"llm"}),
        ("name: A\n", set()),
        ("llm: null\n", None),
        ("llm:\nname: A\n", None),
        ("llm: {provider: echo.local}\n", None),
        ('"llm":\n  provider: echo.local\n', None),
        ("llm: &a\n  provider: echo.local\n", None),
        ('{"llm": {"provider": "echo.local"}}', None),
        ("<<: *a\n" + LLM, None),
    ],
)
def test_a_scan_is_sure_or_leaves_it_to_the_parser(text: str, sections: set[str] | None) -> None:
    """Ten thousand manifests are not parsed for a list; what a scan cannot know, a parser does."""
    assert scan_sections(text.encode()) == sections


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/v1/messages", "POST /v1/chat/completions"),
        ("POST", "/v1/messages/count_tokens", "POST /v1/responses"),
        ("POST", "/v1/images/generations", "POST /v1/audio/speech"),
        ("POST", "/v1/moderations", "GET /v1/models"),
        ("POST", "/v1/responses/input_tokens", "POST /v1/responses"),
        ("GET", "/v1/files", "POST /v1/embeddings"),
        ("POST", "/chat/completions", "did you mean /v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", "did you mean /v1/chat/completions"),
        ("POST", "/v1//chat/completions", "did you mean /v1/chat/completions"),
        ("POST", "//v1/chat/completions", "did you mean /v1/chat/completions"),
        ("POST", "/openai/deployments/support/chat/completions", "did you mean /v1/chat/completions"),
        ("GET", "/openai/v1/models", "did you mean /v1/models"),
        ("POST", "/api/chat", "Ollama"),
        ("GET", "/api/tags", "Ollama"),
    ],
)
async def test_what_is_not_there_names_what_is(stack: Stack, method: str, path: str, hint: str) -> None:
    """Other interfaces, and base URLs with one /v1 too many or too few; in OpenAI's shape below /v1."""
    stack.write("support.yaml", echo("Support"))
    async with stack.client.request(method, stack.url + path, json={}) as reply:
        body = await reply.json(content_type=None)
    assert reply.status in (404, 405)
    text = body["error"]["message"] if path.startswith("/v1/") else f"{body['detail']} {body['hint']}"
    assert path in text
    assert hint in text
