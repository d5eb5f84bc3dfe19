"""`hivewire connections`: lists connections, and closes one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hivewire.cli.gateway import MOST_COMPLETED, completion, with_gateway
from hivewire.cli.output import Columns, Row, Text, local, output_option, print_result, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 500


def _ids(remote: Remote, beginning: str) -> list[str]:
    """Some ids, for shell completion."""
    found = remote.request("connection/list", after=beginning, take=MOST_COMPLETED)
    return [row["connectionId"] for row in found["connections"]]


@click.command(
    epilog="""\b
Examples:
  hivewire connections
  hivewire connections --login alice
  hivewire connections --close 8c41f0d2-00000001f4
  hivewire connections -o json | jq 'select(.behind > 1000)'

\b
On a terminal it prints a table, into a pipe one JSON object per line."""
)
@click.option("--login", metavar="LOGIN", help="Only those of this user or client.")
@click.option("--close", metavar="ID", shell_complete=completion(_ids), help="Close the connection with this id.")
@output_option
@with_gateway
def connections(remote: Remote, login: str | None, close: str | None, form: str | None) -> None:
    """Show who is connected, on all gateways: WebSockets and event streams. Close one with --close.

    This command's own connection is among them. It needs an administrator's token without restrictions.
    """
    if close is None:
        show(_rows(remote, login), form, COLUMNS, "id")
        return
    if login is not None:
        raise click.UsageError("--login chooses what is listed, and --close takes one id")
    remote.request("connection/close", connectionId=close)
    print_result({"connectionId": close}, form, f"{close} is closed", close)


def _rows(remote: Remote, login: str | None) -> Iterator[Row]:
    after = ""
    while page := remote.request("connection/list", login=login, after=after, take=PAGE)["connections"]:
        yield from page
        after = page[-1]["connectionId"]


COLUMNS: Columns = {
    "id": lambda row: row["connectionId"],
    "kind": lambda row: row["kind"],
    "login": Text(lambda row: row["login"] or ""),
    "from": Text(lambda row: row["address"]),
    "since": lambda row: local(row["since"]),
    "subscriptions": lambda row: str(row["subscriptions"]),
    "behind": lambda row: str(row["behind"]),
    "unread": lambda row: str(row["unreadBytes"]),
    "gateway": Text(lambda row: row["gateway"] or ""),
}
