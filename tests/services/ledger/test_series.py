"""Series of agents: only if they are asked for, and of no more agents than that."""

from __future__ import annotations

from uuid import UUID

from agentsd.services.ledger.series import AgentSeries
from agentsd.services.turn_records.record import TurnAgent, TurnRecord, TurnTimes
from agentsd.telemetry import Metrics


def test_the_number_of_agents_is_bounded() -> None:
    """The first ones have their names, the others are one."""
    metrics = Metrics()
    series = AgentSeries(metrics, 2)
    for number in range(5):
        agent = TurnAgent(UUID(int=number), f"a{number}", "default", 1, None)
        for _ in range(2):
            series.count(TurnRecord("c", "chat", agent, TurnTimes(0.0, 0.0, None, 0.3), "answered"))
    value = metrics.registry.get_sample_value
    counted = {
        name: value("agentsd_agent_turns_total", {"agent": name, "reason": "answered"}) for name in NAMES
    }
    assert counted == {"a0": 2, "a1": 2, "others": 6, "a2": None}
    assert value("agentsd_agent_first_seconds_count", {"agent": "others"}) == 6


NAMES = ("a0", "a1", "others", "a2")
