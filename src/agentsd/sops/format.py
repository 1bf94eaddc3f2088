"""Sealed values: ``ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`` (sops' aes/cipher.go).

Pure functions. Reads only the form that sops writes; whatever Go might read otherwise is
``SealUnsure``, so that the real sops decides.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agentsd.core.errors import SealTampered, SealUnsure
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import get_layers, is_owned_by
from agentsd.core.manifest.scalars import format_float

_BASE64 = r"([A-Za-z0-9+/]+={0,2})"
_SEALED = re.compile(
    rf"ENC\[AES256_GCM,data:{_BASE64},iv:{_BASE64},tag:{_BASE64},"
    r"type:(str|int|float|bool|bytes|time|comment)\]"
)
_LIKE_SEALED = re.compile(r"ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]")  # sops' own
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,8}[1-9])?(Z|[-+](?!00:00)[0-9]{2}:[0-9]{2})"
)
_ARMOR = re.compile(r"-----BEGIN AGE ENCRYPTED FILE-----(.*)-----END AGE ENCRYPTED FILE-----", re.DOTALL)
_RESEAL = "restore the file from git, or seal the value again: agentsd edit"
_UNSURE = "the real sops must decide"

Plain = tuple[Any, bytes]
"""An opened value and the bytes that count towards the MAC."""


def is_whole_seal(value: object) -> bool:
    """Return whether ``value`` is one whole sealed value, as sops writes it.

    Stricter than ``core.sealed.is_sealed``, which hides whatever may be sealed: only this form is opened.
    """
    return isinstance(value, str) and value.startswith("ENC[") and _SEALED.fullmatch(value) is not None


def read_seal_type(value: object) -> str | None:
    """Return the type that a sealed value claims to have (str, int, float, bool, …); None for a plain one.

    The claim is not authenticated by itself: a wrong one shows in the MAC when the file is opened.
    """
    match = _SEALED.fullmatch(value) if isinstance(value, str) else None
    return match[4] if match else None


def decrypt_value(text: str, cipher: AESGCM, aad: str, where: str) -> tuple[str, bytes]:
    """Return (type, plaintext) of one sealed value. ``where`` names the field in errors.

    Raises ``SealTampered``, and ``SealUnsure`` for values that sops might read and this function
    cannot.
    """
    match = _SEALED.fullmatch(text)
    if match is None:
        if _LIKE_SEALED.match(text):
            raise SealUnsure(f"{where} is sealed in an unusual form", hint=_UNSURE)
        raise SealTampered(f"{where} is plain, but the seal lists it as sealed", hint=_RESEAL)
    try:
        data, iv, tag = (a2b_base64(match[part], strict_mode=True) for part in (1, 2, 3))
        if not 8 <= len(iv) <= 128:
            raise SealUnsure(f"{where} is sealed with an unusual nonce", hint=_UNSURE)
        return match[4], cipher.decrypt(iv, data + tag, aad.encode())
    except (Base64Error, InvalidTag):
        raise SealTampered(f"{where} does not verify: it was changed or moved", hint=_RESEAL) from None


def parse_plaintext(kind: str, plain: bytes, where: str) -> Plain:
    """Return the value of an opened ``str``, ``int``, ``float``, ``bool`` or ``time`` (as RFC 3339 text)."""
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        raise SealUnsure(f"{where} does not contain UTF-8 text", hint=_UNSURE) from None
    if kind == "str":
        return text, plain
    if kind == "bool" and text in {"True", "False"}:
        return text == "True", plain
    if kind == "int" and _INTEGER.fullmatch(text) and -(1 << 63) <= int(text) < 1 << 63:
        return int(text), str(int(text)).encode()
    if kind == "float" and _FLOAT.fullmatch(text) and abs(float(text)) != float("inf"):
        return float(text), format_float(float(text)).encode()
    if kind == "time" and _TIME.fullmatch(text):
        return text, plain
    raise SealUnsure(f"{where} contains an unusual {kind}", hint=_UNSURE)


def encode_for_mac(value: str | float | bool) -> bytes:
    """Return the bytes that a plain leaf adds to the MAC (sops.ToBytes)."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return format_float(value).encode()
    return str(value).encode()  # True and False are title-case in sops too


def fingerprint_seals(document: Document) -> frozenset[bytes]:
    """Return SHA-256[:16] of every sealed value and every wrapped data key in ``document``.

    Computed over decoded bytes, so that another spelling of the same base64 is the same seal; the
    type tag is left out, because nothing authenticates it.
    """
    prints = {_fingerprint_text(text) for text in _iterate_sealed_texts(document.value)}
    prints.update(_iterate_wrapped_keys(document.value.get("sops")))
    return frozenset(prints)


def fingerprint_by_owner(document: Document, owner: str) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return fingerprints of the seals of ``owner``'s agent, and of top layers of other owners."""
    own: set[bytes] = set()
    lent: set[bytes] = set()
    for layer in get_layers(document):
        (own if is_owned_by(layer, document, owner) else lent).update(fingerprint_seals(layer))
    return frozenset(own), frozenset(lent)


def _iterate_sealed_texts(root: dict[str, Any]) -> Iterator[str]:
    nodes: list[Any] = [value for key, value in root.items() if key != "sops"]
    while nodes:
        node = nodes.pop()
        if isinstance(node, str) and _LIKE_SEALED.match(node):
            yield node
        elif isinstance(node, dict):
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)


def _fingerprint_text(text: str) -> bytes:
    match = _LIKE_SEALED.match(text)
    try:
        data, iv, tag = (a2b_base64(match[part]) for part in (1, 2, 3)) if match else (b"", b"", b"")
    except (Base64Error, ValueError):
        return _hash_parts(b"text", text.encode())
    return _hash_parts(b"value", iv, data + tag)


def _iterate_wrapped_keys(node: Any) -> Iterator[bytes]:
    """Yield every ``enc`` below ``sops``: age, kms, pgp, … at the top or in key groups."""
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            wrapped = node.get("enc")
            if isinstance(wrapped, str) and wrapped:
                yield _decode_wrapped_key(wrapped)
            nodes.extend(value for value in node.values() if isinstance(value, (dict, list)))


def _decode_wrapped_key(wrapped: str) -> bytes:
    armored = _ARMOR.search(wrapped)
    body = "".join((armored[1] if armored else wrapped).split())
    try:
        return _hash_parts(b"key", a2b_base64(body) if armored else body.encode())
    except (Base64Error, ValueError):
        return _hash_parts(b"key", body.encode())


def _hash_parts(*parts: bytes) -> bytes:
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()[:16]
