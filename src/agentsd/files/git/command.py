"""Read-only git queries about the tree, by the system's git. Every git of agentsd is run by ``run``."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath

from agentsd.core.errors import ConfigError

_NAMED_MAX = 500
"""Paths on a command line; for more of them, git looks at the whole folder."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEPT_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "GNUPGHOME", "SSH_AUTH_SOCK"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"),
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
"""The only variables that git gets: no ``SOPS_*`` or ``AGENTSD_*`` ever reaches a filter or a helper."""

_FIXED_VARIABLES = {
    "LC_ALL": "C.UTF-8",  # refusals are classified by git's English messages
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",  # a file may be named "*.yaml" or ":(top)"
}
_GIT_OPTIONS = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.fsmonitor=false"),  # a hook by another name, or a daemon that stays
    *("-c", "i18n.commitEncoding=UTF-8"),
)
_TERMINATE_SECONDS = 2.0
"""Seconds that git has after SIGTERM to remove its own lock files."""


@dataclass(frozen=True, slots=True)
class GitResult:
    """Result of one git. ``complaint`` may contain URLs with passwords: inspect it, never show it."""

    code: int
    out: bytes = b""
    complaint: str = ""

    @property
    def text(self) -> str:
        """Return the output, stripped of surrounding blanks."""
        return os.fsdecode(self.out).strip()


async def read_head_commit(folder: Path) -> str | None:
    """Return the commit that ``folder`` is checked out at; None without a repository or a commit.

    Read from git's own files if they contain it plainly: starting git costs more than syncing a file.
    """
    git_dir = _find_git_dir(folder)
    if git_dir is None:
        return None
    with suppress(OSError, UnicodeDecodeError):
        if commit := _read_head(git_dir):
            return commit
    code, out = await _run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return out if code == 0 and out else None


def locate_index_lock(folder: Path) -> Path | None:
    """Return the index lock of the repository around ``folder``.

    It exists while git writes the work tree.
    """
    git_dir = _find_git_dir(folder)
    return git_dir and git_dir / "index.lock"


def _find_git_dir(folder: Path) -> Path | None:
    for parent in (folder.resolve(), *folder.resolve().parents):  # as git does, past links
        mark = parent / ".git"
        if mark.is_dir():
            return mark
        if mark.is_file():  # a linked work tree or a submodule: "gitdir: <path>"
            return parent / mark.read_text().removeprefix("gitdir:").strip()
    return None


def _read_head(git_dir: Path) -> str | None:
    """Return the commit in HEAD or in its branch (gitrepository-layout(5)); None: ask git."""
    head = (git_dir / "HEAD").read_text().strip()
    if head.startswith("ref: "):
        shared = git_dir / "commondir"  # a linked work tree keeps its branches in the main repository
        common = git_dir / shared.read_text().strip() if shared.exists() else git_dir
        head = (common / head.removeprefix("ref: ")).read_text().strip()
    return head if _COMMIT.fullmatch(head) else None


async def is_older(folder: Path, commit: str, applied: str) -> bool:
    """Return whether ``commit`` is a strict ancestor of ``applied``.

    False if this clone lacks ``applied``. Raises ``ConfigError`` where git cannot be asked.
    """
    if commit == applied:
        return False
    ran = await run(folder, "merge-base", "--is-ancestor", commit, applied)
    if ran.code == 127:
        raise _make_unasked("git is not installed", "install git")
    if _is_distrusted(ran):
        top = find_repository(folder) or folder
        reason = f"git does not trust {top}: another user owns it"
        raise _make_unasked(reason, f"run: git config --global --add safe.directory {shlex.quote(str(top))}")
    return ran.code == 0


def _is_distrusted(ran: GitResult) -> bool:
    return ran.code == 128 and "dubious ownership" in ran.complaint


def _make_unasked(reason: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"{reason}, so nothing shows whether this commit is older than the applied one",
        hint=f"{remedy}; or, without that check, pass --allow-older",
    )


async def list_changed_files(folder: Path, ref: str) -> frozenset[str]:
    """Return the files below ``folder`` that differ from where this branch left ``ref``.

    They are relative to ``folder``; uncommitted changes count. Raises ``ConfigError`` if git cannot
    resolve ``ref``.
    """
    code, tracked = await _run_git(
        folder, "diff", "--merge-base", "--name-only", "-z", "--relative", "--end-of-options", ref, "--", "."
    )
    if code != 0:
        hint = "in CI, fetch it first: a shallow clone has no other branch"
        raise ConfigError(f"git cannot compare {folder} with {ref!r}", hint=hint)
    _, untracked = await _run_git(folder, "ls-files", "-z", "--others", "--exclude-standard")
    return frozenset(name for name in (*tracked.split("\0"), *untracked.split("\0")) if name)


async def is_clean(folder: Path, paths: Sequence[str]) -> bool:
    """Return whether the files ``paths`` (relative to ``folder``) match HEAD and the index.

    False also if git cannot determine it.
    """
    if not paths:
        return True
    options = ("--porcelain", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames")
    places = sorted({place for path in paths for place in _list_places(folder, path)})
    code, out = await _run_git(folder, "status", *options, "--", *places)
    return code == 0 and not out


def _list_places(folder: Path, path: str) -> tuple[str, str]:
    """Return where the entry at ``path`` stands and where it leads: git looks at a link, and into none."""
    top, full = os.path.realpath(folder), folder / path
    real = os.path.realpath(full)
    own = os.path.join(os.path.realpath(full.parent), full.name)  # noqa: PTH118
    return os.path.relpath(own, top), os.path.relpath(real, top)


async def list_uncommitted(folder: Path, paths: Collection[str]) -> frozenset[str]:
    """Return which of ``paths`` (relative to ``folder``) are not as HEAD has them, ignored ones included.

    None of them where git cannot determine it.
    """
    top = find_repository(folder)
    if not paths or top is None:
        return frozenset()
    options = ("--porcelain", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames")
    named = ("--", *paths) if len(paths) <= _NAMED_MAX else ("--", ".")
    ran = await run(folder, "status", *options, *named)
    if ran.code != 0:
        return frozenset()
    found = [os.fsdecode(entry[3:]) for entry in ran.out.split(b"\0") if entry]
    whole, folders = frozenset(found), tuple(name for name in found if name.endswith("/"))
    prefix = folder.resolve().relative_to(top).as_posix()
    full = {path: normpath(f"{prefix}/{path}") for path in paths}
    return frozenset(path for path, name in full.items() if name in whole or name.startswith(folders))


def find_repository(folder: Path) -> Path | None:
    """Return the top of the work tree around ``folder``; None outside any."""
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / ".git").exists():
            return parent
    return None


async def _run_git(folder: Path, *arguments: str) -> tuple[int, str]:
    ran = await run(folder, *arguments)
    return ran.code, ran.text


async def run(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    held: Sequence[int] = (),
    timeout: float | None = None,
) -> GitResult:
    """Run one git in ``folder``: no hooks, prompts or terminal, and a small environment.

    ``environment`` is added to it. ``held`` are descriptors that stay open as long as it runs. Code
    127: git is not installed. Raises ``TimeoutError`` after ``timeout`` seconds. A git that is not
    awaited to its end (a timeout, a cancelled task) is terminated first, in a way that lets it remove
    its lock files.
    """
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "-C", str(folder), *_GIT_OPTIONS, *arguments),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**kept, **_FIXED_VARIABLES, **(environment or {})},
            pass_fds=held,
            start_new_session=True,  # ssh finds no terminal to ask on; Ctrl-C lets git finish
        )
    except OSError:
        return GitResult(127)
    try:
        async with asyncio.timeout(timeout):
            out, complaint = await process.communicate(stdin or None)
    except TimeoutError:
        if process.returncode is None:
            raise
        return GitResult(process.returncode)  # git has ended; a remaining helper holds the pipe
    finally:
        await _end_process(process)
    return GitResult(process.returncode or 0, out, complaint.decode(errors="replace"))


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """Terminate a git that still runs, gently at first, and what it started (ssh, a filter)."""
    if process.returncode is not None:
        return
    for one in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # its group is its own: run() began a session
            os.killpg(process.pid, one)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERMINATE_SECONDS):
                await process.wait()
