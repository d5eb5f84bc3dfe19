"""Copies of the file of messages, for `hivewire backup` and `hivewire restore`.

Such a file belongs to one ledger, by its epoch. A copy gets that of the copied ledger, and other epochs for its logs,
because what is inserted after the backup is not in it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from hivewire.files import beside, sync, uri
from hivewire.streams.contract import LOGS, StoreError
from hivewire.streams.sqlite import reason_against, set_aside

SUFFIX = ".messages"
"""The end of the name of the file beside that of the ledger."""

UNFINISHED = "-unfinished"
"""The end of the name of an unfinished file; the next command for the same target removes it."""


def beside_ledger(path: Path) -> Path:
    """The file of messages of the ledger in a file, whatever link leads to that."""
    return Path(os.path.realpath(path) + SUFFIX)


@contextmanager
def copied(source: Path, target: Path) -> Iterator[Callable[[str], str | None]]:
    """Copy the messages of the ledger `source`, before that is copied to `target`: a message then has its device.

    Gives what binds them to the epoch of the copied ledger, and puts them beside it. That returns why there are none,
    if they could not be copied. Raises StoreError when there are others beside the target.
    """
    here, there = beside_ledger(source), beside_ledger(target)
    if there.exists():
        raise StoreError(f"{there} exists already; a backup never overwrites a file")
    reason = _copy(here, there) if here.exists() else None
    try:
        yield lambda epoch: reason or _publish(there, epoch)
    finally:
        _remove(_unfinished(there))


def restore(source: Path, source_epoch: str, target: Path, target_epoch: str) -> str | None:
    """Put the messages beside the ledger `source` beside `target`, which is a copy of it with another epoch.

    Those that were there are renamed. Returns why the messages were not restored, None when they were or are none.
    """
    here, there = beside_ledger(source), beside_ledger(target)
    if there.exists():
        set_aside(there, "before-restore")
    if not here.exists():
        return None
    try:
        reason = reason_against(here, source_epoch) or _copy(here, there) or _publish(there, target_epoch)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    _remove(_unfinished(there))
    return reason


def _copy(source: Path, target: Path) -> str | None:
    """Copy a file, perhaps of a gateway that runs, in one read. Returns why that was not possible."""
    unfinished = _unfinished(target)
    try:
        _remove(unfinished)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(uri(source, "ro"), uri=True)) as reader,
            closing(sqlite3.connect(uri(unfinished, "rw"), uri=True)) as writer,
        ):
            reader.backup(writer)
            writer.execute("PRAGMA journal_mode = DELETE")
    except (OSError, sqlite3.Error) as error:
        return str(getattr(error, "strerror", None) or error)
    return None


def _publish(target: Path, ledger_epoch: str) -> str | None:
    """Give the copy its epochs and its name, if there is one. Returns why that was not possible."""
    unfinished = _unfinished(target)
    if not unfinished.exists():
        return None
    values = [(ledger_epoch, "ledger"), ("0", "open"), *((secrets.token_hex(8), name + ".epoch") for name in LOGS)]
    try:
        with closing(sqlite3.connect(uri(unfinished, "rw"), uri=True)) as connection:
            connection.executemany("UPDATE meta SET value = ? WHERE name = ?", values)
            connection.commit()
        unfinished.replace(target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        return str(getattr(error, "strerror", None) or error)
    return None


def _unfinished(target: Path) -> Path:
    return beside(target, UNFINISHED)


def _remove(path: Path) -> None:
    for suffix in ("", "-journal"):
        with suppress(FileNotFoundError):
            beside(path, suffix).unlink()
