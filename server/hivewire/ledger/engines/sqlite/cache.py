"""The copy that a gateway keeps of a shared log: a data file whose row `place` says how far it has the log.

The log is durable, so a commit here is not synced: after a power cut the file has the log up to an earlier entry. Rows
are the same as in a ledger of its own, so a copy of the file is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from hivewire.ledger.engines.sqlite import audit
from hivewire.ledger.engines.sqlite.journal import SqliteJournal, insert
from hivewire.ledger.journal import AUDITED, MAX_APPEND, Copied, audit_row
from hivewire.ledger.records import AuditRow, Change, JournalError

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

    async def store(self, entries: Sequence[Copied]) -> None:
        """One transaction, which is not synced."""
        last = entries[-1]
        rows = [row for entry in entries for row in _rows_of(entry)]
        async with self._transaction() as connection:
            for changes in _portions(entries):
                await insert(connection, changes)
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


def _rows_of(entry: Copied) -> Iterator[AuditRow]:
    """The rows of the audit in an entry, numbered."""
    rows = [audit_row(change) for change in entry.changes if change.kind in AUDITED]
    for number, row in enumerate((*rows, *entry.rows), entry.place * NUMBERS):
        yield replace(row, number=number)


def _portions(entries: Sequence[Copied]) -> Iterator[Sequence[Change]]:
    """All changes, in portions of whole entries that fit into one statement."""
    portion: list[Change] = []
    for entry in entries:
        if portion and len(portion) + len(entry.changes) > MAX_APPEND:
            yield portion
            portion = []
        portion += entry.changes
    if portion:
        yield portion
