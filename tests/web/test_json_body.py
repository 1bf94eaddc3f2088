"""Bodies that are small to send and long to read are refused before they are read."""

from __future__ import annotations

import pytest

from agentsd.sandbox.limits import CallLimits
from agentsd.web.json_body import CONTAINERS_MAX, VALUES_MAX, has_few_values
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
