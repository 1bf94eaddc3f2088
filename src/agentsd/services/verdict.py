"""Verdict on an agent: the results of its probes and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from agentsd.providers.base import Knowledge, LiveAgent
from agentsd.services.checks import AgentCheckResult, run_checks
from agentsd.services.probe import ProbeResult, probe_agent


class ProbeJson(TypedDict):
    """Result of probing one provider."""

    at: Annotated[str, Field(examples=["llm.fallback[0]"])]
    provider: str
    ok: bool
    seconds: Annotated[
        float, Field(description="To the first token or sound, to the end of the transcript, to the vector.")
    ]
    message: str
    reason: Annotated[str, Field(description="For programs; empty where all is well.")]
    fix: str


class CheckJson(TypedDict):
    """Result of one check; it passed if `failures` is empty."""

    title: str
    say: str
    answer: str
    seconds: float
    failures: list[str]
    ok: bool


class VerdictJson(TypedDict):
    """Verdict on one agent. `problem` is why nothing could be tested; then there is nothing else."""

    agent: str
    version: int
    ok: bool
    providers: list[ProbeJson]
    checks: list[CheckJson]
    seconds: float
    problem: NotRequired[str]
    fix: NotRequired[str]


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

    def as_json(self) -> VerdictJson:
        """Return the verdict for programs, seconds to the millisecond."""
        told: VerdictJson = {
            "agent": self.agent,
            "version": self.version,
            "ok": self.ok,
            "providers": [_probe_to_json(one) for one in self.providers],
            "checks": [_check_to_json(one) for one in self.checks],
            "seconds": round(self.seconds, 3),
        }
        if self.problem:
            told["problem"] = self.problem
        if self.fix:
            told["fix"] = self.fix
        return told


def _probe_to_json(one: ProbeResult) -> ProbeJson:
    return {
        "at": one.at,
        "provider": one.provider,
        "ok": one.ok,
        "seconds": round(one.seconds, 3),
        "message": one.message,
        "reason": one.reason,
        "fix": one.fix,
    }


def _check_to_json(one: AgentCheckResult) -> CheckJson:
    return {
        "title": one.title,
        "say": one.say,
        "answer": one.answer,
        "seconds": round(one.seconds, 3),
        "failures": list(one.failures),
        "ok": one.ok,
    }


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
