"""Document history: what the resolver reads from Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from psycopg import AsyncConnection

from agentsd.core.errors import StoreUnavailable
from agentsd.core.manifest.agent import AgentRow
from agentsd.store.database import Database
from agentsd.store.queries import agents
from agentsd.store.queries.agents import Revision

REVISIONS_MAX = 20
"""Maximum number of earlier documents that are searched for one that opens."""

STORE_TIMEOUT_SECONDS = 2.0
"""How long a first lease waits for the store; then it continues without it."""


class StoreDocumentHistory:
    """Owners of seals and older documents, from the store. Raises ``StoreError``."""

    def __init__(self, database: Database, *, patience_s: float = STORE_TIMEOUT_SECONDS) -> None:
        self._database = database
        self._patience_s = patience_s

    async def owners(self, seals: Collection[bytes]) -> Mapping[bytes, str]:
        """Return the owner that each fingerprint was first seen under; unknown ones are left out."""
        async with self._asking() as connection:
            return await agents.load_seal_owners(connection, seals)

    async def older(self, row: AgentRow) -> Sequence[AgentRow]:
        """Return the agent's earlier documents under the same owner, newest first, each once."""
        async with self._asking() as connection:
            found = await agents.load_revisions(connection, row.id, limit=REVISIONS_MAX, before=row.version)
        documents: dict[bytes, AgentRow] = {}
        for revision in found:
            if revision.owner == row.owner and revision.digest != row.digest:
                documents.setdefault(revision.digest, _replace_document(row, revision))
        return list(documents.values())

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AsyncConnection]:
        """Yield a transaction that a lease may wait for: a store that hangs counts as unavailable."""
        try:
            async with asyncio.timeout(self._patience_s), self._database.transaction() as connection:
                yield connection
        except TimeoutError:
            raise StoreUnavailable(
                f"Postgres did not answer within {self._patience_s:g} s", hint="look at its load and locks"
            ) from None


def _replace_document(row: AgentRow, revision: Revision) -> AgentRow:
    """Return ``row`` with the document of ``revision`` and the attachments that it had."""
    return replace(
        row,
        path=revision.path,
        version=revision.version,
        digest=revision.digest,
        commit=revision.commit,
        data=revision.data,
        prompt=revision.prompt,
        sources=revision.sources,
        layers=revision.layers,
        locks=revision.locks,
    )
