"""What an edit changes in a text, and what it leaves alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from agentsd.files.yaml.blocks import CannotEdit
from agentsd.files.yaml.edit import update_text
from agentsd.files.yaml.emitter import dump_value, is_same_value
from tests.files.texts import HOSTILE, Author, documents, edited, randoms, values
from tests.sops.conftest import keys, sops
from tests.sops.real import Sops
from tests.sops.real import same as same_as_sops

__all__ = ["keys", "sops"]  # fixtures

MANIFEST = """\
# yaml-language-server: $schema=../schemas/agent.schema.json
# For the front desk.
id: 1e2d3c4b-5a69-4788-96a5-b4c3d2e1f004
name:   "Support"   # shown in lists
# who it is for
description: 'First line'
default: true

system_prompt: |  # reviewed
    You are patient.

    Ask.
greeting: Hello

# speech
tts:
  provider: async.ai   # vendor
  # never in plain
  api_key: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]
  voice_id: e7b

tags: [a, "b",   c]  # kept in order
pause: {short: 1, long: {ms: 900}}
limits: {
  calls: 1,  # at once
  minutes: 2   # each
}

checks:                       # agentsd test
  - say: Hello
    contains: "You said: Hello"

  # the second
  - say: Bye
    contains: Bye
sources:
  - a.md  # first
  - b.md
note: >-
  folded
  text
sops:
  mac: ENC[AES256_GCM,data:m,iv:y,tag:z,type:str]
  age:
    - enc: |
        -----BEGIN-----
"""


def changed(text: str, edit: Callable[[dict[str, Any]], object]) -> tuple[str, str]:
    """(lines that went, lines that came) when ``edit`` changes the value in place."""
    value = parse_document("", text.encode()).value
    edit(value)
    out = update_text(text, value)
    assert is_same_value(parse_document("", out.encode()).value, value)
    before, after = text.splitlines(), out.splitlines()
    gone = [line for line in before if before.count(line) > after.count(line)]
    come = [line for line in after if after.count(line) > before.count(line)]
    return "\n".join(dict.fromkeys(gone)), "\n".join(dict.fromkeys(come))


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Sets path[:-1] to the last of ``path``."""

    def edit(value: Any) -> None:
        for part in path[:-2]:
            value = value[part]
        value[path[-2]] = path[-1]

    return edit


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def edit(value: Any) -> None:
        for part in path[:-1]:
            value = value[part]
        del value[path[-1]]

    return edit


@pytest.mark.parametrize(
    ("edit", "gone", "come"),
    [
        (put("default", False), "default: true", "default: false"),
        (drop("default"), "default: true", ""),
        (
            put("name", 'Front "desk"'),
            'name:   "Support"   # shown in lists',
            'name:   "Front \\"desk\\""   # shown in lists',
        ),
        (put("description", "It's: x"), "description: 'First line'", "description: 'It''s: x'"),
        (put("greeting", "Hello: you"), "greeting: Hello", 'greeting: "Hello: you"'),
        (put("greeting", "Hi\nyou"), "greeting: Hello", "greeting: |-\n  Hi\n  you"),
        (
            put("name", "a\nb\n"),
            'name:   "Support"   # shown in lists',
            "name: |   # shown in lists\n  a\n  b",
        ),
        (put("system_prompt", "You are kind.\n\nAsk.\n"), "    You are patient.", "    You are kind."),
        (put("system_prompt", "You are patient.\n\nAsk.\nWait.\n"), "", "    Wait."),
        (
            put("system_prompt", "You are patient.\n\nAsk."),
            "system_prompt: |  # reviewed",
            "system_prompt: |-  # reviewed",
        ),
        (drop("description"), "# who it is for\ndescription: 'First line'", ""),
        (
            drop("tts", "api_key"),
            "  # never in plain\n  api_key: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]",
            "",
        ),
        (put("tts", "speed", 1.5), "", "  speed: 1.5"),
        (
            put("stt", {"type": "x", "n": [1, {"a": "b"}]}),
            "",
            "stt:\n  type: x\n  n:\n    - 1\n    - a: b",
        ),
        (
            lambda value: value["tags"].append("d e"),
            'tags: [a, "b",   c]  # kept in order',
            'tags: [a, "b",   c, d e]  # kept in order',
        ),
        (put("tags", ["a", "c"]), 'tags: [a, "b",   c]  # kept in order', "tags: [a, c]  # kept in order"),
        (
            put("pause", "long", "ms", "a\nb"),
            "pause: {short: 1, long: {ms: 900}}",
            'pause: {short: 1, long: {ms: "a\\nb"}}',
        ),
        (
            put("pause", "x", {"y": [True]}),
            "pause: {short: 1, long: {ms: 900}}",
            "pause: {short: 1, long: {ms: 900}, x: {y: [true]}}",
        ),
        (put("limits", "days", 3), "  minutes: 2   # each", "  minutes: 2,   # each\n  days: 3"),
        (drop("limits", "minutes"), "  calls: 1,  # at once\n  minutes: 2   # each", "  calls: 1  # at once"),
        (drop("limits", "calls"), "  calls: 1,  # at once", ""),
        (put("sources", 0, "c.md"), "  - a.md  # first", "  - c.md  # first"),
        (lambda value: value["sources"].insert(1, "c.md"), "", "  - c.md"),
        (drop("sources", 0), "  - a.md  # first", ""),
        (put("checks", 0, "contains", "Hi"), '    contains: "You said: Hello"', '    contains: "Hi"'),
        (lambda value: value["checks"].append({"say": "Thanks"}), "", "  - say: Thanks"),
        (drop("checks", 1, "say"), "  - say: Bye\n    contains: Bye", "  - contains: Bye"),
        (
            put("checks", {"a": 1}),
            '\n  - say: Hello\n    contains: "You said: Hello"\n  # the second\n'
            "  - say: Bye\n    contains: Bye",
            "  a: 1",
        ),
        (put("note", "short"), "note: >-\n  folded\n  text", "note: |-\n  short"),
        (put("sources", []), "sources:\n  - a.md  # first\n  - b.md", "sources: []"),
    ],
)
def test_what_people_do(edit: Callable[[dict[str, Any]], object], gone: str, come: str) -> None:
    """One edit, and the lines that differ: no others do. In files with CRLF, too."""
    assert changed(MANIFEST, edit) == (gone, come)
    assert changed(MANIFEST.replace("\n", "\r\n"), edit) == (gone, come)


def test_new_keys_stand_where_they_belong() -> None:
    """Behind the key that precedes them in the value, and never behind ``sops``."""
    value = parse_document("", MANIFEST.encode()).value
    out = update_text(MANIFEST, {"name": "Support", "language": "de", **value, "last": 1})
    lines = out.splitlines()
    assert lines[lines.index("language: de") - 1].startswith("name:")
    assert lines[lines.index("last: 1") + 1] == "sops:"


def test_a_section_goes_with_what_is_its_own() -> None:
    """Its comments and one of the blank lines around it; the head of the file stays."""
    value = parse_document("", MANIFEST.encode()).value
    before, _, rest = MANIFEST.partition("# speech\n")
    after = rest[rest.index("tags:") :]
    assert (
        update_text(MANIFEST, {name: one for name, one in value.items() if name != "tts"}) == before + after
    )
    out = update_text(MANIFEST, {name: one for name, one in value.items() if name != "id"})
    assert out == MANIFEST.replace("id: 1e2d3c4b-5a69-4788-96a5-b4c3d2e1f004\n", "")


def test_sections_apart_stay_apart() -> None:
    """Where blank lines part the sections of a file, a new one gets its own."""
    text = "name: x\n\nllm:\n  provider: a\n\ntts:\n  provider: b\n"
    value = parse_document("", text.encode()).value
    assert update_text(text, {**value, "stt": {"provider": "c"}}) == text + "\nstt:\n  provider: c\n"
    assert update_text(text, {**value, "language": "de"}) == text + "language: de\n"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("", {"a": 1}, "a: 1\n"),
        ("# head\n---\n# c", {"a": 1}, "# head\n---\n# c\na: 1\n"),
        ("a: 1", {"a": 2}, "a: 2"),
        ("a: 1", {"a": 1, "b": 2}, "a: 1\nb: 2\n"),
        ("a:", {"a": 2}, "a: 2"),
        ("a: |\n  x", {"a": "x", "b": 1}, "a: |-\n  x\nb: 1\n"),
        ("a: |\n  x", {"a": "y\n"}, "a: |\n  y\n"),
        ("\ufeffa: 1\n", {"a": 2}, "\ufeffa: 2\n"),
        ("---\na: 1\n...\n", {"a": 1, "b": [2]}, "---\na: 1\nb:\n  - 2\n...\n"),
        (
            '{"a": 1, "b": "x"}\n',
            {"a": 1, "b": "y", "c": {"d": "e"}},
            '{"a": 1, "b": "y", "c": {"d": "e"}}\n',
        ),
        ("{}\n", {"a": {"b": 1}}, "a:\n  b: 1\n"),
        ("a: 1\nb: 2\n", {}, "{}\n"),
        ("a: {}\n", {"a": {"b": {"c": 1}}}, "a:\n  b:\n    c: 1\n"),
        ("l:\n- a\n- b\n", {"l": ["a", "c", "b"], "m": [1]}, "l:\n- a\n- c\n- b\nm:\n- 1\n"),
        ("a:\n    b: 1\n", {"a": {"b": 1}, "c": {"d": 1}}, "a:\n    b: 1\nc:\n    d: 1\n"),
        ("l:\n  - - a\n    - b\n  - c\n", {"l": [["b"], "c"]}, "l:\n  - - b\n  - c\n"),
        ("l:\n  - a: 1\n    # b\n    b: 2\n", {"l": [{"b": 2}]}, "l:\n  -\n    # b\n    b: 2\n"),
        ("a: {b, c: 1}\n", {"a": {"b": 2, "c": 1}}, "a: {b: 2, c: 1}\n"),
        ("? a\n: 1\nb: 2\n", {"a": 1, "b": 3}, "a: 1\nb: 3\n"),
        ("a: |+\n  x\n\n\nb: 1\n", {"a": "x\n\n\n", "c": 0, "b": 1}, "a: |+\n  x\n\n\nc: 0\nb: 1\n"),
        ("a: |\n  x\n\nb: 1\n", {"a": "x\n", "c": 0, "b": 1}, "a: |\n  x\nc: 0\n\nb: 1\n"),
    ],
)
def test_corners(text: str, value: dict[str, Any], expected: str) -> None:
    """Ends of files, odd styles, the file's own way to indent."""
    assert update_text(text, value) == expected
    assert is_same_value(parse_document("", expected.encode()).value, value)


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 1 << 64},
        {"a": 10**5000},
        {"a": "\0"},
        {"a": "\ud800"},
        {"k" * 2000: 1},
        {"a": object()},
        {"a": b"x"},
        {1: 2},
    ],
)
def test_what_no_manifest_holds(value: dict[str, Any]) -> None:
    """Refused with a remedy; nothing else comes out."""
    with pytest.raises(CannotEdit) as caught:
        update_text("a: 1\n", value)
    assert caught.value.hint


def test_too_deep_and_too_large() -> None:
    """Nesting beyond what is read, a text beyond a file's size."""
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for value in (deep, "x" * (1 << 20)):
        with pytest.raises(CannotEdit):
            update_text("a: 1\n", {"a": value})


def test_what_is_no_manifest() -> None:
    """The text itself is at fault, and says where."""
    for text in ("a: [", "- a\n", "x\n", "a: *b\n"):
        with pytest.raises(InvalidManifests):
            update_text(text, {"a": 1})


@settings(max_examples=150, deadline=None)
@given(documents, randoms, st.lists(values, min_size=1, max_size=4))
def test_any_text_takes_any_value(value: dict[str, Any], random: Random, fresh: list[Any]) -> None:
    """It reads as the new value; what did not change at the top level keeps its bytes; no change is none."""
    text = Author(random).document(value)
    assume(_reads_as(text, value))
    assert update_text(text, value) == text
    new = edited(random, value, fresh)
    assume(isinstance(new, dict))
    out = update_text(text, new)
    assert _reads_as(out, new)
    assert update_text(out, new) == out
    for name, item in value.items():
        if re.fullmatch("[a-z]+", name) and name in new and is_same_value(item, new[name]):
            assert _own_lines(text, name) in out


def _reads_as(text: str, value: Any) -> bool:
    try:
        return is_same_value(parse_document("", text.encode()).value, value)
    except InvalidManifests:
        return False


def _own_lines(text: str, name: str) -> str:
    """The line of a key in block style, and those right below that stand further in."""
    found = re.search(rf"^{name} ?:.*(\r?\n +[^ #\r\n].*)*", text, re.MULTILINE)
    return found[0] if found else ""


@settings(max_examples=25, deadline=None)
@given(documents, documents, randoms)
def test_any_value_replaces_any_other(value: dict[str, Any], new: dict[str, Any], random: Random) -> None:
    """Also where the two have nothing in common."""
    text = Author(random).document(value)
    assume(_reads_as(text, value))
    assert _reads_as(update_text(text, new), new)
    assert _reads_as(dump_value(new), new)


def read_by_sops(sops: Sops, text: str) -> Any:
    """What the real sops reads; its own YAML output is not used, as it loses texts that begin with a tab."""
    config = str(sops.config({"encrypted_regex": "^nothing at all$", "mac_only_encrypted": True}))
    form = ["--input-type", "yaml", "--output-type", "json", "--filename-override", "x.yaml"]
    code, out = sops.run(["--config", config, "encrypt", *form], text.encode())
    assert code == 0, text
    value = json.loads(out)
    del value["sops"]
    return value


def test_hostile_texts_are_read_alike_by_sops(sops: Sops) -> None:
    """Every text, in the place of each style of scalar, in lists, in braces, as a key."""
    text, value = "f: {a: 1}\n", {}
    for number, hostile in enumerate(HOSTILE):
        text += (
            f"s{number}: 'x' # c\nd{number}: \"x\"\np{number}: x\nb{number}: |\n  x\n\nk{number}: |+\n  x\n\n"
        )
        value |= {f"{style}{number}": hostile for style in "sdpbk"}
    value |= {
        "f": {"a": 1, "t": HOSTILE},
        "l": HOSTILE,
        "n": [{"a": one, "b": {"c": one}} for one in HOSTILE],
    }
    value["names"] = {one: 1 for one in HOSTILE if len(one) < 900}
    assert same_as_sops(
        parse_document("", update_text(text, value).encode()).value,
        read_by_sops(sops, update_text(text, value)),
    )
    assert same_as_sops(value, read_by_sops(sops, dump_value(value)))


@settings(max_examples=15, deadline=None)
@given(documents, randoms, st.lists(values, min_size=1, max_size=4))
def test_random_edits_are_read_alike_by_sops(
    sops: Sops, value: dict[str, Any], random: Random, fresh: list[Any]
) -> None:
    """Go's YAML sees in the new text what we see."""
    text = Author(random).document(value)
    assume(_reads_as(text, value))
    new = edited(random, value, fresh)
    assume(isinstance(new, dict) and new and "sops" not in new)
    out = update_text(text, new)
    assert same_as_sops(parse_document("", out.encode()).value, read_by_sops(sops, out))


def test_the_shipped_manifests(tmp_path: Path) -> None:
    """Every manifest of the repository: a new prompt changes the prompt's lines only."""
    files = list(Path(__file__).parents[3].glob("agents.d/**/[!_]*.yaml"))
    assert files
    for file in files:
        text = file.read_text()
        value = parse_document("", text.encode()).value
        out = update_text(text, {**value, "system_prompt": "Be brief.\nBe kind.\n"})
        prompt = re.compile(r"system_prompt: \|\n(  .*\n)+")
        assert prompt.sub("", out) == prompt.sub("", text)
