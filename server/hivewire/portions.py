"""Copies an SQLite file that another process writes, in portions: short reads that do not hold its WAL."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

PORTION, PORTION_BYTES = 1_000, 4 << 20
"""Rows of a log, and bytes of their contents, in one read: it takes some milliseconds."""

Logs: TypeAlias = Mapping[str, tuple[str, str]]
"""The tables that only grow at their end: the column that counts, and the large one. No row of them is ever changed."""

Progress: TypeAlias = Callable[[int, int], None]
"""Gets the pages that are done, and all of them."""


def silent(done: int, total: int) -> None:
    """Report no progress."""


def copy_tables(
    connection: sqlite3.Connection, logs: Logs, progress: Progress = silent, check: Callable[[], None] = lambda: None
) -> None:
    """Fill the empty database `main` with short reads of the attached `source`, between which its WAL can be written
    back. `check` is called in each of them.

    A log only grows at its end, so what was read of it stays true. The last read is the one that reaches the ends of
    all logs. It also finds which rows are still in them, so the copy is the state of that moment.
    """
    connection.execute("ATTACH ':memory:' AS portion")
    whole = False
    while not whole:
        reached = _reached(connection, logs)
        with _one_moment(connection):
            check()
            pages = pragma(connection, "source.page_count") - pragma(connection, "source.freelist_count")
            whole = _read(connection, logs, reached)
        _write(connection, logs)
        progress(pages if whole else min(pragma(connection, "main.page_count"), pages), pages)


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


def _reached(connection: sqlite3.Connection, logs: Logs) -> dict[str, int]:
    """The last number of each log in the copy."""
    return {
        name: connection.execute(f"SELECT ifnull(max({logs[name][0]}), 0) FROM main.{name}").fetchone()[0]
        for name in logs.keys() & tables_of(connection, "main").keys()
    }


def _read(connection: sqlite3.Connection, logs: Logs, reached: dict[str, int]) -> bool:
    """Take the next rows of each log into memory. At the ends of all logs take everything else too, and return True.

    Nothing here waits for the disk of the copy.
    """
    tables = tables_of(connection, "source")
    found = logs.keys() & tables.keys()
    whole = True
    for name in found:
        number, after = logs[name][0], reached.get(name, 0)
        last, more = _end_of_portion(connection, name, logs[name], after)
        where = f"{number} > {after} AND {number} <= {last} ORDER BY {number}"
        connection.execute(f"CREATE TABLE portion.{name} AS SELECT * FROM source.{name} WHERE {where}")
        whole &= not more
    if whole:
        for name in tables.keys() - found:
            connection.execute(f"CREATE TABLE portion.{name} AS SELECT * FROM source.{name}")
        for name in found:
            connection.execute(f"CREATE TABLE portion.kept_{name} AS SELECT {logs[name][0]} FROM source.{name}")
    return whole


def _end_of_portion(
    connection: sqlite3.Connection, name: str, columns: tuple[str, str], after: int
) -> tuple[int, bool]:
    """The number of the last row of a log that one portion takes, and whether there may be more behind it."""
    number, content = columns
    query = f"SELECT {number}, length({content}) FROM source.{name} WHERE {number} > ? ORDER BY {number} LIMIT ?"
    last, rows, size = after, 0, 0
    for last, length in connection.execute(query, (after, PORTION)):  # noqa: B007 - the last one is what is wanted
        rows += 1
        size += length or 0
        if size >= PORTION_BYTES:
            break
    return last, rows == PORTION or size >= PORTION_BYTES


def _write(connection: sqlite3.Connection, logs: Logs) -> None:
    """Write what is in memory into the copy, and remove from it what the log no longer has."""
    copied = tables_of(connection, "main")
    for name, statement in tables_of(connection, "source").items():
        if name not in copied:
            connection.execute(statement)
    portion = tables_of(connection, "portion")
    for name in portion:
        if not name.startswith("kept_"):
            connection.execute(f"INSERT INTO main.{name} SELECT * FROM portion.{name}")
    for name, (number, _) in logs.items():
        if f"kept_{name}" in portion:
            counts = f"SELECT (SELECT count(*) FROM main.{name}), (SELECT count(*) FROM portion.kept_{name})"
            mine, kept = connection.execute(counts).fetchone()
            if mine != kept:
                query = f"DELETE FROM main.{name} WHERE {number} NOT IN (SELECT {number} FROM portion.kept_{name})"
                connection.execute(query)
    for name in portion:
        connection.execute(f"DROP TABLE portion.{name}")


def tables_of(connection: sqlite3.Connection, schema: str) -> dict[str, str]:
    """The tables, and the statements that make them."""
    return dict(connection.execute(f"SELECT name, sql FROM {schema}.sqlite_master WHERE type = 'table'").fetchall())


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """The value of a pragma."""
    return connection.execute("PRAGMA " + name).fetchone()[0]
