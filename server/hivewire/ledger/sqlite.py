"""The embedded engine: one SQLite file in WAL mode with `synchronous=FULL`, reached through aiosqlite.

A batch is one INSERT statement in autocommit mode, so one thread hop, one implicit transaction and one fsync. It is one
statement because the `sqlite3` module lets go of the interpreter lock at every step: beside a busy event loop, a
statement for each row came to 6,000 changes a second where one statement for all came to 76,000.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from sys import intern
from typing import Any
from urllib.parse import quote

import aiosqlite

from hivewire.ledger.journal import MAX_APPEND, NO_HISTORY, JournalError
from hivewire.ledger.records import Change, NotDurable

APPLICATION_ID = 0x48765772  # "HvWr": tells our files from other SQLite databases
SCHEMA_VERSION = 1
PORTION = 10_000
"""Changes in one portion of `changes`: large enough that the thread hop is nothing, small beside what is loaded."""

_COLUMNS = "place, kind, key, id, version, content, content_type, time, author, description, previous"
_WIDTH = _COLUMNS.count(",") + 1
_ROOM = 1_024  # places of a revision: at least MAX_APPEND, see schema.sql

_HISTORY = f"""
WITH RECURSIVE step (revision, place) AS (
    SELECT ?3, (SELECT place FROM change WHERE place BETWEEN ?3 * {_ROOM} AND ?3 * {_ROOM} + {_ROOM - 1}
                AND kind = ?1 AND key = ?2)
    UNION ALL
    SELECT change.previous, (SELECT earlier.place FROM change AS earlier
        WHERE earlier.place BETWEEN change.previous * {_ROOM} AND change.previous * {_ROOM} + {_ROOM - 1}
        AND earlier.kind = ?1 AND earlier.key = ?2)
    FROM step JOIN change ON change.place = step.place
    LIMIT ?4
)
SELECT {_COLUMNS} FROM step JOIN change USING (place) ORDER BY place DESC
"""


class SqliteJournal:
    """A log in the file at `path`, made when it is not there. One process at a time: see FileLock."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # by whatever link it is named, it has one lock
        self.epoch = ""
        self.read_only = False
        self._lock = FileLock(self.path)
        self._connection: aiosqlite.Connection | None = None
        # A statement that slipped into somebody else's transaction would be answered before that is committed.
        self._one_writer = asyncio.Lock()

    @property
    def _database(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise NotDurable(f"{self.path} is not open")
        return self._connection

    async def load(self) -> None:
        """Take the lock, look at the file without writing to it, then open it. Raises JournalError."""
        try:
            self._lock.acquire()
            await asyncio.to_thread(inspect, self.path)
            self.read_only = self.path.exists() and not os.access(self.path, os.W_OK)
            await self._open()
            rows = list(await self._database.execute_fetchall("SELECT value FROM meta WHERE name = 'epoch'"))
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"cannot use {self.path}: {error}") from error
        if not rows:
            raise JournalError(f"{self.path} is damaged (it has no epoch); restore a backup")
        self.epoch = rows[0][0]

    async def _open(self) -> None:
        if not self.path.exists():
            # Made here rather than by SQLite, so that nobody else can read it at any time.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        mode = "ro" if self.read_only else "rw"
        # No statement of ours is implicitly opened: autocommit makes each statement its own transaction.
        self._connection = await aiosqlite.connect(
            location(self.path, mode), uri=True, isolation_level=None, cached_statements=64
        )
        if self.read_only:
            return
        tables = await self._database.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = 'change'")
        if not list(tables):
            # Before WAL mode is on, so that the identifying header stands in the main file from the start.
            await self._database.executescript(creation_script())
        await self._database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
            "PRAGMA wal_autocheckpoint = 2000; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;"
        )

    async def changes(self) -> AsyncIterator[list[Change]]:
        """The log from its beginning."""
        async with self._database.execute(f"SELECT {_COLUMNS} FROM change ORDER BY place") as cursor:
            while rows := await cursor.fetchmany(PORTION):
                yield [_change(row) for row in rows]

    async def append(self, changes: Sequence[Change]) -> None:
        """One statement, one transaction, one fsync (with a second statement for kinds without history)."""
        size = _size(len(changes))
        values = _values(changes) + [None] * (size - len(changes)) * _WIDTH
        outdated = [change for change in changes if change.kind in NO_HISTORY]
        try:
            async with self._one_writer:
                if not outdated:
                    await self._database.execute(_insertion(size), values)
                else:
                    await self._replace(_insertion(size), values, outdated)
        except sqlite3.Error as error:
            raise NotDurable(str(error)) from error

    async def _replace(self, insertion: str, values: list[Any], outdated: list[Change]) -> None:
        await self._database.execute("BEGIN IMMEDIATE")
        try:
            await self._database.execute(insertion, values)
            await self._database.executemany(
                "DELETE FROM change WHERE place BETWEEN ? AND ? AND kind = ? AND key = ?",
                [(*_places(change.previous), change.kind, change.key) for change in outdated],
            )
            await self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                await self._database.execute("ROLLBACK")
            raise

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """Backwards from change to change of the record."""
        return await self._read(_HISTORY, (kind, key, revision, take))

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """Forwards through the log, to the end of a transaction."""
        found = await self._read(
            f"SELECT {_COLUMNS} FROM change WHERE place >= ? ORDER BY place LIMIT ?",
            ((revision + 1) * _ROOM, take),
        )
        if len(found) < take:
            return found
        edge = found[-1].revision  # its transaction may go on behind the limit
        return [change for change in found if change.revision < edge] + await self._read(
            f"SELECT {_COLUMNS} FROM change WHERE place BETWEEN ? AND ? ORDER BY place", _places(edge)
        )

    async def _read(self, query: str, parameters: Iterable[Any]) -> list[Change]:
        return [_change(row) for row in await self._database.execute_fetchall(query, parameters)]

    async def notes(self) -> dict[str, str]:
        """From the meta table, under `note:`."""
        rows = await self._database.execute_fetchall("SELECT substr(name, 6), value FROM meta WHERE name LIKE 'note:%'")
        return {str(name): str(value) for name, value in rows}

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Into the meta table, one statement for a few hundred of them."""
        rows = [value for name, note in notes.items() for value in ("note:" + name, note)]
        try:
            async with self._one_writer:
                for start in range(0, len(rows), 1_000):
                    part = rows[start : start + 1_000]
                    places = ",".join(["(?,?)"] * (len(part) // 2))
                    await self._database.execute(f"INSERT OR REPLACE INTO meta VALUES {places}", part)
        except sqlite3.Error as error:
            raise NotDurable(str(error)) from error

    async def close(self) -> None:
        """Close the connection (an open one would keep its thread, and so the interpreter), then let go of the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        self._lock.release()


class FileLock:
    """Keeps a second process out: an OS lock on `FILE.lock`, not on the database, which a backup must still read."""

    def __init__(self, path: Path) -> None:
        self._guarded = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise JournalError that names the process which has it."""
        if not self._guarded.parent.is_dir():
            raise JournalError(f"cannot use {self._guarded}: the directory {self._guarded.parent} does not exist")
        if self._guarded.is_dir():
            raise JournalError(f"cannot use {self._guarded}: it is a directory; name a file")
        path = self._guarded.with_name(self._guarded.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            # A read-only directory: the lock that is there serves, or the file itself, since nobody can make another.
            if not path.exists() and not self._guarded.exists():
                raise
            descriptor = os.open(path if path.exists() else self._guarded, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise JournalError(
                f"{self._guarded} is in use by another gateway"
                + (f" (process {holder})" if holder.isdigit() else "")
                + "; stop it first, or name another file with --data"
            ) from None
        self._descriptor = descriptor
        if os.access(path, os.W_OK):
            os.truncate(path, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, because removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def inspect(path: Path) -> None:
    """Raise JournalError for a file that is not ours, too new or damaged, without having written to it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
        raise JournalError(f"{path} is not a Hivewire ledger (not an SQLite database); it was left untouched")
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise JournalError(f"{path} is an SQLite database of another application; it was left untouched")
    version = int.from_bytes(header[60:64])
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"{path} has schema version {version}, this Hivewire knows {SCHEMA_VERSION}; it was left untouched."
            " Use the version of Hivewire that wrote it"
        )
    journal = path.with_name(path.name + "-journal")
    if journal.exists() and journal.stat().st_size:
        return  # its creation was cut short: SQLite rolls it back when the file is opened, and it is made anew
    try:
        connection = sqlite3.connect(location(path, "ro"), uri=True)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise JournalError(f"{path} is damaged ({verdict}); it was left untouched. Restore a backup")


def location(path: Path, mode: str) -> str:
    """The SQLite URI of a file; a read-only one in a read-only directory is opened as immutable (it has no WAL)."""
    wal = path.with_name(path.name + "-wal")
    immutable = mode == "ro" and not os.access(path.parent, os.W_OK) and not wal.exists()
    return f"file:{quote(str(path.absolute()))}?mode={mode}" + ("&immutable=1" if immutable else "")


def creation_script() -> str:
    """The statements that make an empty file ours, in one transaction."""
    schema = files("hivewire.ledger").joinpath("schema.sql").read_text()
    return (  # both numbers and the epoch are ours
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {schema}"
        f"INSERT INTO meta VALUES ('epoch', '{new_epoch()}'); COMMIT;"
    )


def new_epoch() -> str:
    """A name that no other history has."""
    return secrets.token_hex(8)


def _size(count: int) -> int:
    """Rows of the statement for so many changes: powers of two, then steps of 64. Two dozen statements in all, which
    SQLite keeps prepared, and little in them that is not used."""
    return 1 << (count - 1).bit_length() if count <= 64 else -(-count // 64) * 64


@cache
def _insertion(size: int) -> str:
    """The statement for a batch of up to `size` changes; unused places are NULL and fall through the filter."""
    assert size <= MAX_APPEND  # noqa: S101 - the ledger makes no larger batch
    row = "(" + ",".join("?" * _WIDTH) + ")"
    return f"INSERT INTO change ({_COLUMNS}) SELECT * FROM (VALUES {','.join([row] * size)}) WHERE column1 IS NOT NULL"


def _places(revision: int) -> tuple[int, int]:
    """The first and the last place that changes of a revision can have."""
    return revision * _ROOM, (revision + 1) * _ROOM - 1


def _values(changes: Sequence[Change]) -> list[Any]:
    """The bound parameters of all changes in a row."""
    values: list[Any] = []
    revision = position = -1
    for change in changes:
        position = position + 1 if change.revision == revision else 0
        revision = change.revision
        values += (
            revision * _ROOM + position,
            change.kind,
            change.key,
            change.id,
            change.version,
            change.content,
            change.content_type,
            change.time,
            change.author,
            change.description,
            change.previous,
        )
    return values


def _change(row: Iterable[Any]) -> Change:
    place, kind, key, number, version, content, content_type, time, author, description, previous = row
    # A million records share a handful of kinds, types and authors.
    return Change(
        place // _ROOM,
        intern(kind),
        key,
        number,
        version,
        content,
        intern(content_type),
        time,
        intern(author) if author is not None else None,
        description,
        previous,
    )
