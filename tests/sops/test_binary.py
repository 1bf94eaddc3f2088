"""The real sops behind pipes: what it is told, what it may see, and how its refusals are told."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from pyrage import x25519

from agentsd.core.errors import (
    AgentsdError,
    SealLocked,
    SealMalformed,
    SealTampered,
    SopsFailed,
)
from agentsd.sops.binary import SopsBinary
from tests.sops.real import RULES, Sops, document

PLAIN = b"name: Support\napi_key: canary-91\n"


@pytest.fixture
def binary(sops: Sops) -> SopsBinary:
    return SopsBinary(environ=sops.environ)


def script(folder: Path, body: str) -> Path:
    """An executable that stands in for a sops of another machine."""
    path = folder / "sops"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


async def test_what_it_seals_it_opens(sops: Sops, binary: SopsBinary) -> None:
    """Encrypt by a creation rule, decrypt to a value."""
    sealed = await binary.encrypt(PLAIN, path="a.yaml", config=sops.config(RULES["encrypted_regex"]))
    assert b"canary" not in sealed
    assert document(sealed).value["name"] == "Support"
    assert await binary.decrypt(sealed) == {"name": "Support", "api_key": "canary-91"}


async def test_a_relative_key_file(sops: Sops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file named as in the README, relative to the working folder, opens and sets too."""
    (tmp_path / "keys.txt").write_text(sops.environ["SOPS_AGE_KEY"])
    monkeypatch.chdir(tmp_path)
    environ = {name: value for name, value in sops.environ.items() if name != "SOPS_AGE_KEY"}
    binary = SopsBinary(environ={**environ, "SOPS_AGE_KEY_FILE": "keys.txt"})
    sealed = await binary.encrypt(PLAIN, path="a.yaml", config=sops.config(RULES["encrypted_regex"]))
    assert (await binary.decrypt(sealed))["api_key"] == "canary-91"
    renewed = await binary.set(sealed, ("api_key",), "canary-92")
    assert (await binary.decrypt(renewed))["api_key"] == "canary-92"


async def test_recipients_replace_those_of_the_rule(sops: Sops, binary: SopsBinary) -> None:
    """Explicit recipients, the rule's fields."""
    rule = sops.config(RULES["encrypted_regex"])
    sealed = await binary.encrypt(PLAIN, path="a.yaml", config=rule, recipients=sops.recipients[1:3])
    assert [key["recipient"] for key in document(sealed).value["sops"]["age"]] == list(sops.recipients[1:3])
    assert document(sealed).value["name"] == "Support"


async def test_the_rule_is_chosen_by_the_path(sops: Sops, binary: SopsBinary, tmp_path: Path) -> None:
    """An absolute path meets rules anchored at the configuration's folder, given or found upwards."""
    rules = [
        {"path_regex": r"^agents\.d/acme/", "age": sops.recipients[1]},
        {"path_regex": r"^agents\.d/", "age": sops.recipients[0]},
    ]
    config = tmp_path / ".sops.yaml"
    config.write_text(json.dumps({"creation_rules": rules}))
    (tmp_path / "agents.d/acme").mkdir(parents=True)
    for name, recipient in (("agents.d/acme/x.yaml", 1), ("agents.d/x.yaml", 0)):
        for given in (config, None):
            sealed = await binary.encrypt(PLAIN, path=str(tmp_path / name), config=given)
            keys = document(sealed).value["sops"]["age"]
            assert [key["recipient"] for key in keys] == [sops.recipients[recipient]]


async def test_encryption_refusals_are_told_apart(sops: Sops, binary: SopsBinary, tmp_path: Path) -> None:
    """Sealed already, no rule, no such configuration, not YAML, empty: each its own message and code."""
    config = sops.config({})
    nowhere = sops.config({"path_regex": "^nowhere$"})
    sealed = await binary.encrypt(PLAIN, path="a.yaml", config=config)
    cases = [
        (sealed, config, 203, "sealed already"),
        (PLAIN, nowhere, 1, "rule"),
        (PLAIN, tmp_path / "missing.yaml", 1, "rule"),
        (b"canary: [", config, 2, "cannot read"),
        (b"", config, 92, "empty"),
        (b"canary: 18446744073709551615", config, 23, "value"),
    ]
    for data, rule, code, message in cases:
        with pytest.raises(SopsFailed, match=message) as caught:
            await binary.encrypt(data, path="a.yaml", config=rule)
        assert caught.value.code == code
        assert caught.value.hint
        assert "canary" not in str(caught.value)


async def test_decryption_refusals_are_told_apart(sops: Sops, binary: SopsBinary) -> None:
    """A damaged value, a damaged MAC, a stranger's file, no seal: each its own error."""
    sealed = sops.seal(PLAIN.decode(), **RULES["encrypted_regex"])
    stranger = sops.seal(PLAIN.decode(), age=str(x25519.Identity.generate().to_public()))
    cases: list[tuple[bytes, type[AgentsdError]]] = [
        (sealed.replace(b"name: Support", b"name: x"), SealTampered),
        (sealed.replace(b"api_key: ENC", b"token: ENC"), SealTampered),
        (sealed.replace(b"api_key: ENC[", b"api_key: 1 #"), SealTampered),
        (stranger, SealLocked),
        (PLAIN, SealMalformed),
        (sealed.replace(b"lastmodified", b"last"), SealMalformed),
    ]
    for data, kind in cases:
        with pytest.raises(kind) as caught:
            await binary.decrypt(data)
        assert caught.value.hint
        assert "canary" not in str(caught.value)


async def test_it_sees_no_more_of_the_environment_than_it_needs(tmp_path: Path) -> None:
    """Settings of other programs, of agentsd itself and of services that the file does not need stay."""
    environ = {
        "PATH": os.environ["PATH"], "SOPS_AGE_KEY": "k", "AWS_PROFILE": "p", "HOME": "/h",
        "AGENTSD_DATABASE_URL": "postgresql://u:pw@h", "GROQ_API_KEY": "g", "SOPS_CONFIG": "/etc/x",
        "VAULT_TOKEN": "t", "SOPS_KEYSERVICE": "tcp://h:1", "SOPS_VAULT_URIS": "http://h/v1/t/keys/k",
    }  # fmt: skip
    names = """cat >/dev/null; echo '{'; env | sed 's/=.*/": 1,/; s/^/"/'; echo '"end": 1}'"""
    seen = await SopsBinary(script(tmp_path, names), environ=environ).decrypt(b"")
    assert set(environ) & set(seen) == {"PATH", "SOPS_AGE_KEY", "HOME"}


async def test_a_key_command_has_what_it_needs(sops: Sops, tmp_path: Path) -> None:
    """It is run with the whole environment, once; sops gets the key, and not what the command needs."""
    ran = tmp_path / "ran"
    command = script(tmp_path, f'test -n "$VAULT_TOKEN" && echo ran >> {ran} && echo "$KEY"')
    environ = {"PATH": "/usr/bin:/bin", "KEY": sops.environ["SOPS_AGE_KEY"].split()[0], "VAULT_TOKEN": "t"}
    binary = SopsBinary(environ={**environ, "HOME": str(tmp_path), "SOPS_AGE_KEY_CMD": str(command)})
    for _ in range(2):
        assert (await binary.decrypt(sops.seal(PLAIN.decode())))["api_key"] == "canary-91"
    assert ran.read_text() == "ran\n"


async def test_no_document_is_on_the_command_line(tmp_path: Path) -> None:
    """What is to be sealed goes through standard input only."""
    binary = SopsBinary(script(tmp_path, 'cat >/dev/null; echo "$@"'), environ={"PATH": os.environ["PATH"]})
    told = await binary.encrypt(PLAIN, path="acme/x.yaml", config=Path("/c.yaml"), recipients=["age1x"])
    assert told.decode().split() == [
        "--config", "/c.yaml", "encrypt", "--age", "age1x", "--input-type", "yaml", "--output-type", "yaml",
        "--filename-override", "acme/x.yaml",
    ]  # fmt: skip


async def test_an_executable_that_is_missing_is_named(tmp_path: Path) -> None:
    """A wrong AGENTSD_SOPS says so."""
    with pytest.raises(SopsFailed, match="AGENTSD_SOPS"):
        await SopsBinary(tmp_path / "none", environ={}).decrypt(b"")


async def test_an_unknown_exit_status_is_told(tmp_path: Path) -> None:
    """A status of another sops version is passed on as a number."""
    binary = SopsBinary(script(tmp_path, "cat >/dev/null; exit 77"), environ={"PATH": os.environ["PATH"]})
    with pytest.raises(SopsFailed, match="77") as caught:
        await binary.decrypt(b"")
    assert caught.value.code == 77


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


async def running(pid_file: Path) -> int:
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    return int(pid_file.read_text())


async def test_it_is_killed_when_it_takes_too_long(tmp_path: Path) -> None:
    """After the timeout neither sops nor what it started is left."""
    pid_file = tmp_path / "pid"
    path = script(tmp_path, f"sleep 600 & echo $! > {pid_file}; wait")
    binary = SopsBinary(path, environ={"PATH": os.environ["PATH"]}, timeout=0.5)
    with pytest.raises(SopsFailed, match="did not answer"):
        await binary.decrypt(b"")
    child = await running(pid_file)
    while not gone(child):
        await asyncio.sleep(0.01)


async def test_it_is_killed_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    """A cancelled call leaves no process."""
    pid_file = tmp_path / "pid"
    path = script(tmp_path, f"echo $$ > {pid_file}; exec sleep 600")
    binary = SopsBinary(path, environ={"PATH": os.environ["PATH"]})
    call = asyncio.create_task(binary.decrypt(PLAIN))
    pid = await running(pid_file)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert gone(pid)
