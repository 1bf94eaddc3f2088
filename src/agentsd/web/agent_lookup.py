"""Lookup of agents for a request: by name, and the current one; only those visible to its principal.

For an invisible agent the error is byte for byte the same as for one that does not exist.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from uuid import UUID

from aiohttp import web

from agentsd.core.access import Principal
from agentsd.core.names import is_uuid
from agentsd.providers.base import Leases, LiveAgent
from agentsd.runtime.agents.fallback import FALLBACK_REF
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.snapshot import Snapshot, SnapshotEntry, make_not_found_error
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import Problem, make_not_ready
from agentsd.web.middleware import memory_budget as memory
from agentsd.web.middleware.auth import PRINCIPAL

AGENT_COOKIE = "agentsd_agent"
"""Holds the id of the agent that a browser selected."""

CURRENT_REF = "current"


def get_snapshot(request: web.Request) -> Snapshot:
    """Return the current agents of all owners; show those that the principal sees. Raise ``Problem`` 503."""
    parts = request.app[APP_CONTEXT]
    if not parts.follower.ready.is_set():
        raise make_not_ready()
    return parts.registry.snapshot


def get_principal(request: web.Request) -> Principal:
    """Return the principal of the request, which the middleware stored in it."""
    return request[PRINCIPAL]


def get_memory_hold(request: web.Request) -> memory.MemoryHold:
    """Return the memory that the request holds, counted for its owner."""
    return memory.get_or_make_hold(request, request.app[APP_CONTEXT].guards.memory, request[PRINCIPAL].owner)


def require_writer(request: web.Request, owner: str) -> Principal:
    """Return the principal if it may write agents of ``owner``; call this before looking for the agent.

    Raise ``Problem`` 403, with the same text for an owner that exists and for one that does not.
    """
    principal = get_principal(request)
    if principal.may_write(owner):
        return principal
    if principal.role == "viewer":
        detail, hint = (
            "this token has the role viewer, which may read and talk only",
            "use a token with the role editor",
        )
    else:
        detail = f"this token may write agents of {principal.owner} only"
        hint = "use a token of that owner, or an admin token"
    raise Problem(403, "forbidden", detail, hint=hint)


def find_agent(request: web.Request, ref: str) -> SnapshotEntry | None:
    """Return the agent that ``ref`` names; None is the built-in one (``echo``, at times the current one).

    Raise ``AgentNotFound``, for another owner's agent as for one that does not exist.
    """
    snapshot, principal = get_snapshot(request), request[PRINCIPAL]
    registry = request.app[APP_CONTEXT].registry
    if ref == CURRENT_REF:
        entry = find_current_agent(request)
    elif ref == registry.fallback.slug:
        named = snapshot.entries.get(ref)
        entry = named if named is not None and principal.sees(named.row.owner) else None
    else:
        return snapshot.find(ref, principal.scope)
    if entry is None and not can_see_fallback(registry, principal):
        raise make_not_found_error(ref)
    return entry


def find_current_agent(request: web.Request) -> SnapshotEntry | None:
    """Return the agent of the cookie, else the owner's default, else None (the built-in fallback).

    Suspended agents are skipped.
    """
    snapshot, principal = get_snapshot(request), request[PRINCIPAL]
    chosen = request.cookies.get(AGENT_COOKIE, "")
    if is_uuid(chosen):
        entry = snapshot.ids.get(UUID(chosen))
        if entry is not None and entry.row.is_active and principal.sees(entry.row.owner):
            return entry
    default = snapshot.defaults.get(principal.owner)
    entry = snapshot.entries.get(default) if default is not None else None
    return entry if entry is not None and entry.row.is_active else None


def can_see_fallback(registry: Registry, principal: Principal) -> bool:
    """Return whether the fallback agent is visible to ``principal``; the built-in one always is."""
    return registry.shares_fallback or principal.sees(registry.fallback.owner)


def make_lease_ref(entry: SnapshotEntry | None) -> str:
    """Return the reference to lease for a result of ``find_agent``: the id, which survives a rename."""
    return str(entry.row.id) if entry is not None else FALLBACK_REF


def lease_agent(request: web.Request, entry: SnapshotEntry | None) -> AbstractAsyncContextManager[LiveAgent]:
    """Lease a result of ``find_agent``. Entering raises ``AgentNotFound`` and ``AgentUnavailable``."""
    return make_scoped_leases(request).lease(make_lease_ref(entry))


def make_scoped_leases(request: web.Request) -> Leases:
    """Return leases on the principal's visible agents, for a service that takes one per turn."""
    return ScopedLeases(request.app[APP_CONTEXT].registry, get_principal(request))


class ScopedLeases(Leases):
    """Leases on the agents of one principal.

    An agent that moves to another owner is unavailable from the next lease on.
    """

    def __init__(self, registry: Registry, principal: Principal) -> None:
        self._registry = registry
        self._principal = principal

    def lease(self, ref: str) -> AbstractAsyncContextManager[LiveAgent]:
        """Lease the agent ``ref``, as ``Leases`` specifies."""
        return _ScopedLease(self._registry, self._principal, ref)


class _ScopedLease(AbstractAsyncContextManager[LiveAgent]):
    """Lease that ends at once where the agent is not visible to the principal."""

    __slots__ = ("_lease", "_principal", "_ref", "_registry")

    def __init__(self, registry: Registry, principal: Principal, ref: str) -> None:
        self._registry = registry
        self._principal = principal
        self._ref = ref
        self._lease = registry.lease(ref)

    async def __aenter__(self) -> LiveAgent:
        agent = await self._lease.__aenter__()
        shared = agent is self._registry.fallback and self._registry.shares_fallback
        if not shared and not self._principal.sees(agent.owner):
            await self._lease.__aexit__(None, None, None)
            raise make_not_found_error(self._ref)
        return agent

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lease.__aexit__(kind, error, trace)
