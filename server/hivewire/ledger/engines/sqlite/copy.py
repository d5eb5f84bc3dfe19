"""A consistent copy of a file, also of one that a gateway has open."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import zip_longest
from pathlib import Path

import msgspec

from hivewire.files import sync, unfinished_file
from hivewire.ledger.engines.sqlite.file import APPLICATION_ID, RUNS, Origin, half_written, location, new_name
from hivewire.ledger.records import JournalError
from hivewire.portions import Progress, copy_tables, pragma, silent, tables_of

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems that have no hard links (FAT, some network mounts)."""

LOGS = {"change": ("place", "content"), "audit": ("number", "detail")}
"""See `hivewire.portions`."""


def copy(source: Path, target: Path, progress: Progress = silent, *, restored: bool = False) -> None:
    """Copy the file at `source` as it is when this ends into the new file `target`, with a new epoch and a new run.

    The copy is closed, and may have an older schema. With `restored` it says for the next start where it comes from
    (`Origin`), and until `finish` also that its restore is not over. Raises FileExistsError, OSError, sqlite3.Error,
    and JournalError for a damaged copy, or a source that a killed command has left half written.
    """
    try:
        with new_file(target) as unfinished:
            _copy(source, unfinished, progress, restored=restored)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        raise half_written(source) from None


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file to fill, which then appears at `target`: complete and readable by its owner only, or not at all."""
    with unfinished_file(target) as unfinished:
        yield unfinished
        sync(unfinished)
        _publish(unfinished, target)
        sync(target.parent)


def _copy(source: Path, target: Path, progress: Progress, *, restored: bool) -> None:
    """Fill `target` with the state of `source` at the end."""
    with closing(sqlite3.connect(target.absolute().as_uri(), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # an unfinished copy is deleted anyway
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("ATTACH ? AS source", (location(source, "ro"),))
        version = pragma(connection, "source.user_version")

        def check() -> None:
            if pragma(connection, "source.user_version") != version:
                raise JournalError(f"{source} was migrated meanwhile; try again")

        copy_tables(connection, LOGS, progress, check)
        connection.execute("DELETE FROM main.meta WHERE name IN ('restored', 'unfinished', 'place')")
        if restored:
            (epoch,) = connection.execute("SELECT value FROM main.meta WHERE name = 'epoch'").fetchone()
            name, whole = (bytes(each).decode(errors="backslashreplace") for each in (source, source.absolute()))
            origin = msgspec.json.encode(Origin(name, epoch)).decode()
            notes = ("restored", origin), ("unfinished", whole)
            connection.executemany("INSERT INTO main.meta VALUES (?, ?)", notes)
        connection.execute("UPDATE main.meta SET value = ? WHERE name = 'epoch'", (new_name(),))
        if version >= RUNS:
            connection.execute("UPDATE main.life SET run = ?", (new_name(),))
        connection.execute(f"PRAGMA main.application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA main.user_version = {version}")
        connection.execute("PRAGMA main.journal_mode = DELETE")
        verdict = pragma(connection, "main.quick_check(1)")
        if verdict != "ok":
            raise JournalError(f"the copy of {source} is damaged ({verdict}); it was deleted")


def finish(path: Path) -> None:
    """Note in a file that its restore is over."""
    with closing(sqlite3.connect(location(path, "rw"), uri=True, isolation_level=None)) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'unfinished'")


def equals(copied: Path, source: Path) -> bool:
    """Whether the file `copied` is a whole copy of the file at `source` as it is now. False when it cannot be read."""
    try:
        with closing(sqlite3.connect(location(copied, "ro"), uri=True, isolation_level=None)) as connection:
            connection.execute("ATTACH ? AS source", (location(source, "ro"),))
            tables = tables_of(connection, "main")
            return tables == tables_of(connection, "source") and all(_same(connection, name) for name in tables)
    except (JournalError, OSError, sqlite3.Error):
        return False


def _same(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the copy and its source have the same rows in a table, apart from what differs in every copy."""
    if name == "life":
        return True
    those = "WHERE name NOT IN ('epoch', 'restored', 'unfinished', 'place')" if name == "meta" else ""
    order = LOGS[name][0] if name in LOGS else 1
    copied, source = (
        connection.execute(f"SELECT * FROM {schema}.{name} {those} ORDER BY {order}") for schema in ("main", "source")
    )
    return all(one == other for one, other in zip_longest(copied, source))


def _publish(unfinished: Path, target: Path) -> None:
    """Give the finished copy its name. Raises FileExistsError when a file of that name exists by now."""
    try:
        os.link(unfinished, target)  # unlike a rename, this overwrites nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # The name is made ours first; a crash right here leaves an empty file, which a gateway takes for a new ledger.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            os.replace(unfinished, target)
        except OSError:
            target.unlink()
            raise
