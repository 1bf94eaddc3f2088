"""Finding agents for a request: by name, and the current one; only ever those that its principal sees.

For what it does not see the error is byte for byte that for what does not exist.
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
    """The agents as they are now, of all owners: show none without ``may_see``. Raises ``Problem`` 503."""
    parts = request.app[PARTS]
    if not parts.follower.ready.is_set():
        raise not_ready()
    return parts.registry.snapshot


def principal_of(request: web.Request) -> Principal:
    """Who asks; the border found it out."""
    return request[PRINCIPAL]


def hold_of(request: web.Request) -> memory.Hold:
    """What memory the request holds, counted for its owner."""
    return memory.hold_of(request, request.app[PARTS].guards.memory, request[PRINCIPAL].owner)


def owner_of(request: web.Request) -> str:
    """Whose default answers when no agent is named."""
    return request[PRINCIPAL].owner


def may_see(request: web.Request, entry: Entry) -> bool:
    """Whether ``entry`` exists for whoever asks."""
    return request[PRINCIPAL].sees(entry.row.owner)


def slugs_of(request: web.Request) -> Sequence[str]:
    """Every agent that the principal sees, sorted by slug. Raises ``Problem`` 503 before the first load."""
    return snapshot_of(request).slugs(request[PRINCIPAL].scope)


def require_writer(request: web.Request, owner: str) -> Principal:
    """Who asks, if it may write agents of ``owner``; ask before looking whether there is such an agent.

    Raises ``Problem`` 403, which says the same for an owner that exists and for one that does not.
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
    """The agent that ``ref`` names; None is the built-in one (``echo``, and ``current`` at times).

    Raises ``AgentNotFound``, for another owner's agent as for none.
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
    """Cookie, else the owner's default, else None: the built-in fallback. A suspended one is passed over."""
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
    """Whether the agent that answers in place of others exists for ``principal``: the built-in one does."""
    return registry.shares_fallback or principal.sees(registry.fallback.owner)


def ref_of(entry: Entry | None) -> str:
    """What to lease for what ``find`` found: the id, which outlives a rename."""
    return str(entry.row.id) if entry is not None else FALLBACK_REF


def lease(request: web.Request, entry: Entry | None) -> AbstractAsyncContextManager[LiveAgent]:
    """A lease on what ``find`` found. Raises ``AgentNotFound`` and ``AgentUnavailable`` on entering."""
    return leases_of(request).lease(ref_of(entry))


def leases_of(request: web.Request) -> Leases:
    """Leases on the agents that the principal sees, for a service that takes one per turn."""
    return Scoped(request.app[PARTS].registry, principal_of(request))


class Scoped(Leases):
    """The agents of one principal. An agent that moves to another owner is gone with the next lease."""

    def __init__(self, registry: Registry, principal: Principal) -> None:
        self._registry = registry
        self._principal = principal

    @asynccontextmanager
    async def lease(self, ref: str) -> AsyncGenerator[LiveAgent, None]:
        """As ``Leases`` has it."""
        async with self._registry.lease(ref) as agent:
            shared = agent is self._registry.fallback and self._registry.shares_fallback
            if not shared and not self._principal.sees(agent.owner):
                raise not_found(ref)
            yield agent
