"""A site: ``agentsd`` as a process of its own, with its folder of manifests in git, and vendors' servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from tests.e2e.home import Home, echo
from tests.e2e.processes import Process
from tests.runtime.world import new_keys
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.whisper_server import WhisperServer

KEY = "sk-Canary7TheKeyOfSales"
"""The only secret there is. It must never reach a page."""

FAQ = """\
# Opening hours

We are open on weekdays from nine to five, and closed on public holidays.

# Returns

Send it back within thirty days; we pay the postage.
"""
RULES = """\
creation_rules:
  - path_regex: .*
    age: {recipient}
    encrypted_regex: ^(api_key|auth_token)$
    mac_only_encrypted: true
"""
CLERK = """\
name: Clerk
description: Speaks, listens and thinks
llm: {{provider: llama-cpp.local, model: m, api_url: "{llm}"}}
tts: {{provider: kokoro.local, url: "{tts}"}}
stt: {{provider: whisper.local, url: "{stt}"}}
"""
SALES = """\
name: Sales
description: Sells
system_prompt: You sell.
llm:
  provider: openai-compatible
  model: m
  api_url: {llm}
  api_key: {key}
"""
LIBRARIAN = """\
name: Librarian
llm: {provider: echo.local, reply: "You asked: {message}"}
rag: {sources: [knowledge/faq.md], top_k: 2}
"""
GIT = {"GIT_AUTHOR_NAME": "Me", "GIT_AUTHOR_EMAIL": "me@example.org", "GIT_CONFIG_NOSYSTEM": "1"}
GIT |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in GIT.items() if "AUTHOR" in name}


@dataclass
class Vendors:
    """The vendors' servers of all sites; a test that breaks one puts it right again."""

    llm: OpenAIServer
    tts: KokoroServer
    stt: WhisperServer


@asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    """At work."""
    async with AsyncExitStack() as exits:
        llm = await exits.enter_async_context(OpenAIServer())
        tts = await exits.enter_async_context(KokoroServer())
        stt = await exits.enter_async_context(WhisperServer())
        yield Vendors(llm, tts, stt)


@dataclass
class Site:
    """``agents`` is the folder of manifests, ``home.repo`` the repository that it is in."""

    home: Home
    process: Process
    url: str

    @property
    def agents(self) -> Path:
        """The folder of manifests."""
        return self.home.agents

    def read(self, path: str) -> str:
        """A manifest."""
        return (self.agents / path).read_text()

    def git(self, *arguments: str) -> str:
        """What git prints."""
        return git(self.home, *arguments)


def git(home: Home, *arguments: str) -> str:
    """What git prints, as a person runs it."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home.root), **GIT}
    return subprocess.run(
        ["git", *arguments], cwd=home.repo, env=env, capture_output=True, text=True, check=True
    ).stdout


async def settle(home: Home, vendors: Vendors) -> None:
    """Fill ``home`` with agents of several kinds and commit them.

    ``helper`` (the default) echoes; ``clerk`` speaks, listens and thinks by vendors' servers; ``acme/sales``
    has a sealed key; ``librarian`` has knowledge.
    """
    (home.repo / ".sops.yaml").write_text(RULES.format(recipient=home.keys.recipient))
    home.env["AGENTSD_TRUSTED_ORIGINS"] = vendors.llm.url
    home.write("helper.yaml", "name: Helper\ndefault: true\n" + echo("Heard: {message}"))
    tts, stt = f"{vendors.tts.ws_url}{vendors.tts.path}", vendors.stt.ws_url
    home.write("clerk.yaml", CLERK.format(llm=vendors.llm.url, tts=tts, stt=stt))
    home.write("knowledge/faq.md", FAQ)
    home.write("librarian.yaml", LIBRARIAN)
    home.write("acme/sales.yaml", home.keys.seal(SALES.format(llm=vendors.llm.url, key=KEY)))
    git(home, "init", "-q", "-b", "main")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "the agents")


@asynccontextmanager
async def new_home(vendors: Vendors) -> AsyncIterator[Home]:
    """Settled, and gone at the end."""
    home = Home(Path(mkdtemp(prefix="agentsd-ui-")), new_keys())
    try:
        await settle(home, vendors)
        yield home
    finally:
        await home.clear()
