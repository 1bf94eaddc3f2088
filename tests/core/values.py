"""Manifests, users and stored states as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.names import derive_agent_id, derive_owner, derive_slug, derive_user_id
from agentsd.core.plan.plan import DesiredState, Plan, Quarantined, StoredState, apply_to_stored, make_plan
from agentsd.core.violations import Violation

CHECKED = b"rules"
SEAL = "ENC[AES256_GCM,data:{},iv:aXY=,tag:dGFn,type:str]"


def sealed(text: str) -> str:
    """What looks like a seal, told apart by ``text``."""
    return SEAL.format(text)


def manifest(
    path: str,
    text: str = "Be kind.",
    *,
    id: UUID | str | None = None,
    default: bool = False,
    seals: Iterable[bytes] = (),
    **value: Any,
) -> Manifest:
    """One desired agent."""
    agent = UUID(id) if isinstance(id, str) else id or derive_agent_id(derive_slug(path))
    body = {"system_prompt": text, "default": default, **value}
    data = f"id: {agent}\ndefault: {default}\nbody: {body!r}\n".encode()
    return Manifest(
        id=agent,
        slug=derive_slug(path),
        owner=derive_owner(path),
        path=path,
        digest=sha256(data).digest(),
        default=default,
        verified=True,
        value=body,
        data=data,
        seals=frozenset(seals),
    )


def desired(*manifests: Manifest, users: Iterable[User] = (), bad: Iterable[str] = ()) -> DesiredState:
    """What the files say; every owner has a user, and the files ``bad`` are quarantined."""
    named = {m.owner: User(derive_user_id(m.owner), m.owner) for m in manifests}
    named |= {user.username: user for user in users}
    quarantined = tuple(Quarantined(path, (Violation(path, "yaml-syntax", "not YAML"),)) for path in bad)
    return DesiredState({m.id: m for m in manifests}, named, quarantined, CHECKED)


def user(path: str, email: str | None = None) -> User:
    """An owner with a file."""
    name = derive_owner(path)
    return User(derive_user_id(name), name, email, (), path, f"email: {email}\n".encode())


EMPTY = StoredState(0, {}, {})


def sync(
    stored: StoredState, wanted: DesiredState, *, source: str = "main", prune: bool = True
) -> tuple[Plan, StoredState]:
    """The plan, and the store after it."""
    decided = make_plan(wanted, stored, source=source, prune=prune)
    return decided, apply_to_stored(stored, decided, stored.version + 1, CHECKED)


def stored_of(*manifests: Manifest, source: str = "main", users: Iterable[User] = ()) -> StoredState:
    """A store that holds just these."""
    return sync(EMPTY, desired(*manifests, users=users), source=source)[1]


def with_values(stored: StoredState, *manifests: Manifest) -> StoredState:
    """``stored`` with the documents of ``manifests``, as a reconciler loads them before it plans."""
    rows = dict(stored.agents)
    for one in manifests:
        rows[one.id] = replace(rows[one.id], value=one.value, prints=one.prints)
    return replace(stored, agents=rows)


def edited(stored: StoredState, row: StoredAgent | StoredUser, **changes: Any) -> StoredState:
    """``stored`` with one row replaced."""
    changed = replace(row, **changes)
    if isinstance(changed, StoredAgent):
        return replace(stored, agents={**stored.agents, changed.id: changed})
    return replace(stored, users={**stored.users, changed.username: changed})
