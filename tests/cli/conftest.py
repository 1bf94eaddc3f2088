"""A repository of manifests in a folder of its own, and the command line in it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentsd.cli.main import main
from tests.control.place import echo, groq
from tests.runtime.world import Keys, new_keys

RULES = """creation_rules:
  - path_regex: agents\\.d/.*\\.ya?ml$
    encrypted_regex: ^(api_key|auth_token)$
    mac_only_encrypted: true
    age: {age}
stores:
  yaml:
    indent: 2
"""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which is one JSON document and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Runs commands: in this process by ``run``, in one of their own by ``spawn``."""

    root: Path
    keys: Keys
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def write(self, path: str, content: str | bytes) -> Path:
        """A file below ``agents.d``."""
        file = self.root / "agents.d" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def env(self, **variables: str | None) -> None:
        """Set variables from now on; None removes one."""
        for name, value in variables.items():
            if value is None:
                self.monkeypatch.delenv(name, raising=False)
            else:
                self.monkeypatch.setenv(name, value)

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """One command, as ``agentsd`` would run it."""
        self.monkeypatch.setattr(sys, "argv", ["agentsd", *arguments])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capsys.readouterr()
        code = ended.value.code
        assert "Traceback" not in err
        return Done(code if isinstance(code, int) else 0, out, err)

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """One command in a process of its own, with pipes."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "agentsd", *arguments]
        return subprocess.Popen(command, cwd=self.root, text=True, **pipes)


@pytest.fixture(scope="session")
def keys() -> Keys:
    """The repository's age key."""
    return new_keys()


@pytest.fixture
def shell(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """An empty ``agents.d`` beside a ``.sops.yaml``; no database and no key in the environment."""
    for name in list(os.environ):
        if name.startswith(("AGENTSD_", "SOPS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("AGENTSD_DATA_DIR", str(tmp_path / "postgres"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents.d").mkdir()
    (tmp_path / ".sops.yaml").write_text(RULES.format(age=keys.recipient))
    (tmp_path / "key.txt").write_text(f"{keys.identity}\n")
    return Shell(tmp_path, keys, monkeypatch, capsys)


@pytest.fixture
def keyed(shell: Shell) -> Shell:
    """With the key at hand."""
    shell.env(SOPS_AGE_KEY_FILE="key.txt")
    return shell


@pytest.fixture
def stocked(shell: Shell, database_url: str) -> Shell:
    """Two agents, one of them sealed, and an empty migrated database."""
    shell.env(AGENTSD_DATABASE_URL=database_url)
    shell.write("a.yaml", echo(1))
    shell.write("acme/b.yaml", shell.keys.seal(groq(2)))
    return shell


@pytest.fixture
def made(shell: Shell) -> Shell:
    """A fresh repository in ``x``, and a shell in it; its key is where sops looks."""
    done = shell.run("init", "x")
    assert done.code == 0, done.err
    shell.monkeypatch.chdir(shell.root / "x")
    return Shell(shell.root / "x", shell.keys, shell.monkeypatch, shell.capsys)
