"""Pull mode as users run it: a bare repository, daemons and servers as real processes, pushes and hooks."""

from __future__ import annotations

import hmac
import signal
from hashlib import sha256

import pytest

from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import until
from tests.files.git.remote import Origin, new_origin, ssh_key

SECRET = "the-secret-of-this-hook"
BODY = b'{"ref": "refs/heads/main"}'


@pytest.fixture
def origin(home: Home) -> Origin:
    """A bare repository with one agent, and the hook's secret where ``home`` finds it."""
    made = new_origin(home.root / "git")
    made.commit({"acme/sales.yaml": None, "support.yaml": echo("one")})
    file = home.root / "secret"
    file.write_text(f"{SECRET}\n")
    home.env["AGENTSD_HOOK_SECRET_FILE"] = str(file)
    return made


async def call(client: Client, url: str, secret: str = SECRET) -> int:
    """A forge's call, as GitHub makes it."""
    signature = hmac.new(secret.encode(), BODY, sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}"}
    status, _ = await client.raw("POST", f"{url}/hooks/git", data=BODY, headers=headers)
    return status


async def says(client: Client, url: str, answer: str) -> None:
    """Wait until the agent answers so."""

    async def look() -> bool:
        return await client.say(url, "support") == answer

    await until(look)


async def told(client: Client, url: str, **fields: str | None) -> None:
    """Wait until /api/sync tells this of the only source."""

    async def look() -> bool:
        (pull,) = (await client.get(f"{url}/api/sync"))["pulls"]
        return {name: pull[name] for name in fields} == fields

    await until(look)


async def test_up_pulls(home: Home, origin: Origin, client: Client) -> None:
    """A push and a hook: live without a restart. A remote that goes away changes nothing but what is told."""
    up, url = await home.up("--git", f"file://{origin.bare}", "--ref", "main", "--interval", "1h")
    assert await client.say(url, "support") == "one"
    second = origin.commit({"support.yaml": echo("two")})
    assert await call(client, url, "wrong-secret-wrong") == 401
    assert await call(client, url) == 202
    await says(client, url, "two")
    await told(client, url, last_attempted=second, last_applied=second, reason=None)
    away = origin.bare.rename(origin.bare.with_name("away.git"))
    assert await call(client, url) == 202
    await told(client, url, last_attempted=second, last_applied=second, reason="FetchFailed")
    await up.says("there is no repository at")
    assert await client.say(url, "support") == "two"
    away.rename(origin.bare)
    third = origin.commit({"support.yaml": echo("three")})
    await says(client, url, "three")
    await told(client, url, last_attempted=third, last_applied=third, reason=None)
    status, reply = await client.raw("PATCH", f"{url}/api/agents/support", json={"description": "x"})
    assert status == 405, reply
    assert (await up.stop()).code == 0


async def test_a_server_passes_the_call_on(
    home: Home, origin: Origin, client: Client, database_url: str
) -> None:
    """``serve`` has no repository: the daemon, which has no port, hears of the push through Postgres.

    Its commits have to be signed: an unsigned one is refused, and said to be.
    """
    key, line = ssh_key(home.root, "ada")
    allowed = home.root / "allowed"
    allowed.write_text(f"ada@example.org {line}\n")
    signed = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}", "commit", "--quiet", "--gpg-sign")
    origin.git(*signed, "--amend", "--message", "signed")
    origin.push()
    options = (
        "--git",
        str(origin.bare),
        "--ref",
        "main",
        "--interval",
        "1h",
        "--verify-commits",
        str(allowed),
    )
    watch = await home.start("watch", *options, AGENTSD_DATABASE_URL=database_url)
    _, url = await home.serve(database_url)
    await client.serves(url, 1)
    bad = origin.commit({"support.yaml": echo("forged")})

    async def refused() -> bool:
        assert await call(client, url) == 202
        return (await client.get(f"{url}/api/sync"))["pulls"][0]["reason"] == "UntrustedCommit"

    await until(refused)
    await watch.says("not signed by a trusted signer")
    await told(client, url, last_attempted=bad)
    assert await client.say(url, "support") == "one"
    origin.place.write("support.yaml", echo("signed"))
    origin.git(*signed, "--all", "--message", "signed")
    good = origin.push()
    assert await call(client, url) == 202
    await says(client, url, "signed")
    await told(client, url, last_attempted=good, last_applied=good, reason=None)
    assert (await watch.stop()).code == 0


@pytest.mark.soak
async def test_another_daemon_takes_over(
    home: Home, origin: Origin, client: Client, database_url: str
) -> None:
    """Whoever leads is killed with -9 after each push: the other goes on with the newest commit, in order."""
    options = ("watch", "--git", f"file://{origin.bare}", "--ref", "main", "--interval", "1h")
    env = {"AGENTSD_DATABASE_URL": database_url}
    daemons = {}
    for name in ("a", "b"):
        git_dir = str(home.root / f"git-{name}")
        daemons[name] = await home.start(*options, **env, AGENTSD_GIT_DIR=git_dir)
        if name == "a":
            await daemons[name].says("version 1")
    _, url = await home.serve(database_url)
    for number in range(6):
        commit = origin.commit({"support.yaml": echo(f"push {number}")})
        leader, other = ("a", "b") if number % 2 == 0 else ("b", "a")
        if number % 3:
            assert await call(client, url) == 202
        daemons[leader].send(signal.SIGKILL)
        await daemons[leader].ended()

        async def look(answer: str = f"push {number}") -> bool:
            assert await call(client, url) == 202
            return await client.say(url, "support") == answer

        await until(look)
        await told(client, url, last_applied=commit, reason=None)
        git_dir = str(home.root / f"git-{leader}")
        daemons[leader] = await home.start(*options, **env, AGENTSD_GIT_DIR=git_dir)
        assert daemons[other].running
    runs = (await client.get(f"{url}/api/sync"))["runs"]
    applied = [run["commit"] for run in reversed(runs) if run["outcome"] == "applied"]
    assert len(applied) == len(set(applied)), "a commit was applied twice"
