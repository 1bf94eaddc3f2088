"""The command line: finds the command, runs it, turns errors into messages and exit statuses."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from agentsd import __version__
from agentsd.core.errors import AgentsdError, Bug

_COMMANDS = {
    "up": ("up", "Run everything in one process: Postgres, sync and API on 127.0.0.1:8080."),
    "serve": ("up", "Run the runtime alone: API over a database that something else syncs."),
    "watch": ("up", "Run the sync daemon alone: reconcile the folder on every change."),
    "validate": ("validate", "Check manifests. Needs no key and no database."),
    "plan": ("sync", "Show what a sync would change."),
    "sync": ("sync", "Apply the files to the database, in one transaction."),
    "status": ("status", "Show replicas, runs and conditions on one screen."),
    "history": ("history", "Show the history of an agent: every change, with time and author."),
    "rollback": ("rollback", "Restore an agent to an earlier version."),
    "suspend": ("rollback", "Deactivate an agent without deleting it."),
    "resume": ("rollback", "Reactivate a suspended agent."),
    "new": ("new", "Add an agent: a manifest with a pinned id."),
    "edit": ("author", "Open a sealed manifest in your editor; validate and seal it again."),
    "rotate": ("author", "Seal manifests again with a new data key, for the keys of .sops.yaml."),
    "seal": ("author", "Seal the secrets of a plain manifest."),
    "init": ("init", "Create a repository of manifests: key, rules, samples, editor settings, CI."),
    "merge-driver": ("merge_driver", "Merge sealed manifests for git; --install sets it up."),
    "diff-driver": ("merge_driver", "Convert sealed manifests for git's diffs."),
    "import-env": ("importers", "Make a sealed manifest of the previous system's .env."),
    "import": ("importers", "Make sealed manifests of another system's configuration (LiteLLM)."),
    "export": ("export", "Write the database's manifests as files, as they were synced."),
    "token": ("token", "Create, list and revoke API tokens."),
    "render": ("render", "Show an agent merged with its layers, and where each value is from."),
    "test": ("test", "Probe agents for real, and run the checks of their manifests."),
    "demo-tools": ("demo_tools", "Serve tools of an invented shop on 127.0.0.1, to try agents with."),
    "tools": ("tools", "Pin the tools of MCP servers in files, and compare them with the servers."),
    "doctor": ("doctor", "Check the setup: keys, sops, database, manifests."),
    "schema": ("schema", "Write or check the JSON Schemas."),
    "migrate": ("migrate", "Migrate the database's schema to this version."),
}
"""Each command imports only what it needs, so ``validate`` does not wait for Postgres' driver."""


_SHORT = ("validate", "merge-driver", "diff-driver")
"""Git hooks wait for these: they end before garbage collection, a tenth of their time, would pay off."""
_WITHOUT_PLUGINS = (*_SHORT, "plan", "sync")
"""Commands in which looking for pydantic's plugins takes longer than ten files."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        attribute = f"{cmd_name.replace('-', '_')}_command"
        command: click.Command = getattr(import_module(f"agentsd.cli.commands.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from agentsd.core.violations import suggest_word

        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            hint = suggest_word(args[0], _COMMANDS) or "see: agentsd --help"
            ctx.fail(f"There is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First steps:  agentsd up     then open http://127.0.0.1:8080/v1/models",
)
@click.version_option(__version__, message="agentsd %(version)s")
def cli() -> None:
    """Voice and chat agents as code: sealed YAML in git, live in every runtime."""


def main() -> None:
    """Run the command and exit: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    open_standard_streams()
    if sys.argv[1:2] and sys.argv[1] in _SHORT:
        gc.disable()
    if sys.argv[1:2] and sys.argv[1] in _WITHOUT_PLUGINS:
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            raise
        sys.exit(_show_error(Bug(ended)))  # the interpreter would print the library's text
    except BaseException as error:  # a panic in native code is not an Exception
        if os.environ.get("AGENTSD_DEBUG") and not isinstance(error, _EXPECTED):
            raise
        sys.exit(_report_error(error))
    finally:
        _flush_stderr()


def open_standard_streams() -> None:
    """Open what is closed (``2>&-``) on the null device.

    A socket or a file that took its number would otherwise get what libraries print.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _flush_stderr() -> None:
    """Drop what cannot be written: the interpreter would end with a status of its own."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


_EXPECTED = (AgentsdError, click.ClickException, click.exceptions.Exit)


def _report_error(error: BaseException) -> int:
    """Report the error that ended the command; return the exit status."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case AgentsdError():
            return _show_error(error)
        case BrokenPipeError():
            sys.stderr.close()
        case OSError(filename=str() as name, strerror=str() as reason):
            with suppress(OSError, ValueError):
                sys.stderr.write(
                    f"error: {name}: {reason}\n    → check the path, its permissions and the disk\n"
                )
        case _:
            return _show_error(Bug(error))
    return 1


def _show_error(error: AgentsdError) -> int:
    from agentsd.cli.output import show_error

    show_error(error)
    return error.exit_code


if __name__ == "__main__":
    main()
