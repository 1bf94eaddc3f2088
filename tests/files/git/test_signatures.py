"""Signed commits and tags, by real ssh-keygen and gpg: who is listed is trusted, and nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from agentsd.core.errors import ConfigError
from agentsd.files.git.signatures import SignedObject, TrustedSigners, UntrustedCommit
from tests.files.git.remote import Origin, end_agent, gpg_key, new_origin, ssh_key

SSH = ("-c", "gpg.format=ssh")


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """With one commit, which nobody signed."""
    return new_origin(tmp_path)


@pytest.fixture
def gpg_home() -> Iterator[Path]:
    """A keyring; its path is short, because the agent's socket is in it."""
    home = Path(mkdtemp(prefix="g"))
    yield home
    end_agent(home)
    shutil.rmtree(home, ignore_errors=True)


def sign_by_ssh(origin: Origin, key: Path, command: str = "commit") -> str:
    """A signed commit, or a signed tag on the present one. The commit."""
    settings = (*SSH, "-c", f"user.signingKey={key}")
    if command == "commit":
        origin.git(*settings, "commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "signed")
    else:
        origin.git(*settings, "tag", "--sign", "--message", "signed", command)
        origin.git("push", "--quiet", "origin", "--tags")
    return origin.push()


async def verify(origin: Origin, file: Path, what: SignedObject = "commits", ref: str = "main") -> str:
    """Who signed what the ref is at."""
    mirror = origin.mirror(ref)
    commit = await mirror.fetch(tags=what == "tags")
    signers = TrustedSigners(file, what)
    signers.check()
    return await signers.verify(mirror, commit)


async def test_ssh(origin: Origin, tmp_path: Path) -> None:
    """The listed key's name and fingerprint; an unlisted key, and no signature, are refused."""
    (ada, ada_line), (eve, _) = ssh_key(tmp_path, "ada"), ssh_key(tmp_path, "eve")
    allowed = tmp_path / "allowed"
    allowed.write_text(f'# who may\nada@example.org namespaces="git" {ada_line}\n')
    with pytest.raises(UntrustedCommit, match="not signed by a trusted signer"):
        await verify(origin, allowed)
    sign_by_ssh(origin, eve)
    with pytest.raises(UntrustedCommit):
        await verify(origin, allowed)
    sign_by_ssh(origin, ada)
    assert (await verify(origin, allowed)).startswith("ada@example.org SHA256:")


async def test_a_key_that_is_over_is_refused(origin: Origin, tmp_path: Path) -> None:
    """``valid-before`` of allowed_signers counts; what is edited there counts for the next commit."""
    key, line = ssh_key(tmp_path, "ada")
    allowed = tmp_path / "allowed"
    allowed.write_text(f'ada@example.org valid-before="20200101" {line}\n')
    sign_by_ssh(origin, key)
    with pytest.raises(UntrustedCommit):
        await verify(origin, allowed)
    allowed.write_text(f"ada@example.org {line}\n")
    assert "ada@example.org" in await verify(origin, allowed)


async def test_tags(origin: Origin, tmp_path: Path) -> None:
    """With ``tags`` the commit need not be signed, but a tag on it; of a branch as of the tag itself."""
    key, line = ssh_key(tmp_path, "ada")
    eve, _ = ssh_key(tmp_path, "eve")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ada@example.org {line}\n")
    with pytest.raises(UntrustedCommit, match="no tag on commit"):
        await verify(origin, allowed, "tags")
    sign_by_ssh(origin, eve, "v0")
    origin.git("tag", "--annotate", "--message", "unsigned", "v1")
    origin.push("--tags")
    for ref in ("main", "v0", "v1"):
        with pytest.raises(UntrustedCommit):
            await verify(origin, allowed, "tags", ref)
    sign_by_ssh(origin, key, "v2")
    for ref in ("main", "v2", "refs/tags/v2"):
        assert "ada@example.org" in await verify(origin, allowed, "tags", ref)
    origin.commit({"x.yaml": "name: X\n"})
    with pytest.raises(UntrustedCommit):
        await verify(origin, allowed, "tags")
    assert "ada@example.org" in await verify(origin, allowed, "tags", "v2")


async def test_a_tag_that_comes_after_its_commit(origin: Origin, tmp_path: Path) -> None:
    """The ref did not move, and yet the next fetch brings the tag."""
    key, line = ssh_key(tmp_path, "ada")
    (tmp_path / "allowed").write_text(f"ada@example.org {line}\n")
    signers = TrustedSigners(tmp_path / "allowed", "tags")
    mirror = origin.mirror()
    commit = await mirror.fetch(tags=True)
    with pytest.raises(UntrustedCommit):
        await signers.verify(mirror, commit)
    sign_by_ssh(origin, key, "v1")
    assert await mirror.fetch(tags=True) == commit
    assert "ada@example.org" in await signers.verify(mirror, commit)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
async def test_gpg(origin: Origin, tmp_path: Path, gpg_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported key's fingerprint; whoever else is in the keyring of this user is not trusted."""
    ada, eve = gpg_key(gpg_home, "ada"), gpg_key(gpg_home, "eve")
    keys = tmp_path / "keys.asc"
    keys.write_bytes(ada)
    monkeypatch.setenv("GNUPGHOME", str(gpg_home))  # both are there

    def sign(who: str) -> None:
        settings = ("-c", f"user.signingKey={who}@example.org")
        origin.git(*settings, "commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", who)
        origin.push()

    sign("eve")
    with pytest.raises(UntrustedCommit):
        await verify(origin, keys)
    sign("ada")
    assert (await verify(origin, keys)).startswith("OpenPGP ")
    ssh, line = ssh_key(tmp_path, "ssh")
    (tmp_path / "allowed").write_text(f"ada@example.org {line}\n")
    with pytest.raises(UntrustedCommit):
        await verify(origin, tmp_path / "allowed")
    sign_by_ssh(origin, ssh)
    with pytest.raises(UntrustedCommit):
        await verify(origin, keys)
    keys.write_bytes(eve + ada)
    sign("eve")
    assert (await verify(origin, keys)).startswith("OpenPGP ")


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """Missing, empty, or something else altogether."""
    with pytest.raises(ConfigError, match="cannot be read"):
        TrustedSigners(tmp_path / "missing").check()
    for text in ("", "# nobody\n", "ssh-ed25519 AAAA\n", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"):
        (tmp_path / "file").write_text(text)
        with pytest.raises(ConfigError, match="lists no signer"):
            TrustedSigners(tmp_path / "file").check()
