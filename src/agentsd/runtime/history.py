"""History: what resolving asks of Postgres."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from agentsd.core.agent import AgentRow
from agentsd.store import agents
from agentsd.store.agents import Revision
from agentsd.store.database import Database

REVISIONS_MAX = 20
"""How far back an agent's history is searched for a document that opens."""


class StoreHistory:
    """Owners of seals and older documents, out of the store. Raises ``StoreError``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owners(self, seals: Collection[bytes]) -> Mapping[bytes, str]:
        """The owner that each fingerprint was first seen under; unknown ones are left out."""
        async with self._database.transaction() as connection:
            return await agents.owners_of_seals(connection, seals)

    async def older(self, row: AgentRow) -> Sequence[AgentRow]:
        """The agent's earlier documents under the same owner, newest first, each once."""
        async with self._database.transaction() as connection:
            found = await agents.revisions(connection, row.id, limit=REVISIONS_MAX, before=row.version)
        documents: dict[bytes, AgentRow] = {}
        for revision in found:
            if revision.owner == row.owner and revision.digest != row.digest:
                documents.setdefault(revision.digest, _as_of(row, revision))
        return list(documents.values())


def _as_of(row: AgentRow, revision: Revision) -> AgentRow:
    """``row`` with the document of ``revision``."""
    return replace(
        row,
        path=revision.path,
        version=revision.version,
        digest=revision.digest,
        commit=revision.commit,
        data=revision.data,
    )
