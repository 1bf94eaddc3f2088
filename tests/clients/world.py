"""Servers for the clients: ``agentsd up`` on loopback, by HTTP and HTTPS, over vendors of chats and calls."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from agentsd.store.embedded.server import EmbeddedPostgres
from tests.e2e.home import Home
from tests.runtime.world import new_keys
from tests.services.speech import spoken
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.obliging_server import ObligingServer, make_tone
from tests.vendors.whisper_server import WhisperServer
from tests.web.voices import Talker, Vendors

TOKEN = "agentsd_token-of-the-clients"
AGENT = "assistant"
VOICE_AGENT = "voice"
RATE = 16_000
STORY_SECONDS, STORY_WORDS = 4.0, 200


class InstructedTalker(Talker):
    """Answers a question about its instructions with them: a client sees that they arrived at the model.

    A long story lasts for seconds, so that a client can interrupt it on a busy machine, too.
    """

    def __init__(self) -> None:
        super().__init__(delay=STORY_SECONDS / STORY_WORDS)

    def answer(self, body: dict[str, Any]) -> Iterable[str | dict[str, Any]]:
        """Return the pieces of an answer.

        What was asked before an answer that nobody heard stands in the same message, as an earlier paragraph:
        a story that was interrupted is not told again.
        """
        first, last = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
        last = last.rpartition("\n\n")[2]
        if "long story" in first or "long story" in last:
            return ["Once. ", *["And then. "] * STORY_WORDS]
        if "your instructions" in last:
            return [f"{word} " for word in first.split()]
        return super().answer(body)


@dataclass(frozen=True)
class ClientWorld:
    """Where clients find the server, and what they say to it."""

    url: str  # http://127.0.0.1:PORT
    secure_url: str  # https://127.0.0.1:PORT
    certificate: Path
    recording: Path
    speech: Path

    def localize(self, example: str) -> str:
        """Return an example of the documentation with this server's address and token."""
        addresses = {"http": self.url, "ws": self.url.replace("http", "ws", 1), "https": self.secure_url}
        for scheme, url in addresses.items():
            example = example.replace(f"{scheme}://127.0.0.1:8080", url)
        return example.replace('"TOKEN"', f'"{TOKEN}"')

    def environment(self) -> dict[str, str]:
        """Return the variables that clients read."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": TOKEN,
            "AGENTSD_TOKEN": TOKEN,
            "AGENT": AGENT,
            "VOICE_AGENT": VOICE_AGENT,
            "RECORDING": str(self.recording),
            "SPEECH": str(self.speech),
            "SECURE_BASE_URL": f"{self.secure_url}/v1",
            "CERTIFICATE": str(self.certificate),
            "NODE_EXTRA_CA_CERTS": str(self.certificate),
        }


def make_manifest(url: str) -> dict[str, Any]:
    """Return an agent that can do everything over the vendor at ``url``."""
    vendor = {"provider": "openai-compatible", "api_url": url}
    return {
        "name": "Assistant",
        "default": True,
        "system_prompt": "You are kind.",
        "llm": {**vendor, "model": "m"},
        "tts": {**vendor, "model": "t", "voice": "v"},
        "stt": {**vendor, "model": "s"},
        "embedding": {**vendor, "model": "e"},
    }


def make_voice_manifest(vendors: Vendors) -> dict[str, Any]:
    """Return an agent for calls; its vendors have the time that they need on a busy machine."""
    return {
        "name": "Voice",
        "system_prompt": "You are Voice.",
        "llm": {"provider": "openai-compatible", "model": "voice", "api_url": vendors.llm.url},
        "tts": {"provider": "kokoro.local", "url": vendors.tts.ws_url + vendors.tts.path},
        "stt": {"provider": "whisper.local", "url": vendors.stt.ws_url},
    }


def write_sounds(folder: Path) -> tuple[Path, Path]:
    """Write a WAV file of a tone, and real speech as PCM at 24,000 Hz. Return both paths."""
    recording, speech = folder / "question.wav", folder / "speech.pcm"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(make_tone(RATE, 1.0))
    speech.write_bytes(spoken())
    return recording, speech


@asynccontextmanager
async def open_world() -> AsyncIterator[ClientWorld]:
    """Start everything; all of it is gone at the end."""
    home = Home(Path(mkdtemp(prefix="agentsd-clients-")), new_keys())
    try:
        async with AsyncExitStack() as exits:
            vendor = await exits.enter_async_context(ObligingServer())
            voices = Vendors(
                await exits.enter_async_context(InstructedTalker()),
                await exits.enter_async_context(KokoroServer()),
                await exits.enter_async_context(WhisperServer()),
            )
            home.env["AGENTSD_TRUSTED_ORIGINS"] = vendor.url
            tokens = home.root / "tokens"
            tokens.write_text(f"{TOKEN}\n")
            home.write("assistant.yaml", json.dumps(make_manifest(vendor.url)))
            home.write("voice.yaml", json.dumps(make_voice_manifest(voices)))
            sounds = write_sounds(home.root)
            postgres = EmbeddedPostgres(home.root / "postgres", settings={"fsync": "off"})
            home.env |= {"AGENTSD_DATABASE_URL": await asyncio.to_thread(postgres.start)}
            try:
                plain, url = await home.up("--token-file", str(tokens))
                secure, secure_url = await home.up(
                    *("--token-file", str(tokens), "--tls-self-signed", "--source", "secure"),
                    AGENTSD_TLS_DIR=str(home.root / "tls"),
                )
                certificate = home.root / "tls/self-signed.crt"
                yield ClientWorld(url, secure_url, certificate, *sounds)
                await asyncio.gather(secure.stop(), plain.stop())
            finally:
                await asyncio.to_thread(postgres.stop)
    finally:
        await home.clear()
