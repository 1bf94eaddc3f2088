"""``sops set`` on a document in memory: one value changes, everything else that is sealed stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.errors import AgentsdError, SealLocked, SealMalformed, SealTampered, SopsFailed
from agentsd.core.violations import Pointer
from agentsd.sops.binary import SopsBinary
from agentsd.sops.format import is_whole_seal
from tests.sops.real import RULES, Sops, document
from tests.sops.test_binary import script

TEXT = """\
name: Support
api_key: canary-91
list:
  - token: canary-92
  - token: canary-93
"""
RULE = {**RULES["encrypted_regex"], "mac_only_encrypted": True}


@pytest.fixture(params=["memfd", "no-memfd"])
def binary(sops: Sops, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SopsBinary:
    """With a file in memory, and with a temporary one."""
    if request.param == "no-memfd":
        monkeypatch.delattr(os, "memfd_create")
    return SopsBinary(environ=sops.environ)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (("api_key",), 'brand-new\n"secret"'),
        (("list", 1, "token"), "brand-new"),
        (("list", 0, "a_secret"), True),
        (("token",), 0.5),
        (("name",), "in plain"),
    ],
)
async def test_one_value_changes(sops: Sops, binary: SopsBinary, pointer: Pointer, value: Any) -> None:
    """At the top, in a list, new or not, sealed where the rule says so; the others keep their ciphertexts."""
    before = sops.seal(TEXT, **RULE)
    after = await binary.set(before, pointer, value)
    expected = sops.open(before)
    assert expected is not None
    holder: Any = expected
    for part in pointer[:-1]:
        holder = holder[part]
    holder[pointer[-1]] = value
    assert sops.open(after) == expected
    kept = [line for line in before.splitlines() if b"ENC[" in line and b"mac:" not in line]
    assert sum(line.strip() in after for line in kept) >= 2
    assert (b"brand-new" in after, b"in plain" in after) == (False, pointer == ("name",))


async def test_the_mac_is_looked_at_unless_told_otherwise(sops: Sops, binary: SopsBinary) -> None:
    """A value cut out of the file: refused, or, when ignored, sealed again."""
    before = sops.seal(TEXT, **RULE)
    cut = b"".join(line for line in before.splitlines(True) if not line.startswith(b"api_key"))
    with pytest.raises(SealTampered):
        await binary.set(cut, ("list", 0, "token"), "new")
    after = await binary.set(cut, ("list", 0, "token"), "new", ignore_mac=True)
    assert sops.open(after) == {"name": "Support", "list": [{"token": "new"}, {"token": "canary-93"}]}


async def test_refusals_are_told_apart(sops: Sops, binary: SopsBinary) -> None:
    """A stranger's file, a damaged value, no seal, no such place: each its own error."""
    before = sops.seal(TEXT, **RULE)
    cases: list[tuple[bytes, Pointer, type[AgentsdError]]] = [
        (sops.seal(TEXT, age=sops.recipients[3]), ("name",), SealLocked),
        (before.replace(b"api_key: ENC", b"token: ENC"), ("name",), SealTampered),
        (before.replace(b"api_key: ENC[", b"api_key: 1 #"), ("name",), SealTampered),
        (TEXT.encode(), ("name",), SealMalformed),
        (before, ("a[0]",), SopsFailed),
        (before, ("a\0",), SopsFailed),
        (before, (), SopsFailed),
    ]
    for data, pointer, kind in cases:
        with pytest.raises(kind) as caught:
            await binary.set(data, pointer, "canary-new", ignore_mac=True)
        assert caught.value.hint
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("key", ['a"b', "a]b", "ü 🎧", "", " ", "a.b", "0", "'"])
async def test_unusual_keys(sops: Sops, binary: SopsBinary, key: str) -> None:
    """sops takes them as they are."""
    before = sops.seal(TEXT, encrypted_regex=".*")
    after = await binary.set(before, ("list", 0, key), "new")
    opened = sops.open(after)
    assert opened is not None
    assert opened["list"][0][key] == "new"
    assert is_whole_seal(document(after).value["list"][0][key])


async def test_the_value_is_on_no_command_line(tmp_path: Path) -> None:
    """Through standard input only; the document by descriptor."""
    told = tmp_path / "told"
    body = f'echo "$@" > {told}; cat "$7" >> {told}; printf "|" >> {told}; cat >> {told}; echo out > "$7"'
    binary = SopsBinary(script(tmp_path, body), environ={"PATH": os.environ["PATH"]})
    assert await binary.set(b"a: sealed", ("llm", "fallback", 0, "api_key"), "canary") == b"out\n"
    command, _, rest = told.read_text().partition("\n")
    assert command.startswith("set --input-type yaml --output-type yaml --value-stdin /proc/self/fd/")
    assert command.endswith(' ["llm"]["fallback"][0]["api_key"]')
    assert rest == 'a: sealed|"canary"'
