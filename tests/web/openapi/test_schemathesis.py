"""The server against its own description: schemathesis makes requests from /openapi.json and judges replies.

A fixed seed; examples, the borders of each parameter, random data (valid and not), and sequences along the
document's links. The server writes: its files are in a temporary folder, sealed by the real sops, synced
into the real Postgres. Every provider that a manifest can name here is a server of this test, or echoes.

What lasts until somebody hangs up is left out: a stream of events and a call have no reply that could be
judged (test_live.py and test_realtime.py look at them).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from pydantic import create_model

from agentsd.core.manifest.agent import SECTIONS
from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.vendor import Vendor
from agentsd.web.openapi.document import OPERATIONS
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Make, Stack, echo
from tests.web.fuzz_hooks import WHOLE
from tests.web.middleware.test_request import TOKEN, TOKENS

ROOT = Path(__file__).resolve().parents[3]
SEED = 4
CHECKS = (
    "no_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)
LASTING = ("followEvents", "call")


@pytest.fixture
def catalog(vendor: OpenAIServer) -> Catalog:
    """``echo.local``, and for each kind a vendor with a key whose only address is this test's server."""
    usual = default_catalog()
    kinds: dict[str, Mapping[str, Vendor]] = {
        kind: {"keyed.example": keyed(usual.of(kind)["openai-compatible"], vendor.url)} for kind in SECTIONS
    }
    return Catalog(**(kinds | {"llm": {**kinds["llm"], "echo.local": usual.llm["echo.local"]}}))


def keyed(like: Vendor, url: str) -> Vendor:
    """A vendor like another one, that cannot be sent elsewhere."""
    made: Any = create_model(
        "KeyedSettings", __base__=like.settings, __doc__="A vendor with a key.",
        provider=(Literal["keyed.example"], ...), api_url=(Literal[url], url),  # type: ignore[valid-type]
    )  # fmt: skip
    made.model_fields["api_url"].description = "Where it is."
    made.model_rebuild(force=True)
    return Vendor(made, like.build)


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    code: int
    output: str


def whole(*, default: bool) -> str:
    """An agent with every organ."""
    section = {"provider": "keyed.example", "model": "m"}
    value: dict[str, Any] = {
        "id": str(uuid4()),
        "name": "Assistant",
        "default": default,
        "system_prompt": "You are terse.",
        "llm": {"provider": "echo.local"},
        "tts": {**section, "voice": "v"},
        "stt": section,
        "embedding": section,
    }
    return json.dumps(value)


@pytest.fixture
async def fuzzed(make: Make) -> Stack:
    """A server that writes, with a few agents."""
    stack = await make(access=TOKENS, write_back="files")
    stack.write("assistant.yaml", whole(default=True))
    stack.write(f"{WHOLE}.yaml", whole(default=False))
    stack.write("acme/sales.yaml", echo("Sales", default=True))
    stack.write("asleep.yaml", echo("Asleep", active=False))
    await stack.sync()
    return stack


async def run(stack: Stack, folder: Path, examples: int, phases: str) -> Ran:
    """Schemathesis as its users run it."""
    excluded = [word for name in LASTING for word in ("--exclude-operation-id", name)]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{stack.url}/openapi.json",
        "--seed", str(SEED), "--max-examples", str(examples), "--phases", phases,
        "--header", f"Authorization: Bearer {TOKEN}",
        "--checks", ",".join(CHECKS), *excluded, "--continue-on-failure", "--no-color",
        "--request-timeout", "30", "--generation-database", "none",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.fuzz_hooks", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Ran(process.returncode or 0, output.decode("utf-8", "replace"))


async def test_replies_are_as_described(fuzzed: Stack, tmp_path: Path) -> None:
    """No server error, no status, header, type or shape that the description does not have."""
    ran = await run(fuzzed, tmp_path, 3, "examples,fuzzing,stateful")
    assert ran.code == 0, ran.output


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_replies_are_as_described_at_length(fuzzed: Stack, tmp_path: Path) -> None:
    """The same with 50 examples for each operation, and the borders of every parameter."""
    ran = await run(fuzzed, tmp_path, 50, "examples,coverage,fuzzing,stateful")
    print(ran.output)
    assert ran.code == 0, ran.output
    signed = {"pullNow"}  # only a forge that knows the secret is answered with success: see test_hooks
    assert succeeded(fuzzed) >= {one.id for one in OPERATIONS} - {*LASTING} - signed


def succeeded(stack: Stack) -> set[str]:
    """The operations that gave a reply that is no error: those that never did were not looked at."""
    lines = [line for line in stack.metrics.render().decode().splitlines() if 'status="2' in line]
    return {
        one.id
        for one in OPERATIONS
        if any(f'method="{one.method}",route="{one.path}"' in line for line in lines)
    }
