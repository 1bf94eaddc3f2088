"""Listing of a vendor's models: a request that needs the key, and costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsd.providers.errors import VendorRef
from agentsd.providers.network import NetworkSettings
from agentsd.providers.transport.endpoint import Endpoint
from agentsd.providers.transport.sessions import HttpSessions

MODELS_MAX = 100_000
"""Models of a list that are read."""


async def list_models(endpoint: Endpoint, url: str) -> frozenset[str]:
    """Return the names of the models; none of a list in another form. Raises ``ProviderError``."""
    async with endpoint.get(url) as reply:
        return read_models(await reply.json())


async def list_once(
    sessions: HttpSessions, url: str, settings: NetworkSettings, headers: Mapping[str, str]
) -> frozenset[str]:
    """List the models of a vendor whose client speaks another protocol. Raises ``ProviderError``."""
    who = VendorRef(settings.provider, settings.kind)
    endpoint = Endpoint(sessions, url, who, headers, settings.timeouts, proxy=settings.proxy)
    try:
        return await list_models(endpoint, url)
    finally:
        await endpoint.aclose()


def read_models(answer: Mapping[str, Any]) -> frozenset[str]:
    """Return the names in a list of models in OpenAI's form."""
    rows = answer.get("data")
    listed = rows[:MODELS_MAX] if isinstance(rows, list) else []
    names = (one.get("id") for one in listed if isinstance(one, Mapping))
    return frozenset(name for name in names if isinstance(name, str))
