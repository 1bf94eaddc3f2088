"""What one user of many could do to all others: what costs far more than it weighs.

No test asserts on time: each would run for minutes, or for ever, where its bound is missing.
"""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import pytest

from agentsd.core.manifest.checks import Check, check_regex
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.schema_validation import Validator
from agentsd.core.violations import VIOLATIONS_MAX
from agentsd.providers.llm.echo import ANSWER_MAX, PIECES_MAX, EchoSettings, build_client
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.web.rest.agents.write import BODY_BYTES_MAX, VALUES_MAX
from tests.web.conftest import Make, Stack, echo

JSON = {"Content-Type": "application/json"}


def as_file(body: dict[str, Any]) -> BytesIO:
    """aiohttp warns of large bodies that are not."""
    return BytesIO(json.dumps(body).encode())


@pytest.fixture
async def stack(make: Make) -> Stack:
    """One agent that says what it hears; a replica that writes files."""
    one = await make(write_back="files")
    one.write("a.yaml", echo("A"))
    await one.sync()
    return one


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"checks":[' + b"0," * VALUES_MAX + b"0]}", 422),
        (b'{"checks":[' + b"[]," * (BODY_BYTES_MAX // 3) + b"0]}", 413),
        (b'{"turn":{' + b",".join(b'"%d":0' % n for n in range(VALUES_MAX)) + b"}}", 422),
        (b'{"turn":{' + b",".join(b'"%d":0' % n for n in range(VALUES_MAX - 10)) + b"}}", 422),
        (b'{"' + b"system_prompt" * 100_000 + b'":1}', 422),
    ],
)
async def test_a_body_of_many_values_is_refused_at_once(stack: Stack, body: bytes, status: int) -> None:
    """By PUT and by PATCH; what is told of it is short, whatever it holds."""
    for method in ("PUT", "PATCH"):
        got, problem = await stack.ask(method, "/api/agents/a", data=BytesIO(body), headers=JSON)
        assert (got, len(str(problem)) < 100_000) == (status, True)
    assert (stack.root / "a.yaml").read_text() == echo("A")


@pytest.mark.parametrize("body", [{"slug": "a/-" * 900_000}, {"user": "x" * 1_000_000}])
async def test_a_long_name_is_not_repeated(stack: Stack, body: dict[str, Any]) -> None:
    """Neither as a hint, nor in an error."""
    status, problem = await stack.ask("POST", "/api/agents", data=as_file(body), headers=JSON)
    assert (status, len(str(problem)) < 1000) == (422, True)


async def test_a_name_of_any_length_makes_a_slug(stack: Stack) -> None:
    """Of its beginning; that the manifest would be too large is for those to say who read it."""
    body = as_file({"name": "a/-" * 900_000})
    status, problem = await stack.ask("POST", "/api/agents", data=body, headers=JSON)
    assert (status, problem["violations"][0]["code"]) == (422, "too-large")


async def test_a_pattern_halts_nothing(stack: Stack) -> None:
    """What takes Python's engine longer than the universe is there is answered, and others are as well."""
    check = {"say": "a" * 60 + "!", "regex": "(a+)+$"}
    status, agent = await stack.ask("PATCH", "/api/agents/a", json={"checks": [check]})
    assert status == 200, agent
    status, report = await stack.ask("POST", "/api/agents/a/test?checks=true")
    assert status == 200
    assert "does not match" in str(report)


@pytest.mark.parametrize(
    "pattern", ["(", "a(?=b)", r"(a)\1", "((a{1000}){1000}){1000}", "|".join("a" * 501), "["]
)
def test_what_could_take_long_is_no_pattern(pattern: str) -> None:
    """Look-around, references back, and what grows too large are refused; and nothing matches it."""
    problem = check_regex(pattern)
    assert problem
    assert "\n" not in problem
    if len(pattern) < 100:
        assert list(Check(say="x", regex=pattern).failures("aab", (), 0.0))


@pytest.mark.parametrize("pattern", [r"\b9\b", "(?i)NINE|x", "^At", r"e$", r"\d+ (am|a\.m\.)"])
def test_a_pattern_is_found_anywhere(pattern: str) -> None:
    """As before."""
    assert check_regex(pattern) is None
    assert not list(Check(say="x", regex=pattern).failures("At 9 a.m. or nine", (), 0.0))


async def test_an_echo_is_not_larger_than_life(stack: Stack) -> None:
    """A reply that repeats the message is cut; ten thousand times a megabyte would end the process."""
    config = {"reply": "{message}" * 10_000}
    status, agent = await stack.ask("PATCH", "/api/agents/a", json={"llm_provider_config": config})
    assert status == 200, agent
    body = {"model": "a", "messages": [{"role": "user", "content": "xy" * 500_000}]}
    status, reply = await stack.ask("POST", "/v1/chat/completions", data=as_file(body), headers=JSON)
    assert (status, len(reply["choices"][0]["message"]["content"])) == (200, ANSWER_MAX)


async def test_an_echo_lets_others_take_their_turn() -> None:
    """A stream of many words comes in few pieces, whole, and whoever waits runs before its end."""
    llm = build_client(EchoSettings(provider="echo.local"), HttpSessions())
    messages = [{"role": "user", "content": "a " * 100_000}]
    turns: list[int] = []
    pieces: list[str] = []
    asyncio.get_running_loop().call_soon(lambda: turns.append(len(pieces)))
    async for chunk in llm.stream({"messages": messages}):
        pieces += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
    assert "".join(pieces) == "a " * 100_000
    assert len(pieces) < PIECES_MAX + 10
    assert turns[0] < 10


def test_a_file_with_a_fault_in_every_line() -> None:
    """The first hundred are told, each at its own line: the file is not scanned again for each of them."""
    names = [f"k{number}" for number in range(60_000)]
    text = "".join(f"{name}: 0\n" for name in names)
    document = Document("a.yaml", text.encode(), dict.fromkeys(names, 0))
    found = Validator({"type": "object", "properties": {}, "additionalProperties": False}).check(document)
    assert [violation.line for violation in found] == list(range(1, VIOLATIONS_MAX + 2))


@pytest.mark.parametrize(("tag", "status"), [("*", 200), ('"*"', 412), ('W/"*"', 412)])
async def test_a_quoted_star_is_no_star(stack: Stack, tag: str, status: int) -> None:
    """Who sends it as a tag has read something else than the present file (RFC 9110, section 13.1.1)."""
    headers = {"If-Match": tag}
    got, _ = await stack.ask("PATCH", "/api/agents/a", json={"description": "B"}, headers=headers)
    assert got == status


async def test_of_bad_patterns_the_first_is_told(stack: Stack) -> None:
    """Each that is too large costs a tenth of a second to refuse, and a manifest may hold 200."""
    checks = [{"say": "a", "regex": r"\pL{500}"}] * 200
    status, problem = await stack.ask("PATCH", "/api/agents/a", json={"checks": checks})
    assert (status, [one["code"] for one in problem["violations"]]) == (422, ["check-regex"])
