"""Switch-overs under load: nobody's chat fails, edits come back, and what is reported is true."""

from __future__ import annotations

import pytest

from tests.soak.switch_over import NAMES, run

LIVE_SECONDS = 5.0
"""Goal, from the moment that writes are taken again to an edit that is served; the machine may be busy."""


@pytest.mark.soak
@pytest.mark.parametrize("form", NAMES)
async def test_a_switch_over_under_load(form: str) -> None:
    """Both forms: a server that is fenced for a while, and an old primary that stays up, read-only."""
    report = await run(form)
    assert (report.failures, report.wrong) == ([], []), report.line()
    assert report.chats > 100
    assert report.live_seconds <= LIVE_SECONDS * 3, report.line()
    assert report.status == (True, False)
