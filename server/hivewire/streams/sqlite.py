"""The durable engine: one SQLite file beside that of the ledger, in WAL mode with `synchronous=FULL`.

An entry is one row, so one statement, one thread hop and one fsync. Reads use a second connection, and so another
thread. Only the gateway that has the lock of the ledger opens the file.

A file that is damaged, belongs to another ledger or has lost its WAL is renamed, and a new one is made: its logs have
other epochs, so nobody resumes over the loss. `meta` has, under `open`, whether a gateway has written to the file since
it was closed: then it is incomplete without its WAL.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import aiosqlite

from hivewire.files import READ_ONLY, beside, free_name, identity, is_of_sync, uri
from hivewire.stopped import Stopped
from hivewire.streams.contract import LOGS, READ_BYTES, Damaged, Follower, Loaded, LogName, StoreError
from hivewire.streams.message import NotStored, Unreadable, Unsynced
from hivewire.telemetry import Gauges, log

APPLICATION_ID = 0x48764D73  # "HvMs"
SCHEMA_VERSION = 1

WAL_BYTES = 64 << 20
"""Size to which a WAL is truncated when it is written back."""

BESIDE = ("", "-wal", "-shm", "-journal")
"""The ends of the names of all files that SQLite keeps for one."""

CLOSED, OPENING, OPEN = "0", "1", "2"
"""How a file is used, as it says itself. From OPEN on its WAL is never empty; only a start and a stop empty it."""

_META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
_LOG = """
CREATE TABLE {name} (
    number   INTEGER PRIMARY KEY,  -- place / 1024
    crc      INTEGER NOT NULL,
    messages BLOB    NOT NULL
) STRICT;
CREATE TABLE {name}_segment (
    first        INTEGER PRIMARY KEY,
    last         INTEGER NOT NULL,
    crc          INTEGER NOT NULL,
    header       BLOB    NOT NULL,
    postings_crc INTEGER NOT NULL,
    postings     BLOB    NOT NULL  -- the last, so that the others are read without it
) STRICT;
INSERT INTO meta VALUES ('{name}.epoch', '{epoch}'), ('{name}.oldest', '1');
"""


def creation_script(ledger_epoch: str) -> str:
    """The statements that turn an empty file into one for the messages of a ledger, in one transaction."""
    logs = "".join(_LOG.format(name=name, epoch=secrets.token_hex(8)) for name in LOGS)
    return (  # only constants, and names of letters and digits, are put in
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {_META}"
        f"INSERT INTO meta VALUES ('ledger', '{ledger_epoch}'), ('open', '{CLOSED}'); {logs} COMMIT;"
    )


class SqliteEngine:
    """The file at a path, created if it does not exist. In a read-only directory nothing can be inserted.

    One that is not `durable` may lose its newest entries in a power cut: it is a copy of logs that are elsewhere.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._synchronous = "FULL" if durable else "NORMAL"
        self.read_only = False
        self._writers: aiosqlite.Connection | None = None
        self._readers: aiosqlite.Connection | None = None
        self._one_writer = asyncio.Lock()
        self._files: dict[str, tuple[int, int] | None] = {}  # the file and its WAL that were opened
        self._logs = {name: SqliteLog(self, name) for name in LOGS}

    def log(self, name: LogName) -> SqliteLog:
        """Its tables in the file."""
        return self._logs[name]

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Check the file, and open it."""
        for file in (self.path, *(beside(_real(self.path), suffix) for suffix in ("-wal", "-shm"))):
            if file.exists() and not file.is_file():  # to open a pipe takes for ever
                raise StoreError(f"cannot use {file}: it is not a regular file")
        try:
            folder = self.path.parent
            self.read_only = not os.access(self.path if self.path.exists() else folder, os.W_OK)
            self.read_only |= not os.access(folder, os.W_OK)
            if self.read_only:
                await self._open_read_only(ledger_epoch)
            else:
                await asyncio.to_thread(prepare, self.path, ledger_epoch, damage)
                await self._connect()
            for one in self._logs.values():
                [(one.epoch,)] = await self._fetch(f"SELECT value FROM meta WHERE name = '{one.name}.epoch'")
        except (OSError, sqlite3.Error, NotStored, Unreadable) as error:
            name = getattr(error, "filename", None) or self.path
            raise StoreError(f"cannot use {name}: {getattr(error, 'strerror', None) or error}") from error

    async def _connect(self) -> None:
        self._writers = await aiosqlite.connect(uri(self.path, "rw"), uri=True, isolation_level=None)
        await self._writers.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {self._synchronous}; PRAGMA wal_autocheckpoint = 2000;"
            f"PRAGMA journal_size_limit = {WAL_BYTES}; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;"
            # What expired stays in free pages until they are used again. To overwrite it took five times as long.
            "PRAGMA secure_delete = FAST;"
            f"{_noted(OPENING)} PRAGMA wal_checkpoint(TRUNCATE); {_noted(OPEN)} PRAGMA wal_checkpoint(PASSIVE);"
        )
        self._files = {name: identity(name) for name in (str(self.path), str(beside(_real(self.path), "-wal")))}
        self._readers = await aiosqlite.connect(uri(self.path, "rw"), uri=True, isolation_level=None)
        await self._readers.execute("PRAGMA query_only = ON")

    async def _open_read_only(self, ledger_epoch: str) -> None:
        """The file, if it belongs to this ledger, or an empty log."""
        if self.path.exists() and reason_against(self.path, ledger_epoch) is None:
            place = uri(self.path, "ro") + ("" if beside(_real(self.path), "-wal").exists() else "&immutable=1")
            self._readers = await aiosqlite.connect(place, uri=True, isolation_level=None)
        else:
            self._readers = await aiosqlite.connect(":memory:", isolation_level=None)
            await self._readers.executescript(creation_script(ledger_epoch))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[aiosqlite.Connection]:
        """The connection for writing, for one user at a time. Every error of SQLite becomes NotStored."""
        async with self._one_writer:
            if self._writers is None:
                raise NotStored(f"{self.path} {READ_ONLY if self.read_only else 'is not open'}")
            for name, opened in self._files.items():
                if identity(name) != opened:
                    raise NotStored(f"{name} was replaced or removed; put it back or restart the gateway")
            try:
                if self._writers.in_transaction:  # an earlier one failed, and could not be rolled back
                    await self._writers.execute("ROLLBACK")
                yield self._writers
            except sqlite3.Error as error:
                raise (Unsynced if is_of_sync(error) else NotStored)(str(error)) from error

    async def fetch(self, query: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """Rows. Every error of SQLite becomes Unreadable."""
        try:
            return await self._fetch(query, parameters)
        except sqlite3.Error as error:
            raise Unreadable(str(error)) from error

    async def _fetch(self, query: str, parameters: Iterable[Any] = ()) -> list[Any]:
        if self._readers is None:
            raise Unreadable(f"{self.path} is not open")
        return list(await self._readers.execute_fetchall(query, parameters))

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def close(self) -> None:
        """Write the WAL back, and close the connections: an open one keeps its thread and the interpreter alive."""
        writers, readers, self._writers, self._readers = self._writers, self._readers, None, None
        if readers is not None:
            await readers.close()
        if writers is not None:
            with suppress(sqlite3.Error):
                # Written back first, so that the note begins the WAL anew and needs no more space: the disk may be
                # full. Without the note a start would take the WAL, which SQLite removes at the end, for lost.
                await writers.executescript(
                    f"PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint; {_noted(CLOSED)} PRAGMA wal_checkpoint(TRUNCATE);"
                )
            await writers.close()


class SqliteLog:
    """The tables of one log."""

    shared = False
    keeper = True
    stopped: Stopped | None = None

    def __init__(self, engine: SqliteEngine, name: LogName) -> None:
        self.name = name
        self.epoch = ""
        self._engine = engine
        self._follower: Follower | None = None
        self._in_doubt = False  # whether the last append failed
        self.next = 1
        """The number after that of the last entry that was loaded."""

    async def load(self) -> Loaded:
        """The headers, and the entries behind them."""
        name = self.name
        try:
            meta = dict(await self._engine.fetch("SELECT name, value FROM meta"))
            oldest, clock = int(meta[name + ".oldest"]), int(meta.get(name + ".clock", 0))
            segments = await self._engine.fetch(f"SELECT last, crc, header FROM {name}_segment ORDER BY first")
            last = segments[-1][0] if segments else oldest - 1
            rows = await self._engine.fetch(
                f"SELECT number, crc, messages FROM {name} WHERE number > ? ORDER BY number", (last,)
            )
            self.next = (rows[-1][0] if rows else last) + 1
            headers = [_whole(crc, header) for _, crc, header in segments]
            entries = [(number, _whole(crc, entry)) for number, crc, entry in rows]
        except (KeyError, Unreadable, ValueError) as error:
            raise Damaged(str(error)) from error
        return Loaded(oldest, clock, headers, entries)

    async def follow(self, follower: Follower) -> None:
        """Nobody else appends."""
        self._follower = follower

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else appends."""
        return nullcontext()

    async def append(self, number: int, entry: bytes) -> bool:
        """One statement, one transaction, one fsync."""
        self._in_doubt = True
        async with self._engine.writing() as connection:
            await connection.execute(f"INSERT INTO {self.name} VALUES (?, ?, ?)", (number, crc32(entry), entry))
        self._in_doubt = False
        if self._follower is not None:
            self._follower.take(number, entry)
        return True

    async def confirm(self) -> None:
        """After a failed append a row of `meta`. Like any commit, it also overwrites what that has left in the WAL."""
        if not self._in_doubt:
            return
        async with self._engine.writing() as connection:
            await connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (str(time.time_ns()),))
        self._in_doubt = False

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """First the sizes only, to find the end of the portion, then its entries."""
        size, last = 0, number
        for found, length in await self._engine.fetch(
            f"SELECT number, length(messages) FROM {self.name} WHERE number >= ? ORDER BY number LIMIT ?",
            (number, take),
        ):
            last = found
            size += length
            if size >= READ_BYTES:
                break
        return await self._entries("BETWEEN ? AND ?", (number, last))

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """By key of the table."""
        return await self._entries(f"IN ({','.join('?' * len(numbers))})", numbers)

    async def _entries(self, which: str, parameters: Iterable[int]) -> list[tuple[int, bytes]]:
        rows = await self._engine.fetch(
            f"SELECT number, crc, messages FROM {self.name} WHERE number {which} ORDER BY number", parameters
        )
        return [(number, _whole(crc, entry)) for number, crc, entry in rows]

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """One row."""
        row = first, last, crc32(header), header, crc32(postings), postings
        async with self._engine.writing() as connection:
            await connection.execute(f"INSERT INTO {self.name}_segment VALUES (?, ?, ?, ?, ?, ?)", row)

    async def postings(self, first: int) -> bytes | None:
        """A part of that row."""
        query = f"SELECT postings_crc, postings FROM {self.name}_segment WHERE first = ?"
        return next((_whole(crc, postings) for crc, postings in await self._engine.fetch(query, (first,))), None)

    async def drop(self, oldest: int, clock: int) -> None:
        """The pages are used again; the file does not shrink."""
        name = self.name
        async with self._transaction() as connection:
            await connection.execute(f"DELETE FROM {name} WHERE number < ?", (oldest,))
            await connection.execute(f"DELETE FROM {name}_segment WHERE first < ?", (oldest,))
            await self._note(connection, oldest=str(oldest), clock=str(clock))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._engine.writing() as connection:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    await connection.execute("ROLLBACK")
                raise

    async def _note(self, connection: aiosqlite.Connection, **notes: str) -> None:
        meta = [(f"{self.name}.{note}", value) for note, value in notes.items()]
        await connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)

    # A copy of a log that is elsewhere.

    async def copied(self) -> tuple[int, bytes]:
        """How far the copy reaches: what was given to the last `store`, or 0 and nothing."""
        meta = dict(await self._engine.fetch("SELECT name, value FROM meta"))
        return int(meta.get(f"{self.name}.place", 0)), bytes.fromhex(meta.get(f"{self.name}.id", ""))

    async def store(self, entries: Sequence[tuple[int, bytes]], place: int, id: bytes) -> None:
        """Add the next entries, all or none, and note where the log has the last one, and its name there."""
        async with self._transaction() as connection:
            rows = [(number, crc32(entry), entry) for number, entry in entries]
            await connection.executemany(f"INSERT INTO {self.name} VALUES (?, ?, ?)", rows)
            await self._note(connection, place=str(place), id=id.hex())

    async def clear(self) -> None:
        """Forget everything."""
        async with self._transaction() as connection:
            for table in (self.name, f"{self.name}_segment"):
                await connection.execute(f"DELETE FROM {table}")
            await self._note(connection, oldest="1", clock="0", place="0", id="")


def _whole(crc: int, data: bytes) -> bytes:
    if crc32(data) != crc:
        raise Unreadable("stored messages are damaged")
    return data


# The file before it is opened.


def prepare(path: Path, ledger_epoch: str, damage: str | None = None) -> None:
    """Make a new file, if there is none or the one there must not be used, which is renamed then."""
    reason: str | None = None
    if _has_content(path):
        reason = damage or reason_against(path, ledger_epoch)
        if reason is None:
            return
    elif _has_content(beside(_real(path), "-wal")):
        reason = "only its WAL is there"  # which SQLite would delete
    if reason is not None:
        aside = set_aside(path)
        log.warning("the file of messages was renamed, and a new one was made", reason=reason, now=str(aside))
    create(path, ledger_epoch)


def _real(path: Path) -> Path:
    """The file that a symbolic link leads to: SQLite keeps the WAL beside that one."""
    return Path(os.path.realpath(path))


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def create(path: Path, ledger_epoch: str) -> None:
    """Make an empty log, readable by its owner only."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    with closing(sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)) as connection:
        connection.executescript(creation_script(ledger_epoch))


def reason_against(path: Path, ledger_epoch: str) -> str | None:
    """Why a file must not be used for this ledger; None when it may. Raises OSError when it cannot be told."""
    path = _real(path)
    for name in (beside(path, "-wal"), beside(path, "-shm")):
        if name.exists():
            name.open("rb").close()  # SQLite would only say that it cannot open the file, which is no damage
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72]) != APPLICATION_ID:
        return "it is no file of messages"
    version = int.from_bytes(header[60:64])
    if version != SCHEMA_VERSION:
        return f"its schema is {version}, not {SCHEMA_VERSION}"
    lost = not beside(path, "-wal").exists() and not beside(path, "-journal").exists()
    place = uri(path, "ro") + ("&immutable=1" if lost else "")
    try:
        with closing(sqlite3.connect(place, uri=True)) as connection:
            meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    except sqlite3.DatabaseError as error:
        return f"it is damaged ({error})"
    if any(f"{name}.epoch" not in meta for name in LOGS):
        return "it is damaged (the epoch of a log is missing)"
    if meta.get("ledger") != ledger_epoch:
        return "it belongs to another ledger"
    state = meta.get("open")
    if lost and state in (OPENING, OPEN):
        return "its last messages were in its WAL, which is missing"
    if state == OPEN and not any(_has_content(beside(path, end)) for end in ("-wal", "-journal")):
        return "its last messages were in its WAL, which is empty"
    return None


def _noted(state: str) -> str:
    """The statement that writes down how a file is used."""
    return f"UPDATE meta SET value = '{state}' WHERE name = 'open';"


def set_aside(path: Path, word: str = "set-aside") -> Path:
    """Rename a file with all that belongs to it; returns its new name, which has the word and the time."""
    aside = free_name(path, word)
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            beside(path, suffix).rename(beside(aside, suffix))
    return aside
