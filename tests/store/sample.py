"""Manifests, plans and applies for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.names import derive_owner, derive_slug
from agentsd.core.plan.plan import Change, Operation, Plan, StoredState, UserChange
from agentsd.store.database import Database
from agentsd.store.queries.agents import ApplyStamp, Head, apply_plan, load_stored, lock_applies

CHECKED = sha256(b"schema").digest()
SEALED = "ENC[AES256_GCM,data:YWJj,iv:ZGVm,tag:Z2hp,type:str]"


def manifest(
    path: str, *, id: UUID | None = None, default: bool = False, prompt: str = "Be kind."
) -> Manifest:
    """A manifest with one sealed key."""
    agent_id = id or uuid4()
    value: dict[str, Any] = {
        "id": str(agent_id),
        "default": default,
        "system_prompt": prompt,
        "llm": {"provider": "groq.com", "api_key": SEALED, "model": "llama-3.1-8b-instant"},
    }
    lines = [
        f"id: {agent_id}",
        f"default: {str(default).lower()}",
        f"system_prompt: {prompt!r}",
        f"llm: {{provider: groq.com, api_key: '{SEALED}', model: llama-3.1-8b-instant}}",
    ]
    data = "\n".join([*lines, ""]).encode()
    return Manifest(
        id=agent_id,
        slug=derive_slug(path),
        owner=derive_owner(path),
        path=path,
        digest=sha256(data).digest(),
        default=default,
        verified=True,
        value=value,
        data=data,
        seals=frozenset({sha256(f"{derive_owner(path)}{agent_id}".encode()).digest()[:16]}),
    )


def change(operation: Operation, desired: Manifest, stored: StoredAgent | None = None) -> Change:
    """A change of any kind; a delete is asked for with the manifest that goes."""
    kept = None if operation == "delete" else desired
    return Change(operation, desired.id, desired.slug, desired.owner, desired.path, kept, stored)


def plan_of(changes: Iterable[Change], users: Sequence[UserChange] = (), *, source: str = "main") -> Plan:
    """A plan that does just that."""
    return Plan(source, tuple(changes), tuple(users), 0)


def stamp(commit: str | None = "c0ffee") -> ApplyStamp:
    """A stamp of a new run."""
    return ApplyStamp(uuid4(), commit, CHECKED)


async def write(database: Database, plan: Plan, given: ApplyStamp | None = None) -> Head:
    """Apply ``plan`` in a transaction of its own."""
    async with database.transaction() as connection:
        await lock_applies(connection)
        return await apply_plan(connection, plan, stamp=given or stamp())


async def stored(database: Database, source: str = "main") -> StoredState:
    """What the store holds."""
    async with database.transaction(snapshot=True) as connection:
        return await load_stored(connection, source)
