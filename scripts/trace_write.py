#!/usr/bin/env python3
"""Follow one PATCH on foot: the files it enters, how often it parses and checks, and how long it takes.

Usage: scripts/trace_write.py [--mode files|git|dry-run] [--plain] [--if-match] [--files] [--rounds N]

Runs the parts of ``agentsd up`` in this process, without the watcher: the embedded Postgres, the API with
write-back, and the runtime, over a folder of 20 agents (sealed by the real sops, unless ``--plain``). Then
it changes ``description`` of one agent: some times while every call in every thread is traced, then
``--rounds`` times for the time.

Definitions:

- *file entered*: a module of ``src/agentsd``, ``__init__.py`` left out, of which a function runs between
  the sending of a request and its reply, at every one of the traced requests (so no heartbeat is counted);
- *only by the PATCH*: entered neither by a GET of the same agent nor by a round that syncs the same edit made
  by hand, with its load by the runtime;
- *parse*: a text that libyaml begins to read; printed for each distinct text, the most first;
- *check*: a call of ``Checker.check`` for one file;
- *time*: of the whole request, as a client in the same process measures it; on a busy machine only the CPU
  time can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
from pyrage import x25519

from agentsd.cli.compose.factories import load_settings, open_database
from agentsd.cli.compose.runtime import make_syncer, make_writeback, serve_runtime
from agentsd.control.sync.syncer import Syncer
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from agentsd.web.server.server import bind_sockets

SOURCE = f"{Path(__file__).resolve().parent.parent / 'src' / 'agentsd'}{os.sep}"
TRACED_REQUESTS = 5
AGENTS = 20
MANIFEST = """\
# {name} answers the phone.
id: 00000000-0000-4000-8000-{number:012}
name: {name}
description: The first description
system_prompt: |
  You are {name}.
  Be brief.
llm:
  provider: groq.com
  model: llama-3.1-8b-instant
  api_key: {key}
"""


class Tracer:
    """Profile function of all threads; it counts while ``active``."""

    def __init__(self) -> None:
        self.active = False
        self.ended = False
        self.files: set[str] = set()
        self.parses: Counter[bytes] = Counter()
        self.checks: Counter[bytes] = Counter()

    def install(self) -> None:
        """Begin with this thread, and those that start later."""
        threading.setprofile(self)
        sys.setprofile(self)

    def uninstall(self) -> None:
        """End in this thread; the others end at their next call."""
        self.active, self.ended = False, True
        threading.setprofile(None)
        sys.setprofile(None)

    def reset(self) -> None:
        """Forget what was counted."""
        self.files, self.parses, self.checks = set(), Counter(), Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Count one call."""
        if self.ended:
            sys.setprofile(None)
            return
        if not self.active or event != "call":
            return
        code = frame.f_code
        path = code.co_filename
        if path.startswith(SOURCE):
            if code.co_name != "<module>" and not path.endswith("__init__.py"):
                self.files.add(path.removeprefix(SOURCE))
            if code.co_name == "iter_events":
                self.parses[_digest(frame.f_locals["text"])] += 1
            elif code.co_name == "check" and path.endswith("validation/checker.py"):
                self.checks[frame.f_locals["file"].digest] += 1
        elif path.endswith(f"yaml{os.sep}cyaml.py") and code.co_name == "__init__":
            self.parses[_digest(frame.f_locals["stream"])] += 1


def _digest(text: Any) -> bytes:
    return sha256(text.encode() if isinstance(text, str) else bytes(text)).digest()


def _write_agents(root: Path, recipient: str, *, sealed: bool) -> None:
    root.mkdir()
    rules = f"    age: {recipient}\n"
    (root.parent / ".sops.yaml").write_text(
        f"creation_rules:\n  - encrypted_regex: ^(api_key|api_url)$\n    mac_only_encrypted: true\n{rules}"
    )
    for number in range(AGENTS):
        file = root / f"agent-{number}.yaml"
        key = f"gsk-{number}" if sealed else "\n"
        text = MANIFEST.format(name=f"Agent {number}", number=number, key=key)
        if not sealed:
            text = text.partition("llm:")[0] + "llm:\n  provider: echo.local\n"
        file.write_text(text)
        if sealed:
            sops = Path(sys.executable).with_name("sops")
            subprocess.run([sops, "--config", root.parent / ".sops.yaml", "encrypt", "-i", file], check=True)


@asynccontextmanager
async def _serve(folder: Path, mode: str) -> AsyncIterator[tuple[str, Syncer]]:
    settings = load_settings(path=folder / "agents.d", data_dir=folder / "postgres", write_back=mode)
    supervisor, metrics = Supervisor(Metrics()), Metrics()
    sockets = bind_sockets("127.0.0.1", 0)
    async with open_database(settings, migrate=True, exclusive=True, supervisor=supervisor) as database:
        syncer = make_syncer(settings, {}, database)
        report = await syncer.round(None)
        assert report.outcome is not None, report.error
        writeback = await make_writeback(settings, syncer, "files")
        async with serve_runtime(supervisor, metrics, settings, database, sockets, writeback) as server:
            yield server.url, syncer
        await syncer.aclose()


async def _patch(
    client: aiohttp.ClientSession, url: str, number: int, flags: argparse.Namespace
) -> tuple[float, float]:
    """Return the seconds of one PATCH, and those of this process's CPU."""
    address = f"{url}/api/agents/agent-3"
    headers = {}
    if flags.if_match:
        async with client.get(address) as reply:
            headers["If-Match"] = reply.headers["ETag"]
    query = {"dry_run": "true"} if flags.mode == "dry-run" else {}
    began, used = time.perf_counter(), time.process_time()
    flags.tracer.active = flags.traced
    body = {"description": f"Description {number}"}
    async with client.patch(address, json=body, headers=headers, params=query) as reply:
        text = await reply.text()
        flags.tracer.active = False
        assert reply.status == 200, text
    return time.perf_counter() - began, time.process_time() - used


async def _trace(tracer: Tracer, work: Callable[..., Awaitable[None]], *arguments: Any) -> set[str]:
    """Return the files that are entered each time."""
    counts, entered = (tracer.parses, tracer.checks), []
    for _ in range(TRACED_REQUESTS):
        tracer.reset()
        tracer.active = True
        await work(*arguments)
        tracer.active = False
        entered.append(tracer.files)
        await asyncio.sleep(0.3)
    tracer.parses, tracer.checks = counts
    return set.intersection(*entered)


async def _get(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(f"{url}/api/agents/agent-3") as reply:
        await reply.read()


async def _edit_by_hand(file: Path, syncer: Syncer, client: aiohttp.ClientSession, url: str) -> None:
    """Change one line of a file, run the round that the watcher would run, and wait until it is served."""
    line = f"description: Edited by hand {time.time_ns()}"
    file.write_text(re.sub("^description: .*$", line, file.read_text(), flags=re.MULTILINE))
    await syncer.round(frozenset({file.name}))
    while True:
        async with client.get(f"{url}/api/agents/agent-3") as reply:
            if f"description: {(await reply.json())['description']}" == line:
                return


async def _run(folder: Path, flags: argparse.Namespace) -> None:
    tracer: Tracer = flags.tracer
    tracer.install()
    entered: list[set[str]] = []
    mode = "git" if flags.mode == "git" else "files"
    async with aiohttp.ClientSession() as client, _serve(folder, mode) as (url, syncer):
        flags.traced = False
        for number in range(3):
            await _patch(client, url, number, flags)
        flags.traced = True
        for number in range(3, 3 + TRACED_REQUESTS):
            tracer.reset()
            await _patch(client, url, number, flags)
            entered.append(tracer.files)
            await asyncio.sleep(0.3)
        read = await _trace(tracer, _get, client, url)
        synced = await _trace(tracer, _edit_by_hand, folder / "agents.d/agent-3.yaml", syncer, client, url)
        tracer.uninstall()
        flags.traced = False
        times = []
        for number in range(10, 15 + flags.rounds):
            times.append(await _patch(client, url, number, flags))
            await asyncio.sleep(0.05)
    always = set.intersection(*entered)
    print(f"files entered by a GET: {len(read)}, by the same edit made by hand: {len(synced)}")
    if flags.files:
        for path in sorted(always):
            print(f"  {'GET ' if path in read else 'sync' if path in synced else 'PATCH'} {path}")
    print(f"files entered: {len(always)}; only by the PATCH: {len(always - read - synced)}")
    parses, checks = sorted(tracer.parses.values())[::-1], sorted(tracer.checks.values())[::-1]
    print(f"YAML texts read: {sum(parses)}, of each text: {parses}")
    print(f"checks: {sum(checks)}, of each file: {checks}")
    wall, cpu = (statistics.median(one) * 1e3 for one in zip(*times[5:], strict=True))
    print(f"median of {flags.rounds}: {wall:.1f} ms, of which {cpu:.1f} ms CPU of this process")


def main() -> None:
    """Trace, and print."""
    parser = argparse.ArgumentParser(description="Follow one PATCH on foot.")
    parser.add_argument("--mode", choices=("files", "git", "dry-run"), default="files")
    parser.add_argument("--plain", action="store_true", help="manifests without a secret")
    parser.add_argument("--if-match", action="store_true", help="send If-Match")
    parser.add_argument("--files", action="store_true", help="list the files")
    parser.add_argument("--rounds", type=int, default=30)
    flags = parser.parse_args()
    flags.tracer = Tracer()
    identity = x25519.Identity.generate()
    os.environ["SOPS_AGE_KEY"] = str(identity)
    with tempfile.TemporaryDirectory(prefix="agentsd-trace-") as name:
        folder = Path(name)
        _write_agents(folder / "agents.d", str(identity.to_public()), sealed=not flags.plain)
        if flags.mode == "git":
            author = ("-c", "user.name=t", "-c", "user.email=t@t.invalid")
            subprocess.run(["git", "init", "-q", folder], check=True)
            subprocess.run(["git", "-C", folder, "add", "agents.d", ".sops.yaml"], check=True)
            subprocess.run(["git", "-C", folder, *author, "commit", "-qm", "agents"], check=True)
        asyncio.run(_run(folder, flags))


if __name__ == "__main__":
    main()
