"""Result of a write: wait until the written file is served, then return the served agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import Field

from agentsd.control.sync.convergence import NotConverged, wait_for_replicas
from agentsd.control.writeback.delivery import WriteMode, WriteResult
from agentsd.core.errors import AgentsdError
from agentsd.core.names import slug_to_url
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT, AppContext
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.views.agent import AgentReply

LOCAL_WAIT_SECONDS = 10.0
"""How long a response waits for its own replica; longer than any swap takes."""

ALL_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class WriteBackReply:
    """Result of an edit."""

    mode: WriteMode
    path: str | None
    commit: str | None
    branch: str | None
    pushed: bool | None
    message: Annotated[str, Field(description="Warnings, for example about replicas that are late.")]

    @classmethod
    def of(cls, written: WriteResult, message: str) -> WriteBackReply:
        """Return the reply for an edit. ``message``: a further warning, if any."""
        texts = "; ".join(text for text in (written.message, message) if text)
        return cls(written.mode, written.path, written.commit, written.branch, written.pushed, texts)


@dataclass(frozen=True)
class WrittenAgent(AgentReply):
    """Agent as it is served after an edit."""

    write_back: WriteBackReply


@dataclass(frozen=True)
class UnservedAgent:
    """Edit of an agent that is not served: it is deleted, or the edit waits on a branch."""

    id: UUID
    slug: str
    deleted: bool
    version: Count | None
    write_back: WriteBackReply


def waits_for_all(request: web.Request) -> bool:
    """Return whether the response waits for every replica: ``?wait=all``. Raise ``Problem`` 400."""
    wait = request.query.get("wait", "local")
    if wait not in ("local", "all"):
        raise bad_request("wait must be local or all", param="wait")
    return wait == "all"


async def wait_until_served(parts: AppContext, written: WriteResult, *, everywhere: bool) -> str:
    """Wait until this replica (or every one) serves the edit. Return a warning if it does not in time."""
    if written.version is None:
        return f"the edit waits on the branch {written.branch}"
    with suppress(TimeoutError):
        async with asyncio.timeout(LOCAL_WAIT_SECONDS):
            await _wait_for_version(parts, written.version)
    if parts.registry.snapshot.version < written.version:
        return "written and synced, but this replica does not serve it yet"
    return await wait_for_all_replicas(parts, written.version) if everywhere else ""


async def wait_for_all_replicas(parts: AppContext, version: int) -> str:
    """Wait until every replica serves ``version``. Return a warning if they do not in time."""
    try:
        await wait_for_replicas(parts.database, version, ALL_WAIT_SECONDS)
    except NotConverged as error:
        return error.message
    except AgentsdError as error:
        return f"written and synced; the state of the other replicas is unavailable: {error.message}"
    return ""


async def _wait_for_version(parts: AppContext, version: int) -> None:
    with parts.registry.subscribe() as changes:
        parts.follower.nudge()
        while parts.registry.snapshot.version < version:
            await anext(changes)


def get_reply_status(written: WriteResult) -> int:
    """Return the HTTP status of a write that was made, or that waits on a branch."""
    if written.version is None:
        return 202
    return 201 if written.action == "create" else 200


def make_written_reply(request: web.Request, written: WriteResult, message: str) -> web.Response:
    """Return the agent as it is served now, and the result of the edit."""
    views, snapshot = request.app[AGENT_VIEWS], request.app[APP_CONTEXT].registry.snapshot
    told, entry = WriteBackReply.of(written, message), snapshot.ids.get(written.id)
    status = 202 if written.version is None else 201 if written.action == "create" else 200
    if written.version is None or written.action == "delete" or entry is None:
        deleted = written.action == "delete" and written.version is not None
        return make_reply(UnservedAgent(written.id, written.slug, deleted, written.version, told), status)
    rendered = views.of(entry)
    headers = {"ETag": rendered.etag}
    if status == 201:
        headers["Location"] = f"/api/agents/{slug_to_url(written.slug)}"
    return make_reply(rendered.body[:-1] + b"," + to_json({"write_back": told})[1:], status, headers)
