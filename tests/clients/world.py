"""A server for the clients: ``agentsd up`` on loopback, with a token, over an obliging vendor."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from agentsd.store.embedded.server import EmbeddedPostgres
from tests.e2e.home import Home
from tests.runtime.world import new_keys
from tests.vendors.obliging_server import ObligingServer, make_tone

TOKEN = "agentsd_token-of-the-clients"
AGENT = "assistant"
RATE = 16_000


@dataclass(frozen=True)
class ClientWorld:
    """Where clients find the server, and what they say to it."""

    url: str  # http://127.0.0.1:PORT
    secure_url: str  # https://127.0.0.1:PORT
    certificate: Path
    vendor: ObligingServer
    recording: Path

    def localize(self, example: str) -> str:
        """Return an example of the documentation with this server's address and token."""
        return example.replace("http://127.0.0.1:8080", self.url).replace('"TOKEN"', f'"{TOKEN}"')

    def environment(self) -> dict[str, str]:
        """Return the variables that clients read."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": TOKEN,
            "AGENTSD_TOKEN": TOKEN,
            "AGENT": AGENT,
            "RECORDING": str(self.recording),
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


@asynccontextmanager
async def open_world() -> AsyncIterator[ClientWorld]:
    """Start everything; all of it is gone at the end."""
    home = Home(Path(mkdtemp(prefix="agentsd-clients-")), new_keys())
    try:
        async with ObligingServer() as vendor:
            home.env["AGENTSD_TRUSTED_ORIGINS"] = vendor.url
            tokens = home.root / "tokens"
            tokens.write_text(f"{TOKEN}\n")
            home.write("assistant.yaml", json.dumps(make_manifest(vendor.url)))
            recording = home.root / "question.wav"
            with wave.open(str(recording), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(make_tone(RATE, 1.0))
            postgres = EmbeddedPostgres(home.root / "postgres", settings={"fsync": "off"})
            home.env |= {"AGENTSD_DATABASE_URL": await asyncio.to_thread(postgres.start)}
            try:
                plain, url = await home.up("--token-file", str(tokens))
                secure, secure_url = await home.up(
                    *("--token-file", str(tokens), "--tls-self-signed", "--source", "secure"),
                    AGENTSD_TLS_DIR=str(home.root / "tls"),
                )
                certificate = home.root / "tls/self-signed.crt"
                yield ClientWorld(url, secure_url, certificate, vendor, recording)
                await asyncio.gather(secure.stop(), plain.stop())
            finally:
                await asyncio.to_thread(postgres.stop)
    finally:
        await home.clear()
