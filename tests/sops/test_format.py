"""The pure parts: sealed values and their types, fingerprints, rules, shares."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.errors import SealError, SealMalformed, SealUnsure
from agentsd.sops.format import fingerprint_seals, is_whole_seal, read_seal_type
from agentsd.sops.metadata import parse_seal
from agentsd.sops.opener import Opener
from agentsd.sops.rules import parse_rule
from agentsd.sops.shamir import combine_shares
from tests.sops.real import RULES, Sops, document

VALUE = (
    "ENC[AES256_GCM,data:TxVZ,iv:1eLH86PZvMVmG6TCzP5X3NfJQ+hSeR0952HK1Xh2cWQ=,"
    "tag:Z0FKbk1vljt2hRLAVYi33w==,type:str]"
)


@pytest.mark.parametrize("kind", ["str", "int", "float", "bool", "bytes", "time", "comment"])
def test_a_sealed_value_tells_its_type(kind: str) -> None:
    """The type tag of a whole sealed value."""
    assert is_whole_seal(VALUE.replace("type:str", f"type:{kind}"))
    assert read_seal_type(VALUE.replace("type:str", f"type:{kind}")) == kind


@pytest.mark.parametrize(
    "value",
    [
        "", "ENC[", "gsk_1", None, 1, True, [VALUE], {"a": VALUE}, VALUE + "x", " " + VALUE, VALUE[:-1],
        VALUE.replace("type:str", "type:secret"), VALUE.replace("data:TxVZ", "data:"),
        "ENC[AES256_GCM,data:mine]",
    ],
)  # fmt: skip
def test_anything_else_is_plain(value: object) -> None:
    """A value that only resembles a sealed one could be a plaintext secret."""
    assert not is_whole_seal(value)
    assert read_seal_type(value) is None


def test_fingerprints_survive_another_spelling(sops: Sops) -> None:
    """Every sealed value and wrapped key has one; another type, key or white space does not hide it."""
    rule = {**RULES["encrypted_regex"], "age": ",".join(sops.recipients[:2])}
    data = sops.seal("api_key: k\nx: [{token: t}]\nname: n\n", **rule)
    prints = fingerprint_seals(document(data))
    assert len(prints) == 4
    assert all(len(one) == 16 for one in prints)
    respelt = data.replace(b"type:str]\nx", b"type:bytes] junk\ny").replace(b"enc: |", b"enc: |2-")
    respelt = re.sub(rb"(?m)^( +)(-----BEGIN.*)$", rb"\1\n\1\2", respelt)
    assert fingerprint_seals(document(respelt)) == prints
    assert not prints & fingerprint_seals(document(sops.seal("api_key: k\n", **RULES["encrypted_regex"])))
    assert fingerprint_seals(document(b"name: x\n")) == frozenset()


def test_fingerprints_of_key_groups_and_other_keys(sops: Sops) -> None:
    """Wrapped keys inside key groups, and those of key services, are seals as well."""
    groups = [{"age": [recipient]} for recipient in sops.recipients[:3]]
    data = sops.seal("a: ''\n", key_groups=groups, shamir_threshold=2)
    assert len(fingerprint_seals(document(data))) == 3
    other = b"a: 1\nsops: {kms: [{arn: x, enc: AQID}], pgp: [{fp: y, enc: '-----BEGIN PGP'}]}\n"
    assert len(fingerprint_seals(document(other))) == 2


patterns = [
    "^api_key$", "^(a|b)$", "a", "a.b", "[ab]k", "[^a]k", "^[a-k]+$", "k$", "(?i)KS", "a|k$", "^$", ".*k",
    "a?b",
    r"a\.b", "(?:ab|ba)s", "_$", "^a.+s$", "[a-k_.]x", "(?i)^[^s]$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", patterns)
def test_patterns_are_read_as_re2_reads_them(sops: Sops, opener: Opener, pattern: str) -> None:
    """The same keys are sealed as in the real sops, newlines and other alphabets included."""
    keys = [
        "a",
        "k",
        "ab",
        "ba",
        "abs",
        "bas",
        "a.b",
        "aXb",
        "ks",
        "KS",
        "Ks",
        "api_key",
        "xapi_key",
        "_",
        "S",
        "s",
    ]
    keys += ["k\n", "a\nb", "é", "ék", "ak", "bk", "acs", "x", "kx", "_x", ".x", "1", "sopS", "A", "", "a b"]
    data = sops.seal(json.dumps(dict.fromkeys(keys, "v")), encrypted_regex=pattern)
    opened = opener.open(document(data))
    assert opened.value == dict.fromkeys(keys, "v")
    assert opened.sealed


@pytest.mark.parametrize(
    "pattern",
    [
        r"\bkey\b", r"\pL", r"[[:alpha:]]", "(?s).", r"\Qa\E", "(a+)+$", "(a*)*b", ".*.*.*x", "a{2}", "a**",
        "(?P<n>a)", "x(?=y)", r"\d", "é", "a++", "(", "[", "[z-a]", r"\z", "*", "(?i)(?i)a", "a(?i)b", "^*",
    ],
)  # fmt: skip
def test_other_patterns_are_left_to_the_real_sops(pattern: str) -> None:
    """Nothing is guessed, and nothing that could take exponential time is tried."""
    with pytest.raises(SealUnsure):
        parse_rule({"encrypted_regex": pattern})


@pytest.mark.parametrize("key", ["\u017f", "\u212a", "a" * 200])
def test_keys_that_fold_or_are_long_are_left_to_the_real_sops(key: str) -> None:
    """ſ and the kelvin sign are s and k to RE2."""
    with pytest.raises(SealUnsure):
        parse_rule({"encrypted_regex": "(?i)^[sk]$"}).hit(key)


@pytest.mark.parametrize(
    "block",
    [
        None, 1, "x", [], {}, {"age": []}, {"age": "x"}, {"age": [1]}, {"age": [{"enc": 1}]},
        {"key_groups": [1]},
        {"age": [{"enc": "x"}]}, {"mac": 1}, {"version": 3.1}, {"future": 1}, {"shamir_threshold": "2"},
        {"mac_only_encrypted": "yes"}, {"encrypted_regex": 1}, {"encrypted_regex": "a",
        "encrypted_suffix": "b"},
        {"lastmodified": None}, {"lastmodified": "2026-02-30T00:00:00Z"}, {"lastmodified": "x"},
        {"mac": None},
        {"key_groups": [{"age": None}]}, {"key_groups": [{"age": [{}]}]}, {"age": {"enc": "x"}},
    ],
)  # fmt: skip
def test_odd_seals_are_refused(opener: Opener, block: Any) -> None:
    """A seal of another shape is malformed or left to the real sops, never a crash."""
    good = {"version": "3.11.0", "mac": "x", "lastmodified": "2026-01-01T00:00:00Z", "age": [{"enc": "x"}]}
    block = {**good, **block} if isinstance(block, dict) else block
    with pytest.raises(SealError):
        opener.open(document(json.dumps({"a": "b", "sops": block}).encode()))


def test_two_rules_are_malformed() -> None:
    """sops takes one rule at most; an empty one is none."""
    with pytest.raises(SealMalformed):
        parse_rule({"encrypted_regex": "a", "unencrypted_suffix": "b"})
    rule = parse_rule({"encrypted_regex": "", "unencrypted_suffix": "b"})
    assert (rule.sealed, rule.hit("ab"), rule.hit("ba")) == (False, True, False)


fields = st.sampled_from(["age", "enc", "mac", "kms", "key_groups", "version", "lastmodified"])
blocks = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda node: st.lists(node, max_size=3) | st.dictionaries(fields, node, max_size=4),
    max_leaves=8,
)


@given(blocks)
def test_no_seal_crashes(block: Any) -> None:
    """Whatever stands under ``sops``, the answer is a SealError or a seal."""
    with contextlib.suppress(SealError):
        parse_seal({"sops": block})


def split(secret: bytes, coefficients: list[bytes], xs: list[int]) -> list[bytes]:
    """Shares of ``secret`` by the polynomial whose higher coefficients are given."""

    def times(a: int, b: int) -> int:
        product = 0
        for bit in range(8):
            if b >> bit & 1:
                product ^= a << bit
        for bit in range(14, 7, -1):
            if product >> bit & 1:
                product ^= 0x11B << (bit - 8)
        return product

    shares = []
    for x in xs:
        share = bytearray()
        for place, byte in enumerate(secret):
            value, power = byte, x
            for coefficient in coefficients:
                value ^= times(coefficient[place], power)
                power = times(power, x)
            share.append(value)
        shares.append(bytes([*share, x]))
    return shares


@given(
    secret=st.binary(min_size=1, max_size=32),
    threshold=st.integers(2, 5),
    xs=st.lists(st.integers(1, 255), min_size=5, max_size=8, unique=True),
    data=st.data(),
)
def test_enough_shares_make_the_secret(
    secret: bytes, threshold: int, xs: list[int], data: st.DataObject
) -> None:
    """Any ``threshold`` or more shares, in any order."""
    size = len(secret)
    coefficients = data.draw(
        st.lists(st.binary(min_size=size, max_size=size), min_size=threshold - 1, max_size=threshold - 1)
    )
    shares = data.draw(st.permutations(split(secret, coefficients, xs)))
    assert combine_shares(shares[:threshold]) == secret
    assert combine_shares(shares) == secret


@pytest.mark.parametrize("shares", [[], [b"ab"], [b"ab", b"abc"], [b"a", b"b"], [b"ab", b"cb"]])
def test_shares_that_do_not_fit(shares: list[bytes]) -> None:
    """Too few, unequal, too short, or one twice."""
    with pytest.raises(ValueError, match="share"):
        combine_shares(shares)
