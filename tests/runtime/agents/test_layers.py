"""Agents with layers in a runtime: each opened by its own seal, merged, judged again, and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

import pytest

from agentsd.core.errors import AgentUnavailable
from agentsd.core.manifest.agent import Attachment, Attachments, Manifest, compute_digest
from agentsd.core.manifest.document import parse_document
from agentsd.core.manifest.layers import merge_layers
from agentsd.core.names import derive_owner
from agentsd.providers.catalog import default_catalog
from agentsd.sops.format import fingerprint_by_owner
from tests.runtime.world import Keys, World, loaded, new_registry, tampered
from tests.vendors.openai_server import OpenAIServer

OWN = "id: {id}\n{more}"


def with_layers(world: World, path: str, text: str, layers: Mapping[str, str]) -> Manifest:
    """What a sync makes of a manifest on ``layers``."""
    files = [Attachment(name, sha256(data.encode()).digest(), data.encode()) for name, data in layers.items()]
    attached = Attachments(layers=tuple(files))
    manifest = world.manifest(path, text)
    below = [parse_document(one.path, one.data or b"") for one in files]
    document = merge_layers(parse_document(path, text.encode()), below, default_catalog().destinations)
    seals, lent = fingerprint_by_owner(document, derive_owner(path))
    return replace(
        manifest,
        digest=compute_digest(manifest.digest, attached),
        document_digest=manifest.digest,
        attachments=attached,
        value={name: value for name, value in document.value.items() if name != "sops"},
        seals=seals,
        lent=lent,
    )


def openai(url: str, key: str = "sk-canary-5d2f") -> str:
    return f"llm:\n  provider: openai-compatible\n  model: one\n  api_url: {url}\n  api_key: {key}\n"


async def refusal(world: World, slug: str) -> str:
    """Why the agent does not run."""
    with pytest.raises(AgentUnavailable) as raised:
        async with world.registry.lease(slug):
            pass
    assert "sk-" not in str(raised.value)
    return raised.value.reason


async def asked(world: World, slug: str, vendor: OpenAIServer) -> tuple[str, str | None]:
    """The model that an agent asks its vendor for, and with which authorization."""
    async with world.registry.lease(slug) as agent:
        assert agent.llm is not None
        await agent.llm.complete({"messages": [{"role": "user", "content": "hi"}]})
    request = vendor.requests[-1]
    return request.body["model"], request.headers.get("authorization")


async def test_an_agent_runs_on_what_its_layers_say(world: World, keys: Keys, vendor: OpenAIServer) -> None:
    """With the secret of one layer and the prompt of another, each sealed by itself."""
    layers = {
        "_defaults.yaml": "greeting: Welcome.\nsystem_prompt: Be kind.\n",
        "acme/_defaults.yaml": keys.seal(openai(vendor.url)),
    }
    own = OWN.format(id=uuid4(), more="system_prompt: Be quick.\nllm:\n  model: two\n")
    await world.apply([with_layers(world, "acme/a.yaml", keys.seal(own, "system_prompt"), layers)])
    await world.load()
    async with world.registry.lease("acme/a") as agent:
        assert (agent.spec.greeting, agent.spec.system_prompt) == ("Welcome.", "Be quick.")
    assert await asked(world, "acme/a", vendor) == ("two", "Bearer sk-canary-5d2f")


async def test_a_layer_is_swapped_hot_and_a_broken_one_is_not(
    world: World, keys: Keys, vendor: OpenAIServer
) -> None:
    """The last good state serves, with the layers that it had; a replica that starts later agrees."""
    id, top = uuid4(), "_defaults.yaml"

    async def put(layer: str) -> None:
        await world.apply([with_layers(world, "a.yaml", OWN.format(id=id, more=""), {top: layer})])

    await put(keys.seal(openai(vendor.url, "sk-one")))
    await world.load()
    assert (await asked(world, "a", vendor))[1] == "Bearer sk-one"
    await put(keys.seal(openai(vendor.url, "sk-two")))
    await world.update()
    assert (await asked(world, "a", vendor))[1] == "Bearer sk-two"
    await put(tampered(keys.seal(openai(vendor.url, "sk-three"))))
    await world.update()
    cold = new_registry(world.database, keys, world.sessions, world.metrics, trusted=[vendor.url])
    await loaded(world, cold)
    for registry in (world.registry, cold):
        assert (await asked(replace(world, registry=registry), "a", vendor))[1] == "Bearer sk-two"
        condition = registry.snapshot.find("a").condition
        assert (condition.type, condition.reason) == ("Degraded", "SealTampered")
        assert top in condition.message
    await cold.aclose()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("chosen", ["", "  provider: openai-compatible\n"])
async def test_a_moved_address_takes_no_key_along(
    world: World, keys: Keys, vendor: OpenAIServer, sealed: bool, chosen: str
) -> None:
    """However it came into the store: an address above the key is asked without it."""
    top = keys.seal(openai("https://proxy.example"))
    own = OWN.format(id=uuid4(), more=f"llm:\n{chosen}  api_url: {vendor.url}\n")
    own = keys.seal(own, "api_url") if sealed else own
    await world.apply([with_layers(world, "a.yaml", own, {"_defaults.yaml": top})])
    await world.load()
    assert await asked(world, "a", vendor) == ("one", None)


@pytest.mark.parametrize("sealed", [True, False])
async def test_an_address_below_a_key_is_judged(world: World, keys: Keys, sealed: bool) -> None:
    """A seal vouches for its own layer's secrets only."""
    below = "llm:\n  provider: openai-compatible\n  model: m\n  api_url: https://evil.example\n"
    own = keys.seal(OWN.format(id=uuid4(), more="llm:\n  api_key: sk-mine\n"))
    below = keys.seal(below, "api_url") if sealed else below
    await world.apply([with_layers(world, "a.yaml", own, {"_defaults.yaml": below})])
    await world.load()
    assert await refusal(world, "a") == "SecretDestination"


async def test_a_fallbacks_key_stays_with_its_layer(world: World, keys: Keys, vendor: OpenAIServer) -> None:
    """A chain with an address of its own takes the place of the chain with the key."""
    chain = "  fallback:\n    - provider: openai-compatible\n      model: f\n"
    place = f"      api_url: {vendor.url}\n"
    top = keys.seal("llm:\n  provider: echo.local\n" + chain + place + "      api_key: sk-fallback\n")
    own = OWN.format(id=uuid4(), more=f"llm:\n{chain}      api_url: https://evil.example\n")
    await world.apply([with_layers(world, "a.yaml", own, {"_defaults.yaml": top})])
    await world.load()
    entry = world.entry("a")
    async with world.registry.lease("a"):
        pass
    assert entry.condition.type == "Ready"
    assert "sk-fallback" not in repr(entry.built)


async def test_another_owners_secret_is_not_inherited(world: World, keys: Keys, vendor: OpenAIServer) -> None:
    """The top is of ``default``: refused in the runtime, too, and fine where the agent has its own."""
    layers = {"_defaults.yaml": keys.seal(openai(vendor.url))}
    own = OWN.format(id=uuid4(), more="")
    await world.apply([with_layers(world, "acme/a.yaml", own, layers)])
    mine = keys.seal(OWN.format(id=uuid4(), more=openai(vendor.url, "sk-acme")))
    await world.apply([with_layers(world, "acme/b.yaml", mine, layers)])
    await world.load()
    assert await refusal(world, "acme/a") == "SealReused"
    assert (await asked(world, "acme/b", vendor))[1] == "Bearer sk-acme"


async def test_a_layer_that_is_gone_from_the_store(world: World) -> None:
    """Is never taken for one that says nothing."""
    manifest = with_layers(
        world,
        "a.yaml",
        OWN.format(id=uuid4(), more="llm:\n  provider: echo.local\n"),
        {"_defaults.yaml": "active: true\n"},
    )
    await world.apply([manifest])
    async with world.database.transaction() as connection:
        await connection.execute("DELETE FROM documents WHERE path = '_defaults.yaml'")
    await world.load()
    assert await refusal(world, "a") == "InvalidManifest"
