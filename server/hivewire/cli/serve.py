"""`hivewire serve`: every setting as a flag, `--check`, and the welcome."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from hivewire import settings as catalogue
from hivewire.cli.errors import BadInput
from hivewire.cli.output import Columns, Row, Text, drop_output, output_option, show
from hivewire.ledger.engines import engine_of
from hivewire.ledger.records import JournalError
from hivewire.settings import Effective, Settings, SettingsError, StartError

SECTIONS = {
    "host": "Address and data",
    "store": "Shared log",
    "admin_login": "First administrator",
    "jwt_secret": "Tokens",
    "tls_certificate": "TLS",
    "history": "History and audit",
    "log_format": "Log and proxies",
    "name_length": "Configurations and site properties",
    "compact_seconds": "Storage",
    "message_bytes": "Requests",
    "connections": "Connections",
    "subscriptions": "Subscriptions",
    "failed_authentications": "Failed logins and stopping",
}
"""The headings of the help: the first setting of each subject, in the order of the settings."""


class _Serve(click.Command):
    """A command whose help has a section for each subject of the settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, the settings after the other options."""
        headings, heading = {}, ""
        for name in catalogue.names():
            headings[name] = heading = SECTIONS.get(name, heading)
        sections: dict[str, list[tuple[str, str] | None]] = {"Options": []}
        for param in sorted(self.get_params(ctx), key=lambda param: param.name in headings):
            title = headings.get(param.name or "", "Options")
            sections.setdefault(title, []).append(param.get_help_record(ctx))
        for title, found in sections.items():
            with formatter.section(title):
                formatter.write_dl([record for record in found if record is not None])


def _flags(command: click.Command) -> click.Command:
    """Add one option for each setting that is not secret. The defaults come from the settings."""
    hints = get_type_hints(Settings)  # once: it takes milliseconds
    for name in catalogue.names():
        if catalogue.is_secret(name):
            continue
        default = getattr(Settings(), name)
        shown = f"  [default: {_written(default)}]" if default not in (None, "") else ""
        command.params.append(
            click.Option(
                ["--" + name.replace("_", "-")],
                default=None,
                metavar=_metavar(name, hints[name]),
                help=catalogue.sentence(name) + shown,
                type=str,
            )
        )
    return command


def _written(value: object) -> str:
    """A value as it is given."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metavar(name: str, hint: Any) -> str:
    choices = [option for option in get_args(hint) if isinstance(option, str)]
    if choices:
        return "|".join(choices)
    other = "PATH" if name in PATHS else "TEXT"
    return {int: "N", float: "DAYS" if name.endswith("_days") else "SECONDS", bool: "true|false"}.get(hint, other)


PARENT = "parent://"
"""How the address of a parent process begins. It is that of `hivewire.link`, which loads more than `--help` needs."""

PATHS = frozenset(
    {
        "data",
        "store_ca",
        "store_cert",
        "store_credentials",
        "store_key",
        "store_monitor_credentials",
        "tls_certificate",
        "tls_key",
    }
)


@click.command(
    cls=_Serve,
    epilog="""\b
Examples:
  hivewire serve
  hivewire serve --port 9000 --data /var/lib/hivewire/hivewire.db
  hivewire serve --config /etc/hivewire.toml --check
  HIVEWIRE_ADMIN_PASSWORD=... hivewire serve --host 0.0.0.0 \\
      --tls-certificate cert.pem --tls-key key.pem

\b
Every setting can also be an environment variable (HIVEWIRE_PORT=9000) or a
line of a TOML file (port = 9000). A flag overrides the environment, and the
environment overrides the file. Secrets have no flags, because other users can
see those: use HIVEWIRE_ADMIN_PASSWORD, HIVEWIRE_JWT_SECRET and so on, or the
file.

\b
--workers N starts N gateway processes on one port and one data file. Reads and
pushes scale with the cores, writes do not.

\b
To replace a lost administrator's password, stop the gateway and run
  hivewire user password admin --data hivewire.db""",
)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with settings.")
@click.option(
    "--check",
    is_flag=True,
    help="Test secrets, addresses and TLS files, print each setting and where it comes from, and exit.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Start although the last changes are missing, because the data file was moved without its -wal, or although a "
    "restore was killed before its end.",
)
@output_option
def serve(config: Path | None, check: bool, accept_loss: bool, form: str | None, **flags: Any) -> None:
    """Start the gateway: DeviceHive's WebSocket and REST API over one durable ledger.

    The first start creates the data file and an administrator, and prints the password once. Ctrl-C or SIGTERM stops
    it cleanly: open requests are answered, WebSockets are closed with 1001, and the exit code is 0. SIGHUP reloads
    the settings file and the TLS files.
    """
    try:
        effective = _effective(flags, config)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except StartError as error:
        raise click.ClickException(str(error)) from None
    try:
        if check:
            _check(effective, form)
        else:
            _run(effective, flags, config, accept_loss=accept_loss)
    except SettingsError as error:
        raise BadInput(str(error)) from None
    except (JournalError, StartError) as error:
        raise click.ClickException(str(error)) from None


_flags(serve)


def _check(effective: Effective, form: str | None) -> None:
    """Show the settings. Raises SettingsError."""
    from hivewire import app

    app.check(effective.settings)
    show(_rows(effective), form or "table", COLUMNS, "value")


def _run(effective: Effective, flags: dict[str, Any], config: Path | None, *, accept_loss: bool) -> None:
    """Be the gateway, or the parent of several. Raises StartError, or JournalError when another one has the file."""
    engine_of(effective.settings).require_free()
    from hivewire import app, process, supervisor  # here, so that the refusal does not wait for the whole gateway

    settings, load = effective.settings, partial(_load, flags, config)
    if settings.workers == 1:
        process.run(effective, partial(app.serve, settings, load, _welcome, accept_loss=accept_loss))
        return
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items() if value is not None]
    arguments = given if config is None else [f"--config={config}", *given]
    process.run(effective, partial(supervisor.serve, settings, arguments, load, _welcome, accept_loss=accept_loss))


def _effective(flags: dict[str, Any], config: Path | None) -> Effective:
    """The settings of this process. Raises SettingsError, and StartError when it is one of several gateways whose
    parent does not say which those are."""
    if not (flags["data"] or "").startswith(PARENT):
        return catalogue.load(flags, file=config)
    from hivewire.parent import settings_of_parent  # imported here, because others do not need it

    return Effective(settings_of_parent(flags["data"]), dict.fromkeys(catalogue.names(), "default"))


def _load(flags: dict[str, Any], config: Path | None) -> Settings:
    return catalogue.load(flags, file=config).settings


def _rows(effective: Effective) -> Iterator[Row]:
    """Each setting with its value, but for secrets, and where that comes from."""
    for name in catalogue.names():
        value = getattr(effective.settings, name)
        hidden = catalogue.is_secret(name) and value is not None
        yield {"setting": name, "value": "********" if hidden else value, "from": effective.sources[name]}


COLUMNS: Columns = {
    "setting": Text(lambda row: row["setting"]),
    "value": Text(lambda row: "(not set)" if row["value"] is None else _written(row["value"]) or "(empty)"),
    "from": Text(lambda row: row["from"]),
}


def _usable(url: str) -> str:
    """The URL for a client on this machine, where the gateway listens on all interfaces."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _welcome(started: Any) -> None:
    """Print the generated password, which is shown only here, and on a terminal the addresses and what to try first.

    Elsewhere the log says what remains, and no program that reads it gets lines of another form at each start.
    """
    if sys.stdout is not None and sys.stdout.isatty():
        _show("\n".join(_greeting(started)))
    elif started.password is not None:
        _show("\n".join(_administrator(started)))


def _greeting(started: Any) -> list[str]:
    command, here = Path(sys.argv[0]).absolute(), Path.cwd()
    if command.name != "hivewire":
        hivewire = f"{shlex.quote(sys.executable)} -m hivewire"
    else:
        nearer = here in command.parents and here != Path(here.anchor)  # from the root it would only lack its slash
        hivewire = shlex.quote(str(command.relative_to(here) if nearer else command))
    web = started.url.replace("http", "ws", 1)
    dashboard = [f"Dashboard            {_usable(started.url)}/dashboard/"] if started.dashboard else []
    login = f" --login {started.login}" if started.login is not None else ""
    return [
        "",
        *dashboard,
        f"Hivewire listens on  {web}/api/websocket",
        f"                     {started.url}/api/rest",
        f"Data                 {started.data} ({started.records} configurations)",
        *_administrator(started),
        "",
        "Try it in another terminal:",
        f"  {hivewire} login --url {_usable(started.url)}{login}",
        f"  {hivewire} put limits.max 42",
        f"  {hivewire} get limits.max",
        "",
        "Ctrl-C stops it.",
        "",
    ]


def _administrator(started: Any) -> list[str]:
    lines = [f"Administrator        {started.login or 'none is active; see hivewire user --help'}"]
    if started.password is not None:
        lines += [
            f"Password             {started.password}",
            "                     (generated now and not shown again)",
        ]
    return lines


def _show(text: str) -> None:
    """Print it, on standard error if standard output fails: the gateway serves already, and has stored the password."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError:
        drop_output(sys.stdout)
        click.echo(text, err=True)
