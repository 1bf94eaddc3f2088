"""Embedding of texts by an agent. Over the protocol ``Embedding`` only."""

from __future__ import annotations

from collections.abc import Sequence

from agentsd.core.errors import AgentUnavailable
from agentsd.providers.base import LiveAgent


async def embed_texts(agent: LiveAgent, texts: Sequence[str]) -> list[list[float]]:
    """Return one vector for each text, in order. Raises ``AgentUnavailable`` and ``ProviderError``."""
    if agent.embedding is None:
        raise AgentUnavailable(
            f"agent {agent.slug!r} has no embedding",
            reason="NoEmbedding",
            hint="add an embedding section to its manifest",
        )
    return await agent.embedding.embed(texts)
