"""Opening a whole document with its data key: every sealed leaf, and the MAC over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256, sha512
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agentsd.core.errors import SealTampered, SealUnsure
from agentsd.core.violations import Pointer, format_pointer
from agentsd.sops.format import decrypt_value, encode_for_mac, is_whole_seal, parse_plaintext, read_seal_type
from agentsd.sops.metadata import Seal

_COMMENT = object()  # a comment inside a list, which sops turned into an item
_RESEAL = "restore the file from git, or seal it again: agentsd edit"


def open_tree(
    value: Mapping[str, Any], seal: Seal, data_key: bytes
) -> tuple[dict[str, Any], frozenset[Pointer]]:
    """Return (plaintext without ``sops``, pointers of the leaves that were sealed), its MAC verified.

    Comments that sops turned into list items are dropped; pointers count without them.
    Raises ``SealTampered`` and ``SealUnsure``.
    """
    try:
        walk = _Walk(seal, AESGCM(data_key))
    except ValueError:
        raise SealTampered("the data key has a wrong length", hint=_RESEAL) from None
    plain = walk.mapping({key: node for key, node in value.items() if key != "sops"}, "", (), hit=False)
    if not compare_digest(walk.mac.hexdigest().upper(), _decrypt_mac(seal, walk.cipher)):
        raise SealTampered("the MAC does not match: a value was changed, moved or removed", hint=_RESEAL)
    return plain, frozenset(walk.sealed)


def find_sealed_pointers(value: Mapping[str, Any], plain: Mapping[str, Any]) -> frozenset[Pointer]:
    """Return pointers of the leaves that are sealed in ``value`` but not in its opened twin ``plain``."""
    found: set[Pointer] = set()
    pairs: list[tuple[Pointer, Any, Any]] = [((key,), value.get(key), plain[key]) for key in plain]
    while pairs:
        pointer, before, after = pairs.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            pairs.extend(((*pointer, key), before.get(key), after[key]) for key in after)
        elif isinstance(before, list) and isinstance(after, list):
            items = [item for item in before if read_seal_type(item) != "comment"]
            pairs.extend(
                ((*pointer, index), *pair) for index, pair in enumerate(zip(items, after, strict=False))
            )
        elif is_whole_seal(before) and before != after:
            found.add(pointer)
    return frozenset(found)


def _decrypt_mac(seal: Seal, cipher: AESGCM) -> str:
    if not seal.mac:
        raise SealTampered("the MAC is empty", hint=_RESEAL)
    kind, mac = decrypt_value(seal.mac, cipher, seal.last_modified, "sops.mac")
    if kind != "str" or not mac.isascii():
        raise SealTampered("the MAC is null", hint=_RESEAL)
    return mac.decode()


class _Walk:
    """Pass in document order. ``hit`` means that a key on the path matched the rule."""

    __slots__ = ("cipher", "mac", "only_sealed", "rule", "sealed")

    def __init__(self, seal: Seal, cipher: AESGCM) -> None:
        self.cipher = cipher
        self.rule = seal.rule
        self.only_sealed = seal.mac_only_encrypted
        self.mac = sha512(sha256(b"sops").digest() if seal.mac_only_encrypted else b"")
        self.sealed: list[Pointer] = []

    def mapping(self, node: Mapping[str, Any], aad: str, pointer: Pointer, *, hit: bool) -> dict[str, Any]:
        opened = {}
        for key, child in node.items():
            plain = self.node(child, f"{aad}{key}:", (*pointer, key), hit=hit or self.rule.hit(key))
            if plain is _COMMENT:
                raise SealUnsure(
                    f"{format_pointer((*pointer, key))} is a comment", hint="the real sops must decide"
                )
            opened[key] = plain
        return opened

    def items(self, node: list[Any], aad: str, pointer: Pointer, *, hit: bool) -> list[Any]:
        opened: list[Any] = []
        for child in node:
            plain = self.node(child, aad, (*pointer, len(opened)), hit=hit)
            if plain is not _COMMENT:
                opened.append(plain)
        return opened

    def node(self, node: Any, aad: str, pointer: Pointer, *, hit: bool) -> Any:
        if isinstance(node, dict):
            return self.mapping(node, aad, pointer, hit=hit)
        if isinstance(node, list):
            return self.items(node, aad, pointer, hit=hit)
        if node is None:
            return None
        if hit is self.rule.sealed:
            return self.leaf(node, aad, pointer)
        if not self.only_sealed:
            self.mac.update(encode_for_mac(node))
        return node

    def leaf(self, node: Any, aad: str, pointer: Pointer) -> Any:
        if node == "":
            return ""  # sops seals no empty text
        where = format_pointer(pointer)
        if not isinstance(node, str):
            raise SealTampered(f"{where} is plain, but the seal lists it as sealed", hint=_RESEAL)
        kind, plain = decrypt_value(node, self.cipher, aad, where)
        if kind == "comment":
            return _COMMENT
        value, counted = parse_plaintext(kind, plain, where)
        self.mac.update(counted)
        self.sealed.append(pointer)
        return value
