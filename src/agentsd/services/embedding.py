"""Embedding of texts by an agent. Over the protocol ``Embedding`` only."""

from __future__ import annotations

from collections.abc import Sequence

from agentsd.core.errors import AgentUnavailable
from agentsd.providers.base import LiveAgent
from agentsd.providers.options import EmbeddingOptions, make_refusal, tune_client

_NO_OPTIONS = EmbeddingOptions()


async def embed_texts(
    agent: LiveAgent, texts: Sequence[str], options: EmbeddingOptions = _NO_OPTIONS
) -> list[list[float]]:
    """Return one vector for each text, in order.

    Raises ``AgentUnavailable``, ``OptionRefused`` and ``ProviderError``.
    """
    if agent.embedding is None:
        raise AgentUnavailable(
            f"agent {agent.slug!r} has no embedding",
            reason="NoEmbedding",
            hint="add an embedding section to its manifest",
        )
    vendor = agent.provider_names.get("embedding", "this embedder")
    vectors = await tune_client(agent.embedding, vendor, options).embed(texts)
    if options.dimensions is not None and any(len(vector) != options.dimensions for vector in vectors):
        raise make_refusal(vendor, "dimensions", f": its vectors have {len(vectors[0])}")
    return vectors
