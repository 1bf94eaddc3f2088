"""docs/howto/tokens.md, walked: a token lets its owner's clients in until it is revoked."""

from __future__ import annotations

import asyncio
import os
import sys

from openai import AsyncOpenAI

from tests.web.conftest import Stack, echo


async def agentsd(stack: Stack, *arguments: str) -> str:
    """Standard output of a command in the repository of manifests, as ``$(agentsd …)`` gives it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTSD_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentsd", *arguments, "--path", str(stack.root)),
        env=environment | {"AGENTSD_DATABASE_URL": stack.database.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().rstrip("\n")


async def live(stack: Stack, round_: int) -> None:
    """Sync, and wait; an agent changes as well, because that is what the wait is told of."""
    stack.write("acme/sales.yaml", echo(f"Sales {round_}"))
    await stack.sync()


async def test_from_the_first_token_to_the_last(stack: Stack) -> None:
    """Open, then closed to all but its holder, who sees own agents only and is on record; then open again."""
    stack.write("beta/desk.yaml", echo("Desk"))
    await live(stack, 0)
    assert (await stack.get("/api/agents"))[1]["total"] == 2
    token = await agentsd(stack, "token", "create", "ci", "--owner", "acme", "--expires", "90d")
    await live(stack, 1)
    assert (await stack.get("/api/agents"))[0] == 401
    bearer = {"Authorization": f"Bearer {token}"}
    _, page = await stack.get("/api/agents", headers=bearer)
    assert [one["slug"] for one in page["items"]] == ["acme/sales"]
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=token, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["acme/sales"]
        answer = await client.chat.completions.create(
            model="acme/sales", messages=[{"role": "user", "content": "hello"}]
        )
        assert "hello" in (answer.choices[0].message.content or "")
    _, page = await stack.get("/api/audit", headers=bearer)
    assert [(one["action"], one["target"]) for one in page["items"]] == [("token-create", "token:acme/ci")]
    await agentsd(stack, "token", "create", "other", "--owner", "beta")
    await agentsd(stack, "token", "revoke", "ci", "--owner", "acme")
    await live(stack, 2)
    assert (await stack.get("/api/agents", headers=bearer))[0] == 401
    await agentsd(stack, "token", "revoke", "other", "--owner", "beta")
    await live(stack, 3)
    assert (await stack.get("/api/agents"))[0] == 200
