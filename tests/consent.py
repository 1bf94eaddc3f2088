"""Decide whether a check may install what it needs: a run of the tests must not change a machine unasked."""

from __future__ import annotations

import os
from collections.abc import Sequence

OPTION = "--install"


def may_install(arguments: Sequence[str]) -> bool:
    """Return whether installing was asked for, by the option or, in CI, by ``CI=true``."""
    return OPTION in arguments or os.environ.get("CI") == "true"
