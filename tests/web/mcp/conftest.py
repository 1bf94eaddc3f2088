"""A server of agents, and the SDK's own client for its ``/mcp``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from agentsd.control.sync.planner import Planner
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.validation.checker import Checker
from agentsd.providers.catalog import Catalog
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from tests.web.conftest import CANARY, Keys, Make, Stack
from tests.web.people import settle

MODES = ("auto", "legacy")
"""The revision without a handshake, and the ones with it."""


@asynccontextmanager
async def connect(stack: Stack, headers: Mapping[str, str], mode: str = "auto") -> AsyncIterator[Client]:
    """The SDK's client, with a token."""
    async with (
        httpx2.AsyncClient(headers=dict(headers), trust_env=False, timeout=30) as http,
        Client(streamable_http_client(f"{stack.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool returns; every result is searched for the canary."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert CANARY not in text_of(result)
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The problem that a tool returns."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, text_of(result)
    problem: dict[str, Any] = result.structured_content["problem"]
    assert problem["detail"] in text_of(result)
    return problem


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    return "".join(getattr(block, "text", "") for block in result.content)


@pytest.fixture
def planner(database: Database, tmp_path: Path, keys: Keys, catalog: Catalog) -> Planner:
    """Of the tree that ``town`` has."""
    opener = Opener(find_identities({"SOPS_AGE_KEY": keys.identity}, tmp_path), None)
    return Planner(
        tmp_path / "agents.d", lambda: Reconciler(Checker(catalog, opener), database), SyncOptions()
    )


@pytest.fixture
async def town(make: Make, planner: Planner) -> Stack:
    """A replica that writes files, with every owner and every user."""
    stack = await make(write_back="files", planner=planner)
    await settle(stack)
    return stack
