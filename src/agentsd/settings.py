"""Settings: the environment, read once, into one frozen object."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from agentsd.core.ledger.price import parse_price_list
from agentsd.core.names import ENVIRONMENT_PATTERN
from agentsd.core.trust.engine_limits import (
    CONTEXT_TOKENS_MAX,
    ENGINES_MAX,
    ENGINES_PER_OWNER_MAX,
    EngineLimits,
)
from agentsd.core.trust.key_services import KeyServices
from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.rules import NO_ORIGIN, normalise_origin


def parse_seconds(value: object) -> object:
    """Return ``30s``, ``5m``, ``1h`` and ``8d`` in seconds; anything else unchanged."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value) if isinstance(value, str) else None
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]] if found else value


def parse_size(value: object) -> object:
    """Return the bytes of ``64KiB``, ``512MiB`` and ``4GiB`` (``K``, ``M``, ``G`` too); else ``value``."""
    found = re.fullmatch(r"(\d{1,9})([KMG])(iB)?", value) if isinstance(value, str) else None
    return int(found[1]) << {"K": 10, "M": 20, "G": 30}[found[2]] if found else value


def read_environment() -> dict[str, str]:
    """Return the values of the ``AGENTSD_*`` variables by the names of their fields."""
    prefix = "agentsd_"
    names = {name.lower(): value for name, value in os.environ.items()}
    return {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}


class Settings(BaseModel):
    """Values of the ``AGENTSD_*`` variables, in capitals or not. Command-line options override single fields.

    Not pydantic-settings, which costs each command 47 ms: docs/architecture.md, "Dependencies".
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    def __init__(self, **overrides: Any) -> None:
        super().__init__(**{**read_environment(), **overrides})

    path: Path = Field(default=Path("agents.d"), description="Folder of manifests.")
    source: str = Field(
        default="main", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="Name of the tree."
    )
    env: str | None = Field(
        default=None,
        pattern=rf"^{ENVIRONMENT_PATTERN}$",
        description="Overlay whose files (envs/NAME beside the folder of manifests) are merged over it.",
    )
    database_url: SecretStr | None = Field(
        default=None, description="Postgres; default: embedded. postgresql://user:password@host/name"
    )
    database_direct_url: SecretStr | None = Field(
        default=None, description="Postgres past the pooler: for LISTEN, leadership and migrations."
    )
    data_dir: Path | None = Field(default=None, description="Where embedded Postgres keeps its data.")
    trusted_origins: frozenset[str] = Field(
        default=frozenset(), description="Further origins that secrets may be sent to, separated by commas."
    )
    token_file: Path | None = Field(default=None, description="Bearer tokens, one per line.")
    tls_cert: Path | None = Field(
        default=None, description="The server's certificate and its chain, PEM: HTTPS in place of HTTP."
    )
    tls_key: Path | None = Field(default=None, description="The key of that certificate, PEM.")
    tls_self_signed: bool = Field(
        default=False, description="HTTPS by a certificate that the server makes and keeps."
    )
    tls_dir: Path | None = Field(
        default=None, description="Where that certificate and its key are kept; default: beside data_dir."
    )
    allowed_hosts: frozenset[str] = Field(
        default=frozenset(), description="Further host names that clients may use, separated by commas."
    )
    outbound: frozenset[str] = Field(
        default=frozenset(), description="The only hosts, *.suffixes and networks that providers may be at."
    )
    key_services: frozenset[str] = Field(
        default=frozenset({"pgp"}),
        description="What sops may use to open seals: https://vault…, arn:aws:kms:…, aws-kms, pgp, …",
    )
    cors_origins: frozenset[str] = Field(
        default=frozenset(), description="Origins whose pages may use the API, separated by commas."
    )
    trusted_proxies: frozenset[str] = Field(
        default=frozenset(),
        description="Reverse proxies whose X-Forwarded-For is trusted: addresses, networks.",
    )
    rate_limit: str | None = Field(
        default=None, description="Requests of one token: 1200/minute; off. Not counted on an open server."
    )
    rate_limit_address: str | None = Field(
        default=None, description="Requests of one address: 6000/minute; off."
    )
    rate_limit_failed: str | None = Field(
        default=None, description="Requests of one address without a valid token: 60/minute; off."
    )
    rate_limit_storage: SecretStr | None = Field(
        default=None, description="A Redis that replicas count in together: redis://:password@host:6379/0"
    )
    max_connections: int = Field(default=4096, ge=0, description="Connections at a time; 0: no limit.")
    max_connections_per_address: int = Field(
        default=512, ge=0, description="Connections at a time of one address; 0: no limit."
    )
    max_body: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=8 << 20,
        ge=1 << 16,
        le=1 << 30,
        description="Size of a request's body, decompressed: 8MiB. Manifests and users have their own.",
    )
    max_upload: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=25 << 20, ge=1 << 16, le=1 << 30, description="Size of a recording to be transcribed: 25MiB."
    )
    max_answer: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=8 << 20,
        ge=1 << 16,
        le=1 << 30,
        description="Size of a vendor's whole answer, an event of its stream, a WebSocket message: 8MiB.",
    )
    max_answer_header: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=32 << 10,
        ge=8 << 10,
        le=1 << 20,
        description="Size of a header of a vendor's answer: 32KiB.",
    )
    max_memory: int = Field(
        default=1024,
        ge=0,
        description="MiB that large bodies, unread replies and calls may use at a time; 0: no limit.",
    )
    max_memory_per_owner: int = Field(
        default=512, ge=0, description="MiB of it that one owner's may use; 0: no limit."
    )
    max_requests_per_owner: int = Field(
        default=1024, ge=0, description="Requests, streams and calls at a time of one owner; 0: no limit."
    )
    max_calls: int = Field(
        default=100,
        ge=0,
        description="Calls at a time; a further one is refused, so that none is late; 0: no limit.",
    )
    max_works_per_owner: int = Field(
        default=32, ge=0, description="Writes, dry runs, plans and diffs at a time of one owner; 0: no limit."
    )
    write_back: Literal["off", "files", "git"] | None = Field(
        default=None,
        description="What the API may write: nothing, files, or files and commits. up: files; serve: off.",
    )
    git_message: str = Field(
        default="agentsd: {action} {slug}",
        description="Subject of write-back's commits; {action} {slug} {actor} {stamp} are filled in.",
    )
    git_branch: str = Field(
        default="",
        description="A branch for each edit, to be merged by people, such as agentsd/{slug}-{stamp}.",
    )
    git_push: bool = Field(default=False, description="Push write-back's commits to the remote origin.")
    git_url: SecretStr | None = Field(
        default=None, description="The repository that watch and up pull from; AGENTSD_PATH is in it."
    )
    git_ref: str = Field(default="HEAD", description="The branch, tag or other ref to pull.")
    git_interval: Annotated[float, BeforeValidator(parse_seconds)] = Field(
        default=30.0, ge=0.1, le=86_400, description="Time between pulls: 30s, 5m, 1h."
    )
    git_dir: Path | None = Field(default=None, description="Where pulled repositories are kept.")
    verify_commits: Path | None = Field(
        default=None,
        description="Trusted signers of what is pulled: allowed_signers, or OpenPGP public keys.",
    )
    verify: Literal["commits", "tags"] = Field(default="commits", description="What must be signed.")
    hook_secret_file: Path | None = Field(
        default=None, description="Secrets of the forges that call /hooks/git, one per line."
    )
    forge: Literal["github", "gitlab"] | None = Field(
        default=None, description="How the forge accepts commit statuses; detected for the large ones."
    )
    forge_url: str = Field(default="", description="The forge's API: https://gitlab.example.org/api/v4")
    forge_token_file: Path | None = Field(
        default=None, description="A token that may set commit statuses; without it none is set."
    )
    env_agent: Literal["on", "off"] = Field(
        default="on", description="Whether variables of the previous system make an agent, in memory."
    )
    shutdown_grace: float = Field(
        default=3.0,
        ge=0,
        le=600,
        description="Seconds that serve continues, not ready, after SIGTERM, so that balancers notice.",
    )
    stream_keep_alive: Annotated[float, BeforeValidator(parse_seconds)] = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Silence after which a streamed chat sends a comment, so that no proxy cuts it.",
    )
    shutdown_drain: float = Field(
        default=30.0, ge=0, le=3600, description="Seconds that open streams and calls have to end."
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Where serve keeps what it serves, sealed, to start from while Postgres is away.",
    )
    keep_revisions: int = Field(
        default=100, ge=20, description="Revisions of each agent that are kept; older ones go after a sync."
    )
    keep_activity: Annotated[float, BeforeValidator(parse_seconds)] = Field(
        default=8 * 86_400.0, ge=3_600, description="How long the minutes of agents' activity are kept: 8d."
    )
    keep_usage: Annotated[float, BeforeValidator(parse_seconds)] = Field(
        default=400 * 86_400.0, ge=86_400, description="How long days of usage and cost are kept: 400d."
    )
    prices: str = Field(
        default="",
        description="Prices in USD, such as deepgram.com:minutes=0.0043, elevenlabs.io:characters=30.",
    )
    agent_series: int = Field(
        default=0, ge=0, le=10_000, description="Agents that have series of their own in /metrics; 0: none."
    )
    notify_url_file: Path | None = Field(
        default=None, description="Webhooks notified of failure and recovery, one per line; slack: for Slack."
    )
    model_dirs: frozenset[Path] = Field(
        default=frozenset(), description="Folders that a manifest's model_path may lead to, by commas."
    )
    engine_memory: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=0, ge=0, description="Memory of one local model: 2GiB; 0: half of the machine's."
    )
    engines_memory: Annotated[int, BeforeValidator(parse_size)] = Field(
        default=0, ge=0, description="Memory of all local models: 8GiB; 0: three quarters of the machine's."
    )
    engine_context: int = Field(
        default=CONTEXT_TOKENS_MAX, ge=256, description="Most context_tokens x parallel of a local LLM."
    )
    engine_threads: int = Field(
        default=0, ge=0, description="Most CPU threads of one local LLM; 0: all cores."
    )
    engines: int = Field(default=ENGINES_MAX, ge=1, description="Processes of local models at a time.")
    engines_per_owner: int = Field(
        default=ENGINES_PER_OWNER_MAX, ge=1, description="Of them, those that were started for one owner."
    )
    engines_shared: bool = Field(
        default=True, description="Whether owners that name the same local model share one process."
    )
    worker_memory: int = Field(
        default=1024,
        ge=128,
        le=65_536,
        description="MiB of a worker process, which reads PDFs and other hostile data; two run at most.",
    )
    max_recording: Annotated[float, BeforeValidator(parse_seconds)] = Field(
        default=7_200.0, ge=1, le=86_400, description="Longest recording that is transcribed: 90s, 30m, 2h."
    )
    sops: Path | None = Field(default=None, description="The sops program; default: the packaged one.")

    @field_validator(
        "trusted_origins",
        "allowed_hosts",
        "outbound",
        "key_services",
        "cors_origins",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("env", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return value or None

    @field_validator("trusted_origins")
    @classmethod
    def _normalised(cls, value: frozenset[str]) -> frozenset[str]:
        origins = {text: normalise_origin(text) for text in value}
        wrong = sorted(text for text, found in origins.items() if found == NO_ORIGIN)
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not an origin such as https://llm.example.org:8443")
        return frozenset(origins.values())

    @field_validator("git_message", "git_branch")
    @classmethod
    def _template(cls, value: str) -> str:
        try:
            value.format(action="", slug="", actor="", stamp="")
        except (KeyError, IndexError, ValueError):
            raise ValueError("only {action} {slug} {actor} {stamp} are allowed") from None
        return value

    @field_validator("prices")
    @classmethod
    def _priced(cls, value: str) -> str:
        parse_price_list(value)
        return value

    @field_validator("model_dirs", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(Path(part.strip()) for part in value.split(",") if part.strip())
        return value

    @property
    def engine_limits(self) -> EngineLimits:
        """Return the bounds of the models that run on this machine."""
        return EngineLimits(
            folders=tuple(sorted(os.path.realpath(folder) for folder in self.model_dirs)),
            context_tokens=self.engine_context,
            threads=self.engine_threads,
            memory=self.engine_memory,
            total_memory=self.engines_memory,
            engines=self.engines,
            per_owner=self.engines_per_owner,
            shared=self.engines_shared,
        )

    @field_validator("outbound")
    @classmethod
    def _known(cls, value: frozenset[str]) -> frozenset[str]:
        Outbound.parse(value)
        return value

    @field_validator("key_services")
    @classmethod
    def _key_services(cls, value: frozenset[str]) -> frozenset[str]:
        KeyServices.parse(value)
        return value
