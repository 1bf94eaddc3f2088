"""Leases of a runtime without agents."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from agentsd.core.errors import AgentNotFound
from agentsd.providers.base import Leases, LiveAgent


class NoLeases(Leases):
    """There is nothing to lease."""

    def lease(self, ref: str) -> AbstractAsyncContextManager[LiveAgent]:
        """Refuse."""
        raise AgentNotFound(f"there is no agent {ref}")
