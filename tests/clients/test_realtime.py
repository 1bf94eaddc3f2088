"""Realtime clients, unmodified, where variables name their environments: ``tests.clients.realtime``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.clients.realtime import CLIENTS, RealtimeTarget, Row
from tests.web.conftest import Stack, catalog, keys, make, stack  # noqa: F401  (fixtures)
from tests.web.voices import Vendors, vendors

PYTHON, PIPECAT, NODE = (
    os.environ.get(f"REALTIME_CLIENTS_{name}", "") for name in ("PYTHON", "PIPECAT", "NODE")
)

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not (PYTHON and PIPECAT and NODE), reason="no environment of clients is named"),
]


@pytest.fixture
async def voices() -> AsyncIterator[Vendors]:
    """One vendor of each kind."""
    async with vendors() as made:
        yield made


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
async def test_realtime_client(
    stack: Stack,  # noqa: F811
    voices: Vendors,
    tmp_path: Path,
    client: Callable[[RealtimeTarget], Awaitable[Row]],
) -> None:
    """Everything that the client does by itself works, and what it sets arrives at the model."""
    stack.write("bot.yaml", voices.manifest("alpha"))
    await stack.sync()
    target = RealtimeTarget(f"{stack.url}/v1", tmp_path, python=PYTHON, pipecat=PIPECAT, node=NODE)
    row = await client(target)
    print("\n" + " | ".join(row))
    assert row[3] == "green"
    assert any("Be brief." in str(request.body["messages"][0]) for request in voices.llm.requests)
