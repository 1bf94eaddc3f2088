"""A vendor that does what it is asked for: calls the tools it is given, and follows schemas.

What it answers depends on the request alone: a tool call where tools are given and none was answered
yet, an object that a JSON schema describes, what a tool returned, or else plain words.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tests.vendors.base import main
from tests.vendors.openai_server import CREATED, DONE, OpenAIServer, completion

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
TEXT = "The capital of France is Paris."
TRANSCRIPT = "What is the capital of France?"


class ObligingServer(OpenAIServer):
    """``text`` is what it answers, ``transcript`` what it hears; its voice is a tone of half a second."""

    def __init__(self, *, text: str = TEXT, transcript: str = TRANSCRIPT, **options: Any) -> None:
        super().__init__(transcript=transcript, audio=make_tone(24_000, 0.5), **options)
        self.text = text

    async def _complete(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        await self.pause()
        message = choose_message(body, self.text)
        if not body.get("stream"):
            answer = completion(body, "")
            reason = "tool_calls" if "tool_calls" in message else "stop"
            for choice in answer["choices"]:
                choice |= {"message": {"role": "assistant", **message}, "finish_reason": reason}
            return web.json_response(body=orjson.dumps(answer | {"usage": USAGE}))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in make_frames(body, message):
            await response.write(frame)
            await asyncio.sleep(0)
        await response.write_eof()
        return response


def choose_message(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the message that answers a chat: ``content``, and ``tool_calls`` to call a tool."""
    messages = body["messages"]
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    if messages[-1]["role"] == "tool":
        results = [str(one["content"]) for one in messages if one["role"] == "tool"]
        if not body.get("response_format") and (choice in (None, "auto", "none") or not tools):
            return {"content": f"The tool answered {results[-1]}"}
    elif tools and choice != "none":
        named = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
        tool = next((one for one in tools if one["type"] == "function" and _name(one) == named), tools[0])
        return {"content": None, "tool_calls": [make_call(tool)]}
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"].get("schema") or {}
        return {"content": orjson.dumps(make_example(schema, schema)).decode()}
    return {"content": '{"answer": "Paris"}' if form.get("type") == "json_object" else text}


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool[tool["type"]]["name"])


def make_call(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call of ``tool`` with arguments of its schema."""
    if tool["type"] == "custom":
        return {"id": "call_1", "type": "custom", "custom": {"name": _name(tool), "input": "ls"}}
    schema = tool["function"].get("parameters") or {}
    arguments = orjson.dumps(make_example(schema, schema)).decode()
    return {"id": "call_1", "type": "function", "function": {"name": _name(tool), "arguments": arguments}}


PLAIN_EXAMPLES: Mapping[str, Any] = {
    "string": "Paris", "integer": 7, "number": 7, "boolean": True, "null": None,
}  # fmt: skip


def make_example(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return a value that ``schema`` describes."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return make_example(target, root)
    choices = next((schema[word] for word in ("anyOf", "oneOf", "allOf") if schema.get(word)), None)
    if choices:
        return make_example(choices[0], root)
    if "const" in schema or schema.get("enum"):
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [make_example(schema.get("items") or {}, root)]
    if kind in PLAIN_EXAMPLES:
        return PLAIN_EXAMPLES[kind]
    return {name: make_example(part, root) for name, part in (schema.get("properties") or {}).items()}


def make_frames(body: Mapping[str, Any], message: Mapping[str, Any]) -> list[bytes]:
    """Return the frames of a streamed answer; arguments and words come in pieces."""
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    for call in message.get("tool_calls") or ():
        head = {"index": 0, "id": call["id"], "type": call["type"]}
        kind, text = call["type"], "input" if call["type"] == "custom" else "arguments"
        deltas.append(({"tool_calls": [{**head, kind: {"name": call[kind]["name"], text: ""}}]}, None))
        whole = call[kind][text]
        for piece in (whole[:5], whole[5:]):
            deltas.append(({"tool_calls": [{"index": 0, kind: {text: piece}}]}, None))
    words = (message.get("content") or "").split(" ")
    deltas += [({"content": word if not at else f" {word}"}, None) for at, word in enumerate(words) if word]
    deltas.append(({}, "tool_calls" if message.get("tool_calls") else "stop"))
    head = {"id": "chatcmpl-v", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": USAGE})
    return [*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks), DONE]


def make_tone(rate: int, seconds: float) -> bytes:
    """Return a tone of 440 Hz as 16-bit PCM."""
    samples = (int(8000 * math.sin(2 * math.pi * 440 * at / rate)) for at in range(int(rate * seconds)))
    return array("h", samples).tobytes()


if __name__ == "__main__":
    main(lambda _options: ObligingServer())
