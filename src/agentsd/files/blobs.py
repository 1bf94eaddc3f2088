"""The tree of manifests as one commit has it, read from git's objects: whole by nature.

Nothing is checked out, so nobody ever sees half of a commit, no filter runs, and a file is read once
for as long as its blob stays the same. Names, hidden files and links mean what they mean in ``tree``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from agentsd.core.document import MAX_BYTES
from agentsd.core.errors import ConfigError
from agentsd.core.names import printable
from agentsd.core.violations import Violation
from agentsd.files.git import Ran
from agentsd.files.tree import (
    ATTACHMENT_MAX,
    NO_SIGNATURE,
    SourceFile,
    Tree,
    is_attachment_name,
    is_manifest_name,
)

Git = Callable[..., Awaitable[Ran]]
"""Runs git on a repository: ``Mirror.git``."""

_LINKS_MAX = 40
_BATCH = 64 << 20
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of a commit."""

    name: str  # of the object, in hex
    size: int
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a commit."""

    entries: dict[str, Node] = field(default_factory=dict)


Node: TypeAlias = Blob | Folder

_Found = tuple[str, Blob | None, Violation | None]
"""Path, what is there, and what is wrong with it."""


@dataclass
class Reader:
    """Reads commits; what the last one had unchanged is not read again."""

    git: Git
    _known: dict[str, tuple[str, SourceFile]] = field(default_factory=dict)  # path → (object, file)
    _links: dict[str, str] = field(default_factory=dict)  # object → where it leads

    async def read(self, commit: str, path: str) -> Tree:
        """Every manifest below ``path`` in ``commit``. Raises ``ConfigError`` where that is no folder."""
        root = await self._folder(commit, path)
        found = list(_Walk(root, self._links).run())
        wanted = [blob for name, blob, problem in found if blob and not problem and self._lacks(name, blob)]
        data = await self._contents(blob for blob in wanted if blob.size <= ATTACHMENT_MAX)
        known = {name: self._file(name, blob, problem, data) for name, blob, problem in found}
        self._known = {
            name: (blob.name, known[name]) for name, blob, problem in found if blob and not problem
        }
        files = {name: file for name, file in known.items() if not is_attachment_name(name)}
        beside = {name: file for name, file in known.items() if is_attachment_name(name)}
        return Tree(Path(path), files, beside)

    def _lacks(self, path: str, blob: Blob) -> bool:
        return self._known.get(path, ("", None))[0] != blob.name

    def _file(
        self, path: str, blob: Blob | None, problem: Violation | None, data: Mapping[str, bytes]
    ) -> SourceFile:
        if problem or blob is None:
            return SourceFile(path, NO_SIGNATURE, problem=problem)
        if not self._lacks(path, blob):
            return self._known[path][1]
        problem = _too_large(path, blob) or _pointer(path, data[blob.name])
        if problem:
            return SourceFile(path, NO_SIGNATURE, problem=problem)
        content = data[blob.name]
        return SourceFile(path, NO_SIGNATURE, sha256(content).digest(), content)

    async def _folder(self, commit: str, path: str) -> Folder:
        where = PurePosixPath(path).as_posix().removeprefix(".")
        ran = await self.git("ls-tree", "-r", "-l", "-z", "--full-tree", f"{commit}:{where}")
        if ran.code:
            raise ConfigError(
                f"commit {commit[:12]} has no folder {printable(path)}", hint="name it with --path, or add it"
            )
        root = Folder()
        for line in ran.out.split(b"\0"):
            if line:
                _plant(root, line)
        links = [blob for blob in _blobs(root) if blob.is_link and blob.name not in self._links]
        for name, target in (await self._contents(links)).items():
            self._links[name] = os.fsdecode(target)
        return root

    async def _contents(self, blobs: Iterable[Blob]) -> dict[str, bytes]:
        """The bytes of each, by object."""
        sizes = {blob.name: blob.size for blob in blobs}
        contents: dict[str, bytes] = {}
        batch: list[str] = []
        total = 0
        for name, size in sizes.items():
            batch.append(name)
            total += size
            if total >= _BATCH:
                contents |= await self._batch(batch)
                batch, total = [], 0
        return contents | await self._batch(batch)

    async def _batch(self, names: list[str]) -> dict[str, bytes]:
        if not names:
            return {}
        ran = await self.git("cat-file", "--batch", "--buffer", stdin=("\n".join(names) + "\n").encode())
        found = dict(_parts(ran.out))
        if ran.code or found.keys() != set(names):
            raise ConfigError(
                "the repository here lacks objects of the commit", hint="remove the folder AGENTSD_GIT_DIR"
            )
        return found


def _parts(out: bytes) -> Iterator[tuple[str, bytes]]:
    """What ``git cat-file --batch`` prints: ``<object> blob <size>\\n<bytes>\\n``, again and again."""
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        words = out[at:end].split()
        if len(words) != 3 or words[1] != b"blob":
            return
        start, size = end + 1, int(words[2])
        yield words[0].decode(), out[start : start + size]
        at = start + size + 1


def _plant(root: Folder, line: bytes) -> None:
    """One line of ``git ls-tree -r -l -z``: ``<mode> <type> <object> <size>\\t<path>``."""
    head, _, path = line.partition(b"\t")
    mode, kind, name, size = head.split()
    if kind != b"blob":  # a submodule: another repository's business
        return
    *folders, last = os.fsdecode(path).split("/")
    node = root
    for part in folders:
        inner = node.entries.setdefault(part, Folder())
        assert isinstance(inner, Folder)  # noqa: S101  (a tree object names each entry once)
        node = inner
    node.entries[last] = Blob(name.decode(), int(size), is_link=mode == b"120000")


def _blobs(folder: Folder) -> Iterator[Blob]:
    for node in folder.entries.values():
        if isinstance(node, Blob):
            yield node
        else:
            yield from _blobs(node)


class _Fault(Exception):
    """A link that cannot be followed, and why."""


_Place = tuple[str, ...]


class _Walk:
    """``tree._walk``, over a commit."""

    def __init__(self, root: Folder, links: Mapping[str, str]) -> None:
        self._root = root
        self._links = links

    def run(self) -> Iterator[_Found]:
        """Every manifest-like entry, in name order."""
        return self._walk(self._root, (), "", ((),))

    def _walk(
        self, folder: Folder, real: _Place, prefix: str, within: tuple[_Place, ...]
    ) -> Iterator[_Found]:
        for name in sorted(folder.entries):
            if name.startswith("."):
                continue
            path = prefix + printable(name)
            node = folder.entries[name]
            if is_manifest_name(name):
                yield self._manifest((*real, name), path)
            elif isinstance(node, Folder):
                yield from self._walk(node, (*real, name), f"{path}/", within)
            elif node.is_link:
                yield from self._link((*real, name), path, within)
            elif is_attachment_name(name):
                yield path, node, None

    def _manifest(self, place: _Place, path: str) -> _Found:
        try:
            node = self._resolved(place)[1]
        except _Fault as fault:
            return path, None, _faulty(path, str(fault))
        if isinstance(node, Folder):
            hint = "a folder's name must not end in .yaml or .yml"
            return path, None, Violation(path, "not-a-file", "this is a folder", hint)
        return path, node, None

    def _link(self, place: _Place, path: str, within: tuple[_Place, ...]) -> Iterator[_Found]:
        """What is neither a manifest nor a plain file: a link to a folder, or to a text."""
        attachment = is_attachment_name(place[-1])
        try:
            real, node = self._resolved(place)
        except _Fault as fault:
            if attachment:  # where other links lead to that leave the folder is not known here
                yield path, None, _faulty(path, str(fault))
            return
        if isinstance(node, Blob):
            if attachment:
                yield path, node, None
        elif real in within or place[:-1][: len(real)] == real:
            prefix = f"{path}/"
            yield prefix, None, _faulty(prefix, "this link leads back to a folder around it")
        else:
            yield from self._walk(node, real, f"{path}/", (*within, real))

    def _resolved(self, place: _Place) -> tuple[_Place, Node]:
        """Where a path really leads. Raises ``_Fault``."""
        waiting, done, links = list(place), list[str](), 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                if not done:
                    raise _Fault(_OUTSIDE)
                done.pop()
            elif part not in ("", "."):
                node = self._at((*done, part))
                if isinstance(node, Blob) and node.is_link:
                    links += 1
                    waiting = self._target(node, links) + waiting
                else:
                    done.append(part)
        return tuple(done), self._at(tuple(done))

    def _target(self, link: Blob, links: int) -> list[str]:
        target = self._links[link.name]
        if links > _LINKS_MAX:
            raise _Fault("this link leads to itself")
        if target.startswith("/"):
            raise _Fault(_OUTSIDE)
        return target.split("/")

    def _at(self, place: _Place) -> Node:
        node: Node = self._root
        for part in place:
            if not isinstance(node, Folder) or part not in node.entries:
                raise _Fault("this link leads nowhere")
            node = node.entries[part]
        return node


_OUTSIDE = "this link leads out of the folder of manifests"


def _faulty(path: str, message: str) -> Violation:
    if message == _OUTSIDE:
        return Violation(path, "symlink-outside", message, "put the file itself here")
    return Violation(path, "unreadable", message, "remove it, or restore what it points to")


def _too_large(path: str, blob: Blob) -> Violation | None:
    if is_attachment_name(path) and blob.size > ATTACHMENT_MAX:
        return Violation(path, "too-large", "more than 16 MiB", "split it, or leave out its pictures")
    if not is_attachment_name(path) and blob.size > MAX_BYTES:
        return Violation(path, "too-large", "more than 1 MiB", "split it: one manifest describes one agent")
    return None


def _pointer(path: str, data: bytes) -> Violation | None:
    if data.startswith(_LFS):
        hint = "pull mode reads what git itself holds: keep the file in git, or watch a checkout with --path"
        return Violation(path, "unreadable", "this is a pointer of Git LFS, not the file", hint)
    return None
