"""Recipients of sealed files, compared with those that ``.sops.yaml`` names."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.positions import locate_pointer
from agentsd.core.violations import Violation
from agentsd.sops.admission import find_config

CONFIG_NAME = ".sops.yaml"


@dataclass(frozen=True, slots=True)
class Recipients:
    """Creation rules of one ``.sops.yaml``, with the recipients of each file."""

    folder: Path  # of the file; paths are matched relative to it
    rules: tuple[tuple[str, frozenset[str]], ...]  # (path_regex, keys), first match wins

    def check(self, root: Path, document: Document) -> Iterator[Violation]:
        """Warn where ``document`` is sealed to others than its rule names: in the nearest ``.sops.yaml``."""
        sealed_to = _list_recipients(document)
        if sealed_to is None:
            return
        file = root / document.path
        try:
            wanted = self._nearest(file)._wanted(file)
        except ConfigError as error:
            yield Violation(document.path, "recipients", error.message, error.hint, severity="warning")
            return
        if not wanted or wanted == sealed_to:
            return
        missing, extra = len(wanted - sealed_to), len(sealed_to - wanted)
        message = f"sealed to other keys than {CONFIG_NAME} names ({missing} missing, {extra} too many)"
        pointer = ("sops", "age")
        line, column = locate_pointer(document.data, pointer)
        hint = _make_hint(file)
        yield Violation(document.path, "recipients", message, hint, line, column, pointer, "warning")

    def _nearest(self, file: Path) -> Recipients:
        """Return the rules that sops finds for ``file``: from its folder upwards."""
        config = find_config(file)
        return self if config is None or config.parent == self.folder else _read_config(config)

    def _wanted(self, path: Path) -> frozenset[str]:
        try:
            relative = path.resolve().relative_to(self.folder.resolve()).as_posix()
        except ValueError:
            return frozenset()
        return next((keys for pattern, keys in self.rules if re.search(pattern, relative)), frozenset())


def _make_hint(file: Path) -> str:
    """Return a command for any working folder: from there upwards sops looks for the rules."""
    place = Path(os.path.abspath(file))  # noqa: PTH100  (links stay)
    return f"cd {shlex.quote(str(place.parent))} && sops updatekeys {shlex.quote(place.name)}"


def find_recipients(root: Path) -> Recipients | None:
    """Return the nearest ``.sops.yaml`` at or above ``root``, or None."""
    for folder in (root.absolute(), *root.absolute().parents):
        config = folder / CONFIG_NAME
        if config.is_file():
            return _read_config(config)
    return None


def _read_config(config: Path) -> Recipients:
    try:
        value = yaml.load(config.read_bytes(), Loader=yaml.CSafeLoader)
        rules = tuple(_parse_rule(rule) for rule in (value or {}).get("creation_rules", ()))
    except (OSError, yaml.YAMLError, AttributeError, TypeError, re.error) as error:
        raise ConfigError(
            f"{config} cannot be read as sops creation rules", hint="docs/configuration.md shows the form"
        ) from error
    return Recipients(config.parent, rules)


def _parse_rule(rule: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    groups = [rule, *rule.get("key_groups", ())]
    keys = {
        _name_key(kind, key) for group in groups for kind in _KINDS for key in _list_keys(group.get(kind))
    }
    pattern = str(rule.get("path_regex", ""))
    re.compile(pattern)
    return pattern, frozenset(keys)


def _list_keys(value: object) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(part).strip() for part in parts if str(part).strip()]


def _list_recipients(document: Document) -> frozenset[str] | None:
    block = document.value.get("sops")
    if not isinstance(block, Mapping):
        return None
    groups = [block, *(group for group in block.get("key_groups") or () if isinstance(group, Mapping))]
    return frozenset(
        _name_key(kind, str(entry.get(name)))
        for group in groups
        for kind, name in _KINDS.items()
        for entry in group.get(kind) or ()
        if isinstance(entry, Mapping)
    )


_KINDS = {"age": "recipient", "pgp": "fp", "kms": "arn", "gcp_kms": "resource_id"}
"""Kinds of keys that are compared, each with the field of a seal that names one."""


def _name_key(kind: str, key: str) -> str:
    """Return a key in the form that rules and seals have in common."""
    if kind == "pgp":
        return key.replace(" ", "").upper()
    return key.partition("+")[0] if kind == "kms" else key
