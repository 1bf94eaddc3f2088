"""/v1/responses: OpenAI's interface, where ``model`` is an agent's slug.

A request runs as a chat completion does, on one leased version. An error before the first byte is an
HTTP status, a later one the event ``response.failed``. ``store`` that is absent means false, and the
reply contains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from aiohttp import web

from agentsd.providers.base import LiveAgent
from agentsd.services import rag
from agentsd.services.overrides import apply_overrides
from agentsd.services.tools.consents import ApprovalConsents
from agentsd.services.variables import bind_agent
from agentsd.web.agent_lookup import get_principal, lease_agent
from agentsd.web.context import APP_CONTEXT, WEB_METRICS
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.reply import make_reply
from agentsd.web.http.sse import encode_event
from agentsd.web.json_body import read_json_object
from agentsd.web.openai.answer_stream import send_answer
from agentsd.web.openai.chat_turn import ChatTurn, complete_answer, record_turn, stream_answer
from agentsd.web.openai.models import find_model, make_agent_headers
from agentsd.web.openai.responses.approvals import Approvals, read_approvals
from agentsd.web.openai.responses.output import ResponseBuilder
from agentsd.web.openai.responses.request import TranslatedRequest, parse_request
from agentsd.web.openai.responses.store import ResponseStore, StoredResponse
from agentsd.web.views.pagination import check_names, parse_choice, parse_limit

RESPONSES = web.AppKey("responses", ResponseStore)
ITEMS_DEFAULT, ITEMS_MAX = 20, 100
"""Input items on a page; OpenAI's own."""
INCLUDE_NAMES = frozenset({"include", "include[]"})
ITEM_ORDERS: tuple[Literal["desc", "asc"], ...] = ("desc", "asc")


@dataclass(frozen=True)
class InputItemPage:
    """Page of the items of a request. The next one begins ``after`` its ``last_id``."""

    data: list[Mapping[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class DeletedResponse:
    """Response that is no longer stored."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: Literal[True] = True


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
    async with lease_agent(request, entry) as leased:
        stored = _find_earlier(request, wanted, leased)
        earlier = stored.messages if stored else ()
        agent = bind_agent(leased, wanted.chat.get("metadata"))
        approvals = read_approvals(body.get("input"), stored.response["output"] if stored else ())
        asked = apply_overrides(
            agent,
            wanted.make_chat(earlier, approvals.declined, has_tools=bool(agent.tools)),
            renames={"max_completion_tokens": "max_output_tokens"},
            name_message=partial(wanted.name_message, len(earlier)),
        )
        if not asked["messages"]:
            raise bad_request("input must be a text or a list of items", param="input")
        response: web.StreamResponse
        builder = ResponseBuilder(agent.slug, wanted.echo, offered=wanted.offered)
        with record_turn(request, agent, "responses", body) as turn:
            turn.set_request(asked)
            _add_consents(request, turn, approvals)
            grounded, passages = await rag.add_passages(agent, asked, request.app[APP_CONTEXT].knowledge)
            if wanted.stream:
                with request.app[WEB_METRICS].streams.labels("responses").track_inprogress():
                    answer = stream_answer(turn, agent, grounded, passages)
                    response = await send_answer(request, agent, answer, _ResponseFrames(builder), turn)
            else:
                whole = await complete_answer(turn, agent, grounded, passages)
                builder.take_events(turn.tools.events if turn.tools else ())
                builder.take_whole(whole)
                headers = make_agent_headers(turn.serving)
                response = make_reply(builder.snapshot(builder.status), headers=headers)
        if wanted.store:
            said = [*earlier, *wanted.chat["messages"]]
            _store(request, (agent.slug, turn.serving.slug), builder, said, body.get("input"))
        return response


async def get_response(request: web.Request) -> web.Response:
    """Return a stored response."""
    return make_reply(_find_stored(request).response)


async def delete_response(request: web.Request) -> web.Response:
    """Forget a stored response."""
    entry = _find_stored(request)
    request.app[RESPONSES].remove(get_principal(request), str(entry.response["id"]))
    return make_reply(DeletedResponse(str(entry.response["id"])))


async def list_input_items(request: web.Request) -> web.Response:
    """Return a page of the items of the request that a stored response answered, as OpenAI pages them."""
    # Items are returned as they came, so that there is nothing more to include.
    check_names([name for name in request.query if name not in INCLUDE_NAMES], ("limit", "order", "after"))
    limit = parse_limit(request.query.get("limit"), default=ITEMS_DEFAULT, maximum=ITEMS_MAX)
    order = parse_choice(request.query, "order", ITEM_ORDERS) or "desc"
    items = _find_stored(request).input
    return make_reply(
        make_item_page(items if order == "asc" else items[::-1], limit, request.query.get("after"))
    )


def make_item_page(items: Sequence[Mapping[str, Any]], limit: int, after: str | None) -> InputItemPage:
    """Return the page of ``items`` that follows the one of the id ``after``. Raise ``Problem`` 400."""
    ids = [str(item["id"]) for item in items]
    if after is not None and after not in ids:
        raise bad_request("the response has no item of this id", hint="send a page's last_id", param="after")
    start = 0 if after is None else ids.index(after) + 1
    shown = ids[start : start + limit]
    return InputItemPage(
        data=[*items[start : start + limit]],
        first_id=shown[0] if shown else None,
        last_id=shown[-1] if shown else None,
        has_more=start + limit < len(items),
    )


def name_items(items: Sequence[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Return ``items`` with an id each, unique among them; the client's own where it is."""
    named: dict[str, dict[str, Any]] = {}
    for at, item in enumerate(items):
        given = item.get("id")
        name = given if isinstance(given, str) and given and given not in named else f"msg_{prefix}{at}"
        named[name] = {**item, "id": name}
    return list(named.values())


def _find_stored(request: web.Request) -> StoredResponse:
    found = request.app[RESPONSES].find(get_principal(request), request.match_info["response"])
    if found is None:
        hint = "responses are stored on request, for an hour, by the replica that answered"
        raise Problem(404, "response_not_found", "there is no such response", hint=hint, param="response_id")
    return found


def _find_earlier(request: web.Request, wanted: TranslatedRequest, agent: LiveAgent) -> StoredResponse | None:
    """Return the response that ``previous_response_id`` continues."""
    if wanted.previous is None:
        return None
    found = request.app[RESPONSES].find(get_principal(request), wanted.previous, agent.slug)
    if found is None:
        hint = "send the earlier items as input, or store: true with each response"
        detail = "the previous response is not stored here"
        raise Problem(400, "previous_response_not_found", detail, hint=hint, param="previous_response_id")
    return found


def _add_consents(request: web.Request, turn: ChatTurn, approvals: Approvals) -> None:
    """Let the user agree to calls by the ids of their requests."""
    if turn.tools is None:
        return
    ids = [call.id for call in approvals.approved]
    database, digest = request.app[APP_CONTEXT].database, get_principal(request).digest
    turn.tools.consents = ApprovalConsents(database, digest, ids)
    turn.tools.approved = approvals.approved


def _store(
    request: web.Request,
    agents: tuple[str, str],
    builder: ResponseBuilder,
    said: Sequence[Mapping[str, Any]],
    items: Any,
) -> None:
    """Store a response for the agent that was asked, and the one that answered."""
    response = builder.snapshot(builder.status)
    if builder.failed or not response["output"]:
        return
    given = items if isinstance(items, list) else [{"type": "message", "role": "user", "content": items}]
    listed = name_items(given, builder.id.removeprefix("resp_"))
    conversation = [*said, *builder.messages()]
    kept = (agents[0], response, conversation, listed)
    request.app[RESPONSES].add(get_principal(request), *kept, answered=agents[1])


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
