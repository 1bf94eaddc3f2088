"""POST /api/agents/{agent}/test: a real probe through the API."""

from __future__ import annotations

from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer
from tests.web.conftest import Stack, echo, vendor_manifest

CHECK = "checks:\n  - {say: Hello, contains: hello}\n  - {say: Hello, contains: goodbye}\n"


async def test_a_probe_tells_what_is_wrong_and_what_to_do(stack: Stack, vendor: OpenAIServer) -> None:
    """Well, then with a key that the vendor does not accept; the key is in no reply."""
    stack.write("acme/sales.yaml", vendor_manifest(vendor.url), sealed=True)
    version = await stack.sync()
    status, reply = await stack.ask("POST", "/api/agents/acme~sales/test")
    assert (status, reply["ok"], reply["version"], reply["checks"]) == (200, True, version, [])
    vendor.fault = Fault.UNAUTHORIZED
    status, reply = await stack.ask("POST", "/api/agents/acme~sales/test")
    (finding,) = reply["providers"]
    assert (status, reply["ok"], finding["reason"]) == (200, False, "wrong-key")
    assert "llm.api_key" in finding["fix"]


async def test_checks_run_where_they_are_asked_for(stack: Stack) -> None:
    """One passes, one does not; the built-in agent has none."""
    stack.write("support.yaml", echo("Support") + CHECK)
    await stack.sync()
    _, reply = await stack.ask("POST", "/api/agents/support/test?checks=true")
    assert (reply["ok"], [check["ok"] for check in reply["checks"]]) == (False, [True, False])
    assert (await stack.ask("POST", "/api/agents/current/test"))[1]["ok"] is True
    assert (await stack.ask("POST", "/api/agents/support/test?checks=maybe"))[0] == 400
    assert (await stack.ask("POST", "/api/agents/nobody/test"))[0] == 404
