"""The daemon, on real files, real file system events and a real Postgres. Reports are awaited."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agentsd.control.sync.watcher import TICK_SECONDS
from agentsd.core.errors import ConfigError, MassDeletion
from tests.control.daemon import Daemon, daemon
from tests.control.place import Place, echo

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


async def test_a_save_in_place(running: Daemon) -> None:
    """As ``echo >`` does it."""
    running.place.write({"a.yaml": echo(1, reply="bye")})
    await running.applied(("update", "a"))
    running.place.write({"new/deep/c.yaml": echo(3)})
    await running.applied(("create", "new/deep/c"))


async def test_an_atomic_save(running: Daemon) -> None:
    """Written aside and renamed over, as most tools do; the other name is never a manifest."""
    root = running.place.root
    (root / "a.yaml.tmp~").write_text(echo(1, reply="bye"))
    (root / "a.yaml.tmp~").replace(root / "a.yaml")
    await running.applied(("update", "a"))


async def test_a_save_as_vim_does_it(running: Daemon) -> None:
    """Probe, swap file, backup by rename, a new file, backup removed: an update, and never a delete."""
    root = running.place.root
    (root / "4913").touch()
    (root / "4913").unlink()
    (root / ".a.yaml.swp").write_text("swap")
    (root / "a.yaml").rename(root / "a.yaml~")
    await asyncio.sleep(0.03)  # the moment in which there is no a.yaml
    (root / "a.yaml").write_text(echo(1, reply="bye"))
    (root / "a.yaml~").unlink()
    (root / ".a.yaml.swp").unlink()
    await running.applied(("update", "a"))


async def test_what_editors_leave_is_no_manifest(running: Daemon) -> None:
    """Temporary, backup and lock files make no agent and no noise."""
    for name in (".#a.yaml", "#a.yaml#", "a.yaml~", ".a.yaml.swp", "a.yaml___jb_tmp___", ".goutputstream-X"):
        (running.place.root / name).write_text("x: [")
    running.place.write({"a.yaml": echo(1, reply="bye")})
    await running.applied(("update", "a"))
    assert running.quarantined == []


async def test_removing_and_renaming(running: Daemon) -> None:
    """A file that stays away is gone; a file that moved with its id was renamed, also to another folder."""
    root = running.place.root
    (root / "a.yaml").rename(root / "acme/z.yaml")
    await running.applied(("rename", "acme/z"))
    (root / "acme").rename(root / "beta")
    await running.applied(("rename", "beta/b"), ("rename", "beta/z"))
    (root / "beta/b.yaml").unlink()
    await running.applied(("delete", "beta/b"))


async def test_a_bad_file_is_set_aside_until_it_is_mended(running: Daemon) -> None:
    """The others go on meanwhile, and the last good version stays."""
    running.place.write({"a.yaml": "name: [\n"})
    await running.until(lambda report: running.quarantined == ["a.yaml"])
    running.place.write({"acme/b.yaml": echo(2, reply="bye")})
    await running.applied(("update", "acme/b"))
    assert await running.place.slugs() == {"a", "acme/b"}
    running.place.write({"a.yaml": echo(1, reply="mended")})
    await running.applied(("update", "a"))
    assert running.quarantined == []


def git(root: Path, *arguments: str) -> None:
    subprocess.run([*GIT, "-C", str(root), *arguments], check=True, capture_output=True)


async def test_a_checkout_is_one_change(place: Place) -> None:
    """Two hundred files of another branch, and the commit, in one version."""
    repository = place.root.parent
    git(repository, "init", "-q")
    place.write({f"x{n}.yaml": echo(n) for n in range(1, 201)})
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "one")
    git(repository, "checkout", "-qb", "other")
    place.write({f"x{n}.yaml": echo(n, reply="other") for n in range(1, 201)})
    place.write({f"x{n}.yaml": None for n in range(1, 50)} | {"new.yaml": echo(999)})
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "two")
    git(repository, "checkout", "-q", "main")
    async with daemon(place) as one:
        process = await asyncio.create_subprocess_exec(*GIT, "-C", str(repository), "checkout", "-q", "other")
        await process.wait()
        expected = {("update", f"x{n}") for n in range(50, 201)} | {("delete", f"x{n}") for n in range(1, 50)}
        report = await one.applied(*expected, ("create", "new"))
        assert (await place.stored()).version == 2
        assert report.commit


async def test_nothing_is_read_while_git_writes(running: Daemon) -> None:
    """The index lock stands for a checkout under way: what is half done is not looked at."""
    place = running.place
    git(place.root.parent, "init", "-q")
    lock = place.root.parent / ".git/index.lock"
    lock.touch()
    place.write({"a.yaml": echo(1, reply="half")})
    await asyncio.sleep(0.15)
    assert running.reports.empty()
    place.write({"a.yaml": echo(1, reply="whole"), "c.yaml": echo(3)})
    lock.unlink()
    await running.applied(("update", "a"), ("create", "c"))


def mount(root: Path, generation: str, **replies: str) -> None:
    """What the kubelet does with a ConfigMap: a new folder, then one link swapped by rename."""
    data = root / f"..{generation}"
    (data / "acme").mkdir(parents=True)
    (data / "a.yaml").write_text(echo(1, reply=replies["a"]))
    (data / "acme/b.yaml").write_text(echo(2, reply=replies["b"]))
    (root / "..data_tmp").symlink_to(data.name)
    (root / "..data_tmp").replace(root / "..data")


async def test_a_kubernetes_mount(place: Place) -> None:
    """``..data`` swaps all files at once; the links at the top never change. Folders are links too."""
    mount(place.root, "2026_1", a="one", b="one")
    (place.root / "a.yaml").symlink_to("..data/a.yaml")
    (place.root / "acme").symlink_to("..data/acme")
    async with daemon(place) as one:
        assert await place.slugs() == {"a", "acme/b"}
        mount(place.root, "2026_2", a="two", b="two")
        await one.applied(("update", "a"), ("update", "acme/b"))
        for file in sorted((place.root / "..2026_1").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        mount(place.root, "2026_3", a="three", b="two")
        await one.applied(("update", "a"))


async def test_the_whole_folder_is_replaced(running: Daemon) -> None:
    """By another one of the same name: watching goes on in the new one."""
    root = running.place.root
    root.rename(root.with_name("old"))
    fresh = replace(running.place, root=root.with_name("fresh"))
    fresh.write({"a.yaml": echo(1, reply="bye"), "acme/b.yaml": echo(2)})
    fresh.root.rename(root)
    await running.applied(("update", "a"))
    running.place.write({"a.yaml": echo(1, reply="again")})
    await running.applied(("update", "a"))


async def test_a_link_to_the_folder_is_swapped(place: Place) -> None:
    """As release tools do it: ``agents.d → releases/2``."""
    first, second = (replace(place, root=place.root.with_name(name)) for name in ("r1", "r2"))
    first.write({"a.yaml": echo(1)})
    second.write({"a.yaml": echo(1, reply="bye")})
    link = replace(place, root=place.root.with_name("current"))
    link.root.symlink_to("r1")
    async with daemon(link) as one:
        temporary = link.root.with_name("current.tmp")
        temporary.symlink_to("r2")
        temporary.replace(link.root)
        await one.applied(("update", "a"))


async def test_a_folder_that_goes_and_comes_back(running: Daemon) -> None:
    """An error meanwhile, and nothing is deleted; an empty folder is refused as well."""
    root = running.place.root
    root.rename(root.with_name("away"))
    error = await running.failed(ConfigError)
    assert str(root) in error.message
    root.mkdir()
    await running.failed(MassDeletion)
    assert await running.place.slugs() == {"a", "acme/b"}
    root.rmdir()
    root.with_name("away").rename(root)
    running.place.write({"a.yaml": echo(1, reply="back")})
    await running.applied(("update", "a"))


async def test_a_folder_that_is_not_there_yet(place: Place) -> None:
    """The daemon may start first."""
    place.root.rmdir()
    async with daemon(place) as one:
        place.write({"a.yaml": echo(1)})
        await one.applied(("create", "a"))


async def test_touched_files_are_not_read_again(running: Daemon) -> None:
    """The same bytes with another time are no change."""
    os.utime(running.place.root / "a.yaml")
    running.place.write({"acme/b.yaml": echo(2, reply="bye")})
    await running.applied(("update", "acme/b"))


async def test_the_folder_is_made_again(running: Daemon) -> None:
    """As a deployment does it: removed and copied anew, often with the inode that it had before."""
    root = running.place.root
    shutil.rmtree(root)
    root.mkdir()
    running.place.write({"a.yaml": echo(1, reply="new")})
    await running.until(lambda report: ("update", "a") in running.seen)
    running.seen.clear()
    await asyncio.sleep(1.5 * TICK_SECONDS)  # after that, what the watch of the removed folder saw is used up
    running.place.write({"a.yaml": echo(1, reply="edited")})
    async with asyncio.timeout(20):  # a resync comes after 60 s
        await running.until(lambda report: ("update", "a") in running.seen)


@pytest.mark.parametrize("target", ["../../acme", "../..", "/usr/share"])
async def test_links_of_one_owner_leave_the_edits_of_others_seen(place: Place, target: str) -> None:
    """Where they lead to another owner's folder, too, and after they are gone. The period is far away."""
    place.write({"acme/b.yaml": echo(2), "beta/c.yaml": echo(3)})
    odd = place.root.with_name("odd")
    odd.mkdir()
    (odd / "link").symlink_to(target)
    async with asyncio.timeout(30), daemon(place, resync=3600.0) as one:
        odd.rename(place.root / "beta/odd")
        await one.until(lambda report: "beta/odd/link/" in one.quarantined)
        place.write({"acme/b.yaml": echo(2, reply="bye")})
        await one.until(lambda report: ("update", "acme/b") in one.seen)
        shutil.rmtree(place.root / "beta/odd")
        await one.until(lambda report: not one.quarantined)
        one.seen.clear()
        place.write({"acme/b.yaml": echo(2, reply="again")})
        await one.until(lambda report: ("update", "acme/b") in one.seen)


async def test_names_that_end_the_watch_hold_up_nobody_for_long(place: Place) -> None:
    """One after the other, as long as somebody makes them: the pause does not grow."""
    place.write({"acme/b.yaml": echo(2), "beta/c.yaml": echo(3)})
    odd = os.fsencode(place.root / "beta") + b"/\xff.txt"
    async with asyncio.timeout(20), daemon(place, resync=3600.0) as one:
        for number in range(12):
            Path(os.fsdecode(odd)).write_text("x")
            Path(os.fsdecode(odd)).unlink()
            one.seen.clear()
            place.write({"acme/b.yaml": echo(2, reply=f"bye {number}")})
            await one.until(lambda report: ("update", "acme/b") in one.seen)


async def test_a_link_within_an_owners_folder_is_followed(place: Place) -> None:
    """A file that has two names is read by both."""
    place.write({"acme/real/b.yaml": "llm: {provider: echo.local}\n"})
    (place.root / "acme/link").symlink_to("real")
    async with asyncio.timeout(30), daemon(place, resync=3600.0) as one:
        place.write({"acme/real/c.yaml": "llm: {provider: echo.local}\n"})
        await one.applied(("create", "acme/link/c"), ("create", "acme/real/c"))
