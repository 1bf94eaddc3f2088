"""Tree of manifests on disk: reading and detection of changes.

Only names that can be manifests are considered (``*.yaml``, ``*.yml``); hidden files and folders
are not, so editors' temporary files, ``.git`` and Kubernetes' ``..data`` folder are skipped. A
symlink is followed as long as it stays inside the tree and inside its owner's folder: that is how a
ConfigMap is mounted. Hard links cannot be distinguished from files.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.core.names import (
    DEFAULTS_FILE,
    OVERLAYS_PREFIX,
    SUFFIXES,
    derive_owner,
    derive_place_owner,
    escape_unprintable,
    is_lock_name,
    is_overlay,
    strip_overlay,
)
from agentsd.core.violations import Violation
from agentsd.files.atomic.lease import BeingWritten, read_at_rest
from agentsd.files.budget import DEFAULT_LIMITS, TreeBudget, TreeLimits

TEXT_SUFFIXES = (".md", ".txt")
ATTACHMENT_SUFFIXES = (*TEXT_SUFFIXES, ".pdf")
ATTACHMENT_MAX = 16 << 20

FileSignature = tuple[int, int, int, int]
"""(inode, size, mtime, ctime) in nanoseconds: equal ones mean that the bytes are unchanged."""

NO_SIGNATURE: FileSignature = (0, 0, 0, 0)

WRITER_POLL_SECONDS = 0.02
"""From one look at a file that is being written to the next."""
WRITERS_SECONDS = 5.0
"""Time that a command waits for files that are being written."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """File as it was read. ``problem`` is the reason if there is no ``data``."""

    path: str  # relative to the tree, with "/"
    signature: FileSignature
    digest: bytes = b""  # SHA-256 of ``data``
    data: bytes = b""
    problem: Violation | None = None
    writing: bool = False  # another process has it open for writing: this is what it was before, if anything
    stalled: bool = False  # that process has not written for long


@dataclass(frozen=True, slots=True)
class Tree:
    """Files of one root at one moment."""

    root: Path
    files: Mapping[str, SourceFile]  # manifests, layers and user files
    attachments: Mapping[str, SourceFile] = field(default_factory=dict)  # texts that manifests may name
    overlay: str = ""  # where the overlay is, relative to the tree: "../envs/prod/"
    writing: frozenset[str] = frozenset()  # paths of files that other processes have open for writing

    @property
    def beside(self) -> TreeContext:
        """Return the files that manifests may name and are merged with, and their owners."""
        owners = frozenset(
            name.partition("/")[0] for path in self.files if "/" in (name := strip_overlay(path))
        )
        layers = {path: file for path, file in self.files.items() if self._is_layer(path)}
        texts = self.attachments
        if self.overlay:  # a file of an overlay replaces the one of the same name
            texts = {strip_overlay(path): texts[path] for path in sorted(texts, key=is_overlay)}
        return TreeContext(texts, owners, layers, self.overlay)

    def concerned(self, paths: frozenset[str]) -> frozenset[str]:
        """Return ``paths`` and the files that make agents with them: layers, and manifests on a layer."""
        beside = self.beside
        found = set(paths)
        for name in self.files if beside.layers else ():
            stack = {name, *(layer.path for layer in beside.layers_of(name))}
            if name not in beside.layers and not stack.isdisjoint(paths):
                found |= stack
        return frozenset(found)

    def _is_layer(self, path: str) -> bool:
        """Return whether ``path`` is a folder's defaults, or an overlay's file over a manifest."""
        if path.endswith(DEFAULTS_FILE) and path.removesuffix(DEFAULTS_FILE)[-1:] in ("", "/"):
            return True
        return bool(self.overlay) and is_overlay(path) and strip_overlay(path) in self.files


@dataclass(frozen=True, slots=True)
class TreeContext:
    """Files beside the manifests, and the folders that belong to an owner."""

    files: Mapping[str, SourceFile] = field(default_factory=dict)
    owners: frozenset[str] = frozenset()
    layers: Mapping[str, SourceFile] = field(default_factory=dict)
    overlay: str = ""

    def layers_of(self, path: str) -> tuple[SourceFile, ...]:
        """Return the layers of a manifest: defaults from the top down, overlays after the rest."""
        if not self.layers:
            return ()
        name = strip_overlay(path)
        defaults = [f"{folder}{DEFAULTS_FILE}" for folder in _iter_folders(name)]
        names = [*defaults, *(f"{self.overlay}{one}" for one in (*defaults, name) if self.overlay)]
        return tuple(self.layers[one] for one in names if one in self.layers and one != path)


def _iter_folders(path: str) -> Iterator[str]:
    """Yield the folders of a path: ``a/b/c.yaml`` → ``""``, ``a/``, ``a/b/``."""
    parts = path.split("/")
    return ("".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts)))


def get_overlay_path(env: str | None) -> str:
    """Return the path of the overlay called ``env``, relative to the tree."""
    return f"{OVERLAYS_PREFIX}{env}/" if env else ""


def list_overlays(root: Path) -> list[str]:
    """Return the names of the overlays beside ``root``."""
    folder = root / OVERLAYS_PREFIX
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[:1] != ".")
    except OSError:
        return []


def read_tree(
    root: Path, previous: Tree | None = None, *, env: str | None = None, limits: TreeLimits = DEFAULT_LIMITS
) -> Tree:
    """Read every manifest below ``root``; what is unchanged since ``previous`` is not read again.

    With those of the overlay ``env`` beside it; None: that of ``previous``. What exceeds ``limits`` is
    a violation of that folder, and the rest of the tree is read. Raises ``ConfigError`` if ``root``, or
    the overlay, is not a readable folder.
    """
    overlay = get_overlay_path(env) or (previous.overlay if previous else "")
    if not root.is_dir():
        raise ConfigError(
            f"{root} is not a folder", hint="set the folder of manifests with --path, or create it"
        )
    known = {**previous.files, **previous.attachments} if previous else {}
    real = os.path.realpath(root)
    files: dict[str, SourceFile] = {}
    attachments: dict[str, SourceFile] = {}
    places = [(str(root), "", real)]
    if overlay:
        places.append((os.path.join(root, overlay), overlay, _resolve_overlay(root, overlay)))  # noqa: PTH118
    budget, unborn = TreeBudget(limits), set[str]()
    for folder, prefix, within in places:
        for path, entry, problem in _Walk(budget).run(folder, prefix, (within,)):
            file = (
                _make_refused_file(problem)
                if problem
                else _read_file(within, entry, path, known.get(path), first=previous is None)
            )
            found = attachments if is_attachment_name(path) else files
            if previous and _is_unborn(file, known):
                unborn.add(path)
            elif problem or budget.take(path, len(file.data)):
                found[path] = file
    files |= {violation.path: _make_refused_file(violation) for violation in budget.violations}
    return Tree(root, files, attachments, overlay, _list_unfinished(files, attachments, unborn))


def read_tree_at_rest(root: Path, *, env: str | None = None, seconds: float = WRITERS_SECONDS) -> Tree:
    """Read the tree as ``read_tree`` does, and wait so long at most for files that are being written."""
    deadline = time.monotonic() + seconds
    tree = read_tree(root, env=env)
    while tree.writing and time.monotonic() < deadline:
        time.sleep(WRITER_POLL_SECONDS)
        tree = reread_files(tree, tree.writing)
    return tree


def find_finished(tree: Tree) -> frozenset[str]:
    """Return which of the files being written are different by now: whole, gone, or to be reported."""
    after = reread_files(tree, tree.writing)
    return frozenset(
        path
        for path in tree.writing
        if path not in after.writing or after.files.get(path) != tree.files.get(path)
    )


def _list_unfinished(
    files: Mapping[str, SourceFile], attachments: Mapping[str, SourceFile], unborn: Iterable[str]
) -> frozenset[str]:
    held = (path for found in (files, attachments) for path, file in found.items() if file.writing)
    return frozenset((*held, *unborn))


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that a tree is read from, by their real paths. Equal ones are the same folders."""

    prefixes: Mapping[str, tuple[str, ...]]  # names of each in the tree: several where links point to it
    places: frozenset[str]  # paths of folders and links to folders, refused ones included
    identities: tuple[tuple[int, int], ...]  # device and inode, in the order of ``prefixes``


def find_folders(root: Path, overlay: str = "", *, limits: TreeLimits = DEFAULT_LIMITS) -> Folders:
    """Return the folders that ``read_tree`` looks into: the same links are followed, and no other.

    Raises ``OSError`` where one goes meanwhile.
    """
    prefixes: dict[str, tuple[str, ...]] = {}
    places: set[str] = set()
    for prefix in dict.fromkeys(("", overlay)):
        budget, real = TreeBudget(limits), os.path.realpath(root / prefix)
        walk = _Walk(budget)
        for path, full, problem in walk.run(real, prefix, (real,)):
            budget.take(path, 0)
            if problem:
                places.add(_place(full))
        for inside, folder in walk.folders:
            place = os.path.realpath(folder)
            prefixes[place] = (*prefixes.get(place, ()), inside)
            places |= {place, _place(folder)}
    statuses = [os.stat(place) for place in prefixes]  # noqa: PTH116
    return Folders(prefixes, frozenset(places), tuple((one.st_dev, one.st_ino) for one in statuses))


def _place(path: str) -> str:
    """Return where the entry at ``path`` really stands, be it a link or not."""
    above, name = os.path.split(path)
    return os.path.join(os.path.realpath(above), name)  # noqa: PTH118


def _make_refused_file(violation: Violation) -> SourceFile:
    return SourceFile(violation.path, NO_SIGNATURE, problem=violation)


def add_overlay(tree: Tree, above: Tree, env: str) -> Tree:
    """Return a new tree: ``tree`` with the overlay ``above``, which was read separately."""
    prefix = get_overlay_path(env)

    def moved(files: Mapping[str, SourceFile]) -> dict[str, SourceFile]:
        return {prefix + path: _move_file(file, prefix + path) for path, file in files.items()}

    texts = {**tree.attachments, **moved(above.attachments)}
    return Tree(tree.root, {**tree.files, **moved(above.files)}, texts, prefix)


def _move_file(file: SourceFile, path: str) -> SourceFile:
    return replace(file, path=path, problem=file.problem and replace(file.problem, path=path))


def _resolve_overlay(root: Path, overlay: str) -> str:
    folder = os.path.join(root, overlay)  # noqa: PTH118
    if not os.path.isdir(folder):  # noqa: PTH112
        shown = os.path.normpath(folder)
        raise ConfigError(
            f"{shown} is not a folder", hint="choose an existing overlay with --env, or create it"
        )
    return os.path.realpath(folder)


def reread_files(tree: Tree, paths: Iterable[str]) -> Tree:
    """Return the tree after a change of just these files (relative paths); the rest is not read."""
    files, attachments = dict(tree.files), dict(tree.attachments)
    real = os.path.realpath(tree.root)
    above = os.path.realpath(os.path.join(tree.root, tree.overlay))  # noqa: PTH118
    growing, unborn = False, set(tree.writing - files.keys() - attachments.keys())
    for name in paths:
        path = escape_unprintable(name)
        full = os.path.join(tree.root, name)  # noqa: PTH118 - hot path
        within = above if is_overlay(path) else real
        found = attachments if is_attachment_name(path) else files
        unborn.discard(path)
        if not os.path.lexists(full):
            found.pop(path, None)
            continue
        before = found.get(path)
        problem = _find_escape(within, full, path)  # a parent folder may be a link, or have become one
        file = (
            SourceFile(path, NO_SIGNATURE, problem=problem)
            if problem and not os.path.islink(full)  # noqa: PTH114
            else _read_file(within, full, path, before)
        )
        if _is_unborn(file, found):
            unborn.add(path)
            continue
        found[path] = file
        growing |= before is None or len(file.data) > len(before.data) + _GROWTH_BYTES
    unfinished = _list_unfinished(files, attachments, unborn)
    changed = Tree(tree.root, files, attachments, tree.overlay, unfinished)
    return read_tree(tree.root, changed) if growing and _is_large(changed) else changed


def _is_unborn(file: SourceFile, known: Mapping[str, SourceFile]) -> bool:
    """Return whether a file that was not there before is still being written, and is not to be reported."""
    return file.writing and file.path not in known and not file.stalled and not is_attachment_name(file.path)


_GROWTH_BYTES = 64 << 10
_LARGE = DEFAULT_LIMITS.owner_files // 2, DEFAULT_LIMITS.owner_bytes // 2


def _is_large(tree: Tree) -> bool:
    """Return whether the tree may exceed an owner's limits, so that the budget has to be counted."""
    everything = (*tree.files.values(), *tree.attachments.values())
    return len(everything) > _LARGE[0] or sum(len(file.data) for file in everything) > _LARGE[1]


def is_manifest_name(name: str) -> bool:
    """Return whether a file of this name is a manifest (or a reserved ``_*.yaml``)."""
    return name.endswith(SUFFIXES) and not name.startswith(".") and not is_lock_name(name)


def is_attachment_name(path: str) -> bool:
    """Return whether a manifest may name this path: as its prompt, a source of knowledge, a lock of tools."""
    if path.endswith(ATTACHMENT_SUFFIXES):
        return path.rpartition("/")[2][:1] not in (".", "_")
    return is_lock_name(path)


FoundFile = tuple[str, str, Violation | None]
"""Relative path, full path, and the reason why a folder is not read, if any."""


class _Walk:
    """Walk over the entries of the tree within the budget."""

    def __init__(self, budget: TreeBudget) -> None:
        self._budget = budget
        self.folders: list[tuple[str, str]] = []

    def run(self, folder: str, prefix: str, within: tuple[str, ...]) -> Iterator[FoundFile]:
        """Yield every manifest-like entry, in name order.

        ``within``: the real root, and each link followed.
        """
        self.folders.append((prefix, folder))
        entries = self._entries(folder, prefix)
        if isinstance(entries, Violation):
            yield prefix, folder, entries
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = prefix + escape_unprintable(entry.name)
            if self._budget.is_spent(path):
                continue
            if is_manifest_name(entry.name):
                yield path, entry.path, None
            elif entry.is_dir(follow_symlinks=False):
                yield from self._enter(entry.path, f"{path}/", within)
            elif _leads_to_folder(entry):
                yield from self._follow(entry.path, f"{path}/", within)
            elif is_attachment_name(entry.name):
                yield path, entry.path, None

    def _entries(self, folder: str, prefix: str) -> list[os.DirEntry[str]] | Violation:
        """Return the entries of the folder, by name."""
        most = self._budget.limits.entries
        try:
            with os.scandir(folder) as entries:
                found = list(islice(entries, most + 1))
        except (FileNotFoundError, NotADirectoryError):  # replaced during the walk: a rescan follows
            return []
        except OSError as error:
            return _make_unreadable(prefix, error)
        if len(found) > most:
            hint = "split the folder, or remove what is not needed: none of it is read"
            return Violation(prefix, "too-much", f"more than {most:,} entries", hint)
        return sorted(found, key=lambda entry: entry.name)

    def _enter(
        self, folder: str, prefix: str, within: tuple[str, ...], link: Hashable | None = None
    ) -> Iterator[FoundFile]:
        problem = self._budget.enter(prefix, link)
        if problem:
            yield prefix, folder, problem
        else:
            yield from self.run(folder, prefix, within)

    def _follow(self, folder: str, prefix: str, within: tuple[str, ...]) -> Iterator[FoundFile]:
        """Follow a link to a folder: Kubernetes mounts ``acme/sales.yaml`` as ``acme → ..data/acme``."""
        real = os.path.realpath(folder)
        problem = _find_escape(within[0], folder, prefix)
        if real in within or f"{os.path.realpath(os.path.dirname(folder))}/".startswith(f"{real}/"):  # noqa: PTH120
            message = "this link points to a parent folder"
            problem = Violation(prefix, "unreadable", message, "remove it")
        if problem:
            yield prefix, folder, problem
        else:
            yield from self._enter(folder, prefix, (*within, real), link=real)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a forbidden folder
        return False


def _read_file(
    real_root: str, full: str, path: str, known: SourceFile | None, *, first: bool = False
) -> SourceFile:
    """Read one file, unless it is ``known`` as it is; ``first``: nothing was read before."""
    try:
        status = os.lstat(full)  # hot path: one system call for a file that did not change
        linked = stat.S_ISLNK(status.st_mode)
        status = os.stat(full) if linked else status  # noqa: PTH116
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known is not None and known.signature == signature and known.problem is None:
            return known
        problem = _find_problem(path, status) or (_find_escape(real_root, full, path) if linked else None)
        if problem:
            return SourceFile(path, signature, problem=problem)
        size_max = ATTACHMENT_MAX + 1 if is_attachment_name(path) else MAX_BYTES + 1
        data = read_at_rest(os.path.realpath(full) if linked else full, size_max, guess=not first)
    except BeingWritten as error:
        return _make_unfinished(path, known, stalled=error.stalled)
    except OSError as error:
        return SourceFile(path, NO_SIGNATURE, problem=_make_unreadable(path, error))
    if len(data) > ATTACHMENT_MAX:
        problem = Violation(path, "too-large", "more than 16 MiB", "split it, or remove its images")
        return SourceFile(path, signature, problem=problem)
    return SourceFile(path, signature, sha256(data).digest(), data)


def _make_unfinished(path: str, known: SourceFile | None, *, stalled: bool) -> SourceFile:
    """Return what a file was before its writer began; a violation where that is unknown, or takes long."""
    if known is not None and known.problem is None and not stalled:
        return replace(known, writing=True)
    message, hint = "another process has this file open for writing", "it is read as soon as that is closed"
    problem = Violation(path, "being-written", message, hint)
    return SourceFile(path, NO_SIGNATURE, problem=problem, writing=True, stalled=stalled)


def _find_problem(path: str, status: os.stat_result) -> Violation | None:
    if stat.S_ISDIR(status.st_mode):
        return Violation(
            path, "not-a-file", "this is a folder", "a folder's name must not end in .yaml or .yml"
        )
    if not stat.S_ISREG(status.st_mode):
        return Violation(path, "not-a-file", "this is not a regular file", "put a plain file here")
    return None


def _find_escape(real_root: str, full: str, path: str) -> Violation | None:
    real = os.path.realpath(full)
    if not real.startswith(real_root + os.sep):
        message = "this link points outside the folder of manifests"
        return Violation(path, "symlink-outside", message, "put the file itself here")
    return find_foreign_link(path, real[len(real_root) + 1 :], is_folder=path.endswith("/"))


def find_foreign_link(path: str, place: str, *, is_folder: bool) -> Violation | None:
    """Return the violation of a link from ``path`` to a ``place`` that is not its own, or None.

    That is another owner's, and behind the name of a text what is none: a manifest, a user file, git's own.
    """
    owner = derive_place_owner(f"{place}/" if is_folder else place)
    if owner != derive_owner(path):
        message = f"this link points to a file of owner {escape_unprintable(owner)!r}"
        hint = "put the file itself here: a link must stay within its owner's folder"
        return Violation(path, "symlink-owner", message, hint)
    if is_folder or not is_attachment_name(path):
        return None
    if is_attachment_name(place) and ".git" not in place.split("/"):
        return None
    hint = f"put the text itself here: its name ends in {', '.join(ATTACHMENT_SUFFIXES)}"
    return Violation(path, "symlink-kind", "this link points to a file that is not a text", hint)


def _make_unreadable(path: str, error: OSError) -> Violation:
    if error.errno == errno.ENOENT:
        return Violation(
            path, "unreadable", "the target of this link does not exist", "remove it, or restore its target"
        )
    if error.errno == errno.ELOOP:
        return Violation(path, "unreadable", "this link points to itself", "remove it")
    reason = os.strerror(error.errno) if error.errno else "it cannot be read"
    return Violation(path, "unreadable", f"cannot read: {reason}", "check the file's owner and mode")
