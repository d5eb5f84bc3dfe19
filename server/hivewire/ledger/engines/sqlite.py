"""The embedded engine: one SQLite file in WAL mode with `synchronous=FULL`, reached through aiosqlite.

A batch is one INSERT statement in autocommit mode, so one thread hop, one implicit transaction and one fsync. It is one
statement because the `sqlite3` module lets go of the interpreter lock at every step: beside a busy event loop, a
statement for each row came to 6,000 changes a second where one statement for all came to 76,000.

Reads have a connection, and so a thread, of their own: in WAL mode neither waits for the other.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shlex
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from sys import intern
from typing import Any
from urllib.parse import quote

import aiosqlite

from hivewire.ledger.journal import MAX_APPEND, NO_HISTORY, SINCE_BYTES, JournalError
from hivewire.ledger.records import Change, NotDurable, Outline
from hivewire.telemetry import log

APPLICATION_ID = 0x48765772  # "HvWr": tells our files from other SQLite databases
SCHEMA_VERSION = 2

LARGE_FILE = 64 << 20
"""Loading a file of this size takes seconds, so the log says that it began."""

PORTION = 1_000
"""Changes in one portion of `changes`: large enough that the thread hop is nothing, small enough for large contents."""

_COLUMNS = "place, kind, key, id, version, previous, ordinal, time, content_type, author, description, content"
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
        self._readers: aiosqlite.Connection | None = None
        self._writers: aiosqlite.Connection | None = None
        # A statement that slipped into somebody else's transaction would be answered before that is committed.
        self._one_writer = asyncio.Lock()

    @property
    def _reading(self) -> aiosqlite.Connection:
        if self._readers is None:
            raise NotDurable(f"{self.path} is not open")
        return self._readers

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[aiosqlite.Connection]:
        """The connection for writing, for one at a time. Whatever goes wrong in SQLite becomes NotDurable."""
        async with self._one_writer:
            if self._writers is None:
                raise NotDurable(f"{self.path} is {'read-only' if self.read_only else 'not open'}")
            try:
                if self._writers.in_transaction:
                    # A failed one that could not be rolled back: what came now would be lost with it.
                    await self._writers.execute("ROLLBACK")
                yield self._writers
            except sqlite3.Error as error:
                raise NotDurable(str(error)) from error

    async def load(self) -> None:
        """Take the lock, look at the file without writing to it, then open it. Raises JournalError."""
        try:
            self._lock.acquire()
            await asyncio.to_thread(inspect, self.path)
            if self.path.exists() and not self.path.stat().st_size:
                self.path.chmod(0o600)  # as one that is made here: there will be secrets in it
            self.read_only = self.path.exists() and not os.access(self.path, os.W_OK)
            await self._open()
            rows = list(await self._reading.execute_fetchall("SELECT value FROM meta WHERE name = 'epoch'"))
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise JournalError(f"cannot use {self.path}: {reason}") from error
        if not rows:
            raise JournalError(f"{self.path} is damaged (it has no epoch); restore a backup")
        self.epoch = rows[0][0]

    async def _open(self) -> None:
        mode = "ro" if self.read_only else "rw"
        # No statement of ours is implicitly opened: autocommit makes each statement its own transaction.
        connect = partial(
            aiosqlite.connect, location(self.path, mode), uri=True, isolation_level=None, cached_statements=64
        )
        if not self.read_only:
            self._writers = await connect()
            await self._prepare(self._writers)
        self._readers = await connect()
        await self._readers.execute("PRAGMA query_only = ON")

    async def _prepare(self, connection: aiosqlite.Connection) -> None:
        if not list(await connection.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = 'change'")):
            # Before WAL mode is on, so that the identifying header stands in the main file from the start.
            await connection.executescript(creation_script())
        await connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
            "PRAGMA wal_autocheckpoint = 2000; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;"
        )

    async def changes(self) -> AsyncIterator[list[Change]]:
        """The log from its beginning."""
        async with self._reading.execute(f"SELECT {_COLUMNS} FROM change ORDER BY place") as cursor:
            while rows := await cursor.fetchmany(PORTION):
                yield [_change(row) for row in rows]

    async def append(self, changes: Sequence[Change]) -> None:
        """One statement, one transaction, one fsync (with a second statement for kinds without history)."""
        size = _size(len(changes))
        values = _values(changes) + [0] * (size - len(changes)) * _WIDTH
        outdated = [change for change in changes if change.kind in NO_HISTORY]
        async with self._writing() as connection:
            if not outdated:
                await connection.execute(_insertion(size), values)
                return
            await connection.execute("BEGIN IMMEDIATE")
            try:
                await connection.execute(_insertion(size), values)
                await connection.executemany(
                    "DELETE FROM change WHERE place BETWEEN ? AND ? AND kind = ? AND key = ?",
                    [(*_places(change.previous), change.kind, change.key) for change in outdated],
                )
                await connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    await connection.execute("ROLLBACK")
                raise

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """Backwards from change to change of the record."""
        return await self._read(_HISTORY, (kind, key, revision, take))

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """Forwards through the log: first a look at how large the changes are, then those that are answered."""
        start, edge, size = (revision + 1) * _ROOM, revision, 0
        for place, length in await self._reading.execute_fetchall(
            "SELECT place, length(content) FROM change WHERE place >= ? ORDER BY place LIMIT ?", (start, take)
        ):
            edge = place // _ROOM
            size += length or 0
            if size >= SINCE_BYTES:
                break
        # To the end of the transaction at the edge, which may go on behind the limit.
        return await self._read(
            f"SELECT {_COLUMNS} FROM change WHERE place BETWEEN ? AND ? ORDER BY place", (start, _places(edge)[1])
        )

    async def _read(self, query: str, parameters: Iterable[Any]) -> list[Change]:
        return [_change(row) for row in await self._reading.execute_fetchall(query, parameters)]

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """By key of the table; SQLite knows the length of a content without reading it."""
        rows = await self._reading.execute_fetchall(
            "SELECT place, kind, key, ordinal, length(content) FROM change"
            " WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
            (after, before * _ROOM, take),
        )
        return [
            Outline(place, place // _ROOM, intern(kind), key, ordinal, size or 0)
            for place, kind, key, ordinal, size in rows
        ]

    async def remove(self, places: Sequence[int]) -> None:
        """One statement, one transaction. The pages are used again; the file does not shrink."""
        padded = [*places, *[0] * (_size(len(places)) - len(places))]
        async with self._writing() as connection:
            await connection.execute(f"DELETE FROM change WHERE place IN ({','.join('?' * len(padded))})", padded)

    async def notes(self) -> dict[str, str]:
        """From the meta table, under `note:`."""
        rows = await self._reading.execute_fetchall("SELECT substr(name, 6), value FROM meta WHERE name LIKE 'note:%'")
        return {str(name): str(value) for name, value in rows}

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Into the meta table, one statement for a few hundred of them."""
        # Like any commit, it makes an end of one before it whose fsync failed. That one's frames stand in the WAL, and
        # would count if it was read after a crash; but they are not in the WAL's index. So the next commit writes its
        # own frames over the first of them, and those behind do not continue its checksum.
        rows = [value for name, note in notes.items() for value in ("note:" + name, note)]
        async with self._writing() as connection:
            for start in range(0, len(rows), 1_000):
                part = rows[start : start + 1_000]
                places = ",".join(["(?,?)"] * (len(part) // 2))
                await connection.execute(f"INSERT OR REPLACE INTO meta VALUES {places}", part)

    async def close(self) -> None:
        """Close the connections (an open one keeps its thread, and so the interpreter), then let go of the lock."""
        async with AsyncExitStack() as stack:
            stack.callback(self._lock.release)
            # The one for writing goes last: whichever does tidies the WAL away.
            for connection in (self._writers, self._readers):
                if connection is not None:
                    stack.push_async_callback(connection.close)
            self._writers = self._readers = None


class FileLock:
    """Keeps a second process out, by whatever name it reaches the file: OS locks on `FILE.lock` and on the file.

    The first says who has it. The second is a `flock`, which on Linux SQLite's own locks (`fcntl`) do not meet, so that
    a backup can still read. Elsewhere the two may be of one kind, and we would keep SQLite out.

    To close any descriptor of a file drops all `fcntl` locks that the process has on it. So the lock is taken before
    SQLite opens the file, and released after SQLite closed it.
    """

    def __init__(self, path: Path) -> None:
        self._guarded = path
        self._descriptors: list[int] = []

    def acquire(self) -> None:
        """Take the lock, on a file that is made if need be, or raise JournalError that says who has it."""
        if not self._guarded.parent.is_dir():
            raise JournalError(f"cannot use {self._guarded}: the directory {self._guarded.parent} does not exist")
        if self._guarded.is_dir():
            raise JournalError(f"cannot use {self._guarded}: it is a directory; name a file")
        path = self._guarded.with_name(self._guarded.name + ".lock")
        try:
            self._take(path, os.O_RDWR | os.O_CREAT)
        except OSError:
            # A read-only directory: the lock that is there serves, or the file itself, since nobody can make another.
            if path.exists():
                self._take(path, os.O_RDONLY)
            elif not self._guarded.exists():
                raise
        if not self._guarded.exists():
            # Made here rather than by SQLite, so that nobody else can read it at any time.
            os.close(os.open(self._guarded, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if sys.platform == "linux" or not self._descriptors:
            self._take(self._guarded, os.O_RDONLY)
        if os.access(path, os.W_OK):
            os.truncate(path, 0)
            os.pwrite(self._descriptors[0], f"{os.getpid()}\n".encode(), 0)

    def _take(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            self.release()
            raise JournalError(
                f"{self._guarded} is in use by another gateway"
                + (f" (process {holder})" if holder.isdigit() else "")
                + "; stop it first, or name another file with --data"
            ) from None

    def release(self) -> None:
        """Let go; the files stay, because removing one would let two processes lock two files of one name."""
        while self._descriptors:
            os.close(self._descriptors.pop())


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
    schema = files("hivewire.ledger.engines").joinpath("schema.sql").read_text()
    return (  # both numbers and the epoch are ours
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {schema}"
        f"INSERT INTO meta VALUES ('epoch', '{new_epoch()}'); COMMIT;"
    )


def new_epoch() -> str:
    """A name that no other history has."""
    return secrets.token_hex(8)


def _size(count: int) -> int:
    """Rows of the statement for so many changes: a few at first, then steps of 8, then of 64. Two dozen statements in
    all, which SQLite keeps prepared, and little in them that is not used: an unused row costs a sixth of a used one."""
    if count <= 8:
        return 1 << (count - 1).bit_length()
    step = 8 if count <= 64 else 64
    return -(-count // step) * step


@cache
def _insertion(size: int) -> str:
    """The statement for a batch of up to `size` changes; unused places are 0 and fall through the filter.

    Not NULL: the `sqlite3` module asks for adapters of every None, which takes ten times as long as to bind a number.
    """
    assert size <= MAX_APPEND  # noqa: S101 - the ledger makes no larger batch
    row = "(" + ",".join("?" * _WIDTH) + ")"
    return f"INSERT INTO change ({_COLUMNS}) SELECT * FROM (VALUES {','.join([row] * size)}) WHERE column1 > 0"


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
            change.previous,
            change.ordinal,
            change.time,
            change.content_type,
            change.author,
            change.description,
            change.content,
        )
    return values


def _change(row: Iterable[Any]) -> Change:
    place, kind, key, number, version, previous, ordinal, time, content_type, author, description, content = row
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
        ordinal,
    )


def tell_of_loading(path: Path) -> None:
    """Log that a large file is being loaded."""
    size = path.stat().st_size if path.is_file() else 0
    if size > LARGE_FILE:
        log.info("loading", data=str(path), bytes=size)


def tell_of_readers(path: Path) -> None:
    """Warn of a file that others can open, as a copied one may be. It is left so: a backup by a group may be meant."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {shlex.quote(os.path.abspath(path))}"
        log.warning("other users can open the data file, which holds secrets", mode=f"{mode:04o}", remedy=remedy)
