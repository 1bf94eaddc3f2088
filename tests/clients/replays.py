"""Clients that no registry has, replayed by the shapes of their requests."""

from __future__ import annotations

from collections.abc import Sequence

from tests.clients.world import ClientWorld


async def replay_clients(world: ClientWorld) -> Sequence[tuple[str, str, str]]:
    """Return client, feature and what was wrong (empty: nothing) for each."""
    return []
