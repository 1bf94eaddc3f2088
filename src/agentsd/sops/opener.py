"""Opening of documents: in process where the result is certain, by the real sops elsewhere."""

from __future__ import annotations

import hmac
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pyrage

from agentsd.core.errors import (
    KeyServiceForbidden,
    SealError,
    SealLocked,
    SealMalformed,
    SealTampered,
    SealUnsure,
)
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.layers import LayeredDocument
from agentsd.core.names import derive_owner
from agentsd.core.trust.key_services import find_oversized
from agentsd.core.violations import Pointer
from agentsd.sops.admission import make_forbidden_error
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import fingerprint_seals, is_whole_seal, read_seal_type
from agentsd.sops.identities import Identities
from agentsd.sops.metadata import KeyGroup, Seal, parse_seal
from agentsd.sops.shamir import combine_shares
from agentsd.sops.tree import find_sealed_pointers, open_tree

__all__ = ["OpenedDocument", "Opener", "fingerprint_seals"]

_ARMOR = re.compile(
    r"-----BEGIN AGE ENCRYPTED FILE-----\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n"
    r"-----END AGE ENCRYPTED FILE-----\n?"
)
_SMALL_BYTES = 4 << 10
"""A file up to this size cannot contain keys that would take long."""
_STANZAS_MAX = 4
"""Recipients of one wrapped key that are tried here. sops writes one, and the time that pyrage takes grows
with the square of their number (1,000 in 131 kB: 63 s); the real sops is bounded, in a process of its own."""
_SHORT_CHARACTERS = 800  # characters; one recipient takes 430, and each further one 130
_NO_KEY_MESSAGE = "No matching keys found"  # pyrage's message when another identity is needed
_OTHER_BREAKS = ("\x85".encode(), "\u2028".encode(), "\u2029".encode())


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """Plaintext of a document. Its repr shows none of it."""

    value: dict[str, Any] = field(repr=False)  # without ``sops``; plain strings
    sealed: frozenset[Pointer]  # the leaves that were sealed and verified

    def strays(self) -> list[Pointer]:
        """Return values that look sealed but that the rule does not cover: nothing authenticates them."""
        found: list[Pointer] = []
        nodes: list[tuple[Pointer, Any]] = [((), self.value)]
        while nodes:
            pointer, node = nodes.pop()
            if isinstance(node, dict):
                nodes.extend(((*pointer, key), child) for key, child in node.items())
            elif isinstance(node, list):
                nodes.extend(((*pointer, index), child) for index, child in enumerate(node))
            elif is_whole_seal(node) and pointer not in self.sealed:
                found.append(pointer)
        return found

    def prints(self, key: bytes) -> dict[Pointer, bytes]:
        """Return HMAC-SHA256 under ``key`` of each leaf that was sealed: equal ones are equal secrets."""
        return {
            pointer: hmac.digest(key, _encode_typed(_get_value(self.value, pointer)), sha256)
            for pointer in self.sealed
        }


class Opener:
    """Opener of documents with the available identities. Keeps no data key and no plaintext."""

    def __init__(self, identities: Identities, binary: SopsBinary | None = None) -> None:
        self._identities = identities
        self._age = list(identities.x25519)
        self._binary = binary

    @property
    def can_open(self) -> bool:
        """Return whether there is any identity, or a key service that sops may ask."""
        return bool(self._identities) or (self._binary is not None and self._binary.services.any_network)

    @property
    def key_problems(self) -> tuple[str, ...]:
        """Return why sources of identities cannot be used, each with its name."""
        return self._identities.problems

    def obstacle(self, document: Document) -> SealLocked | None:
        """Return why no available key can open ``document``, without a try; None if a try may succeed."""
        if self._identities:
            return None
        for layer in document.layers if isinstance(document, LayeredDocument) else (document,):
            block = layer.value.get("sops")
            if isinstance(block, dict) and (error := self._obstacle(block)):
                return error
        return None

    def _obstacle(self, block: Mapping[str, Any]) -> SealLocked | None:
        """Return why a try cannot succeed without an identity: only if sops may ask no key service."""
        locked = SealLocked("no available identity opens the seal", hint=self._how_to_unlock())
        if self._binary is None:
            return locked
        admission = self._binary.services.admit(block)
        if admission.kinds - {"age"}:
            return None
        return (
            make_forbidden_error(admission.refusals) if admission.refusals and not admission.kinds else locked
        )

    def open(self, document: Document) -> OpenedDocument:
        """Open in process: age X25519, one key group or Shamir's several. MAC always verified.

        A document without ``sops`` is returned as it is; layers are each opened by their own seal. Raises
        ``SealLocked``, ``SealTampered``, ``SealMalformed``, and ``SealUnsure`` where only the real sops can
        decide.
        """
        if "sops" not in document.value:
            return OpenedDocument(document.value, frozenset())
        if isinstance(document, LayeredDocument):
            return _merge_layers(document, [self._open_layer(layer) for layer in document.layers])
        if not document.data.isascii() and any(mark in document.data for mark in _OTHER_BREAKS):
            raise SealUnsure("the file contains line breaks of other alphabets", hint=_ASK_HINT)
        block = document.value["sops"]
        large = len(document.data) > _SMALL_BYTES and isinstance(block, dict)
        if large and (refusal := find_oversized(block)):
            raise SealMalformed(refusal.message, hint=refusal.hint)
        seal = parse_seal(document.value)
        value, sealed = open_tree(document.value, seal, self._data_key(seal))
        return OpenedDocument(value, sealed)

    def _open_layer(self, layer: Document) -> OpenedDocument:
        with _name_layer(layer):
            return self.open(layer)

    async def open_surely(self, document: Document) -> OpenedDocument:
        """Open as ``open`` does; if that refuses or is not certain, let the real sops decide.

        A file counts as tampered only if both refuse. Raises ``SopsFailed`` if sops cannot be run.
        """
        try:
            return self.open(document)
        except (SealTampered, SealMalformed, SealUnsure):
            if self._binary is None:
                raise
        if isinstance(document, LayeredDocument):
            return _merge_layers(
                document, [await self._open_layer_surely(layer) for layer in document.layers]
            )
        plain = await self._binary.decrypt(document.data, owner=derive_owner(document.path))
        value = _restore_floats(document.value, plain)
        return OpenedDocument(value, find_sealed_pointers(document.value, value))

    async def _open_layer_surely(self, layer: Document) -> OpenedDocument:
        with _name_layer(layer):
            return await self.open_surely(layer)

    def _data_key(self, seal: Seal) -> bytes:
        shares = [share for group in seal.groups if (share := self._share(group)) is not None]
        elsewhere = bool(self._identities.others) or any(group.others for group in seal.groups)
        if len(seal.groups) == 1 and shares:
            return shares[0]
        if len(seal.groups) > 1 and len(shares) >= max(seal.threshold, 2):
            return _combine_shares(shares)
        if elsewhere:
            raise SealUnsure("a key that only the real sops can use", hint=_ASK_HINT)
        raise SealLocked("no available identity opens the seal", hint=self._how_to_unlock())

    def _share(self, group: KeyGroup) -> bytes | None:
        """Return the content of the first key of ``group`` that opens; None if none does."""
        if not self._age:
            return None
        damaged = False
        for wrapped in group.age:
            if not _ARMOR.fullmatch(wrapped) or _count_stanzas(wrapped) > _STANZAS_MAX:
                raise SealUnsure("a wrapped key of an unusual form", hint=_ASK_HINT)
            try:
                return bytes(pyrage.decrypt(wrapped.encode(), self._age))
            except pyrage.DecryptError as error:  # sops too tries the next one
                damaged |= str(error) != _NO_KEY_MESSAGE
        if damaged:
            raise SealUnsure("a wrapped key that cannot be read", hint=_ASK_HINT)
        return None

    def _how_to_unlock(self) -> str:
        if self._identities.problems:
            return f"skipped: {'; '.join(self._identities.problems)}"
        if not self._identities:
            return (
                "set SOPS_AGE_KEY_FILE to your age key, or put it into sops/age/keys.txt of the config folder"
            )
        return "ask a holder of the key to add your recipient: sops updatekeys"


def _count_stanzas(armored: str) -> int:
    """Return how many recipients a wrapped key claims to have; a short one has few."""
    if len(armored) < _SHORT_CHARACTERS:
        return 1
    try:
        return a2b_base64("".join(armored.strip().split("\n")[1:-1])).count(b"\n-> ")
    except Base64Error:
        return _STANZAS_MAX  # pyrage refuses it at once


_ASK_HINT = "the real sops must decide"


def _combine_shares(shares: list[bytes]) -> bytes:
    try:
        return combine_shares(shares)
    except ValueError:
        raise SealTampered(
            "the shares of the data key do not fit", hint="restore the file from git"
        ) from None


@contextmanager
def _name_layer(layer: Document) -> Iterator[None]:
    """Add the layer's path to the errors of a block."""
    try:
        yield
    except KeyServiceForbidden as error:
        message = f"{layer.path}: {error.message}"
        raise KeyServiceForbidden(
            message, hint=error.hint, pointer=error.pointer, final=error.final
        ) from None
    except SealError as error:
        raise type(error)(f"{layer.path}: {error.message}", hint=error.hint) from None


def _merge_layers(document: LayeredDocument, opened: Sequence[OpenedDocument]) -> OpenedDocument:
    """Merge the layers' plaintexts as their sealed documents are merged."""
    sealed = {at for index, one in enumerate(opened) for at in one.sealed if document.counts(at, index)}
    return OpenedDocument(document.taken([one.value for one in opened]), frozenset(sealed))


def _get_value(value: Any, pointer: Pointer) -> Any:
    for part in pointer:
        value = value[part]
    return value


def _encode_typed(value: Any) -> bytes:
    return f"{type(value).__name__}\0{value}".encode()


def _restore_floats(document: Mapping[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Return ``plain`` with the floats that JSON wrote as whole numbers (1.0 → 1) as floats again."""
    return {key: _restore_node(document.get(key), node) for key, node in plain.items()}


def _restore_node(before: Any, after: Any) -> Any:
    if isinstance(after, dict) and isinstance(before, dict):
        return _restore_floats(before, after)
    if isinstance(after, list) and isinstance(before, list):
        items = [item for item in before if read_seal_type(item) != "comment"]
        if len(items) == len(after):
            return [_restore_node(*pair) for pair in zip(items, after, strict=True)]
    if type(after) is int and (isinstance(before, float) or read_seal_type(before) == "float"):
        return float(after)
    return after
