"""Pushes to real remotes: bare repositories on disk, and servers on this machine that refuse or hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentsd.files.git.commit import PushFailed, commit_files, commit_to_branch, push_commits
from tests.files.git.repositories import ORDER, Place, appears, git, lives, new_place, new_remote, plant_hooks

CANARY = "canary-5678"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with one commit."""
    return new_place(tmp_path / "repository")


@pytest.fixture
def remote(place: Place, tmp_path: Path) -> Path:
    """Its remote, which has that commit."""
    new_remote(place, tmp_path / "remote.git")
    git(place.top, "push", "--quiet", "origin", "main")
    return tmp_path / "remote.git"


def _told(error: pytest.ExceptionInfo[PushFailed]) -> str:
    assert CANARY not in f"{error.value}{error.value.__cause__}{error.value.__context__}"
    return f"{error.value.message} {error.value.hint}"


async def test_the_branch_arrives(place: Place, remote: Path) -> None:
    """With no hook of ours run; a second push has nothing to do, and works."""
    witness = remote.parent / "witness"
    made = await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    plant_hooks(place, witness)
    await push_commits(place.folder)
    await push_commits(place.folder)
    assert git(remote, "rev-parse", "main") == made
    assert not witness.exists()


async def test_the_branch_goes_where_it_follows(place: Place, remote: Path) -> None:
    """A branch that tracks one of another name is pushed to that."""
    git(place.top, "switch", "--quiet", "-c", "local", "--track", "origin/main")
    made = await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    await push_commits(place.folder)
    assert git(remote, "for-each-ref", "--format=%(refname) %(objectname)") == f"refs/heads/main {made}"


async def test_a_branch_of_an_edit_is_pushed_alone(place: Place, remote: Path) -> None:
    """What is checked out stays at home; a tag of the same name is another thing."""
    edit = await commit_to_branch(place.folder, {"a.yaml": b"x"}, "edit/1", ORDER)
    git(place.top, "tag", "edit/1", "main")
    before = git(remote, "rev-parse", "main")
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    await push_commits(place.folder, "edit/1")
    await push_commits(place.folder, "HEAD:refs/heads/elsewhere")
    assert git(remote, "rev-parse", "refs/heads/edit/1") == edit
    assert git(remote, "rev-parse", "elsewhere") == git(place.top, "rev-parse", "main")
    assert git(remote, "rev-parse", "main") == before
    assert git(remote, "tag") == ""


async def test_another_persons_commit_is_never_overwritten(
    place: Place, remote: Path, tmp_path: Path
) -> None:
    """The push is rejected, whatever force the settings ask for, and the hint says how to go on."""
    git(tmp_path, "clone", "--quiet", str(remote), "other")
    git(tmp_path / "other", "commit", "--quiet", "--allow-empty", "-m", CANARY)
    git(tmp_path / "other", "push", "--quiet")
    git(place.top, "config", "remote.origin.push", "+refs/heads/*:refs/heads/*")
    made = await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    with pytest.raises(PushFailed, match="commits that this clone lacks") as error:
        await push_commits(place.folder)
    assert "git pull --rebase" in _told(error)
    assert git(remote, "log", "-1", "--format=%s", "main") == CANARY
    assert git(place.top, "rev-parse", "main") == made


async def test_the_remotes_rules_are_told_without_its_words(place: Place, remote: Path) -> None:
    """What a server's hook prints stays with the server."""
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho {CANARY}; echo {CANARY} >&2; exit 1\n")
    hook.chmod(0o755)
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    with pytest.raises(PushFailed, match="its own rules") as error:
        await push_commits(place.folder)
    assert "protected" in _told(error)


@pytest.mark.parametrize("name", ["upstream", "--upload-pack=touch x", "ext::sh -c touch% x", "", "a\nb"])
async def test_only_a_remote_that_is_configured_is_pushed_to(place: Place, remote: Path, name: str) -> None:
    """No URL, no option, no command."""
    with pytest.raises(PushFailed, match="there is no remote"):
        await push_commits(place.folder, remote=name)


@pytest.mark.parametrize(
    "refspec",
    ["", ":", ":main", "main:", "+main", "main:+x", "--force", "--delete", "a b", "main:a..b", "x\0", "*:*"],
)
async def test_a_refspec_can_only_name_branches(place: Place, remote: Path, refspec: str) -> None:
    """No force, no deletion, no pattern, no option."""
    before = git(remote, "for-each-ref")
    with pytest.raises(PushFailed, match="is not a valid refspec"):
        await push_commits(place.folder, refspec)
    assert git(remote, "for-each-ref") == before


async def test_a_remote_that_is_gone_is_told_without_its_url(place: Place, tmp_path: Path) -> None:
    """The URL may hold a password. Outside a repository the error says so."""
    git(place.top, "remote", "add", "origin", str(tmp_path / CANARY))
    with pytest.raises(PushFailed, match="git push origin") as error:
        await push_commits(place.folder)
    _told(error)
    with pytest.raises(PushFailed, match="not in a git repository"):
        await push_commits(tmp_path)


@asynccontextmanager
async def _server(answer: bytes | None) -> AsyncIterator[str]:
    """An HTTP server that gives each request this answer, or none at all; its URL, password included."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()  # until git is gone
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://ada:{CANARY}@127.0.0.1:{server.sockets[0].getsockname()[1]}/x.git"


async def test_a_remote_that_wants_another_password_is_told(place: Place) -> None:
    """Nobody is asked for it; the one in the URL is not quoted."""
    refused = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
    async with _server(refused) as url:
        git(place.top, "remote", "add", "origin", url)
        with pytest.raises(PushFailed, match="denies git access") as error:
            await push_commits(place.folder)
    assert "credential helper" in _told(error)


async def test_a_remote_that_hangs_is_given_up(place: Place) -> None:
    """After the timeout, over HTTP."""
    async with _server(None) as url:
        git(place.top, "remote", "add", "origin", url)
        with pytest.raises(PushFailed, match=r"did not answer within 0\.2 s") as error:
            await push_commits(place.folder, timeout=0.2)
    _told(error)


async def test_what_git_started_ends_with_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging ssh is ended too; it had no terminal to ask on and no variable of ours."""
    monkeypatch.setenv("AGENTSD_TOKEN", CANARY)
    monkeypatch.setenv("SOPS_AGE_KEY", CANARY)
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!/bin/sh\nenv > {tmp_path}/env\n(: < /dev/tty) 2> /dev/null && touch {tmp_path}/tty\n"
        f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid\nexec sleep 1000\n"
    )
    ssh.chmod(0o755)
    git(place.top, "config", "core.sshCommand", str(ssh))
    git(place.top, "remote", "add", "origin", f"ssh://ada:{CANARY}@127.0.0.1/x.git")
    task = asyncio.create_task(push_commits(place.folder))
    await appears(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(int((tmp_path / "pid").read_text()))
    seen = (tmp_path / "env").read_text()
    assert "GIT_TERMINAL_PROMPT=0" in seen
    assert CANARY not in seen
    assert not (tmp_path / "tty").exists()


@pytest.mark.parametrize("back", ["the old commit", "nothing"])
async def test_a_remote_that_puts_the_branch_back(place: Place, remote: Path, back: str) -> None:
    """A hook on the server undoes the push after it was accepted: that is no success."""
    hook = remote / "hooks/post-receive"
    undo = 'update-ref "$ref" "$old"' if back == "the old commit" else 'update-ref -d "$ref"'
    hook.write_text(f"#!/bin/sh\nread old new ref\ngit {undo}\n")
    hook.chmod(0o755)
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    with pytest.raises(PushFailed) as caught:
        await push_commits(place.folder)
    assert "put its branch back" in _told(caught)


async def test_a_commit_on_top_of_the_pushed_one(place: Place, remote: Path, tmp_path: Path) -> None:
    """Somebody, or the server's own hook, was fast: the pushed commit is there."""
    hook = remote / "hooks/post-receive"
    hook.write_text(
        "#!/bin/sh\nread old new ref\ntop=$(git -c user.name=x -c user.email=x@y commit-tree -p $new -m top"
        ' $new^{tree})\ngit update-ref "$ref" $top\n'
    )
    hook.chmod(0o755)
    made = await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    await push_commits(place.folder)
    assert git(remote, "rev-parse", "main^") == made
