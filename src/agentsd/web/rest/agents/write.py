"""Writes to /api/agents: each edits a file, and returns the agent as it is served afterwards.

    POST   /api/agents                       a new agent
    PUT    /api/agents/{agent}               replaces the content of its manifest
    PATCH  /api/agents/{agent}               merges (RFC 7396)
    DELETE /api/agents/{agent}
    POST   /api/agents/{agent}/set-default
    POST   /api/agents/{agent}/rollback      {"version": 41}: as it was at that version

``If-Match`` is compared with the file, not with memory. ``?wait=all`` waits for every replica.
``?dry_run=true`` changes nothing, and shows the result (see ``dry_run``).
Where this server writes no files, the response is 405 and names the file to edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web

from agentsd.control.status.audit import record_deed
from agentsd.control.writeback.delivery import Written
from agentsd.control.writeback.writer import Target, WriteBack
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.core.manifest.edit import fields_of
from agentsd.core.names import SLUG_MAX, from_url, owner_of, slug_problem
from agentsd.store.queries.agents import revisions
from agentsd.web.agent_lookup import CURRENT, find, principal_of, require_writer
from agentsd.web.context import PARTS
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.json_body import json_object, values_in
from agentsd.web.rest.agents.dry_run import Work, is_dry, previewed
from agentsd.web.rest.write_errors import problem_of
from agentsd.web.rest.write_result import live, waits_for_all, written_reply

_ONE = "/api/agents/{agent}"

BODY_MAX = 3 * MAX_BYTES
"""Bytes. No manifest is larger than a third of it; JSON may write a letter of two bytes in six."""

VALUES_MAX = 5_000
"""Texts, numbers, lists and mappings in a body. Each costs time at several steps, and other requests wait."""


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.post("/api/agents", create),
        web.put(_ONE, change),
        web.patch(_ONE, change),
        web.delete(_ONE, delete),
        web.post(f"{_ONE}/set-default", set_default),
        web.post(f"{_ONE}/rollback", rollback),
    ]


@dataclass(slots=True)
class _Deed:
    """Draft of an audit entry, filled in step by step."""

    action: str
    target: str
    path: str | None = None
    from_version: int | None = None


async def create(request: web.Request) -> web.Response:
    """Return 201 with the new agent and its ``Location``; 202 where the edit waits on a branch."""
    deed = _Deed("create", "")

    async def decide() -> Work:
        body = await _body(request)
        slug, user = _text(body, "slug"), _text(body, "user")
        owner = owner_of(f"{slug}.yaml") if slug is not None else user or principal_of(request).owner
        deed.target = slug or f"{owner}/"
        who = require_writer(request, owner)
        if slug is not None and user not in (None, owner):
            raise bad_request(f"the slug {slug!r} is not in the folder of {user!r}", param="user", status=422)
        fields = fields_of(body, {})
        return lambda edits: edits.create(who, owner, slug, fields)

    return await asyncio.shield(_written(request, deed, decide))


async def change(request: web.Request) -> web.Response:
    """Return 200 with the agent as it is now."""
    merge = request.method == "PATCH"
    deed = _Deed("update", request.match_info["agent"])

    async def decide() -> Work:
        target = _target(request, deed)
        body = await _body(request)
        identity = {"id": str(target.id), "slug": target.slug, "user": target.owner}
        fields, expected = fields_of(body, identity), _expected(request)
        who = principal_of(request)
        return lambda edits: edits.change(who, target, fields, merge=merge, expected=expected)

    return await asyncio.shield(_written(request, deed, decide))


async def delete(request: web.Request) -> web.Response:
    """Return 200 with the deleted agent."""
    deed = _Deed("delete", request.match_info["agent"])

    async def decide() -> Work:
        if request.match_info["agent"] == CURRENT:
            hint = "whichever is current may be another one by now"
            raise bad_request("name the agent that is to be deleted", hint=hint, param="agent", status=422)
        target, expected = _target(request, deed), _expected(request)
        return lambda edits: edits.delete(principal_of(request), target, expected)

    return await asyncio.shield(_written(request, deed, decide))


async def set_default(request: web.Request) -> web.Response:
    """Return 200 with the agent, now its owner's default."""
    deed = _Deed("set-default", request.match_info["agent"])

    async def decide() -> Work:
        target, expected = _target(request, deed), _expected(request)
        return lambda edits: edits.set_default(principal_of(request), target, expected)

    return await asyncio.shield(_written(request, deed, decide))


async def rollback(request: web.Request) -> web.Response:
    """Return 200 with the agent as it was at ``version``, at a new version."""
    deed = _Deed("rollback", request.match_info["agent"])

    async def decide() -> Work:
        target, expected = _target(request, deed), _expected(request)
        version = (await _body(request)).get("version")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 1 << 63:
            raise bad_request("version must be a whole number, from the agent's revisions", param="version")
        data = await _revision(request, target.id, version)
        return lambda edits: edits.restore(principal_of(request), target, data, expected)

    return await asyncio.shield(_written(request, deed, decide))


async def _written(request: web.Request, deed: _Deed, decide: Callable[[], Awaitable[Work]]) -> web.Response:
    """Complete and record a write; shielded, so that a client that leaves does not interrupt it."""
    if is_dry(request):
        waits_for_all(request)
        return await previewed(request, decide)
    try:
        writeback = _writeback(request)
        everywhere = waits_for_all(request)
        written: Written = await (await decide())(writeback)
        message = await live(request.app[PARTS], written, everywhere=everywhere)
    except Exception as error:
        problem = problem_of(error, principal_of(request).scope)
        if problem is None:
            raise
        await _record(request, deed, problem)
        raise problem from None
    reply = written_reply(request, written, message)
    await _record(request, deed, written, reply.status)
    return reply


async def _record(request: web.Request, deed: _Deed, came: Written | Problem, status: int = 0) -> None:
    database, actor = request.app[PARTS].database, principal_of(request).actor
    if isinstance(came, Problem):
        await record_deed(
            database,
            actor,
            deed.action,
            deed.target,
            outcome="refused" if came.status < 500 else "failed",
            status=came.status,
            code=came.code,
            path=deed.path,
            from_version=deed.from_version,
        )
        return
    await record_deed(
        database,
        actor,
        deed.action,
        came.slug,
        outcome="done",
        status=status,
        path=came.path,
        from_version=deed.from_version,
        to_version=came.version if came.changed else None,
        commit=came.commit,
    )


def _target(request: web.Request, deed: _Deed) -> Target:
    """Return the agent of the path, if it may be written. Raise ``AgentNotFound`` and ``Problem`` 403."""
    entry = find(request, request.match_info["agent"])
    if entry is None:
        raise read_only(request, "the built-in agent has no file")
    row = entry.row
    deed.target, deed.path, deed.from_version = row.slug, row.path, row.version
    require_writer(request, row.owner)
    return Target(row.id, row.slug, row.owner, row.path, row.source)


def _writeback(request: web.Request) -> WriteBack:
    """Return the writer of files. Raise ``Problem`` 405 where there is none."""
    writeback = request.app[PARTS].writeback
    if writeback is None:
        raise read_only(request, "this server is read-only")
    return writeback


def read_only(request: web.Request, why: str) -> Problem:
    """Return a problem 405 with the file that a person would edit instead."""
    files = request.app[PARTS].files
    file = f"{files}/{_file_of(request)}"
    hint = (
        f"edit {file}, then run: agentsd sync (where `agentsd up` or `agentsd watch` looks after {files}, "
        "saving is enough); or start this server with --write-back files"
    )
    allow = "GET, HEAD" if request.path.count("/") < 4 else ""
    return Problem(405, "read_only", why, hint=hint, headers={"Allow": allow}, extra={"file": file})


def _file_of(request: web.Request) -> str:
    """Return the path of the manifest for the agent of the path: ``acme/sales.yaml``, existing or not."""
    slug = from_url(request.match_info.get("agent", ""))
    with suppress(AgentNotFound):
        entry = find(request, slug) if slug else None
        return entry.row.path if entry is not None else "NAME.yaml"
    return "NAME.yaml" if slug_problem(slug) else f"{slug}.yaml"


async def _revision(request: web.Request, agent: UUID, version: int) -> bytes:
    async with request.app[PARTS].database.transaction(snapshot=True) as connection:
        found = await revisions(
            connection, agent, limit=1, before=version + 1, owner=principal_of(request).scope
        )
    if not found:
        raise bad_request(
            f"the agent has no revision at version {version}",
            hint="GET …/revisions lists them",
            param="version",
            status=422,
        )
    return found[0].data


def _expected(request: web.Request) -> frozenset[str] | None:
    """Return the digests of ``If-Match``; None where it is absent or ``*``. Raise ``Problem`` 400."""
    if "If-Match" not in request.headers:
        return None
    tags = request.if_match
    if not tags:
        raise bad_request("If-Match holds no entity tag", hint='send the ETag of a reply: "…"')
    if request.headers["If-Match"].strip() == "*":  # in quotes it is a tag like any other, and nobody's
        return None
    return frozenset(tag.value.partition(".")[0] for tag in tags if not tag.is_weak)


async def _body(request: web.Request) -> dict[str, Any]:
    """Read a body that may become a manifest. Raise ``Problem`` 400, 413, 415 or 422."""
    body = await json_object(request, limit=BODY_MAX)
    if values_in(body, VALUES_MAX) > VALUES_MAX:
        raise bad_request(f"the body holds more than {VALUES_MAX} values", status=422)
    return body


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} must be a text", param=name, status=422)
    if value is not None and len(value) > SLUG_MAX:
        raise bad_request(f"{name} is longer than {SLUG_MAX} characters", param=name, status=422)
    return value
