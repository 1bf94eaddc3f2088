"""The one word: whether an agent answers, decided in one place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentsd.core.ledger.failure import TEXTS, make_cause
from agentsd.core.ledger.status import KindHealth, StatusCause, decide_status

NOW = datetime(2026, 12, 1, tzinfo=UTC)
REFUSED = StatusCause("UnknownKey", "1:1 unknown key", NOW)
GOOD = KindHealth("llm", 3, False, NOW)
BAD = KindHealth("tts", 3, True, NOW, StatusCause("wrong-key", "no", NOW))


@pytest.mark.parametrize(
    ("active", "refused", "health", "word"),
    [
        (True, None, [], "Untested"),
        (True, None, [GOOD], "Ready"),
        (True, None, [GOOD, BAD], "Failing"),
        (True, None, [KindHealth("llm", 2, False, NOW)], "Untested"),  # of the version before
        (True, None, [KindHealth("llm", 2, True, NOW)], "Untested"),  # the edit may be the remedy
        (False, None, [BAD], "Suspended"),
        (False, REFUSED, [], "File refused"),
        (True, REFUSED, [BAD], "File refused"),
    ],
)
def test_one_word(active: bool, refused: StatusCause | None, health: list[KindHealth], word: str) -> None:
    """What somebody has to correct comes first, then what is meant, then what was seen."""
    assert decide_status(3, active=active, refused=refused, health=health).word == word


def test_the_section_that_failed_first_is_the_cause() -> None:
    """Later ones may be its consequence."""
    later = KindHealth("llm", 3, True, NOW + timedelta(seconds=1), StatusCause("timeout", "", NOW))
    assert decide_status(3, active=True, refused=None, health=[later, BAD]).cause is BAD.cause


@pytest.mark.parametrize("reason", TEXTS)
def test_every_reason_has_a_text_and_a_place(reason: str) -> None:
    """With the place of a fallback where that failed; a code is quoted only if it looks like one."""
    cause = make_cause("llm", "groq.com", reason, "some_code", "acme/sales", NOW, "llm.fallback[0]")
    assert cause.message.startswith("llm: groq.com: ")
    assert cause.message.endswith("(some_code)")
    assert cause.fix
    assert cause.field.startswith("llm.fallback[0]")
    assert "{" not in cause.fix + cause.message
    told = make_cause("llm", "groq.com", "of a later version", "sk-Secret words", "a", NOW)
    assert (told.reason, "sk-" in told.message) == ("failed", False)
