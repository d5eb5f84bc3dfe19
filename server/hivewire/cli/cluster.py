"""`hivewire cluster`: the log that several gateways share (`--store`)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from hivewire import settings as catalogue
from hivewire.cli.help import Group
from hivewire.cli.output import Columns, Row, Text, output_option, print_result, show
from hivewire.ledger.records import JournalError
from hivewire.settings import Settings, SettingsError

_T = TypeVar("_T")

store_option = click.option(
    "--store", help="The log, as for serve; default: HIVEWIRE_STORE, or the settings file. Its password is not a flag."
)
config_option = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with settings."
)


@click.group(cls=Group, no_args_is_help=True)
def cluster() -> None:
    """Manage the log that several gateways share.

    The commands need no gateway, only the servers of the log.
    """


def _settings(store: str | None, config: Path | None) -> Settings:
    try:
        return catalogue.load({"store": store}, file=config).settings
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    try:
        return asyncio.run(work)
    except JournalError as error:
        raise click.ClickException(str(error)) from None


@cluster.command(
    epilog="""\b
Examples:
  systemctl stop hivewire
  hivewire cluster init --store nats://hive@n1,n2,n3/site --from hivewire.db"""
)
@click.option(
    "--from", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The data file."
)
@store_option
@config_option
@output_option
def init(file: Path, store: str | None, config: Path | None, form: str | None) -> None:
    """Make a shared log of a data file whose gateway is stopped.

    The log begins with everything in FILE, which is not changed; commands and notifications of devices are not in it.
    It has a new epoch, so clients that follow changes get the whole state.
    """
    from hivewire.ledger import cluster as work

    settings = _settings(store, config)
    frames = _run(work.init(settings, file))
    words = f"{settings.store} begins with what is in {file}"
    print_result({"store": settings.store, "data": str(file), "frames": frames}, form, words, str(settings.store))


COLUMNS: Columns = {
    "what": lambda row: row["what"],
    "name": Text(lambda row: row["name"]),
    "state": lambda row: row["state"],
    "place": lambda row: str(row["place"]),
    "behind": lambda row: str(row["behind"]),
    "more": Text(lambda row: row["more"]),
}


@cluster.command(
    epilog="""\b
Examples:
  hivewire cluster status --store nats://hive@n1,n2,n3/site"""
)
@store_option
@config_option
@output_option
def status(store: str | None, config: Path | None, form: str | None) -> None:
    """Show a shared log: its servers and their leader, its gateways, its last checkpoint.

    PLACE counts the messages of the log. A gateway that does not answer within a second is not shown.
    """
    from hivewire.ledger import cluster as work

    show(_rows(_run(work.status(_settings(store, config)))), form, COLUMNS, "name")


def _rows(found: Any) -> Iterator[Row]:
    from hivewire.ledger.cluster import age_of

    def row(*values: str | int) -> Row:
        return dict(zip(COLUMNS, values, strict=True))

    yield row("log", found.epoch, "epoch", found.tip, 0, f"from {found.first}, {found.bytes:,} bytes")
    for server in found.servers:
        silent = f"silent for {server.silent:,.0f} s" if server.state == "behind" and server.silent else ""
        yield row("server", server.name, server.state, max(0, found.tip - server.lag), server.lag, silent)
    for gateway in found.gateways:
        behind = max(0, found.tip - gateway.tip)
        more = f"{gateway.lost_rounds} lost rounds, {gateway.gaps} gaps, version {gateway.version}"
        yield row("gateway", gateway.name, "behind" if behind else "current", gateway.tip, behind, more)
    if (made := found.checkpoint) is not None:
        more = f"{age_of(made):,.0f} s old, {made.frames} messages, by {made.gateway}"
        yield row("checkpoint", made.id, "complete", made.place, found.tip - made.place, more)
    elif found.unread is not None:
        yield row("checkpoint", "", "unknown", 0, 0, found.unread)


@cluster.command(
    epilog="""\b
Examples:
  hivewire cluster check --store nats://hive@n1,n2,n3/site"""
)
@store_option
@config_option
@output_option
def check(store: str | None, config: Path | None, form: str | None) -> None:
    """Read a shared log: each entry must continue the one before, and all gateways must have the records that follow.

    Gateways of older versions cannot tell what they have, and are named. The exit code is 1 when something is wrong.
    Gateways go on meanwhile.
    """
    from hivewire.ledger import cluster as work

    entries, found = _run(work.check(_settings(store, config)))
    unknown = [gateway.name for gateway in found.gateways if not gateway.digests]
    gateways = len(found.gateways) - len(unknown)
    read = f"{entries:,} entries from {found.first} to {found.tip} continue one another"
    if not entries:
        read = "no entries are behind the checkpoint"
    words = f"{read}; {gateways} gateways have the records that follow"
    if unknown:
        words += f"; unknown of older versions, which cannot tell: {', '.join(unknown)}"
    row = {"entries": entries, "first": found.first, "tip": found.tip, "gateways": gateways, "unknown": unknown}
    print_result(row, form, words, str(entries))


@cluster.command(
    epilog="""\b
Examples:
  hivewire cluster renew --store nats://hive@n1,n2,n3/site"""
)
@store_option
@config_option
@output_option
def renew(store: str | None, config: Path | None, form: str | None) -> None:
    """Give a shared log a new epoch, after its servers were restored. All gateways must be stopped.

    A restored log has the epoch that it had, but not all of its last entries. With a new one no client resumes over the
    difference: all get the whole state.
    """
    from hivewire.ledger import cluster as work

    settings = _settings(store, config)
    epoch = _run(work.renew(settings))
    print_result({"store": settings.store, "epoch": epoch}, form, f"{settings.store} has the epoch {epoch} now", epoch)
