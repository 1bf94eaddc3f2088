"""Those that stand in are checked like the section that they stand in for: form, seals, destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.control.validation.validate import validate_tree
from agentsd.core.violations import Violation
from agentsd.files.tree import read_tree
from tests.control.place import make_checker, uid
from tests.runtime.world import Keys

HEAD = f"id: {uid(1)}\nllm:\n  provider: echo.local\n  fallback:\n"
GROQ = HEAD + "  - {provider: groq.com, model: m, api_key: sk-canary-1}\n"


async def found_in(root: Path, text: str, keys: Keys | None) -> tuple[Violation, ...]:
    """What is wrong with a tree of one file."""
    root.mkdir(exist_ok=True)
    (root / "a.yaml").write_text(text)
    return await validate_tree(read_tree(root), make_checker(keys))


async def test_a_sealed_fallback_is_valid(tmp_path: Path, keys: Keys) -> None:
    """With the key and without it: then only the warning that nothing was verified."""
    sealed = keys.seal(GROQ)
    assert "sk-canary" not in sealed
    assert await found_in(tmp_path / "agents.d", sealed, keys) == ()
    assert [v.code for v in await found_in(tmp_path / "agents.d", sealed, None)] == ["seal-unverified"]


BAD = {
    "plaintext-secret": (GROQ, "llm.fallback[0].api_key"),
    "unknown-provider": (HEAD + "  - {provider: grok.com}\n", "llm.fallback[0].provider"),
    "unknown-key": (HEAD + "  - {provider: echo.local, voice: x}\n", "llm.fallback[0].voice"),
    "missing-key": (HEAD + "  - {}\n", "llm.fallback[0]"),
    "wrong-type": (HEAD + "  - echo.local\n", "llm.fallback[0]"),
    "too-short": (HEAD.rstrip("\n") + " []\n", "llm.fallback"),
    "too-long": (HEAD + "  - {provider: echo.local}\n" * 5, "llm.fallback"),
    "invalid-value": (
        HEAD + "  - {provider: echo.local, fallback: [{provider: echo.local}]}\n",
        "llm.fallback[0].fallback",
    ),
    "fallback-space": (
        f"id: {uid(1)}\nembedding:\n  {{provider: openai-compatible, model: a, api_url: 'http://x',\n"
        "  fallback: [{provider: openai-compatible, model: b, api_url: 'http://y'}]}\n",
        "embedding.fallback[0].model",
    ),
}


@pytest.mark.parametrize("code", BAD)
async def test_a_bad_fallback_is_told_at_its_place(tmp_path: Path, keys: Keys, code: str) -> None:
    """By its own name, at its own line."""
    text, where = BAD[code]
    (violation,) = await found_in(tmp_path / "agents.d", text, keys)
    assert violation.code == code
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in violation.pointer)
    assert steps.lstrip(".") == where
    assert violation.line > 1


@pytest.mark.parametrize("known", [True, False], ids=["with a key", "without a key"])
async def test_a_fallbacks_secret_goes_only_where_it_belongs(tmp_path: Path, keys: Keys, known: bool) -> None:
    """The section itself holds no secret: the fallback's makes the rule hold, for the fallback alone."""
    for change, codes in ((", api_url: 'https://evil.example'", ["secret-destination"]), ("", [])):
        text = keys.seal(GROQ.replace("model: m", f"model: m{change}"))
        found = await found_in(tmp_path / "agents.d", text, keys if known else None)
        assert [v.code for v in found if v.severity == "error"] == codes
    section = GROQ.replace(
        "echo.local\n", "openai-compatible\n  model: m\n  api_url: http://127.0.0.1:1\n", 1
    )
    found = await found_in(tmp_path / "agents.d", keys.seal(section), keys)
    assert [v.code for v in found] == []


STRANGER = (
    "  - {{provider: openai-compatible, model: m, api_key: sk-canary-{0}, api_url: 'https://{0}.example'}}\n"
)


@pytest.mark.parametrize(("entries", "codes"), [(1, []), (2, ["secret-destination"] * 2)])
async def test_a_sealed_address_is_trusted_where_it_cannot_be_moved(
    tmp_path: Path, keys: Keys, entries: int, codes: list[str]
) -> None:
    """sops ties a value to its path without list indices: of several entries, one's address can become
    another's without a key. So of several, each origin has to be trusted by name."""
    text = HEAD + "".join(STRANGER.format(number) for number in range(entries))
    found = await found_in(tmp_path / "agents.d", keys.seal(text, "api_key|api_url"), keys)
    assert [violation.code for violation in found] == codes
