"""Features of a client, tried one after the other. One line of JSON for each goes to standard output.

This file and its neighbours run in the environment of a client, which contains nothing of this project.
Names of features are arguments: only those are tried that begin with one of them.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE_URL = os.environ.get("OPENAI_BASE_URL", "")
SECURE_URL = os.environ.get("SECURE_BASE_URL", "")
SOCKET_URL = BASE_URL.replace("http", "ws", 1) + "/realtime"
API_KEY = os.environ.get("OPENAI_API_KEY", "")
MODEL = os.environ.get("AGENT", "assistant")
VOICE_MODEL = os.environ.get("VOICE_AGENT", "voice")
RECORDING = os.environ.get("RECORDING", "")
ANSWER, TRANSCRIPT = "Paris", "capital"
INSTRUCTIONS, INSTRUCTIONS_QUESTION = "Be brief.", "What are your instructions?"
TIMEOUT_SECONDS = 60
PIECE_BYTES = 2400  # 50 ms

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Returns the weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
"""Tool of realtime sessions: the agent calls it with ``{"place": "Bonn"}``."""

_features: list[tuple[str, Callable[[], Any], str]] = []


def feature(name: str, *, refused: str = "") -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function that returns if the feature works; ``refused`` is what a refusal must name."""

    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        _features.append((name, function, refused))
        return function

    return register


def read_speech() -> list[bytes]:
    """Return a spoken question, PCM at 24,000 Hz with silence around it, in the pieces of a microphone."""
    pcm = bytes(9600) + Path(os.environ["SPEECH"]).read_bytes() + bytes(48_000)
    return [pcm[at : at + PIECE_BYTES] for at in range(0, len(pcm), PIECE_BYTES)]


def run_features(*modules: str) -> None:
    """Try every feature; ``modules`` register more of them."""
    logging.disable(logging.CRITICAL)
    for module in modules:
        _load(module)
    wanted = tuple(sys.argv[1:])
    with asyncio.Runner() as runner:  # one loop: clients keep connections for the next feature
        for name, function, refused in _features:
            if wanted and not name.startswith(wanted):
                continue
            if inspect.iscoroutinefunction(function):
                verdict, detail = runner.run(_try(function, refused))
            else:
                verdict, detail = _try_now(function, refused)
            print("VERDICT " + json.dumps([name, verdict, detail]), flush=True)
        os._exit(0)  # threads of some clients never end


def _load(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        print("VERDICT " + json.dumps([module, *_judge(error, "")]), flush=True)


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
