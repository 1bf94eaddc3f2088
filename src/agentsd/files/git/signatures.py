"""Signatures of commits and the trust in them: by git, with gpg and ssh-keygen beneath.

The trusted signers are those of one file, and nobody else: neither the keyring of whoever runs this
nor git's own settings count. The file is ``allowed_signers`` of ssh-keygen(1), or OpenPGP public
keys as ``gpg --export`` writes them, with or without ``--armor``.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

from agentsd.core.errors import ConfigError, SyncRefused
from agentsd.core.names import escape_unprintable
from agentsd.files.git.command import GitResult, run
from agentsd.files.git.mirror import FETCHED_REF, Mirror

SignedObject = Literal["commits", "tags"]

_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_SSH = re.compile(r"^\s*[^\s#]+\s.*\b(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+\s+AAAA", re.MULTILINE)
_SSH_GOOD = re.compile(r'^Good "git" signature for (.+) with \S+ key (SHA256:\S+)$', re.MULTILINE)
_GPG_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64})", re.MULTILINE)
_GPG_BAD = re.compile(r"^\[GNUPG:\] (BADSIG|ERRSIG|EXPSIG|EXPKEYSIG|REVKEYSIG)", re.MULTILINE)
_GPG_CONF = "batch\nno-autostart\nno-auto-key-retrieve\ntrust-model always\nno-permission-warning\n"
_HINT = "have it signed by a signer listed in {}, or add the signer there"


class UntrustedCommit(SyncRefused):
    """Commit that no trusted signer has signed; nothing of it was read."""


@dataclass(frozen=True, slots=True)
class TrustedSigners:
    """Trusted signers, and what they must sign: each commit that a ref comes to, or a tag on it."""

    file: Path
    what: SignedObject = "commits"

    def check(self) -> None:
        """Raise ``ConfigError`` if the file cannot be used. It is read anew for every commit."""
        self._form()
        program = "gpg" if self._form() == "gpg" else "ssh-keygen"
        if shutil.which(program) is None:
            raise ConfigError(f"{program}, which verifies signatures, is not installed", hint="install it")

    async def verify(self, mirror: Mirror, commit: str) -> str:
        """Return the signer of ``commit``. Raises ``UntrustedCommit``, or ``ConfigError`` for the file."""
        with self._trust() as (settings, environment):
            names = (
                [("verify-commit", commit)] if self.what == "commits" else await _list_tags(mirror, commit)
            )
            for command, name in names:
                ran = await _run_verification(mirror, settings, environment, command, name)
                if signer := _parse_signer(ran):
                    return signer
        what = f"commit {commit[:12]}" if self.what == "commits" else f"no tag on commit {commit[:12]}"
        verb = "is not" if self.what == "commits" else "is"
        raise UntrustedCommit(f"{what} {verb} signed by a trusted signer", hint=_HINT.format(self.file))

    def _form(self) -> Literal["ssh", "gpg"]:
        try:
            data = self.file.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the signers' file {self.file} cannot be read: {error.strerror}", hint="see --verify-commits"
            ) from None
        if _ARMOR in data or data[:1] >= b"\x80":
            return "gpg"
        if _SSH.search(data.decode("utf-8", "replace")):
            return "ssh"
        raise ConfigError(
            f"the signers' file {self.file} lists no signer",
            hint="add 'ada@example.org ssh-ed25519 AAAA…' (ssh-keygen(1)), or keys from gpg --export",
        )

    @contextmanager
    def _trust(self) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
        """Yield options and environment with which git trusts just the signers of the file."""
        ssh = self._form() == "ssh"
        settings = (
            f"gpg.ssh.allowedSignersFile={self.file.absolute() if ssh else os.devnull}",
            "gpg.ssh.program=ssh-keygen",
            "gpg.ssh.revocationFile=",
            f"gpg.program={'false' if ssh else 'gpg'}",
            "gpg.openpgp.program=false" if ssh else "gpg.openpgp.program=gpg",
            "gpg.x509.program=false",
            "gpg.minTrustLevel=undefined",
        )
        home = Path(mkdtemp(prefix="agentsd-gpg-"))  # 0700
        try:
            (home / "gpg.conf").write_text(_GPG_CONF)
            if not ssh:
                shutil.copyfile(self.file, home / "signers")
            yield tuple(part for one in settings for part in ("-c", one)), {"GNUPGHOME": str(home)}
        finally:
            shutil.rmtree(home, ignore_errors=True)


async def _list_tags(mirror: Mirror, commit: str) -> list[tuple[str, str]]:
    """Return the annotated tags on ``commit`` that were fetched: the ref itself first, if it is one."""
    refs = ("refs/tags", FETCHED_REF)
    form = "--format=%(objecttype) %(objectname)"
    ran = await mirror.git("for-each-ref", "--sort=-creatordate", f"--points-at={commit}", form, *refs)
    lines = [line.split() for line in ran.text.splitlines()]
    return [("verify-tag", name) for kind, name in lines if kind == "tag"]


async def _run_verification(
    mirror: Mirror, settings: tuple[str, ...], environment: dict[str, str], command: str, name: str
) -> GitResult:
    home = Path(environment["GNUPGHOME"])
    if (home / "signers").exists() and not (home / "pubring.kbx").exists():
        await _import_keys(home)
    chosen = {**environment, "GIT_DIR": str(mirror.folder)}
    return await run(mirror.folder, *settings, command, "--raw", name, environment=chosen, timeout=30)


async def _import_keys(home: Path) -> None:
    """Create a keyring of the keys of the file, and of no others."""
    process = await asyncio.create_subprocess_exec(
        *("gpg", "--homedir", str(home), "--quiet", "--import", str(home / "signers")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
    )
    if await process.wait():
        raise ConfigError(
            "gpg cannot read the signers' file", hint="create it with: gpg --export --armor KEY"
        )


def _parse_signer(ran: GitResult) -> str | None:
    """Return the signer of a good signature, as ssh-keygen or gpg report it; None for anything else."""
    if ran.code:
        return None
    if good := _SSH_GOOD.search(ran.complaint):
        return escape_unprintable(f"{good[1]} {good[2]}")
    valid = _GPG_VALID.search(ran.complaint)
    return None if valid is None or _GPG_BAD.search(ran.complaint) else f"OpenPGP {valid[1]}"
