"""What only looks sealed never runs."""

from __future__ import annotations

import pytest

from agentsd.core.errors import AgentUnavailable
from tests.runtime.world import Keys, World, text_of
from tests.vendors.openai_server import OpenAIServer


async def test_a_stray_ciphertext_is_refused(world: World, keys: Keys, vendor: OpenAIServer) -> None:
    """However it came into the store: nothing of it is sent as a prompt."""
    sealed = keys.seal(text_of(vendor.url))
    copied = sealed[sealed.index("ENC[") : sealed.index("]") + 1]
    await world.put(a=f"greeting: {copied}\n{sealed}")
    await world.load()
    with pytest.raises(AgentUnavailable) as raised:
        async with world.registry.lease("a"):
            pass
    assert raised.value.reason == "SealStray"
