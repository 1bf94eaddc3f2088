"""Operations of the API, one table: what each takes and returns.

HEAD is not in it: it is answered wherever GET is, but for streams.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import UnionType
from typing import Any

from agentsd.audio.encoder import FORMATS
from agentsd.services.verdict import VerdictJson
from agentsd.web.openai.chat_completions import ChatCompletion, ChatRequest
from agentsd.web.openai.completions import Completion, CompletionRequest
from agentsd.web.openai.embeddings import EmbeddingRequest, EmbeddingsReply
from agentsd.web.openai.models import ModelList, ModelReply
from agentsd.web.openai.responses.endpoint import DeletedResponse, InputItemPage
from agentsd.web.openai.responses.output import ResponseReply
from agentsd.web.openai.responses.request import ResponsesRequest
from agentsd.web.openai.speech import SpeechRequest
from agentsd.web.openai.transcript_formats import Transcription
from agentsd.web.openai.transcriptions import TranscriptionForm
from agentsd.web.openapi import parameters as given
from agentsd.web.openapi.model import MediaType, Operation, Reply, RequestBody, Schema, refer_to_schema
from agentsd.web.rest.agents import revisions
from agentsd.web.rest.agents.dry_run import PreviewReply
from agentsd.web.rest.agents.files import AgentFilePage, AgentFileText, FileText
from agentsd.web.rest.agents.read import AgentPage
from agentsd.web.rest.agents.tools import ToolRun, ToolRunReply
from agentsd.web.rest.agents.values import ValuePage
from agentsd.web.rest.agents.write import Rollback
from agentsd.web.rest.audit import LIMIT_DEFAULT, LIMIT_MAX, AuditEntryPage
from agentsd.web.rest.git_webhook import PullingReply
from agentsd.web.rest.health import AliveReply, ReadinessReply
from agentsd.web.rest.markdown import MarkdownReply, MarkdownText
from agentsd.web.rest.plan import NoPlanReply, PlanReply
from agentsd.web.rest.providers import ProvidersReply
from agentsd.web.rest.session import SessionReply, SignedOutReply
from agentsd.web.rest.sync import SyncReply
from agentsd.web.rest.usage import UsageReply
from agentsd.web.rest.users import NewToken, UserPage, WrittenUser
from agentsd.web.rest.write_result import UnservedAgent, WrittenAgent
from agentsd.web.views.activity import ActivityReply
from agentsd.web.views.agent import AgentReply

_ANYTHING: Schema = {"type": "object"}
_SSE_TYPE = "text/event-stream"
_SPEECH_TYPES = tuple(form.content_type for form in FORMATS.values())
_CACHED = ("ETag", "Vary")
_BY_AGENT = ("X-Agent", "X-Agent-Version")
_VENDOR_ERRORS = (400, 404, 502, 503, 504)
_WRITE_ERRORS = (400, 405, 409, 422, 503)
_AGENT_ERRORS = (*_WRITE_ERRORS, 404, 412)
_EDIT = (given.IF_MATCH, given.WAIT, given.DRY_RUN)
_ECHO = {"name": "Front desk", "llm_provider_config": {"provider": "echo.local"}}
_CHAT = {"model": "current", "messages": [{"role": "user", "content": "Hello"}]}
_INPUT = {"model": "current", "input": "Good morning."}

_UNCHANGED = Reply(304, "The client's copy is current.", (), _CACHED)
_FOLLOW_UPS = {
    name: {"agent": "$response.body#/id"}
    for name in ("getAgent", "selectAgent", "testAgent", "listRevisions", "listValues", "patchAgent",
                 "putAgent", "setDefaultAgent", "rollbackAgent", "deleteAgent")
}  # fmt: skip
"""Follow-up operations on an agent by its id."""
_RESPONSE_LINKS = {
    name: {"response": "$response.body#/id"} for name in ("getResponse", "deleteResponse", "listInputItems")
}


def _define(id: str, route: str, summary: str, *replies: Reply, body: Any = None, **more: Any) -> Operation:
    """Return an operation of ``route``, such as ``GET /api/agents``, with what follows from the rest."""
    method, _, path = route.partition(" ")
    parameters = [given.PATH_PARAMETERS[name] for name in re.findall(r"\{(\w+)\}", path)]
    parameters += more.pop("parameters", ())
    parameters += [given.IF_NONE_MATCH] if _UNCHANGED in replies else []
    if body is not None:
        body = body if isinstance(body, RequestBody) else RequestBody((body,))
        more["errors"] = (*more.get("errors", ()), 400, 413, 415)
    return Operation(id, method, path, "", summary, replies, parameters=tuple(parameters), body=body, **more)


def _reply(
    description: str,
    form: type | UnionType | Schema | None = None,
    headers: tuple[str, ...] = (),
    links: Any = None,
    status: int = 200,
    kind: str = "application/json",
) -> Reply:
    return Reply(status, description, (MediaType(form, kind),), headers, links or {})


def _continue(id: str, **path: str) -> dict[str, dict[str, str]]:
    """Return the link to the next page of a list."""
    return {id: {**path, "cursor": "$response.body#/next_cursor"}}


def _edited(description: str) -> tuple[Reply, Reply]:
    done = _reply(description, WrittenAgent | UnservedAgent | PreviewReply, ("ETag",), _FOLLOW_UPS)
    return done, _branched(UnservedAgent)


def _branched(form: type) -> Reply:
    return _reply("The edit waits on a branch of its own, for a pull request.", form, status=202)


def _hear(id: str, route: str, summary: str) -> Operation:
    forms = (MediaType(Transcription), MediaType(given.TEXT, "text/plain"), MediaType(given.TEXT, "text/vtt"))
    done = "The text; server-sent events where `stream` is true."
    body = MediaType(TranscriptionForm, "multipart/form-data")
    return _define(
        id,
        route,
        summary,
        Reply(200, done, (*forms, MediaType(None, _SSE_TYPE)), _BY_AGENT),
        description="A form like OpenAI's, or the bare recording with all else in the query; up to 25 MiB.",
        body=RequestBody((body, MediaType(None, "audio/wav"), MediaType(None, "audio/pcm"))),
        parameters=given.RECORDING,
        errors=_VENDOR_ERRORS,
        curl="-F file=@morning.mp3 -F model=current",
    )


# One operation is a few lines, in the order of the page.
# fmt: off
_AGENTS = (
    _define(
        "listAgents", "GET /api/agents", "A page of agents",
        _reply("The page.", AgentPage, (*_CACHED, "Link"),
               {"getAgent": {"agent": "$response.body#/items/0/id"}} | _continue("listAgents")), _UNCHANGED,
        description="Sorted by slug by default; agents with equal keys are sorted by slug, too.",
        parameters=(*given.make_page(), *given.AGENT_FILTERS), errors=(400, 503), query="?limit=10"),
    _define(
        "getAgent", "GET /api/agents/{agent}", "One agent",
        _reply("The agent.", AgentReply, _CACHED, _FOLLOW_UPS), _UNCHANGED, errors=(404, 503),
        description="`current` may be the built-in agent, which has no file."),
    _define(
        "getActivity", "GET /api/agents/{agent}/activity", "What an agent did: turns, failures and times",
        _reply("The activity.", ActivityReply), parameters=(given.ACTIVITY_RANGE,), errors=(400, 404, 503),
        description="Of all replicas, by the minute; `last_errors` and `status` name the field to edit.",
        query="?range=24h"),
    _define(
        "listValues", "GET /api/agents/{agent}/values", "Values of an agent's files, with their places",
        _reply("The page.", ValuePage, (*_CACHED, "Link"),
               _continue("listValues", agent="$request.path.agent")), _UNCHANGED,
        parameters=given.make_page(), errors=(400, 404, 503),
        description="All values of the manifest, layers merged. Empty for the built-in agent, and "
        "while a file cannot be read: the condition contains the reason."),
    _define(
        "listAgentFiles", "GET /api/agents/{agent}/files", "A prompt and sources of knowledge, by name",
        _reply("The page.", AgentFilePage, (*_CACHED, "Link"),
               _continue("listAgentFiles", agent="$request.path.agent")), _UNCHANGED,
        parameters=given.make_page(), errors=(400, 404, 503)),
    _define(
        "getAgentFile", "GET /api/agents/{agent}/files/{path}", "Text of a prompt or a source of knowledge",
        _reply("The file.", AgentFileText, _CACHED), _UNCHANGED, errors=(404, 503), on="front-desk",
        description="404 also for a source where this server does not have the files."),
    _define(
        "selectAgent", "POST /api/agents/{agent}/select", "Choose the current agent, by cookie",
        _reply("The chosen agent.", AgentReply, ("Set-Cookie",)), errors=(404, 409, 503),
        description="Also works on a read-only server."),
    _define(
        "testAgent", "POST /api/agents/{agent}/test", "Probe every provider of an agent for real",
        _reply("The results.", VerdictJson, _BY_AGENT), parameters=(given.CHECKS,), errors=(400, 404, 503),
        description="200 whatever the result: `ok` contains it, and every failure comes with its fix."),
    _define(
        "runAgentTool", "POST /api/agents/{agent}/tools/{tool}", "Run one tool of an agent by hand",
        _reply("The result.", ToolRunReply, _BY_AGENT), errors=(404, 409, 503), role="editor",
        description="200 whatever the tool did: `outcome` contains it. Recorded in the audit.",
        body=MediaType(ToolRun, example={"arguments": {"order_id": "123456"}})),
    _define(
        "listRevisions", "GET /api/agents/{agent}/revisions", "Revisions of an agent, newest first",
        _reply("The page.", revisions.RevisionPage, (*_CACHED, "Link"),
               _continue("listRevisions", agent="$request.path.agent")), _UNCHANGED,
        description="A deleted agent's history is still found by its id.", errors=(400, 404, 503),
        parameters=(*given.make_page(revisions.LIMIT_DEFAULT, revisions.LIMIT_MAX), given.DIFF)),
)
_WRITES = (
    _define(
        "createAgent", "POST /api/agents", "Create an agent",
        _reply("The new agent, live.", WrittenAgent | UnservedAgent, ("Location", "ETag"), _FOLLOW_UPS, 201),
        _branched(UnservedAgent), _reply("The preview, where `dry_run` is true.", PreviewReply),
        parameters=(given.WAIT, given.DRY_RUN), errors=_WRITE_ERRORS, role="editor",
        body=MediaType(refer_to_schema("NewAgent"), example={"slug": "front-desk", **_ECHO})),
    _define(
        "putAgent", "PUT /api/agents/{agent}", "Replace an agent", *_edited("The agent as it is now."),
        body=MediaType(refer_to_schema("AgentInput"), example=_ECHO),
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
    _define(
        "patchAgent", "PATCH /api/agents/{agent}", "Change some fields of an agent",
        *_edited("The agent as it is now."),
        body=RequestBody((
            MediaType(refer_to_schema("AgentPatch"), example={"description": "Answers the door."}),
            MediaType(refer_to_schema("AgentPatch"), "application/merge-patch+json", {"description": None}))),
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
    _define(
        "deleteAgent", "DELETE /api/agents/{agent}", "Delete an agent",
        _reply("It is deleted.", UnservedAgent | PreviewReply), _branched(UnservedAgent),
        description="Its history remains: restoring the file in git restores the agent.",
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
    _define(
        "setDefaultAgent", "POST /api/agents/{agent}/set-default", "Make an agent its owner's default",
        *_edited("The agent, now the default."),
        description="The file of the current default is changed first.",
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
    _define(
        "writeAgentFile", "PUT /api/agents/{agent}/files/{path}", "Replace a prompt or a source of knowledge",
        *_edited("The agent that names the file."), body=MediaType(FileText, example={"text": "Be brief."}),
        description="The text of a file that the agent names; every agent that names it has it then.",
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
    _define(
        "rollbackAgent", "POST /api/agents/{agent}/rollback", "Restore an older version of an agent",
        *_edited("The agent as it was."), body=MediaType(Rollback, example={"version": 1}),
        description="The file is written as it was at that version; `GET …/revisions` lists the versions.",
        parameters=_EDIT, errors=_AGENT_ERRORS, on="front-desk", role="editor"),
)
_USERS = (
    _define(
        "listUsers", "GET /api/users", "Owners and their tokens",
        _reply("The page.", UserPage, (*_CACHED, "Link"), _continue("listUsers")), _UNCHANGED,
        description="Admins see every owner, others their own. No token or hash is returned.",
        parameters=given.make_page(), errors=(400, 503)),
    _define(
        "createToken", "POST /api/users/{user}/tokens", "Register a token",
        _reply("The owner; the token is valid.", WrittenUser, status=201), _branched(WrittenUser),
        description="Clients keep the token and send its SHA-256. 409 `token_exists` where the name or the "
        "hash is taken, `lockout` where the first token would not be an admin's.",
        body=MediaType(NewToken, example={"name": "ci", "role": "editor", "sha256": "9f" * 32}),
        parameters=(given.FORCE, given.WAIT), errors=(*_WRITE_ERRORS, 404), role="admin"),
    _define(
        "revokeToken", "DELETE /api/users/{user}/tokens/{name}", "Revoke a token",
        _reply("The owner; the token is revoked.", WrittenUser), _branched(WrittenUser),
        description="409 `lockout` for the token of the request, and for the last admin token.",
        parameters=(given.FORCE, given.WAIT), errors=(*_WRITE_ERRORS, 404), role="admin"),
)
_OPENAI = (
    _define(
        "listModels", "GET /v1/models", "The active agents, as models",
        _reply("The list.", ModelList, _CACHED, {"getModel": {"model": "$response.body#/data/0/id"}}),
        _UNCHANGED, errors=(503,)),
    _define(
        "getModel", "GET /v1/models/{model}", "One agent, as a model",
        _reply("The model.", ModelReply, _CACHED), _UNCHANGED, errors=(404, 503)),
    _define(
        "chat", "POST /v1/chat/completions", "Chat with an agent",
        Reply(200, "The answer.", (MediaType(ChatCompletion), MediaType(None, _SSE_TYPE)), _BY_AGENT),
        description="With `stream` the answer comes as server-sent events, `data: [DONE]` last. An error "
        'after the first byte is sent as a last event `data: {"error": …}` without `[DONE]`.',
        body=MediaType(ChatRequest, example=_CHAT), errors=_VENDOR_ERRORS),
    _define(
        "complete", "POST /v1/completions", "Complete a prompt",
        Reply(200, "The answer.", (MediaType(Completion), MediaType(None, _SSE_TYPE)), _BY_AGENT),
        description="OpenAI's older interface: a chat with one message.",
        body=MediaType(CompletionRequest, example={"model": "current", "prompt": "Hello"}),
        errors=_VENDOR_ERRORS),
    _define(
        "createResponse", "POST /v1/responses", "Respond as an agent",
        Reply(200, "The response.", (MediaType(ResponseReply), MediaType(None, _SSE_TYPE)), _BY_AGENT,
              _RESPONSE_LINKS),
        description="OpenAI's Responses. Clients run the tools. What cannot be done is refused by name.",
        body=MediaType(ResponsesRequest, example=_INPUT), errors=_VENDOR_ERRORS),
    _define(
        "getResponse", "GET /v1/responses/{response}", "A stored response",
        _reply("The response.", ResponseReply), errors=(404,)),
    _define(
        "deleteResponse", "DELETE /v1/responses/{response}", "Forget a stored response",
        _reply("It is forgotten.", DeletedResponse), errors=(404,)),
    _define(
        "listInputItems", "GET /v1/responses/{response}/input_items",
        "The items that a stored response answered",
        _reply("The page, as OpenAI's own.", InputItemPage),
        parameters=given.INPUT_ITEMS, errors=(400, 404)),
    _define(
        "speak", "POST /v1/audio/speech", "A text in an agent's voice",
        Reply(200, "The audio, in the format that was asked for; `pcm` is raw 16-bit mono samples.",
              tuple(MediaType(None, kind) for kind in (*_SPEECH_TYPES, _SSE_TYPE)),
              (*_BY_AGENT, "X-Sample-Rate")),
        description="Streamed as it is synthesised: a `wav` header contains the length `0xFFFFFFFF`. A later "
        "failure closes the connection, so that a partial answer is not taken for a complete one. With "
        "`stream_format: sse` the audio comes as events `speech.audio.delta`, then `speech.audio.done`.",
        body=MediaType(SpeechRequest, example=_INPUT), errors=_VENDOR_ERRORS, curl="-o morning.mp3"),
    _hear("transcribe", "POST /v1/audio/transcriptions", "A transcript of a recording"),
    _hear("translate", "POST /v1/audio/translations", "A transcript in English, whatever is spoken"),
    _define(
        "embed", "POST /v1/embeddings", "A vector for each text",
        _reply("The vectors.", EmbeddingsReply, _BY_AGENT),
        body=MediaType(EmbeddingRequest, example=_INPUT), errors=_VENDOR_ERRORS),
    _define(
        "call", "GET /v1/realtime", "A call, over a WebSocket", Reply(101, "The call has begun."),
        description="Uses the events of OpenAI's Realtime API. A browser cannot set headers and offers its "
        "token as the subprotocol `openai-insecure-api-key.TOKEN` beside `realtime`.",
        parameters=(given.MODEL_QUERY, given.INTENT), errors=(400, 404, 426, 503), streams=True),
)
_SERVICE = (
    _define(
        "getSession", "GET /api/session", "The principal, and what may be written here",
        _reply("The session.", SessionReply)),
    _define(
        "signIn", "POST /api/session", "Keep this token in the browser", _reply("The session.", SessionReply),
        description="In a cookie that scripts cannot read; a request that comes with it and changes "
        "something needs this server's own `Origin`. For pages: programs send `Authorization`."),
    _define(
        "signOut", "DELETE /api/session", "Delete the token from the browser",
        _reply("Done.", SignedOutReply)),
    _define(
        "listProviders", "GET /api/providers", "Kinds, vendors and the fields of their settings",
        _reply("The catalog.", ProvidersReply, _CACHED), _UNCHANGED),
    _define(
        "getSchema", "GET /api/schema", "The JSON Schema of a manifest",
        _reply("A JSON Schema (2020-12).", _ANYTHING, _CACHED), _UNCHANGED,
        description="As this server checks it, with the vendors of plug-ins."),
    _define(
        "getSync", "GET /api/sync", "State of files, store and replicas",
        _reply("Versions, runs, conditions, replicas, leaders.", SyncReply),
        description="Also available while Postgres is away."),
    _define(
        "getSyncPlan", "GET /api/sync/plan", "The changes that a sync of this server's folder would make now",
        _reply("The plan.", PlanReply | NoPlanReply), errors=(503,), role="admin",
        description="Planned, never applied; drift shows as `heal`. Where this server has no folder of "
        "manifests, `available` is false and `why` contains the reason. Concurrent requests share a result."),
    _define(
        "listAuditEntries", "GET /api/audit", "Successful and refused writes, newest first",
        _reply("The page.", AuditEntryPage, (*_CACHED, "Link"), _continue("listAuditEntries")), _UNCHANGED,
        description="Admins see all entries; others those on agents of their own owner. The newest 100,000 "
        "writes are kept, and as many refusals, for 400 days at most.",
        parameters=(*given.AUDIT_FILTERS, *given.make_page(LIMIT_DEFAULT, LIMIT_MAX)), errors=(400, 503)),
    _define(
        "getUsage", "GET /api/usage", "What was consumed, and what it cost",
        Reply(200, "The usage.", (MediaType(UsageReply), MediaType(given.TEXT, "text/csv"))),
        description="Admins see all owners, others what was asked of their own owner's agents. Tokens are "
        "the vendors' own numbers; prices are of the manifest, of the server, or of the price library.",
        parameters=given.USAGE, errors=(400, 503), query="?by=agent,day"),
    _define(
        "renderMarkdown", "POST /api/markdown", "Markdown as a tree of harmless elements",
        _reply("The tree.", MarkdownReply),
        body=MediaType(MarkdownText, example={"text": "**Nine** to five."}),
        description="CommonMark with tables and strikethrough, for pages that build elements and parse no "
        "HTML: HTML in the text stays text, links lead to http, https and mailto only, images become "
        "links, and headings begin at `h3`. A text that is nested too deeply is returned unchanged."),
    _define(
        "pullNow", "POST /hooks/git", "Webhook of a Git host: pull at once",
        _reply("Every puller was notified.", PullingReply, status=202), errors=(404, 413, 503), role="signed",
        description="The body, 25 MiB at most, may contain anything: only its signature is checked. 404 "
        "where `AGENTSD_HOOK_SECRET_FILE` is not set.",
        curl="""-d '{}' -H "X-Gitlab-Token: $(cat hook-secret)\""""),
    _define(
        "followEvents", "GET /api/events", "Changes, as server-sent events",
        _reply("The stream.", None, ("X-Accel-Buffering",), kind=_SSE_TYPE),
        description="`hello` (or `resync`) first, then `changed`, `condition` and `resync`, each with "
        '`{"version": 42, "slugs": ["acme/sales"]}`; a comment every few seconds keeps it open. '
        "`run` has a `run` as in `/api/sync`, and a `condition` of a manifest has a `condition`: "
        "admins receive all, others what concerns their agents.",
        parameters=(given.LAST_EVENT_ID,), streams=True),
    _define(
        "isAlive", "GET /healthz", "Liveness of the process", _reply("The process is alive.", AliveReply),
        role=None),
    _define(
        "isReady", "GET /readyz", "Readiness: whether agents are served",
        _reply("Ready, with or without Postgres.", ReadinessReply),
        _reply("The agents are not loaded yet, or the server is about to stop.", ReadinessReply, status=503),
        role=None),
    _define(
        "getMetrics", "GET /metrics", "Metrics, in the text format of Prometheus",
        _reply("The metrics.", given.TEXT, kind="text/plain"), role=None),
    _define(
        "getOpenAPI", "GET /openapi.json", "This API, as OpenAPI 3.1",
        _reply("The document.", _ANYTHING, _CACHED), _UNCHANGED, role=None,
        description="It contains nothing about agents, so it needs no token."),
    _define(
        "getDocs", "GET /docs", "This API, as a page",
        _reply("A page.", given.TEXT, _CACHED, kind="text/html"), _UNCHANGED, role=None),
)
# fmt: on

_GROUPS = {
    "Agents": (
        "Read from memory: the files are authoritative, and every replica serves their content.",
        _AGENTS,
    ),
    "Changing agents": (
        "Edits of files, live when the response arrives. A read-only server returns 405.",
        _WRITES,
    ),
    "Users and tokens": (
        "Only the hash of a token is stored, in its owner's `_user.yaml`, which these edit.",
        _USERS,
    ),
    "OpenAI-compatible": (
        "For any OpenAI client: the agent's slug is the `model`, a token the API key.",
        _OPENAI,
    ),
    "Service": ("State of the server, and this document.", _SERVICE),
}
GROUP_DESCRIPTIONS = {name: text for name, (text, _) in _GROUPS.items()}
"""Groups in the order of the page."""

OPERATIONS: tuple[Operation, ...] = tuple(
    replace(one, group=name) for name, (_, operations) in _GROUPS.items() for one in operations
)
