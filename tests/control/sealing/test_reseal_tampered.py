"""A file that was tampered with is refused before sops is told to look away from its MAC."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsd.core.errors import KeyNeeded, SealError, SealMalformed, SealTampered
from agentsd.core.violations import Pointer
from tests.control.sealed_edit import Desk
from tests.runtime.world import Keys

KEY = ("llm", "api_key")
SEAL = re.compile(r"ENC\[[^]]*\]")
Forgery = Callable[[str, str], str]
"""(the file, a later version of it with another first key) → what somebody without the key makes of them."""


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    return Desk(tmp_path, keys)


def swapped(text: str, one: int, two: int) -> str:
    seals = SEAL.findall(text)
    return text.replace(seals[one], "\0").replace(seals[two], seals[one]).replace("\0", seals[two])


def between_fields(text: str, _: str) -> str:
    """llm's key and tts': other names, so the values themselves do not verify."""
    return swapped(text, 0, 3)


def between_entries(text: str, _: str) -> str:
    """The keys of two fallbacks: sops ties both to the same names, only the MAC tells."""
    return swapped(text, 1, 2)


def entry_gone(text: str, _: str) -> str:
    """A fallback cut out of the file."""
    return re.sub(r"    - \{provider: openai.*\n", "", text)


def old_mac(text: str, later: str) -> str:
    """The MAC and date of another version of the file."""
    for name in ("lastmodified", "mac"):
        line = re.compile(rf"^  {name}: .*$", re.MULTILINE)
        other = line.search(later)
        assert other is not None
        text = line.sub(lambda _: other[0], text)  # noqa: B023
    return text


def old_value(text: str, later: str) -> str:
    """One secret of another version, under this version's MAC."""
    return text.replace(SEAL.findall(text)[0], SEAL.findall(later)[0])


def flipped(text: str, _: str) -> str:
    """A byte of a ciphertext."""
    return re.sub(r"data:(.)", lambda m: f"data:{'B' if m[1] == 'A' else 'A'}", text, count=1)


def in_plain(text: str, _: str) -> str:
    """A secret of the forger's own."""
    return text.replace(SEAL.findall(text)[0], "sk-forged")


def date_moved(text: str, _: str) -> str:
    """``lastmodified`` authenticates the MAC."""
    return re.sub(r'lastmodified: "20..', 'lastmodified: "2001', text)


def other_coverage(text: str, _: str) -> str:
    """Whether the MAC covers plain values."""
    return text.replace("mac_only_encrypted: true", "mac_only_encrypted: false")


def narrower_rule(text: str, _: str) -> str:
    """A rule that seals less than stands there sealed."""
    return text.replace("encrypted_regex: ^(api_key", "encrypted_regex: ^(apikey")


FORGERIES: list[Forgery] = [
    between_fields, between_entries, entry_gone, old_mac, old_value, flipped, in_plain, date_moved,
    other_coverage, narrower_rule,
]  # fmt: skip
EDITS: list[tuple[dict[Pointer, object], dict[Pointer, str]]] = [
    ({}, {("tts", "api_key"): "sk-new"}),
    ({KEY: None}, {}),
    ({("name",): "Help"}, {("llm", "fallback", 0, "api_key"): "sk-new"}),
]


@pytest.mark.parametrize("full", [False, True], ids=["mac-only", "full-mac"])
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
async def test_forgeries_are_never_sealed_again(desk: Desk, forge: Forgery, full: bool) -> None:
    """Whatever is edited: with a key it is refused, and without one nothing is sealed at all."""
    mac = None if full else True
    first = desk.seal(mac_only_encrypted=mac)
    later = await desk.edit(first, {}, {KEY: "sk-later"})
    if full and forge is other_coverage:
        forged = first.decode() + "  mac_only_encrypted: true\n"
    else:
        forged = forge(first.decode(), later.decode())
    assert forged != first.decode()
    assert desk.read(forged.encode()) is None, "this is no forgery"
    for changes, secrets in EDITS:
        with pytest.raises(SealError):
            await desk.edit(forged.encode(), changes, secrets)
        with contextlib.suppress(KeyNeeded):  # the MAC stays as wrong as it is, if anything is written at all
            assert desk.read(await desk.edit(forged.encode(), changes, secrets, keys=())) is None


async def test_a_plain_edit_of_a_forgery_heals_nothing(desk: Desk) -> None:
    """Refused where a key is at hand; without one, the MAC stays as wrong as it was."""
    forged = between_entries(desk.seal().decode(), "").encode()
    with pytest.raises(SealTampered):
        await desk.edit(forged, {("name",): "Help"})
    assert desk.read(await desk.edit(forged, {("name",): "Help"}, keys=())) is None


async def test_a_plain_field_under_a_full_mac(desk: Desk) -> None:
    """Edited by hand, without the key: no later edit makes it good, also none that replaces all secrets."""
    text = "name: x\ntts:\n  url: wss://a.example\n  api_key: sk-canary-a\n"
    full = desk.seal(text, mac_only_encrypted=None)
    forged = full.replace(b"a.example", b"b.example")
    for changes, secrets in (
        ({("name",): "y"}, {}),
        ({}, {("tts", "api_key"): "sk-new"}),
        ({("tts", "api_key"): None}, {}),
    ):
        with pytest.raises(SealTampered):
            await desk.edit(forged, changes, secrets)  # type: ignore[arg-type]


async def test_the_key_of_a_forger_gets_no_secret(desk: Desk, strangers: Keys) -> None:
    """A recipient that was written into the file, without a wrapped key or with another's."""
    sealed = desk.seal()
    other = desk.seal(age=strangers.recipient).decode()
    desk.rules()
    entry = re.search(r"    - recipient: .*?END AGE ENCRYPTED FILE-----\n", other, re.DOTALL)
    assert entry is not None
    for added in (entry[0], f'    - recipient: {strangers.recipient}\n      enc: ""\n'):
        forged = sealed.decode().replace("  age:\n", f"  age:\n{added}")
        assert forged != sealed.decode()
        try:
            after = await desk.edit(forged.encode(), {}, {KEY: "sk-new"})
        except SealError:
            continue
        assert desk.read(after, strangers) is None
        assert desk.read(after)["llm"]["api_key"] == "sk-new"


async def test_a_file_of_somebody_else(desk: Desk, strangers: Keys) -> None:
    """Seals and block of another file, sealed to others: no key at hand opens it."""
    with pytest.raises(KeyNeeded):
        await desk.edit(desk.seal(age=strangers.recipient), {}, {KEY: "sk-new"})


async def test_a_seal_that_is_none(desk: Desk) -> None:
    """``sops:`` as a text, or without what a seal has."""
    for block in ("sops: x\n", "sops: {}\n", "sops:\n  mac: x\n"):
        with pytest.raises(SealMalformed):
            await desk.edit(f"llm:\n  api_key: a\n{block}".encode(), {}, {KEY: "sk-new"})
