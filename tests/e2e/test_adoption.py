"""First steps as real processes: ``init`` then ``up``; ``up`` where only the old system's ``.env`` is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.development import LLM_KEY, SECRETS, Servers, sample, servers
from tests.e2e.client import Client
from tests.e2e.home import Home
from tests.e2e.processes import Process

ANSWER = "This is a test."


@pytest.fixture
async def vendors() -> AsyncIterator[Servers]:
    """The vendors of the sample."""
    async with servers() as made:
        yield made


@pytest.fixture
def newcomer(home: Home) -> Home:
    """Nobody's home yet: no key in the environment, and no folder of manifests."""
    del home.env["SOPS_AGE_KEY"]
    home.agents.rmdir()
    return home


def files(root: Path) -> set[str]:
    """Every file below ``root``."""
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}


def check_said(process: Process) -> None:
    """Nothing that it said holds a secret."""
    assert not [secret for secret in SECRETS if secret in process.out + process.err]


async def test_init_then_up(newcomer: Home, client: Client) -> None:
    """The samples are served, the sealed one is opened by the fresh key, and an edit is live."""
    made = await newcomer.run("init", "x")
    assert made.code == 0, made.said
    newcomer.repo = newcomer.repo / "x"
    newcomer.agents = newcomer.repo / "agents.d"
    before = files(newcomer.repo)
    up, url = await newcomer.up()
    await up.says('"model":"assistant"')
    models = await client.get(f"{url}/v1/models")
    assert [one["id"] for one in models["data"]] == ["assistant", "support"]
    assert await client.say(url, "assistant") == "You said: hello"
    await up.says("every agent was opened once")
    view = await client.get(f"{url}/api/agents/support")
    assert (view["condition"]["type"], view["condition"]["reason"]) == ("Ready", "Opened"), view["condition"]
    newcomer.edit("assistant.yaml", "You said:", "Heard:")
    await up.says("version 2")
    await client.serves(url, 2)
    assert await client.say(url, "") == "Heard: hello"
    assert (await up.stop()).code == 0
    assert files(newcomer.repo) == before


async def test_up_imports_the_old_env_once(newcomer: Home, client: Client, vendors: Servers) -> None:
    """Where there are no manifests: sealed, served and told. Deleted, it does not come back."""
    (newcomer.repo / ".env").write_text(sample(**vendors.addresses))
    up, url = await newcomer.up()
    await up.says("no manifests yet: .env of the previous system was imported")
    await up.says('"model":"development"')
    assert await client.say(url, "development") == ANSWER
    assert vendors.llm.last.headers["authorization"] == f"Bearer {LLM_KEY}"
    assert (await up.stop()).code == 0
    check_said(up)
    assert files(newcomer.repo) == {".env", ".sops.yaml", "agents.d/development.yaml"}
    sealed = (newcomer.agents / "development.yaml").read_text()
    assert not [secret for secret in SECRETS if secret in sealed]
    assert (newcomer.repo / ".env").read_text() == sample(**vendors.addresses)

    (newcomer.agents / "development.yaml").rename(newcomer.repo / "aside")
    again, url = await newcomer.up()
    assert "imported" not in again.err
    assert await client.say(url, "development") == ANSWER, "an empty folder removes nothing"
    assert (await again.stop()).code == 0
    assert list(newcomer.agents.iterdir()) == []


async def test_old_variables_make_an_agent_in_memory(
    newcomer: Home, client: Client, vendors: Servers
) -> None:
    """It answers where no other does, with a warning that names the way out; nothing is written."""
    newcomer.agents.mkdir()
    old = {"LLM_PROVIDER": "groq.com", "GROQ_LLM_API_KEY": LLM_KEY, "GROQ_LLM_API_URL": vendors.llm.url}
    up, url = await newcomer.up(**old)
    await up.says("deprecated: .*environment variables")
    await up.says("agentsd import-env")
    assert await client.say(url, "") == ANSWER
    assert await client.say(url, "development") == ANSWER
    assert vendors.llm.last.headers["authorization"] == f"Bearer {LLM_KEY}"
    assert (await up.stop()).code == 0
    check_said(up)
    assert files(newcomer.repo) == set()
