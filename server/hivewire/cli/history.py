"""`hivewire history` and `hivewire rollback`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from hivewire.cli.configuration import description_option, expect_option, expect_revision_option, shown, write
from hivewire.cli.gateway import connected
from hivewire.cli.output import echo_json, printable
from hivewire.cli.remote import Remote

PAGE = 100


@click.command(
    epilog="""\b
Examples:
  hivewire history limits.max
  hivewire history limits.max --take 3
  hivewire history limits.max --json | jq -r .configuration.value

\b
On a terminal it is a table; into a pipe goes one JSON object a line."""
)
@click.argument("name")
@click.option("--take", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many changes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@connected
def history(remote: Remote, name: str, take: int, as_json: bool) -> None:
    """Show the changes of the configuration NAME, newest first, including deletes and what came before them."""
    changes = _changes(remote, name, take)
    if as_json or not sys.stdout.isatty():
        for change in changes:
            echo_json(change)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("revision", "version", "when (UTC)", "who", "value", "why", box=None, pad_edge=False)
    for change in changes:
        resource = change["configuration"]
        value = "(deleted)" if change["operation"] == "delete" else printable(shown(resource)[:1_000])
        table.add_row(
            str(change["revision"]),
            str(resource["entityVersion"]),
            change["modified"],
            Text(printable(change["modifiedBy"] or "")),
            Text(value, no_wrap=True, overflow="ellipsis"),
            Text(printable(change["description"] or "")),
        )
    Console().print(table)


@click.command(
    epilog="""\b
Examples:
  hivewire rollback limits.max 7
  hivewire rollback limits.max 7 --expect 9 --description "9 was a typing error"
  hivewire rollback limits.max --revision 1042      (also of a deleted name)"""
)
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--revision", type=click.IntRange(min=1), help="Go back to the change with this revision instead.")
@description_option
@expect_option
@expect_revision_option
@connected
def rollback(
    remote: Remote,
    name: str,
    version: int | None,
    revision: int | None,
    description: str | None,
    expect: int | None,
    expect_revision: int | None,
) -> None:
    """Write the configuration NAME as it was at VERSION as a new version. `hivewire history` shows the versions."""
    if (version is None) == (revision is None):
        raise click.UsageError("give either VERSION or --revision")
    reply = write(
        remote,
        "configuration/rollback",
        name=name,
        to=version,
        toRevision=revision,
        description=description,
        entityVersion=expect,
        revision=expect_revision,
    )
    back = f"version {version}" if version is not None else f"revision {revision}"
    now = reply["configuration"]["entityVersion"]
    click.echo(f"{name} is at version {now} (revision {reply['revision']}), as it was at {back}")


def _changes(remote: Remote, name: str, take: int) -> Iterator[dict[str, Any]]:
    before = None
    while take > 0:
        page = remote.request("configuration/history", name=name, take=min(take, PAGE), before=before)["changes"]
        yield from page
        if len(page) < min(take, PAGE):
            return
        take -= len(page)
        before = page[-1]["revision"]
