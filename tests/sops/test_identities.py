"""Identities are found where sops finds them, and faults are told by file and line only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsd.core.errors import ConfigError, SealUnsure
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_config_home, find_identities
from agentsd.sops.opener import Opener
from tests.sops.real import Sops, document


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def places(tmp_path: Path, key: str) -> dict[str, dict[str, str]]:
    """One environment for each place where sops looks (all with HOME=tmp_path)."""
    listed = put(tmp_path / "keys.txt", f"# created: today\n# public key: age1\n{key}\n\n")
    put(tmp_path / "xdg/sops/age/keys.txt", key)
    return {
        "variable": {"SOPS_AGE_KEY": f"# a comment\n\n{key}\n"},
        "file": {"SOPS_AGE_KEY_FILE": str(listed)},
        "command": {"SOPS_AGE_KEY_CMD": f"cat '{listed}'"},
        "config folder": {"XDG_CONFIG_HOME": str(tmp_path / "xdg")},
    }


@pytest.mark.parametrize("place", ["variable", "file", "command", "config folder"])
def test_each_place(sops: Sops, keys: list[Any], tmp_path: Path, place: str) -> None:
    """The variable, the file, the command's output and the user's config folder open as in sops."""
    data = sops.seal("api_key: k\n")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **places(tmp_path, str(keys[0]))[place]}
    found = find_identities(environ, tmp_path)
    assert found.recipients == (sops.recipients[0],)
    assert Opener(found).open(document(data)).value == {"api_key": "k"}
    assert Sops(tmp_path, environ, ()).open(data) == {"api_key": "k"}


def test_all_places_are_merged(keys: list[Any], tmp_path: Path) -> None:
    """Every place adds its identities, ~/.config included."""
    put(tmp_path / ".config/sops/age/keys.txt", str(keys[0]))
    environ = {
        "SOPS_AGE_KEY": f"{keys[1]}\r\n{keys[2]}",
        "SOPS_AGE_KEY_FILE": str(put(tmp_path / "k", str(keys[3]))),
    }
    assert set(find_identities(environ, tmp_path).recipients) == {str(key.to_public()) for key in keys}


def test_no_identity_is_no_error(tmp_path: Path) -> None:
    """A keyless machine may plan and sync."""
    found = find_identities({}, tmp_path)
    assert not found
    assert not Opener(found).can_open


def test_the_config_folder_is_gos() -> None:
    """XDG_CONFIG_HOME where it is set, on macOS too; else the platform's own."""
    home = Path("/home/u")
    assert find_config_home({}, home, "linux") == Path("/home/u/.config")
    assert find_config_home({}, home, "darwin") == Path("/home/u/Library/Application Support")
    assert find_config_home({"XDG_CONFIG_HOME": "/x"}, home, "darwin") == Path("/x")
    assert find_config_home({"XDG_CONFIG_HOME": ""}, home, "linux") == Path("/home/u/.config")


@pytest.mark.parametrize(
    "line", ["nonsense-canary", "AGE-SECRET-KEY-1CANARY", "age1canary", " {key}", "{key} {key}", "{lower}"]
)
def test_a_fault_is_told_by_file_and_line(keys: list[Any], tmp_path: Path, line: str) -> None:
    """A line that is no identity: ConfigError with file:line, never the content; sops finds none either."""
    text = line.format(key=keys[0], lower=str(keys[0]).lower())
    path = put(tmp_path / "keys.txt", f"# fine\n{keys[1]}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        find_identities({"SOPS_AGE_KEY_FILE": str(path)}, tmp_path)
    assert f"{path}:3" in caught.value.message
    assert text.strip() not in str(caught.value)
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SOPS_AGE_KEY_FILE": str(path)}
    real = Sops(tmp_path, environ, (str(keys[1].to_public()),))
    assert real.open(real.seal("a: 1\n")) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"SOPS_AGE_KEY_FILE": "/nowhere/keys.txt"},
        {"SOPS_AGE_KEY_FILE": "/"},
        {"SOPS_AGE_KEY_CMD": "false"},
        {"SOPS_AGE_KEY_CMD": ""},
        {"SOPS_AGE_KEY_CMD": "'open"},
        {"SOPS_AGE_KEY_CMD": "/nowhere/command"},
    ],
)
def test_a_source_that_cannot_be_read(environ: dict[str, str], keys: list[Any], tmp_path: Path) -> None:
    """Alone it is a ConfigError; beside a good one it is passed over, as sops does, and noted."""
    with pytest.raises(ConfigError):
        find_identities(environ, tmp_path)
    found = find_identities({**environ, "SOPS_AGE_KEY": str(keys[0])}, tmp_path)
    assert len(found.x25519) == 1
    assert len(found.problems) == 1


@pytest.mark.parametrize("line", ["AGE-PLUGIN-YUBIKEY-1QQ", "AGE-SECRET-KEY-PQ-1QQ"])
def test_identities_of_other_kinds_are_left_to_sops(line: str, sops: Sops, tmp_path: Path) -> None:
    """Plugins, post-quantum and SSH keys: only the real sops can tell whether they open a file."""
    found = find_identities({"SOPS_AGE_KEY": line}, tmp_path)
    assert (found.x25519, found.others) == ((), ("SOPS_AGE_KEY",))
    with pytest.raises(SealUnsure):
        Opener(found).open(document(sops.seal("a: 1\n")))


async def test_an_ssh_key_opens_through_the_real_sops(sops: Sops, tmp_path: Path) -> None:
    """A file for an SSH recipient opens with ~/.ssh/id_ed25519, as the second opinion."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    put(tmp_path / ".ssh/id_ed25519", private.decode())
    data = sops.seal("api_key: k\n", age=public)
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    opener = Opener(find_identities(environ, tmp_path), SopsBinary(environ=environ))
    assert opener.can_open
    with pytest.raises(SealUnsure):
        opener.open(document(data))
    opened = await opener.open_surely(document(data))
    assert (opened.value, opened.sealed) == ({"api_key": "k"}, frozenset({("api_key",)}))
