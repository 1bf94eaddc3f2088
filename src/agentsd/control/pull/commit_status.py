"""Commit statuses: the result of a sync, sent to the forge, which shows it beside the commit.

GitHub: POST /repos/{owner}/{repo}/statuses/{sha}
https://docs.github.com/rest/commits/statuses (Gitea and Forgejo use the same below /api/v1).
GitLab: POST /projects/{path, percent-encoded}/statuses/{sha}
https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

import aiohttp

from agentsd.control.pull.puller import CommitStatus
from agentsd.core.errors import ConfigError
from agentsd.core.secret import Secret
from agentsd.core.trust.remotes import Remote
from agentsd.core.trust.rules import is_http_url

ForgeKind = Literal["github", "gitlab"]

DESCRIPTION_MAX = 140  # GitHub's limit
ATTEMPTS_MAX = 5
_POST_TIMEOUT_SECONDS = 10.0
_KNOWN_FORGES: dict[str, tuple[ForgeKind, str]] = {
    "github.com": ("github", "https://api.github.com"),
    "gitlab.com": ("gitlab", "https://gitlab.com/api/v4"),
    "codeberg.org": ("github", "https://codeberg.org/api/v1"),
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Forge:
    """Address and credential of a forge that receives statuses."""

    kind: ForgeKind
    api: str  # without a slash at its end
    project: str  # "org/repo"
    token: Secret
    context: str = "agentsd"  # the name of the status

    @classmethod
    def of(cls, remote: Remote, token: Secret, *, kind: ForgeKind | None, api: str, source: str) -> Forge:
        """Return the forge of ``remote``. Raises ``ConfigError`` where it is neither known nor given."""
        known = _KNOWN_FORGES.get(remote.host)
        if known is None and not (kind and api):
            raise ConfigError(
                f"commit statuses: {remote.host or 'a path'} is not a known forge",
                hint="set AGENTSD_FORGE (github or gitlab) and AGENTSD_FORGE_URL, its API",
            )
        kind, address = (
            kind or (known[0] if known else "github"),
            (api or (known[1] if known else "")).rstrip("/"),
        )
        if not is_http_url(address) or "@" in address or "?" in address:
            hint = "write https://api.github.com or https://gitlab.example.org/api/v4"
            raise ConfigError("AGENTSD_FORGE_URL is not an API address", hint=hint)
        project = remote.path.strip("/").removesuffix(".git")
        return cls(kind, address, project, token, f"agentsd/{source}")

    def url(self, commit: str) -> str:
        """Return the URL at which the status of ``commit`` is set."""
        if self.kind == "github":
            return f"{self.api}/repos/{quote(self.project)}/statuses/{commit}"
        return f"{self.api}/projects/{quote(self.project, safe='')}/statuses/{commit}"

    def body(self, verdict: CommitStatus) -> dict[str, str]:
        """Return the status as the request's body."""
        text = (
            verdict.text
            if len(verdict.text) <= DESCRIPTION_MAX
            else f"{verdict.text[: DESCRIPTION_MAX - 1]}…"
        )
        if self.kind == "github":
            state = "success" if verdict.good else "failure"
            return {"state": state, "context": self.context, "description": text}
        return {"state": "success" if verdict.good else "failed", "name": self.context, "description": text}

    def headers(self) -> dict[str, str]:
        """Return the credential, as each kind of forge expects it."""
        token = self.token.reveal()
        given = {"Authorization": f"Bearer {token}"} if self.kind == "github" else {"PRIVATE-TOKEN": token}
        return {**given, "Accept": "application/json", "User-Agent": "agentsd"}


@dataclass
class StatusSender:
    """Background sender of statuses; only the newest one is worth sending."""

    forge: Forge
    delay: float = 1.0  # s before the second attempt
    _waiting: asyncio.Queue[CommitStatus] = field(default_factory=asyncio.Queue)

    def tell(self, verdict: CommitStatus) -> None:
        """Send ``verdict`` in the background, as soon as possible."""
        self._waiting.put_nowait(verdict)

    async def run(self) -> None:
        """Send until cancelled. A forge that is unreachable, or refuses, costs log lines and nothing else."""
        timeout = aiohttp.ClientTimeout(total=_POST_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            while True:
                await self._send(session, await self._waiting.get())

    async def _send(self, session: aiohttp.ClientSession, verdict: CommitStatus) -> None:
        """Try until it is sent, refused, or replaced by a newer one."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            status = await self._post(session, verdict)
            if status is not None and status < 300:
                return
            if (status is not None and status < 500 and status != 429) or not self._waiting.empty():
                break
            longest = self.delay * 2.0**attempt
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  (jitter)
        _log.warning(
            "the forge did not accept a commit's status",
            extra={"commit": verdict.commit, "status": status, "forge": self.forge.api},
        )

    async def _post(self, session: aiohttp.ClientSession, verdict: CommitStatus) -> int | None:
        """Post a status and return the reply's status code; None without a reply."""
        forge = self.forge
        try:
            async with session.post(
                forge.url(verdict.commit),
                json=forge.body(verdict),
                headers=forge.headers(),
                allow_redirects=False,  # the token is for this host only
            ) as reply:
                return reply.status
        except Exception:  # whatever a forge answers
            return None
