"""The kinds of hostile input: each sends or writes one that a seeded generator made, and cleans up."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.format import CHECKSUM_BYTES, BadSnapshot, pack_snapshot
from tests.runtime.snapshots import ORIGIN, kept_of
from tests.services.speech import spoken
from tests.soak import shapes
from tests.soak.acme import TOKEN, ask
from tests.soak.site import BETA, CANARY, Site


class Hurt(Exception):
    """An invariant that does not hold: somebody else was hurt, or a secret came out."""


@dataclass
class Bench:
    """What an input works with; ``sent`` is what it sent, to be kept where it did harm."""

    site: Site
    session: aiohttp.ClientSession
    sent: list[bytes] = field(default_factory=list)
    mark: str = "mark"
    """The name of the other owner's agent that is edited to see whether edits still go live."""
    marks: int = 0
    settle_seconds: float = 15.0
    """So long may another owner's edit take while a hostile file is in the tree."""

    @property
    def beta(self) -> Path:
        """Beta's folder."""
        return self.site.agents / "beta"

    async def call(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str]:
        """One request of beta's editor. Raises ``Hurt`` for a 500 and for the key of its vendor."""
        self.sent.append(f"{method} {path} {headers}\n".encode("utf-8", "replace") + (body or b""))
        head = {"Authorization": f"Bearer {BETA}", "Content-Type": "application/json", **headers}
        url = f"{self.site.url}{path}"
        try:
            async with self.session.request(method, url, data=body, headers=head) as reply:
                text = (await reply.content.read(1 << 22)).decode("utf-8", "replace")
                status = reply.status
        except (aiohttp.ClientError, ValueError, UnicodeError):
            return 0, ""
        if CANARY in text:
            raise Hurt(f"{method} {path.partition('?')[0]}: the key of the vendor is in the reply")
        if status == 500:
            raise Hurt(f"{method} {path.partition('?')[0]}: 500 {text[:300]}")
        return status, text

    async def settled(self) -> None:
        """Edit an agent of the other owner, and wait until it is live. Raises ``Hurt`` if it is not."""
        self.marks += 1
        said = f"mark {self.marks}"
        file = self.site.agents / f"acme/{self.mark}.yaml"
        text = f"name: Mark\nllm:\n  provider: echo.local\n  reply: {said}\n"
        await asyncio.to_thread(file.write_text, text)
        try:
            async with asyncio.timeout(self.settle_seconds):
                while said not in (await ask(self.session, self.site.url, f"acme/{self.mark}", TOKEN))[1]:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Hurt(f"another owner's edit was not live after {self.settle_seconds:.0f} s") from None

    async def with_file(self, name: str, data: bytes) -> None:
        """Have a file in beta's folder for one settled round."""
        self.sent.append(f"beta/{name}\n".encode() + data)
        file = self.beta / name
        file.write_bytes(data)
        try:
            await self.settled()
        finally:
            with suppress(OSError):
                file.unlink()


Input = Callable[[Bench, Random], Awaitable[None]]

_MANIFEST = {
    "name": "A",
    "description": "d",
    "greeting": "hello",
    "language": "en",
    "llm": {"provider": "groq.com", "model": "m", "temperature": 0.5, "max_tokens": 100},
    "tts": {"provider": "kokoro.local", "url": "ws://127.0.0.1:9/x"},
    "turn": {"threshold": 0.5},
    "rag": {"sources": ["docs/a.md"], "top_k": 3},
}


async def manifest(bench: Bench, random: Random) -> None:
    """A manifest, mutated as a value or as bytes."""
    data = shapes.dumps(shapes.mutated(random, _MANIFEST))
    if random.random() < 0.3:
        data = shapes.damaged(random, data)
    if random.random() < 0.1:
        data = b"".join(b"key%d: [x\n" % number for number in range(random.choice((100, 60_000))))
    await bench.with_file("m.yaml", data)


async def seal(bench: Bench, random: Random) -> None:
    """A sealed manifest, its ``sops`` block mutated; further key services in it."""
    text = (bench.site.root / "sealed.yaml").read_text()
    if random.random() < 0.5:
        await bench.with_file("s.yaml", shapes.damaged(random, text.encode()))
        return
    extra = random.choice(
        (
            "    hc_vault:\n        - vault_address: {url}\n          engine_path: transit\n"
            "          key_name: k\n"
            '          created_at: "2026-01-01T00:00:00Z"\n          enc: vault:v1:AAAA\n',
            "    kms:\n        - arn: arn:aws:kms:us-east-1:1:key/1\n          enc: AAAA\n"
            '          created_at: "99999-01-01T00:00:00Z"\n          aws_profile: ""\n',
            "    pgp:\n        - fp: " + "A" * 4000 + "\n          enc: x\n",
            "    shamir_threshold: 99999999999\n",
        )
    ).replace("{url}", bench.site.vendor.url)
    await bench.with_file("s.yaml", text.replace("sops:\n", f"sops:\n{extra}", 1).encode())


async def user(bench: Bench, random: Random) -> None:
    """A user file of a third owner."""
    folder = bench.site.agents / "gamma"
    folder.mkdir(exist_ok=True)
    token = {
        "name": "n",
        "sha256": sha256(random.randbytes(8)).hexdigest(),
        "role": "editor",
        "expires": "2030-01-01",
    }
    data = shapes.dumps(shapes.mutated(random, {"email": "a@b.example", "tokens": [token]}))
    bench.sent.append(data)
    (folder / "_user.yaml").write_bytes(data)
    try:
        await bench.settled()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def document(bench: Bench, random: Random) -> None:
    """A PDF or a text that an agent is to know."""
    name = random.choice(("d.pdf", "d.pdf", "d.md", "d.txt"))
    made = shapes.pdf(random) if name == "d.pdf" else shapes.markdown(random).encode("utf-8", "replace")
    source = bench.beta / "docs" / name
    source.write_bytes(made)
    bench.sent.append(made)
    text = f"name: D\nllm: {{provider: echo.local}}\nrag: {{sources: [docs/{name}]}}\n"
    try:
        await bench.with_file("d.yaml", text.encode())
    finally:
        source.unlink(missing_ok=True)


async def name(bench: Bench, random: Random) -> None:
    """Something odd in the folder: a link, a pipe, a loop, a name that is not text, a tower of folders."""
    made = bench.beta / "odd"
    made.mkdir(exist_ok=True)
    shape = random.randrange(8)
    bench.sent.append(b"shape %d" % shape)
    here = os.fsencode(made)
    with suppress(OSError):
        if shape == 0:
            os.mkfifo(here + b"/pipe.yaml")
        elif shape == 1:
            Path(os.fsdecode(here + b"/.\xff.swp")).write_text("x")
        elif shape == 2:
            Path(os.fsdecode(here + b"/\xff.yaml")).write_text("name: x\n")
        elif shape == 3:
            for number in range(random.choice((3, 10))):
                (made / f"l{number}").symlink_to(random.choice(("..", ".", "../..", "../../acme")))
        elif shape == 4:
            (made / "out.yaml").symlink_to(
                random.choice(("/etc/passwd", "/proc/self/environ", "../../acme/good.yaml"))
            )
        elif shape == 5:
            (made / "/".join(["d"] * random.choice((20, 400)))).mkdir(parents=True)
        elif shape == 6:
            (made / ("n" * 250 + ".yaml")).write_text("name: x\n")
        else:
            (made / "dev.yaml").symlink_to(random.choice(("/dev/zero", "/dev/stdin", "/dev/full")))
    try:
        await bench.settled()
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def markdown(bench: Bench, random: Random) -> None:
    """A text for pages."""
    await bench.call("POST", "/api/markdown", shapes.dumps({"text": shapes.markdown(random)}))


async def api(bench: Bench, random: Random) -> None:
    """Writes, dry runs, plans, revisions and calls of an editor, with mutated bodies, queries and headers."""
    victim = "/api/agents/beta~victim"
    section = {"llm": {"provider": "echo.local", "reply": "x"}, "description": "d", "system_prompt": "p"}
    dry = random.choice(("", "?dry_run=true", "?wait=all", "?dry_run=" + "a" * 3000))
    body = shapes.dumps(shapes.mutated(random, section))
    chat = {
        "model": "beta/victim",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "n": 1,
        "tools": [],
    }
    merge = {"Content-Type": "application/merge-patch+json"}
    await random.choice(
        (
            lambda: bench.call("PATCH", victim + dry, body, **merge),
            lambda: bench.call("PUT", victim + dry, body),
            lambda: bench.call(
                "POST",
                "/api/agents" + dry,
                shapes.dumps(shapes.mutated(random, {"slug": "beta/n", **section})),
            ),
            lambda: bench.call(
                "POST", f"{victim}/rollback{dry}", shapes.dumps(shapes.mutated(random, {"version": 1}))
            ),
            lambda: bench.call("POST", f"{victim}/test?checks=true", body),
            lambda: bench.call(
                "GET", f"{victim}/revisions?diff=true&limit={random.choice((1, 100, -1, 10**30))}"
            ),
            lambda: bench.call(
                "GET",
                f"/api/agents?q={'%F0%9F%A7%A8' * 50}&limit=9&sort={random.choice(('slug', '-name', '%00'))}",
            ),
            lambda: bench.call("GET", "/api/sync"),
            lambda: bench.call("POST", "/v1/chat/completions", shapes.dumps(shapes.mutated(random, chat))),
            lambda: bench.call(
                "POST",
                "/v1/audio/transcriptions",
                shapes.damaged(random, _form()),
                **{"Content-Type": "multipart/form-data; boundary=b"},
            ),
            lambda: bench.call("PATCH", victim, shapes.damaged(random, body), **merge),
            lambda: bench.call(
                "PATCH", victim, shapes.nested(random.choice((1000, 100_000)), "[").encode(), **merge
            ),
        )
    )()
    (bench.beta / "victim.yaml").write_text("name: Victim\nllm:\n  provider: echo.local\n  reply: hello\n")
    (bench.beta / "n.yaml").unlink(missing_ok=True)


def _form() -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbeta/speech\r\n--b\r\n'
    return (
        head
        + b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFFxxxxWAVE\r\n--b--\r\n'
    )


async def vendor(bench: Bench, random: Random) -> None:
    """Beta's vendor answers as it likes: whole, streamed, vectors, sound, a transcript."""
    bench.site.seed_vendors(random)
    chat = {
        "model": random.choice(("beta/chat", "beta/knowing")),
        "messages": [{"role": "user", "content": "hours"}],
    }
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        await random.choice(
            (
                lambda: bench.call("POST", "/v1/chat/completions", shapes.dumps(chat)),
                lambda: bench.call("POST", "/v1/chat/completions", shapes.dumps(chat | {"stream": True})),
                lambda: bench.call(
                    "POST", "/v1/embeddings", shapes.dumps({"model": "beta/knowing", "input": ["a", "b"]})
                ),
                lambda: bench.call(
                    "POST",
                    "/v1/audio/speech",
                    shapes.dumps({"model": "beta/speech", "input": "a", "voice": "v"}),
                ),
                lambda: bench.call(
                    "POST",
                    "/v1/audio/speech",
                    shapes.dumps({"model": "beta/voice", "input": "a", "voice": "v"}),
                ),
                lambda: bench.call("POST", "/v1/audio/transcriptions", _form(), **form),
                lambda: bench.call("POST", "/api/agents/beta~chat/test", b"{}"),
            )
        )()
    finally:
        bench.site.seed_vendors(None)


async def indexing(bench: Bench, random: Random) -> None:
    """A document anew, embedded by a vendor that answers as it likes."""
    bench.site.seed_vendors(random)
    try:
        (bench.beta / "docs/a.md").write_text(f"# Hours {random.random()}\n\nNine to five.\n")
        await bench.settled()
    finally:
        bench.site.seed_vendors(None)


def _events() -> list[dict[str, Any]]:
    sound = base64.b64encode(spoken()[:48_000]).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    return [
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "instructions": "x",
                "audio": {"input": {"turn_detection": None}},
            },
        },
        {"type": "input_audio_buffer.append", "audio": sound},
        {"type": "input_audio_buffer.commit"},
        {"type": "conversation.item.create", "item": item},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 10},
        {"type": "conversation.item.delete", "item_id": "i"},
        {"type": "response.create", "response": {"instructions": "x"}},
        {"type": "response.cancel"},
    ]


async def realtime(bench: Bench, random: Random) -> None:
    """A call whose client sends mutated events, to mutated vendors."""
    bench.site.seed_vendors(random)
    head = {"Authorization": f"Bearer {BETA}"}
    try:
        async with bench.session.ws_connect(
            f"{bench.site.url}/v1/realtime?model=beta/voice", headers=head
        ) as socket:
            for event in random.sample(_events(), 6) * random.choice((1, 1, 5)):
                data = shapes.dumps(shapes.mutated(random, event) if random.random() < 0.7 else event)
                bench.sent.append(data[:100_000])
                if random.random() < 0.1:
                    await socket.send_bytes(data)
                else:
                    await socket.send_str(data.decode("utf-8", "replace"))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for message in socket:
                        if CANARY in str(message.data):
                            raise Hurt("a call: the key of the vendor is in an event")
    except (aiohttp.ClientError, ConnectionError):  # it hung up, as it may
        pass
    finally:
        bench.site.seed_vendors(None)


async def note(bench: Bench, random: Random) -> None:
    """A note of an unfinished edit that somebody put into the tree, and then an edit."""
    path = bench.site.agents / ".agentsd-intent.json"
    edit = {"path": "beta/victim.yaml", "before": None, "after": base64.b64encode(b"name: x\n").decode()}
    order = {"message": "m", "author": {"name": "Ada", "email": "ada@example.org"}}
    data = shapes.dumps(shapes.mutated(random, {"edits": [edit], "commit": order}))
    bench.sent.append(data)
    if random.random() < 0.15:
        path.mkdir()
    else:
        path.write_bytes(data)
    merge = {"Content-Type": "application/merge-patch+json"}
    try:
        await bench.call("PATCH", "/api/agents/beta~victim", b'{"description":"x"}', **merge)
        await bench.settled()
    finally:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)


async def snapshot(bench: Bench, random: Random) -> None:
    """A file of an earlier run, damaged, with a checksum that fits: read here, in this process."""
    data = b"".join(pack_snapshot(kept_of(1, 5), ORIGIN))
    data = shapes.damaged(random, data) if random.random() < 0.5 else _relined(random, data)
    if random.random() < 0.9:
        data += sha256(data).hexdigest().encode()[:CHECKSUM_BYTES]
    bench.sent.append(data)
    file = bench.site.root / "kept.snapshot"
    file.write_bytes(data)
    file.chmod(0o600)
    try:
        with suppress(BadSnapshot):
            found = await asyncio.to_thread(snapshotfile.read_snapshot, file, ORIGIN)
            if found:
                list(found[0].rows)
    except Exception as error:
        raise Hurt(f"a damaged snapshot raises {type(error).__name__}") from error


def _relined(random: Random, data: bytes) -> bytes:
    """One of the lines of JSON mutated."""
    lines = data.split(b"\n")
    places = [at for at, line in enumerate(lines) if line.startswith(b"{")]
    at = random.choice(places)
    lines[at] = shapes.dumps(shapes.mutated(random, json.loads(lines[at])))
    return b"\n".join(lines)


INPUTS: dict[str, Input] = {
    one.__name__: one
    for one in (
        manifest,
        seal,
        user,
        document,
        name,
        markdown,
        api,
        vendor,
        indexing,
        realtime,
        note,
        snapshot,
    )
}
