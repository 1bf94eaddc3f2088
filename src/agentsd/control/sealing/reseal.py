"""Edits of a manifest whose file may be sealed: what the edit does not touch keeps its bytes.

Plain fields under a MAC that covers sealed values only need no key. Everything that renews a seal
happens after the original was opened and verified, because sops is then run without checking the
old MAC: it cannot match any more. So nothing that was tampered with is ever sealed again.

sops is given the values, not the text: without comments, which it counts as items of lists, and in
a form that Go and Python read alike. Of what it returns, the new ciphertexts and the MAC are taken.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentsd.control.sealing.compare import (
    KEPT,
    compatible_sealed,
    dump_in_one_line,
    equal_opened,
    make_sops_path,
    strip_sops_metadata,
    with_leaves,
)
from agentsd.control.sealing.seal import seal_by_rule
from agentsd.core.errors import ConfigError, KeyNeeded, SealError, SealLocked, SealMalformed, SealUnsure
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_existing, get_value, iter_leaves
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer, format_pointer
from agentsd.files.yaml.edit import update_document
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import read_seal_type
from agentsd.sops.opener import Opener
from agentsd.sops.rules import NAMES, parse_rule

_UNWRITABLE_CHARACTERS = re.compile(
    "[\0\ud800-\udfff]"
)  # YAML and Postgres refuse NUL, UTF-8 half of a surrogate pair
_RENEWED_FIELDS = ("lastmodified", "mac", "version")
_BY_HAND_HINT = "change it with: agentsd edit FILE"


@dataclass(frozen=True, slots=True)
class _ManifestEdit:
    """Requested edit. In ``value``, ``texts`` are empty texts, or the seals that they replace."""

    document: Document  # as it is on disk
    value: dict[str, Any] = field(repr=False)  # without ``sops``
    texts: dict[Pointer, Any] = field(repr=False)  # values to be sealed again
    block: dict[str, Any] | None  # the file's ``sops``
    sure: bool = True  # whether the file's rule, and so what it seals, is known

    @property
    def only_sealed(self) -> bool:
        """Return whether plain values are outside the MAC."""
        return self.block is not None and self.block.get("mac_only_encrypted") is True

    def kept(self) -> Iterator[Pointer]:
        """Return the pointers at which seals of the file stay."""
        return (p for p, leaf in iter_leaves(self.value) if is_sealed(leaf) and p not in self.texts)

    async def frame(self) -> Document:
        """Return the edited text with the old ``sops`` block, and nothing in the places of ``texts``."""
        value = with_leaves(self.value, dict.fromkeys(self.texts))
        return await _rewrite_document(
            self.document, value if self.block is None else {**value, "sops": self.block}
        )

    def wanted(self) -> dict[str, Any]:
        """Return the whole plaintext, with ``KEPT`` for what stays sealed."""
        values = (p for p in self.kept() if read_seal_type(get_existing(self.value, p)) != "comment")
        return strip_sops_metadata(with_leaves(self.value, {**dict.fromkeys(values, KEPT), **self.texts}))


async def reseal_document(
    document: Document,
    value: Mapping[str, Any],
    secrets: Mapping[Pointer, str],
    *,
    file: Path,
    opener: Opener,
    sops: SopsBinary,
    blind: bool = False,
) -> Document:
    """Return ``file`` after an edit: its text with ``value``, and ``secrets`` sealed by sops.

    ``document`` is the file as it is (``Document(path, b"", {})`` for a new one). ``value`` is the
    whole new value without ``sops``, kept seals in place; a field of ``secrets`` is absent from it, or
    still the seal that it replaces. The parents of new secrets exist. A plain value is sealed where the
    file's rule requires it.

    Raises ``KeyNeeded`` where only a holder of the key can make the edit, ``SealTampered`` and other
    ``SealError`` where the original does not verify or ``value`` contains a seal from elsewhere,
    ``ConfigError`` where no rule seals a secret, ``SopsFailed``, and ``CannotEdit``. Changes no file.
    ``blind``: a secret that is given again is sealed again, so that a caller who only looks cannot
    verify guesses.
    """
    edit = _make_edit(document, value, secrets)
    _check_origin(edit)
    if edit.block is None:
        return await _seal_whole(edit, file, opener, sops) if edit.texts else await edit.frame()
    if edit.sure and not edit.texts and (unchanged := await _edit_outside_mac(edit)):
        if opener.can_open:
            await _verify_result(unchanged, edit.wanted(), opener)
        return unchanged
    originals = await _open_originals(edit, opener)
    if originals is not None and not blind:
        edit = _drop_repetitions(edit, originals)
    if not edit.texts and next(edit.kept(), None) is None:
        return await replace(edit, block=None).frame()
    if originals is None:
        return await _seal_whole(edit, file, opener, sops)
    result = await _edit_outside_mac(edit) or await _renew_seals(edit, originals, sops)
    await _verify_result(result, edit.wanted(), opener, must=True)
    return result


async def reseal_placeholder(
    document: Document, value: Mapping[str, Any], secrets: Mapping[Pointer, str], stand_in: str
) -> Document:
    """Edit as ``reseal_document`` does, without key, rules or sops: ``stand_in`` marks future seals."""
    edit = _make_edit(document, value, secrets)
    _check_origin(edit)
    block = {} if edit.block is None else {"sops": edit.block}
    return await _rewrite_document(
        document, with_leaves(edit.value, dict.fromkeys(edit.texts, stand_in)) | block
    )


def _make_edit(document: Document, value: Mapping[str, Any], secrets: Mapping[Pointer, str]) -> _ManifestEdit:
    for pointer, leaf in (*iter_leaves(value), *secrets.items()):
        if isinstance(leaf, str) and _UNWRITABLE_CHARACTERS.search(leaf):
            message = f"{format_pointer(pointer)} has a character that a manifest cannot contain"
            raise ConfigError(message, hint="remove NUL, and send whole characters")
    block = document.value.get("sops")
    if "sops" in document.value and not isinstance(block, dict):
        raise SealMalformed("sops: is not a mapping", hint="restore the sops: block from git")
    whole = with_leaves(value, {pointer: text for pointer, text in secrets.items() if text == ""})
    texts: dict[Pointer, Any] = {pointer: text for pointer, text in secrets.items() if text != ""}
    edit = _ManifestEdit(document, _insert_placeholders(whole, texts), texts, block)
    return edit if block is None else _add_covered_fields(edit, block)


def _insert_placeholders(value: Mapping[str, Any], texts: Mapping[Pointer, Any]) -> dict[str, Any]:
    """Insert an empty text at each new place of ``texts``: in a section, after its provider."""
    result = with_leaves(value, {})
    for pointer in texts:
        holder, name = get_existing(result, pointer[:-1]), pointer[-1]
        if isinstance(holder, dict) and name not in holder:
            items = list(holder.items())
            place = next((n for n, (key, _) in enumerate(items, 1) if key == "provider"), len(items))
            holder.clear()
            holder.update([*items[:place], (name, ""), *items[place:]])
    return result


def _add_covered_fields(edit: _ManifestEdit, block: Mapping[str, Any]) -> _ManifestEdit:
    """Return ``edit`` with plain values to be sealed too, where the file's rule requires it."""
    plain = {
        pointer: leaf
        for pointer, leaf in iter_leaves(edit.value)
        if pointer not in edit.texts and leaf is not None and leaf != "" and not is_sealed(leaf)
    }
    try:
        rule, sure = parse_rule(block), True
        covered = {p for p in plain if any(map(rule.hit, make_sops_path(p))) is rule.sealed}
    except SealUnsure:  # the real sops decides; what was sealed must be sealed again
        sure = False
        sealed = {
            make_sops_path(pointer) for pointer, leaf in iter_leaves(edit.document.value) if is_sealed(leaf)
        }
        covered = {pointer for pointer in plain if make_sops_path(pointer) in sealed}
    return replace(edit, texts={**edit.texts, **{p: plain[p] for p in plain if p in covered}}, sure=sure)


def _check_origin(edit: _ManifestEdit) -> None:
    """Check that every kept seal is one of the file's, for the same field, and occurs once."""
    known = Counter(
        (make_sops_path(pointer), leaf)
        for pointer, leaf in iter_leaves(edit.document.value)
        if edit.block is not None and pointer[0] != "sops" and is_sealed(leaf)
    )
    for pointer in edit.kept():
        seal = (make_sops_path(pointer), get_existing(edit.value, pointer))
        known[seal] -= 1
        if known[seal] < 0:
            message = f"{format_pointer(pointer)}: this sealed value differs from this field's in the file"
            raise SealError(message, hint="send the secret itself, or omit the field")


async def _edit_outside_mac(edit: _ManifestEdit) -> Document | None:
    """Return the edited document where nothing that the MAC covers has changed: no key is needed."""
    if edit.texts:
        return None
    frame = await edit.frame()
    same = _list_mac_leaves(frame, edit.only_sealed) == _list_mac_leaves(edit.document, edit.only_sealed)
    return frame if same else None


def _list_mac_leaves(document: Document, only_sealed: bool) -> list[tuple[tuple[str, ...], str, Any]]:
    """List what the MAC covers, in its order, with names of places and types, which it does not cover."""
    return [
        (make_sops_path(pointer), type(leaf).__name__, leaf)
        for pointer, leaf in iter_leaves(document.value)
        if pointer[0] != "sops" and leaf is not None and (is_sealed(leaf) or not only_sealed)
    ]


async def _open_originals(edit: _ManifestEdit, opener: Opener) -> dict[str, Any] | None:
    """Return the original's plaintexts by seal, after verification; None without a key, if not needed.

    Without one, a sealed value can be removed or replaced as a whole; but plain values that a full MAC
    authenticated cannot be sealed again by a process that is not able to verify them.
    """
    try:
        opened = await opener.open_surely(edit.document)
    except SealLocked as error:
        replaced = next(edit.kept(), None) is None and (edit.only_sealed or not edit.texts)
        if replaced:
            return None
        hint = f"{error.hint}; or have a key holder make the edit: agentsd edit FILE"
        raise KeyNeeded("the edit needs the sealed file's key, and none is available", hint=hint) from None
    before = strip_sops_metadata(edit.document.value)
    return {
        leaf: get_value(opened.value, pointer)
        for pointer, leaf in iter_leaves(before)
        if pointer in opened.sealed
    }


def _drop_repetitions(edit: _ManifestEdit, originals: Mapping[str, Any]) -> _ManifestEdit:
    """Return ``edit`` without the secrets that did not change: their seals stay."""
    same = {
        pointer: seal
        for pointer, text in edit.texts.items()
        if isinstance(seal := get_value(edit.document.value, pointer), str)
        and seal in originals
        and equal_opened(originals[seal], text)
    }
    texts = {pointer: text for pointer, text in edit.texts.items() if pointer not in same}
    return replace(edit, value=with_leaves(edit.value, same), texts=texts)


async def _seal_whole(edit: _ManifestEdit, file: Path, opener: Opener, sops: SopsBinary) -> Document:
    """Seal everything by the creation rules: public recipients suffice."""
    wanted = edit.wanted()
    result = await seal_by_rule(await _rewrite_document(edit.document, wanted), file, sops)
    _check_sealed(edit, result, ".sops.yaml does not include it")
    if not compatible_sealed(strip_sops_metadata(result.value), wanted):
        raise SealError("sops sealed other values than requested", hint=_BY_HAND_HINT)
    await _verify_result(result, wanted, opener)
    return result


async def _renew_seals(edit: _ManifestEdit, originals: Mapping[str, Any], sops: SopsBinary) -> Document:
    """Return the file with its new secrets and a new MAC, under its data key.

    The original was verified before.
    """
    if any(name in (edit.block or {}) for name in NAMES if "comment" in name):
        raise ConfigError("its comments determine what this file seals", hint=_BY_HAND_HINT)
    if whole := [format_pointer(pointer) for pointer, leaf in edit.texts.items() if type(leaf) is int]:
        raise ConfigError(f"{whole[0]}: sops would seal a whole number as a fraction", hint=_BY_HAND_HINT)
    frame = await edit.frame()
    data = dump_in_one_line(frame.value)
    for number, (pointer, text) in enumerate((edit.texts or _find_own_text(frame, originals)).items()):
        data = await sops.set(data, pointer, text, ignore_mac=number == 0)  # the first renews the MAC
    renewed = parse_document(frame.path, data).value
    block = {**frame.value["sops"], **{name: renewed["sops"][name] for name in _RENEWED_FIELDS}}
    seals = {pointer: get_existing(renewed, pointer) for pointer in edit.texts}
    value = {**with_leaves(frame.value, seals), "sops": block}
    _check_sealed(edit, replace(frame, value=value), "the file's own rule does not seal it")
    return await _rewrite_document(frame, value)


def _find_own_text(frame: Document, originals: Mapping[str, Any]) -> dict[Pointer, Any]:
    """Return some text of the document as it is: setting it changes nothing, but renews the MAC."""
    for pointer, leaf in iter_leaves(frame.value):
        text = originals.get(leaf) if is_sealed(leaf) else leaf
        if pointer[0] != "sops" and isinstance(text, str) and text:
            return {pointer: text}
    raise ConfigError("the file contains no string by which sops could seal it again", hint=_BY_HAND_HINT)


def _check_sealed(edit: _ManifestEdit, result: Document, why: str) -> None:
    for pointer, text in edit.texts.items():
        seal = get_value(result.value, pointer)
        if not is_sealed(seal) or seal == text:
            hint = f"add {pointer[-1]} to encrypted_regex of .sops.yaml, and seal the file again"
            raise ConfigError(f"{format_pointer(pointer)} would be written in plain text: {why}", hint=hint)


async def _verify_result(
    result: Document, wanted: Mapping[str, Any], opener: Opener, *, must: bool = False
) -> None:
    """Verify that the result opens to what was requested, where a key is available.

    Raises ``SealError``.
    """
    try:
        opened = await opener.open_surely(result)
    except (SealLocked, SealUnsure):
        if must:
            raise
        return
    if not equal_opened(opened.value, wanted) or opened.strays():
        raise SealError("the edited file would not decrypt to the requested values", hint=_BY_HAND_HINT)


async def _rewrite_document(document: Document, value: Mapping[str, Any]) -> Document:
    """Rewrite the document in a thread: a long text takes its time, and streams continue."""
    return await asyncio.to_thread(update_document, document, value)
