"""Plain YAML against the real sops: one file is read alike, or is YAML to neither."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from tests.sops.real import Sops, same


def read(sops: Sops, text: str) -> Any:
    """What sops makes of a plain file (nothing is sealed, nothing counts for the MAC); None: it refuses."""
    rule = {"encrypted_regex": "^$", "mac_only_encrypted": True}
    form = ["--input-type", "yaml", "--output-type"]
    arguments = [
        "--config",
        str(sops.config(rule)),
        "encrypt",
        *form,
        "yaml",
        "--filename-override",
        "x.yaml",
    ]
    code, sealed = sops.run(arguments, text.encode())
    if code:
        return None
    code, plain = sops.run(["decrypt", *form, "json"], sealed)
    return None if code else json.loads(plain)


numberlike = st.text("0123456789+-._eExXoObBaAfFnNiIT:Z", min_size=1, max_size=8)


@settings(max_examples=5, deadline=None)
@given(st.lists(numberlike | st.text("01b+-_ox7", min_size=1, max_size=7), min_size=150, max_size=150))
def test_number_like_scalars_are_read_as_sops_reads_them(sops: Sops, texts: list[str]) -> None:
    """Many a scalar to a file: every one that parse accepts has sops' type and value."""
    accepted: dict[str, Any] = {}
    lines = []
    for index, text in enumerate(texts):
        line = f"k{index}: {text}\n"
        try:
            accepted |= parse_document("x.yaml", line.encode()).value
        except InvalidManifests:
            continue
        lines.append(line)
    assert same(accepted, read(sops, "".join(lines)))


PIECES = [
    "a: ", "b: ", "c:\n  ", "d:\n    - ", "e: ", "f: ", "g: ", "\n", "\n", "\n  ", "\n  - ", "- ", "? ",
    "&a ", "%", "v", "w x", "1", "~", "null", '"q"', "'s'", '"a\\\n  b"', "|\n    ", ">-\n  ", "|+\n  ",
    "# c\n", " # c", "k#", "[1, 2]", "{x: 1}", "[", "]", "}", ", ", "é", "\u2028", "\x85", "\r\n", "\t",
    "... ", "x:y", "\ufeff",
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=9)


@settings(max_examples=80, deadline=None)
@given(pieces)
def test_yaml_is_read_as_sops_reads_it(sops: Sops, parts: list[str]) -> None:
    """What parse accepts, sops accepts with the same values; what is no YAML to parse is none to sops."""
    text = "".join(parts)
    try:
        ours = parse_document("x.yaml", text.encode()).value
    except InvalidManifests as error:
        if {one.code for one in error.violations} == {"yaml-syntax"}:
            assert read(sops, text) is None
        return
    assert same(ours, read(sops, text))
