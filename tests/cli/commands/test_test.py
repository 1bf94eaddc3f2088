"""``agentsd test``: probes and checks from the command line, against real vendors' servers and real seals."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from agentsd.cli.main import cli
from tests.runtime.world import Keys, new_keys
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer

KEY = "sk-canary-77aa"
LLM = 'llm: {{provider: openai-compatible, model: m, api_key: {key}, api_url: "{url}", retries: 0}}\n'
ECHO = "llm:\n  provider: echo.local\n  reply: 'We open at 9 am. {system}'\n"
CHECKS = """\
checks:
  - say: When do you open?
    name: opening
    contains: 9 AM
    regex: '\\b9\\b'
    max_seconds: 60
"""


@pytest.fixture(scope="module")
def keys() -> Keys:
    """The key of the tree."""
    return new_keys()


@pytest.fixture
def root(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree, and its key at hand."""
    monkeypatch.setenv("SOPS_AGE_KEY", keys.identity)
    root = tmp_path / "agents.d"
    root.mkdir()
    return root


async def run(root: Path, *arguments: str) -> Result:
    """The command, in a thread of its own: the servers go on meanwhile."""
    command = ["test", "--path", str(root), *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert KEY not in result.output
    return result


async def test_an_agent_that_is_well(root: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealed manifest is opened and its vendor asked, with the key; no database is needed."""
    async with OpenAIServer() as server:
        (root / "a.yaml").write_text(keys.seal(LLM.format(key=KEY, url=server.url)))
        monkeypatch.setenv("AGENTSD_TRUSTED_ORIGINS", server.url)
        result = await run(root, "a")
        assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert (result.exit_code, "✓ llm (openai-compatible)" in result.output) == (0, True), result.output


async def test_every_way_of_failing_is_told_with_its_fix(
    root: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key, a document that breaks a rule, and one that nobody here can open: all in one run."""
    async with OpenAIServer(fault=Fault.UNAUTHORIZED) as server:
        monkeypatch.setenv("AGENTSD_TRUSTED_ORIGINS", server.url)
        text = LLM.format(key=KEY, url=server.url)
        (root / "denied.yaml").write_text(keys.seal(text))
        (root / "locked.yaml").write_text(new_keys().seal(text))
        (root / "wrong.yaml").write_text("llm: {provider: echo.local, replly: x}\n")
        (root / "well.yaml").write_text(ECHO)
        result = await run(root, "--all", "--format", "json")
    assert result.exit_code == 1
    found = {one["agent"]: one for one in json.loads(result.stdout)["agents"]}
    assert {name: one["ok"] for name, one in found.items()} == {
        "denied": False, "locked": False, "wrong": False, "well": True,
    }  # fmt: skip
    assert found["denied"]["providers"][0]["reason"] == "wrong-key"
    assert "agentsd edit denied" in found["denied"]["providers"][0]["fix"]
    assert "updatekeys" in found["locked"]["fix"]
    assert "'reply'" in found["wrong"]["fix"]


async def test_checks_that_pass_and_that_fail(root: Path) -> None:
    """Exit 0 and 1; the report says what was missing, and shows the answer."""
    (root / "good.yaml").write_text(ECHO + CHECKS)
    result = await run(root, "good")
    assert (result.exit_code, "✓ check: opening" in result.output) == (0, True), result.output
    bad = CHECKS.replace("9 AM", "10 am").replace("max_seconds: 60", "max_seconds: 0.0000001")
    (root / "bad.yaml").write_text(ECHO + bad)
    result = await run(root, "good", "bad")
    assert result.exit_code == 1
    for part in ("✗ check: opening", "does not contain '10 am'", "longer than", "answer: We open at 9 am."):
        assert part in result.output


async def test_checks_of_knowledge_need_no_database(root: Path) -> None:
    """The source that answers is cited; another one is not."""
    (root / "knowledge").mkdir()
    (root / "knowledge/hours.md").write_text("# Opening hours\n\nWe open at nine.\n")
    (root / "knowledge/prices.md").write_text("# Prices\n\nA ticket costs ten euros.\n")
    text = (
        ECHO.replace("{system}", "")
        + "rag:\n  sources: [knowledge/hours.md, knowledge/prices.md]\n  top_k: 1\n"
    )
    check = "checks:\n  - {say: 'When are your opening hours?', cites: knowledge/CITED.md}\n"
    (root / "a.yaml").write_text(text + check.replace("CITED", "hours"))
    (root / "b.yaml").write_text(text + check.replace("CITED", "prices"))
    result = await run(root, "a", "b", "--format", "json")
    a, b = json.loads(result.stdout)["agents"]
    assert (result.exit_code, a["ok"], b["ok"]) == (1, True, False)
    assert b["checks"][0]["failures"] == [
        "expected a citation of knowledge/prices.md; found knowledge/hours.md"
    ]


async def test_an_agent_without_a_working_llm_fails_its_checks(root: Path) -> None:
    """Nothing that was not asked passes."""
    (root / "mute.yaml").write_text("name: Mute\n" + CHECKS)
    result = await run(root, "mute")
    assert (result.exit_code, "not run" in result.output) == (1, True)


async def test_junit_is_what_ci_systems_read(root: Path) -> None:
    """A suite for each agent, a case for each provider and check; what XML cannot hold does no harm."""
    (root / "bad.yaml").write_text(ECHO.replace("9 am", "\\x07<9>").replace("'", '"') + CHECKS)
    (root / "good.yaml").write_text(ECHO + CHECKS)
    result = await run(root, "--all", "--format", "junit")
    assert result.exit_code == 1
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(result.stdout)}  # noqa: S314
    assert {name: suite.get("failures") for name, suite in suites.items()} == {"bad": "1", "good": "0"}
    names = [case.get("name") for case in suites["good"]]
    assert names == ["llm (echo.local)", "check: opening"]
    failure = suites["bad"].find("testcase/failure")
    assert failure is not None
    assert "9 AM" in str(failure.get("message"))


def git(folder: Path, *arguments: str) -> None:
    """The real git."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


async def test_only_what_changed_since_a_ref(root: Path) -> None:
    """Committed, not committed, new, and by its prompt's file; not what the other branch changed."""
    for name in ("same", "edited", "committed", "elsewhere"):
        (root / f"{name}.yaml").write_text(ECHO)
    (root / "prompted.yaml").write_text(ECHO + "system_prompt_file: prompt.md\n")
    (root / "prompt.md").write_text("Be kind.\n")
    git(root.parent, "init", "-b", "main")
    git(root.parent, "add", ".")
    git(root.parent, "commit", "-m", "one")
    git(root.parent, "switch", "-c", "work")
    (root / "committed.yaml").write_text(ECHO + "description: x\n")
    git(root.parent, "commit", "-am", "two")
    git(root.parent, "switch", "main")
    (root / "elsewhere.yaml").write_text(ECHO + "description: x\n")
    git(root.parent, "commit", "-am", "three")
    git(root.parent, "switch", "work")
    (root / "edited.yaml").write_text(ECHO + "description: x\n")
    (root / "new.yaml").write_text(ECHO)
    (root / "prompt.md").write_text("Be brief.\n")
    result = await run(root, "--changed", "main", "--format", "json")
    agents = [one["agent"] for one in json.loads(result.stdout)["agents"]]
    assert (result.exit_code, sorted(agents)) == (0, ["committed", "edited", "new", "prompted"])
    result = await run(root, "--changed", "no-such-ref")
    assert result.exit_code != 0


async def test_usage(root: Path) -> None:
    """Nobody named, and somebody who is not there."""
    (root / "support.yaml").write_text(ECHO)
    assert "no agent is named" in str((await run(root)).exception)
    assert "support" in str((await run(root, "suport")).exception)
