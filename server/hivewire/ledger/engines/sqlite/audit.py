"""The table of the audit in an SQLite file.

It is no part of the schema of the log: it is made with the first row, so files of every version can have one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
from msgspec.structs import astuple

from hivewire.ledger.records import AuditFilter, AuditRow

TABLE = """
CREATE TABLE IF NOT EXISTS audit (
    time    INTEGER NOT NULL,  -- milliseconds since 1970
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    record  INTEGER NOT NULL,
    author  TEXT,
    address TEXT,
    count   INTEGER NOT NULL,
    detail  TEXT    NOT NULL,
    number  INTEGER PRIMARY KEY
) STRICT
"""
COLUMNS = "time, kind, subject, record, author, address, count, detail, number"
"""The fields of an AuditRow, in their order; `record` is its `record_id`."""

_WIDTH = len(AuditRow.__struct_fields__)


async def insert(connection: aiosqlite.Connection, rows: Sequence[AuditRow]) -> None:
    """Add rows, within the transaction of the caller."""
    await connection.execute(TABLE)
    place = f"({','.join('?' * _WIDTH)})"
    values = [value for row in rows for value in (*astuple(row)[:-1], row.number or None)]  # NULL: the next number
    await connection.execute(f"INSERT INTO audit ({COLUMNS}) VALUES {','.join([place] * len(rows))}", values)


async def select(
    connection: aiosqlite.Connection, wanted: AuditFilter, before: int, take: int, skip: int
) -> list[AuditRow]:
    """Rows, newest first. Without a table there are none."""
    conditions: list[tuple[str, Any]] = [
        (f"kind {'!=' if wanted.others else '='} ?", wanted.kind),
        ("subject = ?", wanted.subject),
        ("record = ?", wanted.record_id),
        ("author = ?", wanted.author),
        ("time <= ?", wanted.until),
        ("number < ?", before),
    ]
    given = [(text, value) for text, value in conditions if value is not None]
    where = " AND ".join(text for text, _ in given)
    query = f"SELECT {COLUMNS} FROM audit WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?"
    try:
        rows = await connection.execute_fetchall(query, [*(value for _, value in given), take, skip])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    return [AuditRow(*row) for row in rows]


async def after(connection: aiosqlite.Connection, number: int, take: int) -> Sequence[AuditRow]:
    """Rows above a number, oldest first. Without a table there are none."""
    query = f"SELECT {COLUMNS} FROM audit WHERE number > ? ORDER BY number LIMIT ?"
    try:
        return [AuditRow(*row) for row in await connection.execute_fetchall(query, (number, take))]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


async def last(connection: aiosqlite.Connection) -> int:
    """The highest number of a row; 0 without any."""
    try:
        ((number,),) = await connection.execute_fetchall("SELECT ifnull(max(number), 0) FROM audit")
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise
    return int(number)


async def delete(connection: aiosqlite.Connection, numbers: Sequence[int]) -> None:
    """Remove rows."""
    await connection.execute(f"DELETE FROM audit WHERE number IN ({','.join('?' * len(numbers))})", numbers)
