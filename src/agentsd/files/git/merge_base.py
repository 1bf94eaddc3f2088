"""Folder of manifests at the merge base with another branch, read from git's objects."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from posixpath import join, normpath

from agentsd.core.errors import ConfigError
from agentsd.core.names import escape_unprintable
from agentsd.files.git.command import run
from agentsd.files.git.tree_reader import CommitReader
from agentsd.files.tree import Tree, add_overlay, get_overlay_path


async def read_merge_base_tree(folder: Path, ref: str, env: str | None = None) -> tuple[str, Tree]:
    """Return the merge base of HEAD and ``ref``, and ``folder`` in it: empty if it did not exist yet.

    With the overlay ``env`` beside it, if that existed.

    Nothing is checked out. Raises ``ConfigError`` if git cannot resolve ``ref``.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder", hint="name the folder of manifests with --path")
    left = await run(folder, "merge-base", "--end-of-options", ref, "HEAD")
    if left.code:
        hint = "in CI, fetch it first and in full: a shallow clone has neither other branches nor history"
        raise ConfigError(f"git cannot compare {folder} with {escape_unprintable(ref)!r}", hint=hint)
    prefix = (await run(folder, "rev-parse", "--show-prefix")).out.decode(errors="surrogateescape")
    path = prefix.rstrip("\n").rstrip("/")
    commit = left.text.split()[0]
    if (await run(folder, "cat-file", "-e", f"{commit}:{path}")).code:
        return commit, Tree(folder, {})
    overlay = normpath(join(path, get_overlay_path(env)))
    if env and (await run(folder, "cat-file", "-e", f"{commit}:{overlay}")).code:
        env = None
    git = partial(run, folder)
    return commit, await read_commit((CommitReader(git), CommitReader(git)), commit, path, env)


async def read_commit(
    readers: tuple[CommitReader, CommitReader], commit: str, path: str, env: str | None
) -> Tree:
    """Return the manifests below ``path`` in a commit, and those of the overlay ``env``.

    Each is read by a reader of its own. Raises ``ConfigError`` if there is no such folder.
    """
    tree = await readers[0].read(commit, path)
    if not env:
        return tree
    return add_overlay(tree, await readers[1].read(commit, normpath(join(path, get_overlay_path(env)))), env)
