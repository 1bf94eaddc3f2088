"""Tree of manifests in one commit, read from git's objects and therefore always consistent.

Nothing is checked out, so half of a commit is never visible, no filter runs, and a file is read
once for as long as its blob stays the same. Names, hidden files and links are treated as in
``tree``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.core.names import escape_unprintable
from agentsd.core.violations import Violation
from agentsd.files.git.command import GitResult
from agentsd.files.git.tree_walk import Blob, CommitWalk, Folder, insert_entry, iter_blobs
from agentsd.files.tree import (
    ATTACHMENT_MAX,
    NO_SIGNATURE,
    SourceFile,
    Tree,
    is_attachment_name,
)

Git = Callable[..., Awaitable[GitResult]]
"""Function that runs git on a repository: ``Mirror.git``."""

_BATCH_BYTES = 64 << 20
_EDITS_MAX = 100
_PLAIN = {b"100644", b"100755"}
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass
class CommitReader:
    """Reader of commits; what is unchanged since the last one is not read again."""

    git: Git
    _known: dict[str, tuple[str, SourceFile]] = field(default_factory=dict)  # path → (object, file)
    _links: dict[str, str] = field(default_factory=dict)  # object → target
    _last: tuple[str, str, Tree] | None = None  # commit, path and tree that were read, if without links

    async def read(self, commit: str, path: str) -> Tree:
        """Return every manifest below ``path`` in ``commit``.

        Raises ``ConfigError`` if that is not a folder.
        """
        tree = await self._edited(commit, path) or await self._whole(commit, path)
        if self._last is not None:
            self._last = (commit, path, tree)
        return tree

    async def _whole(self, commit: str, path: str) -> Tree:
        root = await self._folder(commit, path)
        links = any(blob.is_link for blob in iter_blobs(root))
        found = list(CommitWalk(root, self._links).run())
        wanted = [blob for name, blob, problem in found if blob and not problem and self._lacks(name, blob)]
        data = await self._contents(blob for blob in wanted if blob.size <= ATTACHMENT_MAX)
        known = {name: self._file(name, blob, problem, data) for name, blob, problem in found}
        self._known = {
            name: (blob.name, known[name]) for name, blob, problem in found if blob and not problem
        }
        files = {name: file for name, file in known.items() if not is_attachment_name(name)}
        beside = {name: file for name, file in known.items() if is_attachment_name(name)}
        tree = Tree(Path(path), files, beside)
        self._last = None if links else (commit, path, tree)
        return tree

    async def _edited(self, commit: str, path: str) -> Tree | None:
        """Return the last tree with the files that were edited in place since; None if more changed."""
        if self._last is None or self._last[1] != path:
            return None
        before, _, tree = self._last
        options = ("-r", "-z", "--raw", "--no-abbrev", "--no-renames")
        ran = await self.git(
            "diff-tree", *options, f"{before}:{_strip_root(path)}", f"{commit}:{_strip_root(path)}"
        )
        edits = None if ran.code else _parse_edits(ran.out)
        if edits is None or len(edits) > _EDITS_MAX:
            return None
        mine = {name: blob for name, blob in edits.items() if name in tree.files or name in tree.attachments}
        sizes = await self._sizes(mine.values())
        if sizes is None:
            return None
        blobs = {name: Blob(one, sizes[one]) for name, one in mine.items()}
        data = await self._contents(blob for blob in blobs.values() if blob.size <= ATTACHMENT_MAX)
        files = {name: self._file(name, blob, None, data) for name, blob in blobs.items()}
        self._known |= {name: (blob.name, files[name]) for name, blob in blobs.items()}
        beside = {name: file for name, file in files.items() if is_attachment_name(name)}
        rest = {name: file for name, file in files.items() if name not in beside}
        return replace(tree, files={**tree.files, **rest}, attachments={**tree.attachments, **beside})

    async def _sizes(self, names: Iterable[str]) -> dict[str, int] | None:
        """Return the sizes of blobs; None if one of the objects is not a blob."""
        stdin = "".join(f"{name}\n" for name in names).encode()
        if not stdin:
            return {}
        ran = await self.git("cat-file", "--batch-check", stdin=stdin)
        lines = [line.split() for line in ran.text.splitlines()]
        if ran.code or any(len(line) != 3 or line[1] != "blob" for line in lines):
            return None
        return {name: int(size) for name, _, size in lines}

    def _lacks(self, path: str, blob: Blob) -> bool:
        return self._known.get(path, ("", None))[0] != blob.name

    def _file(
        self, path: str, blob: Blob | None, problem: Violation | None, data: Mapping[str, bytes]
    ) -> SourceFile:
        if problem or blob is None:
            return SourceFile(path, NO_SIGNATURE, problem=problem)
        if not self._lacks(path, blob):
            return self._known[path][1]
        problem = _find_oversize(path, blob) or _find_lfs_pointer(path, data[blob.name])
        if problem:
            return SourceFile(path, NO_SIGNATURE, problem=problem)
        content = data[blob.name]
        return SourceFile(path, NO_SIGNATURE, sha256(content).digest(), content)

    async def _folder(self, commit: str, path: str) -> Folder:
        ran = await self.git("ls-tree", "-r", "-l", "-z", "--full-tree", f"{commit}:{_strip_root(path)}")
        if ran.code:
            raise ConfigError(
                f"commit {commit[:12]} has no folder {escape_unprintable(path)}",
                hint="set it with --path, or add it",
            )
        root = Folder()
        for line in ran.out.split(b"\0"):
            if line:
                insert_entry(root, line)
        links = [blob for blob in iter_blobs(root) if blob.is_link and blob.name not in self._links]
        for name, target in (await self._contents(links)).items():
            self._links[name] = os.fsdecode(target)
        return root

    async def _contents(self, blobs: Iterable[Blob]) -> dict[str, bytes]:
        """Return the bytes of each blob, by object."""
        sizes = {blob.name: blob.size for blob in blobs}
        contents: dict[str, bytes] = {}
        batch: list[str] = []
        total = 0
        for name, size in sizes.items():
            batch.append(name)
            total += size
            if total >= _BATCH_BYTES:
                contents |= await self._batch(batch)
                batch, total = [], 0
        return contents | await self._batch(batch)

    async def _batch(self, names: list[str]) -> dict[str, bytes]:
        if not names:
            return {}
        ran = await self.git("cat-file", "--batch", "--buffer", stdin=("\n".join(names) + "\n").encode())
        found = dict(_parse_batch(ran.out))
        if ran.code or found.keys() != set(names):
            raise ConfigError(
                "the local repository lacks objects of the commit", hint="remove the folder AGENTSD_GIT_DIR"
            )
        return found


def _strip_root(path: str) -> str:
    """Return a path in the form that git requires after a commit's name: empty for the top."""
    return PurePosixPath(path).as_posix().removeprefix(".")


def _parse_edits(out: bytes) -> dict[str, str] | None:
    """Return path → object from ``git diff-tree -r -z --raw``; None if more than contents changed.

    That is, if a file was added, removed, or changed its kind. The format is
    ``:<mode> <mode> <object> <object> M``, NUL, path, NUL, repeated.
    """
    words = out.split(b"\0")[:-1]
    edits = {}
    for head, path in zip(words[::2], words[1::2], strict=True):
        old, new, _, name, status = head.removeprefix(b":").split()
        if status != b"M" or {old, new} - _PLAIN:
            return None
        edits["/".join(map(escape_unprintable, os.fsdecode(path).split("/")))] = name.decode()
    return edits


def _parse_batch(out: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (object, bytes) from the output of ``git cat-file --batch``.

    The format is ``<object> blob <size>``, line feed, bytes, line feed, repeated.
    """
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        words = out[at:end].split()
        if len(words) != 3 or words[1] != b"blob":
            return
        start, size = end + 1, int(words[2])
        yield words[0].decode(), out[start : start + size]
        at = start + size + 1


def _find_oversize(path: str, blob: Blob) -> Violation | None:
    if is_attachment_name(path) and blob.size > ATTACHMENT_MAX:
        return Violation(path, "too-large", "more than 16 MiB", "split it, or remove its images")
    if not is_attachment_name(path) and blob.size > MAX_BYTES:
        return Violation(path, "too-large", "more than 1 MiB", "split it: one manifest describes one agent")
    return None


def _find_lfs_pointer(path: str, data: bytes) -> Violation | None:
    if data.startswith(_LFS):
        hint = "pull mode reads git objects only: store the file in git, or watch a checkout with --path"
        return Violation(path, "unreadable", "this is a Git LFS pointer, not the file", hint)
    return None
