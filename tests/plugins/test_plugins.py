"""Providers from other packages: an example package, installed for the test, and broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.errors import ConfigError
from agentsd.providers.entry_points import InstalledProviders, load_installed_providers
from agentsd.providers.resilience import builder as resilient
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics
from tests.vendors.openai_server import OpenAIServer

SOURCE = Path(__file__).parent / "beeper/src"
POINTS = {"tts.beep.example": "beeper.voice:VENDOR", "llm.shout.example": "beeper.model:VENDOR"}
AGENT = "llm: {provider: echo.local}\ntts: {provider: beep.example, pitch: 200}\n"


def install(site: Path, points: dict[str, str], name: str = "beeper") -> Path:
    """What an installer leaves in ``site``: the package's metadata."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {target}\n" for point, target in points.items())
    (folder / "entry_points.txt").write_text(f"[agentsd.providers]\n{lines}")
    return site


@pytest.fixture
def beeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledProviders:
    """The example package, installed."""
    monkeypatch.syspath_prepend(SOURCE)
    found = load_installed_providers([str(install(tmp_path / "site", POINTS)), str(SOURCE)])
    assert found.problems == ()
    return found


async def test_a_packages_provider_runs_like_any_other(beeper: InstalledProviders) -> None:
    """Its settings class reads the section, its factory makes the client; its calls are counted."""

    async def text() -> Any:
        yield "One two three."

    sessions, metrics = HttpSessions(), Metrics()
    settings = beeper.catalog.settings_of("tts", {"provider": "beep.example", "pitch": 200})
    voice: Any = resilient.build_provider(beeper.catalog, "tts", settings, sessions, metrics)
    spoken = b"".join([pcm async for pcm in voice.stream(text())])
    assert (len(spoken), voice.sample_rate) == (3 * 3200, 16_000)
    labels = {"kind": "tts", "provider": "beep.example"}
    assert metrics.registry.get_sample_value("agentsd_provider_requests_total", labels) == 1
    with pytest.raises(ConfigError, match="pitch"):
        beeper.catalog.settings_of("tts", {"provider": "beep.example", "pitch": 1})
    await voice.aclose()


async def test_a_packages_vendor_on_a_network_is_its_settings(beeper: InstalledProviders) -> None:
    """One that speaks OpenAI's protocol has no code of its own; its key goes to it."""
    sessions = HttpSessions()
    async with OpenAIServer() as server:
        section = {"provider": "shout.example", "model": "m", "api_key": "k", "api_url": server.url}
        settings = beeper.catalog.settings_of("llm", section)
        llm: Any = resilient.build_provider(beeper.catalog, "llm", settings, sessions, Metrics())
        assert (await llm.complete({"messages": []}))["choices"]
        assert server.last.headers["authorization"] == "Bearer k"
        await llm.aclose()
    assert beeper.catalog.vendor("llm", "shout.example").settings.secret_fields() == {"api_key"}


def agentsd(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that has ``site`` and the example on its path."""
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{SOURCE}"}
    command = [sys.executable, "-m", "agentsd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_manifests_may_name_it(tmp_path: Path) -> None:
    """It joins the schema, validate checks it, test runs it; without the package it is unknown."""
    root = tmp_path / "agents.d"
    root.mkdir()
    (root / "a.yaml").write_text(AGENT)
    site = install(tmp_path / "site", POINTS)
    schema = json.loads(agentsd(site, "schema").stdout)
    assert "pitch" in schema["$defs"]["tts-beep.example"]["properties"]
    assert "sealed-str" in json.dumps(schema["$defs"]["llm-shout.example"]["properties"]["api_key"])
    assert agentsd(site, "validate", "--path", str(root)).returncode == 0
    tested = agentsd(site, "test", "a", "--path", str(root))
    assert (tested.returncode, "tts (beep.example)" in tested.stdout) == (0, True), tested.stderr
    (root / "a.yaml").write_text(AGENT.replace("pitch", "pich"))
    assert "'pitch'" in agentsd(site, "validate", "--path", str(root)).stderr
    (root / "a.yaml").write_text("tts: {provider: shout.example}\n")
    assert "unknown-provider" in agentsd(tmp_path, "validate", "--path", str(root)).stderr


def test_a_broken_package_is_told_and_hurts_nobody_else(tmp_path: Path) -> None:
    """The command goes on with the others, after one warning that names package, reason and what to do."""
    root = tmp_path / "agents.d"
    root.mkdir()
    (root / "a.yaml").write_text(AGENT)
    site = install(tmp_path / "site", POINTS)
    install(site, {"llm.bad.example": "no_such_module:VENDOR"}, "aaa-bad")
    done = agentsd(site, "validate", "--path", str(root))
    assert done.returncode == 0
    assert done.stderr.count("'llm.bad.example' of aaa-bad 1.0 is left out") == 1
    assert "no_such_module is missing" in done.stderr


MODULE = """\
from typing import Annotated, Literal
from pydantic import Field
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.vendor import Vendor

class Named(ProviderSettings):
    provider: Literal["good.example"]

class Bare(ProviderSettings):
    provider: Literal["bare.example"]
    field: str = "x"

class Nameless(ProviderSettings):
    other: str = ""

GOOD, BARE, NAMELESS = (Vendor(settings, None) for settings in (Named, Bare, Nameless))
FOREIGN = Vendor(dict, None)
"""
BROKEN = [
    ({"video.good.example": "plugged:GOOD"}, "does not begin with one of llm., tts., stt., embedding."),
    ({"llm": "plugged:GOOD"}, "does not begin"),
    ({"llm.groq.com": "plugged:GOOD"}, "a provider of this name already"),
    ({"llm.other.example": "plugged:GOOD"}, 'provider: Literal["good.example"]'),
    ({"llm.bare.example": "plugged:BARE"}, "no description: field"),
    ({"llm.nameless.example": "plugged:NAMELESS"}, "do not produce a schema"),
    ({"llm.foreign.example": "plugged:FOREIGN"}, "not a Vendor with a subclass of ProviderSettings"),
    ({"llm.x.example": "plugged:Named"}, "not a Vendor"),
    ({"llm.x.example": "plugged:MISSING"}, "importing it fails: AttributeError"),
    ({"llm.x.example": "plugged_badly:VENDOR"}, "importing it fails: RuntimeError"),
]


@pytest.mark.parametrize(("points", "why"), BROKEN, ids=lambda value: str(value)[:40])
def test_what_is_wrong_with_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: dict[str, str], why: str
) -> None:
    """Left out, with the reason, and without the text of a foreign error."""
    (tmp_path / "plugged.py").write_text(MODULE)
    (tmp_path / "plugged_badly.py").write_text("raise RuntimeError('secret words')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("plugged", "plugged_badly"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = load_installed_providers([str(install(tmp_path, points))])
    (problem,) = found.problems
    assert why in problem.message
    assert "secret words" not in str(problem)
    assert "good.example" not in found.catalog.llm


def test_without_such_packages_nothing_is_asked(tmp_path: Path) -> None:
    """Folders that are not there, and packages without the group, bring nothing and do no harm."""
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "entry_points.txt").write_text("[console_scripts]\nx = y:z\n")
    code = (
        "from agentsd.providers.entry_points import load_installed_providers; "
        f"found = load_installed_providers([{str(tmp_path)!r}, {str(tmp_path / 'nowhere')!r}]); "
        "print(len(found.problems), len(found.catalog.llm) > 3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["0", "True"]
