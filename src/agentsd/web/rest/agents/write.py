"""Writes to /api/agents: each edits a file, and returns the agent as it is served afterwards.

    POST   /api/agents                       a new agent
    PUT    /api/agents/{agent}               replaces the content of its manifest
    PATCH  /api/agents/{agent}               merges (RFC 7396)
    DELETE /api/agents/{agent}
    POST   /api/agents/{agent}/set-default
    POST   /api/agents/{agent}/rollback      {"version": 41}: as it was at that version
    PUT    /api/agents/{agent}/files/{path}  {"text": "…"}: of its prompt, or of a source of knowledge

``If-Match`` is compared with the file, not with memory. ``?wait=all`` waits for every replica.
``?dry_run=true`` changes nothing, and shows the result (see ``dry_run``).
Where this server writes no files, the response is 405 and names the file to edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field

from agentsd.control.status.audit import record_action
from agentsd.control.writeback.commands import (
    AgentCommand,
    ChangeAgent,
    CreateAgent,
    DeleteAgent,
    EditTarget,
    RestoreAgent,
    SetDefault,
    WriteText,
)
from agentsd.control.writeback.delivery import WriteResult
from agentsd.control.writeback.writer import WriteBack
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.core.manifest.edit import extract_fields
from agentsd.core.names import SLUG_MAX, derive_owner, find_slug_problem, slug_from_url
from agentsd.store.queries.agents import load_revisions
from agentsd.web.agent_lookup import CURRENT_REF, find_agent, get_principal, require_writer
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import strip_coding
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.reply import make_reply
from agentsd.web.json_body import RequestModel, count_values, parse_model, read_json_object
from agentsd.web.rest.agents.dry_run import PreviewReply, is_dry_run, preview_command
from agentsd.web.rest.agents.files import FILE_PATH, TEXT_BYTES_MAX, FileText
from agentsd.web.rest.write_errors import from_write_error
from agentsd.web.rest.write_result import (
    get_reply_status,
    make_written_reply,
    wait_until_served,
    waits_for_all,
)

_AGENT_PATH = "/api/agents/{agent}"

BODY_BYTES_MAX = 3 * MAX_BYTES
"""Bytes: three times the largest manifest, since JSON may encode a letter of two bytes in six."""

VALUES_MAX = 5_000
"""Maximum values in a body: each costs time at several steps, while other requests wait."""


class Rollback(RequestModel):
    """Version to restore."""

    version: Annotated[int, Field(ge=1, lt=1 << 63, description="One of the agent's revisions.")]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.post("/api/agents", create_agent),
        web.put(_AGENT_PATH, change_agent),
        web.patch(_AGENT_PATH, change_agent),
        web.delete(_AGENT_PATH, delete_agent),
        web.post(f"{_AGENT_PATH}/set-default", set_default),
        web.post(f"{_AGENT_PATH}/rollback", roll_back_agent),
        web.put(FILE_PATH, write_text),
    ]


@dataclass(slots=True)
class AuditDraft:
    """Draft of an audit entry, filled in step by step."""

    action: str
    target: str
    path: str | None = None
    from_version: int | None = None


ReadCommand = Callable[[web.Request, AuditDraft], Awaitable[AgentCommand]]
"""Reader of a command, which fills in the draft and raises what refuses the request."""


async def create_agent(request: web.Request) -> web.Response:
    """Return 201 with the new agent and its ``Location``; 202 where the edit waits on a branch."""
    return await _run_write(request, AuditDraft("create", ""), _read_creation)


async def change_agent(request: web.Request) -> web.Response:
    """Return 200 with the agent as it is now."""
    return await _run_write(request, AuditDraft("update", request.match_info["agent"]), _read_change)


async def delete_agent(request: web.Request) -> web.Response:
    """Return 200 with the deleted agent."""
    return await _run_write(request, AuditDraft("delete", request.match_info["agent"]), _read_deletion)


async def set_default(request: web.Request) -> web.Response:
    """Return 200 with the agent, now its owner's default."""
    draft = AuditDraft("set-default", request.match_info["agent"])
    return await _run_write(request, draft, _read_new_default)


async def roll_back_agent(request: web.Request) -> web.Response:
    """Return 200 with the agent as it was at ``version``, at a new version."""
    return await _run_write(request, AuditDraft("rollback", request.match_info["agent"]), _read_rollback)


async def write_text(request: web.Request) -> web.Response:
    """Return 200 with the agent, which names the file."""
    return await _run_write(request, AuditDraft("write-text", request.match_info["agent"]), _read_text_edit)


async def _read_creation(request: web.Request, draft: AuditDraft) -> CreateAgent:
    body = await _read_manifest_body(request)
    slug, user = _get_text(body, "slug"), _get_text(body, "user")
    owner = derive_owner(f"{slug}.yaml") if slug is not None else user or get_principal(request).owner
    draft.target = slug or f"{owner}/"
    require_writer(request, owner)
    if slug is not None and user not in (None, owner):
        raise bad_request(
            f"the slug {slug!r} does not belong to the folder of {user!r}", param="user", status=422
        )
    return CreateAgent(owner, slug, extract_fields(body, {}))


async def _read_change(request: web.Request, draft: AuditDraft) -> ChangeAgent:
    target = _find_named_target(request, draft)
    body, expected = await _read_manifest_body(request), _parse_if_match(request)
    return make_change(target, body, merge=request.method == "PATCH", expected=expected)


def make_change(
    target: EditTarget, body: dict[str, Any], *, merge: bool, expected: frozenset[str] | None = None
) -> ChangeAgent:
    """Return the command for a body in the form of an agent. Raise ``Problem`` and ``InvalidEdit``."""
    _refuse_many_values(body)
    identity = {"id": str(target.id), "slug": target.slug, "user": target.owner}
    return ChangeAgent(target, extract_fields(body, identity), merge=merge, expected=expected)


async def _read_deletion(request: web.Request, draft: AuditDraft) -> DeleteAgent:
    if request.match_info["agent"] == CURRENT_REF:
        hint = "the current agent may have changed"
        raise bad_request("the agent to delete must be named", hint=hint, param="agent", status=422)
    return DeleteAgent(_find_named_target(request, draft), _parse_if_match(request))


async def _read_new_default(request: web.Request, draft: AuditDraft) -> SetDefault:
    return SetDefault(_find_named_target(request, draft), _parse_if_match(request))


async def _read_rollback(request: web.Request, draft: AuditDraft) -> RestoreAgent:
    target, expected = _find_named_target(request, draft), _parse_if_match(request)
    version = parse_model(Rollback, await _read_manifest_body(request)).version
    return RestoreAgent(target, await _load_revision(request, target.id, version), expected)


async def _read_text_edit(request: web.Request, draft: AuditDraft) -> WriteText:
    target, path = _find_named_target(request, draft), request.match_info["path"]
    draft.path = path
    sent = parse_model(FileText, await _read_manifest_body(request), status=422)
    return WriteText(target, path, encode_text(sent.text), _parse_if_match(request))


def encode_text(text: str) -> bytes:
    """Return the bytes of a file. Raise ``Problem`` 422 for what is not a text, or too long."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise bad_request("text contains half a surrogate pair", param="text", status=422) from None
    if len(data) > TEXT_BYTES_MAX or "\0" in text:
        message = f"text must have at most {TEXT_BYTES_MAX:,} bytes, and no NUL"
        raise bad_request(message, param="text", status=422)
    return data


async def _run_write(request: web.Request, draft: AuditDraft, read_command: ReadCommand) -> web.Response:
    """Answer a write, or a dry run of one."""
    if is_dry_run(request):
        waits_for_all(request)
        return make_reply(await asyncio.shield(try_command(request, draft, read_command)))
    written, message = await run_command(request, draft, read_command)
    return make_written_reply(request, written, message)


async def try_command(request: web.Request, draft: AuditDraft, read_command: ReadCommand) -> PreviewReply:
    """Return the result that a write would have. Raise ``Problem``. Nothing is recorded."""
    try:
        return await preview_command(request, await read_command(request, draft))
    except Exception as error:
        problem = from_write_error(error, get_principal(request).scope)
        if problem is None:
            raise
        raise problem from None


async def run_command(
    request: web.Request, draft: AuditDraft, read_command: ReadCommand
) -> tuple[WriteResult, str]:
    """Complete and record a write; return it with a warning, or an empty text. Raise ``Problem``.

    Shielded, so that a client that leaves does not interrupt it.
    """
    return await asyncio.shield(_execute(request, draft, read_command))


async def _execute(
    request: web.Request, draft: AuditDraft, read_command: ReadCommand
) -> tuple[WriteResult, str]:
    try:
        writeback = _get_write_back(request, draft.target)
        everywhere = waits_for_all(request)
        written = await writeback.execute(get_principal(request), await read_command(request, draft))
        message, _ = await asyncio.gather(
            wait_until_served(request.app[APP_CONTEXT], written, everywhere=everywhere),
            _record_action(request, draft, written, get_reply_status(written)),
        )
    except Exception as error:
        problem = from_write_error(error, get_principal(request).scope)
        if problem is None:
            raise
        await _record_action(request, draft, problem)
        raise problem from None
    return written, message


async def _record_action(
    request: web.Request, draft: AuditDraft, came: WriteResult | Problem, status: int = 0
) -> None:
    database, actor = request.app[APP_CONTEXT].database, get_principal(request).actor
    if isinstance(came, Problem):
        await record_action(
            database,
            actor,
            draft.action,
            draft.target,
            outcome="refused" if came.status < 500 else "failed",
            status=came.status,
            code=came.code,
            path=draft.path,
            from_version=draft.from_version,
        )
        return
    await record_action(
        database,
        actor,
        draft.action,
        came.slug,
        outcome="done",
        status=status,
        path=came.path,
        from_version=draft.from_version,
        to_version=came.version if came.changed else None,
        commit=came.commit,
    )


def _find_named_target(request: web.Request, draft: AuditDraft) -> EditTarget:
    return find_target(request, draft, request.match_info["agent"])


def find_target(request: web.Request, draft: AuditDraft, ref: str) -> EditTarget:
    """Return the agent ``ref``, if it may be written. Raise ``AgentNotFound`` and ``Problem`` 403."""
    entry = find_agent(request, ref)
    if entry is None:
        raise make_read_only(request, "the built-in agent has no file", ref)
    row = entry.row
    draft.target, draft.path, draft.from_version = row.slug, row.path, row.version
    require_writer(request, row.owner)
    return EditTarget(row.id, row.slug, row.owner, row.path, row.source)


def _get_write_back(request: web.Request, ref: str) -> WriteBack:
    """Return the writer of files. Raise ``Problem`` 405 where there is none."""
    writeback = request.app[APP_CONTEXT].writeback
    if writeback is None:
        raise make_read_only(request, "this server is read-only", ref)
    return writeback


def make_read_only(request: web.Request, why: str, ref: str) -> Problem:
    """Return a problem 405 with the file that a person would edit instead of the agent ``ref``."""
    files = request.app[APP_CONTEXT].files
    file = f"{files}/{_name_manifest(request, ref)}"
    hint = (
        f"edit {file}, then run: agentsd sync (where `agentsd up` or `agentsd watch` watches {files}, "
        "saving is enough); or start this server with --write-back files"
    )
    allow = "GET, HEAD" if request.path.count("/") < 4 else ""
    return Problem(405, "read_only", why, hint=hint, headers={"Allow": allow}, extra={"file": file})


def _name_manifest(request: web.Request, ref: str) -> str:
    """Return the path of the manifest for the agent ``ref``: ``acme/sales.yaml``, existing or not."""
    slug = slug_from_url(ref)
    with suppress(AgentNotFound):
        entry = find_agent(request, slug) if slug else None
        return entry.row.path if entry is not None else "NAME.yaml"
    return "NAME.yaml" if find_slug_problem(slug) else f"{slug}.yaml"


async def _load_revision(request: web.Request, agent: UUID, version: int) -> bytes:
    async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
        found = await load_revisions(
            connection, agent, limit=1, before=version + 1, owner=get_principal(request).scope
        )
    if not found:
        raise bad_request(
            f"the agent has no revision at version {version}",
            hint="GET …/revisions lists them",
            param="version",
            status=422,
        )
    return found[0].data


def _parse_if_match(request: web.Request) -> frozenset[str] | None:
    """Return the digests of ``If-Match``; None where it is absent or ``*``. Raise ``Problem`` 400.

    Proxies that compress replies weaken their tags or add an ending. The digest is of the files, not of a
    reply's bytes, so it is as strong a proof in that form.
    """
    if "If-Match" not in request.headers:
        return None
    tags = request.if_match
    if not tags:
        raise bad_request("If-Match contains no entity tag", hint='send the ETag of a response: "…"')
    if request.headers["If-Match"].strip() == "*":  # in quotes it is an ordinary tag, which never matches
        return None
    return frozenset(strip_coding(tag.value).partition(".")[0] for tag in tags)


async def _read_manifest_body(request: web.Request) -> dict[str, Any]:
    """Read a body that may become a manifest. Raise ``Problem`` 400, 413, 415 or 422."""
    body = await read_json_object(request, limit=BODY_BYTES_MAX)
    _refuse_many_values(body)
    return body


def _refuse_many_values(body: dict[str, Any]) -> None:
    if count_values(body, VALUES_MAX) > VALUES_MAX:
        raise bad_request(f"the body contains more than {VALUES_MAX} values", status=422)


def _get_text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} must be a text", param=name, status=422)
    if value is not None and len(value) > SLUG_MAX:
        raise bad_request(f"{name} is longer than {SLUG_MAX} characters", param=name, status=422)
    return value
