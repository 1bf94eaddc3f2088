"""/v1/responses: OpenAI's interface, where ``model`` is an agent's slug.

A request runs as a chat completion does, on one leased version. An error before the first byte is an
HTTP status, a later one the event ``response.failed``. ``store`` that is absent means false, and the
reply contains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from agentsd.providers.base import LiveAgent
from agentsd.services import chat, rag
from agentsd.web.agent_lookup import get_principal, lease_agent
from agentsd.web.context import APP_CONTEXT, WEB_METRICS
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.sse import encode_event
from agentsd.web.json_body import read_json_object
from agentsd.web.openai.answer_stream import send_answer
from agentsd.web.openai.models import find_model, make_agent_headers
from agentsd.web.openai.responses.output import ResponseBuilder
from agentsd.web.openai.responses.request import ResponsesRequest, parse_request
from agentsd.web.openai.responses.store import ResponseStore, StoredResponse

RESPONSES = web.AppKey("responses", ResponseStore)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.post("/v1/responses", create_response),
        web.get("/v1/responses/{response}", get_response),
        web.delete("/v1/responses/{response}", delete_response),
        web.get("/v1/responses/{response}/input_items", list_input_items),
    ]


async def create_response(request: web.Request) -> web.StreamResponse:
    """Return one response, whole or as a stream."""
    body = await read_json_object(request)
    wanted = parse_request(body)
    entry = find_model(request, wanted.chat.get("model") or "")
    async with lease_agent(request, entry) as agent:
        earlier = _find_earlier(request, wanted, agent)
        asked = wanted.make_chat(earlier)
        if not asked["messages"]:
            raise bad_request("input must be a text or a list of items", param="input")
        grounded, passages = await rag.add_passages(agent, asked, request.app[APP_CONTEXT].knowledge)
        builder = ResponseBuilder(agent.slug, wanted.echo, offered=wanted.offered)
        if wanted.stream:
            with request.app[WEB_METRICS].streams.labels("responses").track_inprogress():
                answer = rag.cite_stream(chat.stream_chat(agent, grounded), passages)
                response = await send_answer(request, agent, answer, _ResponseFrames(builder))
        else:
            builder.take_whole(rag.add_citations(await chat.complete_chat(agent, grounded), passages))
            reply = to_json(builder.snapshot(builder.status))
            headers = make_agent_headers(agent)
            response = web.Response(body=reply, content_type="application/json", headers=headers)
        if wanted.store:
            _store(request, agent, wanted, builder, [*earlier, *wanted.chat["messages"]], body.get("input"))
        return response


async def get_response(request: web.Request) -> web.Response:
    """Return a stored response."""
    return web.json_response(body=to_json(_find_stored(request).response))


async def delete_response(request: web.Request) -> web.Response:
    """Forget a stored response."""
    entry = _find_stored(request)
    request.app[RESPONSES].remove(get_principal(request), str(entry.response["id"]))
    deleted = {"id": entry.response["id"], "object": "response.deleted", "deleted": True}
    return web.json_response(body=to_json(deleted))


async def list_input_items(request: web.Request) -> web.Response:
    """Return the items of the request that a stored response answered, all on one page."""
    items = list(_find_stored(request).input)
    if request.query.get("order", "desc") == "desc":
        items.reverse()
    ids = [item.get("id") for item in items]
    page = {"object": "list", "data": items, "first_id": ids[0] if ids else None, "has_more": False}
    return web.json_response(body=to_json({**page, "last_id": ids[-1] if ids else None}))


def _find_stored(request: web.Request) -> StoredResponse:
    found = request.app[RESPONSES].find(get_principal(request), request.match_info["response"])
    if found is None:
        hint = "responses are stored on request, for an hour, by the replica that answered"
        raise Problem(404, "response_not_found", "there is no such response", hint=hint, param="response_id")
    return found


def _find_earlier(
    request: web.Request, wanted: ResponsesRequest, agent: LiveAgent
) -> Sequence[Mapping[str, Any]]:
    """Return the messages of the conversation that ``previous_response_id`` continues."""
    if wanted.previous is None:
        return ()
    found = request.app[RESPONSES].find(get_principal(request), wanted.previous, agent.slug)
    if found is None:
        hint = "send the earlier items as input, or store: true with each response"
        detail = "the previous response is not stored here"
        raise Problem(400, "previous_response_not_found", detail, hint=hint, param="previous_response_id")
    return found.messages


def _store(
    request: web.Request,
    agent: LiveAgent,
    wanted: ResponsesRequest,
    builder: ResponseBuilder,
    said: Sequence[Mapping[str, Any]],
    items: Any,
) -> None:
    response = builder.snapshot(builder.status)
    if builder.failed or not response["output"]:
        return
    given = items if isinstance(items, list) else [{"type": "message", "role": "user", "content": items}]
    listed = [{"id": f"msg_{builder.id.removeprefix('resp_')}{at}", **item} for at, item in enumerate(given)]
    conversation = [*said, *builder.messages()]
    request.app[RESPONSES].add(get_principal(request), agent.slug, response, conversation, listed)


class _ResponseFrames:
    """Frames of a response: named events, numbered by the builder."""

    def __init__(self, builder: ResponseBuilder) -> None:
        self._builder = builder

    def begin(self) -> bytes:
        return _encode_events(self._builder.begin())

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        return _encode_events(self._builder.take(chunk))

    def end(self) -> bytes:
        return _encode_events(self._builder.end())

    def fail(self, problem: Problem, request_id: str) -> bytes:
        code = "rate_limit_exceeded" if problem.status == 429 else "server_error"  # a closed list of OpenAI's
        message = f"{problem.detail} ({problem.hint})" if problem.hint else problem.detail
        message = f"{message} [request {request_id}]"
        return _encode_events(self._builder.fail(code, message))


def _encode_events(events: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(encode_event(event["type"], to_json(event)) for event in events)
