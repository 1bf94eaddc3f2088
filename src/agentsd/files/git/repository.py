"""Repository that agentsd writes to: its location, its restrictions, and its write locks.

Two locks, taken in this order:

1. flock(2) on the repository's git folder, inherited by every git that runs under it: no second
   agentsd enters before the last git of a killed one has ended. The system releases it.
2. ``index.lock``, git's own, so that no other git changes the index or the branch meanwhile. Ours
   contains a mark: the holder of the first lock that finds the mark can be sure that its writer is
   dead, and takes it over. A lock without the mark is somebody else's, and is waited for but never
   removed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from agentsd.core.errors import AgentsdError, ConfigError
from agentsd.core.names import escape_unprintable
from agentsd.files.git.command import GitResult, find_repository, run
from agentsd.system.file_lock import wait_for_lock

GIT_TIMEOUT_SECONDS = 30.0
"""Timeout of one git process: signing and filters may be slow."""

_PAUSE_SECONDS = 0.02  # seconds
_MARK = b"an agentsd is writing this index\n"
_SETTINGS = r"^((user|committer)\.(name|email)|commit\.gpgsign|hook\..*\.(command|event))$"
_LOCK = re.compile(r"Unable to create '([^'\n]+\.lock)'")
_UNWRITABLE = re.compile("Permission denied|Read-only file system|insufficient permission|No space left")
_FULL = re.compile("No space left|quota exceeded|File too large|file write error|unable to write")
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "sequencer": "cherry-pick",
}
_log = logging.getLogger(__name__)
T = TypeVar("T")


class GitRefused(AgentsdError):
    """Refusal by git or by the state of the repository; nothing was committed."""


class GitFull(GitRefused):
    """Lack of space for git: the disk or the user's quota is full; nothing was committed."""

    retryable = True


class GitBusy(AgentsdError):
    """Lock that another git holds for longer than the timeout; nothing was committed."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Repository:
    """Repository with a work tree. ``held``: descriptors that its gits inherit (see ``alone``)."""

    top: Path
    git_dir: Path
    settings: Mapping[str, str] = field(repr=False)  # git's own, lower-case keys
    held: tuple[int, ...] = ()

    async def git(
        self,
        *arguments: str,
        stdin: bytes = b"",
        index: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Return the output of one git. Raises ``GitRefused`` or ``GitBusy``."""
        ran = await self.ask(*arguments, stdin=stdin, index=index, environment=environment)
        if ran.code:
            raise _make_refusal(ran, arguments[0], self.top)
        return ran.text

    async def ask(
        self,
        *arguments: str,
        stdin: bytes = b"",
        index: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> GitResult:
        """Return the result of one git. Raises ``GitRefused`` on a timeout.

        ``index``: an index other than the repository's own.
        """
        timeout = timeout or GIT_TIMEOUT_SECONDS
        chosen = {"GIT_INDEX_FILE": str(index)} if index else {}
        given = {
            **_choose_committer(self.settings),
            **_disable_hooks(self.settings),
            **chosen,
            **(environment or {}),
        }
        try:
            return await run(
                self.top, *arguments, stdin=stdin, environment=given, held=self.held, timeout=timeout
            )
        except TimeoutError:
            raise GitRefused(
                f"git {arguments[0]} did not end within {timeout:g} s",
                hint="is it waiting for a passphrase (commit.gpgSign) or a filter? try it manually",
            ) from None

    async def branch(self) -> str:
        """Return the current branch, ``refs/heads/…``. Raises ``GitRefused`` on a detached HEAD."""
        ran = await self.ask("symbolic-ref", "--quiet", "HEAD")
        if ran.code:
            raise GitRefused(f"no branch is checked out in {self.top}", hint="check one out: git switch main")
        return ran.text

    def located(self, folder: Path, path: str) -> str:
        """Return ``path``, relative to ``folder``, as git names it from the top.

        A link is followed to its file. Raises ``GitRefused`` if that is outside the repository.
        """
        pure = PurePosixPath(path)
        inside = path.isprintable() and not pure.is_absolute() and not {"..", ".git"} & set(pure.parts)
        real = Path(os.path.realpath(folder / path)) if inside else Path("/")
        if not inside or not real.is_relative_to(self.top) or real.is_dir():
            raise GitRefused(
                f"{escape_unprintable(path)!r} is not a file of {self.top}",
                hint="name a file in its work tree",
            )
        return real.relative_to(self.top).as_posix()

    def refuse_unfinished(self) -> None:
        """Raise ``GitRefused`` during a merge, rebase, cherry-pick or revert."""
        for mark, operation in _UNFINISHED.items():
            if (self.git_dir / mark).exists():
                raise GitRefused(
                    f"a {operation} is under way in {self.top}",
                    hint=f"finish it (git {operation} --continue) or cancel it (git {operation} --abort)",
                )

    @asynccontextmanager
    async def alone(self, deadline: float) -> AsyncIterator[Repository]:
        """Lock out every other agentsd; yield this repository. Raises ``GitBusy`` at ``deadline``."""
        try:
            descriptor = os.open(self.git_dir, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise _make_unwritable(self.git_dir, error.strerror) from None
        try:
            if not await wait_for_lock(descriptor, deadline, _PAUSE_SECONDS):
                raise GitBusy(f"another agentsd process is writing to {self.top}", hint="try again")
            yield replace(self, held=(descriptor,))
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def index_lock(self, deadline: float) -> AsyncIterator[None]:
        """Lock the index against other gits. Raises ``GitBusy`` at ``deadline``.

        Only to be used under ``alone``.
        """
        lock = self.git_dir / "index.lock"
        while not self._taken(lock):
            if _get_loop_time() >= deadline:
                raise _make_busy(lock)
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            yield
        finally:
            _release_lock(lock)

    def _taken(self, lock: Path) -> bool:
        try:
            _write_mark(lock)
        except FileExistsError:
            if ours := _is_ours(lock):
                _log.warning("took over %s: the agentsd process that wrote it was killed", lock)
            return ours
        except OSError as error:
            raise _make_unwritable(self.git_dir, error.strerror) from None
        return True


async def open_repository(folder: Path) -> Repository:
    """Return the repository around ``folder``.

    Raises ``GitRefused`` if there is none with a work tree.
    """
    ran = await run(folder, "rev-parse", "--is-inside-work-tree", "--absolute-git-dir", "--show-toplevel")
    if ran.text.startswith("false"):
        raise GitRefused(f"{folder} does not belong to a work tree", hint="use a clone that is not bare")
    if ran.code in (127, 128) and not ran.out:
        raise _make_no_repository(folder, ran)
    _, git_dir, top = ran.text.split("\n")
    known = await run(Path(top), "config", "-z", "--get-regexp", _SETTINGS)
    lines = (line.partition("\n") for line in os.fsdecode(known.out).split("\0") if line)
    settings = {key: value if equals else "true" for key, equals, value in lines}
    return Repository(Path(top), Path(git_dir), settings)


async def check_repository(folder: Path, *, timeout: float = 2.0) -> None:
    """Check what write-back needs at startup: a work tree, a branch, a writable git folder.

    An index lock that a killed agentsd left is removed, after at most ``timeout`` seconds for a git of
    it that still runs. Raises ``ConfigError``.
    """
    try:
        repository = await open_repository(folder)
        await repository.branch()
        if not os.access(repository.git_dir, os.W_OK):
            raise _make_unwritable(repository.git_dir, None)
        async with repository.alone(_get_loop_time() + timeout):
            _release_lock(repository.git_dir / "index.lock")  # the process that wrote it is dead: see above
    except GitBusy:  # another agentsd is working
        return
    except GitRefused as error:
        raise ConfigError(f"edits cannot become commits: {error.message}", hint=error.hint) from None


async def retry_while_busy(attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Return the result of ``attempt``, which is repeated while another git is in the way.

    Raises ``GitBusy`` at ``deadline``.
    """
    while True:
        try:
            return await attempt()
        except GitBusy:
            if _get_loop_time() >= deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def compute_deadline(seconds: float) -> float:
    """Return the end of a wait of ``seconds``, by the running loop's clock."""
    return _get_loop_time() + seconds


def _get_loop_time() -> float:
    return asyncio.get_running_loop().time()


def _write_mark(lock: Path) -> None:
    """Write our mark into the lock.

    Without its mark, for lack of space, it would count as somebody else's for good.
    """
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, _MARK)
    except OSError:
        lock.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _is_ours(lock: Path) -> bool:
    try:
        return lock.read_bytes() == _MARK
    except OSError:
        return False


def _release_lock(lock: Path) -> None:
    if _is_ours(lock):
        lock.unlink(missing_ok=True)


def _choose_committer(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a committer if git's own settings name none; git would guess one from the host's name."""
    given: dict[str, str] = {}
    for field_name, default in (("name", "agentsd"), ("email", "agentsd@localhost")):
        variable = f"GIT_COMMITTER_{field_name.upper()}"
        configured = settings.get(f"committer.{field_name}") or settings.get(f"user.{field_name}")
        if not configured and not os.environ.get(variable):
            given[variable] = default
    return given


def _disable_hooks(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings that disable hooks by name.

    This covers hooks in git's settings instead of a folder (git 2.54, git-hook(1)).
    """
    names = sorted({key[5:].rpartition(".")[0] for key in settings if key.startswith("hook.")})
    given = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(names):
        given[f"GIT_CONFIG_KEY_{number}"] = f"hook.{name}.enabled"
        given[f"GIT_CONFIG_VALUE_{number}"] = "false"
    return given


def _make_refusal(ran: GitResult, command: str, top: Path) -> AgentsdError:
    if locked := _LOCK.search(ran.complaint):
        return _make_busy(Path(locked[1]))
    if _FULL.search(ran.complaint) or ran.code == -signal.SIGXFSZ:
        hint = f"free disk space for {top}, then try again"
        return GitFull(f"git has no disk space to write in {top}", hint=hint)
    if command == "commit-tree":
        hint = "can it sign without a passphrase? provide the key, or set: git config commit.gpgSign false"
        return GitRefused("git cannot create the commit", hint=hint)
    if _UNWRITABLE.search(ran.complaint):
        return _make_unwritable(top, None)
    return GitRefused(f"git {command} failed (exit {ran.code})", hint=f"in {top}, see: git status; git fsck")


def _make_busy(lock: Path) -> GitBusy:
    return GitBusy(
        f"another git process holds {lock}",
        hint="try again when it is done; if no git is running here, remove that file: a killed one left it",
    )


def _make_unwritable(folder: Path, reason: str | None) -> GitRefused:
    because = f": {reason}" if reason else ""
    return GitRefused(f"git cannot write in {folder}{because}", hint="check its owner, mode, mount and disk")


def _make_no_repository(folder: Path, ran: GitResult) -> GitRefused:
    if ran.code == 127:
        return GitRefused("git is not installed", hint="install git, or use --write-back files")
    if "dubious ownership" in ran.complaint:
        return GitRefused(
            f"git does not trust the repository of {folder}: another user owns it",
            hint=f"git config --global --add safe.directory {find_repository(folder) or folder}",
        )
    return GitRefused(f"{folder} is not in a git repository", hint="run git init, or use --write-back files")
