"""Mirror of a remote's ref: a bare repository of our own that is fetched into and never checked out.

One process at a time writes it: flock(2) on a file beside it, inherited by every git, so that
nobody enters before the last git of a killed process has ended. What such a git left half done
(lock files, incomplete packs) is removed by the next fetch; a repository that git reports as broken
is made anew. Git's messages are never passed on: they may quote a URL.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.core.trust.remotes import Remote
from agentsd.files.git.command import GitResult, run
from agentsd.system.file_lock import wait_for_lock

FETCH_DEPTH = 50
"""Commits of history that are kept: enough to detect in which direction a ref moved."""

FIRST_FETCH_SECONDS = 600.0
LATER_GIT_SECONDS = 60.0
_STALLED_SECONDS = 20  # without a byte, after which HTTP gives up
_PAUSE_SECONDS = 0.02

FETCHED_REF = "refs/agentsd/fetched"
GOOD_REF = "refs/agentsd/good"
"""Ref that keeps git from pruning the last good commit. Which one is applied, the store records."""

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LEFTOVER_PATTERNS = (
    *("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*"),
    *("objects/??/tmp_obj_*", "objects/tmp_objdir-*", "objects/incoming-*"),
)
_CREDENTIAL = re.compile(
    "Authentication failed|could not read (Username|Password)|Permission denied|Host key verification failed"
    "|HTTP Basic: Access denied|error: 40[13]"
)
_UNREACHABLE = re.compile(
    "Could not resolve|Connection (refused|reset|timed out)|Failed to connect|unable to (access|connect)"
    "|No route to host|timed out|early EOF|hung up|error: 5[0-9][0-9]"
)
_NO_REPOSITORY = re.compile(
    "does not appear to be a git repository|repository .*not found|error: 404", re.IGNORECASE
)
_BROKEN_PATTERN = re.compile(
    "corrupt|not a git repository: |bad object|missing (blob|tree|commit)|unable to read (tree|sha1)|is empty"
    "|did not send all necessary objects|invalid (sha1 )?pointer|unresolved deltas|bad shallow"
    r"|\.lock': File exists"
)


class PullFailed(AgentsdError):
    """Failure to query the remote or to store its objects. The last good tree stays."""

    retryable = True


class RefMissing(PullFailed):
    """Ref that the remote, which answers, does not have."""


class _BrokenMirror(Exception):
    """Fault of our own repository, not of the remote."""


class Mirror:
    """Local mirror of one ref of one remote."""

    def __init__(self, folder: Path, remote: Remote, ref: str) -> None:
        """Set up the mirror; ``folder`` is created when needed, and must contain nothing else."""
        self.folder = folder
        self.remote = remote
        self.ref = ref
        self._named: str | None = None  # the full name of ``ref``, once the remote had it
        self._swept = False

    async def fetch(self, *, tags: bool = False) -> str:
        """Return the commit that the ref is at now. Raises ``PullFailed``.

        ``tags``: fetch the tags that point to it, too.
        """
        async with self._alone() as held:
            if not self._swept:
                self._sweep()
            for remedy in (self._sweep, self._remove):
                try:
                    return await self._fetch(held, tags=tags)
                except _BrokenMirror:
                    remedy()
            try:
                return await self._fetch(held, tags=tags)
            except _BrokenMirror:
                raise PullFailed(f"git cannot store a repository in {self.folder}", hint=_DISK_HINT) from None

    async def leads_to(self, commit: str, later: str) -> bool | None:
        """Return whether ``later`` is ``commit`` or follows it, by the local history.

        None: one of the two was never fetched.
        """
        ran = await self.git("merge-base", "--is-ancestor", commit, later)
        return {0: True, 1: False}.get(ran.code)

    async def is_older(self, commit: str, than: str) -> bool:
        """Return whether ``commit`` is a strict ancestor of ``than``, by the local history."""
        return commit != than and await self.leads_to(commit, than) is True

    async def is_older_there(self, commit: str, than: str) -> bool:
        """Return whether ``commit`` is a strict ancestor of ``than``, by the remote's history.

        Just the commits of the whole history are fetched, and not kept. False if the remote does not
        provide ``than``. Raises ``PullFailed`` if it does not answer.
        """
        scratch = Mirror(self.folder.with_name(f".{self.folder.name}.history"), self.remote, than)
        shutil.rmtree(scratch.folder, ignore_errors=True)
        try:
            async with scratch._alone() as held:
                await scratch._ready()
                options = ("--filter=tree:0", "--no-tags", "--refmap=")
                names = (f"{than}:refs/agentsd/than", f"{commit}:refs/agentsd/commit")
                ran = await scratch._ask(held, *options, *names, seconds=FIRST_FETCH_SECONDS)
                return ran.code == 0 and await scratch.is_older(commit, than)
        finally:
            shutil.rmtree(scratch.folder, ignore_errors=True)

    async def keep(self, commit: str) -> None:
        """Keep the objects of ``commit``, the last good one, and release what is not needed any more."""
        async with self._alone() as held:
            await self.git("update-ref", GOOD_REF, commit, held=held)
            await self.git(
                *("-c", "gc.autoDetach=false", "-c", "gc.pruneExpire=2.hours.ago"),
                *("gc", "--auto", "--quiet"),
                held=held,
            )

    async def has(self, commit: str) -> bool:
        """Return whether ``commit`` is here, without the remote."""
        return (await self.git("cat-file", "-e", f"{commit}^{{commit}}")).code == 0

    async def git(
        self,
        *arguments: str,
        stdin: bytes = b"",
        held: Sequence[int] = (),
        seconds: float = LATER_GIT_SECONDS,
    ) -> GitResult:
        """Run a git on this repository and return its result.

        Raises ``PullFailed`` on a timeout, or without a git.
        """
        chosen = {
            "GIT_DIR": str(self.folder),
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "GIT_CONFIG_COUNT": "1",  # not an argument: every user can read those
            "GIT_CONFIG_KEY_0": "remote.agentsd.url",
            "GIT_CONFIG_VALUE_0": self.remote.text,
        }
        folder = self.folder if self.folder.is_dir() else self.folder.parent
        try:
            ran = await run(folder, *arguments, stdin=stdin, environment=chosen, held=held, timeout=seconds)
        except TimeoutError:
            raise PullFailed(
                f"{self.remote.shown} did not answer within {seconds:g} s",
                hint="check the host and the network",
            ) from None
        if ran.code == 127:
            raise PullFailed("git is not installed", hint="install git")
        return ran

    async def _fetch(self, held: Sequence[int], *, tags: bool) -> str:
        first = await self._ready()
        seconds = FIRST_FETCH_SECONDS if first else LATER_GIT_SECONDS
        options = (f"--depth={FETCH_DEPTH}", "--force", "--refmap=", *(() if tags else ("--no-tags",)))
        for name in [self._named] if self._named else _list_full_names(self.ref):
            ran = await self._ask(held, *options, f"+{name}:{FETCHED_REF}", seconds=seconds)
            if ran.code == 0:
                self._named = name
                return await self._commit()
            if "find remote ref" not in ran.complaint:
                raise self._failure(ran)
        self._named = None
        raise RefMissing(
            f"{self.remote.shown} has no branch or tag {self.ref!r}", hint="correct --ref, or push it"
        )

    async def _ask(self, held: Sequence[int], *arguments: str, seconds: float) -> GitResult:
        slow = ("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={_STALLED_SECONDS}")
        quiet = ("--quiet", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
        names = [one for one in arguments if not one.startswith("--")]
        options = [one for one in arguments if one.startswith("--")]
        return await self.git(
            *slow,
            "fetch",
            *quiet,
            *options,
            "--end-of-options",
            "agentsd",
            *names,
            held=held,
            seconds=seconds,
        )

    async def _commit(self) -> str:
        with suppress(OSError):
            found = (self.folder / FETCHED_REF).read_text().strip()
            branch = str(self._named).startswith(("HEAD", "refs/heads/"))  # never refers to a tag
            if branch and _SHA.fullmatch(found):
                return found
        ran = await self.git("rev-parse", "--verify", "--quiet", f"{FETCHED_REF}^{{commit}}")
        if ran.code or not ran.text:
            raise PullFailed(
                f"{self.ref!r} of {self.remote.shown} does not refer to a commit", hint="correct --ref"
            )
        return ran.text

    async def _ready(self) -> bool:
        """Create the repository if needed, whole or not at all; return whether it is new."""
        if (self.folder / "HEAD").is_file():
            return False
        new = self.folder.with_name(f".{self.folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        ran = await run(self.folder.parent, "init", "--quiet", "--bare", "--template=", str(new))
        if ran.code == 127:
            raise PullFailed("git is not installed", hint="install git")
        try:
            new.rename(self.folder)
        except OSError:
            raise PullFailed(
                f"git cannot create a repository in {self.folder.parent}", hint=_DISK_HINT
            ) from None
        return True

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[tuple[int, ...]]:
        """Hold the write lock of this repository; yield the descriptors that its gits inherit."""
        path = self.folder.with_name(f"{self.folder.name}.lock")
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PullFailed(f"cannot write in {path.parent}: {error.strerror}", hint=_DISK_HINT) from None
        try:
            deadline = asyncio.get_running_loop().time() + FIRST_FETCH_SECONDS
            if not await wait_for_lock(descriptor, deadline, _PAUSE_SECONDS):
                hint = "set a different AGENTSD_GIT_DIR for each"
                raise PullFailed(f"another process holds {path}", hint=hint)
            yield (descriptor,)
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what a killed git left; the lock's holder is the only writer here."""
        for pattern in _LEFTOVER_PATTERNS:
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._swept = True

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _failure(self, ran: GitResult) -> Exception:
        told, shown = ran.complaint, self.remote.shown
        if _CREDENTIAL.search(told):
            hint = "git needs a credential helper, or a key without a passphrase: it cannot prompt"
            return PullFailed(f"{shown} denies git access", hint=hint)
        if _NO_REPOSITORY.search(told):
            return PullFailed(f"there is no repository at {shown}", hint="correct --git, or give git access")
        if _UNREACHABLE.search(told):
            return PullFailed(f"{shown} cannot be reached", hint="check the host and the network")
        if _BROKEN_PATTERN.search(re.sub("(?m)^remote: .*$", "", told)):
            return _BrokenMirror()
        if "No space left" in told or "Read-only file system" in told:
            return PullFailed(f"git cannot write in {self.folder}", hint=_DISK_HINT)
        return PullFailed(
            f"git cannot fetch from {shown} (exit {ran.code})", hint="for the reason, run: git ls-remote URL"
        )


_DISK_HINT = "check its owner, mode, mount and disk; AGENTSD_GIT_DIR sets another folder"


def _list_full_names(ref: str) -> list[str]:
    """Return the full names that ``ref`` may mean: a branch before a tag."""
    if ref == "HEAD" or ref.startswith("refs/") or _SHA.fullmatch(ref):
        return [ref]
    return [f"refs/heads/{ref}", f"refs/tags/{ref}"]
