"""What a repository must be for edits to become commits, and what git says of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentsd.core.errors import ConfigError
from agentsd.files.git.command import find_repository, is_clean
from agentsd.files.git.commit import check_repository
from tests.files.git.repositories import Place, git, new_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with two manifests, committed."""
    return new_place(tmp_path / "repository")


async def test_startup_tells_what_write_back_needs(tmp_path: Path, place: Place) -> None:
    """A work tree with a branch; a repository without a commit will do."""
    await check_repository(place.folder)
    await check_repository(new_place(tmp_path / "empty", first=False).folder)
    (tmp_path / "plain").mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "bare"))
    for folder in (tmp_path / "plain", tmp_path / "missing", tmp_path / "bare"):
        with pytest.raises(ConfigError, match=r"git init|not bare"):
            await check_repository(folder)
    git(place.top, "checkout", "--quiet", "--detach")
    with pytest.raises(ConfigError, match="git switch"):
        await check_repository(place.folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
async def test_a_repository_of_another_user_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that mounts the host's clone: git wants to be told that it may be trusted."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    os.chown(place.top, 12345, 12345)
    with pytest.raises(ConfigError, match=rf"safe\.directory {place.top}"):
        await check_repository(place.folder)


async def test_without_git_it_says_so(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a setting that cannot work."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install git"):
        await check_repository(place.folder)


async def test_clean_is_what_git_says(place: Place, tmp_path: Path) -> None:
    """Changed, staged, new, ignored and deleted files are not; outside a repository nothing is."""
    assert await is_clean(place.folder, ["support.yaml", "acme/sales.yaml", "never-was.yaml"])
    assert await is_clean(place.folder, [])
    (place.folder / "support.yaml").unlink()
    assert not await is_clean(place.folder, ["support.yaml"])
    assert not await is_clean(place.folder, [place.write("new.yaml")])
    assert not await is_clean(tmp_path, ["x"])
    assert find_repository(place.folder / "acme") == place.top
    assert find_repository(tmp_path) is None


async def test_a_link_is_as_clean_as_what_it_leads_to(place: Place) -> None:
    """An edit through it would commit somebody's draft as its own author's."""
    (place.folder / "alias.yaml").symlink_to("support.yaml")
    (place.folder / "same").symlink_to("acme")
    git(place.top, "add", ".")
    git(place.top, "commit", "-qm", "links")
    through = ["alias.yaml", "same/sales.yaml"]
    assert await is_clean(place.folder, through)
    place.write("support.yaml", "name: draft\n")
    place.write("acme/sales.yaml", "name: draft\n")
    for path in through:
        assert not await is_clean(place.folder, [path])
