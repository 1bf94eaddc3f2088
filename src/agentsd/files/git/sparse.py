"""Manifests that git has and the work tree lacks on purpose: sparse checkouts and empty submodules.

They are not deleted, so they must not be pruned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agentsd.core.names import escape_unprintable
from agentsd.core.violations import Violation
from agentsd.files.git.command import find_repository, locate_index_lock, run
from agentsd.files.tree import NO_SIGNATURE, SourceFile, Tree, is_attachment_name, is_manifest_name


async def mark_absent(tree: Tree) -> Tree:
    """Return the tree with a violation for each manifest that is only absent from this checkout."""
    if not _may_lack_files(tree.root):
        return tree
    ran = await run(tree.root, "ls-files", "-t", "-s", "-z", "--", ".")
    absent = dict(_find_absent(tree, os.fsdecode(ran.out))) if ran.code == 0 else {}
    return replace(tree, files={**tree.files, **absent}) if absent else tree


def _may_lack_files(root: Path) -> bool:
    """Return whether git has files that a checkout may lack. Looks at files only: it is asked each round."""
    lock, top = locate_index_lock(root), find_repository(root)
    if lock is None or top is None:
        return False
    return lock.with_name("info").joinpath("sparse-checkout").exists() or (top / ".gitmodules").exists()


def _find_absent(tree: Tree, listing: str) -> Iterator[tuple[str, SourceFile]]:
    """Yield what ``git ls-files -t -s -z`` lists (``S <mode> <object> <stage>``, tab, path) and is
    absent.
    """
    for entry in filter(None, listing.split("\0")):
        head, _, name = entry.partition("\t")
        tag, mode = head.split()[:2]
        path = escape_unprintable(name)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if mode == "160000" and not hidden and not (tree.root / name / ".git").exists():
            hint = "fetch it: git submodule update --init"
            yield f"{path}/", _make_absent(f"{path}/", "this submodule is not checked out", hint)
        elif tag == "S" and not hidden and path not in tree.files and _counts(name):
            hint = "include it: git sparse-checkout add, or git sparse-checkout disable"
            message = "this file is in git, but not in this sparse checkout"
            yield path, _make_absent(path, message, hint)


def _counts(name: str) -> bool:
    return is_manifest_name(name.rpartition("/")[2]) and not is_attachment_name(name)


def _make_absent(path: str, message: str, hint: str) -> SourceFile:
    return SourceFile(path, NO_SIGNATURE, problem=Violation(path, "not-checked-out", message, hint))
