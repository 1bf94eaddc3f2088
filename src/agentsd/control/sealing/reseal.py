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
    agrees,
    contents,
    in_one_line,
    path_of,
    planted,
    resembles,
)
from agentsd.control.sealing.seal import sealed_by_rule
from agentsd.core.errors import ConfigError, KeyNeeded, SealError, SealLocked, SealMalformed, SealUnsure
from agentsd.core.manifest.document import Document, parse
from agentsd.core.manifest.pointers import at, get, leaves
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer, dotted
from agentsd.files.yaml.edit import rewrite
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import seal_type
from agentsd.sops.opener import Opener
from agentsd.sops.rules import NAMES, rule_of

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # YAML and Postgres take no NUL, UTF-8 no half of a pair
_RENEWED = ("lastmodified", "mac", "version")
_BY_HAND = "change it with: agentsd edit FILE"


@dataclass(frozen=True, slots=True)
class _Edit:
    """Requested edit. In ``value``, ``texts`` are empty texts, or the seals that they replace."""

    document: Document  # as it is on disk
    value: dict[str, Any] = field(repr=False)  # without ``sops``
    texts: dict[Pointer, Any] = field(repr=False)  # what is to be sealed anew
    block: dict[str, Any] | None  # the file's ``sops``
    sure: bool = True  # whether the file's rule could be told, and with it what it seals

    @property
    def only_sealed(self) -> bool:
        """Return whether plain values are outside the MAC."""
        return self.block is not None and self.block.get("mac_only_encrypted") is True

    def kept(self) -> Iterator[Pointer]:
        """Return the pointers at which seals of the file stay."""
        return (p for p, leaf in leaves(self.value) if is_sealed(leaf) and p not in self.texts)

    async def frame(self) -> Document:
        """Return the edited text with the old ``sops`` block, and nothing in the places of ``texts``."""
        value = planted(self.value, dict.fromkeys(self.texts))
        return await _rewritten(self.document, value if self.block is None else {**value, "sops": self.block})

    def wanted(self) -> dict[str, Any]:
        """Return the whole plaintext, with ``KEPT`` for what stays sealed."""
        values = (p for p in self.kept() if seal_type(at(self.value, p)) != "comment")
        return contents(planted(self.value, {**dict.fromkeys(values, KEPT), **self.texts}))


async def resealed(
    document: Document,
    value: Mapping[str, Any],
    secrets: Mapping[Pointer, str],
    *,
    file: Path,
    opener: Opener,
    sops: SopsBinary,
    blind: bool = False,
) -> bytes:
    """Return the bytes of ``file`` after an edit: its text with ``value``, and ``secrets`` sealed by sops.

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
    edit = _edit_of(document, value, secrets)
    _check_origin(edit)
    if edit.block is None:
        return await _sealed_whole(edit, file, opener, sops) if edit.texts else (await edit.frame()).data
    if edit.sure and not edit.texts and (unchanged := await _outside_mac(edit)):
        if opener.can_open:
            await _verify(unchanged, edit.wanted(), opener)
        return unchanged.data
    originals = await _originals(edit, opener)
    if originals is not None and not blind:
        edit = _without_repetitions(edit, originals)
    if not edit.texts and next(edit.kept(), None) is None:
        return (await replace(edit, block=None).frame()).data
    if originals is None:
        return await _sealed_whole(edit, file, opener, sops)
    result = await _outside_mac(edit) or await _renewed(edit, originals, sops)
    await _verify(result, edit.wanted(), opener, must=True)
    return result.data


async def unsealed(
    document: Document, value: Mapping[str, Any], secrets: Mapping[Pointer, str], stand_in: str
) -> bytes:
    """Edit as ``reseal`` does, without key, rules or sops: ``stand_in`` marks what would be sealed."""
    edit = _edit_of(document, value, secrets)
    _check_origin(edit)
    block = {} if edit.block is None else {"sops": edit.block}
    return (await _rewritten(document, planted(edit.value, dict.fromkeys(edit.texts, stand_in)) | block)).data


def _edit_of(document: Document, value: Mapping[str, Any], secrets: Mapping[Pointer, str]) -> _Edit:
    for pointer, leaf in (*leaves(value), *secrets.items()):
        if isinstance(leaf, str) and _UNWRITABLE.search(leaf):
            message = f"{dotted(pointer)} holds a character that no manifest can hold"
            raise ConfigError(message, hint="leave out NUL, and send whole characters")
    block = document.value.get("sops")
    if "sops" in document.value and not isinstance(block, dict):
        raise SealMalformed("sops: is no mapping", hint="restore the sops: block from git")
    whole = planted(value, {pointer: text for pointer, text in secrets.items() if text == ""})
    texts: dict[Pointer, Any] = {pointer: text for pointer, text in secrets.items() if text != ""}
    edit = _Edit(document, _placed(whole, texts), texts, block)
    return edit if block is None else _with_covered(edit, block)


def _placed(value: Mapping[str, Any], texts: Mapping[Pointer, Any]) -> dict[str, Any]:
    """Insert an empty text at each new place of ``texts``: in a section, after its provider."""
    result = planted(value, {})
    for pointer in texts:
        holder, name = at(result, pointer[:-1]), pointer[-1]
        if isinstance(holder, dict) and name not in holder:
            items = list(holder.items())
            place = next((n for n, (key, _) in enumerate(items, 1) if key == "provider"), len(items))
            holder.clear()
            holder.update([*items[:place], (name, ""), *items[place:]])
    return result


def _with_covered(edit: _Edit, block: Mapping[str, Any]) -> _Edit:
    """Return ``edit`` with plain values to be sealed too, where the file's rule requires it."""
    plain = {
        pointer: leaf
        for pointer, leaf in leaves(edit.value)
        if pointer not in edit.texts and leaf is not None and leaf != "" and not is_sealed(leaf)
    }
    try:
        rule, sure = rule_of(block), True
        covered = {p for p in plain if any(map(rule.hit, path_of(p))) is rule.sealed}
    except SealUnsure:  # the real sops has the last word; what was sealed must be so again
        sure = False
        sealed = {path_of(pointer) for pointer, leaf in leaves(edit.document.value) if is_sealed(leaf)}
        covered = {pointer for pointer in plain if path_of(pointer) in sealed}
    return replace(edit, texts={**edit.texts, **{p: plain[p] for p in plain if p in covered}}, sure=sure)


def _check_origin(edit: _Edit) -> None:
    """Check that every kept seal is one of the file's, for the same field, and occurs once."""
    known = Counter(
        (path_of(pointer), leaf)
        for pointer, leaf in leaves(edit.document.value)
        if edit.block is not None and pointer[0] != "sops" and is_sealed(leaf)
    )
    for pointer in edit.kept():
        seal = (path_of(pointer), at(edit.value, pointer))
        known[seal] -= 1
        if known[seal] < 0:
            message = f"{dotted(pointer)}: this sealed value is not the one of this field in the file"
            raise SealError(message, hint="give the secret itself, or leave the field as it is")


async def _outside_mac(edit: _Edit) -> Document | None:
    """Return the edited document where nothing that the MAC covers has changed: no key is needed."""
    if edit.texts:
        return None
    frame = await edit.frame()
    same = _in_mac(frame, edit.only_sealed) == _in_mac(edit.document, edit.only_sealed)
    return frame if same else None


def _in_mac(document: Document, only_sealed: bool) -> list[tuple[tuple[str, ...], str, Any]]:
    """List what the MAC covers, in its order, with names of places and types, which it does not cover."""
    return [
        (path_of(pointer), type(leaf).__name__, leaf)
        for pointer, leaf in leaves(document.value)
        if pointer[0] != "sops" and leaf is not None and (is_sealed(leaf) or not only_sealed)
    ]


async def _originals(edit: _Edit, opener: Opener) -> dict[str, Any] | None:
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
        hint = f"{error.hint}; or let a holder of the key make the edit: agentsd edit FILE"
        raise KeyNeeded("the edit needs the sealed file's key, and none is at hand", hint=hint) from None
    before = contents(edit.document.value)
    return {leaf: get(opened.value, pointer) for pointer, leaf in leaves(before) if pointer in opened.sealed}


def _without_repetitions(edit: _Edit, originals: Mapping[str, Any]) -> _Edit:
    """Return ``edit`` without the secrets that did not change: their seals stay."""
    same = {
        pointer: seal
        for pointer, text in edit.texts.items()
        if isinstance(seal := get(edit.document.value, pointer), str)
        and seal in originals
        and agrees(originals[seal], text)
    }
    texts = {pointer: text for pointer, text in edit.texts.items() if pointer not in same}
    return replace(edit, value=planted(edit.value, same), texts=texts)


async def _sealed_whole(edit: _Edit, file: Path, opener: Opener, sops: SopsBinary) -> bytes:
    """Seal everything by the creation rules: public recipients suffice."""
    wanted = edit.wanted()
    result = await sealed_by_rule(await _rewritten(edit.document, wanted), file, sops)
    _check_sealed(edit, result, ".sops.yaml does not tell to seal it")
    if not resembles(contents(result.value), wanted):
        raise SealError("sops sealed something else than was asked for", hint=_BY_HAND)
    await _verify(result, wanted, opener)
    return result.data


async def _renewed(edit: _Edit, originals: Mapping[str, Any], sops: SopsBinary) -> Document:
    """Return the file with its new secrets and a new MAC, under its data key.

    The original was verified before.
    """
    if any(name in (edit.block or {}) for name in NAMES if "comment" in name):
        raise ConfigError("what this file seals depends on its comments", hint=_BY_HAND)
    if whole := [dotted(pointer) for pointer, leaf in edit.texts.items() if type(leaf) is int]:
        raise ConfigError(f"{whole[0]}: sops would seal a whole number as a fraction", hint=_BY_HAND)
    frame = await edit.frame()
    data = in_one_line(frame.value)
    for number, (pointer, text) in enumerate((edit.texts or _own(frame, originals)).items()):
        data = await sops.set(data, pointer, text, ignore_mac=number == 0)  # the first renews the MAC
    renewed = parse(frame.path, data).value
    block = {**frame.value["sops"], **{name: renewed["sops"][name] for name in _RENEWED}}
    seals = {pointer: at(renewed, pointer) for pointer in edit.texts}
    value = {**planted(frame.value, seals), "sops": block}
    _check_sealed(edit, replace(frame, value=value), "the file's own rule does not seal it")
    return await _rewritten(frame, value)


def _own(frame: Document, originals: Mapping[str, Any]) -> dict[Pointer, Any]:
    """Return some text of the document as it is: setting it changes nothing, but renews the MAC."""
    for pointer, leaf in leaves(frame.value):
        text = originals.get(leaf) if is_sealed(leaf) else leaf
        if pointer[0] != "sops" and isinstance(text, str) and text:
            return {pointer: text}
    raise ConfigError("the file holds no text by which sops could seal it again", hint=_BY_HAND)


def _check_sealed(edit: _Edit, result: Document, why: str) -> None:
    for pointer, text in edit.texts.items():
        seal = get(result.value, pointer)
        if not is_sealed(seal) or seal == text:
            hint = f"name {pointer[-1]} in encrypted_regex of .sops.yaml, and seal the file anew"
            raise ConfigError(f"{dotted(pointer)} would stand there in plain text: {why}", hint=hint)


async def _verify(result: Document, wanted: Mapping[str, Any], opener: Opener, *, must: bool = False) -> None:
    """Verify that the result opens to what was requested, where a key is available.

    Raises ``SealError``.
    """
    try:
        opened = await opener.open_surely(result)
    except (SealLocked, SealUnsure):
        if must:
            raise
        return
    if not agrees(opened.value, wanted) or opened.strays():
        raise SealError("the edited file would not open to what was asked for", hint=_BY_HAND)


async def _rewritten(document: Document, value: Mapping[str, Any]) -> Document:
    """Rewrite the document in a thread: a long text takes its time, and streams continue."""
    return await asyncio.to_thread(_parsed_again, document, value)


def _parsed_again(document: Document, value: Mapping[str, Any]) -> Document:
    return parse(document.path, rewrite(document.data.decode(), value).encode())
