"""POST /v1/chat/completions: OpenAI's interface, where ``model`` is an agent's slug.

The request or stream uses the one leased version from start to end; ``X-Agent`` and
``X-Agent-Version`` name it. An error before the first byte is an HTTP status; a later one is a last
frame ``data: {"error": ...}`` without ``[DONE]``. When the client leaves, aiohttp cancels the
handler (see ``server.start_server``), which closes the vendor's stream and ends the lease.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, NotRequired, cast

from aiohttp import web
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.chunks import Passage
from agentsd.providers.base import LiveAgent
from agentsd.services import chat, rag
from agentsd.web.agent_lookup import lease_agent
from agentsd.web.context import APP_CONTEXT, WEB_METRICS
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import from_error, make_internal_error
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.http.sse import SSE_HEADERS, write_frame
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.middleware.request import log_unexpected_error
from agentsd.web.openai.models import ModelName, find_model, make_agent_headers

Chunks = AsyncGenerator[dict[str, Any], None]
_DONE_FRAME = b"data: [DONE]\n\n"


class ChatMessage(TypedDict):
    """Message of a chat; further fields are passed on. A class of values would cost as much as parsing."""

    role: Annotated[str, Field(json_schema_extra={"enum": sorted(chat.ROLES)})]
    content: NotRequired[Annotated[str | list[dict[str, Any]] | None, Field(description="A text, or parts.")]]


def _describe_passed_fields(schema: dict[str, Any]) -> None:
    for name in sorted(chat.PASSED_FIELDS - {"stream_options"}):
        schema["properties"][name] = {"description": "Passed to the provider unchanged."}


class ChatRequest(RequestModel):
    """Chat. The agent's system prompt precedes the messages."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=_describe_passed_fields)

    model: ModelName = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    stream: Annotated[bool | None, Field(description="Server-sent events instead of one JSON object.")] = None
    stream_options: Annotated[
        dict[str, Any] | None, Field(description="`include_usage` requests a last chunk with the usage.")
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


async def complete_chat(request: web.Request) -> web.StreamResponse:
    """Return one chat completion, whole or as a stream."""
    body = await read_json_object(request)
    wanted = parse_model(ChatRequest, body)
    entry = find_model(request, wanted.model or "")
    async with lease_agent(request, entry) as agent:
        grounded, passages = await rag.add_passages(agent, body, request.app[APP_CONTEXT].knowledge)
        if wanted.stream:
            with request.app[WEB_METRICS].streams.labels("chat").track_inprogress():
                return await _stream_completion(request, agent, grounded, passages)
        answer = rag.add_citations(await chat.complete_chat(agent, grounded), passages)
        return make_reply(answer, headers=make_agent_headers(agent))


async def _stream_completion(
    request: web.Request, agent: LiveAgent, body: Mapping[str, Any], passages: Sequence[Passage]
) -> web.StreamResponse:
    answer = chat.stream_chat(agent, body)
    async with aclosing(
        cast("Chunks", rag.add_stream_citations(answer, passages) if passages else answer)
    ) as chunks:
        first = await anext(chunks, None)  # before the first chunk, an error is an HTTP status
        response = web.StreamResponse(headers={**SSE_HEADERS, **make_agent_headers(agent)})
        await response.prepare(request)
        last = _DONE_FRAME
        try:
            if first is not None:
                await write_frame(response, _encode_frame(first))
            async for chunk in chunks:
                await write_frame(response, _encode_frame(chunk))
        except AgentsdError as error:
            last = _encode_frame(from_error(error).as_openai())
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            log_unexpected_error(error)
            last = _encode_frame(make_internal_error().as_openai())
        await write_frame(response, last)
        await response.write_eof()
        return response


def _encode_frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
