"""What a schema cannot state: bounds of the operator on what a manifest asks of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.control.validation.checker import Checker
from agentsd.control.validation.validate import validate_tree
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.core.violations import Violation
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.control.place import uid

LLAMA = "provider: llama-cpp.embedded"
HEAD = f"id: {uid(1)}\nllm:\n  "


async def found_in(root: Path, text: str, limits: EngineLimits = EngineLimits()) -> tuple[Violation, ...]:  # noqa: B008
    """What is wrong with a tree of one file."""
    root.mkdir(exist_ok=True)
    (root / "a.yaml").write_text(text)
    return await validate_tree(
        read_tree(root), Checker(default_catalog(), Opener(Identities(), None), limits=limits)
    )


TOO_MUCH = {
    "both": (f"{HEAD}{LLAMA}\n  context_tokens: 65536\n  parallel: 2\n", "llm.context_tokens", 4),
    "parallel alone": (f"{HEAD}{LLAMA}\n  parallel: 32\n", "llm.parallel", 4),
    "one that stands in": (
        f"{HEAD}provider: echo.local\n  fallback:\n  - {LLAMA}\n    context_tokens: 1048576\n",
        "llm.fallback.0.context_tokens",
        6,
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_more_context_than_the_operator_allows(tmp_path: Path, case: str) -> None:
    """A violation at its line, before anything is stored; a higher bound of the operator lets it pass."""
    text, where, line = TOO_MUCH[case]
    (violation,) = await found_in(tmp_path / "agents.d", text)
    assert (violation.code, violation.line) == ("engine-context", line)
    assert ".".join(map(str, violation.pointer)) == where
    assert "AGENTSD_ENGINE_CONTEXT" in violation.hint
    assert await found_in(tmp_path / "agents.d", text, EngineLimits(context_tokens=1 << 25)) == ()


async def test_what_fits_is_valid(tmp_path: Path) -> None:
    """At the bound itself."""
    text = f"{HEAD}{LLAMA}\n  context_tokens: 16384\n  parallel: 2\n"
    assert await found_in(tmp_path / "agents.d", text) == ()


@pytest.mark.parametrize("text", ["name: A\n", "language: en\n"])
async def test_what_may_be_half_a_file(tmp_path: Path, text: str) -> None:
    """It loads, and a warning names what every whole manifest has."""
    [found] = await found_in(tmp_path / "agents.d", f"id: {uid(1)}\n{text}")
    assert (found.code, found.severity) == ("incomplete", "warning")
    assert ("no name" in found.message) is (text[:4] != "name")


async def test_what_a_section_must_not_add(tmp_path: Path) -> None:
    """A key among headers would be in plain text, and bound to no origin: a violation at its line."""
    text = (
        f"{HEAD}provider: openai-compatible\n  model: m\n  api_url: http://127.0.0.1:1\n"
        "  headers:\n    X-Team: a\n    X-Api-Key: abc\n"
    )
    (violation,) = await found_in(tmp_path / "agents.d", text)
    assert (violation.code, violation.line) == ("request-option", 8)
    assert "abc" not in str(violation)


async def test_a_section_s_proxy_has_no_credentials_and_is_a_destination(tmp_path: Path) -> None:
    """User and password are refused at their place, without a quotation; so is an origin nobody trusts."""
    sealed = "ENC[AES256_GCM,data:aaaa,iv:aaaa,tag:aaaa,type:str]"
    own = f"{HEAD}provider: openai-compatible\n  api_url: https://a.example\n  model: m\n  proxy: "
    openai = f"{HEAD}provider: openai.com\n  model: m\n  proxy: "
    for proxy in ("http://me:canary@proxy.example:3128", "http://canary@proxy.example", "socks5://canary:1"):
        (violation,) = await found_in(tmp_path / "agents.d", f"{own}{proxy}\n")
        assert (violation.code, violation.line, violation.column) == ("invalid-value", 6, 10)
        assert "canary" not in f"{violation.message} {violation.hint}"
    found = await found_in(tmp_path / "agents.d", f"{openai}http://proxy.example:3128\n  api_key: {sealed}\n")
    misdirected = [one for one in found if one.code == "secret-destination"]
    assert [(one.line, one.pointer) for one in misdirected] == [(5, ("llm", "proxy"))]
