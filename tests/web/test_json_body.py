"""Bodies that are small to send and long to read are refused before they are read."""

from __future__ import annotations

import io
import json
from typing import Annotated, Any, Literal

import aiohttp
import pytest
from pydantic import Field

from agentsd.sandbox.limits import CallLimits
from agentsd.web.http.problem import Problem
from agentsd.web.json_body import CONTAINERS_MAX, VALUES_MAX, RequestModel, has_few_values, parse_model
from agentsd.web.rest import markdown
from tests.web.conftest import Make, echo


async def test_a_body_of_too_many_values_is_refused(make: Make) -> None:
    """8 MB of empty lists took 3 s of the event loop."""
    stack = await make()
    stack.write("a.yaml", echo("A"))
    await stack.sync()
    chat = {"model": "a", "messages": [[]] * (CONTAINERS_MAX + 1)}
    status, problem = await stack.ask("POST", "/v1/chat/completions", json=chat)
    assert (status, "lists and objects" in problem["error"]["message"]) == (413, True)
    question = {"role": "user", "content": "1," * (VALUES_MAX + 1)}
    status, _ = await stack.ask("POST", "/v1/chat/completions", json={"model": "a", "messages": [question]})
    assert status == 200  # a text may hold as many commas as it likes


@pytest.mark.parametrize(
    ("body", "fits"),
    [(b"[" + b"1," * 300_000 + b"1]", False), (b"[" + b"[]," * 10_000 + b"1]", True), (b"[1", True)],
)
def test_values_are_counted(body: bytes, fits: bool) -> None:
    assert has_few_values(body) is fits


async def test_markdown_that_takes_too_long_comes_back_as_it_is(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "_LIMITS", CallLimits(input_bytes=1))
    stack = await make()
    text = "*a* " * 100
    status, reply = await stack.ask("POST", "/api/markdown", json={"text": text})
    assert status == 200
    assert reply == {"nodes": [{"tag": "pre", "children": [{"tag": "code", "children": [text]}]}]}


async def test_the_operator_sets_how_large_a_body_and_a_recording_may_be(make: Make) -> None:
    """Both ways; what is refused names its setting. A form counts the recording, not the bytes around it."""
    stack = await make(limits={"max_body": 1 << 16, "max_upload": 1 << 17})
    stack.write("a.yaml", echo("A"))
    await stack.sync()
    question = {"role": "user", "content": "x" * (1 << 16)}
    status, reply = await stack.ask(
        "POST", "/v1/chat/completions", json={"model": "a", "messages": [question]}
    )
    assert (status, reply["error"]["code"]) == (413, "body_too_large")
    assert "AGENTSD_MAX_BODY" in reply["error"]["message"]
    url = "/v1/audio/transcriptions?model=a"
    for size, wanted in ((1 << 17, 400), ((1 << 17) + 1, 413)):  # 400: the agent has no STT
        form = aiohttp.FormData()
        form.add_field("model", "a")
        form.add_field("file", io.BytesIO(bytes(size)), filename="a.pcm", content_type="audio/pcm")
        bare = {"Content-Type": "audio/pcm"}
        for options in ({"data": form}, {"data": io.BytesIO(bytes(size)), "headers": bare}):
            status, reply = await stack.ask("POST", url, **options)
            assert status == wanted, reply
            assert ("AGENTSD_MAX_UPLOAD" in reply["error"]["message"]) is (wanted == 413)
    large = await make(limits={"max_body": 12 << 20})
    question["content"] = "x" * (9 << 20)
    body = io.BytesIO(json.dumps({"model": "a", "messages": [question]}).encode())
    headers = {"Content-Type": "application/json"}
    status, _ = await large.ask("POST", "/v1/chat/completions", data=body, headers=headers)
    assert status == 200


class _Line(RequestModel):
    """Line of an order."""

    amount: int


class _Order(RequestModel):
    """Order, with a field of each kind."""

    name: Annotated[str, Field(max_length=3, description="Who orders.")]
    size: Literal["small", "large"] = "small"
    lines: Annotated[list[_Line], Field(default_factory=list)]
    note: str | list[str] | None = None


@pytest.mark.parametrize(
    ("body", "detail", "hint", "param"),
    [
        ({}, "name is missing", "Who orders.", "name"),
        ({"name": 5}, "name must be a text", "Who orders.", "name"),
        ({"name": "Anna"}, "name is longer than 3 characters", "Who orders.", "name"),
        ({"nmae": "Ann"}, "unknown field nmae", "did you mean 'name'?", "nmae"),
        ({"x\n": 1, "name": 5}, "unknown field x?", "known: name, size, lines, note", "x?"),
        ({"name": "Ann", "size": "huge"}, "size must be 'small' or 'large'", "", "size"),
        ({"name": "Ann", "lines": {}}, "lines must be a list", "", "lines"),
        ({"name": "Ann", "lines": [1]}, "lines[0] must be an object", "", "lines[0]"),
        ({"name": "Ann", "lines": [{"amount": True}]}, "must be a whole number", "", "lines[0].amount"),
        ({"name": "Ann", "lines": [{}]}, "lines[0].amount is missing", "", "lines[0].amount"),
        ({"name": "Ann", "note": 5}, "note has none of the allowed forms", "", "note"),
        ({"name": "Ann", "note": ["a", 5]}, "note[1] must be a text", "", "note[1]"),
    ],
)
def test_the_first_mistake_of_a_body_is_told(
    body: dict[str, Any], detail: str, hint: str, param: str
) -> None:
    """In our own words, with its place, and with nothing of what was sent but the name of a field."""
    with pytest.raises(Problem) as caught:
        parse_model(_Order, body, status=422)
    problem = caught.value
    assert (problem.status, problem.hint, problem.param) == (422, hint, param)
    assert detail in problem.detail
