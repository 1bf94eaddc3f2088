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

from agentsd.control.sealing.compare import make_sops_path, strip_sops_metadata, with_leaves
from agentsd.control.sealing.reseal import reseal_document
from agentsd.core.errors import AgentsdError, InvalidManifests, KeyNeeded, SealError, SealLocked
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_value, iter_leaves
from agentsd.core.manifest.three_way_merge import MergedDocument, SealedLeaf, is_identical, merge_documents
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import Pointer, format_pointer
from agentsd.files.git.merge_file import merge_texts
from agentsd.files.yaml.blocks import CannotEdit, append_block, extract_top_level_block
from agentsd.files.yaml.edit import update_text
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import read_seal_type
from agentsd.sops.opener import Opener

_RENEWED_FIELDS = ("lastmodified", "mac", "version")
"""Fields that every edit of a sealed file renews; the rest of its ``sops`` block lists its keys."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """Result of a merge. ``data`` None: nothing to write, the file stays ours."""

    data: bytes | None = field(repr=False)
    problems: tuple[str, ...] = ()  # each an unresolved conflict; never quotes a value
    hint: str = ""

    @property
    def clean(self) -> bool:
        """Return whether nothing is left for a person to decide."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _MergeVersions:
    """Three versions and their values: sealed leaves are ``SealedLeaf``."""

    documents: tuple[Document, Document, Document]  # base, ours, theirs; an empty base where there is none
    values: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = field(repr=False)
    opened: bool  # compared by plaintext; else by ciphertext


class _CannotMerge(AgentsdError):
    """Reason why the versions cannot be merged."""


async def merge_manifests(
    base: bytes,
    ours: bytes,
    theirs: bytes,
    *,
    file: Path,
    opener: Opener,
    sops: SopsBinary,
    destinations: DestinationsOf,
) -> MergeResult:
    """Merge three versions of ``file`` into one manifest; ``base`` may be empty. Changes no file.

    ``destinations`` knows the secrets and addresses of each vendor.
    """
    try:
        documents = tuple(_parse_version(str(file), data) for data in (base, ours, theirs))
    except InvalidManifests:
        return await _merge_as_text(base, ours, theirs, "this is not YAML, so it is merged as text")
    try:
        versions = await _open_versions(documents, opener)  # type: ignore[arg-type]  # three of them
        decided = merge_documents(*versions.values, destinations)
        if decided.conflicts and not any("sops" in one.value for one in documents):
            return await _merge_as_text(base, ours, theirs, *_describe_conflicts(decided))
        result = await _write_merged(versions, decided, file, opener, sops)
        data = await _merge_comments(versions.documents, result, opener)
    except AgentsdError as error:
        return MergeResult(None, (error.message,), error.hint)
    return MergeResult(
        data, _describe_conflicts(decided), "the field keeps our value; for theirs, run: git show :3:FILE"
    )


def _describe_conflicts(decided: MergedDocument) -> tuple[str, ...]:
    return tuple(f"{format_pointer(pointer)}: both sides changed it" for pointer in decided.conflicts)


async def _merge_as_text(base: bytes, ours: bytes, theirs: bytes, *why: str) -> MergeResult:
    text, conflicts = await merge_texts(base, ours, theirs)
    return MergeResult(text, why if conflicts else (), "look for <<<<<<< in the file" if conflicts else "")


def _parse_version(path: str, data: bytes) -> Document:
    return parse_document(path, data) if data.strip() else Document(path, b"", {})


async def _open_versions(documents: tuple[Document, Document, Document], opener: Opener) -> _MergeVersions:
    if any(read_seal_type(leaf) == "comment" for one in documents for _, leaf in iter_leaves(one.value)):
        raise _CannotMerge("it has sealed comments in lists", hint="remove them, and merge manually")
    try:
        values = [
            await _open_version(one, side, opener) for one, side in zip(documents, _SIDE_NAMES, strict=True)
        ]
    except SealLocked:
        by_seal = [_mark_seals(one, strip_sops_metadata(one.value)) for one in documents]
        return _MergeVersions(documents, (by_seal[0], by_seal[1], by_seal[2]), opened=False)
    return _MergeVersions(documents, (values[0], values[1], values[2]), opened=True)


_SIDE_NAMES = ("the common ancestor", "our version", "their version")


async def _open_version(document: Document, side: str, opener: Opener) -> dict[str, Any]:
    """Return the verified value of a version."""
    try:
        opened = await opener.open_surely(document)
    except SealLocked:
        raise
    except SealError as error:
        raise _CannotMerge(f"{side}: {error.message}", hint=error.hint) from None
    return with_leaves(opened.value, {at: SealedLeaf(get_value(opened.value, at)) for at in opened.sealed})


def _mark_seals(document: Document, value: dict[str, Any]) -> dict[str, Any]:
    return with_leaves(value, {at: SealedLeaf(leaf) for at, leaf in iter_leaves(value) if is_sealed(leaf)})


async def _write_merged(
    versions: _MergeVersions, decided: MergedDocument, file: Path, opener: Opener, sops: SopsBinary
) -> Document:
    """Write the merged manifest on the first frame that accepts it."""
    fitted = [_fit_frame(decided, *frame) for frame in _list_frames(versions)]
    needy: AgentsdError | None = None
    for frame, value, secrets in sorted(fitted, key=lambda one: len(one[2])):
        if secrets and not versions.opened:
            continue
        try:
            return await reseal_document(frame, value, secrets, file=file, opener=opener, sops=sops)
        except (KeyNeeded, SealLocked) as error:
            needy = error
    hint = f"{needy.hint}; " if needy else "set SOPS_AGE_KEY_FILE to the file with your age key; "
    raise _CannotMerge(
        "both sides changed sealed values, and no available key opens them",
        hint=f"{hint}then: git checkout --merge FILE",
    )


def _list_frames(versions: _MergeVersions) -> list[tuple[Document, dict[str, Any]]]:
    """Return the versions that the result may be made from, with their values: ours first."""
    base, ours, theirs = (_get_data_keys(one) for one in versions.documents)
    _, *sides = zip(versions.documents, versions.values, strict=True)
    if ours == theirs:
        return sides
    if theirs == base:
        return sides[:1]
    if ours == base:
        return sides[1:]
    raise _CannotMerge(
        "both sides changed the file's recipients or its data key",
        hint="take one side (git checkout --ours FILE), then edit in the other's changes: agentsd edit FILE",
    )


def _get_data_keys(document: Document) -> dict[str, Any] | None:
    block = document.value.get("sops")
    if not isinstance(block, dict):
        return None
    return {name: value for name, value in block.items() if name not in _RENEWED_FIELDS}


_FittedFrame = tuple[Document, dict[str, Any], dict[Pointer, Any]]


def _fit_frame(decided: MergedDocument, frame: Document, said: Mapping[str, Any]) -> _FittedFrame:
    """Return the merged value with the ciphertexts that ``frame`` has, and what must be sealed anew."""
    wanted = {at: leaf for at, leaf in iter_leaves(decided.value) if isinstance(leaf, SealedLeaf)}
    held = {at: leaf for at, leaf in iter_leaves(said) if isinstance(leaf, SealedLeaf)}
    places = {at: at for at, leaf in wanted.items() if at in held and is_identical(held[at], leaf)}
    spare: dict[tuple[str, ...], list[Pointer]] = defaultdict(list)
    for at in held.keys() - places.keys():
        spare[make_sops_path(at)].append(at)
    for at in wanted.keys() - places.keys():  # a list item whose position changed
        found = next((one for one in spare[make_sops_path(at)] if is_identical(held[one], wanted[at])), None)
        if found is not None:
            spare[make_sops_path(at)].remove(found)
            places[at] = found
    sealed = strip_sops_metadata(frame.value)
    seals = {at: get_value(sealed, places[at]) if at in places else "" for at in wanted}
    secrets = {at: leaf.text for at, leaf in wanted.items() if at not in places}
    return frame, with_leaves(decided.value, seals), secrets


async def _merge_comments(documents: Sequence[Document], result: Document, opener: Opener) -> bytes:
    """Return ``result`` in the form of ours, with the comments of both sides.

    The three texts are first given the same values, so that they differ in comments and form only.
    """
    base, ours, theirs = (one.data for one in documents)
    said = {name: value for name, value in result.value.items() if name != "sops"}
    try:
        texts = [update_text(data.decode(), said).encode() for data in (base or ours, ours, theirs)]
        text = (await merge_texts(*texts, favour_ours=True))[0] if base else texts[1]
        if "sops" in result.value:
            block = extract_top_level_block(result.data.decode(), "sops")
            text = append_block(text.decode(), block).encode()
        final = parse_document(result.path, update_text(text.decode(), result.value).encode())
        if [*iter_leaves(final.value)] == [
            *iter_leaves(result.value)
        ]:  # in the same order: the MAC depends on it
            await opener.open_surely(final)
            return final.data
    except SealLocked:
        return final.data
    except (CannotEdit, InvalidManifests, SealError):
        pass
    return result.data
