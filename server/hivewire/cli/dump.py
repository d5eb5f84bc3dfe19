"""`hivewire dump`, `hivewire load` and `hivewire vacuum`: on the data file itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from hivewire.cli.backup import config_option, data_file, data_option, working
from hivewire.cli.errors import BadInput
from hivewire.cli.export_format import label
from hivewire.cli.output import output_option, print_result
from hivewire.ledger import backup as files
from hivewire.ledger import dump as dumps


@click.command(
    epilog="""\b
Examples:
  hivewire dump ledger.jsonl
  hivewire dump --data /var/lib/hivewire/hivewire.db | gzip > ledger.jsonl.gz
  hivewire load ledger.jsonl --data new.db"""
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=Path("-"))
@data_option
@config_option
@output_option
def dump(file: Path, data: str | None, config: Path | None, form: str | None) -> None:
    """Write the data file as lines of JSON, with all its content, to the new file FILE or to standard output.

    The dump contains all values with their history, users, clients, tenants and their documents, the password hashes
    and the signing secret. Its format is the same in all versions. The gateway may be running.
    """
    source = data_file(data, config)
    piped = str(file) == "-"
    with working("dumping"):
        if piped:
            count = dumps.dump(source, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
        else:
            count = dumps.dump_file(source, file)
    words = f"{source} is dumped: {count:,} changes"
    if piped:
        click.echo(words, err=True)
    else:
        row = {"path": str(file), "data": str(source), "changes": count, "bytes": file.stat().st_size}
        print_result(row, form, words, str(file))


@click.command(
    epilog="""\b
Examples:
  hivewire load ledger.jsonl --data new.db
  zcat ledger.jsonl.gz | hivewire load - --data new.db
  hivewire serve --data new.db"""
)
@click.argument("file", type=click.File("rb"))
@data_option
@config_option
@output_option
def load(file: BinaryIO, data: str | None, config: Path | None, form: str | None) -> None:
    """Create a new data file from the dump FILE.

    The whole dump is checked. The data file is created completely or not at all, and never overwrites a file.
    """
    target = data_file(data, config)
    with working("loading"):
        try:
            count = dumps.load(file, target)
        except dumps.BadDump as error:
            raise BadInput(f"{label(file)}: {error}") from None
    print_result({"data": str(target), "changes": count}, form, f"{target} is loaded: {count:,} changes", str(target))


@click.command(
    epilog="""\b
Examples:
  systemctl stop hivewire
  hivewire vacuum --data /var/lib/hivewire/hivewire.db
  systemctl start hivewire"""
)
@data_option
@config_option
@output_option
def vacuum(data: str | None, config: Path | None, form: str | None) -> None:
    """Remove unused space from the data file. The gateway must be stopped.

    This temporarily needs disk space for a second copy of the file. The content does not change.
    """
    path = data_file(data, config)
    with working("vacuuming"):
        before, after = files.vacuum(path)
    row = {"data": str(path), "bytes": after, "bytesBefore": before}
    print_result(row, form, f"{path} has {after:,} bytes; it had {before:,}", str(after))
