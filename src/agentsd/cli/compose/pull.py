"""Components of pull mode, made from settings and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from agentsd.core.errors import ConfigError
from agentsd.core.secret import Secret

if TYPE_CHECKING:
    from agentsd.control.pull.commit_policy import PullOptions
    from agentsd.control.pull.commit_status import StatusSender
    from agentsd.control.pull.puller import Checkout, Puller
    from agentsd.control.sync.leadership import Leadership
    from agentsd.control.sync.syncer import Syncer
    from agentsd.core.trust.remotes import Remote
    from agentsd.files.git.mirror import Mirror
    from agentsd.files.git.signatures import TrustedSigners
    from agentsd.settings import Settings
    from agentsd.store.database import Database
    from agentsd.supervisor import Supervisor
    from agentsd.web.middleware.webhook_signature import GitWebhook

PULL_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--git", "git_url", metavar="URL", help="Pull from this repository; --path is relative to it."
    ),
    click.option("--ref", "git_ref", help="Branch, tag or other ref to pull [HEAD]."),
    click.option("--interval", "git_interval", metavar="TIME", help="Time between pulls: 30s, 5m [30s]."),
    click.option("--adopt", is_flag=True, help="Take over a source that was applied from another remote."),
    click.option("--allow-older", is_flag=True, help="Pull a commit older than the applied one."),
    click.option(
        "--verify-commits",
        type=click.Path(path_type=Path),
        help="Apply only what a signer in this file has signed (allowed_signers, or OpenPGP keys).",
    ),
    click.option("--verify", type=click.Choice(["commits", "tags"]), help="What must be signed [commits]."),
)
PULL_SETTINGS = ("git_url", "git_ref", "git_interval", "verify_commits", "verify")
"""Those of the options that are settings, too."""


@dataclass(frozen=True, slots=True)
class PullSetup:
    """Configuration of pull mode."""

    checkout: Checkout
    mirror: Mirror
    options: PullOptions
    statuses: StatusSender | None

    def puller(
        self, syncer: Syncer, database: Database, leadership: Leadership, supervisor: Supervisor
    ) -> Puller:
        """Return the puller for ``syncer``, which was given the checkout."""
        from agentsd.control.pull.puller import Puller

        tell = self.statuses.tell if self.statuses else None
        return Puller(
            syncer,
            self.checkout,
            database,
            self.mirror,
            self.options,
            gate=leadership,
            tell=tell,
            supervisor=supervisor,
        )


def make_pull_setup(settings: Settings, flags: Mapping[str, Any]) -> PullSetup | None:
    """Return the configuration of pull mode; None if nothing is to be pulled.

    Raises ``ConfigError``.
    """
    if settings.git_url is None:
        return None
    from agentsd.control.pull.commit_policy import PullOptions
    from agentsd.control.pull.puller import Checkout
    from agentsd.core.trust.remotes import check_ref
    from agentsd.files.git.mirror import Mirror

    _refuse_writing(settings)
    remote = _parse_remote(settings.git_url.get_secret_value())
    options = PullOptions(
        settings.source,
        _locate_manifests(settings.path),
        interval=settings.git_interval,
        resync=flags.get("resync", 60.0),
        allow_older=bool(flags.get("allow_older")),
        adopt=bool(flags.get("adopt")),
        signers=_load_signers(settings),
        env=settings.env,
    )
    mirror = Mirror(_choose_folder(settings, remote), remote, check_ref(settings.git_ref))
    return PullSetup(Checkout(), mirror, options, _make_statuses(settings, remote))


def make_hook(
    settings: Settings, database: Database, puller: Puller | None, leadership: Leadership | None
) -> GitWebhook | None:
    """Return the webhook that a forge may call, if its secret is set. Raises ``ConfigError``."""
    if settings.hook_secret_file is None:
        return None
    from agentsd.store.queries import pulls
    from agentsd.web.middleware.webhook_signature import GitWebhook, load_secrets

    async def pull() -> None:
        if puller is not None:
            puller.pull()
        if puller is None or leadership is None or not leadership.leads:
            async with database.transaction() as connection:
                await pulls.request_pull(connection)

    return GitWebhook(load_secrets(settings.hook_secret_file), pull)


def _refuse_writing(settings: Settings) -> None:
    if settings.write_back in ("files", "git"):
        raise ConfigError(
            "with --git the API cannot write: the files are at the remote",
            hint="omit --write-back; edit the repository and push",
        )


def _parse_remote(text: str) -> Remote:
    from agentsd.core.trust.remotes import parse_remote

    remote = parse_remote(text)
    if remote.scheme == "file" and "://" not in text:
        return parse_remote(str(Path(text).expanduser().resolve()))
    return remote


def _locate_manifests(path: Path) -> str:
    """Return the folder of manifests in the repository."""
    inner = PurePosixPath(path.as_posix())
    if inner.is_absolute() or ".." in inner.parts:
        raise ConfigError("with --git, --path names a folder in the repository", hint="such as agents.d")
    return inner.as_posix()


def _choose_folder(settings: Settings, remote: Remote) -> Path:
    """Return where this source's repository is kept: one folder for each remote."""
    from agentsd.store.embedded.server import choose_default_data_dir

    if settings.git_dir is not None:
        parent = settings.git_dir
    elif settings.data_dir is None:
        parent = choose_default_data_dir().with_name("git")
    elif settings.database_url is None:  # the data folder itself is Postgres' own
        parent = settings.data_dir.with_name(f"{settings.data_dir.name}.git")
    else:
        parent = settings.data_dir / "git"
    mark = sha256(remote.identity.encode()).hexdigest()[:12]
    return parent.expanduser().resolve() / f"{settings.source}-{mark}.git"


def _load_signers(settings: Settings) -> TrustedSigners | None:
    from agentsd.files.git.signatures import TrustedSigners

    if settings.verify_commits is None:
        if settings.verify == "tags":
            raise ConfigError("--verify tags needs the trusted signers", hint="add --verify-commits FILE")
        return None
    signers = TrustedSigners(settings.verify_commits, settings.verify)
    signers.check()
    return signers


def _make_statuses(settings: Settings, remote: Remote) -> StatusSender | None:
    if settings.forge_token_file is None:
        return None
    from agentsd.control.pull.commit_status import Forge, StatusSender

    try:
        token = settings.forge_token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token or not token.isprintable():
        raise ConfigError(
            f"the forge's token file {settings.forge_token_file} contains no token",
            hint="it needs one line, readable by this process",
        )
    kind, api = settings.forge, settings.forge_url
    return StatusSender(Forge.of(remote, Secret(token), kind=kind, api=api, source=settings.source))
