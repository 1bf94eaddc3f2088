"""Clients that no registry has, replayed by the shapes of their requests: written anew after their sources.

Open WebUI and LibreChat speak chat completions, speech and transcriptions; Home Assistant's integrations
responses, chat with tools, and speech; Continue completions for what is typed, besides chats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.clients.world import AGENT, TOKEN, ClientWorld

TOOL = {
    "name": "HassTurnOn",
    "description": "Turn on a device.",
    "parameters": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "area": {"type": "string"}},
        "required": [],
    },
}
ASK = [{"role": "user", "content": "What is the capital of France?"}]
IMAGE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@dataclass(frozen=True)
class Replay:
    """Request of a client, the status that it needs, and a part of the reply."""

    client: str
    feature: str
    path: str
    needs: bytes
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None  # with the recording as ``file``
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


CHAT, SPEECH, HEARING = "/chat/completions", "/audio/speech", "/audio/transcriptions"
MP3 = b"\xff"
REPLAYS = (
    Replay("Open WebUI", "models", "/models", b'"id":"assistant"'),
    Replay(
        *("Open WebUI", "chat, streamed", CHAT, b"Paris"),
        body={"stream": True, "model": AGENT, "messages": ASK, "stream_options": {"include_usage": True}},
        headers={"X-OpenWebUI-User-Name": "Ann", "X-OpenWebUI-Chat-Id": "1"},
    ),
    Replay(
        *("Open WebUI", "title of a chat", CHAT, b"Paris"),
        body={"model": AGENT, "messages": ASK, "stream": False, "max_completion_tokens": 1000},
    ),
    Replay(
        *("Open WebUI", "picture", CHAT, b"Paris"),
        body={
            "stream": True,
            "model": AGENT,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": IMAGE}},
                    ],
                }
            ],
        },
    ),
    Replay(
        *("Open WebUI", "tools of its own", CHAT, b"HassTurnOn"),
        body={
            "stream": True,
            "model": AGENT,
            "messages": ASK,
            "tools": [{"type": "function", "function": TOOL}],
        },
    ),
    Replay(
        *("Open WebUI", "speech", SPEECH, MP3),
        body={"input": "Hello.", "model": AGENT, "voice": "alloy"},
    ),
    Replay("Open WebUI", "hearing", HEARING, b"capital", form={"model": AGENT, "language": "en"}),
    Replay("Open WebUI", "hearing, without a language", HEARING, b"capital", form={"model": AGENT}),
    Replay(
        "Open WebUI", "embeddings", "/embeddings", b'"embedding"', body={"input": ["a", "b"], "model": AGENT}
    ),
    Replay("LibreChat", "models", "/models", b'"object":"list"'),
    Replay(
        *("LibreChat", "chat, streamed", CHAT, b"Paris"),
        body={
            **{"model": AGENT, "messages": ASK, "stream": True, "user": "66f", "temperature": 1, "top_p": 1},
            **{"presence_penalty": 0, "frequency_penalty": 0, "stream_options": {"include_usage": True}},
        },
    ),
    Replay(
        *("LibreChat", "title of a chat", CHAT, b"submit_title"),
        body={
            "model": AGENT,
            "messages": ASK,
            "tools": [{"type": "function", "function": {**TOOL, "name": "submit_title"}}],
            "tool_choice": {"type": "function", "function": {"name": "submit_title"}},
            "parallel_tool_calls": False,
        },
    ),
    Replay(
        *("LibreChat", "speech", SPEECH, MP3),
        body={"input": "Hello.", "model": AGENT, "voice": "alloy", "backend": None},
    ),
    Replay("LibreChat", "hearing", HEARING, b"capital", form={"model": AGENT}),
    Replay(
        *("Home Assistant", "conversation (responses, streamed)", "/responses", b"HassTurnOn"),
        body={
            **{
                "model": AGENT,
                "input": [{"type": "message", "role": "developer", "content": "Be kind."}, *ASK],
            },
            **{"max_output_tokens": 3000, "top_p": 1.0, "temperature": 1.0, "user": "conv", "store": False},
            **{"stream": True, "tools": [{"type": "function", "strict": False, **TOOL}]},
        },
    ),
    Replay(
        *("Home Assistant", "generated data (responses)", "/responses", b"Paris"),
        body={
            "model": AGENT,
            "input": [{"type": "message", "role": "user", "content": "A city."}],
            "store": False,
            "stream": True,
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "city",
                    "strict": True,
                    "schema": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                        "additionalProperties": False,
                    },
                }
            },
        },
    ),
    Replay(
        *("Home Assistant", "web search of OpenAI", "/responses", b"web_search"),
        body={"model": AGENT, "input": "News?", "stream": True, "tools": [{"type": "web_search"}]},
        status=400,
    ),
    Replay(
        *("Home Assistant", "conversation (chat, with tools)", CHAT, b"HassTurnOn"),
        body={
            **{"model": AGENT, "messages": ASK, "max_tokens": 150, "top_p": 1, "temperature": 0.5},
            **{"user": "conv", "tools": [{"type": "function", "function": TOOL}], "tool_choice": "auto"},
        },
    ),
    Replay(
        *("Home Assistant", "speech", SPEECH, b"RIFF"),
        body={"model": AGENT, "input": "Hello.", "voice": "shimmer", "response_format": "wav", "speed": 1.0},
    ),
    Replay(
        *("Home Assistant", "hearing", HEARING, b"capital"),
        form={"model": AGENT, "language": "en", "response_format": "json"},
    ),
    Replay(
        *("Continue", "chat, streamed", CHAT, b"Paris"),
        body={"model": AGENT, "messages": ASK, "stream": True, "max_tokens": 2048},
        headers={"api-key": TOKEN},
    ),
    Replay(
        *("Continue", "completion while typing", "/completions", b"Paris"),
        body={
            **{"model": AGENT, "prompt": "The capital of France is", "max_tokens": 256, "temperature": 0.01},
            **{
                "stream": True,
                "stop": ["\n\n", "```", "</s>"],
                "frequency_penalty": 0,
                "presence_penalty": 0,
            },
        },
    ),
    Replay(
        *("Continue", "completion with a suffix", "/completions", b"suffix"),
        body={"model": AGENT, "prompt": "a", "suffix": "b", "stream": True},
        status=400,
    ),
    Replay("Continue", "embeddings", "/embeddings", b'"embedding"', body={"input": ["a"], "model": AGENT}),
)


async def replay_clients(world: ClientWorld) -> Sequence[tuple[str, str, str]]:
    """Return client, feature and what was wrong (empty: nothing) for each."""
    rows = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for replay in REPLAYS:
            rows.append((replay.client, replay.feature, await _send(session, world, replay)))
    return rows


async def _send(session: aiohttp.ClientSession, world: ClientWorld, replay: Replay) -> str:
    options: dict[str, Any] = {"json": replay.body} if replay.body is not None else {}
    if replay.form is not None:
        form = aiohttp.FormData(dict(replay.form))
        form.add_field("file", world.recording.read_bytes(), filename="audio.wav", content_type="audio/wav")
        options = {"data": form}
    method = "POST" if options else "GET"
    url = f"{world.url}/v1{replay.path}"
    async with session.request(method, url, headers=dict(replay.headers), **options) as reply:
        data = await reply.read()
    if reply.status != replay.status:
        return f"{reply.status}: {data[:200]!r}"
    return "" if replay.needs in data else f"without {replay.needs!r}: {data[:200]!r}"
