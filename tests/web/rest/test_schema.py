"""GET /api/schema."""

from __future__ import annotations

import json
from pathlib import Path

from tests.web.conftest import Stack

SCHEMAS = Path(__file__).parents[3] / "schemas"


async def test_it_is_the_schema_that_editors_have(stack: Stack) -> None:
    """The same as the file in git, and 304 for who has it."""
    async with stack.client.get(f"{stack.url}/api/schema") as reply:
        assert reply.status == 200
        assert await reply.json() == json.loads((SCHEMAS / "agent.schema.json").read_text())
        etag = reply.headers["ETag"]
    async with stack.client.get(f"{stack.url}/api/schema", headers={"If-None-Match": etag}) as reply:
        assert (reply.status, await reply.read()) == (304, b"")
