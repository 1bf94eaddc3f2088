"""Knowledge at run time: search for a question, and embedding of passages without a vector."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from hashlib import scrypt

from agentsd.core.errors import AgentsdError, Bug
from agentsd.core.manifest.chunks import Passage
from agentsd.providers.base import LiveAgent
from agentsd.runtime.agents.registry import Registry
from agentsd.store.database import Database
from agentsd.store.queries import knowledge
from agentsd.supervisor import ENDING_ERRORS

RETRY_SECONDS = 30.0
"""Interval of retries for passages that could not be embedded."""

RETRY_MAX_SECONDS = 600.0
"""Longest pause of an agent whose vendor keeps failing; each pause is twice the previous one."""

BATCH_SECONDS = 30.0
"""Timeout of one batch of passages."""

INDEXED_PARALLEL_MAX = 4
"""Owners processed at a time, by one request each; a request holds a connection to Postgres."""

SPACES_MAX = 4096
"""Maximum cached names of vector spaces."""

_log = logging.getLogger(__name__)


def _hash_space(owner: str, space: str, address: str) -> str:
    """Return a digest that is slow to guess from: a URL or a model may be sealed; this goes to Postgres."""
    text = "\0".join((space, address)).encode()
    return scrypt(text, salt=owner.encode(), n=1 << 14, r=8, p=1, dklen=16).hex()


class StoreKnowledge:
    """Search for passages in Postgres: by words, and by meaning with embeddings and pgvector."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._vectors: bool | None = None  # whether there is pgvector; None: not checked yet
        self._spaces: dict[tuple[str, str, str], str] = {}  # cache of computed digests

    async def search(self, agent: LiveAgent, query: str) -> Sequence[Passage]:
        """Search as ``providers.base.Knowledge`` defines. A failed embedding leaves the search by words."""
        if agent.spec.rag is None or not agent.sources:
            return ()
        vector = await self._vector(agent, query)
        space = await self.space_of(agent)
        sources = {digest: path for path, digest in agent.sources}
        async with self._database.transaction(snapshot=True) as conn:
            return await knowledge.search_passages(
                conn, query, sources, limit=agent.spec.rag.top_k, space=space, vector=vector
            )

    async def space_of(self, agent: LiveAgent) -> str | None:
        """Return the name of the agent's vector space, which no other owner has; None without embedding."""
        if agent.embedding is None:
            return None
        facts = (agent.owner, agent.embedding.space, str(getattr(agent.embedding, "address", "")))
        digest = self._spaces.get(facts)
        if digest is None:
            if len(self._spaces) >= SPACES_MAX:
                self._spaces.clear()
            digest = self._spaces[facts] = await asyncio.to_thread(_hash_space, *facts)
        return f"{agent.owner}/{agent.provider_names.get('embedding', '')}#{digest}"

    async def has_vectors(self) -> bool:
        """Return whether this database has pgvector."""
        if self._vectors is None:
            async with self._database.transaction(snapshot=True) as conn:
                self._vectors = await knowledge.has_vectors(conn)
        return self._vectors

    async def _vector(self, agent: LiveAgent, query: str) -> list[float] | None:
        if agent.embedding is None or not await self.has_vectors():
            return None
        try:
            (vector,) = await agent.embedding.embed([query])
        except Exception as error:  # the search by words works without the vendor
            _log.warning(
                "searching by words only", extra={"agent": agent.slug, "error": type(error).__name__}
            )
            return None
        return vector


class KnowledgeIndexer:
    """Background embedding for agents with an embedding provider. Replicas share the work.

    Each owner has a worker of its own, and each agent a pause of its own that grows while its vendor
    fails: a vendor that does not answer delays its own agent by ``BATCH_SECONDS`` at a time, and no
    other owner.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        found: StoreKnowledge,
        *,
        retry_s: float = RETRY_SECONDS,
        batch_s: float = BATCH_SECONDS,
    ) -> None:
        self._database = database
        self._registry = registry
        self._knowledge = found
        self._retry_s = retry_s
        self._batch_s = batch_s
        self._slots = asyncio.Semaphore(INDEXED_PARALLEL_MAX)
        self._due: dict[str, dict[str, None]] = {}  # owner → slugs, in order
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._pauses: dict[str, tuple[float, float]] = {}  # slug → (time of the next attempt, last pause)

    async def run(self) -> None:
        """Look at what changed, and at everything now and then. Ends only when cancelled."""
        try:
            with self._registry.subscribe() as events:
                changes = aiter(events)
                self._schedule()
                while True:
                    try:
                        async with asyncio.timeout(self._retry_s):
                            event = await anext(changes)
                    except TimeoutError:
                        self._schedule()
                    except StopAsyncIteration:
                        return
                    else:
                        self._schedule(None if event.kind == "resync" else event.slugs)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)

    def _schedule(self, slugs: Iterable[str] | None = None) -> None:
        """Schedule these agents, or every one whose pause is over."""
        entries = self._registry.snapshot.entries
        now = asyncio.get_running_loop().time()
        if slugs is None:
            self._pauses = {slug: pause for slug, pause in self._pauses.items() if slug in entries}
            among = [slug for slug in entries if self._pauses.get(slug, (0.0, 0.0))[0] <= now]
        else:
            among = [slug for slug in slugs if slug in entries]
        for slug in among:
            row = entries[slug].row
            if row.sources:
                self._due.setdefault(row.owner, {})[slug] = None
        for owner in self._due:
            if owner not in self._workers:
                self._workers[owner] = asyncio.create_task(self._work(owner), name=f"index {owner}")

    async def _work(self, owner: str) -> None:
        """Process what is due for one owner, until nothing is."""
        try:
            while due := self._due.get(owner):
                slug = next(iter(due))
                del due[slug]
                await self._index(slug)
        finally:
            self._due.pop(owner, None)
            del self._workers[owner]

    async def _index(self, slug: str) -> None:
        try:
            async with self._registry.lease(slug) as agent:
                await self._embed(agent)
        except ENDING_ERRORS:
            raise
        except BaseException as error:  # a failure of one agent must not stop the others
            now, last = asyncio.get_running_loop().time(), self._pauses.get(slug, (0.0, 0.0))[1]
            pause = min(max(2 * last, self._retry_s), RETRY_MAX_SECONDS)
            self._pauses[slug] = (now + pause, pause)
            known = error if isinstance(error, AgentsdError) else Bug(error)
            _log.warning(
                "passages were not embedded: %s",
                known.message,
                extra={"agent": slug, "error": type(error).__name__},
            )
        else:
            self._pauses.pop(slug, None)

    async def _embed(self, agent: LiveAgent) -> None:
        space = await self._knowledge.space_of(agent)
        if space is None or not await self._knowledge.has_vectors():
            return
        digests = [digest for _, digest in agent.sources]
        total = done = await self._batch(agent, space, digests)
        while done:
            done = await self._batch(agent, space, digests)
            total += done
        if total:
            _log.info("passages embedded", extra={"agent": agent.slug, "passages": total})

    async def _batch(self, agent: LiveAgent, space: str, digests: Sequence[bytes]) -> int:
        assert agent.embedding is not None  # noqa: S101  (checked by the caller)
        async with self._slots, asyncio.timeout(self._batch_s), self._database.transaction() as conn:
            return await knowledge.embed_missing_passages(conn, digests, space, agent.embedding.embed)
