"""/v1/embeddings over real sockets: tokens in place of texts, dimensions, and what is refused by name."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from agentsd.web.openai.embeddings import TOKENS_MAX
from agentsd.web.openai.token_table import TOKEN_COUNT, load_token_table
from tests.vendors.openai_server import OpenAIServer, vector_of
from tests.web.conftest import Stack

CL100K_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""Digest of OpenAI's table, by which tiktoken checks its download."""


@pytest.fixture
async def embedder(stack: Stack, vendor: OpenAIServer) -> Stack:
    """An agent with vectors of a vendor, whose model has eight dimensions unless others are asked for."""
    section = {"provider": "openai-compatible", "model": "e", "api_url": vendor.url}
    stack.write("e.yaml", json.dumps({"name": "E", "embedding": section}))
    await stack.sync()
    return stack


async def embed(stack: Stack, value: object, **fields: Any) -> tuple[int, Any]:
    """What the agent answers."""
    return await stack.ask("POST", "/v1/embeddings", json={"model": "e", "input": value, **fields})


def test_the_table_is_openais() -> None:
    """Written as tiktoken downloads it, it is the same file."""
    table = load_token_table()
    assert len(table) == TOKEN_COUNT
    lines = [b"%s %d\n" % (base64.b64encode(table.get(rank)), rank) for rank in range(len(table))]
    assert hashlib.sha256(b"".join(lines)).hexdigest() == CL100K_SHA256


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [
        ([9906, 1917], ["Hello world"]),
        ([[9906, 1917]], ["Hello world"]),
        ([[9906, 1917], [76502, 22656, 43465, 91416]], ["Hello world", " 日本 emoji 😀"]),
        ([[76460, 222]], ["😀"]),
        ([[76460]], ["�"]),  # where a client cuts a long text, a character may be cut as well
    ],
)
async def test_tokens_are_the_text_that_they_stand_for(
    embedder: Stack, vendor: OpenAIServer, tokens: list[Any], texts: list[str]
) -> None:
    """The vendor gets text, whatever its own tokens are, and the client the same vectors as for text."""
    status, reply = await embed(embedder, tokens)
    assert status == 200
    assert vendor.last.body["input"] == texts
    assert [row["embedding"] for row in reply["data"]] == [vector_of(text, 8) for text in texts]


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "input"),
        ("", "input"),
        ([[]], "input[0]"),
        (["a", ""], "input[1]"),
        ([1, -1], "input"),
        ([[1], [1, TOKEN_COUNT]], "input[1][1]"),
        ([[1, 1.5]], "input[0][1]"),
        ([1, "a"], "input"),
        ({"a": 1}, "input"),
        ([True], "input"),
        ([[0] * (TOKENS_MAX + 1)], "input[0]"),
    ],
)
async def test_an_input_that_is_neither_is_refused_by_its_place(
    embedder: Stack, vendor: OpenAIServer, value: object, param: str
) -> None:
    """Before the vendor is asked."""
    status, reply = await embed(embedder, value)
    assert (status, reply["error"]["type"]) == (400, "invalid_request_error")
    assert str(reply["error"]["param"]).startswith(param)
    assert not vendor.requests


async def test_dimensions_are_the_vendors_choice(embedder: Stack, vendor: OpenAIServer) -> None:
    """They are passed on, in either encoding, and for this request alone."""
    status, reply = await embed(embedder, "one", dimensions=5, encoding_format="base64")
    assert (status, len(base64.b64decode(reply["data"][0]["embedding"]))) == (200, 20)
    assert vendor.last.body["dimensions"] == 5
    status, reply = await embed(embedder, "one")
    assert (status, len(reply["data"][0]["embedding"])) == (200, 8)
    assert "dimensions" not in vendor.last.body


async def test_dimensions_that_a_vendor_ignores_are_refused(
    embedder: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vector of another length is not passed off as one of the length that was asked for."""
    monkeypatch.setattr("tests.vendors.openai_server.vector_of", lambda text, _size: vector_of(text, 8))
    status, reply = await embed(embedder, "one", dimensions=5)
    assert (status, reply["error"]["param"]) == (400, "dimensions")
    assert (await embed(embedder, "one", dimensions=8))[0] == 200


@pytest.mark.parametrize("field", ["input_type", "truncate", "task", "prompt"])
async def test_fields_of_other_servers_are_refused_by_name(embedder: Stack, field: str) -> None:
    """Nothing that would change the vectors is dropped in silence."""
    status, reply = await embed(embedder, "one", **{field: "query"})
    assert (status, reply["error"]["param"]) == (400, field)
