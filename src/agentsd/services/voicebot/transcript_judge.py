"""Judgement of a transcript: a contribution, or something that only sounded like one. Pure."""

from __future__ import annotations

from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.core.text.spoken_words import count_words, is_echo, is_ignored
from agentsd.services.voicebot.turn_state import Verdict
from agentsd.services.voicebot.turns import CallTurn


def judge_transcript(turn: CallTurn, text: str, settings: TurnSettings, spoken: str | None) -> Verdict:
    """Return what the speech of ``turn`` turned out to be; ``spoken``: the agent's newest answer."""
    if not count_words(text):
        return "words" if text.strip() and not turn.contested else "unheard"
    if not turn.contested:
        return "words"
    if repeats_agent(turn, text, spoken):
        return "echo"
    rule = settings.interruption
    too_few = rule.enabled and not turn.state.confirmed and count_words(text) < rule.min_words
    return "ignored" if too_few or is_ignored(text, settings.ignore) else "words"


def count_contribution(turn: CallTurn, text: str, settings: TurnSettings, spoken: str | None) -> int:
    """Return how many words of ``text`` are a contribution of the caller's."""
    if not turn.contested:
        return count_words(text)
    return 0 if repeats_agent(turn, text, spoken) else count_words(text, settings.ignore)


def repeats_agent(turn: CallTurn, text: str, spoken: str | None) -> bool:
    """Return whether a transcript is what the agent is saying. Callers do repeat older answers."""
    return spoken is not None and is_echo(text, spoken, suspected=turn.resembles)
