"""Bodies that are small to send and long to read are refused before they are read."""

from __future__ import annotations

import io
import json

import aiohttp
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
