"""Realtime clients, unmodified: one function for each, which returns (name, version, feature, verdict).

``feature`` lists what was tried, ``verdict`` is ``green`` or names what failed. The clients stand in
environments of their own: ``python`` is an interpreter with openai[realtime], openai-agents,
livekit-plugins-openai and livekit-agents, ``pipecat`` one with pipecat-ai[openai], ``node`` a folder with
node_modules of @openai/agents-realtime, openai and ws. The server's agent answers "You said …", and calls the
first tool that it is offered with ``{"place": "Bonn"}``: ``tests.web.voices.Talker``.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.services.speech import spoken

SCRIPTS = Path(__file__).with_name("scripts")
CLIENT_TIMEOUT_SECONDS = 240

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class RealtimeTarget:
    """Server, agent and environments. ``url`` ends in ``/v1``; ``folder`` takes files."""

    url: str
    folder: Path
    python: str = ""
    pipecat: str = ""
    node: str = ""
    agent: str = "bot"


async def try_openai_python(target: RealtimeTarget) -> Row:
    """Try the official client of Python."""
    return await _run("openai py realtime", [target.python, "realtime_openai.py"], target)


async def try_agents_python(target: RealtimeTarget) -> Row:
    """Try the Agents SDK of Python."""
    return await _run("openai-agents py realtime", [target.python, "realtime_agents.py"], target)


async def try_livekit(target: RealtimeTarget) -> Row:
    """Try LiveKit's plugin."""
    return await _run("livekit-plugins-openai realtime", [target.python, "realtime_livekit.py"], target)


async def try_pipecat(target: RealtimeTarget) -> Row:
    """Try Pipecat's service."""
    return await _run("pipecat-ai OpenAIRealtimeLLMService", [target.pipecat, "realtime_pipecat.py"], target)


async def try_agents_node(target: RealtimeTarget) -> Row:
    """Try the Agents SDK of JavaScript, over a WebSocket."""
    return await _run("@openai/agents-realtime", ["node", "realtime_agents.mjs"], target)


async def try_openai_node(target: RealtimeTarget) -> Row:
    """Try the official client of JavaScript, which connects by TLS only."""
    certificate = make_certificate(target.folder)
    async with serve_tls(target.url, certificate) as address:
        environ = {"OPENAI_TLS_URL": address, "NODE_EXTRA_CA_CERTS": str(certificate)}
        return await _run("openai-node realtime", ["node", "realtime_openai.mjs"], target, environ)


async def try_openai_beta(target: RealtimeTarget) -> Row:
    """Try the beta interface of the official client of Python, which connects by TLS only."""
    certificate = make_certificate(target.folder)
    async with serve_tls(target.url, certificate) as address:
        environ = {"OPENAI_TLS_URL": address, "SSL_CERT_FILE": str(certificate)}
        return await _run(
            "openai py beta realtime", [target.python, "realtime_openai_beta.py"], target, environ
        )


CLIENTS = (
    try_openai_python, try_openai_beta, try_agents_python, try_livekit, try_pipecat, try_agents_node,
    try_openai_node,
)  # fmt: skip


async def _run(
    name: str, command: Sequence[str], target: RealtimeTarget, environ: dict[str, str] | None = None
) -> Row:
    """Run a script of the folder ``scripts`` and join its verdicts."""
    speech = target.folder / "speech.pcm"
    speech.write_bytes(spoken())
    variables = {
        **os.environ,
        "OPENAI_BASE_URL": target.url, "OPENAI_API_KEY": "none", "AGENT": target.agent, "SPEECH": str(speech),
        "CLIENT_MODULES": target.node, "OPENAI_AGENTS_DISABLE_TRACING": "1",
        **(environ or {}),
    }  # fmt: skip
    program, script = command
    process = await asyncio.create_subprocess_exec(
        program, str(SCRIPTS / script), env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(CLIENT_TIMEOUT_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if os.environ.get("SHOW_TRACES"):
        print(err.decode())
    return _join_verdicts(name, out.decode(), err.decode())


def _join_verdicts(name: str, out: str, err: str) -> Row:
    lines = out.splitlines()
    version = "".join(line.removeprefix("VERSION ") for line in lines if line.startswith("VERSION "))
    found = [json.loads(line.removeprefix("VERDICT ")) for line in lines if line.startswith("VERDICT ")]
    failed = [f"{feature}: {detail}" for feature, verdict, detail in found if verdict != "green"]
    if not found:
        failed = [f"the script ended: {' '.join(err.splitlines()[-3:])}"]
    features = "; ".join(feature for feature, _, _ in found)
    return name, version, features, "red: " + " | ".join(failed) if failed else "green"


def make_certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate of 127.0.0.1 that signs itself."""
    file = folder / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(file), "-out", str(folder / "certificate.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + (folder / "certificate.pem").read_text())
    return file


@asynccontextmanager
async def serve_tls(url: str, certificate: Path) -> AsyncIterator[str]:
    """Yield the address of a forwarder that adds TLS, as a reverse proxy does."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
