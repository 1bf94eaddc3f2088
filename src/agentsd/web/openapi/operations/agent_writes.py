"""Description of writes to /api/agents. Each edits the agent's file, followed by an ordinary sync."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, RequestBody, refer_to_schema
from agentsd.web.openapi.operations.agents import AGENT, FILE, FOLLOW_UP_LINKS

GROUP = "Changing agents"
IF_MATCH = Parameter(
    "If-Match", "header", "The ETag that was read: 412 if the agent has changed since.", {"type": "string"}
)
WAIT = Parameter(
    "wait",
    "query",
    "Until the new version is live on this replica, or on all.",
    {"type": "string", "enum": ["local", "all"], "default": "local"},
)
DRY_RUN = Parameter(
    "dry_run",
    "query",
    "Check and return the diff without changing anything; also where this server is read-only.",
    {"type": "boolean", "default": False},
)
_ECHO = {"name": "Front desk", "llm_provider_config": {"provider": "echo.local"}}
_PATCH = "application/merge-patch+json"
_AGENT = (MediaType({"anyOf": [refer_to_schema("WrittenAgent"), refer_to_schema("Written")]}),)
_DONE_CONTENT = (
    MediaType(
        {"anyOf": [refer_to_schema("WrittenAgent"), refer_to_schema("Written"), refer_to_schema("Preview")]}
    ),
)
_WRITTEN = (MediaType(refer_to_schema("Written")),)
_DELETED_CONTENT = (MediaType({"anyOf": [refer_to_schema("Written"), refer_to_schema("Preview")]}),)
_PREVIEW = (MediaType(refer_to_schema("Preview")),)
_BRANCH = Reply(202, "The edit waits on a branch of its own, for a pull request.", _WRITTEN)
_ERRORS = (400, 404, 405, 409, 412, 422, 503)
_BODY_ERRORS = (*_ERRORS, 413, 415)


def _make_replies(description: str) -> tuple[Reply, ...]:
    return (Reply(200, description, _DONE_CONTENT, ("ETag",), FOLLOW_UP_LINKS), _BRANCH)


OPERATIONS = (
    Operation(
        id="createAgent",
        method="POST",
        path="/api/agents",
        group=GROUP,
        summary="Create an agent",
        parameters=(WAIT, DRY_RUN),
        body=RequestBody((MediaType(refer_to_schema("NewAgent"), example={"slug": "front-desk", **_ECHO}),)),
        replies=(
            Reply(201, "The new agent, live.", _AGENT, ("Location", "ETag"), FOLLOW_UP_LINKS),
            _BRANCH,
            Reply(200, "The preview, where `dry_run` is true.", _PREVIEW),
        ),
        errors=(400, 405, 409, 413, 415, 422, 503),
        role="editor",
    ),
    Operation(
        id="putAgent",
        method="PUT",
        path="/api/agents/{agent}",
        group=GROUP,
        summary="Replace an agent",
        parameters=(AGENT, IF_MATCH, WAIT, DRY_RUN),
        body=RequestBody((MediaType(refer_to_schema("AgentInput"), example=_ECHO),)),
        replies=_make_replies("The agent as it is now."),
        errors=_BODY_ERRORS,
        on="front-desk",
        role="editor",
    ),
    Operation(
        id="patchAgent",
        method="PATCH",
        path="/api/agents/{agent}",
        group=GROUP,
        summary="Change some fields of an agent",
        parameters=(AGENT, IF_MATCH, WAIT, DRY_RUN),
        body=RequestBody(
            (
                MediaType(refer_to_schema("AgentPatch"), example={"description": "Answers the door."}),
                MediaType(refer_to_schema("AgentPatch"), _PATCH, {"description": None}),
            )
        ),
        replies=_make_replies("The agent as it is now."),
        errors=_BODY_ERRORS,
        on="front-desk",
        role="editor",
    ),
    Operation(
        id="deleteAgent",
        method="DELETE",
        path="/api/agents/{agent}",
        group=GROUP,
        summary="Delete an agent",
        description="Its history remains: restoring the file in git restores the agent.",
        parameters=(AGENT, IF_MATCH, WAIT, DRY_RUN),
        replies=(Reply(200, "It is deleted.", _DELETED_CONTENT), _BRANCH),
        errors=_ERRORS,
        on="front-desk",
        role="editor",
    ),
    Operation(
        id="setDefaultAgent",
        method="POST",
        path="/api/agents/{agent}/set-default",
        group=GROUP,
        summary="Make an agent its owner's default",
        description="The file of the current default is changed first.",
        parameters=(AGENT, IF_MATCH, WAIT, DRY_RUN),
        replies=_make_replies("The agent, now the default."),
        errors=_ERRORS,
        on="front-desk",
        role="editor",
    ),
    Operation(
        id="writeAgentFile",
        method="PUT",
        path="/api/agents/{agent}/files/{path}",
        group=GROUP,
        summary="Replace a prompt or a source of knowledge",
        description="The text of a file that the agent names; every agent that names it has it then.",
        parameters=(AGENT, FILE, IF_MATCH, WAIT, DRY_RUN),
        body=RequestBody((MediaType(refer_to_schema("FileText"), example={"text": "You are brief."}),)),
        replies=_make_replies("The agent that names the file."),
        errors=_BODY_ERRORS,
        on="front-desk",
        role="editor",
    ),
    Operation(
        id="rollbackAgent",
        method="POST",
        path="/api/agents/{agent}/rollback",
        group=GROUP,
        summary="Restore an older version of an agent",
        description="The file is written as it was at that version; `GET …/revisions` lists the versions.",
        parameters=(AGENT, IF_MATCH, WAIT, DRY_RUN),
        body=RequestBody((MediaType(refer_to_schema("Rollback"), example={"version": 1}),)),
        replies=_make_replies("The agent as it was."),
        errors=_BODY_ERRORS,
        on="front-desk",
        role="editor",
    ),
)
