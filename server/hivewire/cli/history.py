"""`hivewire history` and `hivewire rollback`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.configuration import (
    current,
    current_options,
    description_option,
    expect_option,
    expect_revision_option,
    layer_option,
    name_argument,
    print_written,
    shown,
    write,
)
from hivewire.cli.errors import RefusedByGateway
from hivewire.cli.gateway import dry_run_option, with_gateway
from hivewire.cli.help import WholeNumber
from hivewire.cli.output import Columns, Text, local, output_option, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 100


@click.command(
    epilog="""\b
Examples:
  hivewire history limits.max
  hivewire history limits.max --take 3
  hivewire history limits.max --json | jq -r .configuration.value

\b
On a terminal it prints a table, into a pipe one JSON object per line."""
)
@name_argument
@click.option(
    "--take", type=WholeNumber(min=1), metavar="N", default=20, show_default=True, help="At most this many changes."
)
@layer_option
@current_options
@output_option
@with_gateway
def history(
    remote: Remote, name: str, take: int, layer: str | None, at_least: int | None, fresh: bool, form: str | None
) -> None:
    """Show the changes of the configuration NAME, newest first, including deletes and what came before them."""
    show(_changes(remote, name, layer, take, current(at_least, fresh)), form, COLUMNS, "value")


COLUMNS: Columns = {
    "revision": lambda row: str(row["revision"]),
    "version": lambda row: str(row["configuration"]["entityVersion"]),
    "when": lambda row: local(row["modified"]),
    "who": Text(lambda row: row["modifiedBy"] or ""),
    "value": Text(lambda row: "(deleted)" if row["operation"] == "delete" else shown(row["configuration"])),
    "why": Text(lambda row: row["description"] or ""),
}


@click.command(
    epilog="""\b
Examples:
  hivewire rollback limits.max 7
  hivewire rollback limits.max 7 --expect 9 --description "9 was a typing error"
  hivewire rollback limits.max --revision 1042      (also of a deleted name)"""
)
@name_argument
@click.argument("version", type=WholeNumber(min=1), required=False)
@click.option(
    "--revision",
    type=WholeNumber(min=1),
    metavar="REVISION",
    help="Go back to the change with this revision instead.",
)
@description_option
@expect_option
@expect_revision_option
@layer_option
@dry_run_option
@output_option
@with_gateway
def rollback(
    remote: Remote,
    name: str,
    version: int | None,
    revision: int | None,
    description: str | None,
    expect: int | None,
    expect_revision: int | None,
    layer: str | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Put the configuration NAME back to VERSION, as a new version. `hivewire history` shows the versions."""
    if (version is None) == (revision is None):
        raise click.UsageError("give either VERSION or --revision")
    asked: dict[str, Any] = {
        "to": version,
        "toRevision": revision,
        "entityVersion": expect,
        "revision": expect_revision,
    }
    asked |= {"layer": layer, "description": description, "dryRun": dry_run or None}
    try:
        reply = write(remote, "configuration/rollback", name=name, **asked)
    except RefusedByGateway as error:
        if version is None or error.code != 404 or not _is_deleted(remote, name, layer):
            raise
        hint = "  it is deleted: give --revision with one of those that hivewire history shows"
        raise RefusedByGateway(f"{error.message}\n{hint}", error.code) from None
    back = f"version {version}" if version is not None else f"revision {revision}"
    print_written(reply, form, f", as it was at {back}")


def _is_deleted(remote: Remote, name: str, layer: str | None) -> bool:
    return any(last["operation"] == "delete" for last in _changes(remote, name, layer, 1, {}))


def _changes(
    remote: Remote, name: str, layer: str | None, take: int, members: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    before = None
    while take > 0:
        asked = {"name": name, "layer": layer, "take": min(take, PAGE), "before": before, **members}
        page, members = remote.request("configuration/history", **asked)["changes"], {}
        yield from page
        if len(page) < min(take, PAGE):
            return
        take -= len(page)
        before = page[-1]["revision"]
