"""Turns of chats, responses and completions: each request is counted once, by its end."""

from __future__ import annotations

from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack
from tests.web.openai.test_chat_completions import sales

__all__ = ["sales"]

PATHS = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses", {"input": "Hi"}),
    "completions": ("/v1/completions", {"prompt": "Hi"}),
}


async def test_every_request_is_one_turn(sales: Stack, vendor: OpenAIServer) -> None:
    """Whole, streamed, and failed before and after the first chunk."""
    for path, body in PATHS.values():
        for stream, fault in ((False, None), (True, None), (False, Fault.BROKEN), (True, Fault.ERROR_FRAME)):
            vendor.fault = fault
            asked = {"model": "acme/sales", "stream": stream, **body}
            headers = {"X-Conversation-Id": "conv-7"}
            async with sales.client.post(sales.url + path, json=asked, headers=headers) as reply:
                await reply.read()
    for channel in PATHS:
        for reason in ("answered", "failed"):
            labels = {"channel": channel, "reason": reason}
            assert sales.metrics.registry.get_sample_value("agentsd_turns_total", labels) == 2, labels
