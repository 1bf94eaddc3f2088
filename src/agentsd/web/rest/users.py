"""/api/users: owners and their tokens. An admin sees and edits every owner's; others see their own.

    GET    /api/users
    POST   /api/users/{user}/tokens          {"name", "role", "expires", "sha256"}
    DELETE /api/users/{user}/tokens/{name}

The client that makes a token keeps it, and sends its hash. Both writes edit the owner's
``_user.yaml``; when the response comes, this replica applies the edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from aiohttp import web
from pydantic import Field

from agentsd.control.status.audit import record_action
from agentsd.control.writeback.commands import CreateToken, RevokeToken, TokenCommand
from agentsd.control.writeback.delivery import WriteResult
from agentsd.control.writeback.errors import ReadOnly
from agentsd.core.access import Principal
from agentsd.core.api_tokens import list_tokens, make_token_entry, resolve_expiry, user_path
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.user import Role
from agentsd.core.names import DEFAULT_OWNER
from agentsd.store.queries.users import list_users
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.reply import Count, Hex, make_cached_reply, make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.rest.write_errors import from_write_error
from agentsd.web.rest.write_result import (
    LOCAL_WAIT_SECONDS,
    WriteBackReply,
    wait_for_all_replicas,
    waits_for_all,
)
from agentsd.web.views.pagination import (
    NextCursor,
    encode_place,
    make_next_link,
    parse_boolean,
    parse_page_query,
    sanitize_text,
)

BODY_BYTES_MAX = 1 << 16
"""Maximum bytes of a body."""

NAME_PATTERN = "^[A-Za-z0-9]([A-Za-z0-9._@-]{0,98}[A-Za-z0-9])?$"
Expiry = Annotated[
    str | None,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
        description="The last valid day or moment, in UTC (2027-01-31, 2027-01-31T12:00:00Z); null: never.",
    ),
]


class NewToken(RequestModel):
    """Token to register."""

    name: Annotated[
        str,
        Field(
            description="What it is for, for example ci; logs and commits quote it.",
            json_schema_extra={"pattern": NAME_PATTERN},
        ),
    ]
    role: Annotated[Role, Field(description="`admin` only for the owner `default`.")] = "viewer"
    expires: Expiry = None
    sha256: Annotated[
        Hex, Field(description="SHA-256 of the token, in lower-case hex; never send the token itself.")
    ]


@dataclass(frozen=True)
class TokenReply:
    """Token, of which only a hash is kept."""

    name: str
    role: Role
    expires: Expiry
    expired: Annotated[bool, Field(description="It has expired, and is listed until it is revoked.")]


@dataclass(frozen=True)
class UserReply:
    """Owner of agents."""

    username: str
    email: str | None
    source: Annotated[str, Field(description="The source that defines it.")]
    path: Annotated[str | None, Field(description="Its `_user.yaml`; null: none.")]
    version: Annotated[
        Count | None, Field(description="The version that last changed it; null: the edit waits on a branch.")
    ]
    tokens: list[TokenReply]


@dataclass(frozen=True)
class WrittenUser(UserReply):
    """Owner of agents after an edit."""

    write_back: WriteBackReply


@dataclass(frozen=True)
class UserPage:
    """Page of owners, the top level first, then by name."""

    items: list[UserReply]
    next_cursor: NextCursor


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.get("/api/users", get_users),
        web.post("/api/users/{user}/tokens", create_token),
        web.delete("/api/users/{user}/tokens/{name}", revoke_token),
    ]


async def get_users(request: web.Request) -> web.Response:
    """Return a page of owners. 503 while Postgres is away."""
    query = parse_page_query(request.query, "owner")
    async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
        found = await list_users(connection, get_principal(request).scope)
    ordered = sorted(found, key=lambda one: _get_place(one.username))
    if query.after is not None:
        ordered = [one for one in ordered if _get_place(one.username) > _get_place(query.after)]
    shown = ordered[: query.limit]
    items = [
        UserReply(one.username, one.email, one.source, one.path, one.version, _list_tokens(one.tokens))
        for one in shown
    ]
    cursor = encode_place("owner", shown[-1].username) if len(ordered) > len(shown) else None
    link = make_next_link(request.path, request.query, cursor)
    return make_cached_reply(request, UserPage(items, cursor), link=link)


def _get_place(username: str) -> tuple[bool, str]:
    return username != DEFAULT_OWNER, username


def _list_tokens(tokens: Iterable[Mapping[str, Any]]) -> list[TokenReply]:
    """Return the tokens of an owner, without any of their hashes."""
    listed = list_tokens("", list(tokens), datetime.now(UTC))
    return [TokenReply(one.name, cast("Role", one.role), one.expires, one.expired) for one in listed]


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
    told = WriteBackReply.of(written, message)
    tokens = _list_tokens(value.get("tokens") or ())
    done_as = 201 if draft.action == "token-create" else 200
    reply = WrittenUser(draft.owner, value.get("email"), source, written.path, written.version, tokens, told)
    return make_reply(reply, done_as if written.version is not None else 202)


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
    token = parse_model(NewToken, body, status=422)
    if token.role == "admin" and owner != DEFAULT_OWNER:
        hint = f"an admin sees every owner's agents: make its token for {DEFAULT_OWNER}, or an editor's"
        raise _make_invalid("only the top-level file may define admins", "role", hint)
    try:
        expires = token.expires and resolve_expiry(token.expires, datetime.now(UTC))
    except ConfigError as error:
        raise _make_invalid(error.message.replace("--expires", "expires"), "expires") from None
    try:
        return make_token_entry(token.name, owner, token.role, token.sha256, expires)
    except ConfigError as error:
        raise _make_invalid(error.message, "name", error.hint) from None


def _make_invalid(detail: str, param: str, hint: str = "") -> Problem:
    return bad_request(detail, hint=hint, param=param, status=422)
