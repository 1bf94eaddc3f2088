"""Variables of a session in chat, completions and responses: in the prompt as text, in nothing else."""

from __future__ import annotations

import json
import logging
from itertools import product
from typing import Any
from urllib.parse import unquote

import pytest

from tests.vendors.openai_server import Call, OpenAIServer
from tests.vendors.tool_server import ToolServer
from tests.web.conftest import Stack

HELLO = [{"role": "user", "content": "Hello there"}]
CHAT = "/v1/chat/completions"
PROMPT = "You talk to {{customer_name}}, who has the plan {{plan}} ({{age}}, {{vip}}). \\{{name}} is text."
VARIABLES = {
    "customer_name": {"type": "string", "max_length": 80, "default": "there"},
    "plan": {"type": "string", "enum": ["free", "pro"], "default": "free"},
    "age": {"type": "integer", "minimum": 0, "default": 0},
    "vip": {"type": "boolean", "default": False},
}


def manifest(url: str, **fields: Any) -> str:
    """An agent at a vendor without a key."""
    llm = {"provider": "openai-compatible", "model": "m", "api_url": url, "client_options": ["store"]}
    return json.dumps(
        {"name": "Sales", "llm": llm, "system_prompt": PROMPT, "variables": VARIABLES, **fields}
    )


@pytest.fixture
async def sales(stack: Stack, vendor: OpenAIServer) -> Stack:
    """An agent with variables, one that needs one, one with a prompt of a file, and one without."""
    stack.write("sales.yaml", manifest(vendor.url))
    stack.write("needy.yaml", manifest(vendor.url, variables={**VARIABLES, "order": {"type": "string"}}))
    stack.write("filed.yaml", manifest(vendor.url, system_prompt="", system_prompt_file="p.md"))
    stack.write("plain.yaml", manifest(vendor.url, variables={}).replace(', "variables": {}', ""))
    stack.write("p.md", "From a file, for {{ customer_name }}.\n")
    await stack.sync()
    return stack


def told(vendor: OpenAIServer) -> str:
    """The system message that the vendor got."""
    first = vendor.last_chat["messages"][0]
    assert first["role"] == "system"
    return str(first["content"])


async def ask(stack: Stack, values: Any, model: str = "sales", **fields: Any) -> tuple[int, Any]:
    """A chat with ``metadata.variables``."""
    body = {"model": model, "messages": HELLO, "metadata": {"variables": values}, **fields}
    return await stack.ask("POST", CHAT, json=body)


async def test_values_and_defaults_are_in_the_prompt(sales: Stack, vendor: OpenAIServer) -> None:
    """A number and a boolean as JSON has them; the escaped braces as text; each request by itself."""
    status, _ = await ask(sales, {"customer_name": "Ada", "plan": "pro", "age": 36, "vip": True})
    assert status == 200
    assert told(vendor) == "You talk to Ada, who has the plan pro (36, true). {{name}} is text."
    await sales.ask("POST", CHAT, json={"model": "sales", "messages": HELLO})
    assert told(vendor) == "You talk to there, who has the plan free (0, false). {{name}} is text."
    await ask(sales, {"customer_name": "Bo"}, "filed")
    assert told(vendor).strip() == "From a file, for Bo."


HOSTILE = [
    "{{plan}}",
    "\\{{",
    "{{customer_name}}",
    "a\r\nb\r\n\r\n",
    "🙂",
    "\u202etxt\u200f",
    "- x: {y: 1}\n",
    "",
]


async def test_a_value_stays_text(sales: Stack, vendor: OpenAIServer) -> None:
    """Whatever it looks like, it stands in the prompt once and is never read again."""
    for value in HOSTILE * 2:
        status, _ = await ask(sales, {"customer_name": value})
        assert status == 200
        assert told(vendor) == f"You talk to {value}, who has the plan free (0, false). {{{{name}}}} is text."


WRONG = {
    "unknown": ({"custmer_name": "Ada"}, "metadata.variables.custmer_name"),
    "wrong type": ({"customer_name": 5}, "metadata.variables.customer_name"),
    "a number as text": ({"age": "5"}, "metadata.variables.age"),
    "too long": ({"customer_name": "canary" * 14}, "metadata.variables.customer_name"),
    "nearly a megabyte": ({"customer_name": "canary" * (1 << 17)}, "metadata.variables.customer_name"),
    "not of the list": ({"plan": "canary"}, "metadata.variables.plan"),
    "too small": ({"age": -1}, "metadata.variables.age"),
    "no object": (["customer_name"], "metadata.variables"),
    "a flood": ({f"v{n}": 1 for n in range(200)}, "metadata.variables"),
    "an odd name": ({"canary\r\nx": 1}, "metadata.variables"),
}


async def test_a_wrong_value_is_refused_by_name(
    sales: Stack, vendor: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In each interface, before the vendor is asked; the value is in no error and no log."""
    caplog.set_level(logging.DEBUG)
    interfaces: tuple[tuple[str, dict[str, Any]], ...] = (
        (CHAT, {"messages": HELLO}),
        (CHAT, {"messages": HELLO, "stream": True}),
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/completions", {"prompt": "Hi"}),
    )
    before = len(vendor.requests)
    for (case, (values, param)), (path, body) in product(WRONG.items(), interfaces):
        fields = {"model": "sales", **body, "metadata": {"variables": values}}
        status, reply = await sales.ask("POST", path, json=fields)
        assert status == 400, (case, path)
        assert (reply["error"]["param"], reply["error"]["code"]) == (param, "invalid_variable")
        assert "canary" not in json.dumps(reply)
    assert len(vendor.requests) == before
    assert "canary" not in caplog.text


async def test_a_missing_value_is_refused_by_name(sales: Stack, vendor: OpenAIServer) -> None:
    """Only of a variable without a default."""
    for values in (None, {}, {"age": 3}):
        status, reply = await ask(sales, values, "needy")
        assert (status, reply["error"]["param"]) == (400, "metadata.variables.order")
    assert (await ask(sales, {"order": "1"}, "needy"))[0] == 200


async def test_an_agent_without_variables(sales: Stack, vendor: OpenAIServer) -> None:
    """Its braces are text, metadata of other meanings is nobody's business, and values have no place."""
    status, _ = await ask(sales, "free text", "plain")
    assert status == 200
    assert told(vendor) == PROMPT
    status, reply = await ask(sales, {"customer_name": "Ada"}, "plain")
    assert (status, reply["error"]["param"]) == (400, "metadata.variables.customer_name")


async def test_values_as_a_json_text(sales: Stack, vendor: OpenAIServer) -> None:
    """The types of OpenAI's clients allow texts only in ``metadata``."""
    status, _ = await ask(sales, '{"customer_name": "Ada", "age": 3}')
    assert status == 200
    assert told(vendor).startswith("You talk to Ada, who has the plan free (3,")
    for text in ("{", '"Ada"', "[]"):
        status, reply = await ask(sales, text)
        assert (status, reply["error"]["param"]) == (400, "metadata.variables")


async def test_responses_repeat_no_values(sales: Stack, vendor: OpenAIServer) -> None:
    """They are in the prompt; the rest of ``metadata`` is repeated and stored."""
    metadata = {"variables": {"customer_name": "Ada"}, "topic": "t"}
    body = {"model": "sales", "input": "Hi", "metadata": metadata, "store": True}
    status, reply = await sales.ask("POST", "/v1/responses", json=body)
    assert (status, reply["metadata"]) == (200, {"topic": "t"})
    assert told(vendor).startswith("You talk to Ada")
    _, stored = await sales.get(f"/v1/responses/{reply['id']}")
    assert "Ada" not in json.dumps(stored)


async def test_completions_have_values(sales: Stack, vendor: OpenAIServer) -> None:
    """As chats have."""
    body = {"model": "sales", "prompt": "Hi", "metadata": {"variables": {"customer_name": "Ada"}}}
    status, _ = await sales.ask("POST", "/v1/completions", json=body)
    assert status == 200
    assert told(vendor).startswith("You talk to Ada")


async def test_a_vendor_that_keeps_metadata_gets_no_values(sales: Stack, vendor: OpenAIServer) -> None:
    """``metadata`` goes to it with ``store`` only, and without them."""
    body = {"store": True, "metadata": {"topic": "t", "variables": {"customer_name": "Ada"}}}
    await sales.ask("POST", CHAT, json={"model": "sales", "messages": HELLO, **body})
    assert vendor.last_chat["metadata"] == {"topic": "t"}
    await sales.ask(
        "POST", CHAT, json={"model": "sales", "messages": HELLO, **body, "metadata": {"variables": {}}}
    )
    assert "metadata" not in vendor.last_chat


async def test_a_swap_changes_the_templates(sales: Stack, vendor: OpenAIServer) -> None:
    """The next request runs on the new ones, and on the new declarations."""
    sales.write(
        "sales.yaml", manifest(vendor.url, system_prompt="Hi {{who}}", variables={"who": {"type": "string"}})
    )
    await sales.sync()
    assert (await ask(sales, {"who": "Ada"}))[0] == 200
    assert told(vendor) == "Hi Ada"
    assert (await ask(sales, {"customer_name": "Ada"}))[0] == 400


async def test_values_in_the_requests_of_tools(stack: Stack, vendor: OpenAIServer) -> None:
    """They stand in their place, encoded for it, and cannot leave it."""
    async with ToolServer() as server:
        http = {
            "url": f"{server.url}/people/{{{{customer_name}}}}/orders",
            "headers": {"X-Plan": "{{plan}}"},
            "query": {"name": "{{customer_name}}"},
        }
        plain = {"customer_name": VARIABLES["customer_name"], "plan": {"type": "string", "default": "free"}}
        tool = {"name": "orders", "http": http}
        stack.write("sales.yaml", manifest(vendor.url, system_prompt="", variables=plain, tools=[tool]))
        await stack.sync()
        for name in ("Ada Lovelace", "a?c=d#e&f", "{{plan}}", "é🙂"):
            vendor.script = [[Call("orders")], ["Done."]]
            assert (await ask(stack, {"customer_name": name}))[0] == 200
            sent = server.requests[-1]
            assert unquote(sent.path) == f"/people/{name}/orders"
            assert (sent.query, sent.headers["x-plan"]) == ({"name": name}, "free")
        count = len(server.requests)
        for values in (
            {"customer_name": ".."},
            {"customer_name": "a/b"},
            {"plan": "free\r\nHost: evil.example"},
        ):
            vendor.script = [[Call("orders")], ["Done."]]
            assert (await ask(stack, values))[0] == 200
            result = json.loads(vendor.last_chat["messages"][-1]["content"])
            assert result["error"] in ("refused", "invalid_arguments")
        assert len(server.requests) == count
