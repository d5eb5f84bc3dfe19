"""The command `hivewire`. A subcommand is imported when it is called, so that `hivewire get` starts quickly."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "serve": "serve:serve",
    "login": "identity:login",
    "logout": "identity:logout",
    "whoami": "status:whoami",
    "status": "status:status",
    "put": "configuration:put",
    "get": "configuration:get",
    "edit": "edit:edit",
    "list": "configuration:list_",
    "delete": "configuration:delete",
    "history": "history:history",
    "diff": "edit:diff",
    "rollback": "history:rollback",
    "transact": "edit:transact",
    "watch": "watch:watch",
    "export": "transfer:export",
    "import": "transfer:import_",
    "token": "identity:token",
    "user": "user:user",
    "tenant": "tenant:tenant",
    "client": "client:client",
    "audit": "audit:audit",
    "completion": "completion:completion",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "dump": "dump:dump",
    "load": "dump:load",
    "vacuum": "dump:vacuum",
}
"""The module and the function of each command."""


class NotReached(click.ClickException):
    """No gateway could be reached."""

    exit_code = 3


class _Commands(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - what the table leads to
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An expected error ends it with one line and no traceback."""
        from hivewire.cli.output import on_one_line
        from hivewire.cli.remote import BadAddress, RemoteError, Unreachable, Unsendable

        try:
            return super().invoke(ctx)
        except RemoteError as error:
            raise click.ClickException(on_one_line(str(error))) from None
        except (BadAddress, Unsendable) as error:
            raise click.UsageError(str(error)) from None
        except Unreachable as error:
            raise NotReached(str(error)) from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
First steps:
  hivewire serve                   start a gateway; it prints the password
  hivewire login                   in another terminal
  hivewire put limits.max 42
  hivewire get limits.max

\b
Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no gateway reached.""",
)
@click.version_option(package_name="hivewire")
def _hivewire() -> None:
    """Hivewire, the configuration server for live clients: the gateway, and a client of it."""


def main() -> None:
    """Run the command line; errors go to standard error as `hivewire: error: ...`."""
    try:
        code = _hivewire.main(prog_name="hivewire", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        message = error.format_message()
        if isinstance(error, click.UsageError):
            message = " ".join(message.split())  # click lists choices on lines of their own
            if isinstance(error, click.NoSuchOption) and not error.possibilities:
                message += " A value that begins with a dash goes behind --, as in: hivewire put name -- -5"
            if error.ctx is not None:
                message += f" (see '{error.ctx.command_path} --help')"
        click.echo(f"hivewire: error: {message}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:  # mostly a full disk behind `>`; click handles a closed pipe
        with open(os.devnull, "wb") as nowhere:  # otherwise the buffered output fails again at exit
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        where = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"hivewire: error: {where}{error.strerror or error}", err=True)
        sys.exit(1)
