"""Return to a revision where no file can be written: the commands that a person runs instead."""

from __future__ import annotations

import shlex
from hashlib import sha256
from pathlib import Path

from agentsd.files.git.command import find_repository
from agentsd.store.queries.agents import Revision


def make_checkout_command(root: Path, revision: Revision) -> str | None:
    """Return the command that restores the revision's files; None where its commit is not recorded."""
    if revision.commit is None:
        return None
    top = find_repository(root)
    attached = [path for path, _ in revision.sources]
    attached += [one.path for one in (*revision.layers, *revision.locks)]
    paths = [
        _find_path_in_repository(root, top, path)
        for path in (revision.path, *_list_prompt_path(revision), *attached)
    ]
    where = ["-C", str(top)] if top is not None else []
    return shlex.join(["git", *where, "checkout", revision.commit, "--", *paths])


def _find_path_in_repository(root: Path, top: Path | None, path: str) -> str:
    """Return the path as git names it; outside a repository guess it from the top folder."""
    file = root / path
    if top is not None:
        return file.resolve().relative_to(top.resolve()).as_posix()
    return f"{root.name}/{path}"


def _list_prompt_path(revision: Revision) -> tuple[str, ...]:
    """Return the file of the prompt, relative to the tree: a manifest names it from its owner's folder."""
    from agentsd.core.manifest.document import parse_document

    named = parse_document(revision.path, revision.data).value.get("system_prompt_file")
    if revision.prompt is None or not isinstance(named, str):
        return ()
    folder = revision.path.partition("/")[0] if "/" in revision.path else ""
    return (f"{folder}/{named}" if folder else named,)


def find_changed_files(root: Path, revision: Revision) -> list[str]:
    """Return files beside the manifest that differ from the revision: a rollback leaves them as they are."""
    beside = (*revision.layers, *revision.locks)
    wanted = {**dict(revision.sources), **{one.path: one.digest for one in beside}}
    if revision.prompt is not None:
        wanted |= {path: sha256(revision.prompt).digest() for path in _list_prompt_path(revision)}
    return sorted(path for path, digest in wanted.items() if _compute_digest(root / path) != digest)


def _compute_digest(file: Path) -> bytes | None:
    try:
        return sha256(file.read_bytes()).digest()
    except OSError:
        return None
