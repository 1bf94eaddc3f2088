"""The Development Agent that tests share: made of ``tests/data/development.env``, over vendors' servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentsd.control.importers.dotenv import DEFAULT_SLUG, MANIFEST_HEAD, migrate_env, read_env
from agentsd.control.importers.draft import make_draft, seal_draft
from agentsd.providers.catalog import default_catalog
from agentsd.sops.binary import SopsBinary
from tests.vendors.async_ai_server import AsyncAIServer
from tests.vendors.deepgram_server import DeepgramListenServer, DeepgramSpeakServer
from tests.vendors.elevenlabs_server import ElevenLabsServer
from tests.vendors.hume_server import HumeServer
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.whisper_server import WhisperServer

SAMPLE = Path(__file__).parent / "data/development.env"
LLM_KEY, TTS_KEY = "gsk_Development9Groq", "sk_Development9Async"
SECRETS = tuple(re.findall(r"\w+_Development9\w+", SAMPLE.read_text()))


def sample(**changes: str) -> str:
    """The sample with other values; a variable that is not in it goes to the end."""
    text = SAMPLE.read_text()
    for name, value in changes.items():
        line = re.search(rf"(?m)^\s*(?:export )?{name}=.*$", text)
        said = f"{name}={value}"
        text = (
            text.replace(line[0], f"\n{said}" if line[0].startswith("\n") else said)
            if line
            else f"{text}{said}\n"
        )
    return text


@dataclass(frozen=True)
class Servers:
    """All vendors of the old system; its default ones are ``llm``, ``tts`` and ``stt``."""

    llm: OpenAIServer
    tts: AsyncAIServer
    kokoro: KokoroServer
    stt: WhisperServer
    speak: DeepgramSpeakServer
    listen: DeepgramListenServer
    eleven: ElevenLabsServer
    hume: HumeServer

    def others(self, kind: str) -> dict[str, str]:
        """Vendor → address, of those whose address the old system could not be told."""
        if kind == "stt":
            return {"deepgram.com": self.listen.ws_url + self.listen.path}
        return {
            "deepgram.com": self.speak.ws_url + self.speak.path,
            "elevenlabs.io": self.eleven.ws_url,
            "hume.ai": self.hume.ws_url + self.hume.path,
        }

    @property
    def addresses(self) -> dict[str, str]:
        """The variables that lead there."""
        return {
            "GROQ_LLM_API_URL": self.llm.url,
            "MISTRAL_LLM_API_URL": self.llm.url,
            "OPENROUTER_LLM_API_URL": self.llm.url,
            "LLAMA_CPP_LLM_API_URL": self.llm.url,
            "ASYNC_AI_TTS_URL": self.tts.ws_url + self.tts.path,
            "KOKORO_LOCAL_TTS_URL": self.kokoro.ws_url + self.kokoro.path,
            "WHISPER_LOCAL_STT_URL": self.stt.ws_url,
        }


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """At work."""
    async with AsyncExitStack() as exits:
        llm = await exits.enter_async_context(OpenAIServer())
        tts = await exits.enter_async_context(AsyncAIServer())
        kokoro = await exits.enter_async_context(KokoroServer())
        stt = await exits.enter_async_context(WhisperServer())
        speak = await exits.enter_async_context(DeepgramSpeakServer())
        listen = await exits.enter_async_context(DeepgramListenServer())
        eleven = await exits.enter_async_context(ElevenLabsServer())
        hume = await exits.enter_async_context(HumeServer())
        yield Servers(llm, tts, kokoro, stt, speak, listen, eleven, hume)


async def manifest(servers: Servers, folder: Path, rules: str, **changes: str) -> bytes:
    """The Development Agent's manifest for a tree in ``folder``, imported and sealed by ``rules``.

    The addresses lead to ``servers``; those that the old system had no variable for are said here.
    """
    catalog = default_catalog()
    sections = migrate_env(
        read_env(".env", sample(**servers.addresses, **changes).encode()), catalog
    ).sections
    for kind, section in sections.items():
        if section["provider"] in servers.others(kind):
            section["url"] = servers.others(kind)[section["provider"]]
    (folder.parent / ".sops.yaml").write_text(rules)
    draft = make_draft(DEFAULT_SLUG, MANIFEST_HEAD, sections, catalog, ())
    file = folder / f"{DEFAULT_SLUG}.yaml"
    return await seal_draft(draft, file, file.name, SopsBinary(environ={}))
