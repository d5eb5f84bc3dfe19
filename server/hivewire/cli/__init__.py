"""The command `hivewire`. A subcommand is imported when it is called, so that `hivewire get` starts quickly."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click
from click.shell_completion import CompletionItem

from hivewire import __version__
from hivewire.cli.errors import ADDRESS, FORM, BadAddress, RemoteError, Unreachable, Unsendable
from hivewire.cli.help import brief

COMMANDS = {
    "serve": ("serve:serve", "Start the gateway: DeviceHive's WebSocket and REST API over one durable ledger."),
    "login": ("identity:login", "Log in and save the tokens for the other commands."),
    "logout": ("identity:logout", "Log out: the gateway revokes the tokens of the login, and the profile is deleted."),
    "whoami": (
        "status:whoami",
        "Show the owner of the token, its actions, the names that it reaches, and when it expires.",
    ),
    "status": ("status:status", "Show whether a gateway runs and accepts writes, its version, and who is logged in."),
    "open": (
        "open:open_",
        "Print the address of the dashboard, or of the configuration NAME in it, and open it in the browser.",
    ),
    "describe": (
        "describe:describe",
        "Print the OpenAPI or the AsyncAPI document: of the HTTP APIs, or of the WebSocket.",
    ),
    "completion": ("completion:completion", "Print the completion script of SHELL: commands, options and names."),
    "put": ("configuration:put", "Create or update the configuration NAME."),
    "get": ("configuration:get", "Print the value of the configuration NAME."),
    "edit": ("edit:edit", "Open the configuration NAME in $VISUAL or $EDITOR, and put the saved text."),
    "list": (
        "configuration:list_",
        "List configurations by name: all that you may see, or those that match a PATTERN (a name, or a prefix*).",
    ),
    "tree": (
        "browse:tree",
        "Show what is directly below PREFIX, and how many configurations are below each; without PREFIX the top.",
    ),
    "delete": ("configuration:delete", "Delete the configuration NAME."),
    "history": (
        "history:history",
        "Show the changes of the configuration NAME, newest first, including deletes and what came before them.",
    ),
    "changes": (
        "browse:changes",
        "Show who changed which configuration, newest first: of all that you may see, or those that match a PATTERN.",
    ),
    "diff": ("edit:diff", "Show how two versions of the configuration NAME differ, line by line."),
    "rollback": ("history:rollback", "Put the configuration NAME back to VERSION, as a new version."),
    "transact": ("edit:transact", "Write all changes in FILE as one transaction; - is standard input."),
    "watch": (
        "watch:watch",
        "Show configurations and their changes: all that you may read, or those that match a PATTERN.",
    ),
    "export": (
        "export:export",
        "Write configurations as one JSON file: all that you may see, or those that match a PATTERN.",
    ),
    "import": ("import_file:import_", "Create and update the configurations in FILE; - is standard input."),
    "schema": (
        "schema:schema",
        "Manage schemas: what values under a name may be (JSON Schema), and which values are secret.",
    ),
    "schedule": (
        "schedule:schedule",
        "Show and cancel scheduled writes: transactions with a time, and configurations that expire.",
    ),
    "token": ("identity:token", "Create an access token and a refresh token, with some of your own rights."),
    "user": ("user:user", "Manage users: people, who log in with a password."),
    "tenant": ("tenant:tenant", "Manage tenants: separate areas for clients, each with a configuration document."),
    "client": (
        "client:client",
        "Manage OAuth clients: programs that have privileges in tenants, and a secret instead of a password.",
    ),
    "device": ("device:device", "Manage devices: each belongs to a network and has a device type."),
    "command": (
        "message:command",
        "Send commands to devices, and see what they answer.",
    ),
    "notification": (
        "message:notification",
        "Send and follow notifications from devices.",
    ),
    "layer": ("layer:layer", "Manage layers: configurations for some devices; the value of the highest layer is used."),
    "rollout": ("rollout:rollout", "Roll out new values of a layer to some devices first."),
    "fleet": ("fleet:fleet", "See which devices have applied their configurations."),
    "network": ("grouping:network", "Manage networks: groups of devices, which their members reach."),
    "type": ("grouping:device_type", "Manage device types: another way to group devices."),
    "audit": (
        "audit:audit",
        "Show the audit, newest first: logins, tokens, failures, changes of users, clients, tenants and more.",
    ),
    "connections": (
        "connections:connections",
        "Show who is connected, on all gateways: WebSockets and event streams.",
    ),
    "backup": ("backup:backup", "Copy the data of a gateway, running or not, to the new file FILE."),
    "restore": ("backup:restore", "Replace the data file with a copy of FILE."),
    "dump": (
        "dump:dump",
        "Write the data file as lines of JSON, with all its content, to the new file FILE or to standard output.",
    ),
    "load": ("dump:load", "Create a new data file from the dump FILE."),
    "import-devicehive": (
        "import_devicehive:import_devicehive",
        "Create a new data file from the DeviceHive server at URL.",
    ),
    "vacuum": ("dump:vacuum", "Remove unused space from the data file."),
    "cluster": ("cluster:cluster", "Manage the log that several gateways share."),
}
"""The module and the function of each command, and the first sentence of its help."""

SUBJECTS = {
    "serve": "To start",
    "put": "Configurations",
    "token": "Rights and tenants",
    "device": "Devices",
    "backup": "The data file",
}
"""The headings of the list of commands: the first one of each subject."""

ELSEWHERE = {
    "set": "put",
    "add": "put",
    "show": "get",
    "cat": "get",
    "ls": "list",
    "rm": "delete",
    "remove": "delete",
    "log": "history",
    "revert": "rollback",
    "subscribe": "watch",
    "follow": "watch",
    "start": "serve",
    "run": "serve",
    "help": "--help",
    "version": "--version",
}
"""What other programs call a command; a mistyped one is compared with the commands themselves."""


class _Commands(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - what the table leads to
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, but without importing them all."""
        longest = max(map(len, COMMANDS))
        sections: dict[str, list[tuple[str, str]]] = {}
        heading = ""
        for name, (_, text) in COMMANDS.items():
            heading = SUBJECTS.get(name, heading)
            sections.setdefault(heading, []).append((name.ljust(longest), brief(text, formatter.width - 6 - longest)))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does, but without importing them all."""
        items = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a mistyped command gets a suggestion without importing them all."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            known = ELSEWHERE.get(error.command_name)
            words = f"No such command '{error.command_name}'. Did you mean '{known}'?" if known is not None else None
            possible = COMMANDS if known is None else None
            raise click.NoSuchCommand(error.command_name, words, possible, ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An expected error ends it with one line, or with `-o json` an object, and no traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, RemoteError, BadAddress, Unsendable, Unreachable) as error:
            raise click.exceptions.Exit(_report(error, ctx.meta.get(FORM), ctx.meta.get(ADDRESS))) from None


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
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a file that cannot be
understood, 3 no gateway reached.""",
)
@click.version_option(__version__)
def _hivewire() -> None:
    """Hivewire, the configuration server for live clients: the gateway, and a client of it."""


def main() -> None:
    """Run the command line; errors go to standard error as `hivewire: error: ...`."""
    _open_standard_streams()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    try:
        code = _hivewire.main(prog_name="hivewire", standalone_mode=False, color=False if plain else None)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        sys.exit(_report(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except MemoryError:
        click.echo("hivewire: error: not enough memory; is there a limit (ulimit -v, MemoryMax)?", err=True)
        sys.exit(1)
    except OSError as error:  # mostly a full disk behind `>`; click handles a closed pipe
        from hivewire.cli.output import drop_output

        drop_output(sys.stdout)
        where = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"hivewire: error: {where}{error.strerror or error}", err=True)
        sys.exit(1)
    finally:
        _end_errors()


def _end_errors() -> None:
    """Drop what standard error does not take, such as the last lines of a log on a full disk. Python would try once
    more, and end the process with the exit code 120."""
    try:
        sys.stderr.flush()
    except OSError:
        from hivewire.cli.output import drop_output

        drop_output(sys.stderr)


def _open_standard_streams() -> None:
    """Open those that are closed, as after `>&-`, on nothing. Otherwise the next socket would be standard output.

    Characters that the locale of standard output does not have, and bytes in file names that are no characters, are
    written as escapes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - it stays open
    if isinstance(sys.stdout, TextIOWrapper):
        with suppress(OSError):  # somebody put a pipe in the place of the file that it was
            sys.stdout.reconfigure(errors="backslashreplace")


def _report(error: Exception, form: str | None = None, address: str | None = None) -> int:
    """Print an error on standard error, as an object if `form` is json. Returns the exit code.

    `address` is that of HIVEWIRE_URL, if the command uses it; an error about it names the variable.
    A command or group without arguments prints its help, which is no error.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    words = _words(error)
    if address is not None and _is_about(error, address):
        words = f"HIVEWIRE_URL: {words}"
    if form == "json":
        from hivewire.cli.output import echo_json, encodable

        echo_json({"error": encodable(words), "code": getattr(error, "code", None)}, err=True)
    else:
        click.echo(f"hivewire: error: {words}", err=True)
    if isinstance(error, Unreachable):
        return 3
    if isinstance(error, BadAddress | Unsendable):
        return 2
    return error.exit_code if isinstance(error, click.ClickException) else 1


def _is_about(error: Exception, address: str) -> bool:
    return isinstance(error, BadAddress) or (isinstance(error, Unreachable) and address in str(error))


def _words(error: Exception) -> str:
    """What an error says, and for wrong usage where the help is."""
    if isinstance(error, RemoteError):
        from hivewire.cli.output import on_one_line

        return on_one_line(str(error))
    if not isinstance(error, click.ClickException):
        return str(error)
    message = error.format_message()
    if isinstance(error, click.UsageError):
        message = " ".join(message.split())  # click lists choices on lines of their own
        if error.ctx is not None:
            if isinstance(error, click.NoSuchOption) and not error.possibilities and _takes_a_value(error.ctx):
                message += " A value that begins with a dash goes behind --, as in: hivewire put name -- -5"
            elif isinstance(error, click.NoSuchOption) and error.ctx.parent is None:
                message += " Options go behind the command, as in: hivewire list -o json"
            message += f" (see '{error.ctx.command_path} --help')"
    return message


def _takes_a_value(context: click.Context) -> bool:
    return any(isinstance(each, click.Argument) and each.name == "value" for each in context.command.params)
