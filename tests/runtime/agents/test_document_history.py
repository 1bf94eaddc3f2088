"""An older document serves with what belonged to it then."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

from agentsd.core.manifest.agent import Attachment, Attachments, Manifest, compute_digest
from tests.runtime.world import Keys, World, loaded, new_registry, tampered, text_of
from tests.vendors.openai_server import OpenAIServer


def with_prompt(manifest: Manifest, text: str) -> Manifest:
    """``manifest`` with a file of that text as its prompt."""
    data = text.encode()
    attached = Attachments(Attachment("p.md", sha256(data).digest(), data))
    digest = compute_digest(manifest.digest, attached)
    return replace(manifest, digest=digest, document_digest=manifest.digest, attachments=attached)


async def test_an_older_document_brings_its_own_prompt(
    world: World, keys: Keys, vendor: OpenAIServer
) -> None:
    """Also in a replica that starts after the broken version came in: the two agree."""
    id = uuid4()
    plain = text_of(vendor.url, id=id).replace("system_prompt: Be kind.", "system_prompt_file: p.md")
    good = keys.seal(plain)
    await world.apply([with_prompt(world.manifest("a.yaml", good), "The first prompt.")])
    await world.load()
    async with world.registry.lease("a") as agent:
        assert agent.spec.system_prompt == "The first prompt."
    broken = tampered(keys.seal(text_of(vendor.url, id=id)))
    await world.apply([world.manifest("a.yaml", broken)])
    await world.update()
    cold = new_registry(world.database, keys, world.sessions, world.metrics, trusted=[vendor.url])
    await loaded(world, cold)
    for registry in (world.registry, cold):
        async with registry.lease("a") as agent:
            assert agent.spec.system_prompt == "The first prompt."
        assert registry.snapshot.find("a").condition.type == "Degraded"
    await cold.aclose()
