"""/api/users: owners and their tokens. An admin sees and edits every owner's; others see their own.

    GET    /api/users
    POST   /api/users/{user}/tokens          {"name", "role", "expires", "sha256"}
    DELETE /api/users/{user}/tokens/{name}

The client that makes a token keeps it, and sends its hash. Both writes edit the owner's
``_user.yaml``; when the response comes, this replica applies the edit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from aiohttp import web

from agentsd.control.status.audit import record_action
from agentsd.control.writeback.commands import CreateToken, RevokeToken, TokenCommand
from agentsd.control.writeback.delivery import WriteResult
from agentsd.control.writeback.errors import ReadOnly
from agentsd.core.access import ROLES, Principal
from agentsd.core.api_tokens import list_tokens, make_token_entry, resolve_expiry, user_path
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.user import Role
from agentsd.core.names import DEFAULT_OWNER
from agentsd.core.violations import suggest_word
from agentsd.store.queries.users import list_users
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.conditional import JSON_TYPE, compute_etag, make_cached_response
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.json_body import read_json_object
from agentsd.web.rest.write_errors import from_write_error
from agentsd.web.rest.write_result import (
    LOCAL_WAIT_SECONDS,
    make_write_back_view,
    wait_for_all_replicas,
    waits_for_all,
)
from agentsd.web.views.pagination import parse_boolean, sanitize_text

TOKEN_FIELDS = ("name", "role", "expires", "sha256")
"""Maximum bytes of a body."""

BODY_BYTES_MAX = 1 << 16
"""Bytes."""

_TOKEN_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXPIRY = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?", re.ASCII)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.get("/api/users", get_users),
        web.post("/api/users/{user}/tokens", create_token),
        web.delete("/api/users/{user}/tokens/{name}", revoke_token),
    ]


async def get_users(request: web.Request) -> web.Response:
    """Return ``{"items"}``, the top level first, then by name. 503 while Postgres is away."""
    async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
        found = await list_users(connection, get_principal(request).scope)
    now = datetime.now(UTC)
    ordered = sorted(found, key=lambda one: one.username != DEFAULT_OWNER)
    items = [
        user_view(one.username, one.email, one.source, one.path, one.version, one.tokens, now)
        for one in ordered
    ]
    body = to_json({"items": items})
    return make_cached_response(request, body, compute_etag(body))


def user_view(
    username: str,
    email: str | None,
    source: str,
    path: str | None,
    version: int | None,
    tokens: Iterable[Mapping[str, Any]],
    now: datetime,
) -> dict[str, Any]:
    """Return an owner for the API: of a token its name, role and end, and nothing of its hash."""
    shown = list_tokens(username, list(tokens), now)
    return {
        "username": username,
        "email": email,
        "source": source,
        "path": path,
        "version": version,
        "tokens": [
            {"name": one.name, "role": one.role, "expires": one.expires, "expired": one.expired}
            for one in shown
        ],
    }


@dataclass(slots=True)
class _AuditDraft:
    """Draft of an audit entry, filled in step by step."""

    action: str
    owner: str
    name: str = ""

    @property
    def target(self) -> str:
        return f"token:{self.owner}/{self.name}"


_ReadCommand = Callable[[web.Request, _AuditDraft], Awaitable[TokenCommand]]


async def create_token(request: web.Request) -> web.Response:
    """Return 201 with the owner and its tokens; 202 where the edit waits on a branch."""
    draft = _AuditDraft("token-create", request.match_info["user"])
    return await asyncio.shield(_run_edit(request, draft, _read_creation))


async def revoke_token(request: web.Request) -> web.Response:
    """Return 200 with the owner and the remaining tokens; 202 where the edit waits on a branch."""
    draft = _AuditDraft("token-revoke", request.match_info["user"], request.match_info["name"])
    return await asyncio.shield(_run_edit(request, draft, _read_revocation))


async def _read_creation(request: web.Request, draft: _AuditDraft) -> CreateToken:
    force = parse_boolean(request.query, "force") or False
    body = await read_json_object(request, limit=BODY_BYTES_MAX)
    draft.name = sanitize_text(str(body.get("name", "")))
    return CreateToken(draft.owner, _parse_token_entry(body, draft.owner), force=force)


async def _read_revocation(request: web.Request, draft: _AuditDraft) -> RevokeToken:
    force = parse_boolean(request.query, "force") or False
    others = bool(request.app[APP_CONTEXT].access.tokens)
    return RevokeToken(draft.owner, draft.name, force=force, others=others)


async def _run_edit(request: web.Request, draft: _AuditDraft, read_command: _ReadCommand) -> web.Response:
    """Complete and record an edit; shielded, so that a client that leaves does not interrupt it."""
    parts, who = request.app[APP_CONTEXT], get_principal(request)
    try:
        _require_admin(who)
        path = _make_path(draft.owner)
        if parts.writeback is None:
            raise _make_read_only(parts, draft, path, "this server is read-only")
        wait, guarded = waits_for_all(request), bool(parts.access.book)
        written = await parts.writeback.execute(who, await read_command(request, draft))
        message = await _wait_until_known(parts, draft, written, guarded=guarded, wait=wait)
    except Exception as error:
        problem = _make_problem(parts, draft, error)
        if problem is None:
            raise
        await _record_action(request, draft, problem)
        raise problem from None
    reply = _make_reply(parts, draft, written, message)
    await _record_action(request, draft, written, reply.status)
    return reply


def _make_problem(parts: AppContext, draft: _AuditDraft, error: Exception) -> Problem | None:
    if isinstance(error, ReadOnly):
        return _make_read_only(parts, draft, _make_path(draft.owner), error.message)
    return from_write_error(error)


async def _wait_until_known(
    parts: AppContext, draft: _AuditDraft, written: WriteResult, *, guarded: bool, wait: bool
) -> str:
    """Wait until this replica (or every one) applies the edit.

    Return its consequences, and a warning for replicas that are late.
    """
    book, made, change = parts.access.book, draft.action == "token-create", written.user
    if written.version is None or change is None:
        return f"the edit waits on the branch {written.branch}"

    def known() -> bool:
        holder = book.holder(change.sha256)
        held = holder is not None and (holder.owner, holder.name) == (draft.owner, draft.name)
        return held is made

    with suppress(TimeoutError):
        async with asyncio.timeout(LOCAL_WAIT_SECONDS):
            parts.follower.nudge()
            await book.until(known)
    told = [f"the owner is new, with the folder {parts.files}/{draft.owner}"] if change.new_owner else []
    if not known():
        return "; ".join([*told, "written and synced, but not loaded by this replica yet"])
    if wait and (late := await wait_for_all_replicas(parts, written.version)):
        told.append(late)
    if not guarded and made:
        told.append("it is the first token: from now on every request needs one")
    elif not book:
        to_whom = "this machine" if parts.access.loopback else "no client"
        told.append(f"it was the last token: this server is open to {to_whom} now")
    return "; ".join(told)


def _make_reply(parts: AppContext, draft: _AuditDraft, written: WriteResult, message: str) -> web.Response:
    value = written.user_value
    source = parts.writeback.source if parts.writeback is not None else ""
    tokens, now = value.get("tokens") or (), datetime.now(UTC)
    body = user_view(draft.owner, value.get("email"), source, written.path, written.version, tokens, now)
    body["write_back"] = make_write_back_view(written, message)
    done_as = 201 if draft.action == "token-create" else 200
    status = done_as if written.version is not None else 202
    return web.Response(body=to_json(body), content_type=JSON_TYPE, status=status)


async def _record_action(
    request: web.Request, draft: _AuditDraft, came: WriteResult | Problem, status: int = 0
) -> None:
    """Record the edit as ``agentsd token`` does; refused ones have the same readers as with agents."""
    database, who = request.app[APP_CONTEXT].database, get_principal(request)
    if isinstance(came, Problem):
        await record_action(
            database,
            who.actor,
            draft.action,
            draft.target,
            outcome="refused" if came.status < 500 else "failed",
            status=came.status,
            code=came.code,
            owner=draft.owner if who.owner == draft.owner else "",
        )
        return
    await record_action(
        database,
        who.actor,
        draft.action,
        draft.target,
        outcome="done",
        status=status,
        path=came.path,
        to_version=came.version,
        commit=came.commit,
        owner=draft.owner,
    )


def _require_admin(who: Principal) -> None:
    """Raise ``Problem`` 403, with the same text for an owner that exists and for one that does not."""
    if not who.is_admin:
        raise Problem(
            403,
            "forbidden",
            "only admins may create and revoke tokens",
            hint="use a token with the role admin",
        )


def _make_path(owner: str) -> str:
    try:
        return user_path(owner)
    except ConfigError as error:
        raise bad_request(error.message, hint=error.hint, param="user", status=422) from None


def _make_read_only(parts: AppContext, draft: _AuditDraft, path: str, why: str) -> Problem:
    """Return a problem 405 with the command that does the same."""
    owner = "" if draft.owner == DEFAULT_OWNER else f" --owner {draft.owner}"
    verb, file = draft.action.removeprefix("token-"), f"{parts.files}/{path}"
    hint = (
        f"where the files are: agentsd token {verb} NAME{owner}, which edits {file}; then agentsd sync; "
        "or start this server with --write-back files"
    )
    return Problem(405, "read_only", why, hint=hint, headers={"Allow": ""}, extra={"file": file})


def _parse_token_entry(body: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Parse the token of a body as an entry of ``_user.yaml``. Raise ``Problem`` 422."""
    for field in body:
        if field not in TOKEN_FIELDS:
            hint = suggest_word(field[:100], TOKEN_FIELDS) or f"known: {', '.join(TOKEN_FIELDS)}"
            raise _make_invalid(f"unknown field {sanitize_text(field)}", sanitize_text(field), hint)
    name, role, digest = body.get("name"), body.get("role", "viewer"), body.get("sha256")
    if not isinstance(name, str):
        raise _make_invalid("name must be a text", "name", "its purpose, for example: ci")
    if not isinstance(role, str) or role not in ROLES:
        raise _make_invalid("role must be viewer, editor or admin", "role")
    if not isinstance(digest, str) or not _TOKEN_HASH.fullmatch(digest):
        hint = "make the token yourself, and send its SHA-256 in lower-case hex; never send the token"
        raise _make_invalid("sha256 must be 64 hexadecimal digits", "sha256", hint)
    if role == "admin" and owner != DEFAULT_OWNER:
        hint = f"an admin sees every owner's agents: make its token for {DEFAULT_OWNER}, or an editor's"
        raise _make_invalid("only the top-level file may define admins", "role", hint)
    expires = _parse_expiry(body.get("expires"))
    try:
        return make_token_entry(name, owner, cast("Role", role), digest, expires)
    except ConfigError as error:
        raise _make_invalid(error.message, "name", error.hint) from None


def _parse_expiry(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _EXPIRY.fullmatch(value):
        raise _make_invalid(
            "expires must be a date or a time in UTC",
            "expires",
            "2027-01-31, 2027-01-31T12:00:00Z, or null: never",
        )
    try:
        return resolve_expiry(value, datetime.now(UTC))
    except ConfigError as error:
        raise _make_invalid(error.message.replace("--expires", "expires"), "expires") from None


def _make_invalid(detail: str, param: str, hint: str = "") -> Problem:
    return bad_request(detail, hint=hint, param=param, status=422)
