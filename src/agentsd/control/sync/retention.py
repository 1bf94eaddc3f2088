"""Retention of history: after an apply, the oldest revisions of changed agents are removed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from agentsd.core.errors import AgentsdError
from agentsd.store.database import Database
from agentsd.store.queries import agents as store
from agentsd.store.queries.retention import BATCH, drop_documents, prune_revisions

KEEP = 100
"""Revisions of each agent that are kept where no setting says otherwise."""

_BATCHES = 20
"""Of one call; what is left goes with the next."""

_log = logging.getLogger(__name__)


async def prune(database: Database, keep: int, changed: Collection[UUID] | None = None) -> int:
    """Remove revisions beyond ``keep`` of the agents that ``changed``; None: of all, and their documents.

    Returns the number of removed revisions. Never fails the caller: what could not be removed now is
    removed another time.
    """
    total = 0
    try:
        for _ in range(_BATCHES):
            async with database.transaction() as conn:
                went = await prune_revisions(conn, keep, changed)
            total += went
            if went < BATCH:
                break
        for _ in range(_BATCHES if changed is None else 0):
            async with database.transaction() as conn:
                await store.lock(conn)
                if await drop_documents(conn) < BATCH:
                    break
    except AgentsdError as error:
        _log.warning("old revisions stay for now: %s", error.message)
    return total
