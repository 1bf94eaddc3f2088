"""Finding agents for a request: by name, and the current one."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from agentsd.core.names import DEFAULT_OWNER, is_uuid
from agentsd.runtime.fallback import FALLBACK_SLUG
from agentsd.runtime.snapshot import Entry, Snapshot
from agentsd.web.parts import PARTS
from agentsd.web.problem import Problem

COOKIE = "agentsd_agent"
"""Holds the id of the agent that a browser selected."""

CURRENT = "current"


def snapshot_of(request: web.Request) -> Snapshot:
    """The agents as they are now. Raises ``Problem`` 503 before the first load."""
    parts = request.app[PARTS]
    if not parts.follower.ready.is_set():
        raise Problem(
            503,
            "not_ready",
            "the agents have not been loaded yet",
            hint="try again in a moment; /readyz says when",
            headers={"Retry-After": "1"},
        )
    return parts.registry.snapshot


def owner_of(request: web.Request) -> str:
    """Whose default answers when no agent is named. Tokens of users will name others."""
    return DEFAULT_OWNER


def find(request: web.Request, ref: str) -> Entry | None:
    """The agent that ``ref`` names; None is the built-in one (``echo``, and ``current`` at times).

    Raises ``AgentNotFound``.
    """
    if ref == CURRENT:
        return current(request)
    snapshot = snapshot_of(request)
    if ref == FALLBACK_SLUG and ref not in snapshot.entries:
        return None
    return snapshot.find(ref)


def current(request: web.Request) -> Entry | None:
    """Cookie, else the owner's default, else None: the built-in fallback. A suspended one is passed over."""
    snapshot = snapshot_of(request)
    chosen = request.cookies.get(COOKIE, "")
    if is_uuid(chosen):
        entry = snapshot.ids.get(UUID(chosen))
        if entry is not None and entry.row.is_active:
            return entry
    default = snapshot.defaults.get(owner_of(request))
    entry = snapshot.entries.get(default) if default is not None else None
    return entry if entry is not None and entry.row.is_active else None
