"""Show 8: each container's command as a plain process, on a real Postgres, with least privileges."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import psycopg
import pytest

from agentsd.core.names import derive_agent_id
from agentsd.store.embedded.server import EmbeddedPostgres
from tests.deploy.containers import Container, clustered, composed, rendered
from tests.deploy.machine import Machine
from tests.e2e.balancer import Balancer
from tests.e2e.checkout import ME
from tests.e2e.client import Client
from tests.e2e.conftest import home, postgres  # noqa: F401  (fixtures)
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process

QUICK = {"AGENTSD_SHUTDOWN_GRACE": "0.3"}
SEALED = """\
llm:
  provider: groq.com
  model: llama-3.1-8b-instant
  api_key: sk-canary
"""


class Known(Client):
    """Has the token of the secrets."""

    def __init__(self, secrets: Path) -> None:
        self._token = (secrets / "api_tokens").read_text()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._session.headers["Authorization"] = f"Bearer {self._token}"
        return self


def write(home: Home, reply: str) -> None:  # noqa: F811
    """Two agents: one answers, the other is sealed."""
    home.write("assistant.yaml", echo(reply, id=derive_agent_id("assistant")))
    if not (home.agents / "sealed.yaml").exists():
        home.write("sealed.yaml", home.keys.seal(f"id: {derive_agent_id('sealed')}\n{SEALED}"))


async def walk(machine: Machine, containers: Iterable[Container], daemons: int, runtimes: int) -> None:
    """Migrate, some daemons, some runtimes behind a proxy; a request; each runtime stopped in turn."""
    roles = {one.args[0]: one for one in containers}
    migrated = await (await machine.start(roles["migrate"])).ended()
    assert migrated.code == 0, migrated.said
    watching = [await machine.start(roles["watch"]) for _ in range(daemons)]
    serving = [await machine.start(roles["serve"]) for _ in range(runtimes)]
    async with Balancer() as balancer, Known(machine.secrets) as client:
        urls = await asyncio.gather(*(one.url() for one in serving))
        await asyncio.gather(*(client.serves(url, 1) for url in urls))
        for url in urls:
            await balancer.add(url)
        assert await client.say(balancer.url, "assistant") == "hi"
        for url in urls:  # each opened the seal, so each read the key
            assert (await client.get(f"{url}/api/agents/sealed"))["condition"]["type"] == "Ready"
            assert (await client.raw("GET", f"{url}/v1/models", headers={"Authorization": ""}))[0] == 401
        await change(machine, client, urls)
        for one, url in zip(serving, urls, strict=True):
            assert await client.say(balancer.url, "assistant") == "changed"
            await ends_well(one)
            del balancer.backends[url]
    await asyncio.gather(*(ends_well(one) for one in watching))
    assert sorted(
        path.name for path in machine.home.root.glob("container-*/cache/*")
    )  # for a start without it


async def change(machine: Machine, client: Client, urls: Iterable[str]) -> None:
    """Live in every runtime, without a restart."""
    publish(machine, "changed")
    await asyncio.gather(*(client.serves(url, 2) for url in urls))


def publish(machine: Machine, reply: str) -> None:
    """New manifests, in the way that this machine has them."""
    write(machine.home, reply)
    if (machine.home.repo / ".git").exists():
        git(machine.home.repo, "add", ".")
        git(machine.home.repo, "commit", "-qm", reply)
    elif "/agents.d" in machine.mounts and machine.mounts["/agents.d"] != machine.home.agents:
        mount(machine.home.agents, machine.mounts["/agents.d"], reply)


def git(folder: Path, *arguments: str) -> None:
    """A git of nobody's settings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **ME}
    subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True)


def mount(files: Path, volume: Path, name: str) -> None:
    """As a kubelet lays a ConfigMap out: links to ``..data``, which is exchanged as a whole."""
    made = volume / f"..{name}"
    made.mkdir(parents=True)
    for file in files.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
        if not (volume / file.name).is_symlink():
            (volume / file.name).symlink_to(f"..data/{file.name}")
    (volume / "..data_tmp").symlink_to(made.name)
    (volume / "..data_tmp").rename(volume / "..data")


async def ends_well(process: Process) -> None:
    """On SIGTERM, by itself, with no complaint."""
    done = await process.stop()
    assert (done.code, "Traceback" in done.said) == (0, False), done.said


@pytest.fixture
async def machine(home: Home, postgres: EmbeddedPostgres) -> Machine:  # noqa: F811
    """A machine with a fresh Postgres."""
    made = await Machine.make(home, postgres)
    made.env = QUICK
    return made


async def test_compose(machine: Machine) -> None:
    """Manifests in a folder, three runtimes."""
    machine.mounts["/agents.d"] = machine.home.agents
    publish(machine, "hi")
    await walk(machine, composed(), 2, 3)
    with psycopg.connect(machine.url("serve")) as runtime, pytest.raises(psycopg.Error, match="denied"):
        runtime.execute("DELETE FROM agents")


async def test_kubernetes_with_a_repository(machine: Machine) -> None:
    """Manifests are pulled."""
    git(machine.home.repo, "init", "-qb", "main")
    publish(machine, "hi")
    machine.env = {**QUICK, "AGENTSD_GIT_URL": str(machine.home.repo), "AGENTSD_GIT_INTERVAL": "0.3s"}
    await walk(machine, clustered(rendered("kubernetes/overlays/prod")), 1, 1)


@pytest.mark.soak
async def test_kubernetes_with_a_config_map(machine: Machine) -> None:
    """Manifests in a volume that changes as a whole."""
    machine.mounts["/agents.d"] = machine.home.root / "volume"
    publish(machine, "hi")
    await walk(machine, clustered(rendered("kubernetes/overlays/dev")), 2, 1)
