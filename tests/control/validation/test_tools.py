"""Tools of a manifest: what is wrong with one is a violation at its line, before anything is stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentsd.control.importers.tool_lock import format_lock
from agentsd.control.validation.validate import validate_tree
from agentsd.core.manifest.agent import AgentHead
from agentsd.core.manifest.tool_checks import find_misdirected_tokens
from agentsd.core.manifest.tool_lock import PinnedTool, ServerTool
from agentsd.core.violations import Violation
from agentsd.files.tree import read_tree
from tests.control.place import make_checker, uid
from tests.runtime.world import Keys

HEAD = f"id: {uid(1)}\nllm:\n  provider: echo.local\ntools:\n"
GOOD = """\
  - name: order_status
    description: Looks an order up by its number.
    parameters:
      order_id: {type: string, pattern: '^\\d{6}$', description: Six digits.}
      language: {type: string, default: en}
    http:
      url: https://erp.example.com/orders/{order_id}?lang={language}
      query: {fields: state}
      headers: {X-Team: "support {language}"}
    timeout_seconds: 5
    say: One moment.
    on_interrupt: cancel
  - name: open_page
    client: true
    parameters: {path: {type: string}}
  - name: refund
    parameters: {order_id: {type: string}, amount: {type: number}}
    http:
      method: POST
      url: https://erp.example.com/refunds
      body: {order: {id: "{order_id}"}, cents: "{amount}"}
    confirm: true
  - mcp:
      url: https://mcp.example.com/mcp
      allow: [search_docs]
"""


async def found_in(
    root: Path, text: str, keys: Keys | None = None, trusted: str = ""
) -> tuple[Violation, ...]:
    """What is wrong with a tree of one file."""
    root.mkdir(exist_ok=True)
    (root / "a.yaml").write_text(text)
    checker = make_checker(keys, trusted=frozenset(filter(None, [trusted])))
    return await validate_tree(read_tree(root), checker)


async def test_what_fits_is_valid(tmp_path: Path) -> None:
    """All three kinds, in a manifest and in the runtime's own model."""
    root = tmp_path / "agents.d"
    root.mkdir()
    pinned = {"search_docs": PinnedTool(ServerTool("search_docs", "Searches."))}
    (root / "_tools.lock.yaml").write_text(format_lock({"https://mcp.example.com/mcp": pinned}))
    assert await found_in(root, HEAD + GOOD + "tool_rounds: 3\n") == ()


HTTP = "  - name: t\n    http: {url: 'https://a.example/x'}\n"
BAD = {
    "a name twice": (HTTP + HTTP, "tool-name", 7, 11),
    "no name": ("  - http: {url: 'https://a.example/x'}\n", "missing-key", 5, 5),
    "a name that no model can call": (HTTP.replace("name: t", "name: a b"), "invalid-value", 5, 11),
    "neither a request nor the client": ("  - name: t\n", "missing-key", 5, 5),
    "client: false": ("  - {name: t, client: false}\n", "invalid-value", 5, 23),
    "an unknown key": (HTTP + "    sya: hello\n", "unknown-key", 7, 5),
    "a placeholder without a parameter": (HTTP.replace("/x'", "/{x}'"), "tool-placeholder", 6, 17),
    "an undeclared variable": (HTTP.replace("/x'", "/{{x}}'"), "tool-placeholder", 6, 17),
    "a stray brace": (HTTP.replace("/x'", "/{x'"), "tool-url", 6, 17),
    "a placeholder in the host": (HTTP.replace("a.ex", "{x}.ex"), "tool-url", 6, 17),
    "a placeholder in the port": (HTTP.replace("/x'", ":{x}/'"), "tool-url", 6, 17),
    "a user in the URL": (HTTP.replace("//a", "//u:p@a"), "tool-url", 6, 17),
    "a key in the URL's query": (HTTP.replace("/x'", "/x?api_key=abc'"), "tool-secret", 6, 17),
    "a fragment": (HTTP.replace("/x'", "/x#y'"), "tool-url", 6, 17),
    "a step back": (HTTP.replace("/x'", "/../x'"), "tool-url", 6, 17),
    "another scheme": (HTTP.replace("https", "file"), "invalid-value", 6, 17),
    "a body of a GET": (HTTP.replace("x'}", "x', body: {a: 1}}"), "tool-request", 6, 40),
    "a token in the query": (HTTP.replace("x'}", "x', query: {token: abc}}"), "tool-secret", 6, 48),
    "a plain credential header": (
        HTTP.replace("x'}", "x', headers: {Authorization: Bearer abc}}"), "tool-secret", 6, 50,
    ),
    "a token in the body": (
        HTTP.replace("x'}", "x', method: POST, body: {a: [{token: abc}]}}"), "tool-secret", 6, 66,
    ),
    "a host that is none": (HTTP.replace("a.ex", "a%2eex"), "tool-url", 6, 17),
    "a backslash": (HTTP.replace("/x'", "\\\\b.example/x'"), "tool-url", 6, 17),
    "a cookie": (HTTP.replace("x'}", "x', headers: {Cookie: a=b}}"), "tool-secret", 6, 50),
    "the host": (HTTP.replace("x'}", "x', headers: {Host: b.example}}"), "tool-header", 6, 50),
    "a line break in a header": (
        HTTP.replace("x'}", 'x\', headers: {X-A: "a\\r\\nb"}}'), "tool-header", 6, 50,
    ),
    "a key as a cookie": (HTTP.replace("x'}", "x', auth_header: Cookie}"), "tool-header", 6, 53),
    "a schema that is none": (HTTP + "    parameters: {x: {type: text}}\n", "tool-schema", 7, 21),
    "a schema that is a text": (HTTP + "    parameters: {x: string}\n", "tool-schema", 7, 21),
    "a schema of another document": (
        HTTP + "    parameters: {x: {$ref: 'http://b.example/s'}}\n", "tool-schema", 7, 21,
    ),
    "a pattern that is none": (HTTP + "    parameters: {x: {pattern: '('}}\n", "tool-schema", 7, 21),
    "a secret's name": (HTTP + "    parameters: {api_key: {type: string}}\n", "tool-parameter", 7, 18),
    "a parameter's name": (HTTP + "    parameters: {'a b': {type: string}}\n", "tool-parameter", 7, 18),
    "a plain key": (HTTP + "    auth_token: abcdef\n", "plaintext-secret", 7, 17),
    "a plain key with its origin": (
        HTTP + "    auth_token: {value: abc, origin: 'https://a.example'}\n", "plaintext-secret", 7, 17,
    ),
    "a tool of a server twice": (
        "  - mcp: {url: 'https://m.example/', allow: [a, a]}\n", "tool-name", 5, 45,
    ),
    "a server's key in its URL": (
        "  - mcp: {url: 'https://m.example/?token=a', allow: [a]}\n", "tool-secret", 5, 16,
    ),
    "no tool of a server": ("  - mcp: {url: 'https://m.example/', allow: []}\n", "too-short", 5, 45),
    "a name of a server": (
        "  - {name: a, mcp: {url: 'https://m.example/', allow: [a]}}\n", "unknown-key", 5, 6,
    ),
    "rounds without end": (HTTP + "tool_rounds: 0\n", "out-of-range", 7, 14),
    "null": (HTTP + "    say: ~\n", "null-value", 7, 10),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_has_its_line_and_column(tmp_path: Path, case: str) -> None:
    """One violation, with a hint, and without a quotation of what may be a secret."""
    text, code, line, column = BAD[case]
    found = await found_in(tmp_path / "agents.d", HEAD + text)
    assert code in {one.code for one in found}
    [violation] = [one for one in found if one.code == code][:1]
    assert (violation.line, violation.column) == (line, column)
    assert violation.hint or code in ("invalid-value", "missing-key", "out-of-range")
    assert "abc" not in str(found)


async def test_a_sealed_value_outside_of_a_key_is_refused(tmp_path: Path, keys: Keys) -> None:
    """Nothing binds it to an origin: whoever changes the URL would get it. The runtime refuses it as well."""
    tool = "  - {name: t, http: {method: POST, url: 'https://a.example/x', body: {pin: canary-7d1f}}}\n"
    text = keys.seal(HEAD + tool, "pin")
    found = await found_in(tmp_path / "agents.d", text, keys)
    assert [(one.code, one.field) for one in found] == [("tool-secret", "tools[0].http.body.pin")]
    opened = {"tools": [{"name": "t", "http": {"url": "https://a.example/x", "body": {"pin": "plain"}}}]}
    sealed = {("tools", 0, "http", "body", "pin"): b"", ("tools", 0, "say"): b""}
    [wrong] = find_misdirected_tokens(opened, sealed, frozenset())
    assert wrong.pointer == ("tools", 0, "http", "body", "pin")


async def test_what_an_argument_fills_is_no_credential(tmp_path: Path) -> None:
    """A page's token is a member like any other."""
    tool = (
        "  - name: t\n    parameters: {page: {type: string}}\n"
        "    http: {url: 'https://a.example/x?page_token={page}', query: {token: '{page}'}}\n"
    )
    assert await found_in(tmp_path / "agents.d", HEAD + tool) == ()


SEALED = HEAD + HTTP + "    auth_token: {value: canary-7d1f, origin: 'ORIGIN'}\n"


@pytest.mark.parametrize(
    ("origin", "bad"),
    [
        ("https://a.example", False),
        ("https://A.example:443/", False),
        ("http://a.example", True),
        ("https://b.example", True),
        ("https://a.example:8443", True),
        ("a.example", True),
    ],
)
async def test_a_key_belongs_to_the_origin_that_is_sealed_with_it(
    tmp_path: Path, keys: Keys, origin: str, bad: bool
) -> None:
    """Whoever changes the address in the plain text gets no key; with a key it is checked before a sync."""
    text = keys.seal(SEALED.replace("ORIGIN", origin), "auth_token")
    assert "canary" not in text
    assert "b.example" not in text
    found = await found_in(tmp_path / "agents.d", text, keys)
    assert [one.code for one in found] == ["secret-destination"] * bad
    if bad:
        assert found[0].field == "tools[0].http.url"
        assert "canary" not in str(found)


@pytest.mark.parametrize("what", ["values", "origins", "halves"])
async def test_keys_of_two_tools_are_not_exchanged(tmp_path: Path, keys: Keys, what: str) -> None:
    """Neither between entries of the list, nor within one: the seal of the file breaks."""
    text = keys.seal(
        HEAD
        + HTTP
        + "    auth_token: {value: canary-one, origin: 'https://a.example'}\n"
        + HTTP.replace("a.example", "b.example").replace("name: t", "name: u")
        + "    auth_token: {value: canary-two, origin: 'https://b.example'}\n",
        "auth_token",
    )
    first, second, third, fourth = re.findall(r"ENC\[AES256_GCM,[^\]]*type:str\]", text)[:4]
    pairs = {"values": (first, third), "origins": (second, fourth), "halves": (first, second)}
    one, other = pairs[what]
    swapped = text.replace(one, "HERE").replace(other, one).replace("HERE", other)
    assert swapped != text
    assert await found_in(tmp_path / "agents.d", text, keys) == ()
    found = await found_in(tmp_path / "agents.d", swapped, keys)
    assert {violation.code for violation in found} <= {"seal-tampered", "secret-destination"}
    assert found


@pytest.mark.parametrize(("trusted", "codes"), [("", ["secret-destination"]), ("https://a.example", [])])
async def test_a_bare_key_goes_to_trusted_origins_only(
    tmp_path: Path, keys: Keys, trusted: str, codes: list[str]
) -> None:
    """That needs no key to know."""
    text = keys.seal(HEAD + HTTP + "    auth_token: canary-7d1f\n", "auth_token")
    found = await found_in(tmp_path / "agents.d", text, trusted=trusted)
    assert [one.code for one in found if one.severity == "error"] == codes
    found = await found_in(tmp_path / "agents.d", text, keys, trusted)
    assert [one.code for one in found] == codes


def test_the_runtime_refuses_what_validate_refuses() -> None:
    """A row may have been written by hand."""
    tool = {"name": "t", "http": {"url": "https://a.example/{x}"}}
    with pytest.raises(ValueError, match="not a parameter"):
        AgentHead.model_validate({"tools": [tool]})
    with pytest.raises(ValueError, match="two tools"):
        AgentHead.model_validate({"tools": [{"name": "t", "client": True}] * 2})
