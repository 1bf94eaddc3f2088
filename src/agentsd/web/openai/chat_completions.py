"""POST /v1/chat/completions: OpenAI's interface, where ``model`` is an agent's slug.

The request or stream uses the one leased version from start to end; ``X-Agent`` and
``X-Agent-Version`` name it. An error before the first byte is an HTTP status; a later one is a last
frame ``data: {"error": ...}`` without ``[DONE]``. A vendor that is silent for some seconds makes the
response begin with a comment; retries and fallbacks go on behind it. When the client leaves, aiohttp
cancels the handler (see ``server.start_server``), which closes the vendor's stream and ends the lease.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from aiohttp import web
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from agentsd.providers.base import LiveAgent
from agentsd.services import chat, rag
from agentsd.services.overrides import apply_overrides
from agentsd.services.variables import bind_agent
from agentsd.web.agent_lookup import lease_agent
from agentsd.web.context import APP_CONTEXT, WEB_METRICS
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.answer_stream import CompletionFrames, send_answer
from agentsd.web.openai.chat_tools import hide_calls, show_calls, wants_calls
from agentsd.web.openai.chat_turn import ChatTurn, complete_answer, record_turn, stream_answer
from agentsd.web.openai.models import ModelName, find_model, make_agent_headers

Streamed = Annotated[bool | None, Field(description="Server-sent events instead of one JSON object.")]


class ChatMessage(TypedDict):
    """Message of a chat; further fields are passed on. A class of values would cost as much as parsing."""

    role: Annotated[str, Field(json_schema_extra={"enum": sorted(chat.ROLES)})]
    content: NotRequired[Annotated[str | list[dict[str, Any]] | None, Field(description="A text, or parts.")]]


def describe_passed_fields(schema: dict[str, Any]) -> None:
    """Add the fields that go to the vendor to a request's schema."""
    for name in sorted(chat.PASSED_FIELDS):
        schema["properties"].setdefault(name, {"description": "Passed to the provider unchanged."})


class ChatRequest(RequestModel):
    """Chat. The agent's system prompt precedes the messages."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=describe_passed_fields)

    model: ModelName = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    stream: Streamed = None
    stream_options: Annotated[
        dict[str, Any] | None,
        Field(
            description="`include_usage` requests a last chunk with the usage, `include_tools` a chunk with "
            "`tool_call` for the beginning and the end of each call of a tool of the agent."
        ),
    ] = None


class ChatCompletion(TypedDict):
    """Answer of the agent; further fields are the vendor's."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    id: str
    object: Literal["chat.completion"]
    created: Count
    model: Annotated[str, Field(description="The agent's slug.")]
    choices: list[dict[str, Any]]
    usage: NotRequired[Annotated[dict[str, Any], Field(description="Tokens, as the provider counts them.")]]
    citations: NotRequired[list[rag.Citation]]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/chat/completions", complete_chat)]


def _make_frames(body: Mapping[str, Any], turn: ChatTurn) -> CompletionFrames:
    if turn.tools is None:
        return CompletionFrames()
    return CompletionFrames(show_calls if wants_calls(body) else hide_calls)


async def complete_chat(request: web.Request) -> web.StreamResponse:
    """Return one chat completion, whole or as a stream."""
    body = await read_json_object(request)
    wanted = parse_model(ChatRequest, body)
    entry = find_model(request, wanted.model or "")
    async with lease_agent(request, entry) as agent:
        with record_turn(request, agent, "chat", body) as turn:
            return await _answer(request, agent, wanted, body, turn)


async def _answer(
    request: web.Request, agent: LiveAgent, wanted: ChatRequest, body: Mapping[str, Any], turn: ChatTurn
) -> web.StreamResponse:
    agent = bind_agent(agent, body.get("metadata"))
    body = apply_overrides(agent, body)
    turn.set_request(body)
    grounded, passages = await rag.add_passages(agent, body, request.app[APP_CONTEXT].knowledge)
    if wanted.stream:
        with request.app[WEB_METRICS].streams.labels("chat").track_inprogress():
            answer = stream_answer(turn, agent, grounded, passages)
            return await send_answer(request, agent, answer, _make_frames(body, turn), turn)
    whole = await complete_answer(turn, agent, grounded, passages)
    return make_reply(whole, headers=make_agent_headers(turn.serving))
