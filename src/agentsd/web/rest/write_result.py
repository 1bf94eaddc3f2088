"""Result of a write: wait until the written file is served, then return the served agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from agentsd.control.sync.convergence import NotConverged, wait_for_replicas
from agentsd.control.writeback.delivery import Written
from agentsd.core.errors import AgentsdError
from agentsd.core.names import to_url
from agentsd.web.context import PARTS, VIEWS, Parts
from agentsd.web.http.caching import JSON
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request

LOCAL_SECONDS = 10.0
"""How long a reply waits for its own replica; longer than any swap takes."""

ALL_SECONDS = 30.0


def waits_for_all(request: web.Request) -> bool:
    """Return whether the response waits for every replica: ``?wait=all``. Raise ``Problem`` 400."""
    wait = request.query.get("wait", "local")
    if wait not in ("local", "all"):
        raise bad_request("wait is local or all", param="wait")
    return wait == "all"


async def live(parts: Parts, written: Written, *, everywhere: bool) -> str:
    """Wait until this replica (or every one) serves the edit. Return a warning if it does not in time."""
    if written.version is None:
        return f"the edit waits on the branch {written.branch}"
    with suppress(TimeoutError):
        async with asyncio.timeout(LOCAL_SECONDS):
            await _served(parts, written.version)
    if parts.registry.snapshot.version < written.version:
        return "written and synced, but this replica does not serve it yet"
    return await everyone(parts, written.version) if everywhere else ""


async def everyone(parts: Parts, version: int) -> str:
    """Wait until every replica serves ``version``. Return a warning if they do not in time."""
    try:
        await wait_for_replicas(parts.database, version, ALL_SECONDS)
    except NotConverged as error:
        return error.message
    except AgentsdError as error:
        return f"written and synced; the other replicas could not be asked: {error.message}"
    return ""


async def _served(parts: Parts, version: int) -> None:
    with parts.registry.subscribe() as changes:
        parts.follower.nudge()
        while parts.registry.snapshot.version < version:
            await anext(changes)


def written_reply(request: web.Request, written: Written, message: str) -> web.Response:
    """Return the agent as it is served now, and the result of the edit."""
    views, snapshot = request.app[VIEWS], request.app[PARTS].registry.snapshot
    told = to_json({"write_back": write_back_view(written, message)})[1:]
    entry = snapshot.ids.get(written.id)
    if written.version is None or written.action == "delete" or entry is None:
        body = to_json(_stub(written))[:-1] + b"," + told
        done = 201 if written.action == "create" else 200
        return web.Response(body=body, content_type=JSON, status=202 if written.version is None else done)
    rendered = views.of(entry)
    created = written.action == "create"
    headers = {"ETag": rendered.etag}
    if created:
        headers["Location"] = f"/api/agents/{to_url(written.slug)}"
    body = rendered.body[:-1] + b"," + told
    return web.Response(body=body, content_type=JSON, status=201 if created else 200, headers=headers)


def _stub(written: Written) -> dict[str, Any]:
    """Return the known fields of an agent that is not served: deleted, or not merged yet."""
    return {
        "id": written.id,
        "slug": written.slug,
        "deleted": written.action == "delete" and written.version is not None,
        "version": written.version,
    }


def write_back_view(written: Written, message: str) -> dict[str, Any]:
    """Return the result of an edit as in its response."""
    texts = [text for text in (written.message, message) if text]
    return {
        "mode": written.mode,
        "path": written.path,
        "commit": written.commit,
        "branch": written.branch,
        "pushed": written.pushed,
        "message": "; ".join(texts),
    }
