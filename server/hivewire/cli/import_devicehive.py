"""`hivewire import-devicehive URL`: a new data file with what a DeviceHive server has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from hivewire.access.passwords import unknown
from hivewire.cli.backup import config_option, data_file, data_option, working
from hivewire.cli.devicehive_records import OldUser, Reading, Report, is_whole
from hivewire.cli.devicehive_server import DeviceHiveServer
from hivewire.cli.errors import RefusedByGateway
from hivewire.cli.identity import read_password
from hivewire.cli.output import output_option, print_result, printable
from hivewire.clocks import now
from hivewire.ledger import dump as dumps
from hivewire_client.tokens import claims_of
from hivewire_protocol.nouns.user import Role

TAKE = 1_000
"""Entries of one request. DeviceHive hands an answer through Kafka, which takes 1 MB by default."""

WORDS = {
    "networks": "network",
    "deviceTypes": "device type",
    "users": "user",
    "devices": "device",
    "configurations": "configuration",
}


@click.command(
    "import-devicehive",
    epilog="""\b
Examples:
  hivewire import-devicehive https://dh.example.com --data new.db
  hivewire import-devicehive http://dh.example.com:8080/dh/rest --dry-run
  DEVICEHIVE_TOKEN=... hivewire import-devicehive https://dh.example.com -o json

\b
Afterwards, for each user that it names:
  hivewire user password dhadmin --data new.db
  hivewire serve --data new.db""",
)
@click.argument("url")
@click.option("--token", envvar="DEVICEHIVE_TOKEN", help="An administrator's access token [DEVICEHIVE_TOKEN].")
@click.option(
    "--login",
    envvar="DEVICEHIVE_LOGIN",
    default="dhadmin",
    show_default=True,
    help="Without a token: the administrator's login [DEVICEHIVE_LOGIN].",
)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; otherwise DEVICEHIVE_PASSWORD, or the command asks.",
)
@click.option("--auth-url", metavar="URL", help="DeviceHive's service for tokens, if it is not found beside URL.")
@click.option(
    "--configuration",
    "configurations",
    metavar="NAME",
    multiple=True,
    help="Import this configuration; repeatable. DeviceHive has no list of them.",
)
@click.option(
    "--take",
    type=click.IntRange(min=0),
    default=TAKE,
    show_default=True,
    help="Entries of a list in one request; 0 reads each list with one.",
)
@click.option("--dry-run", is_flag=True, help="Read everything, show what would be imported, and write nothing.")
@data_option
@config_option
@output_option
def import_devicehive(
    url: str,
    token: str | None,
    login: str,
    password_stdin: bool,
    auth_url: str | None,
    configurations: tuple[str, ...],
    take: int,
    dry_run: bool,
    data: str | None,
    config: Path | None,
    form: str | None,
) -> None:
    """Create a new data file from the DeviceHive server at URL.

    The file gets its users, networks, device types and devices, and the configurations that you name. The command only
    reads from the server, over its REST API. Ids, roles, statuses and memberships are kept, and new ids come
    after them. Passwords cannot be read, so the command lists the users who need a new one.
    The file is created completely or not at all, and never overwrites a file.
    """
    target = data_file(data, config)
    if not dry_run and target.exists():
        raise click.ClickException(f"{target} exists already; give a new file with --data")
    with DeviceHiveServer(url, auth_url) as server:
        if token is not None:
            server.token = token
        else:
            server.log_in(login, _password(login, password_stdin))
        _require_administrator(server)
        reading = Reading(server, now(), unknown(), take)
        with working("reading") as progress:
            items = reading.items(configurations, progress)
            if dry_run:
                for _ in items:
                    pass
            else:
                dumps.create(target, items)
    _show(reading.report, url, None if dry_run else target, form)


def _password(login: str, from_stdin: bool) -> str:
    given = os.environ.get("DEVICEHIVE_PASSWORD")
    return given if given and not from_stdin else read_password(f"Password of {login}", from_stdin)


def _require_administrator(server: DeviceHiveServer) -> None:
    """Raise RefusedByGateway for a token that shows only a part of what there is."""
    caller = server.find("/user/current", OldUser)
    if caller is None or caller.role != Role.ADMIN:
        raise RefusedByGateway(
            "the token is not that of an administrator, and would show only a part of the server", 403
        )
    if not is_whole(claims_of(server.token or ""), caller.allDeviceTypesAvailable):
        raise RefusedByGateway("the token does not reach all networks and device types; use --login", 403)


def _show(report: Report, url: str, target: Path | None, form: str | None) -> None:
    row = {
        "data": None if target is None else str(target),
        "source": url,
        **report.counts,
        "needPasswords": report.without_password,
        "remarks": report.remarks,
    }
    print_result(row, form, "\n".join(_sentences(report, url, target)), "" if target is None else str(target))


def _sentences(report: Report, url: str, target: Path | None) -> Iterator[str]:
    counted = ", ".join(
        f"{(count := report.counts[name]):,} {words}{'s' * (count != 1)}" for name, words in WORDS.items()
    )
    yield f"nothing is written; {url} has {counted}" if target is None else f"{target} has {counted} of {url}"
    yield from report.remarks
    if report.without_password:
        yield "These users cannot log in until they have a new password, because the old ones cannot be read:"
        for login in report.without_password:
            yield f"  {printable(login)}{' (administrator)' if login in report.administrators else ''}"
        if target is not None:
            yield f"Set each with: hivewire user password LOGIN --data {target}"
