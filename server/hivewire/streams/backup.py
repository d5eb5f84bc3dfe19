"""Copies of the file of messages, for `hivewire backup` and `hivewire restore`.

Such a file belongs to one ledger, by its epoch. A copy gets that of the copied ledger, and other epochs for its logs,
because what is inserted after the backup is not in it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from hivewire.files import beside, own_like, sync, unfinished_file, uri
from hivewire.portions import copy_tables, pragma
from hivewire.streams.contract import LOGS, StoreError
from hivewire.streams.sqlite import BESIDE, CLOSED, reason_against, set_aside

SUFFIX = ".messages"
"""The end of the name of the file beside that of the ledger."""

ROWS = dict.fromkeys(LOGS, ("number", "messages")) | {f"{name}_segment": ("first", "postings") for name in LOGS}
"""See `hivewire.portions`."""


def beside_ledger(path: Path) -> Path:
    """The file of messages of the ledger in a file, whatever link leads to that."""
    return Path(os.path.realpath(path) + SUFFIX)


@contextmanager
def copied(source: Path, target: Path) -> Iterator[Callable[[str], str | None]]:
    """Copy the messages of the ledger `source`, before that is copied to `target`: a message then has its device.

    Gives what binds them to the epoch of the copied ledger, and puts them beside it. That returns why there are none,
    if they could not be copied. Raises StoreError when the target is there, or other messages beside it.
    """
    here, there = beside_ledger(source), beside_ledger(target)
    for file in (target, there):  # the one that the operator named first
        if file.exists():
            raise StoreError(f"{file} exists already; a backup never overwrites a file")
    if not here.exists():
        yield lambda epoch: None
        return
    with ExitStack() as stack:
        try:
            unfinished = stack.enter_context(unfinished_file(there))
            _copy(here, unfinished)
        except (OSError, sqlite3.Error) as error:
            reason = _words(error)
            yield lambda epoch: reason
        else:
            yield lambda epoch: _publish(unfinished, there, epoch)


def move(ledger: Path, renamed: Path | None) -> None:
    """Rename the messages beside a ledger, which was renamed or was not there, so that they are beside it again."""
    here = beside_ledger(ledger)
    if renamed is None:
        if here.exists():
            set_aside(here, "before-restore")
        return
    there = beside_ledger(renamed)
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            beside(here, suffix).rename(beside(there, suffix))


def restore(source: Path, source_epoch: str, target: Path, target_epoch: str) -> str | None:
    """Put the messages beside the ledger `source` beside `target`, which is a copy of it with another epoch.

    They get the owner of `target`. Returns why they were not restored, None when they were.
    """
    here, there = beside_ledger(source), beside_ledger(target)
    if not here.exists():
        return f"there is no {here}"
    try:
        reason = reason_against(here, source_epoch)
        if reason is not None:
            return reason
        with unfinished_file(there) as unfinished:
            _copy(here, unfinished)
            own_like(unfinished, target)
            return _publish(unfinished, there, target_epoch)
    except (OSError, sqlite3.Error) as error:
        return _words(error)


def _copy(source: Path, target: Path) -> None:
    """Fill an empty file, perhaps from that of a gateway that runs. Raises OSError or sqlite3.Error."""
    with closing(sqlite3.connect(uri(target, "rw"), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # an unfinished copy is deleted anyway
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("ATTACH ? AS source", (uri(source, "ro"),))
        copy_tables(connection, ROWS)
        for name in ("application_id", "user_version"):
            connection.execute(f"PRAGMA main.{name} = {pragma(connection, 'source.' + name)}")
        connection.execute("PRAGMA main.journal_mode = DELETE")


def _publish(unfinished: Path, target: Path, ledger_epoch: str) -> str | None:
    """Give the copy its epochs and its name. Returns why that was not possible."""
    values = [(ledger_epoch, "ledger"), (CLOSED, "open"), *((secrets.token_hex(8), name + ".epoch") for name in LOGS)]
    try:
        with closing(sqlite3.connect(uri(unfinished, "rw"), uri=True)) as connection:
            connection.executemany("UPDATE meta SET value = ? WHERE name = ?", values)
            connection.commit()
        sync(unfinished)
        unfinished.replace(target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        return _words(error)
    return None


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
