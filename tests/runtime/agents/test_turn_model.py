"""Condition of an agent that asks for the end-of-turn model."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.audio import turn_model
from tests.runtime.conftest import Sealed
from tests.runtime.world import World


@pytest.mark.parametrize("installed", [True, False])
async def test_the_condition_names_a_model_that_is_not_installed(
    world: World, sealed: Sealed, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """The agent serves; its condition has the command. Who does not ask for the model is not bothered."""
    path = Path("smart-turn.onnx") if installed else None
    monkeypatch.setattr(turn_model, "find_turn_model", lambda: path)
    await world.put(smart=sealed(detection="smart"), plain=sealed())
    await world.load()
    for slug in ("smart", "plain"):
        async with world.registry.lease(slug) as agent:
            assert agent.llm is not None
    conditions = {slug: world.registry.snapshot.find(slug).condition for slug in ("smart", "plain")}
    assert {one.type for one in conditions.values()} == {"Ready"}
    assert conditions["plain"].reason == "Opened"
    if installed:
        assert conditions["smart"].reason == "Opened"
    else:
        assert conditions["smart"].reason == "TurnModelMissing"
        assert turn_model.INSTALL in conditions["smart"].message
