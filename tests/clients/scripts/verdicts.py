"""Features of a client, tried one after the other. One line of JSON for each goes to standard output.

This file and its neighbours run in the environment of a client, which contains nothing of this project.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

BASE_URL = os.environ.get("OPENAI_BASE_URL", "")
API_KEY = os.environ.get("OPENAI_API_KEY", "")
MODEL = os.environ.get("AGENT", "assistant")
RECORDING = os.environ.get("RECORDING", "")
ANSWER, TRANSCRIPT = "Paris", "capital"
TIMEOUT_SECONDS = 60

_features: list[tuple[str, Callable[[], Any], str]] = []


def feature(name: str, *, refused: str = "") -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function that returns if the feature works; ``refused`` is what a refusal must name."""

    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        _features.append((name, function, refused))
        return function

    return register


def run_features() -> None:
    """Try every feature."""
    logging.disable(logging.CRITICAL)
    wanted = sys.argv[1:]
    with asyncio.Runner() as runner:  # one loop: clients keep connections for the next feature
        for name, function, refused in _features:
            if wanted and name not in wanted:
                continue
            if inspect.iscoroutinefunction(function):
                verdict, detail = runner.run(_try(function, refused))
            else:
                verdict, detail = _try_now(function, refused)
            print("VERDICT " + json.dumps([name, verdict, detail]), flush=True)
        os._exit(0)  # threads of some clients never end


async def _try(function: Callable[[], Any], refused: str) -> tuple[str, str]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await function()
    except Exception as error:
        return _judge(error, refused)
    return ("red", "it was not refused") if refused else ("green", "")


def _try_now(function: Callable[[], Any], refused: str) -> tuple[str, str]:
    try:
        function()
    except Exception as error:
        return _judge(error, refused)
    return ("red", "it was not refused") if refused else ("green", "")


def _judge(error: BaseException, refused: str) -> tuple[str, str]:
    said = " ".join(str(error).split())
    if refused and refused in said and getattr(error, "status_code", 400) in (400, 404, 405):
        return "refused by name", refused
    if os.environ.get("SHOW_TRACES"):
        traceback.print_exc()
    return "red", f"{type(error).__name__}: {said}"[:400]
