"""Features of a realtime client, each tried and printed as ``VERDICT [name, verdict, detail]``.

This file and its neighbours run in the environment of a client, which contains nothing of this project.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

BASE_URL = os.environ["OPENAI_BASE_URL"]
SOCKET_URL = BASE_URL.replace("http", "ws", 1) + "/realtime"
API_KEY = os.environ.get("OPENAI_API_KEY", "none")
MODEL = os.environ.get("AGENT", "assistant")
PIECE = 2400  # bytes: 50 ms
TIMEOUT_SECONDS = 20

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Returns the weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}

Feature = Callable[[], Awaitable[None]]
_features: list[tuple[str, Feature]] = []


def feature(name: str) -> Callable[[Feature], Feature]:
    """Register a function that returns if the feature works."""

    def register(function: Feature) -> Feature:
        _features.append((name, function))
        return function

    return register


def read_speech() -> bytes:
    """Return a question of PCM at 24,000 Hz, with silence before and after it."""
    spoken = Path(os.environ["SPEECH"]).read_bytes()
    return bytes(9600) + spoken + bytes(48_000)


def cut(pcm: bytes) -> list[bytes]:
    """Return PCM in the pieces that a microphone sends."""
    return [pcm[at : at + PIECE] for at in range(0, len(pcm), PIECE)]


def run_features(package: str) -> None:
    """Try every feature, and end the process: threads of some clients never end."""
    if not os.environ.get("SHOW_TRACES"):
        logging.disable(logging.CRITICAL)
    print("VERSION " + importlib.metadata.version(package), flush=True)
    wanted = sys.argv[1:]
    for name, function in _features:
        if not wanted or name in wanted:
            verdict, detail = asyncio.run(_try(function))
            print("VERDICT " + json.dumps([name, verdict, detail]), flush=True)
    os._exit(0)


async def _try(function: Feature) -> tuple[str, str]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await function()
    except BaseException as error:
        if os.environ.get("SHOW_TRACES"):
            traceback.print_exc()
        return "red", f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return "green", ""
