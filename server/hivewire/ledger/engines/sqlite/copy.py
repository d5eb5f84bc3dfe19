"""A consistent copy of a file, also of one that a gateway has open."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from hivewire.files import beside, sync
from hivewire.ledger.engines.sqlite.file import APPLICATION_ID, RUNS, Origin, half_written, location, new_name
from hivewire.ledger.records import JournalError

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems that have no hard links (FAT, some network mounts)."""

LOGS = {"change": ("place", "content"), "audit": ("number", "detail")}
"""The tables that only grow at their end: the column that counts, and the large one. No row is ever changed."""

PORTION, PORTION_BYTES = 1_000, 4 << 20
"""Rows of a log, and bytes of their contents, in one read: it takes some milliseconds."""

UNFINISHED = ".hivewire-unfinished"
"""The end of the name of an unfinished file, which no other program uses."""

Progress: TypeAlias = Callable[[int, int], None]
"""Gets the pages that are done, and all of them."""


def silent(done: int, total: int) -> None:
    """Report no progress."""


def copy(source: Path, target: Path, progress: Progress = silent, *, restored: bool = False) -> None:
    """Copy the file at `source` as it is when this ends into the new file `target`, with a new epoch and a new run.

    The copy is closed, and may have an older schema. With `restored` it says for the next start where it comes from
    (`Origin`). Raises FileExistsError, OSError, sqlite3.Error, and JournalError
    for a damaged copy, or a source that a killed command has left half written.
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
    """An empty file to fill, which then appears at `target`: complete and readable by its owner only, or not at all.

    What is left of it when the process is killed is removed by the next one in that directory.
    """
    unfinished = target.with_name(target.name + UNFINISHED)
    remove_unfinished(target.parent)
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield unfinished
        sync(unfinished)
        _publish(unfinished, target)
        sync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes: those that no process has locked."""
    for path in folder.glob("*" + UNFINISHED):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside(path, "-journal").unlink(missing_ok=True)
            path.unlink()


def _copy(source: Path, target: Path, progress: Progress, *, restored: bool) -> None:
    """Fill `target` with short reads of `source`, between which its WAL can be written back.

    A log only grows at its end, so what was read of it stays true. The last read is the one that reaches the ends of
    all logs. It also finds which rows are still in them, so the copy is the state of that moment.
    """
    with closing(sqlite3.connect(target.absolute().as_uri(), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # an unfinished copy is deleted anyway
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("ATTACH ? AS source", (location(source, "ro"),))
        connection.execute("ATTACH ':memory:' AS portion")
        version, whole = _pragma(connection, "source.user_version"), False
        while not whole:
            reached = _reached(connection)
            with _one_moment(connection):
                if _pragma(connection, "source.user_version") != version:
                    raise JournalError(f"{source} was migrated meanwhile; try again")
                pages = _pragma(connection, "source.page_count") - _pragma(connection, "source.freelist_count")
                whole = _read(connection, reached)
            _write(connection)
            progress(pages if whole else min(_pragma(connection, "main.page_count"), pages), pages)
        connection.execute("DELETE FROM main.meta WHERE name = 'restored'")
        if restored:
            (epoch,) = connection.execute("SELECT value FROM main.meta WHERE name = 'epoch'").fetchone()
            origin = msgspec.json.encode(Origin(str(source), epoch)).decode()
            connection.execute("INSERT INTO main.meta VALUES ('restored', ?)", (origin,))
        connection.execute("UPDATE main.meta SET value = ? WHERE name = 'epoch'", (new_name(),))
        if version >= RUNS:
            connection.execute("UPDATE main.life SET run = ?", (new_name(),))
        connection.execute(f"PRAGMA main.application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA main.user_version = {version}")
        connection.execute("PRAGMA main.journal_mode = DELETE")
        verdict = _pragma(connection, "main.quick_check(1)")
        if verdict != "ok":
            raise JournalError(f"the copy of {source} is damaged ({verdict}); it was deleted")


@contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """A read transaction. Ctrl-Z waits until it is over: a process that is stopped in it would let the WAL grow."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    try:
        connection.execute("BEGIN")
        yield
        connection.execute("COMMIT")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reached(connection: sqlite3.Connection) -> dict[str, int]:
    """The last number of each log in the copy."""
    return {
        name: connection.execute(f"SELECT ifnull(max({LOGS[name][0]}), 0) FROM main.{name}").fetchone()[0]
        for name in LOGS.keys() & _tables(connection, "main").keys()
    }


def _read(connection: sqlite3.Connection, reached: dict[str, int]) -> bool:
    """Take the next rows of each log into memory. At the ends of all logs take everything else too, and return True.

    Nothing here waits for the disk of the copy.
    """
    tables = _tables(connection, "source")
    logs = LOGS.keys() & tables.keys()
    whole = True
    for name in logs:
        number, after = LOGS[name][0], reached.get(name, 0)
        last, more = _end_of_portion(connection, name, after)
        where = f"{number} > {after} AND {number} <= {last} ORDER BY {number}"
        connection.execute(f"CREATE TABLE portion.{name} AS SELECT * FROM source.{name} WHERE {where}")
        whole &= not more
    if whole:
        for name in tables.keys() - logs:
            connection.execute(f"CREATE TABLE portion.{name} AS SELECT * FROM source.{name}")
        for name in logs:
            connection.execute(f"CREATE TABLE portion.kept_{name} AS SELECT {LOGS[name][0]} FROM source.{name}")
    return whole


def _end_of_portion(connection: sqlite3.Connection, name: str, after: int) -> tuple[int, bool]:
    """The number of the last row of a log that one portion takes, and whether there may be more behind it."""
    number, content = LOGS[name]
    query = f"SELECT {number}, length({content}) FROM source.{name} WHERE {number} > ? ORDER BY {number} LIMIT ?"
    last, rows, size = after, 0, 0
    for last, length in connection.execute(query, (after, PORTION)):  # noqa: B007 - the last one is what is wanted
        rows += 1
        size += length or 0
        if size >= PORTION_BYTES:
            break
    return last, rows == PORTION or size >= PORTION_BYTES


def _write(connection: sqlite3.Connection) -> None:
    """Write what is in memory into the copy, and remove from it what the log no longer has."""
    copied = _tables(connection, "main")
    for name, statement in _tables(connection, "source").items():
        if name not in copied:
            connection.execute(statement)
    portion = _tables(connection, "portion")
    for name in portion:
        if not name.startswith("kept_"):
            connection.execute(f"INSERT INTO main.{name} SELECT * FROM portion.{name}")
    for name, (number, _) in LOGS.items():
        if f"kept_{name}" in portion:
            counts = f"SELECT (SELECT count(*) FROM main.{name}), (SELECT count(*) FROM portion.kept_{name})"
            mine, kept = connection.execute(counts).fetchone()
            if mine != kept:
                query = f"DELETE FROM main.{name} WHERE {number} NOT IN (SELECT {number} FROM portion.kept_{name})"
                connection.execute(query)
    for name in portion:
        connection.execute(f"DROP TABLE portion.{name}")


def equals(copied: Path, source: Path) -> bool:
    """Whether the file `copied` is a whole copy of the file at `source` as it is now. False when it cannot be read."""
    try:
        with closing(sqlite3.connect(location(copied, "ro"), uri=True, isolation_level=None)) as connection:
            connection.execute("ATTACH ? AS source", (location(source, "ro"),))
            tables = _tables(connection, "main")
            return tables == _tables(connection, "source") and all(_same(connection, name) for name in tables)
    except (JournalError, OSError, sqlite3.Error):
        return False


def _same(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the copy and its source have the same rows in a table, apart from what differs in every copy."""
    if name == "life":
        return True
    those = "WHERE name NOT IN ('epoch', 'restored')" if name == "meta" else ""
    order = LOGS[name][0] if name in LOGS else 1
    copied, source = (
        connection.execute(f"SELECT * FROM {schema}.{name} {those} ORDER BY {order}") for schema in ("main", "source")
    )
    return all(one == other for one, other in zip_longest(copied, source))


def _tables(connection: sqlite3.Connection, schema: str) -> dict[str, str]:
    """The tables, and the statements that make them."""
    return dict(connection.execute(f"SELECT name, sql FROM {schema}.sqlite_master WHERE type = 'table'").fetchall())


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute("PRAGMA " + name).fetchone()[0]


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
