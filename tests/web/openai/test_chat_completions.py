"""/v1: OpenAI's interface over real sockets, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import openai
import pytest

from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.raw_server import RawServer, reply, sse, streamed
from tests.web.conftest import CANARY, Stack, echo, vendor_manifest

HELLO = [{"role": "user", "content": "Hello there"}]
COMPLETIONS = "/v1/chat/completions"


@pytest.fixture
async def sales(stack: Stack, vendor: OpenAIServer) -> Stack:
    """A sealed agent at a vendor, and a default that echoes."""
    stack.write("acme/sales.yaml", vendor_manifest(vendor.url), sealed=True)
    stack.write("support.yaml", echo("Support", default=True))
    stack.write("idle.yaml", echo("Idle", active=False))
    stack.write("mute.yaml", "name: Mute\n")
    await stack.sync()
    return stack


def client_of(stack: Stack, key: str = "none") -> openai.AsyncOpenAI:
    """OpenAI's client, which tries once."""
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0)


async def frames_of(reply: Any) -> list[str]:
    """The data of every server-sent event."""
    text = (await reply.read()).decode()
    assert CANARY not in text
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


@pytest.fixture
async def words() -> AsyncIterator[RawServer]:
    """A vendor that answers with bytes."""
    async with RawServer() as server:
        yield server


@pytest.fixture
async def raw(stack: Stack, words: RawServer) -> Stack:
    """A sealed agent at that vendor, asked once again where that may help."""
    stack.write("raw.yaml", vendor_manifest(words.url) + "  retries: 1\n", sealed=True)
    await stack.sync()
    return stack


async def test_the_official_client_chats(sales: Stack, vendor: OpenAIServer) -> None:
    """Whole and streamed; the system prompt goes first, the key to the vendor, the slug comes back."""
    async with client_of(sales) as client:
        whole = await client.chat.completions.create(model="acme/sales", messages=HELLO)  # type: ignore[arg-type]
        assert whole.choices[0].message.content == "This is a test."
        assert whole.model == "acme/sales"
        stream = await client.chat.completions.create(model="acme~sales", messages=HELLO, stream=True)  # type: ignore[call-overload]
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(words) == "This is a test."
    for request in vendor.requests:
        assert request.body["messages"] == [{"role": "system", "content": "You are terse."}, *HELLO]
        assert request.headers["authorization"] == f"Bearer {CANARY}"


async def test_the_official_client_lists_models(sales: Stack) -> None:
    """Active agents only; one is found by its slug, slash and all."""
    async with client_of(sales) as client:
        found = [model.id async for model in client.models.list()]
        assert found == ["acme/sales", "mute", "support"]
        model = await client.models.retrieve("acme/sales")
        assert (model.id, model.owned_by, model.object) == ("acme/sales", "acme", "model")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")


async def test_an_empty_server_offers_the_built_in_agent(stack: Stack) -> None:
    """A newcomer's first chat works before there is any file."""
    assert (await stack.get("/v1/models"))[1]["data"][0]["id"] == "echo"
    status, reply = await stack.ask("POST", COMPLETIONS, json={"messages": HELLO})
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == "Hello there"


async def test_no_model_is_the_current_agent(sales: Stack) -> None:
    """The default answers, and the headers say who it was and in which version."""
    for model in ("", "current", None, "support"):
        body = {"model": model, "messages": HELLO}
        async with sales.client.post(sales.url + COMPLETIONS, json=body) as reply:
            assert reply.status == 200
            assert reply.headers["X-Agent"] == "support"
            assert reply.headers["X-Agent-Version"] == str(
                sales.registry.snapshot.entries["support"].row.version
            )
            assert (await reply.json())["model"] == "support"


async def test_the_selected_agent_is_current(sales: Stack) -> None:
    """The cookie counts here too."""
    _, agent = await sales.get("/api/agents/acme~sales")
    cookies = {"agentsd_agent": agent["id"]}
    status, reply = await sales.ask("POST", COMPLETIONS, json={"messages": HELLO}, cookies=cookies)
    assert (status, reply["model"]) == (200, "acme/sales")


async def test_an_unknown_model_is_openais_404(sales: Stack) -> None:
    """OpenAI's error shape with a near name."""
    body = {"model": "suport", "messages": HELLO}
    status, reply = await sales.ask("POST", COMPLETIONS, json=body)
    assert status == 404
    error = reply["error"]
    assert (error["code"], error["type"], error["param"]) == (
        "model_not_found",
        "invalid_request_error",
        "model",
    )
    assert "'support'" in error["message"]


async def test_an_agent_that_cannot_chat_is_a_400(sales: Stack) -> None:
    """Suspended, or without an LLM: the same for streams. Clients would try again after a 5xx."""
    for model, stream in product(("idle", "mute"), (False, True)):
        body = {"model": model, "messages": HELLO, "stream": stream}
        status, reply = await sales.ask("POST", COMPLETIONS, json=body)
        assert (status, reply["error"]["code"]) == (400, "agent_unavailable")


FAILURES = [
    (Fault.UNAUTHORIZED, 502, "provider_auth"),
    (Fault.FORBIDDEN, 502, "provider_auth"),
    (Fault.NOT_FOUND, 502, "provider_not_found"),
    (Fault.UNPROCESSABLE, 400, "provider_rejected"),
    (Fault.RATE_LIMITED, 429, "provider_rate_limited"),
    (Fault.BROKEN, 503, "provider_unavailable"),
    (Fault.OVERLOADED, 503, "provider_unavailable"),
    (Fault.STALL, 504, "provider_timeout"),
]


async def test_a_vendors_failure_is_a_status(sales: Stack, vendor: OpenAIServer) -> None:
    """Before the first byte a failure is an HTTP status, streamed or not; no vendor's text is quoted."""
    for (fault, status, code), stream in product(FAILURES, (False, True)):
        vendor.fault = fault
        body = {"model": "acme/sales", "messages": HELLO, "stream": stream}
        async with sales.client.post(sales.url + COMPLETIONS, json=body) as reply:
            raw = await reply.text()
            assert (reply.status, json.loads(raw)["error"]["code"]) == (status, code)
            assert (reply.headers.get("Retry-After") == "7") is (status == 429)
            assert "secret words" not in raw
            assert CANARY not in raw


async def test_the_official_client_knows_our_errors(sales: Stack, vendor: OpenAIServer) -> None:
    """Its own exception types, code included."""
    async with client_of(sales) as client:
        vendor.fault = Fault.RATE_LIMITED
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model="acme/sales", messages=HELLO)  # type: ignore[arg-type]
        assert limited.value.code == "provider_rate_limited"
        vendor.fault = Fault.ERROR_FRAME
        stream = await client.chat.completions.create(model="acme/sales", messages=HELLO, stream=True)  # type: ignore[call-overload]
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass


async def test_a_failure_mid_stream_is_the_last_frame(sales: Stack, vendor: OpenAIServer) -> None:
    """What came is kept; the last frame is an error, and there is no [DONE]."""
    for fault in (Fault.ERROR_FRAME, Fault.MALFORMED_FRAME, Fault.EARLY_CLOSE, Fault.STALL_LATER):
        vendor.fault = fault
        body = {"model": "acme/sales", "messages": HELLO, "stream": True}
        async with sales.client.post(sales.url + COMPLETIONS, json=body) as reply:
            assert reply.status == 200
            frames = await frames_of(reply)
        assert "[DONE]" not in frames
        assert json.loads(frames[0])["choices"]
        assert json.loads(frames[-1])["error"]["code"].startswith("provider_")


async def test_a_stream_ends_with_done(sales: Stack) -> None:
    """Server-sent events as OpenAI writes them."""
    body = {"model": "support", "messages": HELLO, "stream": True}
    async with sales.client.post(sales.url + COMPLETIONS, json=body) as reply:
        assert reply.content_type == "text/event-stream"
        assert reply.headers["X-Agent"] == "support"
        frames = await frames_of(reply)
    assert frames[-1] == "[DONE]"
    assert {json.loads(frame)["object"] for frame in frames[:-1]} == {"chat.completion.chunk"}


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_LATER])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_vendors_request(
    sales: Stack, vendor: OpenAIServer, fault: Fault, stream: bool
) -> None:
    """The vendor sees the connection close, and the lease ends."""
    vendor.fault = fault
    body = {"model": "acme/sales", "messages": HELLO, "stream": stream}
    asking = asyncio.create_task(sales.ask("POST", COMPLETIONS, json=body))
    await vendor.arrived.wait()
    asking.cancel()
    await asyncio.wait({asking})
    await asyncio.wait_for(vendor.last.disconnected.wait(), 60)
    async with asyncio.timeout(60):
        while b"agentsd_leases_in_use 0.0" not in sales.metrics.render():
            await asyncio.sleep(0.01)


async def test_a_swap_mid_stream_does_not_touch_the_stream(sales: Stack, vendor: OpenAIServer) -> None:
    """A stream is from start to end of one version; the next request is of the next."""
    vendor.words = tuple(f"w{number} " for number in range(40))
    vendor.delay = 0.01
    body = {"model": "acme/sales", "messages": HELLO, "stream": True}
    async with sales.client.post(sales.url + COMPLETIONS, json=body) as reply:
        before = reply.headers["X-Agent-Version"]
        first = await reply.content.readline()
        async with OpenAIServer(words=("new",)) as other:
            sales.write("acme/sales.yaml", vendor_manifest(other.url), sealed=True)
            after = await sales.sync()
            _, next_reply = await sales.ask("POST", COMPLETIONS, json={**body, "stream": False})
            assert next_reply["choices"][0]["message"]["content"] == "new"
        text = (first + await reply.read()).decode()
    assert int(before) < after
    spoken = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in spoken) == "".join(vendor.words)
    assert text.endswith("data: [DONE]\n\n")


BAD: list[tuple[Any, int]] = [
    (b"", 400),
    (b"not json", 400),
    (b"[]", 400),
    (b"\xff\xfe", 400),
    (b'{"messages": NaN}', 400),
    (b"[" * 5000, 400),
    (b'{"messages":[{"role":"user","content":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}]}", 400),
    ({"messages": []}, 400),
    ({"messages": "hi"}, 400),
    ({"messages": [1]}, 400),
    ({"messages": [{}]}, 400),
    ({"messages": [{"role": []}]}, 400),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400),
    ({"messages": [{"role": "user", "content": 5}]}, 400),
    ({"messages": [{"role": "user", "content": ["x"]}]}, 400),
    ({"messages": HELLO, "model": 5}, 400),
    ({"messages": HELLO, "model": ["support"]}, 400),
    ({"messages": HELLO, "stream": "yes"}, 400),
    ({"messages": HELLO, "stream": True, "stream_options": 5}, 400),
    ({"messages": HELLO, "model": "\0"}, 404),
    ({"messages": HELLO, "model": "../../etc/passwd"}, 404),
    ({"messages": HELLO, "model": "x" * 100_000}, 404),
]


async def test_a_bad_body_is_the_clients_error(sales: Stack) -> None:
    """4xx in OpenAI's shape, never a 500."""
    for body, status in BAD:
        options: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            options = {"data": body, "headers": {"Content-Type": "application/json"}}
        got, reply = await sales.ask("POST", COMPLETIONS, **options)
        assert got == status, body
        assert reply["error"].keys() == {"message", "type", "param", "code"}


async def test_another_content_type_is_a_415(sales: Stack) -> None:
    """A form cannot reach an agent."""
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-16"}):
        got, reply = await sales.ask("POST", COMPLETIONS, data=b"{}", headers=headers)
        assert (got, reply["error"]["code"]) == (415, "unsupported_media_type")


async def test_a_huge_body_is_a_413(sales: Stack) -> None:
    """With and without a Content-Length."""
    huge = b" " * (9 << 20)

    async def pieces() -> Any:
        for _ in range(9):
            yield huge[: 1 << 20]

    headers = {"Content-Type": "application/json"}
    for data in (io.BytesIO(huge), pieces()):
        try:
            got, reply = await sales.ask("POST", COMPLETIONS, data=data, headers=headers)
        except ConnectionError:
            continue  # the server closed while the client was still sending: also a refusal
        assert (got, reply["error"]["code"]) == (413, "body_too_large")


async def test_unknown_paths_and_methods_under_v1_are_in_openais_shape(sales: Stack) -> None:
    """404 and 405."""
    assert (await sales.get("/v1/nothing"))[1]["error"]["code"] == "not_found"
    status, reply = await sales.get(COMPLETIONS)
    assert (status, reply["error"]["code"]) == (405, "method_not_allowed")


CONTEXT_ERROR = {
    "object": "error",
    "type": "BadRequestError",
    "code": 400,
    "message": f"This model's maximum context length is 4096 tokens. {CANARY}",
}
TOOL_ERROR = {
    "error": {
        "message": f"Invalid schema for function 'f': {CANARY}",
        "type": "invalid_request_error",
        "param": "tools[0].function.parameters",
        "code": "invalid_function_parameters",
    }
}


async def test_why_a_vendor_refused_is_said(raw: Stack, words: RawServer) -> None:
    """In OpenAI's vocabulary, which clients switch on, and without a word of the vendor."""
    for status, error, expected in (
        (400, CONTEXT_ERROR, (400, "context_length_exceeded", "messages")),
        (400, TOOL_ERROR, (400, "invalid_function_parameters", "tools[0].function.parameters")),
        (402, {"error": {"code": 402, "message": CANARY}}, (429, "insufficient_quota", None)),
        (403, {"error": {"code": 403, "message": f"flagged {CANARY}"}}, (400, "content_filter", None)),
        (401, {"error": {"code": "invalid_api_key", "message": CANARY}}, (502, "invalid_api_key", None)),
    ):
        words.answer = reply(json.dumps(error).encode(), status=f"{status} Refused")
        body = {"model": "raw", "messages": HELLO}
        async with raw.client.post(raw.url + COMPLETIONS, json=body) as answer:
            text = await answer.text()
            told = json.loads(text)["error"]
            assert (answer.status, told["code"], told["param"]) == expected
            assert answer.headers["x-should-retry"] == "false"
        assert CANARY not in text


async def test_the_official_client_does_not_retry_what_was_retried_here(raw: Stack, words: RawServer) -> None:
    """One failing call is as many requests as the manifest allows, not nine; a missing section is one."""
    async with openai.AsyncOpenAI(base_url=f"{raw.url}/v1", api_key="none", max_retries=2) as client:
        words.answer = reply(b"{}", status="503 Busy")
        words.requests.clear()
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model="raw", messages=HELLO)  # type: ignore[arg-type]
        assert len(words.requests) == 2
        assert failed.value.request_id
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="raw", input="Hello")


async def test_a_request_has_an_id(raw: Stack, words: RawServer) -> None:
    """The client's own, or one of ours: in the head, in failures' bodies and in a stream's last frame."""
    words.answer = reply(b"<html>", "text/html")
    body = {"model": "raw", "messages": HELLO}
    for stream, given in ((False, "trace-1"), (True, "trace-2")):
        sent = {"X-Request-ID": given}
        async with raw.client.post(
            raw.url + COMPLETIONS, json={**body, "stream": stream}, headers=sent
        ) as answer:
            assert answer.headers["X-Request-ID"] == given
            assert (await answer.json())["error"]["request_id"] == given
    async with raw.client.get(raw.url + "/v1/models", headers={"X-Request-ID": "a b"}) as answer:
        made = answer.headers["X-Request-ID"]
    assert made.startswith("req_")
    words.answer = streamed(sse({"choices": [{"delta": {"content": "Hi"}}]})[:1])
    async with raw.client.post(
        raw.url + COMPLETIONS, json={**body, "stream": True}, headers={"X-Request-ID": "trace-3"}
    ) as answer:
        assert json.loads((await frames_of(answer))[-1])["error"]["request_id"] == "trace-3"
