"""The sandboxes of this process. Workers are few by machine, not by caller, so all callers share them."""

from __future__ import annotations

from functools import cache

from agentsd.sandbox.pool import Sandbox


@cache
def get_shared_sandbox() -> Sandbox:
    """Return the sandbox, made at the first call; a process that reads no hostile data starts no worker."""
    return Sandbox()


@cache
def extraction_sandbox() -> Sandbox:
    """Return the one for files that may take a minute: requests and checks never wait behind them."""
    return Sandbox()


@cache
def get_recording_sandbox() -> Sandbox:
    """Return the one for recordings: uploads wait behind other uploads only."""
    return Sandbox()
