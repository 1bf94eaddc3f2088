"""Previews of edits for people: a diff, and the manifest as it would be. Neither shows a secret.

What is sealed is shortened to ``ENC[…]``, and everything below ``sops:`` is left out. A secret that
somebody wrote into a file in plain text is masked: a diff would otherwise disclose it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agentsd.control.writeback.delivery import Preview
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import read
from agentsd.core.sealed import is_sealed
from agentsd.core.secret import MASK
from agentsd.core.text.unified_diff import header, unified
from agentsd.files.yaml.blocks import CannotSplice
from agentsd.files.yaml.edit import rewrite
from agentsd.files.yaml.emitter import dump

_STAND_IN = re.compile(r"ENC\[sealed by: agentsd edit [A-Za-z0-9._/-]+\]")  # see ``sketching.STAND_IN``
_BASE64 = "[A-Za-z0-9+/=]*"
_SEAL = re.compile(rf"ENC\[AES256_GCM,data:{_BASE64},iv:{_BASE64},tag:{_BASE64},type:[a-z]+\]")
_DIGEST = re.compile(r"ENC\[[0-9a-f]{64}\]")
_SHORT = "ENC[…]"
_SEALED_TOO = " # the seal's own lines change, too\n"
_UNSHOWN = " # what changes is not shown: it is secret\n"
_SEAL_HERE = "# sops: (the seal's own lines are not shown)\n"

IsSecret = Callable[[str], bool]
"""Whether a field of this name holds a secret."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """Manifest without its secrets; each seal is replaced by a digest, so that another one differs."""

    text: str | None = None  # None: there is no file
    sops: Any = None


def diff_of(preview: Preview, folder: str, is_secret: IsSecret) -> str:
    """Return the diff of all files that the edit touches, in its order. ``folder``: where they are."""
    return "".join(_diff(edit, f"{folder}/{edit.path}", is_secret) for edit in preview.decided.changing)


def text_of(preview: Preview, is_secret: IsSecret) -> str:
    """Return the agent's manifest as it would be; empty where it would be gone."""
    path = preview.decided.path
    shown = _shown(path, preview.decided.after.get(path), is_secret)
    if shown.text is None:
        return ""
    return _DIGEST.sub(_SHORT, shown.text) + (_SEAL_HERE if shown.sops is not None else "")


def _diff(edit: FileEdit, name: str, is_secret: IsSecret) -> str:
    before, after = (_shown(edit.path, data, is_secret) for data in (edit.before, edit.after))
    resealed = before.sops != after.sops
    told = unified(before.text, after.text, name)
    if not told:
        told = header(name, new=before.text is None, gone=after.text is None) + ("" if resealed else _UNSHOWN)
    return _DIGEST.sub(_SHORT, told) + (_SEALED_TOO if resealed else "")


def _shown(path: str, data: bytes | None, is_secret: IsSecret) -> _Shown:
    if data is None:
        return _Shown()
    value = read(path, data).value
    text, sops = data.decode(), value.get("sops")
    shown = {
        name: _covered(child, is_secret, within=is_secret(name))
        for name, child in value.items()
        if name != "sops"
    }
    if shown != value:
        try:
            text = rewrite(text, shown)
        except CannotSplice:  # comments are lost, and nothing else
            text = dump(shown)
    return _Shown(_SEAL.sub(lambda seal: _digest(seal[0]), text), sops)


def _covered(value: Any, is_secret: IsSecret, *, within: bool) -> Any:
    """Return ``value`` without seals and secrets. ``within``: all of it belongs to a secret field."""
    if isinstance(value, dict):
        return {
            name: _covered(child, is_secret, within=within or is_secret(name))
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_covered(child, is_secret, within=within) for child in value]
    if is_sealed(value):
        return _digest(value)
    known = value in (None, "") or (isinstance(value, str) and _STAND_IN.fullmatch(value))
    return MASK if within and not known else value


def _digest(seal: str) -> str:
    return f"ENC[{sha256(seal.encode()).hexdigest()}]"
