"""A manifest that names a key service, and every command: nothing goes there unless the operator names it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from agentsd.core.manifest.document import parse_document
from tests.cli.conftest import Shell
from tests.control.place import echo, groq
from tests.sops.services import vault_key, with_block
from tests.vendors.listener import Listener

TOKEN = "hvs.canary-vault-token-7"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as one:
        yield one


@pytest.fixture
def hostile(shell: Shell, listener: Listener) -> Shell:
    """A file of beta's whose only key is said to be at the listener; the operator's token is at hand."""
    sealed = shell.keys.seal(groq(1)).encode()
    shell.write("beta/a.yaml", with_block(sealed, age=None, hc_vault=[vault_key(listener.url)]))
    shell.write("acme/b.yaml", echo(2))
    shell.env(VAULT_TOKEN=TOKEN, SOPS_AGE_KEY_FILE="key.txt")
    return shell


COMMANDS = [
    ["validate"],
    ["validate", "--strict"],
    ["validate", "--require-mac"],
    ["validate", "--format", "json"],
    ["render", "agents.d/beta/a.yaml"],
    ["test", "beta/a"],
    ["doctor"],
    ["edit", "agents.d/beta/a.yaml"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_no_command_sends_anything(hostile: Shell, listener: Listener, command: list[str]) -> None:
    """Whatever a command makes of the file."""
    hostile.env(EDITOR="true")
    done = hostile.run(*command)
    assert TOKEN not in done.out + done.err
    assert (listener.connections, listener.received) == (0, b"")


def test_the_rule_says_where_and_what_to_do(hostile: Shell, listener: Listener) -> None:
    """File, line and column of the address, and the value to add; a warning, unless a MAC is required."""
    done = hostile.run("validate")
    assert done.code == 0
    assert "beta/a.yaml:1:" in done.err
    assert "[key-service]" in done.err
    assert f"add {listener.url}/v1/transit/keys/agents to AGENTSD_KEY_SERVICES" in done.err
    assert hostile.run("validate", "--require-mac").code == 1


def test_strict_is_green_without_the_keys_of_a_key_service(hostile: Shell) -> None:
    """A fork's CI has neither keys nor a list of key services: that is about CI, not about the file."""
    (hostile.root / ".sops.yaml").unlink()  # it names an age key
    done = hostile.run("validate", "--strict")
    assert done.code == 0, done.err
    assert "[key-service]" in done.err


def test_no_sync_sends_anything(hostile: Shell, listener: Listener, database_url: str) -> None:
    """Plan, sync and export; the other owner's agent is stored."""
    hostile.env(AGENTSD_DATABASE_URL=database_url)
    hostile.run("migrate")
    for command in (["plan"], ["sync"], ["export", "out"], ["status"]):
        assert hostile.run(*command).code in (0, 2), command
    assert listener.connections == 0


def test_the_merge_driver_sends_nothing(hostile: Shell, listener: Listener) -> None:
    """The three versions of a merge."""
    ours = hostile.root / "agents.d/beta/a.yaml"
    for name in ("base", "theirs"):
        (hostile.root / name).write_bytes(ours.read_bytes().replace(b'"Groq"', f'"{name}"'.encode()))
    hostile.run("merge-driver", "base", str(ours), "theirs", "agents.d/beta/a.yaml")
    assert listener.connections == 0


@pytest.mark.parametrize(
    "rule",
    [
        {"hc_vault_transit_uri": "{url}/v1/transit/keys/agents"},
        {"key_groups": [{"hc_vault": ["{url}/v1/transit/keys/agents"]}]},
        {"key_groups": [{"merge": [{"hc_vault": ["{url}/v1/transit/keys/agents"]}]}]},
        {"azure_keyvault": "{url}/keys/name/0123"},
        {"kms": "arn:aws:kms:eu-central-1:123456789012:key/1"},
    ],
)
def test_a_creation_rule_sends_nothing(hostile: Shell, listener: Listener, rule: dict[str, object]) -> None:
    """Sealing by the rules of a folder that an editor writes: named by the file, with the value to add."""
    file = hostile.write("beta/c.yaml", groq(3))
    text = json.dumps({"creation_rules": [{"path_regex": "c.yaml$", **rule}]}).replace("{url}", listener.url)
    (file.parent / ".sops.yaml").write_text(text)
    hostile.env(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", AWS_ENDPOINT_URL=listener.url)
    done = hostile.run("seal", "agents.d/beta/c.yaml")
    assert done.code != 0
    assert "AGENTSD_KEY_SERVICES" in done.err
    assert file.read_text() == groq(3)
    assert listener.connections == 0


def test_a_plugin_is_run_only_where_the_operator_names_it(hostile: Shell) -> None:
    """Sealing to a recipient of a plug-in runs age-plugin-NAME of the PATH: NAME is an editor's choice."""
    ran = hostile.root / "ran"
    program = hostile.root / "bin/age-plugin-canary"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    program.chmod(0o755)
    hostile.env(PATH=f"{program.parent}:/usr/bin:/bin")
    file = hostile.write("beta/c.yaml", groq(3))
    recipient = "age1canary1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5pvsqq"
    (file.parent / ".sops.yaml").write_text(json.dumps({"creation_rules": [{"age": recipient}]}))
    done = hostile.run("seal", "agents.d/beta/c.yaml")
    assert "add age-plugin-canary to AGENTSD_KEY_SERVICES" in done.err
    assert not ran.exists()


def test_a_rule_that_fits_another_path_counts_for_nothing(hostile: Shell, listener: Listener) -> None:
    """As sops does: the first rule that fits the path decides; anchors are read."""
    file = hostile.write("beta/c.yaml", groq(3))
    recipient = hostile.keys.recipient
    rules = (
        f"keys:\n  - &mine {recipient}\ncreation_rules:\n"
        f"  - path_regex: other\\.yaml$\n    hc_vault_transit_uri: {listener.url}/v1/transit/keys/agents\n"
        "  - path_regex: c\\.yaml$\n    encrypted_regex: ^api_key$\n    age: *mine\n"
    )
    (file.parent / ".sops.yaml").write_text(rules)
    assert hostile.run("seal", "agents.d/beta/c.yaml").code == 0
    sealed = parse_document("c.yaml", file.read_bytes()).value["sops"]
    assert [key["recipient"] for key in sealed["age"]] == [recipient]


def test_up_sends_nothing(hostile: Shell, listener: Listener, database_url: str) -> None:
    """The daemon and the runtime: the other owner's agent is served, and the file is quarantined by name."""
    hostile.env(AGENTSD_DATABASE_URL=database_url)
    hostile.run("migrate")
    process = hostile.spawn("up", "--port", "0")
    assert process.stderr is not None
    lines: list[str] = []
    while not ("key-service" in "".join(lines) and "http://127.0.0.1" in "".join(lines)):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert listener.connections == 0
