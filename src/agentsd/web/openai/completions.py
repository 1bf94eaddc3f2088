"""POST /v1/completions: OpenAI's older interface, answered by a chat with one message of the user.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web

from agentsd.services import chat
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.json_body import read_json_object
from agentsd.web.openai.answer_stream import CompletionFrames, send_answer
from agentsd.web.openai.models import lease_model, make_agent_headers

NEUTRAL_VALUES: Mapping[str, tuple[object, ...]] = {
    "best_of": (None, 1),
    "echo": (None, False),
    "logprobs": (None,),
    "suffix": (None, ""),
}
"""Fields that no chat has, with the values that ask for nothing."""


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/completions", create_completion)]


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Return one completion, whole or as a stream."""
    body = await read_json_object(request)
    asked = make_chat_body(body)
    async with lease_model(request, body.get("model")) as agent:
        if not body.get("stream"):
            answer = await chat.complete_chat(agent, asked)
            reply, headers = to_json(convert_answer(answer, "message")), make_agent_headers(agent)
            return web.Response(body=reply, content_type="application/json", headers=headers)
        frames = CompletionFrames(partial(convert_answer, body="delta"))
        return await send_answer(request, agent, chat.stream_chat(agent, asked), frames)


def make_chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the chat that answers a completion. Raise ``Problem`` 400 that names a field."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        hint = "tokens, and several prompts at once, are not supported"
        raise bad_request("prompt must be a text", hint=hint, param="prompt")
    if not isinstance(body.get("stream") or False, bool):
        raise bad_request("stream must be true or false", param="stream")
    for name, neutral in NEUTRAL_VALUES.items():
        if body.get(name) not in neutral:
            raise bad_request(f"{name} is not supported", hint="use /v1/chat/completions", param=name)
    rest = {key: value for key, value in body.items() if key != "prompt" and key not in NEUTRAL_VALUES}
    return {**rest, "messages": [{"role": "user", "content": prompt}]}


def convert_answer(answer: Mapping[str, Any], body: str) -> dict[str, Any]:
    """Return a chat completion, or a chunk of one, as a completion; ``body`` is ``message`` or ``delta``."""
    choices = [
        {
            "index": choice.get("index", 0),
            "text": _read_text((choice.get(body) or {}).get("content")),
            "logprobs": None,
            "finish_reason": choice.get("finish_reason"),
        }
        for choice in answer.get("choices") or ()
    ]
    identifier = str(answer["id"]).replace("chatcmpl-", "cmpl-", 1)
    return {**answer, "id": identifier, "object": "text_completion", "choices": choices}


def _read_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return content or ""
