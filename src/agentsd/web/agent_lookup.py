"""Lookup of agents for a request: by name, and the current one; only those visible to its principal.

For an invisible agent the error is byte for byte the same as for one that does not exist.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from aiohttp import web

from agentsd.core.access import Principal
from agentsd.core.names import is_uuid
from agentsd.providers.base import Leases, LiveAgent
from agentsd.runtime.agents.fallback import FALLBACK_REF
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.snapshot import Entry, Snapshot, not_found
from agentsd.web.context import PARTS
from agentsd.web.http.problem import Problem, not_ready
from agentsd.web.middleware import memory_budget as memory
from agentsd.web.middleware.auth import PRINCIPAL

COOKIE = "agentsd_agent"
"""Holds the id of the agent that a browser selected."""

CURRENT = "current"


def snapshot_of(request: web.Request) -> Snapshot:
    """Return the current agents of all owners: show none without ``can_see``. Raise ``Problem`` 503."""
    parts = request.app[PARTS]
    if not parts.follower.ready.is_set():
        raise not_ready()
    return parts.registry.snapshot


def principal_of(request: web.Request) -> Principal:
    """Return the principal of the request, which the middleware stored in it."""
    return request[PRINCIPAL]


def hold_of(request: web.Request) -> memory.Hold:
    """Return the memory that the request holds, counted for its owner."""
    return memory.hold_of(request, request.app[PARTS].guards.memory, request[PRINCIPAL].owner)


def owner_of(request: web.Request) -> str:
    """Return the owner whose default agent answers when no agent is named."""
    return request[PRINCIPAL].owner


def may_see(request: web.Request, entry: Entry) -> bool:
    """Return whether ``entry`` is visible to the principal of the request."""
    return request[PRINCIPAL].sees(entry.row.owner)


def slugs_of(request: web.Request) -> Sequence[str]:
    """Return the sorted slugs of all visible agents. Raise ``Problem`` 503 before the first load."""
    return snapshot_of(request).slugs(request[PRINCIPAL].scope)


def require_writer(request: web.Request, owner: str) -> Principal:
    """Return the principal if it may write agents of ``owner``; call this before looking for the agent.

    Raise ``Problem`` 403, with the same text for an owner that exists and for one that does not.
    """
    principal = principal_of(request)
    if principal.may_write(owner):
        return principal
    if principal.role == "viewer":
        detail, hint = "this token reads and talks: its role is viewer", "use a token with the role editor"
    else:
        detail = f"this token writes agents of {principal.owner} only"
        hint = "use a token of that owner, or an admin's"
    raise Problem(403, "forbidden", detail, hint=hint)


def find(request: web.Request, ref: str) -> Entry | None:
    """Return the agent that ``ref`` names; None is the built-in one (``echo``, at times the current one).

    Raise ``AgentNotFound``, for another owner's agent as for one that does not exist.
    """
    snapshot, principal = snapshot_of(request), request[PRINCIPAL]
    registry = request.app[PARTS].registry
    if ref == CURRENT:
        entry = current(request)
    elif ref == registry.fallback.slug:
        named = snapshot.entries.get(ref)
        entry = named if named is not None and principal.sees(named.row.owner) else None
    else:
        return snapshot.find(ref, principal.scope)
    if entry is None and not sees_fallback(registry, principal):
        raise not_found(ref)
    return entry


def current(request: web.Request) -> Entry | None:
    """Return the agent of the cookie, else the owner's default, else None (the built-in fallback).

    Suspended agents are skipped.
    """
    snapshot, principal = snapshot_of(request), request[PRINCIPAL]
    chosen = request.cookies.get(COOKIE, "")
    if is_uuid(chosen):
        entry = snapshot.ids.get(UUID(chosen))
        if entry is not None and entry.row.is_active and principal.sees(entry.row.owner):
            return entry
    default = snapshot.defaults.get(principal.owner)
    entry = snapshot.entries.get(default) if default is not None else None
    return entry if entry is not None and entry.row.is_active else None


def sees_fallback(registry: Registry, principal: Principal) -> bool:
    """Return whether the fallback agent is visible to ``principal``; the built-in one always is."""
    return registry.shares_fallback or principal.sees(registry.fallback.owner)


def ref_of(entry: Entry | None) -> str:
    """Return the reference to lease for a result of ``find_agent``: the id, which survives a rename."""
    return str(entry.row.id) if entry is not None else FALLBACK_REF


def lease(request: web.Request, entry: Entry | None) -> AbstractAsyncContextManager[LiveAgent]:
    """Lease a result of ``find_agent``. Entering raises ``AgentNotFound`` and ``AgentUnavailable``."""
    return leases_of(request).lease(ref_of(entry))


def leases_of(request: web.Request) -> Leases:
    """Return leases on the principal's visible agents, for a service that takes one per turn."""
    return Scoped(request.app[PARTS].registry, principal_of(request))


class Scoped(Leases):
    """Leases on the agents of one principal.

    An agent that moves to another owner is unavailable from the next lease on.
    """

    def __init__(self, registry: Registry, principal: Principal) -> None:
        self._registry = registry
        self._principal = principal

    @asynccontextmanager
    async def lease(self, ref: str) -> AsyncGenerator[LiveAgent, None]:
        """Lease the agent ``ref``, as ``Leases`` specifies."""
        async with self._registry.lease(ref) as agent:
            shared = agent is self._registry.fallback and self._registry.shares_fallback
            if not shared and not self._principal.sees(agent.owner):
                raise not_found(ref)
            yield agent
