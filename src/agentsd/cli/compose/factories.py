"""Composition of the components that several commands need, from settings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from agentsd.core.errors import ConfigError, SchemaMismatch
from agentsd.sandbox.shared import extraction_sandbox, get_recording_sandbox, get_shared_sandbox
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.control.validation.checker import Checker
    from agentsd.providers.catalog import Catalog
    from agentsd.providers.transport.sessions import HttpSessions
    from agentsd.sops.binary import SopsBinary
    from agentsd.sops.opener import Opener
    from agentsd.store.database import Database
    from agentsd.supervisor import Supervisor

T = TypeVar("T")


def load_settings(**overrides: Any) -> Settings:
    """Load the environment, with the command line's options over it (None: not given)."""
    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"AGENTSD_{name}: {first['msg']}", hint="see: docs/configuration.md") from None
    for sandbox in (get_shared_sandbox(), extraction_sandbox(), get_recording_sandbox()):
        sandbox.memory_max = settings.worker_memory << 20
    return settings


def make_opener(settings: Settings) -> Opener:
    """Return an opener of seals with the keys that sops would find."""
    from agentsd.sops.identities import find_usable_identities
    from agentsd.sops.opener import Opener

    return Opener(find_usable_identities(os.environ, Path.home()), make_sops(settings))


def make_sops(settings: Settings) -> SopsBinary:
    """Return the real sops."""
    from agentsd.core.trust.key_services import KeyServices
    from agentsd.core.trust.outbound import Outbound
    from agentsd.sops.binary import SopsBinary

    services = KeyServices.parse(settings.key_services, Outbound.parse(settings.outbound))
    return SopsBinary(settings.sops, environ=os.environ, services=services)


def make_sessions(settings: Settings) -> HttpSessions:
    """Return connections to vendors, within the outbound rules and by the operator's proxies."""
    from agentsd.core.trust.outbound import Outbound
    from agentsd.core.trust.proxies import ProxyRules
    from agentsd.providers.limits import OperatorLimits
    from agentsd.providers.local.engines import Engines
    from agentsd.providers.transport.sessions import HttpSessions

    engines = Engines(settings.engine_limits)
    return HttpSessions(
        outbound=Outbound.parse(settings.outbound),
        proxies=ProxyRules.parse(os.environ),
        limits=OperatorLimits(settings.max_answer, settings.max_answer_header, settings.max_upload),
        engines=engines,
    )


@cache
def make_catalog() -> Catalog:
    """Return the vendors of this environment, other packages' included; their errors are reported once."""
    from agentsd.cli.output import get_stderr, print_lines
    from agentsd.providers.entry_points import load_installed_providers

    found = load_installed_providers()
    for problem in found.problems:
        lines = [
            (("yellow", "warning: "), ("", problem.message)),
            (("dim", "    → "), ("", problem.hint)),
        ]
        print_lines(get_stderr(), lines)
    return found.catalog


def choose_cache_folder(settings: Settings, *, alone: bool, off: bool) -> Path | None:
    """Return where a runtime keeps its snapshot; by default only one without a daemon beside it does."""
    if off or settings.cache_dir:
        return None if off else settings.cache_dir
    if not alone:
        return None
    from platformdirs import user_cache_path

    return user_cache_path("agentsd")


def make_checker(settings: Settings, *, require_mac: bool = False) -> Checker:
    """Return a checker of files against the rules."""
    from agentsd.control.validation.checker import Checker

    opener = make_opener(settings)
    return Checker(
        make_catalog(),
        opener,
        trusted=settings.trusted_origins,
        limits=settings.engine_limits,
        require_mac=require_mac,
    )


@asynccontextmanager
async def open_database(
    settings: Settings,
    *,
    migrate: bool = False,
    exclusive: bool = False,
    start: bool = True,
    check: bool = True,
    supervisor: Supervisor | None = None,
) -> AsyncIterator[Database]:
    """Open the database of ``AGENTSD_DATABASE_URL``, or the embedded one: attached to, or started for now.

    ``exclusive``: never attach; a second process on the same data folder is a ``ConfigError``.
    ``start``: False only attaches, for commands that read and leave nothing behind. ``check``: False
    leaves it to the caller to check the schema, and so to go on while Postgres is away.
    """
    from agentsd.store.database import Database

    async with _open_url(settings, exclusive, start, supervisor) as (url, direct, ours):
        database = Database(url, direct)
        try:
            if migrate or ours:
                await _migrate_database(database)
            elif check:
                await database.check_schema()
            yield database
        finally:
            await database.aclose()


async def _migrate_database(database: Database) -> None:
    """Bring the schema up to date; Alembic is only imported where there is something to do."""
    try:
        await database.check_schema()
    except SchemaMismatch:
        from agentsd.store import migrations

        await asyncio.to_thread(migrations.upgrade_schema, database.direct_url)


@asynccontextmanager
async def _open_url(
    settings: Settings, exclusive: bool, start: bool, supervisor: Supervisor | None
) -> AsyncIterator[tuple[str, str | None, bool]]:
    """Yield (url, direct url, whether we started it)."""
    if settings.database_url:
        direct = settings.database_direct_url
        yield settings.database_url.get_secret_value(), direct.get_secret_value() if direct else None, False
        return
    from agentsd.store.embedded.server import EmbeddedPostgres, attach_server, choose_default_data_dir
    from agentsd.supervisor import Supervisor

    folder = settings.data_dir or choose_default_data_dir()
    running = None if exclusive else await asyncio.to_thread(attach_server, folder)
    if running:
        yield running, None, False
        return
    if not start:
        raise ConfigError(
            f"no database: AGENTSD_DATABASE_URL is not set, and no `agentsd up` runs on {folder}",
            hint="start one: agentsd up",
        )
    postgres = EmbeddedPostgres(folder)
    url = await asyncio.to_thread(postgres.start)
    try:
        async with (supervisor or Supervisor()).group() as tasks:
            tasks.start("postgres", postgres.supervise)
            yield url, None, True
    finally:
        await asyncio.to_thread(postgres.stop)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; on uvloop where it is installed. A cancelled one was interrupted."""
    try:
        return _choose_runner()(main)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _choose_runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    if sys.platform == "win32":
        return asyncio.run
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run
