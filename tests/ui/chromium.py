"""The browser that the tests of the pages drive: Debian's chromium, real, without a screen.

``chromium-headless-shell`` is the same engine without the windows around it, and takes half the computing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SPOKEN = Path(__file__).parents[1] / "services/hours.wav"
"""What the microphone hears: "What are your opening hours?", again and again."""

MISSING = (
    "the tests of the pages need a browser, and there is none: apt-get install chromium-headless-shell, "
    "or as root python -m tests.browser --install"
)


def find() -> str | None:
    """The path of a browser on this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """At work, with a microphone that plays ``SPOKEN``."""
    program = find()
    assert program is not None
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={SPOKEN}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # chromium refuses to run as root otherwise
    async with async_playwright() as playwright:
        one = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield one
        finally:
            await one.close()
