"""Pushes of commits to a remote. Git's messages are never passed on: they may quote a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from agentsd.core.errors import AgentsdError
from agentsd.core.names import escape_unprintable
from agentsd.files.git.repository import GitRefused, Repository, open_repository

_CREDENTIAL = re.compile(
    "Authentication failed|could not read (Username|Password)|Permission denied|Host key verification failed"
)


class PushFailed(AgentsdError):
    """Failure to push: the commits are here, but not at the remote."""


async def push_commits(
    folder: Path, refspec: str | None = None, remote: str = "origin", *, timeout: float = 30
) -> None:
    """Push ``refspec`` (``branch`` or ``source:target``; None: the branch that is checked out).

    Never forced. Raises ``PushFailed``, after ``timeout`` seconds at the latest.
    """
    try:
        repository = await open_repository(folder)
        spec = await _resolve_refspec(repository, refspec, remote)
        remotes = await repository.git("remote")
    except GitRefused as error:
        raise PushFailed(f"cannot push: {error.message}", hint=error.hint) from None
    if remote not in remotes.splitlines():
        named = escape_unprintable(remote)
        raise PushFailed(
            f"there is no remote {named!r}", hint=f"git remote add {named} <url>, or do not push"
        )
    await _push_refspec(repository, spec, remote, timeout)
    await _verify_arrival(repository, spec, remote, timeout)


async def _verify_arrival(repository: Repository, spec: str, remote: str, timeout: float) -> None:
    """Raise ``PushFailed`` if the remote took the commit and put its branch back, as a server's hook may.

    A remote that does not answer this question has accepted the push.
    """
    source, _, target = spec.partition(":")
    pushed = (await repository.ask("rev-parse", "--verify", "--quiet", f"{source}^{{commit}}")).text
    options = ("--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--quiet", "--end-of-options")
    try:
        ran = await repository.ask("ls-remote", "--end-of-options", remote, timeout=timeout)
        if ran.code or not pushed:
            return
        refs = dict(line.split("\t", 1)[::-1] for line in ran.text.splitlines() if "\t" in line)
        found = refs.get(_name_target(target, refs))
        if found == pushed:
            return
        if found is not None and (await repository.ask("cat-file", "-e", f"{found}^{{commit}}")).code:
            await repository.ask("fetch", *options, remote, found, timeout=timeout)
        if found and not (await repository.ask("merge-base", "--is-ancestor", pushed, found)).code:
            return  # another commit on top of it
    except GitRefused:
        return
    raise PushFailed(
        f"the remote {remote!r} accepted the commit and put its branch back",
        hint="do its rules allow this push? a branch for each edit may be needed",
    )


def _name_target(target: str, refs: Mapping[str, str]) -> str:
    return next((name for name in (target, f"refs/heads/{target}") if name in refs), target)


async def _push_refspec(repository: Repository, spec: str, remote: str, timeout: float) -> None:
    slow = ("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={max(1, round(timeout))}")
    options = ("--porcelain", "--no-verify", "--recurse-submodules=no", "--end-of-options")
    try:
        ran = await repository.ask(*slow, "push", *options, remote, spec, timeout=timeout)
    except GitRefused:
        raise PushFailed(
            f"the remote {remote!r} did not answer within {timeout:g} s",
            hint="check the host and the network; the next push includes this commit",
        ) from None
    if ran.code:
        raise _make_failure(ran.text, ran.complaint, remote, f"exit {ran.code}")


def _make_failure(printed: str, complaint: str, remote: str, code: str) -> PushFailed:
    if "[remote rejected]" in printed:
        message, hint = "refused by its own rules", "is the branch protected? use a branch for each edit"
    elif "[rejected]" in printed:
        message, hint = (
            "has commits that this clone lacks",
            "pull them, then push: git pull --rebase && git push",
        )
    elif _CREDENTIAL.search(complaint):
        message = "denies git access"
        hint = "git needs a credential helper, or a key without a passphrase: it cannot prompt"
    else:
        message, hint = f"cannot be pushed to ({code})", f"for the reason, run: git push {remote}"
    return PushFailed(f"the remote {remote!r} {message}", hint=hint)


async def _resolve_refspec(repository: Repository, refspec: str | None, remote: str) -> str:
    if refspec is None:
        return await _resolve_upstream(repository, remote)
    source, colon, target = refspec.partition(":")
    refs = [_expand_ref(part) for part in ((source, target) if colon else (source, source))]
    for part, ref in zip((source, target), refs, strict=False):
        fine = part.isprintable() and not part.startswith(("-", "+")) if part else not colon
        if not fine or (await repository.ask("check-ref-format", "--allow-onelevel", ref)).code:
            raise GitRefused(
                f"{escape_unprintable(refspec)!r} is not a valid refspec", hint="use branch, or source:target"
            )
    return ":".join(refs)


def _expand_ref(name: str) -> str:
    return name if name == "HEAD" or name.startswith("refs/") else f"refs/heads/{name}"


async def _resolve_upstream(repository: Repository, remote: str) -> str:
    """Return the refspec from the current branch to its upstream at ``remote``, or to its namesake."""
    branch = await repository.branch()
    told = await repository.git(
        "for-each-ref", "--format=%(upstream:remotename) %(upstream:remoteref)", branch
    )
    follows, _, target = told.partition(" ")
    return f"{branch}:{target if follows == remote and target else branch}"
