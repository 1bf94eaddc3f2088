"""POST /v1/chat/completions: OpenAI's interface, where ``model`` is an agent's slug.

The request or stream uses the one leased version from start to end; ``X-Agent`` and
``X-Agent-Version`` name it. An error before the first byte is an HTTP status; a later one is a last
frame ``data: {"error": ...}`` without ``[DONE]``. A vendor that is silent for some seconds makes the
response begin with a comment; retries and fallbacks go on behind it. When the client leaves, aiohttp
cancels the handler (see ``server.start_server``), which closes the vendor's stream and ends the lease.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from agentsd.services import chat, rag
from agentsd.web.agent_lookup import lease_agent
from agentsd.web.context import APP_CONTEXT, WEB_METRICS
from agentsd.web.http.conditional import make_json_headers
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.json_body import read_json_object
from agentsd.web.openai.answer_stream import CompletionFrames, send_answer
from agentsd.web.openai.models import find_model, make_agent_headers


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/chat/completions", complete_chat)]


async def complete_chat(request: web.Request) -> web.StreamResponse:
    """Return one chat completion, whole or as a stream."""
    body = await read_json_object(request)
    check_chat_body(body)
    entry = find_model(request, body.get("model") or "")
    async with lease_agent(request, entry) as agent:
        grounded, passages = await rag.add_passages(agent, body, request.app[APP_CONTEXT].knowledge)
        if body.get("stream"):
            with request.app[WEB_METRICS].streams.labels("chat").track_inprogress():
                answer = rag.cite_stream(chat.stream_chat(agent, grounded), passages)
                return await send_answer(request, agent, answer, CompletionFrames())
        reply = to_json(rag.add_citations(await chat.complete_chat(agent, grounded), passages))
        headers = make_json_headers()
        headers.update(make_agent_headers(agent))
        return web.Response(body=reply, headers=headers)


def check_chat_body(body: Mapping[str, Any]) -> None:
    """Check the shape that all code below relies on. Raise ``Problem`` 400."""
    if not isinstance(body.get("model") or "", str):
        raise bad_request("model must be a string: an agent's slug", param="model")
    if not isinstance(body.get("stream") or False, bool):
        raise bad_request("stream must be true or false", param="stream")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list of at least one message", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad_request("a message must be an object with a role", param=f"messages[{number}].role")
        if not _is_content(message.get("content")):
            raise bad_request(
                "content must be a string or a list of parts", param=f"messages[{number}].content"
            )


def _is_content(content: object) -> bool:
    if isinstance(content, list):
        return all(isinstance(part, dict) for part in content)
    return content is None or isinstance(content, str)
