"""Available age identities, searched where sops 3.11 searches (age/keysource.go).

SSH keys, plugins, post-quantum and passphrase-protected identities are only detected here:
the real sops uses them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrage import IdentityError, x25519

from agentsd.core.errors import ConfigError

KEYS_FILE = Path("sops/age/keys.txt")
_SECRET = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")
_ELSEWHERE = ("AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-1")
_ENCRYPTED = (b"age-encryption", b"-----BEGIN AGE")
_COMMAND_TIMEOUT_SECONDS = 30.0  # seconds; a command may ask a hardware token


@dataclass(frozen=True, slots=True)
class Identities:
    """Identities that can open a seal. Contains private keys, which its repr does not show."""

    x25519: tuple[Any, ...] = field(default=(), repr=False)  # pyrage.x25519.Identity
    others: tuple[str, ...] = ()  # sources of identities that only the real sops can use
    problems: tuple[str, ...] = ()  # sources that cannot be read; sops skips them too

    def __bool__(self) -> bool:
        return bool(self.x25519 or self.others)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return the public halves of the X25519 identities: ``age1…``."""
        return tuple(str(identity.to_public()) for identity in self.x25519)


def find_identities(environ: Mapping[str, str], home: Path) -> Identities:
    """Return every identity as ``find_usable_identities`` does.

    Raises ``ConfigError`` naming file and line, never the content, if all sources are faulty.
    """
    found = find_usable_identities(environ, home)
    if found.problems and not found:
        raise ConfigError(
            "; ".join(found.problems),
            hint="correct it: one AGE-SECRET-KEY-1… per line, as age-keygen writes it",
        )
    return found


def find_usable_identities(environ: Mapping[str, str], home: Path) -> Identities:
    """Return every identity that sops would find. Runs ``SOPS_AGE_KEY_CMD`` once, if it is set.

    Like sops, it skips a faulty source. A source that only a person can open, by a passphrase, is one of
    ``others``, and noted in ``problems``, too.
    """
    found: list[Any] = []
    others = list(_list_ssh_keys(environ, home))
    problems: list[str] = []
    for source, read in _list_sources(environ, home):
        try:
            keys, elsewhere = _parse(source, read())
        except ConfigError as error:
            problems.append(error.message)
            continue
        except _PassphraseNeeded:
            others.append(source)
            problems.append(f"{source}: protected by a passphrase, for which only a terminal can be asked")
            continue
        found += keys
        others += [source] if elsewhere else []
    return Identities(tuple(found), tuple(others), tuple(problems))


def find_config_home(environ: Mapping[str, str], home: Path, platform: str = sys.platform) -> Path:
    """Return Go's ``os.UserConfigDir``, with sops' exception that macOS honours XDG_CONFIG_HOME too."""
    given = environ.get("XDG_CONFIG_HOME", "")
    if given:
        return Path(given)
    return home / "Library/Application Support" if platform == "darwin" else home / ".config"


def _list_sources(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, Any]]:
    """Yield (name, function that reads its text) of each place where age identities may be."""
    if "SOPS_AGE_KEY" in environ:
        yield "SOPS_AGE_KEY", lambda: environ["SOPS_AGE_KEY"]
    if "SOPS_AGE_KEY_FILE" in environ:
        path = Path(environ["SOPS_AGE_KEY_FILE"])
        yield str(path), lambda: _read_file(path)
    if "SOPS_AGE_KEY_CMD" in environ:
        yield "SOPS_AGE_KEY_CMD", lambda: _run_command(environ["SOPS_AGE_KEY_CMD"], environ)
    keys = find_config_home(environ, home) / KEYS_FILE
    if keys.is_absolute() and keys.exists():  # Go ignores a relative XDG_CONFIG_HOME
        yield str(keys), lambda: _read_file(keys)


def _list_ssh_keys(environ: Mapping[str, str], home: Path) -> Iterator[str]:
    given = environ.get("SOPS_AGE_SSH_PRIVATE_KEY_FILE")
    if given is not None:
        yield given
    if "SOPS_AGE_SSH_PRIVATE_KEY_CMD" in environ:  # sops 3.12 and later
        yield "SOPS_AGE_SSH_PRIVATE_KEY_CMD"
    for name in ("id_ed25519", "id_rsa"):
        path = home / ".ssh" / name
        if path.exists():
            yield str(path)


class _PassphraseNeeded(Exception):
    """An identity file that is itself encrypted."""


def _read_file(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data.startswith(_ENCRYPTED):  # binary, unless armored
            raise _PassphraseNeeded
        return data.decode()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file") from None


def run_key_command(environ: Mapping[str, str]) -> str:
    """Return what ``SOPS_AGE_KEY_CMD`` prints, nothing where it fails; with all of the environment."""
    try:
        return _run_command(environ["SOPS_AGE_KEY_CMD"], environ)
    except ConfigError:
        return ""


def _run_command(command: str, environ: Mapping[str, str]) -> str:
    try:
        argv = shlex.split(command, comments=True)
        if not argv:
            raise ConfigError("SOPS_AGE_KEY_CMD: the command is missing")
        done = subprocess.run(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_COMMAND_TIMEOUT_SECONDS, check=True,
        )  # fmt: skip
        return done.stdout.decode()
    except ValueError:
        raise ConfigError("SOPS_AGE_KEY_CMD: the command or its output cannot be read") from None
    except (OSError, subprocess.SubprocessError):
        raise ConfigError("SOPS_AGE_KEY_CMD: the command failed") from None


def _parse(source: str, text: str) -> tuple[list[Any], bool]:
    """Return (X25519 identities, whether there are others).

    One fault discards the source, as in sops.
    """
    if text.encode(errors="surrogatepass").startswith(_ENCRYPTED):
        raise _PassphraseNeeded
    found, elsewhere = [], False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")  # noqa: PLW2901 - as Go's bufio.ScanLines does
        if not line or line.startswith("#"):
            continue
        if line.startswith(_ELSEWHERE):
            elsewhere = True
            continue
        found.append(_parse_identity(source, number, line))
    return found, elsewhere


def _parse_identity(source: str, number: int, line: str) -> Any:
    if _SECRET.fullmatch(line):
        try:
            return x25519.Identity.from_str(line)
        except IdentityError:
            pass  # its text may quote the key
    raise ConfigError(f"{source}:{number}: not an age identity")
