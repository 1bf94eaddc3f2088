"""``agentsd migrate``."""

from __future__ import annotations

import click

from agentsd.cli.compose.factories import load_settings
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import ConfigError


@click.command("migrate")
@click.option("--revision", default="head", help="Revision to migrate to [head].")
@click.option("--downgrade", is_flag=True, help="Downgrade to an older revision: data may be lost.")
@click.option(
    "--grants", is_flag=True, help="Then grant the roles of watch and serve their minimal privileges."
)
def migrate_command(revision: str, downgrade: bool, grants: bool) -> None:
    """Migrate the schema of AGENTSD_DATABASE_URL (or AGENTSD_DATABASE_DIRECT_URL) to this version.

    `agentsd up` migrates its embedded Postgres by itself.

    \b
    Examples:
      agentsd migrate
      agentsd migrate --grants
      agentsd migrate --downgrade --revision base
    """
    from agentsd.store import migrations

    if grants and (downgrade or revision != "head"):
        raise click.UsageError("--grants needs the newest schema")
    settings = load_settings()
    secret = settings.database_direct_url or settings.database_url
    if secret is None:
        raise ConfigError(
            "no database is configured", hint="set AGENTSD_DATABASE_URL=postgresql://user@host/name"
        )
    url = secret.get_secret_value()
    if downgrade:
        migrations.downgrade_schema(url, revision)
    else:
        migrations.upgrade_schema(url, revision)
    print_lines(
        get_stderr(), [(("green", "✓ "), ("", f"the schema is at {migrations.read_revision(url) or 'base'}"))]
    )
    if grants:
        migrations.grant_privileges(url)
        print_lines(
            get_stderr(),
            [(("green", "✓ "), ("", "granted agentsd_sync and agentsd_runtime their privileges"))],
        )
