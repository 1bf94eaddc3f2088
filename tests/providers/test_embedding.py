"""The embedding client against a server that speaks its protocol."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.providers import base
from tests.providers.conftest import HASTY, Make
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer, vector_of

SECTION = {"provider": "openai-compatible", "model": "e", "api_key": "sk-canary"}


async def test_each_text_gets_its_vector(make: Make) -> None:
    """In the order of the texts, whatever the order of the answer."""
    async with OpenAIServer() as server:
        client = make("embedding", api_url=server.url, dimensions=4, **SECTION)
        vectors = await client.embed(["one", "two", "three"])
    assert vectors == [vector_of(text, 4) for text in ("one", "two", "three")]
    assert server.last.path == "/v1/embeddings"
    assert server.last.headers["authorization"] == "Bearer sk-canary"
    assert server.last.body == {
        "model": "e",
        "encoding_format": "float",
        "dimensions": 4,
        "input": ["one", "two", "three"],
    }


async def test_no_texts_ask_nothing(make: Make) -> None:
    """The server is not called."""
    async with OpenAIServer() as server:
        assert await make("embedding", api_url=server.url, **SECTION).embed([]) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STALL, base.ProviderTimeout),
        (Fault.STALL_LATER, base.ProviderTimeout),
        (Fault.EARLY_CLOSE, base.ProviderUnavailable),
        (Fault.MALFORMED_FRAME, base.ProviderProtocolError),
        (Fault.NUMBER_FRAME, base.ProviderProtocolError),
        (Fault.ERROR_FRAME, base.ProviderRateLimited),
        (Fault.UNAUTHORIZED, base.ProviderAuthError),
    ],
)
async def test_every_fault_is_one_typed_error(make: Make, fault: Fault, kind: Any) -> None:
    """As with every other vendor."""
    limits = HASTY if "stall" in fault else {}
    async with OpenAIServer(fault=fault) as server:
        with pytest.raises(kind):
            await make("embedding", api_url=server.url, **SECTION, **limits).embed(["secret words"])


@pytest.mark.parametrize(
    "rows", [None, [], [{"index": 0}], [{"index": 1, "embedding": [1.0]}], [{"index": 0, "embedding": ["x"]}]]
)
async def test_an_answer_without_its_vectors_is_refused(make: Make, rows: Any) -> None:
    """Too few, without numbers, or numbered wrongly."""
    client = make("embedding", api_url="http://127.0.0.1:9", **SECTION)
    with pytest.raises(base.ProviderProtocolError):
        client.client._vectors(rows, 1)
