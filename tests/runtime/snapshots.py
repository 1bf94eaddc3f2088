"""Snapshots for tests; as a program: writes two of them by turns until it is killed."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from uuid import UUID, uuid5

from agentsd.core.manifest.agent import AgentRow, Attachment
from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.format import CachedSnapshot, SnapshotOrigin
from agentsd.store.queries.users import OwnerTokens
from agentsd.store.queries.versions import Head

ORIGIN = SnapshotOrigin("127.0.0.1:5432/agentsd", "main", "0007")
_SPACE = UUID(int=7)
_MOMENT = datetime(2026, 7, 1, 12, 30, 15, 123456, UTC)


def row_of(number: int, version: int = 1, size: int = 40) -> AgentRow:
    """One row of its own."""
    data = f"name: {number}\n".encode().ljust(size, b"#")
    layer = Attachment("acme/_defaults.yaml", sha256(b"layer").digest(), b"name: all\n")
    return AgentRow(
        id=uuid5(_SPACE, str(number)),
        slug=f"acme/a{number}",
        owner="acme",
        source="main",
        path=f"acme/a{number}.yaml",
        version=version,
        digest=sha256(data).digest(),
        is_default=number == 0,
        is_active=True,
        name=f"Agent {number}",
        commit=None if number % 2 else "c" * 40,
        created_at=_MOMENT,
        updated_at=_MOMENT,
        data=data,
        prompt=b"Be kind.\n" if number % 3 else None,
        sources=(("acme/faq.md", sha256(b"faq").digest()),) if number % 2 else (),
        layers=(layer,) if number % 2 else (),
        locks=(Attachment("acme/_tools.lock.yaml", sha256(b"lock").digest(), b"lock: 1\n"),)
        if number % 5
        else (),
    )


def kept_of(version: int, count: int, size: int = 40, tokens: tuple[OwnerTokens, ...] = ()) -> CachedSnapshot:
    """A snapshot of so many rows."""
    rows = tuple(row_of(number, version, size) for number in range(count))
    return CachedSnapshot(Head(version, uuid5(_SPACE, f"v{version}")), rows, tokens=tokens)


def main() -> None:
    """Write for ever."""
    path = Path(sys.argv[1])
    both = [kept_of(version, 2000, 1000 + version) for version in (1, 2)]
    for kept in cycle(both):
        snapshotfile.write_snapshot(path, kept, ORIGIN, time.time())
        print("written", flush=True)


if __name__ == "__main__":
    main()
