"""What schemathesis loads beside its own checks (``SCHEMATHESIS_HOOKS``); it runs in a process of its own."""

from __future__ import annotations

from typing import Any

import schemathesis

NO_FAULT = {503: "agent_unavailable"}
"""An agent that is suspended, or lacks the organ that is asked for, is what its manifest says: no fault."""


@schemathesis.check
def no_server_error(ctx: Any, response: Any, case: Any) -> None:
    """Nothing of 500 and above, but for an agent that cannot do what is asked of it."""
    status = response.status_code
    if status >= 500 and code_of(response) != NO_FAULT.get(status, ""):
        raise AssertionError(f"server error {status}: {response.text[:500]}")


def code_of(response: Any) -> str:
    """The problem's code, in either shape."""
    told = response.json()
    return str(told.get("code") or told.get("error", {}).get("code"))
