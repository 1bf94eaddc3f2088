"""/v1/chat/completions: what going through agentsd adds to calling the backend directly.

The backend speaks OpenAI's protocol and answers at once, in a process of its own; all are asked by
turns. An aiohttp proxy that only passes bytes on (``bare_proxy``) is the floor of any proxy in Python.
Where ``AGENTSD_BENCH_LITELLM`` names the program ``litellm``, its proxy is measured as well.
agentsd and LiteLLM check the same bearer token.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.bench.fleet import Fleet
from tests.bench.processes import READY_SECONDS, Server, serving, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import Load, load, request
from tests.bench.wire import run as run_async

CONNECTIONS = 20
LITELLM = "AGENTSD_BENCH_LITELLM"
TOKEN = f"sk-{secrets.token_hex(32)}"

Loads = Mapping[str, Sequence[Load]]
"""What each server did, round by round."""


def run(scale: Scale) -> Sequence[Figure]:
    """/v1/chat/completions: what going through agentsd adds to calling the backend directly."""
    with workspace() as folder, ExitStack() as stack:
        made = Fleet(folder / "agents.d", folder / "no-key", 1)
        backend = stack.enter_context(_backend(made))
        _write_manifest(made, backend.url)
        (folder / "tokens").write_text(f"{TOKEN}\n")
        limits = dict.fromkeys(("rate_limit", "rate_limit_address"), "off")
        ours = stack.enter_context(up(made, folder, token_file=str(folder / "tokens"), **limits))
        bare = [sys.executable, "-m", "tests.bench.bare_proxy", backend.url]
        proxy = stack.enter_context(serving(bare, made.environ()))
        servers = {"backend": backend, "bare proxy": proxy, "agentsd": ours}
        if litellm := os.environ.get(LITELLM):
            servers["litellm"] = stack.enter_context(_litellm(litellm, folder, backend.url))
        else:
            print(f"{LITELLM} is not set: LiteLLM's proxy is not measured", file=sys.stderr)
        _by_turns(servers, Scale.tiny(), CONNECTIONS)
        alone = _by_turns(servers, scale, 1)
        streams = _by_turns(servers, scale, 1, stream=True)
        busy = _by_turns(servers, scale, CONNECTIONS)
        busy_streams = _by_turns(servers, scale, CONNECTIONS, stream=True)
    return [
        *_added("chat, added to the backend", alone, "latencies", 1.0),
        *_added("chat streamed, first chunk, added", streams, "firsts", None),
        *_rates("chat", busy),
        *_rates("chat streamed", busy_streams),
    ]


def _added(what: str, loads: Loads, kind: str, goal: float | None) -> Iterator[Figure]:
    """Milliseconds over calling the backend directly, of the median and the 99th percentile."""
    of = {name: [v * 1e3 for one in many for v in getattr(one, kind)] for name, many in loads.items()}
    for quantile, limit in ((p50, goal), (p99, None)):
        direct = quantile(of["backend"])
        anchor = quantile(of["litellm"]) - direct if "litellm" in of else None
        yield Figure(
            f"{what}, {quantile.__name__}",
            quantile(of["agentsd"]) - direct,
            "ms",
            limit,
            anchor=anchor,
            against="LiteLLM's proxy, same backend" if anchor else "",
        )
    yield Figure("  directly, p50", p50(of["backend"]), "ms")


def _rates(kind: str, loads: Loads) -> Iterator[Figure]:
    rates = {name: p50([one.rate for one in many]) for name, many in loads.items()}
    what = f"{kind}, requests/s at {CONNECTIONS} connections"
    yield Figure(what, rates["agentsd"], "/s", anchor=rates["backend"], against="the backend, asked directly")
    yield Figure("  over a bare proxy's", rates["agentsd"] / rates["bare proxy"], "×", 0.6, at_least=True)
    yield Figure("  a bare proxy's requests/s", rates["bare proxy"], "/s")
    if "litellm" in rates:
        yield Figure("  over LiteLLM's", rates["agentsd"] / rates["litellm"], "×", 20, at_least=True)
        yield Figure("  LiteLLM's requests/s", rates["litellm"], "/s")


def _by_turns(
    servers: Mapping[str, Server], scale: Scale, connections: int, *, stream: bool = False
) -> Loads:
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(scale.rounds):
        for name, server in servers.items():
            asked = _request(server.url, stream=stream)
            work = load(server.url, asked, connections=connections, seconds=scale.seconds)
            loads[name].append(run_async(work))
    return loads


def _request(url: str, *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": "Hello, how are you today?"}]
    body = json.dumps({"model": "chat", "messages": messages, "stream": stream}).encode()
    headers = {"content_type": "application/json", "authorization": f"Bearer {TOKEN}"}
    return request("POST", f"{url}/v1/chat/completions", body, **headers)


@contextmanager
def _backend(made: Fleet) -> Iterator[Server]:
    with serving([sys.executable, "-m", "tests.vendors.openai_server"], made.environ()) as server:
        yield server


def _write_manifest(made: Fleet, backend: str) -> None:
    made.root.mkdir()
    made.key_file.write_text("")
    (made.root / "chat.yaml").write_text(
        "id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11\nsystem_prompt: You are terse.\n"
        f"llm:\n  provider: openai-compatible\n  model: m\n  api_url: {backend}\n"
    )


@contextmanager
def _litellm(program: str, folder: Path, backend: str) -> Iterator[Server]:
    """LiteLLM's proxy as its own documentation starts it, without a database and without logging."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: chat\n    litellm_params:\n      model: openai/m\n"
        f"      api_base: {backend}/v1\n      api_key: none\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOG": "ERROR"}
    environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": TOKEN}
    with serving(command, environ, url) as server:
        _await_health(f"{url}/health/liveliness")
        yield server


def _await_health(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):  # noqa: S310  (our own server)
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {url}")


if __name__ == "__main__":
    main(run)
