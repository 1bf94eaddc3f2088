"""Detection of files that git would not commit, before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentsd.core.names import escape_unprintable
from agentsd.files.git.repository import GitRefused, Repository, open_repository


async def refuse_unfit(folder: Path, paths: Sequence[str], *, detached: bool = False) -> None:
    """Raise ``GitRefused`` if a commit of ``paths`` (relative to ``folder``) would be refused.

    As far as this can be determined without a lock. ``detached``: a branch need not be checked out.
    """
    repository = await open_repository(folder)
    repository.refuse_unfinished()
    if not detached:
        await repository.branch()
    await refuse_ignored(repository, [repository.located(folder, path) for path in paths])


async def refuse_ignored(repository: Repository, names: Sequence[str]) -> None:
    """Raise ``GitRefused`` if git ignores one of the files ``names``, relative to the top."""
    listing = "".join(f"./{name}\0" for name in names).encode(errors="surrogateescape")
    any_name = {"GIT_LITERAL_PATHSPECS": "0"}  # unsupported by check-ignore: hence the "./"
    ran = await repository.ask("check-ignore", "-z", "--stdin", stdin=listing, environment=any_name)
    if ran.code not in (0, 1):
        raise GitRefused(
            "git cannot determine which files it ignores", hint=f"in {repository.top}: git status"
        )
    if ran.code == 0:
        ignored = escape_unprintable(ran.text.split("\0")[0][2:])
        raise GitRefused(f"git ignores {ignored}", hint=f"for the rule, run: git check-ignore -v {ignored}")
