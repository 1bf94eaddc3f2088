"""Writes to agents with layers: only the manifest is edited, and what it inherits stays inherited."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.core.manifest.document import parse_document
from tests.web.conftest import CANARY, Make, Stack

TOP = f"""\
greeting: Welcome.
llm:
  provider: openai-compatible
  api_url: https://llm.example
  api_key: {CANARY}
  model: small
  temperature: 0.5
  fallback:
    - provider: openai-compatible
      api_url: https://other.example
      api_key: {CANARY}
      model: spare
"""
OWN = "id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11\nname: A\n# mine\nllm:\n  model: large\n"
MASK = "**********"


@pytest.fixture
async def stack(make: Make) -> Stack:
    """An agent that says its model only, on sealed defaults; a replica that writes files."""
    one = await make(write_back="files")
    one.write("_defaults.yaml", TOP, sealed=True)
    one.write("a.yaml", OWN)
    await one.sync()
    return one


async def patched(stack: Stack, **fields: Any) -> tuple[int, Any]:
    return await stack.ask("PATCH", "/api/agents/a", json=fields)


def said(stack: Stack) -> Any:
    """What the manifest itself says."""
    return parse_document("a.yaml", (stack.root / "a.yaml").read_bytes()).value


async def test_a_reply_is_what_all_layers_say_and_can_be_put_back(stack: Stack) -> None:
    """Masked; the file keeps its bytes, and no version is spent."""
    _, agent = await stack.get("/api/agents/a")
    assert (agent["greeting"], agent["llm_provider_config"]["model"]) == ("Welcome.", "large")
    assert agent["llm_provider_config"]["api_key"] == MASK
    assert CANARY not in str(agent)
    status, put = await stack.ask("PUT", "/api/agents/a", json=agent)
    assert (status, put["version"]) == (200, agent["version"]), put
    assert (stack.root / "a.yaml").read_text() == OWN


async def test_a_refusal_does_not_say_what_is_sealed(stack: Stack) -> None:
    """A key of one's own would go to an address that another file seals: nobody reads there which one."""
    for url in ("/api/agents/a?dry_run=true", "/api/agents/a"):
        status, problem = await stack.ask("PATCH", url, json={"llm_provider_config": {"api_key": "mine"}})
        assert (status, problem["code"]) == (422, "invalid_manifest")
        assert problem["violations"][0]["code"] == "secret-destination"
        assert "an address that is sealed" in problem["detail"]
        assert "llm.example" not in str(problem)


async def test_an_edit_says_what_differs(stack: Stack) -> None:
    """By PUT and by PATCH; what is made equal to the layer's value again is inherited again."""
    top = (stack.root / "_defaults.yaml").read_bytes()
    _, agent = await stack.get("/api/agents/a")
    agent["greeting"], agent["llm_provider_config"]["temperature"] = "Hi.", 0.1
    status, put = await stack.ask("PUT", "/api/agents/a", json=agent)
    assert status == 200, put
    assert said(stack)["greeting"] == "Hi."
    assert said(stack)["llm"] == {"model": "large", "temperature": 0.1}
    status, agent = await patched(stack, greeting="Welcome.", llm_provider_config={"model": "small"})
    assert status == 200, agent
    assert "greeting" not in said(stack)
    assert said(stack)["llm"] == {"temperature": 0.1}
    assert (stack.root / "_defaults.yaml").read_bytes() == top


async def test_a_secret_of_its_own(stack: Stack) -> None:
    """Is sealed into the manifest, with the address that it is for; nothing else of the section is copied."""
    mine = {"api_key": "sk-mine", "api_url": "https://mine.example", "fallback": None}
    status, problem = await patched(stack, llm_provider_config={"api_key": "sk-mine"})
    assert (status, problem["violations"][0]["code"]) == (422, "secret-destination")
    status, agent = await patched(stack, llm_provider_config=mine)
    assert status == 200, agent
    section = said(stack)["llm"]
    assert section.keys() == {"model", "api_key", "api_url"}
    assert section["api_key"].startswith("ENC[")
    assert agent["llm_provider_config"]["temperature"] == 0.5


async def test_an_address_of_its_own_is_asked_without_the_layers_key(stack: Stack) -> None:
    """Where a section leaves its provider to the layer and says an address, it inherits no secret."""
    body = {"name": "A", "llm_provider_config": {"api_url": "https://evil.example"}}
    status, agent = await stack.ask("PUT", "/api/agents/a", json=body)
    assert status == 200, agent
    assert agent["llm_provider_config"].keys() == {"provider", "api_url", "model", "temperature"}


@pytest.mark.parametrize(
    "config",
    [
        {"provider": "openai-compatible", "api_url": "https://evil.example"},
        {"provider": "openai-compatible", "api_url": "https://evil.example", "api_key": MASK},
        {"provider": "groq.com", "model": "m", "api_key": MASK},
        {
            "fallback": [
                {
                    "provider": "openai-compatible",
                    "api_url": "https://evil.example",
                    "model": "m",
                    "api_key": MASK,
                }
            ]
        },
        {"fallback": [{"provider": "openai-compatible", "api_url": MASK, "model": "other", "api_key": MASK}]},
    ],
)
async def test_an_inherited_secret_goes_nowhere_else(stack: Stack, config: dict[str, Any]) -> None:
    """Neither to another address nor into another file: it is asked for again."""
    for method in ("PATCH", "PUT"):
        status, problem = await stack.ask(
            method, "/api/agents/a", json={"name": "A", "llm_provider_config": config}
        )
        assert status == 422, problem
        assert (stack.root / "a.yaml").read_text() == OWN


async def test_what_a_layer_says_cannot_be_removed(stack: Stack) -> None:
    """It is replaced, or changed in the layer; the answer says so."""
    for fields in (
        {"greeting": None},
        {"llm_provider_config": {"temperature": None}},
        {"llm_provider_config": None},
    ):
        status, problem = await patched(stack, **fields)
        assert (status, "inherited" in problem["detail"]) == (422, True), problem
    assert (stack.root / "a.yaml").read_text() == OWN


async def test_another_provider_starts_anew(stack: Stack) -> None:
    """What the layer says for its own provider is not inherited, so the manifest says it all."""
    config = {"provider": "echo.local", "reply": "hello"}
    status, agent = await patched(stack, llm_provider_config=config)
    assert status == 200, agent
    assert agent["llm_provider_config"] == config
    assert said(stack)["llm"] == config


async def test_a_new_agent_inherits(stack: Stack) -> None:
    """It needs to say no more than its name; a section of its own may leave the provider to the layer."""
    status, agent = await stack.ask(
        "POST", "/api/agents", json={"name": "B", "llm_provider_config": {"model": "tiny"}}
    )
    assert status == 201, agent
    assert agent["llm_provider_config"]["temperature"] == 0.5
    assert parse_document("b.yaml", (stack.root / "b.yaml").read_bytes()).value.keys() == {
        "id",
        "name",
        "llm",
    }
    status, agent = await stack.ask("POST", "/api/agents/b/set-default")
    assert (status, agent["is_default"]) == (200, True)
    assert parse_document("b.yaml", (stack.root / "b.yaml").read_bytes()).value["llm"] == {"model": "tiny"}
