"""Retention of history: after an apply, the oldest revisions of changed agents are removed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from agentsd.core.errors import AgentsdError
from agentsd.store.database import Database
from agentsd.store.queries import agents as store
from agentsd.store.queries.retention import PRUNE_BATCH, drop_unused_documents, prune_revisions

KEEP_REVISIONS = 100
"""Revisions of each agent that are kept where no setting says otherwise."""

_BATCHES_MAX = 20
"""Rows of one call; the rest is deleted by the next."""

_log = logging.getLogger(__name__)


async def prune_history(database: Database, keep: int, changed: Collection[UUID] | None = None) -> int:
    """Remove revisions beyond ``keep`` of the agents that ``changed``; None: of all, and their documents.

    Returns the number of removed revisions. Never fails the caller: what could not be removed now is
    removed another time.
    """
    total = 0
    try:
        for _ in range(_BATCHES_MAX):
            async with database.transaction() as conn:
                went = await prune_revisions(conn, keep, changed)
            total += went
            if went < PRUNE_BATCH:
                break
        for _ in range(_BATCHES_MAX if changed is None else 0):
            async with database.transaction() as conn:
                await store.lock_applies(conn)
                if await drop_unused_documents(conn) < PRUNE_BATCH:
                    break
    except AgentsdError as error:
        _log.warning("old revisions are kept for now: %s", error.message)
    return total
