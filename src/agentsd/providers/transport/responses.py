"""Bound for aiohttp's response where it has none. Imported by the modules that open a session."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from agentsd.providers.limits import INFORMATIONAL_MAX, RECEIVE_BYTES


class BoundedResponse(aiohttp.ClientResponse):
    """Response after at most a few informational heads (1xx); aiohttp reads them without end."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head. Raises ``ClientResponseError``."""
        protocol, heads = connection.protocol, 0
        if hasattr(connection.transport, "max_size"):  # asyncio's own; TLS transports lack it
            connection.transport.max_size = RECEIVE_BYTES
        read = protocol.read

        async def counted() -> Any:
            nonlocal heads
            heads += 1
            if heads > INFORMATIONAL_MAX + 1:
                protocol.close()
                raise HttpProcessingError(code=0, message="too many informational heads")
            return await read()

        protocol.read = counted
        try:
            return await super().start(connection)
        finally:
            del protocol.read
