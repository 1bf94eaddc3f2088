"""Show 1: ``agentsd up`` in a fresh clone, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import ssl
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.e2e.client import Broken, Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import exists, gone, postmaster_of, until

SAMPLES = {"acme/sales", "assistant", "inhouse", "offline", "research", "shop", "support", "writer"}


@pytest.fixture
def clone(home: Home) -> Home:
    """A home with a fresh clone."""
    home.clone()
    return home


def names(models: dict[str, list[dict[str, str]]]) -> set[str]:
    """The slugs of /v1/models."""
    return {model["id"] for model in models["data"]}


async def changed(client: Client, url: str, model: str, answer: str) -> None:
    """Wait until ``model`` answers so."""

    async def look() -> bool:
        return await client.say(url, model) == answer

    await until(look)


async def test_from_clone_to_chat_and_back(clone: Home, client: Client) -> None:
    """It lists the samples and streams offline; a save changes the next answer; Ctrl-C stops everything.

    Started again it finds its data; other commands attach to it while it runs.
    """
    clone.fork = False  # the start itself, as a user types it
    up, url = await clone.up()
    assert names(await client.get(f"{url}/v1/models")) == SAMPLES
    streamed = await client.stream(url, "assistant")
    assert (streamed.text, streamed.version) == ("You said: hello", "1")
    assert len(streamed.words) > 2
    postmaster = postmaster_of(clone.data)
    assert postmaster

    clone.edit("assistant.yaml", "You said: {message}", "Changed: {message}")
    await changed(client, url, "assistant", "Changed: hello")
    clone.edit("assistant.yaml", "reply:", "replay:")
    await up.says("did you mean")
    assert await client.say(url, "assistant") == "Changed: hello"
    clone.edit("assistant.yaml", "replay:", "reply:")

    plan = await clone.run("plan", "--detailed-exitcode")
    assert (plan.code, f"{len(SAMPLES)} unchanged" in plan.out) == (0, True), plan.said
    sync = await clone.run("sync")
    assert sync.code == 0, sync.said
    status = await clone.run("status")
    assert (status.code, f"{len(SAMPLES)} agents" in status.out) == (0, True), status.said

    done = await up.stop(signal.SIGINT)
    assert (done.code, done.out) == (0, ""), done.said
    assert "Traceback" not in done.err
    assert not exists(postmaster)
    assert postmaster_of(clone.data) is None

    again, url = await clone.up()
    assert "to create" not in again.err
    assert await client.say(url, "assistant") == "Changed: hello"
    assert (await client.get(f"{url}/readyz"))["version"] == 2
    assert (await again.stop()).code == 0
    assert postmaster_of(clone.data) is None


async def test_a_killed_up_leaves_an_orphan_that_the_next_one_adopts(clone: Home, client: Client) -> None:
    """kill -9 leaves Postgres behind; the next ``up`` uses that very server and stops it at its end.

    A second ``up`` on the same data folder says which process has it, and disturbs nothing.
    """
    first, _ = await clone.up()
    orphan = postmaster_of(clone.data)
    assert orphan
    await first.kill()
    assert exists(orphan)

    second, url = await clone.up()
    assert postmaster_of(clone.data) == orphan
    third = await clone.run("up", "--port", "0")
    assert third.code == 2, third.said
    assert f"already run by process {second.pid}" in third.err
    assert "Traceback" not in third.err
    assert await client.say(url, "assistant") == "You said: hello"
    assert (await second.stop(signal.SIGINT)).code == 0
    await gone(orphan)


async def test_the_folder_may_go_and_come_back(clone: Home, client: Client) -> None:
    """Without its folder, or with an empty one, ``up`` says so and serves on; replaced, it is followed."""
    up, url = await clone.up()
    aside = clone.agents.with_name("aside")
    clone.agents.rename(aside)
    await up.says("error: .*agents.d")
    clone.agents.mkdir()
    await up.says(f"this would remove {len(SAMPLES)} agents")
    assert names(await client.get(f"{url}/v1/models")) == SAMPLES
    clone.agents.rmdir()
    aside.rename(clone.agents)
    clone.edit("assistant.yaml", "You said: {message}", "Again: {message}")
    await changed(client, url, "assistant", "Again: hello")
    assert names(await client.get(f"{url}/v1/models")) == SAMPLES
    assert (await up.stop()).code == 0


async def test_a_killed_postgres_comes_back(clone: Home, client: Client) -> None:
    """``up`` starts its Postgres again when that dies, and a change after that is served."""
    up, url = await clone.up()
    postmaster = postmaster_of(clone.data)
    assert postmaster
    os.kill(postmaster, signal.SIGKILL)
    await gone(postmaster)
    assert await client.say(url, "assistant") == "You said: hello"
    assert (await client.ready(url))[0] == 200
    clone.edit("assistant.yaml", "You said: {message}", "Back: {message}")
    await changed(client, url, "assistant", "Back: hello")
    assert postmaster_of(clone.data) not in (None, postmaster)
    assert (await up.stop()).code == 0


async def test_ctrl_c_at_any_moment(clone: Home) -> None:
    """Interrupted while it starts, it ends with 0 or 130, without a traceback and without a server left."""
    for moment in ("agentsd ", "Postgres"):
        up = await clone.start("up", "--port", "0")
        await up.says(moment)
        done = await up.stop(signal.SIGINT)
        assert done.code in (0, 130), done.said
        assert "Traceback" not in done.err
        assert postmaster_of(clone.data) is None


async def leased(client: Client, url: str) -> None:
    """Wait until a stream is open."""

    async def look() -> bool:
        return await client.metric(url, "agentsd_leases_in_use") > 0

    await until(look)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
async def test_a_second_signal_does_not_wait(clone: Home, client: Client, number: signal.Signals) -> None:
    """The first one lets streams finish; the second ends everything at once, Postgres too."""
    clone.write("slow.yaml", echo(" ".join(["word"] * 200), id=uuid4()) + "  delay_seconds: 0.2\n")
    up, url = await clone.up()
    streaming = asyncio.create_task(client.stream(url, "slow"))
    await leased(client, url)
    up.send(number)
    await up.says("stopping")
    up.send(number)
    with pytest.raises(Broken):
        await streaming
    done = await up.ended()
    assert (done.code, "Traceback" in done.err) == (130, False), done.said
    assert postmaster_of(clone.data) is None


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_first_starts_killed_at_any_moment(clone: Home, client: Client) -> None:
    """Whatever a first ``up`` that was killed had begun, the next one comes up and leaves nothing behind."""
    chance = random.Random(1)
    for _ in range(20):
        first = await clone.start("up", "--port", "0")
        await asyncio.sleep(chance.uniform(0.3, 2.2))
        await first.kill()
        second, url = await clone.up()
        assert await client.say(url, "assistant") == "You said: hello"
        assert (await second.stop()).code == 0
        assert postmaster_of(clone.data) is None
        shutil.rmtree(clone.data)


async def test_up_encrypts_by_a_certificate_of_its_own(home: Home, client: Client, database_url: str) -> None:
    """It says how to trust it, keeps it for the next start, and serves a user's own certificate as well."""
    home.env |= {"AGENTSD_DATABASE_URL": database_url, "AGENTSD_SHUTDOWN_GRACE": "0"}
    home.write("assistant.yaml", echo("hello"))
    up, url = await home.up("--tls-self-signed")
    file = Path((await up.says(r"--cacert (\S+)"))[1])
    first = file.read_bytes()
    context = ssl.create_default_context(cafile=file)
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/models", ssl=context) as reply:
        assert names(await reply.json()) == {"assistant"}
    await up.stop()
    key = file.with_name("self-signed.key")
    serve, url = await home.serve(database_url, "--workers", "1", "--tls", str(file), str(key))
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/models", ssl=context) as reply:
        assert names(await reply.json()) == {"assistant"}
    await serve.stop()
    both = await home.run("serve", "--tls-self-signed", "--tls", str(file), str(key))
    assert (both.code, "exclude each other" in both.err) == (2, True)
    assert file.read_bytes() == first
