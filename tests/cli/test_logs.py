"""What is logged: of this program all, of libraries nothing that came from outside."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys

import pytest

from agentsd.cli.logs import make_formatter
from tests.vendors.leaks import net

CANARY = "canary-7d1f-secret-that-nobody-may-see"


def record(name: str, message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, info)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "one",
    [
        record("psycopg.pool", "error connecting in %r: %s", "pool-1", CANARY),
        record("aiohttp.client", "Error while closing connector: %r", ValueError(CANARY)),
        record("asyncio", f"Task exception was never retrieved\nfuture: <Task ValueError('{CANARY}')>"),
        record("aiohttp.server", "Error handling request", error=ValueError(CANARY)),
        record("redis", f"lost {CANARY}"),
    ],
    ids=["arguments", "repr", "context", "exception", "text"],
)
def test_a_librarys_arguments_are_not_logged(form: str, one: logging.LogRecord) -> None:
    """They hold URLs, peers and the texts of exceptions; its own words, and the kind of error, stay."""
    line = make_formatter(form).format(one)
    assert CANARY not in line
    assert one.name in line
    assert str(one.msg)[:10] in line or not (one.args or one.name == "asyncio")
    assert not one.exc_info or "ValueError" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_our_own_words_are_logged(form: str) -> None:
    """With their extras."""
    one = record("agentsd.web", "a provider did not answer: %s", "groq.com")
    one.kind = "llm"
    line = make_formatter(form).format(one)
    assert "a provider did not answer: groq.com" in line
    assert (json.loads(line)["kind"] if form == "json" else line.partition("kind=")[2]) == "llm"


async def test_a_task_that_nobody_awaits_does_not_tell_its_error() -> None:
    """asyncio reports it when the task is collected."""

    async def failing() -> None:
        raise ValueError(CANARY)

    with net() as caught:
        task = asyncio.ensure_future(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        asyncio.get_running_loop().call_exception_handler({"message": "m", "exception": ValueError(CANARY)})
    assert any("never retrieved" in text for text in caught.texts)
    assert not [text for text in caught.texts if CANARY in text]


FAILING = f"""
import threading
from agentsd.cli.logs import set_up_logging

set_up_logging("text", "info")

class Failing:
    def __del__(self):
        raise ValueError("{CANARY[:7]}" + "{CANARY[7:]}")

def fail():
    raise ValueError("{CANARY[:7]}" + "{CANARY[7:]}")

Failing()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""


def test_finalizers_and_threads_do_not_tell_their_error() -> None:
    """Python would print it past every logger."""
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, check=True)
    assert "unexpected ValueError in a finalizer" in done.stderr
    assert "unexpected ValueError in a thread" in done.stderr
    assert CANARY not in done.stderr


ENDED = """
from agentsd.cli import main
class Panic(BaseException): pass
def fail(**_): raise {error}
main.cli.main = fail
main.main()
"""


@pytest.mark.parametrize("kind", ["Panic", "SystemExit", "ValueError"])
def test_what_ends_a_command_does_not_tell_its_text(kind: str) -> None:
    """A panic in native code and a library that ends the process as well: by type and place only."""
    code = [sys.executable, "-c", ENDED.format(error=f"{kind}('{CANARY}')")]
    ended = subprocess.run(code, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert CANARY not in ended.stderr + ended.stdout
    assert kind in ended.stderr
