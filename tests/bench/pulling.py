"""Push to live: from the end of a ``git push`` to the first new request that runs on it, by a webhook.

``agentsd up --git`` runs in a process of its own and pulls from a bare repository on disk, by git's own
protocol (``file://``), with no interval that could help it. This process pushes one changed prompt of a
random agent, calls /hooks/git as a forge does, and asks for that agent, a new request every two
milliseconds, until the answer shows the line. What the network and the forge take comes on top.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import random
import subprocess
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

from tests.bench.fleet import Fleet, fleet, slug
from tests.bench.processes import AGENTSD, Server, serving, settle, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import Connection, request
from tests.bench.wire import run as run_async

EVERY = 0.002  # s between two requests
LINE = "You are a patient support agent of shop"
SECRET = "the-secret-of-the-bench"


def run(scale: Scale) -> Sequence[Figure]:
    """Push to live, by a webhook: from a pushed commit to the first new request that runs on it."""
    samples = max(3, scale.samples // 4)
    with workspace() as folder:
        made = fleet(scale.agents).copy(folder / "clone")
        bare = _repository(made, folder)
        (folder / "secret").write_text(f"{SECRET}\n")
        environ = {
            **made.environ(),
            "AGENTSD_HOOK_SECRET_FILE": str(folder / "secret"),
            "AGENTSD_GIT_DIR": str(folder / "git"),
        }
        path = made.root.relative_to(folder / "clone")
        pulled = ("--git", f"file://{bare}", "--ref", "main", "--interval", "1h", "--path", str(path))
        data = ("--data-dir", str(folder / "postgres"), "--port", "0", "--log-level", "warning")
        with serving([*AGENTSD, "up", *pulled, *data], environ) as server:
            settle(server, made.count)
            times = run_async(_measure(made, folder / "clone", server, samples))
    with_all = f"push to live by webhook, {made.count:,} agents loaded"
    quoted = "quoted polls: Flux 60 s, Argo CD 180 s"
    return [
        Figure(f"{with_all}, p50", p50(times), "ms", 300, anchor=60_000, against=quoted),
        Figure(f"{with_all}, p99", p99(times), "ms"),
    ]


def _repository(made: Fleet, folder: Path) -> Path:
    """A bare repository with the fleet in it, as ``origin`` of a clone."""
    bare = folder / "origin.git"
    _git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    clone = folder / "clone"
    _git(clone, "init", "--quiet", "--initial-branch", "main")
    _git(clone, "remote", "add", "origin", str(bare))
    _git(clone, "add", "--force", str(made.root))
    _git(clone, "commit", "--quiet", "--message", "all")
    _git(clone, "push", "--quiet", "origin", "main")
    return bare


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0")
    subprocess.run(("git", "-C", str(folder), *identity, *arguments), check=True, env=_environ())


def _environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


async def _measure(made: Fleet, clone: Path, server: Server, samples: int) -> list[float]:
    times, rng = [], random.Random(7)
    connection = await Connection.open(server.url)
    for number in range(-2, samples):  # the first ones warm up
        took = await _push(made, clone, rng.randrange(made.count), number, connection, server.url)
        if number >= 0:
            times.append(took * 1e3)
    connection.close()
    return times


async def _push(made: Fleet, clone: Path, agent: int, number: int, connection: Connection, url: str) -> float:
    """Seconds from the end of one push until it was live."""
    path = made.path(agent)
    before = path.read_text()
    at = before.index(LINE)
    new = f"{LINE} {number} of {agent}. Ask."
    path.write_text(before[:at] + new + before[before.index("\n", at) :])
    _git(clone, "commit", "--quiet", "--message", "change", "--", str(path))
    _git(clone, "push", "--quiet", "origin", "main")
    asked = request("GET", f"{url}/api/agents/{slug(agent).replace('/', '~')}")
    began = time.perf_counter()
    await asyncio.to_thread(_call, url)
    while new.encode() not in await connection.send(asked):
        await asyncio.sleep(EVERY)
    return time.perf_counter() - began


def _call(url: str) -> None:
    """As GitHub calls."""
    body = b'{"ref": "refs/heads/main"}'
    signature = hmac.new(SECRET.encode(), body, sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}
    with urlopen(Request(f"{url}/hooks/git", body, headers), timeout=10):  # noqa: S310  (our own server)
        pass


if __name__ == "__main__":
    main(run)
