"""Operator's limits for models that run on this machine. Pure values; zero means "derived"."""

from __future__ import annotations

from dataclasses import dataclass

CONTEXT_TOKENS_MAX = 32_768
ENGINES_MAX = 16
ENGINES_PER_OWNER_MAX = 8
EMBEDDED_PROVIDER = "llama-cpp.embedded"
DEFAULT_CONTEXT_TOKENS = 2048
DEFAULT_PARALLEL = 2
CONTEXT_FIELDS = (("context_tokens", DEFAULT_CONTEXT_TOKENS), ("parallel", DEFAULT_PARALLEL))
"""Fields that determine the memory of ``EMBEDDED_PROVIDER``, with their defaults."""
CONTEXT_HINT = "lower llm.context_tokens or llm.parallel, or raise AGENTSD_ENGINE_CONTEXT"


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of engines. The server's settings name each of them (``docs/configuration.md``)."""

    folders: tuple[str, ...] = ()  # absolute, links resolved: where a manifest's model_path may lead
    context_tokens: int = CONTEXT_TOKENS_MAX  # of all slots of one LLM: context_tokens × parallel
    threads: int = 0  # CPU threads of one engine; 0: as many as there are cores
    memory: int = 0  # bytes of one engine; 0: half of what the machine or container has
    total_memory: int = 0  # bytes of all engines; 0: three quarters of it
    engines: int = ENGINES_MAX  # processes at a time
    per_owner: int = ENGINES_PER_OWNER_MAX  # of them, started for one owner
    shared: bool = True  # whether owners that name the same model share its process

    def check_context(self, context_tokens: int, parallel: int) -> str:
        """Return what is wrong with an LLM's conversation memory; empty if it fits."""
        if context_tokens * parallel <= self.context_tokens:
            return ""
        return (
            f"context_tokens × parallel is {context_tokens * parallel}, "
            f"more than the {self.context_tokens} tokens that this server allows"
        )
