"""What a seal proves: any changed decoded byte is refused, and no error quotes what it guards."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrage import x25519

from agentsd.core.errors import InvalidManifests, SealError, SealLocked, SealTampered
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.sops.real import RULES, Sops, document, same

CANARY = "canary-7f3a"
TEXT = f"name: Support\napi_key: {CANARY}\na_secret: [a, b, c]\nllm: {{token: t, url: x}}\ntoken: t2\n"
PART = re.compile(rb"(data|iv|tag):([A-Za-z0-9+/=]+)")


@pytest.fixture(scope="module", params=[False, True], ids=["full-mac", "mac-only"])
def sealed(request: pytest.FixtureRequest, sops: Sops) -> bytes:
    return sops.seal(TEXT, mac_only_encrypted=request.param, **RULES["encrypted_regex"])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_value_or_the_mac_is_tampering(
    sealed: bytes, opener: Opener, data: st.DataObject
) -> None:
    """One byte of data, iv or tag, of any value or of the MAC itself: SealTampered, by name only."""
    parts = list(PART.finditer(sealed))
    part = data.draw(st.sampled_from(parts))
    raw = bytearray(b64decode(part[2]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = sealed[: part.start(2)] + b64encode(raw) + sealed[part.end(2) :]
    with pytest.raises(SealTampered) as caught:
        opener.open(document(changed))
    assert CANARY not in str(caught.value)
    assert "ENC[" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 19), character=st.sampled_from("0123456789-:TZabc "))
def test_any_changed_character_of_lastmodified_is_refused(
    sealed: bytes, opener: Opener, place: int, character: str
) -> None:
    """``lastmodified`` authenticates the MAC: another date, or none, opens nothing."""
    match = re.search(rb'lastmodified: "([^"]+)"', sealed)
    assert match is not None
    at = match.start(1) + place
    if sealed[at : at + 1] == character.encode():
        return
    with pytest.raises(SealError):
        opener.open(document(sealed[:at] + character.encode() + sealed[at + 1 :]))


def lines_of(data: bytes, word: bytes) -> list[int]:
    return [index for index, line in enumerate(data.split(b"\n")) if word in line]


def moved(data: bytes, kind: str) -> bytes:
    """``data`` with sealed values moved about."""
    lines = data.split(b"\n")
    items = lines_of(data, b"- ENC[")
    if kind == "swapped items":
        lines[items[0]], lines[items[1]] = lines[items[1]], lines[items[0]]
    elif kind == "dropped item":
        del lines[items[1]]
    elif kind == "repeated item":
        lines.insert(items[0], lines[items[0]])
    elif kind == "dropped value":
        del lines[lines_of(data, b"api_key: ENC")[0]]
    elif kind == "renamed key":
        return data.replace(b"api_key: ENC", b"token_: ENC").replace(b"^(api_key", b"^(token_|api_key")
    elif kind == "plain value":
        lines[lines_of(data, b"api_key: ENC")[0]] = b"api_key: mine"
    elif kind == "plain number":
        lines[lines_of(data, b"api_key: ENC")[0]] = b"api_key: 1"
    elif kind == "emptied value":
        lines[lines_of(data, b"api_key: ENC")[0]] = b'api_key: ""'
    elif kind == "value of another key":
        value = next(line for line in lines if line.startswith(b"token: ")).removeprefix(b"token: ")
        lines[lines_of(data, b"api_key: ENC")[0]] = b"api_key: " + value
    return b"\n".join(lines)


@pytest.mark.parametrize(
    "kind",
    [
        "swapped items", "dropped item", "repeated item", "dropped value", "renamed key", "plain value",
        "plain number", "emptied value", "value of another key",
    ],
)  # fmt: skip
async def test_moved_values_are_tampering(sops: Sops, sealed: bytes, opener: Opener, kind: str) -> None:
    """Swapped, dropped, renamed or unsealed values: refused in process and by the second opinion."""
    changed = moved(sealed, kind)
    assert changed != sealed
    with pytest.raises(SealTampered):
        opener.open(document(changed))
    with pytest.raises(SealTampered):
        await opener.open_surely(document(changed))
    assert sops.open(changed) is None


def test_a_value_of_another_file_is_tampering(sops: Sops, sealed: bytes, opener: Opener) -> None:
    """A sealed value that was copied from another file does not verify."""
    other = sops.seal(TEXT, **RULES["encrypted_regex"])
    line = next(line for line in other.split(b"\n") if line.startswith(b"api_key"))
    with pytest.raises(SealTampered, match="api_key"):
        opener.open(document(re.sub(rb"(?m)^api_key: .*$", lambda _: line, sealed)))


def test_a_plain_field_is_free_only_without_a_full_mac(sops: Sops, opener: Opener) -> None:
    """With mac_only_encrypted plain fields are edited without a key; with a full MAC they are not."""
    for mac_only in (True, False):
        data = sops.seal(TEXT, mac_only_encrypted=mac_only, **RULES["encrypted_regex"])
        changed = document(data.replace(b"name: Support", b"name: Sales"))
        if mac_only:
            assert opener.open(changed).value["name"] == "Sales"
        else:
            with pytest.raises(SealTampered):
                opener.open(changed)


async def test_a_wrong_identity_is_locked(sealed: bytes, sops: Sops) -> None:
    """Somebody else's key: SealLocked with a hint, not tampering."""
    stranger = Opener(Identities((x25519.Identity.generate(),)))
    with pytest.raises(SealLocked, match="recipient"):
        await stranger.open_surely(document(sealed))
    with pytest.raises(SealLocked, match="SOPS_AGE_KEY_FILE"):
        await Opener(Identities()).open_surely(document(sealed))


def test_an_opened_document_does_not_show_itself(sealed: bytes, opener: Opener, keys: list[Any]) -> None:
    """repr of what holds plaintext or keys shows neither."""
    opened = opener.open(document(sealed))
    assert opened.value["api_key"] == CANARY
    assert CANARY not in repr(opened)
    assert CANARY not in repr(document(TEXT.encode()))
    assert "AGE-SECRET" not in repr(Identities((keys[0],)))


def test_prints_tell_changed_from_resealed(sops: Sops, sealed: bytes, opener: Opener) -> None:
    """Equal secrets have equal prints under one key, in whichever file; another key tells nothing."""
    again = sops.seal(TEXT.replace("t2", "t3"), **RULES["encrypted_regex"])
    ours, theirs = (opener.open(document(data)) for data in (sealed, again))
    first, second = ours.prints(b"k"), theirs.prints(b"k")
    assert {pointer for pointer in first if first[pointer] != second[pointer]} == {("token",)}
    assert set(first) == ours.sealed
    assert not set(first.values()) & set(ours.prints(b"other").values())
    assert CANARY.encode() not in b"".join(first.values())


def test_an_unsealed_document_opens_to_itself(opener: Opener) -> None:
    """Without ``sops:`` there is nothing to open."""
    opened = opener.open(document(b"name: x\n"))
    assert (opened.value, opened.sealed) == ({"name": "x"}, frozenset())


@pytest.fixture(scope="module")
def texts(sops: Sops) -> list[bytes]:
    """One sealed file for each text that resembles another type."""
    samples = ("42", "007", "-0", "True", "1", "1.5", "1.50", "1e3", "x", "2024-01-02T03:04:05Z")
    return [sops.seal(f"list: ['{text}', b]\n") for text in samples]


@pytest.mark.parametrize("kind", ["int", "float", "bool", "bytes", "time", "comment", "other"])
async def test_a_changed_type_tag_is_read_as_sops_reads_it(
    sops: Sops, opener: Opener, texts: list[bytes], kind: str
) -> None:
    """Nothing but the MAC guards a type tag: "42" may become 42 (the schema's strict types then refuse)."""
    for sealed in texts:
        changed = sealed.replace(b"type:str", f"type:{kind}".encode(), 1)
        theirs = sops.open(changed)
        try:
            ours = (await opener.open_surely(document(changed))).value
        except SealError:
            ours = None
        assert same(ours, theirs)


def test_a_damaged_wrapped_key_opens_nothing(sealed: bytes, opener: Opener) -> None:
    """Any changed character of the armored data key: refused, by whichever name."""
    start = sealed.index(b"FILE-----") + len(b"FILE-----") + 13
    for at in range(start, sealed.index(b"-----END"), 7):
        flipped = b"B" if sealed[at : at + 1] == b"A" else b"A"
        with pytest.raises((SealError, InvalidManifests)):
            opener.open(document(sealed[:at] + flipped + sealed[at + 1 :]))
