"""`hivewire tree` and `hivewire changes`: look through all configurations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.configuration import layer_option, patterns_argument
from hivewire.cli.gateway import with_gateway
from hivewire.cli.help import WholeNumber
from hivewire.cli.output import Columns, Text, local, output_option, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 1_000


@click.command(
    epilog="""\b
Examples:
  hivewire tree
  hivewire tree shop.
  hivewire tree config/ --delimiter /

\b
`configurations` is how many names are below it; `value` says whether it is a name itself."""
)
@click.argument("prefix", default="")
@click.option("--delimiter", metavar="TEXT", default=".", show_default=True, help="What separates the parts of names.")
@output_option
@with_gateway
def tree(remote: Remote, prefix: str, delimiter: str, form: str | None) -> None:
    """Show what is directly below PREFIX, and how many configurations are below each; without PREFIX the top."""
    show(_children(remote, prefix, delimiter), form, TREE_COLUMNS, "name")


TREE_COLUMNS: Columns = {
    "name": Text(lambda row: printable(row["name"])),
    "value": lambda row: "yes" if row["leaf"] else "",
    "configurations": lambda row: str(row["count"]),
}


def _children(remote: Remote, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
    after = None
    while True:
        reply = remote.request("configuration/tree", prefix=prefix, delimiter=delimiter, after=after, take=PAGE)
        yield from reply["children"]
        if len(reply["children"]) < PAGE:
            return
        after = reply["children"][-1]["name"]


@click.command(
    epilog="""\b
Examples:
  hivewire changes
  hivewire changes 'limits.*' --user anna
  hivewire changes --layer '*'              (those in all layers)
  hivewire changes --take 3 -o json

\b
`hivewire history NAME` shows the values of one name, `hivewire audit` what
people did elsewhere: logins, tokens, users, tenants."""
)
@patterns_argument
@layer_option
@click.option("--user", metavar="LOGIN", help="Only the changes of this login or client.")
@click.option(
    "--take", type=WholeNumber(min=1), metavar="N", default=20, show_default=True, help="At most this many changes."
)
@output_option
@with_gateway
def changes(
    remote: Remote, patterns: tuple[str, ...], layer: str | None, user: str | None, take: int, form: str | None
) -> None:
    """Show who changed which configuration, newest first: of all that you may see, or those that match a PATTERN.

    Without --layer these are the plain ones; --layer '*' shows those of all layers.
    """
    columns = CHANGES_COLUMNS
    if layer is not None:
        columns = {"layer": Text(lambda row: row["configuration"]["layer"]), **columns}
    show(_changes(remote, {"names": list(patterns) or None, "layer": layer, "user": user}, take), form, columns, "name")


CHANGES_COLUMNS: Columns = {
    "revision": lambda row: str(row["revision"]),
    "when": lambda row: local(row["modified"]),
    "who": Text(lambda row: row["modifiedBy"] or ""),
    "what": lambda row: row["operation"],
    "name": Text(lambda row: printable(row["configuration"]["name"])),
    "version": lambda row: str(row["configuration"]["entityVersion"]),
    "why": Text(lambda row: row["description"] or ""),
}


def _changes(remote: Remote, wanted: dict[str, Any], take: int) -> Iterator[dict[str, Any]]:
    """At most `take` changes: a page may end with more of one transaction."""
    before = None
    while take > 0:
        reply = remote.request("configuration/audit", **wanted, before=before, take=min(take, PAGE))
        page, before = reply["changes"][:take], reply["before"]
        yield from page
        take -= len(page)
        if before is None:
            return
