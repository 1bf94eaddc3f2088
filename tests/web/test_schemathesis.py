"""The server against its own description: schemathesis makes requests from /openapi.json, and judges the replies.

A fixed seed; every phase: examples, the borders of each parameter, random data (valid and not), and sequences
along the document's links. What lasts until somebody hangs up is left out: a stream of events and a call
have no reply that could be judged (tests/web/test_live.py and test_realtime.py look at them).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack, echo

SEED = 4
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
LASTING = ("followEvents", "call")


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    code: int
    output: str


def whole(url: str) -> str:
    """An agent with every organ, so that no request fails for want of one."""
    section = {"provider": "openai-compatible", "api_url": url, "model": "m", "timeout_seconds": 5}
    value: dict[str, Any] = {
        "name": "Assistant",
        "default": True,
        "system_prompt": "You are terse.",
        "llm": {"provider": "echo.local"},
        "tts": {**section, "voice": "v"},
        "stt": section,
        "embedding": section,
    }
    return json.dumps(value)


@pytest.fixture
async def fuzzed(stack: Stack, vendor: OpenAIServer) -> Stack:
    """A server with a few agents."""
    stack.write("assistant.yaml", whole(vendor.url))
    stack.write("acme/sales.yaml", echo("Sales", default=True))
    stack.write("asleep.yaml", echo("Asleep", active=False))
    await stack.sync()
    return stack


async def run(stack: Stack, folder: Path, examples: int, phases: str = "examples,coverage,fuzzing,stateful") -> Ran:
    """Schemathesis as its users run it."""
    excluded = [word for name in LASTING for word in ("--exclude-operation-id", name)]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{stack.url}/openapi.json",
        "--seed", str(SEED), "--max-examples", str(examples), "--phases", phases,
        "--checks", ",".join(CHECKS), *excluded, "--continue-on-failure", "--no-color",
        "--request-timeout", "30", "--generation-database", "none",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Ran(process.returncode or 0, output.decode("utf-8", "replace"))


async def test_replies_are_as_described(fuzzed: Stack, tmp_path: Path) -> None:
    """No server error, no status, header, type or shape that the description does not have."""
    ran = await run(fuzzed, tmp_path, examples=3)
    print(ran.output)
    assert ran.code == 0, ran.output


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_replies_are_as_described_at_length(fuzzed: Stack, tmp_path: Path) -> None:
    """The same with 50 examples for each operation."""
    ran = await run(fuzzed, tmp_path, examples=50)
    print(ran.output)
    assert ran.code == 0, ran.output
