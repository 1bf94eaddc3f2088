"""A remote's ref, followed: what comes, what stays when nothing comes, and kills in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentsd.core.trust.remotes import parse_remote
from agentsd.files.git.mirror import FETCH_DEPTH, Mirror, PullFailed, RefMissing
from tests.files.git.remote import Origin, new_origin
from tests.files.git.repositories import appears, git, lives, wrap_git


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """With one commit."""
    return new_origin(tmp_path)


async def test_each_push_comes_and_nothing_comes_twice(origin: Origin) -> None:
    """The commit that the ref is at; a fetch of what is there already brings no object."""
    mirror = origin.mirror()
    first = await mirror.fetch()
    assert first == origin.git("rev-parse", "HEAD")
    second = origin.commit({"new.yaml": "name: New\n"})
    assert await mirror.fetch() == second
    before = git(mirror.folder, "count-objects", "-v")
    assert await mirror.fetch() == second
    assert git(mirror.folder, "count-objects", "-v") == before
    assert await mirror.leads_to(first, second) is True
    assert await mirror.leads_to(second, first) is False
    assert await mirror.leads_to("0" * 40, second) is None


async def test_history_is_shallow(origin: Origin) -> None:
    """Not more than ``FETCH_DEPTH`` commits come; how far back one lies is still found out at the remote."""
    first = origin.git("rev-parse", "HEAD")
    script = "".join(commit_for_import(number) for number in range(FETCH_DEPTH + 20))
    fed = await asyncio.create_subprocess_exec(
        "git", "-C", str(origin.bare), "fast-import", "--quiet", stdin=asyncio.subprocess.PIPE
    )
    await fed.communicate(script.encode())
    mirror = origin.mirror()
    newest = await mirror.fetch()
    assert git(mirror.folder, "rev-list", "--count", newest) == str(FETCH_DEPTH)
    assert await mirror.leads_to(first, newest) is None
    assert await mirror.is_older_there(first, newest)
    assert not await mirror.is_older_there(newest, first)
    assert not await mirror.is_older_there(newest, "1" * 40)


def commit_for_import(number: int) -> str:
    """One more commit on ``main``, as git-fast-import(1) reads it."""
    parent = f":{number}" if number else "refs/heads/main^0"
    head = f"commit refs/heads/main\nmark :{number + 1}\n"
    return f"{head}committer a <a@b> {number} +0000\ndata 1\nx\nfrom {parent}\n"


@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "v1", "refs/tags/v1", "light"])
async def test_refs(origin: Origin, ref: str) -> None:
    """Branches, tags of both kinds, full names, and what the remote calls HEAD: always a commit."""
    origin.git("tag", "--annotate", "--message", "one", "v1")
    origin.git("tag", "light")
    origin.git("push", "--quiet", "origin", "--tags")
    assert await origin.mirror(ref).fetch() == origin.git("rev-parse", "HEAD")


async def test_a_branch_goes_before_a_tag(origin: Origin) -> None:
    """Of the same name; and a commit's own name pins it."""
    tagged = origin.git("rev-parse", "HEAD")
    origin.git("push", "--quiet", "origin", "HEAD:refs/tags/both")
    later = origin.commit({"x.yaml": "name: X\n"})
    origin.git("push", "--quiet", "origin", "HEAD:refs/heads/both")
    assert await origin.mirror("both").fetch() == later
    assert await origin.mirror(tagged).fetch() == tagged


async def test_what_is_missing_is_told(origin: Origin, tmp_path: Path) -> None:
    """The ref, the repository, the host; each error is worth another attempt, and what is here stays."""
    with pytest.raises(RefMissing, match="no branch or tag 'nope'"):
        await origin.mirror("nope").fetch()
    with pytest.raises(PullFailed, match="there is no repository at"):
        await origin.mirror(url=str(tmp_path / "nowhere")).fetch()
    with pytest.raises(PullFailed, match="cannot be reached") as refused:
        await origin.mirror(url="http://hunter22@127.0.0.1:1/x").fetch()
    assert refused.value.retryable
    assert "hunter22" not in str(refused.value)
    mirror = origin.mirror()
    commit = await mirror.fetch()
    await mirror.keep(commit)
    origin.bare.rename(origin.bare.with_name("away"))
    with pytest.raises(PullFailed):
        await mirror.fetch()
    assert await mirror.has(commit)


async def test_rewritten_history_is_followed(origin: Origin) -> None:
    """A force-push to something else altogether, and back."""
    mirror = origin.mirror()
    first = await mirror.fetch()
    amended = origin.commit({"x.yaml": "name: X\n"}, "other", "--amend")
    assert await mirror.fetch() == amended != first
    assert await mirror.leads_to(first, amended) is False
    origin.git("reset", "--quiet", "--hard", first)
    origin.push()
    assert await mirror.fetch() == first


async def test_a_broken_repository_is_made_anew(origin: Origin) -> None:
    """Objects that were lost, an empty HEAD, a lock that was left: the next fetch heals all of it."""
    mirror = origin.mirror()
    commit = await mirror.fetch()
    (mirror.folder / "shallow.lock").touch()
    (mirror.folder / "refs/agentsd/fetched.lock").touch()
    assert await mirror.fetch() == commit
    (mirror.folder / "HEAD").write_text("")
    assert await mirror.fetch() == commit
    for file in (mirror.folder / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"")
    newer = origin.commit({"y.yaml": "name: Y\n"})
    assert await mirror.fetch() == newer
    assert git(mirror.folder, "fsck", "--full", "--no-dangling") == ""


async def test_git_sees_no_secret(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``SOPS_*`` or ``AGENTSD_*`` in its environment, no URL among its arguments, no prompt, no hook."""
    spied = tmp_path / "spied"
    monkeypatch.setenv("PATH", wrap_git(tmp_path / "bin", f"env >> '{spied}'; echo \"ARGS $*\" >> '{spied}'"))
    monkeypatch.setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-CANARY")
    monkeypatch.setenv("AGENTSD_DATABASE_URL", "postgresql://canary@x/y")
    mirror = origin.mirror(url=f"file://{origin.bare}")
    await mirror.keep(await mirror.fetch())
    text = spied.read_text()
    assert "canary" not in text.casefold()
    assert not [line for line in text.splitlines() if line.startswith(("SOPS_", "AGENTSD_"))]
    assert not [line for line in text.splitlines() if line.startswith("ARGS ") and str(origin.bare) in line]
    assert "GIT_TERMINAL_PROMPT=0" in text


async def test_other_transports_are_not_used(origin: Origin, tmp_path: Path) -> None:
    """Not even where git's settings rewrite the address to one."""
    witness = tmp_path / "witness"
    (tmp_path / "config").write_text(
        f'[url "ext::touch {witness} "]\n\tinsteadOf = https://example.invalid/\n'
    )
    os.environ["GIT_CONFIG_GLOBAL"] = str(tmp_path / "config")
    try:
        with pytest.raises(PullFailed):
            await origin.mirror(url="https://example.invalid/x").fetch()
    finally:
        del os.environ["GIT_CONFIG_GLOBAL"]
    assert not witness.exists()


FETCHER = """
import asyncio, sys
from pathlib import Path
from agentsd.core.trust.remotes import parse_remote
from agentsd.files.git.mirror import Mirror
print(asyncio.run(Mirror(Path(sys.argv[1]), parse_remote(sys.argv[2]), "main").fetch()), flush=True)
"""


@asynccontextmanager
async def fetching(mirror: Mirror, path: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that fetches."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FETCHER, str(mirror.folder), mirror.remote.text),
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
async def test_kill_in_the_middle_of_a_fetch(origin: Origin, tmp_path: Path, first: bool) -> None:
    """-9 to the process while git is at work, then to git: the next one waits for git's end, and succeeds."""
    mirror = origin.mirror()
    if not first:
        await mirror.fetch()
    newest = origin.commit({f"{number}.yaml": f"name: N{number}\n" for number in range(50)})
    mark, go = tmp_path / "mark", tmp_path / "go"
    stall = f"case \"$*\" in *fetch*) echo $$ > '{mark}'; while [ ! -e '{go}' ]; do sleep 0.02; done;; esac"
    async with fetching(mirror, wrap_git(tmp_path / "bin", stall)) as process:
        await appears(mark)
        process.kill()
        await process.wait()
    assert lives(int(mark.read_text()))
    (mirror.folder / "shallow.lock").touch()  # what git would leave
    (mirror.folder / "objects/pack").mkdir(parents=True, exist_ok=True)
    (mirror.folder / "objects/pack/tmp_pack_x").touch()
    again = asyncio.create_task(Mirror(mirror.folder, mirror.remote, "main").fetch())
    os.kill(int(mark.read_text()), signal.SIGKILL)
    go.touch()
    assert await again == newest
    assert not (mirror.folder / "shallow.lock").exists()
    assert not (mirror.folder / "objects/pack/tmp_pack_x").exists()
    assert git(mirror.folder, "fsck", "--full", "--no-dangling") == ""


async def test_two_processes_share_a_folder(origin: Origin) -> None:
    """One after the other."""
    mirror = origin.mirror()
    many = [Mirror(mirror.folder, parse_remote(str(origin.bare)), "main").fetch() for _ in range(6)]
    assert set(await asyncio.gather(*many)) == {origin.git("rev-parse", "HEAD")}
