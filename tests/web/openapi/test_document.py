"""GET /openapi.json and /docs: what is described is what is there."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from html import unescape
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from agentsd.providers.catalog import Catalog
from agentsd.web.http import problem
from agentsd.web.openapi.document import OPERATIONS, make_document
from agentsd.web.openapi.errors import ERRORS, list_error_statuses
from agentsd.web.openapi.model import Operation
from agentsd.web.rest import write_errors as refusals
from tests.web.conftest import Make, Stack, echo
from tests.web.middleware.test_request import TOKENS

_PATTERN = re.compile(r"\{(\w+):[^{}]*\}")


@pytest.fixture(scope="module")
def described(catalog: Catalog) -> dict[str, Any]:
    """The document."""
    return make_document(catalog)


def check(described: dict[str, Any], name: str, value: Any) -> list[str]:
    """What is wrong with ``value`` by the component ``name``."""
    resource = Resource(contents=described, specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    schema = {"$ref": f"urn:document#/components/schemas/{name}"}
    return [error.message for error in Draft202012Validator(schema, registry=registry).iter_errors(value)]


def routes_of(app: web.Application) -> Iterator[tuple[str, str]]:
    """(method, path as OpenAPI writes it) of every route but those of pages and MCP."""
    for route in app.router.routes():
        assert route.resource is not None
        if route.resource.canonical in ("/", "/mcp") or route.resource.canonical.startswith("/ui"):
            continue
        yield route.method, _PATTERN.sub(r"{\1}", route.resource.canonical)


async def test_every_route_is_described_and_none_is_invented(stack: Stack) -> None:
    """The router and the descriptions agree exactly; HEAD is answered where GET is, but for streams."""
    runner = stack.running._runner
    app = runner.app
    there = set(routes_of(app))
    told = {(one.method, one.path) for one in OPERATIONS}
    heads = {("HEAD", one.path) for one in OPERATIONS if one.method == "GET" and not one.streams}
    assert there == told | heads
    assert len(told) == len(OPERATIONS) == len({one.id for one in OPERATIONS})


def test_the_document_is_openapi(described: dict[str, Any]) -> None:
    """As a validator of the specification sees it."""
    validate(described)


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_examples_fit_their_schemas(one: Operation, described: dict[str, Any]) -> None:
    """What a person copies from the page is what the server takes."""
    for form in one.body.forms if one.body else ():
        if form.example is not None:
            assert form.schema is not None
            assert check(described, form.schema["$ref"].rpartition("/")[2], form.example) == []


def test_every_error_of_the_code_is_described() -> None:
    """Its status, with its code."""
    for _, status, code in (*problem._STATUS_BY_ERROR, *refusals._STATUS_BY_ERROR):
        assert code in (*ERRORS[status].codes, *ERRORS[status].openai), code
    for status, code in problem._CODE_BY_STATUS.items():
        assert code in ERRORS[status].codes, code


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_what_any_request_may_meet_is_described(one: Operation) -> None:
    """No token, the wrong one, a foreign page, too many; for a body, too large and of the wrong type."""
    statuses = set(list_error_statuses(one))
    assert {403, 429, 500} <= statuses
    assert (401 in statuses) is (one.role is not None)
    assert one.body is None or statuses >= {400, 413, 415}
    writes = one.role == "editor" and one.id != "runAgentTool"  # which changes no file
    assert not writes or statuses >= {405, 409, 422}


async def test_agents_are_told_as_described(stack: Stack, described: dict[str, Any]) -> None:
    """Every field of a reply is in the schema, and the other way round; the built-in agent's, too."""
    stack.write("support.yaml", echo("Support", default=True))
    await stack.sync()
    fields = set(described["components"]["schemas"]["AgentReply"]["properties"])
    for agent in ("support", "current", "echo"):
        _, told = await stack.get(f"/api/agents/{agent}")
        assert set(told) == fields
        assert check(described, "AgentReply", told) == []
    for path, name in (
        ("/api/agents", "AgentPage"),
        ("/api/agents?view=summary", "AgentPage"),
        ("/api/agents/support/revisions", "RevisionPage"),
        ("/api/agents/support/values", "ValuePage"),
        ("/api/agents/echo/values", "ValuePage"),
        ("/api/providers", "ProvidersReply"),
        ("/api/sync", "SyncReply"),
        ("/v1/models", "ModelList"),
    ):
        assert check(described, name, (await stack.get(path))[1]) == []


async def test_the_document_is_kept(stack: Stack) -> None:
    """An ETag, and 304 for who has it."""
    for path in ("/openapi.json", "/docs"):
        async with stack.client.get(stack.url + path) as reply:
            assert reply.status == 200
            etag = reply.headers["ETag"]
        async with stack.client.get(stack.url + path, headers={"If-None-Match": etag}) as reply:
            assert (reply.status, await reply.read()) == (304, b"")


async def test_both_are_open_and_tell_nothing_of_agents(make: Make) -> None:
    """No token is needed, and neither a name nor a number of an agent is in them."""
    stack = await make(access=TOKENS)
    before = await texts(stack)
    stack.write("zebra-crossing.yaml", echo("Zebra"))
    await stack.sync()
    assert await texts(stack) == before
    assert not any("ebra" in text for text in before)


async def texts(stack: Stack) -> list[str]:
    """Both replies, as anybody gets them."""
    found = []
    for path in ("/openapi.json", "/docs"):
        async with stack.client.get(stack.url + path) as reply:
            assert reply.status == 200
            found.append(await reply.text())
    return found


async def test_the_page_needs_nothing_but_itself(stack: Stack) -> None:
    """No script, no address of anywhere else, and its only stylesheet is the one that its policy names."""
    async with stack.client.get(f"{stack.url}/docs") as reply:
        text, policy = await reply.text(), reply.headers["Content-Security-Policy"]
        assert reply.content_type == "text/html"
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    for forbidden in ("<script", " style=", "javascript:", " onclick", "<img", "<link", "@import", "url("):
        assert forbidden not in text
    targets = set(re.findall(r'(?:href|src)="([^"]*)"', text))
    assert {target for target in targets if not target.startswith("#")} == {"/openapi.json", "/ui/agents"}
    ids = set(re.findall(r' id="([^"]*)"', text))
    assert {target[1:] for target in targets if target.startswith("#")} <= ids


async def test_a_host_that_is_no_host_is_not_repeated(make: Make) -> None:
    """The examples name the server as the client does, if that is a name at all."""
    stack = await make(access=TOKENS)
    for host, shown in (("agents.example:8443", True), ("a'b<i>", False), ("x;rm", False)):
        async with stack.client.get(f"{stack.url}/docs", headers={"Host": host}) as reply:
            assert (f"http://{host}/" in unescape(await reply.text())) is shown


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_examples_work(stack: Stack) -> None:
    """Every command of the page that changes nothing and needs no file, as it stands there."""
    _, page = await texts(stack)
    commands = [unescape(one) for one in re.findall(r"<pre><code>(curl .*?)</code></pre>", page, re.DOTALL)]
    harmful = r"-sN|/hooks/|/tokens|/tools/|-X (PUT|PATCH|DELETE)|front-desk|\.mp3|embed|resp_0"
    harmless = [one for one in commands if not re.search(harmful, one)]
    assert len(harmless) >= 12
    for command in harmless:
        process = await asyncio.create_subprocess_shell(
            f"{command} -o /dev/null -w '%{{http_code}}'", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert out == b"200", command
