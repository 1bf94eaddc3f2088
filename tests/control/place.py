"""A folder of manifests with real seals, and what checks and syncs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from uuid import UUID

from agentsd.control.sync.reconciler import Reconciler, SyncOptions, SyncResult
from agentsd.control.validation.checker import Checker
from agentsd.core.plan.plan import StoredState
from agentsd.files.tree import Tree, read_tree
from agentsd.providers.catalog import default_catalog
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import Identities, find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.store.queries import agents
from tests.runtime.world import Keys

ECHO = "id: {id}\nname: {name}\nllm:\n  provider: echo.local\n  reply: {reply}\n"
GROQ = "id: {id}\nname: {name}\nllm:\n  provider: groq.com\n  api_key: {key}\n  model: {model}\n"


def uid(number: int) -> str:
    """The n-th id of a test."""
    return str(UUID(int=(number << 96) | 0x4000_8000_0000_0000_0000))


def echo(number: int, name: str = "Echo", reply: str = "hello", extra: str = "") -> str:
    """A manifest that needs no seal."""
    return ECHO.format(id=uid(number), name=name, reply=reply) + extra


def groq(number: int, name: str = "Groq", key: str = "sk-canary-9", model: str = "m") -> str:
    """A manifest with a plain secret, to be sealed."""
    return GROQ.format(id=uid(number), name=name, key=key, model=model)


@cache
def make_checker(
    keys: Keys | None, *, require_mac: bool = False, trusted: frozenset[str] = frozenset()
) -> Checker:
    """Checks with ``keys``, or with none at hand; the real sops is asked where it is needed.

    Each is made once: compiling the schema takes 0.1 s.
    """
    environ = {"SOPS_AGE_KEY": keys.identity} if keys else {}
    nowhere = Path("/nonexistent")
    identities = find_identities(environ, nowhere) if keys else Identities()
    opener = Opener(identities, SopsBinary(environ={**environ, "HOME": str(nowhere)}))
    return Checker(default_catalog(), opener, trusted=trusted, require_mac=require_mac)


@dataclass
class Place:
    """One tree, one store, and one reconciler that remembers both, as a daemon's does."""

    root: Path
    database: Database
    reconciler: Reconciler
    options: SyncOptions = field(default_factory=SyncOptions)

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Files by path; None removes one."""
        for path, content in files.items():
            file = self.root / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def tree(self) -> Tree:
        """The files as they are."""
        return read_tree(self.root)

    async def sync(
        self, files: Mapping[str, str | bytes | None] | None = None, **options: object
    ) -> SyncResult:
        """Write ``files``, then sync."""
        self.write(files or {})
        return await self.reconciler.sync(self.tree(), replace(self.options, **options))  # type: ignore[arg-type]

    async def plan(self, **options: object) -> SyncResult:
        """What a sync would do."""
        return await self.reconciler.plan(self.tree(), replace(self.options, **options))  # type: ignore[arg-type]

    async def stored(self, source: str = "main") -> StoredState:
        """What the store holds."""
        async with self.database.transaction(snapshot=True) as connection:
            return await agents.load_stored(connection, source)

    async def slugs(self) -> set[str]:
        """The names that the store holds."""
        return {row.slug for row in (await self.stored()).agents.values()}

    async def execute(self, statement: str) -> None:
        """A hand edit in the database."""
        async with self.database.transaction() as connection:
            await connection.execute(statement.encode())

    def again(self, checker: Checker) -> Place:
        """The same tree and store by another process, with other keys or rules."""
        return replace(self, reconciler=Reconciler(checker, self.database))


def operations(outcome: SyncResult) -> set[tuple[str, str]]:
    """(operation, slug) of every change."""
    return {(change.operation, change.slug) for change in outcome.plan.changes}
