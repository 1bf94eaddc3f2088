"""The Development Agent that tests share: made of ``tests/data/development.env``, over vendors' servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vendors.async_ai_server import AsyncAIServer
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
    """The vendors that the sample's agent talks to, and a local voice."""

    llm: OpenAIServer
    tts: AsyncAIServer
    kokoro: KokoroServer
    stt: WhisperServer

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
        yield Servers(llm, tts, kokoro, stt)
