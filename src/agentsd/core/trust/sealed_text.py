"""Sealed manifests as text for diffs. Pure."""

from __future__ import annotations

import re
from hashlib import sha256

_SEAL = re.compile(r"ENC\[AES256_GCM,[^\]\n]*?(?:type:([a-z]+))?\]")
_BLOCK = re.compile(r"^sops:[^\n]*\n(?:(?:[ \t-][^\n]*|)(?:\n|\Z))*", re.MULTILINE)
_KEY = re.compile(
    r"^[ -]*(?:recipient|fp|arn|resource_id|vault_url|vault_address|key_id): *(\S.*?)\s*$", re.MULTILINE
)
_SHOWN = 8  # hex digits of a hash: enough to distinguish ciphertexts


def mask_sealed_text(text: str) -> str:
    """Return ``text`` with a short hash for each ciphertext, and of its ``sops`` block only the keys.

    A changed secret shows as another hash, a new recipient as a new line; values that every edit renews
    are left out.
    """
    keys: list[str] = []
    for block in _BLOCK.findall(text):
        keys += _KEY.findall(block)
    shown = _SEAL.sub(_hash_seal, _BLOCK.sub("", text))
    lines = "".join(f"# sealed to {key}\n" for key in sorted(keys))
    return f"{shown}{'' if shown.endswith(chr(10)) or not shown else chr(10)}{lines}"


def _hash_seal(seal: re.Match[str]) -> str:
    return f"(sealed {seal[1] or 'value'} {sha256(seal[0].encode()).hexdigest()[:_SHOWN]})"
