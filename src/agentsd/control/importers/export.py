"""Export of the store to files: the documents byte for byte, at their paths in the tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agentsd.core.errors import ConfigError, StoreRefused
from agentsd.core.manifest.agent import StoredAgent
from agentsd.core.names import is_lock_name, strip_overlay
from agentsd.core.plan.plan import StoredState
from agentsd.files.atomic.compare_and_swap import compare_and_swap, replace_file
from agentsd.files.tree import ATTACHMENT_SUFFIXES, is_manifest_name
from agentsd.store.database import Database
from agentsd.store.queries.agents import load_layers, load_stored


@dataclass(frozen=True, slots=True)
class ExportedFiles:
    """Stored files of one source."""

    files: Mapping[str, bytes]  # by path relative to the tree, in order
    absent: Mapping[str, bytes]  # named by manifests, but the store has only their digest
    agents: int
    users: int


async def load_stored_files(database: Database, source: str) -> ExportedFiles:
    """Load manifests, layers, prompts and user files of ``source``.

    Raises ``StoreRefused`` for damaged rows.
    """
    async with database.transaction(snapshot=True) as connection:
        stored = await load_stored(connection, source)
        agents = [one for one in stored.agents.values() if one.source == source]
        wanted = dict(_iterate_documents(agents))
        found = await load_layers(connection, set(wanted.values()))
    files = {path: _verify_document(path, digest, found) for path, digest in wanted.items()}
    users = dict(_iterate_users(stored, source))
    sources = {one.path: one.digest for agent in agents for one in agent.attachments.sources}
    for path in (*files, *users, *sources):
        _check_path(path)
    return ExportedFiles(dict(sorted((files | users).items())), sources, len(agents), len(users))


def _iterate_documents(agents: Iterable[StoredAgent]) -> Iterable[tuple[str, bytes]]:
    for agent in agents:
        yield agent.path, agent.document_digest or agent.digest
        yield from ((one.path, one.digest) for one in agent.attachments.documents)


def _iterate_users(stored: StoredState, source: str) -> Iterable[tuple[str, bytes]]:
    for user in stored.users.values():
        if user.source == source and user.path and user.data is not None:
            yield user.path, user.data


def _verify_document(path: str, digest: bytes, found: Mapping[bytes, bytes]) -> bytes:
    data = found.get(digest)
    if data is None or sha256(data).digest() != digest:
        raise StoreRefused(
            f"the stored document of {path} is missing or was changed by hand",
            hint="restore a backup, or restore the file from git",
        )
    return data


def _check_path(path: str) -> None:
    """Refuse a path outside the folder, a hidden file, or one of a foreign kind.

    Anybody may have written the row.
    """
    parts = strip_overlay(path).split("/")
    plain = all(part and not part.startswith(".") and "\\" not in part and "\0" not in part for part in parts)
    known = is_manifest_name(parts[-1]) or parts[-1].endswith(ATTACHMENT_SUFFIXES) or is_lock_name(parts[-1])
    if not plain or not known:
        raise StoreRefused(
            "a stored path leads out of the tree, or is not a manifest's", hint="check agents.path"
        )


@dataclass(frozen=True, slots=True)
class FolderComparison:
    """Comparison of a folder with the files that are to be written into it."""

    new: tuple[str, ...]
    same: tuple[str, ...]
    other: tuple[str, ...]  # files with other content
    lacking: tuple[str, ...]  # of ``absent``: not in the folder either


def compare_folder(root: Path, exported: ExportedFiles) -> FolderComparison:
    """Compare ``root`` with the files to be written; writes nothing.

    Raises ``ConfigError`` where a link leads out of ``root``, and ``OSError``.
    """
    found = {path: _read_content(root, path) for path in exported.files}
    lacking = (
        path
        for path, digest in exported.absent.items()
        if (data := _read_content(root, path)) is None or sha256(data).digest() != digest
    )
    return FolderComparison(
        tuple(path for path, data in found.items() if data is None),
        tuple(path for path, data in found.items() if data == exported.files[path]),
        tuple(path for path, data in found.items() if data is not None and data != exported.files[path]),
        tuple(lacking),
    )


def _read_content(root: Path, path: str) -> bytes | None:
    file = root / path
    home = root.absolute().parent if path.startswith("../") else root
    if not file.resolve().is_relative_to(home.resolve()):
        raise ConfigError(f"{file} is a link that leads out of {home}", hint="remove it, or export elsewhere")
    return file.read_bytes() if file.exists() else None


def write_files(root: Path, exported: ExportedFiles, comparison: FolderComparison) -> None:
    """Write new files and replace differing ones. Raises ``FileChanged`` where one changed meanwhile."""
    for path in comparison.new:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        compare_and_swap(file, None, exported.files[path])
    for path in comparison.other:
        replace_file(root / path, exported.files[path])
