"""The audit: what is noted, summed, written and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from hivewire.ledger import audit
from hivewire.ledger.audit import ACTIVITY, MINUTE, MOST_NOTED, PORTION, Audit
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.records import AuditFilter, AuditRow, NotDurable, Undecided
from hivewire.ledger.retention import DAY, Retention
from tests.world import NOW, Clock

ANY = AuditFilter()


class Room:
    """An audit over a journal in memory, with a clock that is moved by hand."""

    def __init__(self, retention: Retention) -> None:
        self.journal, self.clock = MemoryJournal(), Clock()
        self.audit = Audit(self.journal, self.clock, retention)

    async def rows(self, wanted: AuditFilter = ANY) -> list[AuditRow]:
        return await self.audit.read(wanted, take=1_000_000)

    async def activities(self, count: int) -> None:
        for number in range(count):
            await self.audit.write(AuditRow(self.clock.time, ACTIVITY, f"t{number}"))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """One that keeps ten rows for a day."""
    room = Room(Retention(audit_rows=10, audit_days=1))
    yield room
    await room.audit.close()


async def test_rows_are_written_together_and_read_newest_first(room: Room) -> None:
    """With author, address, and details as JSON."""
    room.audit.note("login", "ann", "ann", "10.0.0.1", how="password")
    room.audit.note("token", "bob", "ann")
    assert await room.rows() == []
    await room.audit.flush()
    assert [(row.kind, row.subject, row.author, row.address, row.detail) for row in await room.rows()] == [
        ("token", "bob", "ann", None, "{}"),
        ("login", "ann", "ann", "10.0.0.1", '{"how":"password"}'),
    ]
    assert [row.kind for row in await room.rows(AuditFilter(subject="ann"))] == ["login"]
    assert [row.kind for row in await room.rows(AuditFilter(kind="login", others=True))] == ["token"]
    newest = (await room.rows())[0].number
    assert [row.kind for row in await room.audit.read(ANY, before=newest, take=5)] == ["login"]


async def test_failures_are_summed_by_the_minute(room: Room) -> None:
    """Equal failures share a row, which is written when the minute is over and has the time of the last one."""
    for login in ("ann", "ann", "bob", "ann"):
        room.clock.time += 1
        room.audit.note_failure("token", "InvalidCredentials", "10.0.0.1", login)
    await room.audit.flush()
    assert await room.rows() == []
    room.clock.time += MINUTE
    room.audit.note_failure("token", "InvalidCredentials", "10.0.0.1", "ann")
    await room.audit.flush()
    assert [(row.subject, row.count, row.time) for row in await room.rows()] == [
        ("bob", 1, NOW + 3),
        ("ann", 3, NOW + 4),
    ]
    await room.audit.close()
    assert len(await room.rows()) == 3


async def test_what_is_counted_is_written_for_a_reader(room: Room) -> None:
    """Once, also for several readers and beside the flush of every second; what comes later is another row."""
    room.audit.note("login", "ann")
    room.audit.note_failure("token", "InvalidCredentials", "10.0.0.1", "ann")
    room.audit.note_failure("token", "InvalidCredentials", "10.0.0.1", "ann")
    await asyncio.gather(room.audit.show(), room.audit.try_to_flush(), room.audit.show())
    assert [(row.kind, row.count) for row in await room.rows()] == [("failure", 2), ("login", 1)]
    room.audit.note_failure("token", "InvalidCredentials", "10.0.0.1", "ann")
    await room.audit.show()
    await room.audit.show()
    assert [row.count for row in await room.rows(AuditFilter(kind="failure"))] == [1, 2]


async def test_a_flood_is_counted_and_not_kept(room: Room) -> None:
    """Memory is bounded: further failures of a minute share a row, and further notes are counted."""
    for number in range(MOST_NOTED + 500):
        room.audit.note_failure("bearer", "expired", f"10.0.{number // 250}.{number % 250}")
        room.audit.note("login", "ann")
    await room.audit.flush(everything=True)
    (lost,) = await room.rows(AuditFilter(kind="lost"))
    (others,) = [row for row in await room.rows(AuditFilter(kind="failure")) if row.address is None]
    assert (lost.count, others.count, others.detail) == (500, 500, '{"others":true}')
    assert len(await room.rows()) == 2 * MOST_NOTED + 2


async def test_rows_that_could_not_be_written_are_written_later(room: Room) -> None:
    """A failing storage loses no noted row and is logged once; rows that are dropped are counted in a row."""
    room.audit.note("login", "ann")
    room.journal.broken = "disk full"
    with capture_logs() as logged:
        for _ in range(3):
            await room.audit.try_to_flush()
    assert [entry["event"] for entry in logged] == ["the audit was not written; trying again later"]
    with pytest.raises(NotDurable):
        await room.activities(1)
    room.journal.broken = None
    await room.audit.flush()
    assert [row.kind for row in await room.rows()] == ["login"]


async def test_rows_are_bounded_in_number(room: Room) -> None:
    """The newest stay; activities have their own limit, so they displace no other rows."""
    for number in range(12):
        room.audit.note("login", f"u{number}")
    await room.audit.flush()
    await room.activities(PORTION * 2 + 11)
    await room.audit.forget()
    assert [row.subject for row in await room.rows(AuditFilter(kind="login"))] == [f"u{n}" for n in range(11, 1, -1)]
    found = [row.subject for row in await room.rows(AuditFilter(kind=ACTIVITY))]
    assert found == [f"t{number}" for number in range(PORTION * 2 + 10, PORTION * 2, -1)]


async def test_rows_are_bounded_in_age(room: Room) -> None:
    """A row that is older than the setting is removed."""
    await room.activities(2)
    room.clock.time += DAY
    await room.activities(1)
    await room.audit.forget()
    assert [(row.subject, row.time) for row in await room.rows()] == [("t0", NOW + DAY)]


async def test_a_stop_does_not_wait_for_a_storage_that_does_not_answer(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who stops a gateway would wait for each of its tries; the log says that rows are missing."""
    monkeypatch.setattr(audit, "CLOSE_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def hanging(rows: Sequence[AuditRow]) -> None:
        await go_on.wait()

    monkeypatch.setattr(room.journal, "append_audit", hanging)
    room.audit.note("login", "ann")
    with capture_logs() as logged:
        await room.audit.close()
    assert [line["event"] for line in logged] == ["the audit was not written before the stop"]
    go_on.set()


async def test_nobody_waits_for_a_storage_that_does_not_answer() -> None:
    """A row whose write hangs is answered with "not known"; later ones are refused at once."""
    journal, go_on = MemoryJournal(), asyncio.Event()
    record = journal.append_audit

    async def hanging(rows: Sequence[AuditRow]) -> None:
        await go_on.wait()
        await record(rows)

    journal.append_audit = hanging  # type: ignore[method-assign]
    audit = Audit(journal, Clock(), Retention(), stall_seconds=0.01)
    with pytest.raises(Undecided):
        await audit.write(AuditRow(NOW, ACTIVITY, "t1"))
    with pytest.raises(NotDurable, match="does not answer") as refused:
        await audit.write(AuditRow(NOW, ACTIVITY, "t1"))
    assert not isinstance(refused.value, Undecided)
    go_on.set()
    await audit.close()
    assert len(await audit.read(ANY, take=10)) == 1
