"""The copy that a gateway keeps of a shared log: a data file whose row `place` says how far it has the log.

The log is durable, so a commit here is not synced: after a power cut the file has the log up to an earlier entry. Rows
are the same as in a ledger of its own, so a copy of the file is one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import aiosqlite
from msgspec.structs import replace

from hivewire.ledger.engines.sqlite import audit
from hivewire.ledger.engines.sqlite.file import location
from hivewire.ledger.engines.sqlite.journal import SqliteJournal, insert
from hivewire.ledger.engines.sqlite.rows import SELECTED, change_of
from hivewire.ledger.journal import AUDITED, MAX_APPEND, Copied, audit_row
from hivewire.ledger.records import AuditRow, Change, JournalError

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
        """Raise JournalError for a ledger that is not a copy."""
        for (value,) in await self._reading.execute_fetchall("SELECT value FROM meta WHERE name = 'place'"):
            place, _, id = value.partition(" ")
            self.place, self.id = int(place), bytes.fromhex(id)
            return
        if self.tip:
            raise JournalError(
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

    async def load(self, changes: Sequence[Change], rows: Sequence[AuditRow]) -> None:
        """One transaction. Until `complete` the file has no epoch, so that a start begins again."""
        async with self._transaction() as connection:
            await connection.execute("UPDATE meta SET value = '' WHERE name = 'epoch'")
            transactions = (list(group) for _, group in groupby(changes, attrgetter("revision")))
            for portion in _portions(transactions):
                await insert(connection, portion)
            for start in range(0, len(rows), MAX_APPEND):
                await audit.insert(connection, rows[start : start + MAX_APPEND])
        if changes:
            self.tip = changes[-1].revision

    async def complete(self, place: int, id: bytes, notes: Mapping[str, str]) -> None:
        """One transaction."""
        async with self._transaction() as connection:
            for name, value in (("epoch", self.epoch), ("place", f"{place} {id.hex()}")):
                await connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
            rows = [(f"note:{name}", note) for name, note in notes.items()]
            await connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
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

    def __init__(self, connection: aiosqlite.Connection, meta: Mapping[str, str], last_row: int) -> None:
        """`last_row` is the highest number of a row of the audit."""
        self.last_row = last_row
        place, _, id = meta.get("place", "0 ").partition(" ")
        self.place, self.id = int(place), bytes.fromhex(id)
        # Those of devices are many, and each device reports again at the gateway that it connects to.
        self.notes = {
            name.removeprefix("note:"): note
            for name, note in meta.items()
            if name.startswith("note:") and not name.startswith("note:report/")
        }
        self._connection = connection

    async def blocks(self) -> AsyncGenerator[tuple[Sequence[Change], Sequence[AuditRow]], None]:
        """First the changes, then the rows of the audit."""
        block: list[Change] = []
        size = 0
        async with self._connection.execute(f"SELECT {SELECTED} FROM change ORDER BY place") as cursor:
            async for row in cursor:
                change = change_of(row)
                full = size >= BLOCK_BYTES or len(block) >= BLOCK_CHANGES
                if full and change.revision != block[-1].revision:
                    yield block, ()
                    block, size = [], 0
                block.append(change)
                size += len(change.content or b"") + len(change.key)
        if block:
            yield block, ()
        number = 0
        while rows := await audit.after(self._connection, number, MAX_APPEND):
            yield (), rows
            number = rows[-1].number


@asynccontextmanager
async def snapshot_of(path: Path) -> AsyncIterator[SqliteSnapshot]:
    """A data file as it is now."""
    async with aiosqlite.connect(location(path, "ro"), uri=True, isolation_level=None) as connection:
        await connection.execute("BEGIN")
        rows = await connection.execute_fetchall("SELECT name, value FROM meta")
        last = await audit.last(connection)
        yield SqliteSnapshot(connection, {str(name): str(value) for name, value in rows}, last)


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
