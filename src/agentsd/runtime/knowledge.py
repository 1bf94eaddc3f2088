"""Knowledge at run time: searching it for a question, and embedding what is not embedded yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from agentsd.core.chunking import Passage
from agentsd.core.errors import AgentsdError, Bug
from agentsd.providers.base import LiveAgent
from agentsd.runtime.registry import Registry
from agentsd.store import knowledge
from agentsd.store.database import Database
from agentsd.supervisor import ENDINGS

RETRY_SECONDS = 30.0
"""How often passages are looked at again that could not be embedded."""

_log = logging.getLogger(__name__)


class StoreKnowledge:
    """Finds passages in Postgres: by words, and by meaning where the agent embeds and pgvector is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._vectors: bool | None = None  # whether there is pgvector; None: not asked yet

    async def search(self, agent: LiveAgent, query: str) -> Sequence[Passage]:
        """See ``providers.base.Knowledge``. An embedding that fails leaves the search by words."""
        if agent.spec.rag is None or not agent.sources:
            return ()
        vector = await self._vector(agent, query)
        space = agent.embedding.space if agent.embedding else None
        sources = {digest: path for path, digest in agent.sources}
        async with self._database.transaction(snapshot=True) as conn:
            return await knowledge.search(
                conn, query, sources, limit=agent.spec.rag.top_k, space=space, vector=vector
            )

    async def has_vectors(self) -> bool:
        """Whether this database has pgvector."""
        if self._vectors is None:
            async with self._database.transaction(snapshot=True) as conn:
                self._vectors = await knowledge.has_vectors(conn)
        return self._vectors

    async def _vector(self, agent: LiveAgent, query: str) -> list[float] | None:
        if agent.embedding is None or not await self.has_vectors():
            return None
        try:
            (vector,) = await agent.embedding.embed([query])
        except Exception as error:  # whatever a vendor answers, words are left
            _log.warning(
                "searching by words only", extra={"agent": agent.slug, "error": type(error).__name__}
            )
            return None
        return vector


class Indexer:
    """Embeds the passages of agents that have an embedding provider. Replicas share the work."""

    def __init__(
        self, database: Database, registry: Registry, found: StoreKnowledge, *, retry_s: float = RETRY_SECONDS
    ) -> None:
        self._database = database
        self._registry = registry
        self._knowledge = found
        self._retry_s = retry_s

    async def run(self) -> None:
        """Look at what changed, and at everything now and then. Ends only when cancelled."""
        with self._registry.subscribe() as events:
            changes = aiter(events)
            await self._index(self._with_sources())
            while True:
                try:
                    async with asyncio.timeout(self._retry_s):
                        event = await anext(changes)
                except TimeoutError:
                    await self._index(self._with_sources())
                except StopAsyncIteration:
                    return
                else:
                    await self._index(self._with_sources(None if event.kind == "resync" else event.slugs))

    def _with_sources(self, slugs: Iterable[str] | None = None) -> list[str]:
        entries = self._registry.snapshot.entries
        among = entries if slugs is None else [slug for slug in slugs if slug in entries]
        return [slug for slug in among if entries[slug].row.sources]

    async def _index(self, slugs: Iterable[str]) -> None:
        for slug in slugs:
            try:
                async with self._registry.lease(slug) as agent:
                    await self._embed(agent)
            except ENDINGS:
                raise
            except BaseException as error:  # of this agent, or of its vendor: the next round tries again
                known = error if isinstance(error, AgentsdError) else Bug(error)
                _log.warning(
                    "passages were not embedded: %s",
                    known.message,
                    extra={"agent": slug, "error": type(error).__name__},
                )

    async def _embed(self, agent: LiveAgent) -> None:
        if agent.embedding is None or not await self._knowledge.has_vectors():
            return
        digests = [digest for _, digest in agent.sources]
        total = done = await self._batch(agent, digests)
        while done:
            done = await self._batch(agent, digests)
            total += done
        if total:
            _log.info("passages embedded", extra={"agent": agent.slug, "passages": total})

    async def _batch(self, agent: LiveAgent, digests: Sequence[bytes]) -> int:
        assert agent.embedding is not None  # noqa: S101  (the caller looked)
        async with self._database.transaction() as conn:
            return await knowledge.embed_missing(conn, digests, agent.embedding.space, agent.embedding.embed)
