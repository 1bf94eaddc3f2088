"""Folders of one commit, as git lists them, and the walk over them: ``tree._Walk`` without a disk."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from agentsd.core.names import escape_unprintable
from agentsd.core.violations import Violation
from agentsd.files.budget import DEFAULT_LIMITS, TreeBudget
from agentsd.files.tree import ATTACHMENT_MAX, find_foreign_link, is_attachment_name, is_manifest_name

_LINKS_MAX = 40
_PATH_MAX = 4095  # characters of a link's target, as in Linux


@dataclass(frozen=True, slots=True)
class Blob:
    """File of a commit."""

    name: str  # of the object, in hex
    size: int
    is_link: bool = False
    is_submodule: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """Folder of a commit."""

    entries: dict[str, Node] = field(default_factory=dict)


Node: TypeAlias = Blob | Folder

FoundBlob = tuple[str, Blob | None, Violation | None]
"""Path, entry, and violation, if any."""


def insert_entry(root: Folder, line: bytes) -> None:
    """Insert the entry of one line of ``git ls-tree -r -l -z``.

    The format is ``<mode> <type> <object> <size>``, tab, path.
    """
    head, _, path = line.partition(b"\t")
    mode, kind, name, size = head.split()
    *folders, last = os.fsdecode(path).split("/")
    node = root
    for part in folders:
        inner = node.entries.setdefault(part, Folder())
        assert isinstance(inner, Folder)  # noqa: S101  (a tree object names each entry once)
        node = inner
    if kind == b"blob":
        node.entries[last] = Blob(name.decode(), int(size), is_link=mode == b"120000")
    else:
        node.entries[last] = Blob(name.decode(), 0, is_submodule=True)


def iter_blobs(folder: Folder) -> Iterator[Blob]:
    """Yield every file below the folder, at any depth."""
    waiting = [folder]
    while waiting:
        for node in waiting.pop().entries.values():
            if isinstance(node, Blob):
                yield node
            else:
                waiting.append(node)


class _LinkFault(Exception):
    """Link that cannot be followed, with the reason."""


_Place = tuple[str, ...]


class CommitWalk:
    """Walk over the entries of the tree within the budget; ``links``: target of each, by object."""

    def __init__(self, root: Folder, links: Mapping[str, str]) -> None:
        self._root = root
        self._links = links
        self._budget = TreeBudget(DEFAULT_LIMITS)

    def run(self) -> Iterator[FoundBlob]:
        """Yield every manifest-like entry, in name order; then the violations of the budget."""
        for path, blob, problem in self._walk(self._root, (), "", ((),)):
            if problem or self._budget.take(path, min(blob.size, ATTACHMENT_MAX) if blob else 0):
                yield path, blob, problem
        for violation in self._budget.violations:
            yield violation.path, None, violation

    def _enter(
        self,
        folder: Folder,
        real: _Place,
        prefix: str,
        within: tuple[_Place, ...],
        link: Hashable | None = None,
    ) -> Iterator[FoundBlob]:
        problem = self._budget.enter(prefix, link)
        if problem:
            yield prefix, None, problem
        else:
            yield from self._walk(folder, real, prefix, within)

    def _walk(
        self, folder: Folder, real: _Place, prefix: str, within: tuple[_Place, ...]
    ) -> Iterator[FoundBlob]:
        for name in sorted(folder.entries):
            if name.startswith("."):
                continue
            path = prefix + escape_unprintable(name)
            node = folder.entries[name]
            if self._budget.is_spent(path):
                continue
            if isinstance(node, Blob) and node.is_submodule:
                yield f"{path}/", None, _make_submodule_violation(f"{path}/")
            elif is_manifest_name(name):
                yield self._manifest((*real, name), path)
            elif isinstance(node, Folder):
                yield from self._enter(node, (*real, name), f"{path}/", within)
            elif node.is_link:
                yield from self._link((*real, name), path, within)
            elif is_attachment_name(name):
                yield path, node, None

    def _manifest(self, place: _Place, path: str) -> FoundBlob:
        try:
            real, node = self._resolved(place)
        except _LinkFault as fault:
            return path, None, _make_link_violation(path, str(fault))
        if isinstance(node, Folder):
            hint = "a folder's name must not end in .yaml or .yml"
            return path, None, Violation(path, "not-a-file", "this is a folder", hint)
        problem = find_foreign_link(path, "/".join(real), is_folder=False)
        return path, None if problem else node, problem

    def _link(self, place: _Place, path: str, within: tuple[_Place, ...]) -> Iterator[FoundBlob]:
        """Follow an entry that is neither a manifest nor a plain file: a link to a folder or to a text."""
        attachment = is_attachment_name(place[-1])
        try:
            real, node = self._resolved(place)
        except _LinkFault as fault:
            if attachment:
                yield path, None, _make_link_violation(path, str(fault))
            elif str(fault) == _OUTSIDE and _may_be_folder(place[-1]):
                yield f"{path}/", None, _make_link_violation(f"{path}/", _OUTSIDE)
            return
        if isinstance(node, Blob):
            if attachment:
                problem = find_foreign_link(path, "/".join(real), is_folder=False)
                yield path, None if problem else node, problem
            return
        prefix = f"{path}/"
        if real in within or place[:-1][: len(real)] == real:
            yield prefix, None, _make_link_violation(prefix, "this link points to a parent folder")
        elif problem := find_foreign_link(prefix, "/".join(real), is_folder=True):
            yield prefix, None, problem
        else:
            yield from self._enter(node, real, f"{path}/", (*within, real), link=real)

    def _resolved(self, place: _Place) -> tuple[_Place, Node]:
        """Return where a path really leads. Raises ``_LinkFault``."""
        waiting, done, links = list(place), list[str](), 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                if not done:
                    raise _LinkFault(_OUTSIDE)
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
        if links > _LINKS_MAX or len(target) > _PATH_MAX:
            raise _LinkFault("this link points to itself")
        if target.startswith("/"):
            raise _LinkFault(_OUTSIDE)
        return target.split("/")

    def _at(self, place: _Place) -> Node:
        node: Node = self._root
        for part in place:
            if not isinstance(node, Folder) or part not in node.entries:
                raise _LinkFault("the target of this link does not exist")
            node = node.entries[part]
        return node


def _may_be_folder(name: str) -> bool:
    """Return whether a link may lead to a folder, whose agents must not be removed in silence.

    A commit does not contain what is outside the folder of manifests. LICENSE and x.json are files.
    """
    return "." not in name and not name.isupper()


def _make_submodule_violation(path: str) -> Violation:
    hint = "pull mode reads one repository: put the files here, or watch a checkout with --path"
    return Violation(path, "submodule", "this is a submodule, which is not read", hint)


_OUTSIDE = "this link points outside the folder of manifests"


def _make_link_violation(path: str, message: str) -> Violation:
    if message == _OUTSIDE:
        return Violation(path, "symlink-outside", message, "put the file itself here")
    return Violation(path, "unreadable", message, "remove it, or restore its target")
