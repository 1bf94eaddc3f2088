"""Sealing in process, in the very form that sops writes: a test tool, to make thousands of manifests.

agentsd itself always seals by the real sops. Every fleet that is made of this is checked on a sample
by the real sops (``fleet.py``), so that a mistake here cannot flatter a figure.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256, sha512

import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RULE = r"^(api_key|auth_token)$"
MODIFIED = "2026-11-22T12:00:00Z"


def seal(text: str, secrets: Mapping[tuple[str, str], str], recipient: str) -> str:
    """``text`` with ``{section.key}`` placeholders replaced by seals, and a ``sops`` block at its end.

    ``secrets`` holds (section, key) → plaintext in document order: the order that the MAC is taken in.
    """
    data_key = AESGCM.generate_key(256)
    cipher = AESGCM(data_key)
    mac = sha512(sha256(b"sops").digest())  # what mac_only_encrypted starts from
    for (section, key), plain in secrets.items():
        text = text.replace(f"{{{section}.{key}}}", _encrypt(cipher, plain, f"{section}:{key}:"))
        mac.update(plain.encode())
    sealed_mac = _encrypt(cipher, mac.hexdigest().upper(), MODIFIED)
    return text + "\n".join(_block(data_key, sealed_mac, recipient)) + "\n"


def _encrypt(cipher: AESGCM, plain: str, aad: str) -> str:
    iv = os.urandom(32)
    whole = cipher.encrypt(iv, plain.encode(), aad.encode())
    data, tag = whole[:-16], whole[-16:]
    return f"ENC[AES256_GCM,data:{_base64(data)},iv:{_base64(iv)},tag:{_base64(tag)},type:str]"


def _block(data_key: bytes, mac: str, recipient: str) -> Iterator[str]:
    wrapped = pyrage.encrypt(data_key, [pyrage.x25519.Recipient.from_str(recipient)], armored=True)
    yield "sops:"
    yield "  age:"
    yield f"    - recipient: {recipient}"
    yield "      enc: |"
    yield from (f"        {line}" for line in wrapped.decode().splitlines())
    yield f'  lastmodified: "{MODIFIED}"'
    yield f"  mac: {mac}"
    yield f"  encrypted_regex: {RULE}"
    yield "  mac_only_encrypted: true"
    yield "  version: 3.11.0"


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
