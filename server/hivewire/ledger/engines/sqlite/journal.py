"""The embedded engine: one SQLite file in WAL mode with `synchronous=FULL`, used through aiosqlite.

A batch is one INSERT statement in autocommit mode, so one thread hop, one implicit transaction and one fsync. The
`sqlite3` module releases the interpreter lock at every step: beside a busy event loop, one statement for each row wrote
6,000 changes a second, one statement for all rows 76,000.

Reads use a second connection, and so another thread: in WAL mode readers and the writer do not wait for one another.

The file belongs to this process, so an append is never too late. The place of an entry is its last revision.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from sys import intern
from typing import Any

import aiosqlite
import msgspec
from msgspec.structs import replace

from hivewire.clocks import now
from hivewire.files import READ_ONLY, beside, identity, is_of_sync
from hivewire.ledger.engines.sqlite import audit
from hivewire.ledger.engines.sqlite.file import ROOM, Origin, location
from hivewire.ledger.engines.sqlite.file_lock import FileLock, LockNote
from hivewire.ledger.engines.sqlite.rows import SELECTED, change_of, insertion, round_up
from hivewire.ledger.engines.sqlite.start import begin, report, require_ledger, require_readable, warn_of_readers
from hivewire.ledger.journal import AUDITED, BATCH_BYTES, NO_HISTORY, SINCE_BYTES, Entry, Recall, Take, audit_row
from hivewire.ledger.records import (
    AuditFilter,
    AuditRow,
    Change,
    JournalError,
    NotDurable,
    Outline,
    Unsynced,
    WrongFile,
)
from hivewire.telemetry import Gauges, log

WAL_BYTES = 64 << 20
"""Size to which a WAL is truncated when it is written back. It grows beyond this while another process reads for long,
because a WAL cannot be written back under a reader."""

PORTION = 1_000
"""Changes in one portion of `changes`: enough to make the thread hop cheap, few enough for large contents."""

_SPECIAL = NO_HISTORY | AUDITED
"""Kinds whose changes take more than one statement."""

_HISTORY = f"""
WITH RECURSIVE asked (kind, key, revision) AS (VALUES (?, ?, ?)), step (revision, place) AS (
    SELECT asked.revision, (SELECT place FROM change WHERE kind = asked.kind AND key = asked.key
        AND place BETWEEN asked.revision * {ROOM} AND asked.revision * {ROOM} + {ROOM - 1})
    FROM asked
    UNION ALL
    SELECT change.previous, (SELECT earlier.place FROM change AS earlier
        WHERE earlier.place BETWEEN change.previous * {ROOM} AND change.previous * {ROOM} + {ROOM - 1}
        AND earlier.kind = asked.kind AND earlier.key = asked.key)
    FROM step JOIN change ON change.place = step.place, asked
    LIMIT ?
)
SELECT {SELECTED} FROM step JOIN change USING (place) ORDER BY place DESC
"""


class SqliteJournal:
    """A log in the file at `path`, created if it does not exist. One process at a time: see FileLock."""

    synchronous = "FULL"

    def __init__(self, path: Path, *, existing: bool = False, accept_loss: bool = False) -> None:
        """`existing`: work on the file of a stopped gateway, and make none.

        `accept_loss`: open the file also when its WAL, and so its last changes, are missing.
        """
        self.path = Path(os.path.realpath(path))  # one lock, whatever link leads to the file
        self.epoch = ""
        self.read_only = False
        self.tip = 0
        self.batch_bytes = BATCH_BYTES
        self.shared = False
        self.shares_notes = False
        self.keeper = True
        self.append_seconds = 0.0
        self._lock = FileLock(self.path, offline=existing)
        self._existing = existing
        self._accept_loss = accept_loss
        self._readers: aiosqlite.Connection | None = None
        self._writers: aiosqlite.Connection | None = None
        # Without it a statement could run within another task's open transaction, and be answered before its commit.
        self._one_writer = asyncio.Lock()
        self._wal_name = str(beside(self.path, "-wal"))
        self._wal: tuple[int, int] | None = None  # its identity while this process writes to it
        self._take: Take = lambda entry: None
        self._in_doubt = False  # whether the last append failed, for whatever reason

    @property
    def stopped(self) -> None:
        """Never: nobody else has the file."""

    @property
    def _reading(self) -> aiosqlite.Connection:
        if self._readers is None:
            raise NotDurable(f"{self.path} is not open")
        return self._readers

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[aiosqlite.Connection]:
        """The connection for writing, for one user at a time. Every error of SQLite becomes NotDurable."""
        async with self._one_writer:
            if self._writers is None:
                raise NotDurable(f"{self.path} {READ_ONLY if self.read_only else 'is not open'}")
            if not self._lock.is_ours():
                raise NotDurable(f"{self.path} or its lock was replaced or removed; put it back or restart the gateway")
            if identity(self._wal_name) != self._wal:
                raise NotDurable(
                    f"{self._wal_name} was replaced or removed; put it back or restart the gateway, but do not kill it:"
                    " only a stop saves the changes in it"
                )
            try:
                if self._writers.in_transaction:
                    # An earlier one failed and could not be rolled back. New writes would be lost with it.
                    await self._writers.execute("ROLLBACK")
                yield self._writers
            except sqlite3.Error as error:
                raise (Unsynced if is_of_sync(error) else NotDurable)(str(error)) from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """The connection for writing, for several statements that happen together or not at all."""
        async with self._writing() as connection:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    await connection.execute("ROLLBACK")
                raise

    async def open(self) -> None:
        """Take the lock, check the file without writing to it, then open it. Raises JournalError."""
        try:
            if self._existing:
                require_ledger(self.path)
            self._lock.acquire()
            if not self._existing:
                report(self.path)
            if not self.path.stat().st_size:
                self.path.chmod(0o600)  # like a file made here, because it will hold secrets
            # SQLite creates files beside one that it writes, so the directory has to be writable too.
            self.read_only = not (os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK))
            if self.read_only:
                await asyncio.to_thread(require_readable, self.path, accept_loss=self._accept_loss)
            else:
                note = await asyncio.to_thread(begin, self.path, self._lock, accept_loss=self._accept_loss)
                await self._connect_writers(note)
            if not self._existing:
                warn_of_readers(self.path)
                if self.read_only:
                    words = "the data file is read-only: writes are refused; make it writable, then restart the gateway"
                    log.error(words, data=str(self.path))
            self._readers = await self._connect()
            await self._readers.execute("PRAGMA query_only = ON")
            rows = list(await self._reading.execute_fetchall("SELECT value FROM meta WHERE name = 'epoch'"))
            [(self.tip,)] = await self._reading.execute_fetchall(f"SELECT ifnull(max(place), 0) / {ROOM} FROM change")
            await self._require_own()
            self._wal = identity(self._wal_name)  # not earlier: the first read makes it
            if rows and self._writers is not None and not self._existing:
                await self._tell_restored(self._writers, rows[0][0])
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise JournalError(f"cannot use {self.path}: {reason}") from error
        if not rows:
            raise WrongFile(f"{self.path} is damaged (it has no epoch); restore a backup: hivewire restore")
        self.epoch = rows[0][0]

    async def _require_own(self) -> None:
        """Raise WrongFile for the copy of a shared log: what is written to it would be in no log."""
        if await self._reading.execute_fetchall("SELECT 1 FROM meta WHERE name = 'place'"):
            raise WrongFile(
                f"{self.path} is the copy that a gateway has of a shared log (--store);"
                " hivewire backup makes a data file of it"
            )

    async def _tell_restored(self, connection: aiosqlite.Connection, epoch: str) -> None:
        """Log once that the file was put here by a restore: clients that follow changes start again."""
        for (origin,) in await connection.execute_fetchall("SELECT value FROM meta WHERE name = 'restored'"):
            found = msgspec.json.decode(origin, type=Origin)
            log.info(
                "the data file was restored; clients that follow changes get the whole state",
                data=str(self.path),
                file=found.file,
                epoch_before=found.epoch,
                epoch=epoch,
                revision=self.tip,
            )
            await connection.execute("DELETE FROM meta WHERE name IN ('restored', 'unfinished')")

    def _connect(self) -> aiosqlite.Connection:
        place = location(self.path, "ro" if self.read_only else "rw")
        # No statement of ours is implicitly opened: autocommit makes each statement its own transaction.
        return aiosqlite.connect(place, uri=True, isolation_level=None, cached_statements=64)

    async def _connect_writers(self, note: LockNote) -> None:
        self._writers = await self._connect()
        await self._writers.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {self.synchronous}; PRAGMA secure_delete = ON;"
            "PRAGMA wal_autocheckpoint = 2000; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;"
            f"PRAGMA journal_size_limit = {WAL_BYTES};"
        )
        # There is a WAL now, and from here on the file is incomplete without it.
        await asyncio.to_thread(self._lock.note, replace(note, shut=False))

    async def changes(self) -> AsyncIterator[list[Change]]:
        """The log from its beginning, on its own connection: others would read what was there when it began."""
        async with (
            self._connect() as connection,
            connection.execute(f"SELECT {SELECTED} FROM change ORDER BY place") as cursor,
        ):
            while rows := await cursor.fetchmany(PORTION):
                yield [change_of(row) for row in rows]

    async def follow(self, take: Take, recall: Recall) -> None:
        """Only this process appends, so these are the entries of `append`."""
        self._take = take

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else appends."""
        return nullcontext()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """One statement, one transaction, one fsync (with a second statement for kinds without history)."""
        try:
            await self._insert(changes)
        except BaseException:
            self._in_doubt = True
            raise
        self._in_doubt = False
        self.tip = changes[-1].revision
        self._lock.note_tail(self.tip)
        self._take(Entry(self.tip, changes))
        return True

    async def _insert(self, changes: Sequence[Change]) -> None:
        special = [change for change in changes if change.kind in _SPECIAL]
        if not special:
            statement, values = insertion(changes)
            async with self._writing() as connection:
                await connection.execute(statement, values)
            return
        async with self._transaction() as connection:
            await insert(connection, changes)
            if rows := [audit_row(change) for change in special if change.kind in AUDITED]:
                await audit.insert(connection, rows)

    async def confirm(self, *, quorum: bool = False) -> None:
        """No other process writes, so there is nothing to wait for; after a failed append a note tests the disk.

        Like any commit, the note also invalidates an earlier commit whose fsync failed. The frames of that commit are
        in the WAL, and a start after a crash would read them, but they are not in the WAL's index. So the next commit
        overwrites the first of them, and the checksums of the others do not continue it.
        """
        if self._in_doubt and not self.read_only:
            await self.remember({"probe": str(now())})
            self._in_doubt = False

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """Backwards from change to change of the record."""
        return await self._read(_HISTORY, (kind, key, revision, take))

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """Forwards through the log: first the sizes only, to find the end of the page, then its changes."""
        start, edge, size = (revision + 1) * ROOM, revision, 0
        for place, length in await self._reading.execute_fetchall(
            "SELECT place, length(content) FROM change WHERE place >= ? ORDER BY place LIMIT ?", (start, take)
        ):
            edge = place // ROOM
            size += length or 0
            if size >= SINCE_BYTES:
                break
        # Up to the end of the last transaction, which may extend beyond the limit.
        return await self._read(
            f"SELECT {SELECTED} FROM change WHERE place BETWEEN ? AND ? ORDER BY place", (start, _places(edge)[1])
        )

    async def _read(self, query: str, parameters: Iterable[Any]) -> list[Change]:
        return [change_of(row) for row in await self._reading.execute_fetchall(query, parameters)]

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """By key of the table; SQLite knows the length of a content without reading it."""
        rows = await self._reading.execute_fetchall(
            "SELECT place, kind, key, ordinal, length(content) FROM change"
            " WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
            (after, before * ROOM, take),
        )
        return [
            Outline(place, place // ROOM, intern(kind), key, ordinal, size or 0)
            for place, kind, key, ordinal, size in rows
        ]

    async def remove(self, places: Sequence[int]) -> None:
        """One statement, one transaction. The pages are used again; the file does not shrink."""
        padded = [*places, *[0] * (round_up(len(places)) - len(places))]
        async with self._writing() as connection:
            if max(places, default=0) >= self.tip * ROOM:
                self._lock.note_tail(0)  # before the removal, because the note must never claim too much
            await connection.execute(f"DELETE FROM change WHERE place IN ({','.join('?' * len(padded))})", padded)

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """One transaction."""
        async with self._transaction() as connection:
            await audit.insert(connection, rows)

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """Backwards by number."""
        return await audit.select(self._reading, wanted, before, take, skip)

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """One statement, one transaction."""
        async with self._writing() as connection:
            await audit.delete(connection, numbers)

    def gauges(self) -> Gauges:
        """None: the ledger measures commits."""
        return {}

    async def notes(self) -> dict[str, str]:
        """From the meta table, under `note:`."""
        rows = await self._reading.execute_fetchall("SELECT substr(name, 6), value FROM meta WHERE name LIKE 'note:%'")
        return {str(name): str(value) for name, value in rows}

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Into the meta table."""
        async with self._writing() as connection:
            await insert_notes(connection, notes)

    async def close(self) -> None:
        """Close the connections (an open one keeps its thread and the interpreter alive), then release the lock."""
        async with AsyncExitStack() as stack:
            stack.callback(self._lock.release)
            # Callbacks run in reverse order: only the last connection can take the file out of WAL mode.
            if self._writers is not None:
                stack.callback(self._note_closed)
                stack.push_async_callback(self._writers.close)
                stack.push_async_callback(_leave_wal_mode, self._writers)
            if self._readers is not None:
                stack.push_async_callback(self._readers.close)
            self._writers = self._readers = None

    def _note_closed(self) -> None:
        """Note that the file is complete, unless another process has it open and so keeps its WAL."""
        if self._lock.is_ours() and not beside(self.path, "-wal").exists():
            self._lock.note_shut()


async def insert(connection: aiosqlite.Connection, changes: Sequence[Change]) -> None:
    """Add changes, and drop older ones of kinds without history, within the transaction of the caller."""
    statement, values = insertion(changes)
    await connection.execute(statement, values)
    outdated = [(*_places(change.previous), change.kind, change.key) for change in changes if change.kind in NO_HISTORY]
    if outdated:
        await connection.executemany(
            "DELETE FROM change WHERE place BETWEEN ? AND ? AND kind = ? AND key = ?", outdated
        )


async def insert_notes(connection: aiosqlite.Connection, notes: Mapping[str, str]) -> None:
    """Set notes, one statement for a few hundred of them, and remove those that are empty."""
    rows = [value for name, note in notes.items() if note for value in ("note:" + name, note)]
    removed = [("note:" + name,) for name, note in notes.items() if not note]
    if removed:
        await connection.executemany("DELETE FROM meta WHERE name = ?", removed)
    for start in range(0, len(rows), 1_000):
        part = rows[start : start + 1_000]
        places = ",".join(["(?,?)"] * (len(part) // 2))
        await connection.execute(f"INSERT OR REPLACE INTO meta VALUES {places}", part)


async def _leave_wal_mode(connection: aiosqlite.Connection) -> None:
    """Write the WAL back and remove it. It stays if another process has the file open or the disk fails."""
    with suppress(sqlite3.Error):
        await connection.execute("PRAGMA busy_timeout = 0")
        await connection.execute("PRAGMA journal_mode = DELETE")


def _places(revision: int) -> tuple[int, int]:
    """The first and the last place that changes of a revision can have."""
    return revision * ROOM, (revision + 1) * ROOM - 1
