"""Verdict on an agent: the results of its probes and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from agentsd.providers.base import Knowledge, LiveAgent
from agentsd.services.checks import AgentCheckResult, run_checks
from agentsd.services.probe import ProbeResult, probe_agent


@dataclass(frozen=True, slots=True)
class AgentVerdict:
    """Verdict on one agent. ``problem`` is why nothing could be tested; then there is nothing else."""

    agent: str
    version: int = 0
    providers: tuple[ProbeResult, ...] = ()
    checks: tuple[AgentCheckResult, ...] = ()
    seconds: float = 0.0
    problem: str = ""
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Return whether every result is good."""
        found = [*(one.ok for one in self.providers), *(one.ok for one in self.checks)]
        return not self.problem and all(found)

    def as_json(self) -> dict[str, Any]:
        """Return ``{"agent", "ok", "providers": [...], "checks": [...], …}``, seconds to the millisecond."""
        told = asdict(self) | {"ok": self.ok, "seconds": round(self.seconds, 3)}
        told["checks"] = [asdict(one) | {"ok": one.ok} for one in self.checks]
        for one in (*told["providers"], *told["checks"]):
            one["seconds"] = round(one["seconds"], 3)
        return {key: value for key, value in told.items() if key not in ("problem", "fix") or value}


async def judge_agent(
    agent: LiveAgent, knowledge: Knowledge | None = None, *, probes: bool = True, checks: bool = True
) -> AgentVerdict:
    """Probe ``agent``, then run its checks. Where none of its LLMs answers they fail without being run."""
    began = perf_counter()
    findings = tuple(await probe_agent(agent)) if probes else ()
    results: tuple[AgentCheckResult, ...] = ()
    if checks:
        results = (
            _make_unasked_results(agent)
            if _is_mute(agent, findings)
            else tuple(await run_checks(agent, knowledge))
        )
    return AgentVerdict(agent.slug, agent.version, findings, results, perf_counter() - began)


def _is_mute(agent: LiveAgent, findings: Sequence[ProbeResult]) -> bool:
    llms = [one.ok for one in findings if one.at.startswith("llm")]
    return agent.llm is None or (bool(llms) and not any(llms))


def _make_unasked_results(agent: LiveAgent) -> tuple[AgentCheckResult, ...]:
    why = ("not run: no llm of this agent answers",)
    return tuple(AgentCheckResult(check.title, check.say, "", 0.0, why) for check in agent.spec.checks)
