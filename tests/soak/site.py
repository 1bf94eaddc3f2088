"""A whole server with two owners: ``agentsd up`` as a process, real Postgres, real sockets.

``acme`` has an agent that answers; ``beta`` is led to hostile vendors, and its editor is hostile, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import agentsd
from tests.e2e.processes import Process, end_postgres
from tests.runtime.world import Keys, new_keys
from tests.soak.acme import TOKEN, Measurer, measurer
from tests.soak.vendor import HostileStt, HostileTts, HostileVendor

BETA, ADMIN = "agentsd_beta-token", "agentsd_admin-token"
CANARY = "sk-canary-of-beta-77"
"""The key that beta's hostile vendor is sent: it may reach that vendor, and nobody else."""
MEMORY_MAX_BYTES = 3 << 30
"""A server that takes more is ended: the machine is shared."""


class Site:
    """The files, the vendors and the process."""

    def __init__(self, root: Path, keys: Keys, good_url: str, vendor: HostileVendor) -> None:
        self.root, self.keys, self.good_url, self.vendor = root, keys, good_url, vendor
        self.agents = root / "agents.d"
        self.stalls = root / "stalls.jsonl"
        self.tts = HostileTts(record=False)
        self.stt = HostileStt(record=False)
        self.ends = 0
        """How often the process ended, or had to be ended, without being asked to."""
        self.process: Process
        self.url = ""
        self._written = 0

    def seed_vendors(self, random: Random | None) -> None:
        """Make beta's vendors hostile, by this generator; None: faithful."""
        self.vendor.random = self.tts.random = self.stt.random = random

    def fill(self) -> None:
        """Write the tree as it is at the beginning."""
        shutil.rmtree(self.agents, ignore_errors=True)
        (self.agents / "acme").mkdir(parents=True)
        (self.agents / "beta/docs").mkdir(parents=True)
        (self.agents / "_user.yaml").write_text(user("root", ADMIN, "admin"))
        (self.agents / "acme/_user.yaml").write_text(user("ci", TOKEN, "editor"))
        (self.agents / "beta/_user.yaml").write_text(user("ci", BETA, "editor"))
        good = chat(self.good_url, "acme-model")
        (self.agents / "acme/good.yaml").write_text(json.dumps({"name": "Good", "llm": good}))
        (self.agents / "beta/docs/a.md").write_text("# Hours\n\nNine to five.\n")
        for name, text in self.betas().items():
            (self.agents / "beta" / name).write_text(text)

    def betas(self) -> dict[str, str]:
        """Beta's faithful manifests, by file name."""
        url = self.vendor.url
        llm = chat(url, "beta-model") | {"api_key": CANARY}
        limits = {"timeout_seconds": 1, "idle_timeout_seconds": 1}
        embedding = {"provider": "openai-compatible", "model": "e", "api_url": url, "dimensions": 8, **limits}
        voice = {
            "llm": chat(url, "voice"),
            "tts": {"provider": "kokoro.local", "url": self.tts.ws_url + self.tts.path, **limits},
            "stt": {"provider": "whisper.local", "url": self.stt.ws_url, **limits},
        }
        speech = {
            "llm": {"provider": "echo.local"},
            "tts": {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": url, **limits},
            "stt": {"provider": "openai-compatible", "model": "m", "api_url": url, **limits},
        }
        knowing = {"llm": chat(url, "k"), "embedding": embedding, "rag": {"sources": ["docs/a.md"]}}
        texts = {
            "voice.yaml": json.dumps({"name": "Voice", **voice}),
            "speech.yaml": json.dumps({"name": "Speech", **speech}),
            "knowing.yaml": json.dumps({"name": "Knowing", **knowing}),
            "victim.yaml": "name: Victim\nllm:\n  provider: echo.local\n  reply: hello\n",
        }
        if not (self.root / "sealed.yaml").exists():
            sealed = self.keys.seal(json.dumps({"name": "Chat", "llm": llm}))
            (self.root / "sealed.yaml").write_text(sealed)
        return texts | {"chat.yaml": (self.root / "sealed.yaml").read_text()}

    async def start(self) -> None:
        """Start the server, and wait until it answers."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join((str(Path(agentsd.__file__).parents[1]), str(Path.cwd()))),
            "HOME": str(self.root / "home"),
            "SOPS_AGE_KEY": self.keys.identity,
            "AGENTSD_TRUSTED_ORIGINS": self.vendor.url,
            "AGENTSD_DATA_DIR": str(self.root / "data"),
            "AGENTSD_RATE_LIMIT": "off",
            "AGENTSD_RATE_LIMIT_ADDRESS": "off",
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.stall_meter", str(self.stalls), "up", "--port", "0", "--path", str(self.agents)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self.process = Process(child)
        self.url = await self.process.url()

    async def stop(self) -> None:
        """End the server, by force where it does not listen."""
        try:
            await self.process.stop()
        except TimeoutError:
            self.process.send_all(signal.SIGKILL)
            await self.process.ended()
        await end_postgres(self.root / "data")

    async def restart(self) -> None:
        """Begin anew, after the process ended or stood still."""
        self.ends += 1
        self.process.send_all(signal.SIGKILL)
        await self.process.ended()
        self.seed_vendors(None)
        self.fill()
        await self.start()

    def memory(self) -> int:
        """Resident bytes of the server and of its workers, without Postgres."""
        return sum(resident(pid) for pid in (self.process.pid, *children(self.process.pid)))


def chat(url: str, model: str) -> dict[str, Any]:
    """An LLM section."""
    limits = {"timeout_seconds": 2, "idle_timeout_seconds": 2}
    return {"provider": "openai-compatible", "model": model, "api_url": url, **limits}


def user(name: str, token: str, role: str) -> str:
    """A user file with one token."""
    digest = sha256(token.encode()).hexdigest()
    return f"tokens:\n  - name: {name}\n    sha256: {digest}\n    role: {role}\n"


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid: int) -> list[int]:
    """Processes that a process started and that have no session of their own."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and int(fields[3]) == pid:
                found.append(int(folder.name))
    return found


@asynccontextmanager
async def site() -> AsyncIterator[tuple[Site, Measurer]]:
    """A server at work, and who measures it; everything is gone afterwards."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the hostile vendor's connections are cut
    root = Path(mkdtemp(prefix="agentsd-soak-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        acme = await stack.enter_async_context(measurer())
        vendor = await stack.enter_async_context(HostileVendor())
        made = Site(root, new_keys(), acme.vendor_url, vendor)
        await stack.enter_async_context(made.tts)
        await stack.enter_async_context(made.stt)
        (root / "home").mkdir()
        made.fill()
        await made.start()
        stack.push_async_callback(made.stop)
        yield made, acme
