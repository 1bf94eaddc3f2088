"""The ``sops:`` block: keys that open a file, the rule by which it is sealed, its MAC (stores.go)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.errors import SealMalformed, SealTampered, SealUnsure
from agentsd.sops.rules import NAMES, SealRule, parse_rule

OTHER_KEYS = ("kms", "gcp_kms", "azure_kv", "hc_vault", "pgp", "hckms")
"""Key types that only the real sops opens."""

_FIELDS = ("age", "key_groups", "shamir_threshold", "lastmodified", "mac", "mac_only_encrypted", "version")
_KNOWN = frozenset((*NAMES, *OTHER_KEYS, *_FIELDS))
_TIME = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
    r"|[0-9]{4}-(0[13-9]|1[0-2])-(29|30)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
    r"|[0-9]{4}-(0[13578]|1[02])-31T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
)
_LIKE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[-+][0-9:]{5})"
)
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}")
_RESTORE = "restore the sops: block from git, or seal the file again"
_UNSURE = "the real sops must decide"


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys of which any one opens the group's share of the data key."""

    age: tuple[str, ...] = field(repr=False)  # armored files that wrap it
    others: bool  # it also has keys that only the real sops opens


@dataclass(frozen=True, slots=True)
class Seal:
    """Content of a ``sops:`` block."""

    groups: tuple[KeyGroup, ...]
    threshold: int  # key groups that are needed, where there are several
    rule: SealRule
    mac: str
    mac_only_encrypted: bool
    last_modified: str  # RFC 3339 in UTC, as written: it authenticates the MAC


def parse_seal(value: Mapping[str, Any]) -> Seal:
    """Return the seal of a document's value.

    Raises ``SealMalformed``, ``SealTampered``, ``SealUnsure``.
    """
    block = value.get("sops")
    if not isinstance(block, dict):
        raise SealMalformed("sops: is not a mapping", hint=_RESTORE)
    if not _KNOWN.issuperset(block):
        raise SealUnsure("sops: contains a field of another sops version", hint=_UNSURE)
    _check_version(block.get("version"))
    threshold = block.get("shamir_threshold", 0)
    mac_only = block.get("mac_only_encrypted", False)
    if type(threshold) is not int or threshold < 0 or type(mac_only) is not bool:
        raise SealUnsure("a field of sops: has an unusual type", hint=_UNSURE)
    return Seal(
        groups=_parse_groups(block),
        threshold=threshold,
        rule=parse_rule(block),
        mac=_get_text(block, "mac"),
        mac_only_encrypted=mac_only,
        last_modified=_read_last_modified(block),
    )


def _parse_groups(block: Mapping[str, Any]) -> tuple[KeyGroup, ...]:
    """Return the key groups: keys at the top are one group; ``key_groups`` count only without them."""
    if any(_get_list(block, name) for name in ("age", *OTHER_KEYS)):
        return (_parse_group(block),)
    groups = _get_list(block, "key_groups")
    if not groups:
        raise SealMalformed("sops: does not name a key that could open the file", hint=_RESTORE)
    return tuple(_parse_group(group) for group in groups)


def _parse_group(holder: Any) -> KeyGroup:
    if not isinstance(holder, dict):
        raise SealUnsure("a key group of an unusual form", hint=_UNSURE)
    keys = _get_list(holder, "age")
    wrapped = [key.get("enc") if isinstance(key, dict) else None for key in keys]
    if not all(isinstance(text, str) for text in wrapped):
        raise SealUnsure("an age key of an unusual form", hint=_UNSURE)
    others = any(_get_list(holder, name) for name in OTHER_KEYS)
    return KeyGroup(tuple(str(text) for text in wrapped), others or any(map(_is_other_recipient, keys)))


def _is_other_recipient(key: Mapping[str, Any]) -> bool:
    """Return whether a recipient is SSH, plugin (``age1name1…``) or post-quantum.

    The MAC does not cover it.
    """
    recipient = str(key.get("recipient"))
    return not recipient.startswith("age1") or recipient.count("1") > 1


def _get_list(holder: Mapping[str, Any], name: str) -> list[Any]:
    keys = holder.get(name)
    if keys is None:
        return []
    if not isinstance(keys, list):
        raise SealUnsure(f"sops.{name} is not a list", hint=_UNSURE)
    return keys


def _get_text(block: Mapping[str, Any], name: str) -> str:
    text = block.get(name)
    if not isinstance(text, str):
        raise SealMalformed(f"sops.{name} is missing", hint=_RESTORE)
    return text


def _read_last_modified(block: Mapping[str, Any]) -> str:
    text = _get_text(block, "lastmodified")
    if not _LIKE_TIME.fullmatch(text):
        raise SealTampered("sops.lastmodified is not a date and time", hint=_RESTORE)
    if not _TIME.fullmatch(text):
        raise SealUnsure("sops.lastmodified is written in an unusual form", hint=_UNSURE)
    return text


def _check_version(version: object) -> None:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise SealUnsure("sops.version is written in an unusual form", hint=_UNSURE)
