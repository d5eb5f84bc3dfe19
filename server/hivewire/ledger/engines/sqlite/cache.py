"""The copy that a gateway keeps of a shared log: a data file whose row `place` says how far it has the log.

The log is durable, so a commit here is not synced: after a power cut the file has the log up to an earlier entry. Rows
are the same as in a ledger of its own, so a copy of the file is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import aiosqlite
from msgspec.structs import replace

from hivewire.files import free_name, sync, unfinished_file
from hivewire.ledger.engines.sqlite import audit
from hivewire.ledger.engines.sqlite.file import location
from hivewire.ledger.engines.sqlite.journal import SqliteJournal, insert, insert_notes
from hivewire.ledger.engines.sqlite.rows import SELECTED, change_of
from hivewire.ledger.journal import AUDITED, MAX_APPEND, Block, Copied, audit_row
from hivewire.ledger.records import AuditRow, Change, JournalError, WrongFile
from hivewire.telemetry import log

BLOCK_BYTES, BLOCK_CHANGES = 2 << 20, 10_000
"""Content and changes at which a block of a snapshot is closed, behind the transaction that reaches them."""

NUMBERS = 2 * MAX_APPEND
"""Numbers of rows of the audit for each place: one for each change of an entry, and for each row in it."""


class SqliteCache(SqliteJournal):
    """The copy in the file at `path`. One that is not whole is empty: then the log is read from its beginning."""

    synchronous = "NORMAL"

    def __init__(self, path: Path) -> None:
        super().__init__(path, accept_loss=True)
        self.place = 0
        self.id = b""

    async def open(self) -> None:
        """Open the file as a ledger of its own is opened. Raises JournalError for one, and if it cannot be written."""
        await super().open()
        if self.read_only:
            raise JournalError(f"{self.path} is read-only; the copy of a shared log has to be written")

    async def _require_own(self) -> None:
        """Raise WrongFile for a ledger that is not a copy."""
        for (value,) in await self._reading.execute_fetchall("SELECT value FROM meta WHERE name = 'place'"):
            self.place, self.id = _place(value)
            return
        if self.tip:
            raise WrongFile(
                f"{self.path} is a ledger of its own, not the copy of a shared log; it was left untouched."
                " Name another file with --data, or make a shared log of it: hivewire cluster init"
            )

    async def begin(self, epoch: str) -> None:
        """One transaction, which keeps the file and its pages."""
        async with self._transaction() as connection:
            await connection.execute(audit.TABLE)
            for table in ("change", "audit", "meta"):
                await connection.execute(f"DELETE FROM {table}")
            await connection.execute("INSERT INTO meta VALUES ('epoch', ?), ('place', '0 ')", (epoch,))
        self.epoch, self.place, self.id, self.tip = epoch, 0, b"", 0

    async def set_aside(self) -> None:
        """Keep what is here in a file beside this one: of a log that is gone this may be the last copy."""
        if not (self.epoch and self.tip):  # empty, or not whole
            return
        kept = free_name(self.path, "set-aside")
        try:
            with unfinished_file(kept) as unfinished:
                async with self._writing() as connection:
                    await connection.execute("VACUUM INTO ?", (str(unfinished),))
                await asyncio.to_thread(sync, unfinished)
                unfinished.rename(kept)
            await asyncio.to_thread(sync, kept.parent)
        except OSError as error:
            raise JournalError(f"cannot set the copy of another log aside as {kept}: {error.strerror}") from error
        log.warning("the copy of another log was set aside", data=str(self.path), now=str(kept), epoch=self.epoch)

    async def load(self, block: Block) -> None:
        """One transaction. Until `complete` the file has no epoch, so that a start begins again."""
        async with self._transaction() as connection:
            await connection.execute("UPDATE meta SET value = '' WHERE name = 'epoch'")
            transactions = (list(group) for _, group in groupby(block.changes, attrgetter("revision")))
            for portion in _portions(transactions):
                await insert(connection, portion)
            for start in range(0, len(block.rows), MAX_APPEND):
                await audit.insert(connection, block.rows[start : start + MAX_APPEND])
            await insert_notes(connection, block.notes)
        if block.changes:
            self.tip = block.changes[-1].revision

    async def complete(self, place: int, id: bytes) -> None:
        """One transaction."""
        async with self._transaction() as connection:
            for name, value in (("epoch", self.epoch), ("place", f"{place} {id.hex()}")):
                await connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
        self.place, self.id = place, id

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteSnapshot]:
        """On a connection of its own, in one transaction."""
        async with snapshot_of(self.path) as found:
            yield found

    async def store(self, entries: Sequence[Copied]) -> None:
        """One transaction, which is not synced."""
        last = entries[-1]
        rows = [row for entry in entries for row in _rows_of(entry)]
        async with self._transaction() as connection:
            for portion in _portions(entry.changes for entry in entries):
                await insert(connection, portion)
            for start in range(0, len(rows), MAX_APPEND):
                await audit.insert(connection, rows[start : start + MAX_APPEND])
            await connection.execute(
                "UPDATE meta SET value = ? WHERE name = 'place'", (f"{last.place} {last.id.hex()}",)
            )
        self.place, self.id = last.place, last.id
        for entry in reversed(entries):
            if entry.changes:
                self.tip = entry.changes[-1].revision
                break


class SqliteSnapshot:
    """A data file as it was when the transaction of this connection began."""

    def __init__(self, connection: aiosqlite.Connection, place: int, id: bytes, last_row: int) -> None:
        """`last_row` is the highest number of a row of the audit."""
        self.place, self.id, self.last_row = place, id, last_row
        self._connection = connection

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """First the changes, then the rows of the audit and the notes."""
        block: list[Change] = []
        size = 0
        async with self._connection.execute(f"SELECT {SELECTED} FROM change ORDER BY place") as cursor:
            async for row in cursor:
                change = change_of(row)
                full = size >= BLOCK_BYTES or len(block) >= BLOCK_CHANGES
                if full and change.revision != block[-1].revision:
                    yield Block(block)
                    block, size = [], 0
                block.append(change)
                size += len(change.content or b"") + len(change.key)
        if block:
            yield Block(block)
        number = 0
        while rows := await audit.after(self._connection, number, MAX_APPEND):
            yield Block(rows=rows)
            number = rows[-1].number
        notes: dict[str, str] = {}
        size = 0
        async with self._connection.execute("SELECT name, value FROM meta WHERE name LIKE 'note:%'") as cursor:
            async for name, note in cursor:
                if size >= BLOCK_BYTES:
                    yield Block(notes=notes)
                    notes, size = {}, 0
                notes[name.removeprefix("note:")] = note
                size += len(name) + len(note)
        if notes:
            yield Block(notes=notes)


@asynccontextmanager
async def snapshot_of(path: Path) -> AsyncIterator[SqliteSnapshot]:
    """A data file as it is now."""
    async with aiosqlite.connect(location(path, "ro"), uri=True, isolation_level=None) as connection:
        await connection.execute("BEGIN")
        async with connection.execute("SELECT value FROM meta WHERE name = 'place'") as cursor:
            row = await cursor.fetchone()
        yield SqliteSnapshot(connection, *_place("0 " if row is None else row[0]), await audit.last(connection))


def _place(value: str) -> tuple[int, bytes]:
    """The place and the id of the last entry in a copy."""
    place, _, id = value.partition(" ")
    return int(place), bytes.fromhex(id)


def _rows_of(entry: Copied) -> Iterator[AuditRow]:
    """The rows of the audit in an entry, numbered."""
    rows = [audit_row(change) for change in entry.changes if change.kind in AUDITED]
    for number, row in enumerate((*rows, *entry.rows), entry.place * NUMBERS):
        yield replace(row, number=number)


def _portions(groups: Iterable[Sequence[Change]]) -> Iterator[Sequence[Change]]:
    """All changes, in portions of whole groups that fit into one statement."""
    portion: list[Change] = []
    for changes in groups:
        if portion and len(portion) + len(changes) > MAX_APPEND:
            yield portion
            portion = []
        portion += changes
    if portion:
        yield portion
