"""`hivewire schedule`: what is written later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hivewire.cli.gateway import WOULD, dry_run_option, with_gateway
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.output import Columns, Row, Text, local, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 500


@click.group(
    cls=Group,
    no_args_is_help=True,
    epilog="""\b
Examples:
  hivewire schedule list
  hivewire schedule cancel 17
  hivewire transact changes.json --at 2026-03-01T09:30:00Z
  hivewire put banner "Back soon" --ttl 2h""",
)
def schedule() -> None:
    """Show and cancel scheduled writes: transactions with a time, and configurations that expire."""


@schedule.command(
    "list",
    epilog="""\b
Examples:
  hivewire schedule list
  hivewire schedule list -o json | jq 'select(.failed)'""",
)
@output_option
@with_gateway
def list_(remote: Remote, form: str | None) -> None:
    """List what is written later, and what could not be written when its time came."""
    show(_rows(remote), form, COLUMNS, "schedule")


def _rows(remote: Remote) -> Iterator[Row]:
    skip = 0
    while True:
        page = remote.request("schedule/list", take=PAGE, skip=skip)["schedules"]
        yield from page
        skip += PAGE
        if len(page) < PAGE:
            return


COLUMNS: Columns = {
    "schedule": lambda row: "expires" if row["schedule"] is None else str(row["schedule"]),
    "at": lambda row: local(row["at"]),
    "by": Text(lambda row: row["createdBy"] or ""),
    "changes": Text(lambda row: ", ".join(f"{each['operation']} {printable(each['name'])}" for each in row["changes"])),
    "failed": Text(lambda row: row.get("failed", "")),
}


@schedule.command(
    epilog="""\b
Examples:
  hivewire schedule cancel 17"""
)
@click.argument("number", type=WholeNumber(min=1))
@dry_run_option
@output_option
@with_gateway
def cancel(remote: Remote, number: int, dry_run: bool, form: str | None) -> None:
    """Cancel the schedule NUMBER, or remove one that failed. A configuration that is put again does not expire."""
    reply = remote.request("schedule/cancel", schedule=number, dryRun=dry_run or None)
    row = {"schedule": number, "revision": reply.get("revision")}
    print_result(row, form, f"schedule {number} {WOULD if dry_run else 'is'} cancelled", str(number))
