"""`hivewire backup FILE` and `hivewire restore FILE`: copy the data file, and put a copy back."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from hivewire import settings as catalogue
from hivewire.cli.output import output_option, print_result, warn
from hivewire.ledger import backup as copies
from hivewire.ledger.engines import engine_of
from hivewire.ledger.records import JournalError
from hivewire.settings import SettingsError
from hivewire.streams import backup as messages
from hivewire.streams.contract import StoreError

data_option = click.option(
    "--data", help="The gateway's data file; otherwise HIVEWIRE_DATA, the settings file, or hivewire.db."
)
config_option = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with settings."
)


def data_file(data: str | None, config: Path | None) -> Path:
    """The data file of the ledger that the settings name. Raises UsageError when its engine has none."""
    try:
        engine = engine_of(catalogue.load({"data": data}, file=config).settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if engine.file is None:
        raise click.UsageError(f"{engine.address} is not a data file; this command needs one")
    return engine.file


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress on a terminal; when a signal stops the command, clean up first."""
    from hivewire.cli.progress import progress  # here, so that help does not load rich

    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with progress(what) as report:
            yield report
    except (JournalError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


@click.command(
    epilog="""\b
Examples:
  hivewire backup /backup/hivewire-monday.db
  hivewire backup --data /var/lib/hivewire/hivewire.db /backup/now.db

\b
To restore, stop the gateway, and start it again afterwards:
  hivewire restore /backup/hivewire-monday.db --data hivewire.db"""
)
@click.argument("file", type=click.Path(path_type=Path))
@data_option
@config_option
@output_option
def backup(file: Path, data: str | None, config: Path | None, form: str | None) -> None:
    """Copy the data of a gateway, running or not, to the new file FILE.

    Run it on the gateway's machine as a user who may read the data file. The copy contains everything, including the
    password hashes and the signing secret, and only its owner can read it. It is the state of the moment at which the
    command ends. It gets a new epoch, so that clients that follow changes notice when it is restored. Commands and
    notifications of devices are copied to FILE.messages.
    """
    source = data_file(data, config)
    with working("copying") as progress, messages.copied(source, file) as copy:
        copies.backup(source, file, progress)
        missing = copy(copies.epoch_of(file))
    size = file.stat().st_size
    row = {"path": str(file), "data": str(source), "bytes": size}
    print_result(row, form, f"{source} is copied to {file} ({size:,} bytes)", str(file))
    _warn(missing)


@click.command(
    epilog="""\b
Examples:
  systemctl stop hivewire
  hivewire restore /backup/hivewire-monday.db --data /var/lib/hivewire/hivewire.db"""
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@data_option
@config_option
@click.option(
    "--accept-loss", is_flag=True, help="Restore a file that was copied from a running gateway without its -wal."
)
@output_option
def restore(file: Path, data: str | None, config: Path | None, accept_loss: bool, form: str | None) -> None:
    """Replace the data file with a copy of FILE. The gateway must be stopped.

    FILE is a backup, or any other copy of a data file; it is checked first. The previous data file is renamed, with
    the files that belong to it, and never deleted. The data get a new epoch, so that clients that follow changes get
    the whole state. Commands and notifications of devices are restored from FILE.messages.
    """
    target = data_file(data, config)
    missing: list[str | None] = []

    def placed(old: Path | None) -> None:
        messages.move(target, old)
        missing.append(messages.restore(file, copies.epoch_of(file), target, copies.epoch_of(target)))

    with working("restoring") as progress:
        old = copies.restore(file, target, progress, accept_loss=accept_loss, placed=placed)
    size = target.stat().st_size
    words = f"{target} is restored from {file} ({size:,} bytes)"
    if old is not None:
        words += f"\nThe previous data file is now {old}"
    row = {"data": str(target), "path": str(file), "bytes": size, "before": None if old is None else str(old)}
    print_result(row, form, words, str(target))
    _warn(missing[0])


def _warn(missing: str | None) -> None:
    """Say why there are no messages, on standard error, which scripts with `-o` show too."""
    if missing is not None:
        warn(f"without the messages of devices: {missing}")
