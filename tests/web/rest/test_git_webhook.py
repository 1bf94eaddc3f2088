"""POST /hooks/git: who has the secret sets off a pull, and nobody else does anything."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from agentsd.core.errors import ConfigError
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from agentsd.store.queries.pulls import PULL_CHANNEL, request_pull
from agentsd.telemetry import Metrics
from agentsd.web.middleware.policies import Policies
from agentsd.web.middleware.quota import QuotaMetrics, make_quota
from agentsd.web.middleware.rate_limit import RateLimiter
from agentsd.web.middleware.webhook_signature import GitWebhook, load_secrets
from agentsd.web.rest.git_webhook import BODY_BYTES_MAX
from tests.web.conftest import Make, Stack
from tests.web.middleware.test_request import TOKENS

SECRET = "the-secret-of-this-hook"
OLD = "the-secret-before-that-one"
BODY = json.dumps({"ref": "refs/heads/main", "after": "0" * 40}).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    """As GitHub and Gitea compute it."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()


class Pulls:
    """How often a pull was set off."""

    count = 0

    async def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def pulls() -> Iterator[Pulls]:
    """Counts."""
    return Pulls()


@pytest.fixture
async def stack(make: Make, pulls: Pulls) -> Stack:
    """A server that needs tokens everywhere else."""
    return await make(access=TOKENS, hook=GitWebhook((SECRET.encode(), OLD.encode()), pulls))


async def call(stack: Stack, headers: dict[str, str], body: bytes = BODY) -> int:
    """The reply's status."""
    async with stack.client.post(f"{stack.url}/hooks/git", data=BytesIO(body), headers=headers) as reply:
        return reply.status


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": f"sha256={signature(BODY)}"},
        {"X-Gitea-Signature": signature(BODY)},
        {"X-Forgejo-Signature": signature(BODY)},
        {"X-Gitlab-Token": SECRET},
        {"X-Gitlab-Token": OLD},
        {"X-Hub-Signature-256": f"sha256={signature(BODY, OLD)}"},
    ],
    ids=["github", "gitea", "forgejo", "gitlab", "rotated-token", "rotated-signature"],
)
async def test_every_forge_is_understood(stack: Stack, pulls: Pulls, headers: dict[str, str]) -> None:
    """202 and one pull, by any of the secrets, whatever the body says."""
    assert await call(stack, headers) == 202
    assert pulls.count == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {SECRET}"},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": signature(BODY)},
        {"X-Hub-Signature-256": f"sha1={signature(BODY)}"},
        {"X-Hub-Signature-256": f"sha256={signature(b'another body')}"},
        {"X-Hub-Signature-256": f"sha256={signature(BODY, 'a-secret-of-somebody-else')}"},
        {"X-Gitea-Signature": "é" * 64},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": SECRET[:-1]},
    ],
    ids=lambda headers: ",".join(headers) or "none",
)
async def test_what_is_not_signed_is_refused(stack: Stack, pulls: Pulls, headers: dict[str, str]) -> None:
    """401 and no pull."""
    assert await call(stack, headers) == 401
    assert pulls.count == 0


async def test_it_is_not_there_where_there_is_no_secret(make: Make) -> None:
    """404, signed or not."""
    stack = await make(access=TOKENS)
    assert await call(stack, {"X-Gitlab-Token": SECRET}) == 404
    assert await call(stack, {}) == 404


async def test_a_body_has_an_end(stack: Stack, pulls: Pulls) -> None:
    """413 for what is larger than any forge sends; a large one that is not is digested as it comes."""
    large = b"x" * (9 << 20)
    assert await call(stack, {"X-Gitea-Signature": signature(large)}, large) == 202
    async with stack.client.post(
        f"{stack.url}/hooks/git",
        data=BytesIO(b"x" * (BODY_BYTES_MAX + 1)),
        headers={"X-Gitlab-Token": SECRET},
    ) as reply:
        assert reply.status == 413
    assert pulls.count == 1


async def test_guessing_is_limited(make: Make, pulls: Pulls) -> None:
    """After so many wrong ones of an address 429; a right one still passes."""
    metrics = QuotaMetrics(Metrics())
    failed = make_quota("failed", "3/minute", "60/minute", None)
    guards = Policies(RateLimiter(metrics, failed=failed))
    stack = await make(access=TOKENS, hook=GitWebhook((SECRET.encode(),), pulls), guards=guards)
    assert [await call(stack, {"X-Gitlab-Token": "wrong"}) for _ in range(5)] == [401, 401, 401, 429, 429]
    assert await call(stack, {"X-Gitlab-Token": SECRET}) == 202


async def test_the_notification_reaches_every_puller(database: Database) -> None:
    """A ``serve`` asks through Postgres, on a channel of its own."""
    hints = [Listener(database.listener_dsn, channel=PULL_CHANNEL).hints() for _ in range(2)]
    assert [(await anext(one)).kind for one in hints] == ["connected"] * 2
    async with database.transaction() as connection:
        await request_pull(connection)
    async with asyncio.timeout(30):
        assert [(await anext(one)).kind for one in hints] == ["changed"] * 2
    for one in hints:
        await one.aclose()


def test_secrets_are_read_line_by_line(tmp_path: Path) -> None:
    """Comments and blanks aside; one that is too short, or none, is told without being quoted."""
    file = tmp_path / "secret"
    file.write_text(f"# for the forge\n{SECRET}\n\n{OLD}\n")
    assert load_secrets(file) == (SECRET.encode(), OLD.encode())
    for text in ("", "# nothing\n", "tooshort-1\n"):
        file.write_text(text)
        with pytest.raises(ConfigError) as refused:
            load_secrets(file)
        assert "tooshort" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_secrets(tmp_path / "missing")
