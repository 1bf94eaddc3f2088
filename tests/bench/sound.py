"""Speech by format: when its first byte is there, beside bare PCM, and what encoding costs.

The vendor's server sends 20 ms of sound at a time, in a process of its own. Formats are asked for by turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from agentsd.audio.encoder import FORMATS, import_codecs, make_encoder
from tests.bench.fleet import Fleet
from tests.bench.processes import up, workspace
from tests.bench.report import Figure, Scale, main, p50
from tests.bench.voice import manifest_of, vendor_servers
from tests.bench.wire import run as run_async
from tests.services.speech import spoken

RATE = 24_000
FRAME_BYTES = RATE // 50 * 2
"""Twenty milliseconds."""


def run(scale: Scale) -> Sequence[Figure]:
    """Speech: the first byte of every format, beside PCM; the cost of encoding."""
    with workspace() as folder, vendor_servers() as urls:
        made = Fleet(folder / "agents.d", folder / "no-key", 1)
        made.root.mkdir()
        made.key_file.write_text("")
        (made.root / "a.yaml").write_text(json.dumps(manifest_of(urls)))
        with up(made, folder) as server:
            first = run_async(_measure(server.url, scale.samples))
    pcm = p50(first["pcm"])
    figures = [Figure("speech, first byte of pcm, p50", pcm, "ms")]
    for name, values in first.items():
        if name != "pcm":
            figures.append(Figure(f"  {name}, later than pcm, p50", p50(values) - pcm, "ms", 50))
    figures += [_measure_encoder(name) for name, form in FORMATS.items() if form.codec]
    return figures


async def _measure(url: str, samples: int) -> dict[str, list[float]]:
    """Milliseconds until the first byte of each format."""
    first: dict[str, list[float]] = {name: [] for name in FORMATS}
    async with aiohttp.ClientSession() as session:
        for number in range(max(3, samples // 10) + 1):
            for name, values in first.items():
                body: dict[str, Any] = {"model": "a", "input": "It is nine.", "response_format": name}
                began = time.perf_counter()
                async with session.post(f"{url}/v1/audio/speech", json=body) as reply:
                    reply.raise_for_status()
                    await reply.content.readany()
                    spent = (time.perf_counter() - began) * 1000
                    await reply.read()
                if number:  # the first of each imports what it needs
                    values.append(spent)
    return first


def _measure_encoder(name: str) -> Figure:
    """CPU time for a second of sound, in pieces of 20 ms."""
    import_codecs()
    pcm = spoken(RATE) * 5
    encoder = make_encoder(FORMATS[name], RATE)
    began = time.thread_time()
    for at in range(0, len(pcm), FRAME_BYTES):
        encoder.encode(pcm[at : at + FRAME_BYTES])
    encoder.finish()
    spent = (time.thread_time() - began) * 1000
    return Figure(f"encoding a second of sound as {name}, CPU time", spent / (len(pcm) / 2 / RATE), "ms", 50)


if __name__ == "__main__":
    main(run)
