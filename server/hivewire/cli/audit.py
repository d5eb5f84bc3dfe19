"""`hivewire audit`: who logged in, made tokens, and changed users, clients and tenants."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click
import msgspec

from hivewire.cli.gateway import with_gateway
from hivewire.cli.help import WholeNumber
from hivewire.cli.identity import moment
from hivewire.cli.output import Columns, Row, Text, local, output_option, show
from hivewire_protocol import times
from hivewire_protocol.nouns.audit import KINDS

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

FIRST_PAGE, PAGE = 50, 1_000

OUT_OF_ORDER = 10 * 60_000
"""Milliseconds by which a row may be older than the one before it: failures are written up to a minute after
the last of them, and later where the disk is full."""


@click.command(
    epilog="""\b
Examples:
  hivewire audit
  hivewire audit --kind failure --since 24h
  hivewire audit --user alice --since 2026-03-01 --take 1000
  hivewire audit --about shop -o json | jq .detail

\b
On a terminal it prints a table, into a pipe one JSON object per line."""
)
@click.option("--kind", type=click.Choice(KINDS), help="Only rows of this kind.")
@click.option("--user", metavar="LOGIN", help="Only what this user or client did.")
@click.option(
    "--about",
    "subject",
    metavar="NAME",
    help="Only rows about this login, client, tenant, or network or device type by its number.",
)
@click.option("--since", metavar="TIME", help="Only rows since then: 30m, 12h or 7d ago, or a time (UTC).")
@click.option(
    "--take", type=WholeNumber(min=1), metavar="N", default=50, show_default=True, help="At most this many rows."
)
@output_option
@with_gateway
def audit(
    remote: Remote,
    kind: str | None,
    user: str | None,
    subject: str | None,
    since: str | None,
    take: int,
    form: str | None,
) -> None:
    """Show the audit, newest first: logins, tokens, failures, changes of users, clients, tenants and more.

    It needs a token with ManageUser.
    """
    found = _rows(remote, {"kind": kind, "user": user, "subject": subject}, moment(since, ago=True) or 0)
    show(islice(found, take), form, COLUMNS, "about")


def _rows(remote: Remote, wanted: Row, oldest: int) -> Iterator[Row]:
    """The rows since a moment in milliseconds. Pages get larger, because most ask for a few rows only."""
    before: int | None = None
    size = FIRST_PAGE
    while page := remote.request("audit/list", **wanted, before=before, take=size)["rows"]:
        for row in page:
            time = times.parse(row["time"])
            if time >= oldest:
                yield row
            elif time < oldest - OUT_OF_ORDER:
                return
        before, size = page[-1]["number"], PAGE


COLUMNS: Columns = {
    "when": lambda row: local(row["time"]),
    "kind": lambda row: row["kind"],
    "about": Text(lambda row: row["subject"]),
    "who": Text(lambda row: row["user"] or ""),
    "from": Text(lambda row: row["address"] or ""),
    "count": lambda row: str(row["count"]),
    "detail": Text(lambda row: msgspec.json.encode(row["detail"]).decode()),
}
