"""Git's merge driver: three versions of a manifest become one.

The versions are merged field by field (``core.manifest.three_way_merge``): secrets by their
plaintexts where a key is available, by their ciphertexts otherwise. One version is the frame: its
data key and recipients stay, and only secrets that it does not contain yet are sealed anew, by the
real sops. Plaintext is in memory and in pipes only; what is written, after a conflict too, is
sealed as ours was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentsd.control.sealing.compare import contents, path_of, planted
from agentsd.control.sealing.reseal import resealed
from agentsd.core.errors import AgentsdError, InvalidManifests, KeyNeeded, SealError, SealLocked
from agentsd.core.manifest.document import Document, parse
from agentsd.core.manifest.pointers import get, leaves
from agentsd.core.manifest.three_way_merge import Merged, Sealed, alike, merge
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer, dotted
from agentsd.files.git.merge_file import merge_texts
from agentsd.files.yaml.blocks import CannotSplice, append_block, top_level_block
from agentsd.files.yaml.edit import rewrite
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import seal_type
from agentsd.sops.opener import Opener

_RENEWED = ("lastmodified", "mac", "version")
"""What every edit of a sealed file renews; the rest of its ``sops`` block says who can open it."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a merge. ``data`` None: nothing to write, the file stays ours."""

    data: bytes | None = field(repr=False)
    problems: tuple[str, ...] = ()  # each an unresolved conflict; never quotes a value
    hint: str = ""

    @property
    def clean(self) -> bool:
        """Return whether nothing is left for a person to decide."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Versions:
    """Three versions and their values: sealed leaves are ``Sealed``."""

    documents: tuple[Document, Document, Document]  # base, ours, theirs; an empty base where there is none
    values: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = field(repr=False)
    opened: bool  # by what secrets hold; else by their ciphertexts


class _Unmergeable(AgentsdError):
    """Reason why the versions cannot be merged."""


async def merged(
    base: bytes, ours: bytes, theirs: bytes, *, file: Path, opener: Opener, sops: SopsBinary
) -> Result:
    """Merge three versions of ``file`` into one manifest; ``base`` may be empty. Changes no file."""
    try:
        documents = tuple(_parsed(str(file), data) for data in (base, ours, theirs))
    except InvalidManifests:
        return await _as_text(base, ours, theirs, "this is not YAML, so it is merged as text")
    try:
        versions = await _opened(documents, opener)  # type: ignore[arg-type]  # three of them
        decided = merge(*versions.values)
        if decided.conflicts and not any("sops" in one.value for one in documents):
            return await _as_text(base, ours, theirs, *_told(decided))
        result = await _written(versions, decided, file, opener, sops)
        data = await _with_comments(versions.documents, result, opener)
    except AgentsdError as error:
        return Result(None, (error.message,), error.hint)
    return Result(data, _told(decided), "the field is left as ours; theirs is in: git show :3:FILE")


def _told(decided: Merged) -> tuple[str, ...]:
    return tuple(f"{dotted(pointer)}: both sides changed it" for pointer in decided.conflicts)


async def _as_text(base: bytes, ours: bytes, theirs: bytes, *why: str) -> Result:
    text, conflicts = await merge_texts(base, ours, theirs)
    return Result(text, why if conflicts else (), "look for <<<<<<< in the file" if conflicts else "")


def _parsed(path: str, data: bytes) -> Document:
    return parse(path, data) if data.strip() else Document(path, b"", {})


async def _opened(documents: tuple[Document, Document, Document], opener: Opener) -> _Versions:
    if any(seal_type(leaf) == "comment" for one in documents for _, leaf in leaves(one.value)):
        raise _Unmergeable("it has sealed comments in lists", hint="take them out, and merge by hand")
    try:
        values = [await _plain(one, side, opener) for one, side in zip(documents, _SIDES, strict=True)]
    except SealLocked:
        by_seal = [_with_seals(one, contents(one.value)) for one in documents]
        return _Versions(documents, (by_seal[0], by_seal[1], by_seal[2]), opened=False)
    return _Versions(documents, (values[0], values[1], values[2]), opened=True)


_SIDES = ("the common ancestor", "our version", "their version")


async def _plain(document: Document, side: str, opener: Opener) -> dict[str, Any]:
    """Return the verified value of a version."""
    try:
        opened = await opener.open_surely(document)
    except SealLocked:
        raise
    except SealError as error:
        raise _Unmergeable(f"{side}: {error.message}", hint=error.hint) from None
    return planted(opened.value, {at: Sealed(get(opened.value, at)) for at in opened.sealed})


def _with_seals(document: Document, value: dict[str, Any]) -> dict[str, Any]:
    return planted(value, {at: Sealed(leaf) for at, leaf in leaves(value) if is_sealed(leaf)})


async def _written(
    versions: _Versions, decided: Merged, file: Path, opener: Opener, sops: SopsBinary
) -> Document:
    """Write the merged manifest on the first frame that accepts it."""
    fitted = [_fitted(decided, *frame) for frame in _frames(versions)]
    needy: AgentsdError | None = None
    for frame, value, secrets in sorted(fitted, key=lambda one: len(one[2])):
        if secrets and not versions.opened:
            continue
        try:
            data = await resealed(frame, value, secrets, file=file, opener=opener, sops=sops)
            return parse(frame.path, data)
        except (KeyNeeded, SealLocked) as error:
            needy = error
    hint = f"{needy.hint}; " if needy else "set SOPS_AGE_KEY_FILE to the file with your age key; "
    raise _Unmergeable(
        "both sides changed what is sealed, and no key at hand opens it",
        hint=f"{hint}then: git checkout --merge FILE",
    )


def _frames(versions: _Versions) -> list[tuple[Document, dict[str, Any]]]:
    """Return the versions that the result may be made from, with their values: ours first."""
    base, ours, theirs = (_keys(one) for one in versions.documents)
    _, *sides = zip(versions.documents, versions.values, strict=True)
    if ours == theirs:
        return sides
    if theirs == base:
        return sides[:1]
    if ours == base:
        return sides[1:]
    raise _Unmergeable(
        "both sides changed who can open the file, or its data key",
        hint="take one side (git checkout --ours FILE), then edit in the other's changes: agentsd edit FILE",
    )


def _keys(document: Document) -> dict[str, Any] | None:
    block = document.value.get("sops")
    if not isinstance(block, dict):
        return None
    return {name: value for name, value in block.items() if name not in _RENEWED}


_Fitted = tuple[Document, dict[str, Any], dict[Pointer, Any]]


def _fitted(decided: Merged, frame: Document, said: Mapping[str, Any]) -> _Fitted:
    """Return the merged value with the ciphertexts that ``frame`` has, and what must be sealed anew."""
    wanted = {at: leaf for at, leaf in leaves(decided.value) if isinstance(leaf, Sealed)}
    held = {at: leaf for at, leaf in leaves(said) if isinstance(leaf, Sealed)}
    places = {at: at for at, leaf in wanted.items() if at in held and alike(held[at], leaf)}
    spare: dict[tuple[str, ...], list[Pointer]] = defaultdict(list)
    for at in held.keys() - places.keys():
        spare[path_of(at)].append(at)
    for at in wanted.keys() - places.keys():  # an item of a list that has another place now
        found = next((one for one in spare[path_of(at)] if alike(held[one], wanted[at])), None)
        if found is not None:
            spare[path_of(at)].remove(found)
            places[at] = found
    sealed = contents(frame.value)
    seals = {at: get(sealed, places[at]) if at in places else "" for at in wanted}
    secrets = {at: leaf.text for at, leaf in wanted.items() if at not in places}
    return frame, planted(decided.value, seals), secrets


async def _with_comments(documents: Sequence[Document], result: Document, opener: Opener) -> bytes:
    """Return ``result`` in the form of ours, with the comments of both sides.

    The three texts are first given the same values, so that they differ in comments and form only.
    """
    base, ours, theirs = (one.data for one in documents)
    said = {name: value for name, value in result.value.items() if name != "sops"}
    try:
        texts = [rewrite(data.decode(), said).encode() for data in (base or ours, ours, theirs)]
        text = (await merge_texts(*texts, favour_ours=True))[0] if base else texts[1]
        if "sops" in result.value:
            block = top_level_block(result.data.decode(), "sops")
            text = append_block(text.decode(), block).encode()
        final = parse(result.path, rewrite(text.decode(), result.value).encode())
        if [*leaves(final.value)] == [*leaves(result.value)]:  # in the same order: the MAC counts on it
            await opener.open_surely(final)
            return final.data
    except SealLocked:
        return final.data
    except (CannotSplice, InvalidManifests, SealError):
        pass
    return result.data
