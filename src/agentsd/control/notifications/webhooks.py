"""Webhooks that receive notifications: a file of URLs, which are secrets, and the message formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from agentsd.core.errors import ConfigError
from agentsd.core.names import escape_unprintable
from agentsd.core.trust.rules import is_http_url

WebhookKind = Literal["json", "slack"]

NotificationState = Literal["failing", "recovered"]

_SLACK_PREFIX = "slack:"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Webhook. Its URL is never shown: whoever has it may post."""

    url: str = field(repr=False)
    kind: WebhookKind
    line: int  # of the file

    @property
    def fingerprint(self) -> str:
        """Return an identifier that does not contain the URL."""
        return sha256(f"{self.kind} {self.url}".encode()).hexdigest()[:16]


def read_webhooks(file: Path) -> tuple[Webhook, ...]:
    """Read one URL a line, ``slack:`` before those of Slack's kind; skip empty lines and ``#`` lines.

    Raises ``ConfigError``, which names the line and not its content.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{file} cannot be read", hint="AGENTSD_NOTIFY_URL_FILE: one URL a line") from None
    found = [_parse_webhook(file, number, line.strip()) for number, line in enumerate(lines, 1)]
    return tuple(receiver for receiver in found if receiver is not None)


def _parse_webhook(file: Path, number: int, text: str) -> Webhook | None:
    if not text or text.startswith("#"):
        return None
    url = text.removeprefix(_SLACK_PREFIX).strip()
    if not is_http_url(url):
        raise ConfigError(
            f"{file}:{number} is not a URL", hint="write https://… or slack:https://…, one a line"
        )
    return Webhook(url, "slack" if text.startswith(_SLACK_PREFIX) else "json", number)


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """Description of an event, in words that contain no secret and no prompt."""

    state: NotificationState
    source: str
    key: str
    reason: str
    text: str
    at: str  # RFC 3339

    def body(self, kind: WebhookKind) -> dict[str, Any]:
        """Return the message as JSON for a webhook of this kind."""
        if kind == "slack":
            return {"text": _escape_slack(self.line)}
        names = ("state", "source", "key", "reason", "at")
        return {"version": 1, **{name: getattr(self, name) for name in names}, "message": self.text}

    @property
    def line(self) -> str:
        """Return the message as a line for people."""
        sign = "✗" if self.state == "failing" else "✓"
        told = f": {self.text}" if self.text and self.state == "failing" else ""
        return escape_unprintable(
            f"{sign} agentsd {self.source}: {self.key} {self.state} ({self.reason}){told}"
        )


def _escape_slack(text: str) -> str:
    """Escape Slack's three control characters.

    https://docs.slack.dev/messaging/formatting-message-text
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
