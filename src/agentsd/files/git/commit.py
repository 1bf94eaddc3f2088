"""Commits of edits: the write side of git.

Commits are made by git's plumbing, in a scratch index of our own: whatever else is staged or dirty
stays as it is, no hook can intervene, and a process that is killed between any two steps leaves the
repository as it was, or with the files of the edit staged.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.core.names import escape_unprintable
from agentsd.files.git.ignore import refuse_ignored
from agentsd.files.git.push import PushFailed, push_commits
from agentsd.files.git.repository import (
    GitBusy,
    GitRefused,
    Repository,
    check_repository,
    compute_deadline,
    open_repository,
    retry_while_busy,
)

__all__ = [  # the whole write side, to import from one module
    "Author",
    "CommitSpec",
    "GitBusy",
    "GitRefused",
    "PushFailed",
    "check_repository",
    "commit_files",
    "commit_to_branch",
    "push_commits",
]

COMMIT_WAIT_SECONDS = 10.0
"""Time to wait for another git process."""

_SCRATCH = "agentsd-index"
_NAME_MAX = 200
_CRUD = " .,:;<>\"'\\"  # what git itself strips from the ends of a name (ident.c)
_UNPRINTED = ("Cc", "Cs", "Zl", "Zp")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_TRUE = ("true", "yes", "on", "1")


@dataclass(frozen=True, slots=True)
class Author:
    """Author of an edit. Any text will do: what git cannot store in a name or address is removed."""

    name: str
    email: str

    def __post_init__(self) -> None:
        name = _join_line(re.sub("[<>]", "", self.name))[:_NAME_MAX].strip(_CRUD)
        email = re.sub(r"[<>\s]", "", _join_line(self.email))[:_NAME_MAX].strip(_CRUD)
        object.__setattr__(self, "name", name or "agentsd")
        object.__setattr__(self, "email", email or "agentsd@localhost")


@dataclass(frozen=True, slots=True)
class CommitSpec:
    """Contents of a commit. ``trailers`` are its last paragraph: ("Edited-by", "acme/ci")."""

    subject: str
    body: str = field(default="", kw_only=True)
    author: Author = field(kw_only=True)
    trailers: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)

    @property
    def message(self) -> str:
        """Return the whole message; no text in one part of it can pass for another part."""
        body = "\n".join(_replace_unprinted(line).rstrip() for line in self.body.splitlines()).strip("\n")
        named = (
            (re.sub("[^A-Za-z0-9-]+", "-", key).strip("-"), _join_line(value)) for key, value in self.trailers
        )
        trailers = "\n".join(f"{key}: {value}" for key, value in named if key and value)
        parts = (_join_line(self.subject) or "Change agents", body, trailers)
        return "\n\n".join(part for part in parts if part) + "\n"


@dataclass(frozen=True, slots=True)
class _Base:
    """Commit that HEAD names and its tree; both empty before the first one."""

    commit: str
    tree: str


async def commit_files(
    folder: Path, paths: Sequence[str], order: CommitSpec, *, timeout: float = COMMIT_WAIT_SECONDS
) -> str | None:
    """Commit the files ``paths`` (relative to ``folder``) as they are on disk, and nothing else.

    Returns None if they match HEAD. Raises ``GitRefused``, and ``GitBusy`` after ``timeout`` seconds.
    """
    deadline = compute_deadline(timeout)
    repository = await open_repository(folder)
    names = sorted({repository.located(folder, path) for path in paths})
    if not names:
        return None
    async with repository.alone(deadline) as mine:
        await refuse_ignored(mine, _filter_present(mine, names))

        async def attempt() -> str | None:
            async with mine.index_lock(deadline):
                return await _commit_names(mine, names, order)

        return await retry_while_busy(attempt, deadline)


async def _commit_names(repository: Repository, names: Sequence[str], order: CommitSpec) -> str | None:
    """Write the index first, then the branch: a crash in between leaves the files staged."""
    repository.refuse_unfinished()
    await repository.branch()
    base = await _read_base(repository)
    with _open_scratch_index(repository) as scratch:
        await repository.git("read-tree", base.tree or "--empty", index=scratch)
        await _stage_files(repository, names, scratch)
        tree = await repository.git("write-tree", index=scratch)
    if tree == (base.tree or await repository.git("hash-object", "-t", "tree", "--stdin")):
        return None
    made = await _create_commit(repository, tree, base, order)
    index = repository.git_dir / "index"
    before = index.read_bytes() if index.exists() else None
    with _open_scratch_index(repository) as scratch:
        if before is not None:
            scratch.write_bytes(before)
        await _stage_files(repository, names, scratch)
        scratch.replace(index)
    try:
        await _move_ref(repository, "HEAD", made, base, order)
    except AgentsdError:
        if (await _read_base(repository)).commit != made:  # else it did move, and the reply came too late
            _restore_index(repository, index, before)
            raise
    return made


def _restore_index(repository: Repository, index: Path, before: bytes | None) -> None:
    """Restore the index after a failed commit.

    Nothing was committed, so nothing stays staged: else the files would seem changed for good.
    """
    if before is None:
        index.unlink(missing_ok=True)
        return
    with _open_scratch_index(repository) as scratch:
        scratch.write_bytes(before)
        shutil.copymode(index, scratch)
        scratch.replace(index)


async def _stage_files(repository: Repository, names: Sequence[str], index: Path) -> None:
    listing = "".join(f"{name}\0" for name in names).encode(errors="surrogateescape")
    options = ("--add", "--remove", "--replace", "-z", "--stdin")
    await repository.git("update-index", *options, stdin=listing, index=index)


async def commit_to_branch(
    folder: Path,
    files: Mapping[str, bytes | None],
    branch: str,
    order: CommitSpec,
    *,
    timeout: float = COMMIT_WAIT_SECONDS,
) -> str:
    """Commit ``files`` (None: deleted) on top of HEAD to the new ``branch``; return the commit.

    Work tree, index and HEAD stay untouched. Raises ``GitRefused`` (also if ``branch`` exists, or the
    files match HEAD) and ``GitBusy``.
    """
    deadline = compute_deadline(timeout)
    repository = await open_repository(folder)
    ref = await _check_new_branch(repository, branch)
    named = {repository.located(folder, path): data for path, data in files.items()}
    async with repository.alone(deadline) as mine:
        mine.refuse_unfinished()
        kept = [name for name, data in named.items() if data is not None]
        await refuse_ignored(mine, _filter_present(mine, kept))
        base = await _read_base(mine)
        if not base.commit:
            raise GitRefused(f"{mine.top} has no commit yet", hint="create the first one on its main branch")
        made = await _create_commit(mine, await _write_tree(mine, base, named), base, order)
        await retry_while_busy(lambda: _move_ref(mine, ref, made, None, order), deadline)
        return made


async def _write_tree(repository: Repository, base: _Base, named: Mapping[str, bytes | None]) -> str:
    modes = await _read_modes(repository, base, named)
    lines = []
    for name, data in named.items():
        if data is None:
            lines.append(f"0 {'0' * len(base.commit)}\t{name}\0")
        else:
            blob = await repository.git("hash-object", "-w", "--stdin", f"--path={name}", stdin=data)
            lines.append(f"{modes.get(name, '100644')} {blob}\t{name}\0")
    listing = "".join(lines).encode(errors="surrogateescape")
    with _open_scratch_index(repository) as scratch:
        await repository.git("read-tree", base.tree, index=scratch)
        await repository.git("update-index", "--replace", "-z", "--index-info", stdin=listing, index=scratch)
        tree = await repository.git("write-tree", index=scratch)
    if tree == base.tree:
        raise GitRefused("nothing to commit: the files are equal to HEAD", hint="change something")
    return tree


async def _read_modes(repository: Repository, base: _Base, names: Collection[str]) -> dict[str, str]:
    listed = await repository.git("ls-tree", "-z", "--full-tree", base.tree, "--", *names)
    entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
    return {name: facts[:6] for facts, _, name in entries if facts.startswith("100")}


async def _check_new_branch(repository: Repository, branch: str) -> str:
    ref = f"refs/heads/{branch}"
    fine = branch.isprintable() and not branch.startswith("-") and branch not in ("HEAD", "@")
    if not fine or (await repository.ask("check-ref-format", ref)).code:
        raise GitRefused(
            f"{escape_unprintable(branch)!r} is not a valid branch name",
            hint="see: git help check-ref-format",
        )
    if not (await repository.ask("show-ref", "--verify", "--quiet", ref)).code:
        raise GitRefused(f"the branch {branch!r} exists already", hint="use another name, or delete it")
    return ref


def _filter_present(repository: Repository, names: Sequence[str]) -> list[str]:
    return [name for name in names if (repository.top / name).exists()]


async def _read_base(repository: Repository) -> _Base:
    asked = await repository.git("cat-file", "--batch-check", stdin=b"HEAD^{commit}\nHEAD^{tree}\n")
    commit, tree = (line.split() for line in asked.splitlines())
    return _Base("", "") if commit[-1] == "missing" else _Base(commit[0], tree[0])


@contextmanager
def _open_scratch_index(repository: Repository) -> Iterator[Path]:
    """Yield a name for an index beside the real one; leftovers of a killed git are removed.

    The caller must hold the repository exclusively.
    """
    scratch = repository.git_dir / _SCRATCH
    paths = (scratch, scratch.with_name(f"{_SCRATCH}.lock"))
    for path in paths:
        path.unlink(missing_ok=True)
    try:
        yield scratch
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


async def _create_commit(repository: Repository, tree: str, base: _Base, order: CommitSpec) -> str:
    sign = repository.settings.get("commit.gpgsign", "").lower() in _TRUE
    options = (*(("-p", base.commit) if base.commit else ()), *(("-S",) if sign else ()))
    author = {"GIT_AUTHOR_NAME": order.author.name, "GIT_AUTHOR_EMAIL": order.author.email}
    return await repository.git(
        *("commit-tree", *options, "-F", "-", tree), stdin=order.message.encode(), environment=author
    )


async def _move_ref(
    repository: Repository, ref: str, made: str, base: _Base | None, order: CommitSpec
) -> None:
    """Point ``ref`` to ``made``, if it still points to ``base`` (None: if it does not exist)."""
    before = base.commit if base else ""
    note = f"commit: {_join_line(order.subject)}"
    try:
        await repository.git("update-ref", "--create-reflog", "-m", note, ref, made, before)
    except GitRefused:
        if base is None:
            hint = "is another branch in the way? a/b cannot be created beside a"
            raise GitRefused(f"git cannot create the branch {ref[11:]!r}", hint=hint) from None
        if await _read_base(repository) != base:
            raise GitBusy("the branch moved meanwhile", hint="try again") from None
        raise


def _join_line(text: str) -> str:
    return " ".join(_replace_unprinted(text).split())


def _replace_unprinted(text: str) -> str:
    """Replace control characters, lone surrogates and direction marks in ``text`` by blanks."""
    return "".join(
        " " if (unicodedata.category(c) in _UNPRINTED and c != "\t") or c in _BIDI else c for c in text
    )
