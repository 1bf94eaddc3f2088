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

from agentsd.control.writeback.delivery import EditPlan, EditPreview
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import read_document
from agentsd.core.sealed import is_sealed
from agentsd.core.secret import MASK
from agentsd.core.text.unified_diff import format_header, format_unified_diff
from agentsd.files.tree import is_attachment_name
from agentsd.files.yaml.blocks import CannotEdit
from agentsd.files.yaml.edit import update_document
from agentsd.files.yaml.emitter import dump_value

_SEAL_PLACEHOLDER = re.compile(
    r"ENC\[sealed by: agentsd edit [A-Za-z0-9._/-]+\]"
)  # see ``offline_preview.SEAL_PLACEHOLDER``
_BASE64 = "[A-Za-z0-9+/=]*"
_SEAL = re.compile(rf"ENC\[AES256_GCM,data:{_BASE64},iv:{_BASE64},tag:{_BASE64},type:[a-z]+\]")
_SEAL_DIGEST = re.compile(r"ENC\[[0-9a-f]{64}\]")
_SHORT_SEAL = "ENC[…]"
_SEAL_CHANGED_NOTE = " # the seal's own lines change, too\n"
_SECRET_CHANGED_NOTE = " # what changes is not shown: it is secret\n"  # noqa: S105
_SEAL_HIDDEN_NOTE = "# sops: (the seal's own lines are not shown)\n"

IsSecret = Callable[[str], bool]
"""Whether a field of this name holds a secret."""


@dataclass(frozen=True, slots=True)
class _MaskedManifest:
    """Manifest without its secrets; each seal is replaced by a digest, so that another one differs."""

    text: str | None = None  # None: there is no file
    sops: Any = None


def make_diff(preview: EditPreview, folder: str, is_secret: IsSecret) -> str:
    """Return the diff of all files that the edit touches, in its order. ``folder``: where they are."""
    plan = preview.decided
    return "".join(_diff_file(plan, edit, f"{folder}/{edit.path}", is_secret) for edit in plan.changing)


def make_preview_text(preview: EditPreview, is_secret: IsSecret) -> str:
    """Return the agent's manifest as it would be; empty where it would be gone."""
    path = preview.decided.path
    shown = _mask_manifest(preview.decided, path, preview.decided.after.get(path), is_secret)
    if shown.text is None:
        return ""
    return _SEAL_DIGEST.sub(_SHORT_SEAL, shown.text) + (_SEAL_HIDDEN_NOTE if shown.sops is not None else "")


def _diff_file(plan: EditPlan, edit: FileEdit, name: str, is_secret: IsSecret) -> str:
    before, after = (_mask_manifest(plan, edit.path, data, is_secret) for data in (edit.before, edit.after))
    resealed = before.sops != after.sops
    told = format_unified_diff(before.text, after.text, name)
    if not told:
        told = format_header(name, new=before.text is None, gone=after.text is None) + (
            "" if resealed else _SECRET_CHANGED_NOTE
        )
    return _SEAL_DIGEST.sub(_SHORT_SEAL, told) + (_SEAL_CHANGED_NOTE if resealed else "")


def _mask_manifest(plan: EditPlan, path: str, data: bytes | None, is_secret: IsSecret) -> _MaskedManifest:
    if data is None:
        return _MaskedManifest()
    if is_attachment_name(path):
        return _MaskedManifest(data.decode(errors="replace"))
    known = (one for one in plan.documents if (one.path, one.data) == (path, data))
    document = next(known, None) or read_document(path, data)
    value = document.value
    text, sops = data.decode(), value.get("sops")
    shown = {
        name: _mask_value(child, is_secret, within=is_secret(name))
        for name, child in value.items()
        if name != "sops"
    }
    if shown != value:
        try:
            text = update_document(document, shown).data.decode()
        except CannotEdit:  # only comments are lost
            text = dump_value(shown)
    return _MaskedManifest(_SEAL.sub(lambda seal: _compute_digest(seal[0]), text), sops)


def _mask_value(value: Any, is_secret: IsSecret, *, within: bool) -> Any:
    """Return ``value`` without seals and secrets. ``within``: all of it belongs to a secret field."""
    if isinstance(value, dict):
        return {
            name: _mask_value(child, is_secret, within=within or is_secret(name))
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_mask_value(child, is_secret, within=within) for child in value]
    if is_sealed(value):
        return _compute_digest(value)
    known = value in (None, "") or (isinstance(value, str) and _SEAL_PLACEHOLDER.fullmatch(value))
    return MASK if within and not known else value


def _compute_digest(seal: str) -> str:
    return f"ENC[{sha256(seal.encode()).hexdigest()}]"
