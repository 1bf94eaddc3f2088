"""Every format of sound is understood, in and out."""

from __future__ import annotations

import pytest

from agentsd.providers.catalog import Catalog
from tests.soak.sound import ERRORS_MAX, MANIFEST, RECORDED, SPOKEN, measure


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_every_format_is_understood(catalog: Catalog) -> None:
    """Through a whole server and the offline agent: at most 15 % of the words are wrong."""
    for kind in ("tts", "stt"):
        needed = catalog.vendor(kind, MANIFEST[kind]["provider"]).needs
        if needed and needed.missing():
            pytest.skip(f"not installed: {needed.advice()}")
    rows = measure(3, 1)
    print(", ".join(f"{row.name} {row.errors:.1%}" for row in rows))
    assert len(rows) >= len(SPOKEN) + len(RECORDED)
    assert max(row.errors for row in rows) <= ERRORS_MAX
