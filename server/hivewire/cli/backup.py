"""`hivewire backup FILE`: a consistent copy of the data file, also while a gateway has it open."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from hivewire import settings as catalogue
from hivewire.ledger.backup import backup as copy
from hivewire.ledger.journal import JournalError
from hivewire.settings import SettingsError


@click.command(
    epilog="""\b
Examples:
  hivewire backup /backup/hivewire-monday.db
  hivewire backup --data /var/lib/hivewire/hivewire.db /backup/now.db

\b
To restore, stop the gateway and start it on the copy:
  hivewire serve --data /backup/hivewire-monday.db"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="The gateway's data file; otherwise HIVEWIRE_DATA, the settings file, or hivewire.db.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with settings.")
def backup(file: Path, data: str | None, config: Path | None) -> None:
    """Copy the data of a gateway, running or not, to the new file FILE.

    Run it on the gateway's machine as a user who may read the data file. The copy holds everything, including the
    password hashes and the signing secret, and only its owner can read it. It is the state of one moment. It gets a
    new epoch, so that clients that watch notice when it is restored.
    """
    try:
        source = Path(catalogue.load({"data": data}, file=config).settings.data)
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("copying", total=None)
            copy(source, file, lambda done, total: progress.update(task, completed=done, total=total))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{source} is copied to {file} ({file.stat().st_size:,} bytes)")
