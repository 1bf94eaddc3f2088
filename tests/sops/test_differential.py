"""Opening in process against the real sops, both ways: what it sealed opens alike, or not at all."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentsd.core.errors import AgentsdError, SealError, SealLocked, SealUnsure
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.sops.real import RULES, Sops, document, same

BOUNDED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

EVERY_TYPE = """\
# a comment at the top
text: hello
empty: ""
nothing: null
no_map: {}
no_list: []
yes: yes
truth: true   # a comment on the line
lie: False
whole: 42
negative: -7
big: 9223372036854775807
octal: 017
ratio: 3.14159
round: 1.0
tiny: 5e-324
huge: 1.7976931348623157e+308
unicode: "Grüße, 世界 🎙"
"key: with: colons": "a:b"
block: |
  line one

  line two
api_key: gsk_1
name: Support
nested:
  # a comment within
  token: t
  name_plain: p
  deep:
    x_secret: [one, 2, 3.5, true, {k: v}]
list:
  - a
  # sealed below
  - b
  - # plain below
    c: d
# sealed below, plain below
last: end
# a comment at the end
"""


def opened(opener: Opener, data: bytes) -> dict[str, Any] | None:
    """What open gives, or None where it refuses."""
    try:
        return opener.open(document(data)).value
    except SealError:
        return None


@pytest.mark.parametrize("mac_only", [False, True])
@pytest.mark.parametrize("rule", RULES)
async def test_every_type_under_every_rule(sops: Sops, opener: Opener, rule: str, mac_only: bool) -> None:
    """Each type, comments everywhere, every rule, both MACs: the values are the ones that sops reads."""
    data = sops.seal(EVERY_TYPE, mac_only_encrypted=mac_only, **RULES[rule])
    theirs = sops.open(data)
    assert theirs is not None
    assert same((await opener.open_surely(document(data))).value, theirs)
    if "comment" in rule:
        with pytest.raises(SealUnsure):
            opener.open(document(data))
    else:
        assert same(opener.open(document(data)).value, theirs)


async def test_both_ways_name_the_same_sealed_leaves(sops: Sops, opener: Opener) -> None:
    """In process and by the real sops, the same pointers are reported as sealed."""
    data = sops.seal(EVERY_TYPE, **RULES["encrypted_regex"])
    sealed = opener.open(document(data)).sealed
    unusual = data.replace(b"\n    version: 3.11.0", b"\n    version: 3.11.0-rc.1")
    assert sealed == {
        ("api_key",), ("nested", "token"), *(("nested", "deep", "x_secret", index) for index in range(4)),
        ("nested", "deep", "x_secret", 4, "k"),
    }  # fmt: skip
    with pytest.raises(SealUnsure):
        opener.open(document(unusual))
    assert (await opener.open_surely(document(unusual))).sealed == sealed


def test_floats_are_written_as_go_writes_them(sops: Sops, opener: Opener) -> None:
    """A full MAC over float extremes, plain and sealed, agrees: shortest digits and no exponent."""
    floats = [0.1, 1e21, 1e22, 123456789.125, 1e-7, 2.5e-310, math.pi, -1e300, 4.0, 1e15 + 0.3, -0.0]
    text = "".join(
        f"k{index}_{kind}: {value!r}\n"
        for index, value in enumerate(floats)
        for kind in "ab"
        if (value, kind) != (0, "b")  # sops writes a plain -0.0 as -0 and then refuses its own MAC
    )
    data = sops.seal(text, encrypted_suffix="_a")
    value = opener.open(document(data)).value
    assert [value[f"k{index}_a"] for index in range(len(floats))] == floats


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=12)
    | st.sampled_from(["", "yes", "1e3", "null", "ENC[", "017", "a\nb", "x: y", "# no", "2024-01-02", "\t"])
)
names = st.sampled_from(
    ["api_key", "name", "token", "a_secret", "a_plain", "Name", "x", "y:z", "ü", "1", "sopsy", "_unencrypted"]
)
trees = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda node: st.lists(node, max_size=3) | st.dictionaries(names, node, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=5,
)
plain_rules = st.sampled_from([rule for rule in RULES if "comment" not in rule])


@BOUNDED
@given(tree=trees, rule=plain_rules, mac_only=st.booleans())
def test_random_trees_come_back(
    sops: Sops, opener: Opener, tree: dict[str, Any], rule: str, mac_only: bool
) -> None:
    """Any tree that sops seals opens to what sops reads, in process."""
    data = sops.seal(json.dumps(tree, ensure_ascii=False), mac_only_encrypted=mac_only, **RULES[rule])
    theirs = sops.open(data)
    if theirs is None:  # a plain -0.0 under a full MAC: sops refuses its own file
        assert opened(opener, data) is None
    else:
        assert same(opener.open(document(data)).value, theirs)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_one_of_several_recipients_opens(sops: Sops, keys: list[Any], count: int) -> None:
    """Each recipient alone opens the file; a stranger does not."""
    data = sops.seal("api_key: k\n", age=",".join(sops.recipients[:count]))
    for key in keys[:count]:
        assert Opener(Identities((key,))).open(document(data)).value == {"api_key": "k"}
    with pytest.raises(SealLocked):
        Opener(Identities((keys[3],))).open(document(data))
    with pytest.raises(SealLocked):
        Opener(Identities()).open(document(data))


@pytest.mark.parametrize("held", [(0,), (2,), (0, 1), (0, 2), (1, 2), (2, 0, 1)])
def test_two_of_three_key_groups(sops: Sops, keys: list[Any], held: tuple[int, ...]) -> None:
    """Shamir's sharing: any two of three groups open the file, one does not."""
    groups = [{"age": [recipient]} for recipient in sops.recipients[:3]]
    data = sops.seal("api_key: k\nn: 1\n", key_groups=groups, shamir_threshold=2)
    opener = Opener(Identities(tuple(keys[index] for index in held)))
    if len(held) < 2:
        with pytest.raises(SealLocked):
            opener.open(document(data))
    else:
        assert opener.open(document(data)).value == {"api_key": "k", "n": 1}


edits = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.sampled_from(["flip", "cut", "repeat", "swap", "insert"]),
        st.sampled_from("Az09+/=:, -\n#"),
    ),
    min_size=1,
    max_size=2,
)


def edited(data: bytes, place: int, how: str, character: str) -> bytes:
    """``data`` with one character or line changed."""
    lines = data.split(b"\n")
    line = place % len(lines)
    if how == "cut":
        del lines[line]
    elif how == "repeat":
        lines.insert(line, lines[line])
    elif how == "swap":
        other = (line * 7 + 3) % len(lines)
        lines[line], lines[other] = lines[other], lines[line]
    else:
        at = place % len(data)
        return data[:at] + character.encode() + data[at + (how == "flip") :]
    return b"\n".join(lines)


@pytest.fixture(scope="module")
def victims(sops: Sops) -> list[bytes]:
    text = "name: Support\napi_key: gsk_1\nlist_secret: [a, b]\nn: 1\nllm:\n  token: t\n  url: https://x\n"
    return [
        sops.seal(text, mac_only_encrypted=mac_only, **RULES[rule])
        for rule in ("none", "encrypted_regex", "unencrypted_suffix")
        for mac_only in (False, True)
    ]


@settings(BOUNDED, max_examples=150)
@given(which=st.integers(0, 5), changes=edits)
def test_edited_files_open_exactly_where_sops_opens_them(
    sops: Sops, opener: Opener, victims: list[bytes], which: int, changes: list[tuple[int, str, str]]
) -> None:
    """After any edit, a file opens where sops opens it, with the same values, and nowhere else."""
    data = victims[which]
    for change in changes:
        data = edited(data, *change)
    try:
        file = document(data)
    except AgentsdError:
        return  # outside the manifest limits
    if "sops" not in file.value:
        return
    ours = opened(opener, data)
    if ours is not None:
        assert same(ours, sops.open(data))
    elif (theirs := sops.open(data)) is not None:
        assert same(asyncio.run(opener.open_surely(file)).value, theirs)
