"""Several ledgers that write through one parent: what one of them does to the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from hivewire import link
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.engines.parent.journal import ParentJournal
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import (
    Change,
    Expected,
    NotDurable,
    PreconditionFailed,
    Transaction,
    Undecided,
    Unsynced,
    Write,
)
from hivewire.ledger.retention import Retention
from hivewire.link import Link
from tests.ledger.parent import Parent
from tests.running import PATIENCE
from tests.world import HeldJournal

KIND = "configuration"


def put(key: str, content: bytes = b"x", *expected: Expected) -> Transaction:
    return Transaction([Write(KIND, key, content, "text/plain", preconditions=expected)])


class Site:
    """A parent and the ledgers of its gateways."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self.parent = Parent(journal)
        self.ledgers: list[Ledger] = []

    async def gateway(self, retention: Retention | None = None) -> Ledger:
        """One more ledger, opened."""
        ledger = Ledger(self.parent.gateway(), lambda: 1, retention=retention or Retention())
        self.ledgers.append(ledger)
        await ledger.open()
        return ledger

    async def leave(self, ledger: Ledger) -> None:
        """A gateway ends, and the parent has noticed."""
        self.ledgers.remove(ledger)
        before = len(self.parent.service._members)
        await ledger.close()
        while len(self.parent.service._members) == before:
            await asyncio.sleep(0)


@pytest.fixture
async def site(data: Path) -> AsyncIterator[Site]:
    """On a file."""
    site = Site(SqliteJournal(data))
    await site.parent.open()
    yield site
    for ledger in site.ledgers:
        await ledger.close()
    await site.parent.close()


@pytest.fixture
async def held() -> AsyncIterator[Site]:
    """On a log in memory that can be held back."""
    site = Site(HeldJournal())
    await site.parent.open()
    yield site
    site.journal.go.set()
    for ledger in site.ledgers:
        await ledger.close()
    await site.parent.close()


def state(ledger: Ledger) -> Any:
    kinds = {name: (kind.live, kind.tombstones, list(kind.keys), kind.last_id) for name, kind in ledger.kinds.items()}
    return ledger.revision, kinds


async def settle(*ledgers: Ledger) -> None:
    for ledger in ledgers:
        await ledger.confirm()


async def test_each_gateway_gets_what_the_others_write(site: Site) -> None:
    """Every change is announced everywhere, once and in order, and can be read everywhere."""
    ledgers = [await site.gateway() for _ in range(3)]
    seen: list[list[Change]] = [[], [], []]
    for ledger, changes in zip(ledgers, seen, strict=True):
        ledger.observe(changes.extend)
    for number in range(30):
        await ledgers[number % 3].commit(put(f"name {number % 4}", str(number).encode()))
    await settle(*ledgers)
    assert [change.revision for change in seen[0]] == list(range(1, 31))
    assert seen == [seen[0]] * 3
    assert [state(ledger) for ledger in ledgers] == [state(ledgers[0])] * 3
    assert await ledgers[1].since(0, take=100) == seen[0]
    found = await ledgers[2].history(KIND, "name 1", revision=30, take=2)
    assert [change.content for change in found] == [b"29", b"25"]


async def test_of_conditional_writes_at_once_one_wins(site: Site) -> None:
    """Gateways that count one record up at the same time overwrite nothing: each success is a version of its own."""
    ledgers = [await site.gateway() for _ in range(3)]
    won = 0

    async def count(ledger: Ledger) -> None:
        nonlocal won
        for _ in range(40):
            last = ledger.get(KIND, "counter")
            version, value = (last.version, int(last.content or b"")) if last is not None else (0, 0)
            try:
                await ledger.commit(put("counter", str(value + 1).encode(), Expected(version=version)))
                won += 1
            except PreconditionFailed as refused:
                assert refused.last is not None
                assert refused.last.version > version, "a refusal rests on what is newer"

    await asyncio.gather(*(count(ledger) for ledger in ledgers))
    await settle(*ledgers)
    last = ledgers[0].get(KIND, "counter")
    assert last is not None
    assert (last.version, last.content) == (won, str(won).encode())
    assert [state(ledger) for ledger in ledgers] == [state(ledgers[0])] * 3
    assert site.parent.service.late > 0, "they met"


@pytest.fixture
async def busy(held: Site, monkeypatch: pytest.MonkeyPatch) -> list[Ledger]:
    """Three gateways that have written lately, and so take turns, for as long as the test lasts."""
    monkeypatch.setattr(link, "CONTENDED_SECONDS", 3_600)
    monkeypatch.setattr(link, "TURN_SECONDS", 3_600)
    ledgers = [await held.gateway() for _ in range(3)]
    for ledger in [*ledgers, *ledgers]:
        await ledger.commit(put("a"))
    return ledgers


def turn_of(ledger: Ledger) -> AbstractAsyncContextManager[None]:
    """A turn that is not used, unless the writer does meanwhile."""
    return ledger._journal.turn()


async def waiting(site: Site, count: int) -> None:
    """Until so many gateways wait for their turn."""
    while len(site.parent.service._turns._waiting) < count:
        await asyncio.sleep(0)


async def test_busy_gateways_take_turns(held: Site, busy: list[Ledger]) -> None:
    """While one writes the others wait, in order, and evaluate once: what they say stands."""
    held.journal.go.clear()
    held.journal.began.clear()
    commits = [asyncio.create_task(busy[0].commit(put("a", b"0")))]
    await held.journal.began.wait()
    for number in (2, 1):
        commits.append(asyncio.create_task(busy[number].commit(put("a", b"%d" % number))))
        await waiting(held, len(commits) - 1)
    held.journal.go.set()
    changes = [await commit for commit in commits]
    assert [change.version for (change,) in changes] == [7, 8, 9]
    assert (held.parent.service.entries, held.parent.service.late) == (9, 0)


async def test_a_turn_ends_without_an_entry(held: Site, busy: list[Ledger]) -> None:
    """A gateway that has only refusals, and one that has gone, keep nobody waiting."""
    first, second, third = busy
    with pytest.raises(PreconditionFailed):
        await first.commit(put("a", b"x", Expected(version=1)))
    await second.commit(put("b"))
    async with turn_of(first):
        commits = [asyncio.create_task(ledger.commit(put("b"))) for ledger in (second, third)]
        await waiting(held, 2)
        held.parent.links[1].close()  # while it waits
        with pytest.raises(NotDurable):
            await commits[0]
        held.parent.links[0].close()  # while it has the turn
        await commits[1]
    assert held.parent.service._turns._appended.keys() == {held.parent.links[2]}


async def test_a_turn_that_is_not_used_passes(held: Site, busy: list[Ledger], monkeypatch: pytest.MonkeyPatch) -> None:
    """After TURN_SECONDS nobody waits for a gateway that is at a standstill."""
    first, second, _ = busy
    async with turn_of(first):
        monkeypatch.setattr(link, "TURN_SECONDS", 0.01)
        await second.commit(put("b"))
    monkeypatch.setattr(link, "TURN_SECONDS", 3_600)
    for ledger in (second, first, second):
        await ledger.commit(put("b"))
    assert held.parent.service.late == 0


async def test_who_writes_alone_does_not_ask_for_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One way to the parent and back for a batch is enough, unless others have written lately."""
    asked: list[Link] = []
    monkeypatch.setattr(site.parent.service._turns, "take", asked.append)
    monkeypatch.setattr(link, "CONTENDED_SECONDS", 0)
    first, second = await site.gateway(), await site.gateway()
    for ledger in (first, second, first, second):
        await ledger.commit(put("a"))
    assert asked == []


async def test_a_gateway_joins_while_others_write(site: Site) -> None:
    """What is written while it loads is neither missing nor there twice."""
    first = await site.gateway()
    for start in range(0, 3_000, 500):
        await asyncio.gather(*(first.commit(put(f"old {number}")) for number in range(start, start + 500)))
    going = True

    async def write() -> None:
        while going:
            await first.commit(put("new", str(first.revision).encode()))

    writing = asyncio.create_task(write())
    joined = await asyncio.gather(*(site.gateway() for _ in range(3)))
    going = False
    await writing
    await settle(*joined)
    assert [state(ledger) for ledger in joined] == [state(first)] * 3


async def test_a_confirmation_waits_for_what_was_answered(site: Site) -> None:
    """What another gateway was told to be durable before is there when it returns, however late the news come."""
    first, second = await site.gateway(), await site.gateway()
    late = second._journal._link._transport  # type: ignore[attr-defined]
    late.pause_reading()
    await first.commit(put("a"))
    confirmed = asyncio.create_task(second.confirm(quorum=True))
    for _ in range(3):
        await first.since(0, take=1)  # a way to the parent and back
    assert not confirmed.done()
    assert second.get(KIND, "a") is None
    late.resume_reading()
    await confirmed
    assert second.get(KIND, "a") is not None


async def test_a_gateway_that_dies_while_it_loads_leaves_nothing_open(site: Site) -> None:
    """The parent stops reading for it: an old view would keep the storage from tidying up."""
    first = await site.gateway()
    for start in range(0, 3_000, 1_000):
        await first.commit(Transaction([Write(KIND, f"{start + number}", b"") for number in range(1_000)]))
    before = threading.active_count()  # each connection to the file has a thread
    dying = site.parent.gateway()
    await dying.open()
    reading = dying.changes()
    assert len(await anext(reading)) == 1_000
    assert threading.active_count() == before + 1
    await dying.close()
    while threading.active_count() > before:
        await asyncio.sleep(0.001)
    with pytest.raises(NotDurable):
        await anext(reading)


class Reader:
    """Reads of a journal that have seen everything when they stop after some portions, until they may go on."""

    def __init__(self, journal: Any, portions: int = 0) -> None:
        self._changes, self._portions = journal.changes, portions
        self.began, self.go, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def changes(self) -> AsyncIterator[list[Change]]:
        """As those of the journal."""
        try:
            found = [part async for part in self._changes()]
            for part in found[: self._portions]:
                yield part
            self.began.set()
            await self.go.wait()
            for part in found[self._portions :]:
                yield part
        finally:
            self.closed.set()


async def test_nothing_is_written_between_what_a_gateway_reads_and_the_tip(
    held: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry between both would be neither in the log that it reads nor news to it."""
    first = await held.gateway()
    await first.commit(put("old"))
    reader = Reader(held.journal)
    monkeypatch.setattr(held.journal, "changes", reader.changes)
    joining = asyncio.create_task(held.gateway())
    await reader.began.wait()
    writing = asyncio.create_task(first.commit(put("new")))
    for _ in range(9):
        await first.since(0, take=1)  # a way to the parent and back, as that of the write
    reader.go.set()
    second = await joining
    await writing
    await settle(second)
    assert state(second) == state(first)


@pytest.mark.parametrize("portions", [0, 1])
async def test_a_gateway_that_dies_while_the_log_is_read_leaves_nothing_open(
    held: Site, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    """What is being read for it, first or later, ends as soon as that can be."""
    first = await held.gateway()
    await first.commit(put("a"))
    reader = Reader(held.journal, portions)
    monkeypatch.setattr(held.journal, "changes", reader.changes)
    dying = held.parent.gateway()
    await dying.open()
    changes = dying.changes()
    for _ in range(portions):
        await anext(changes)
    reading = asyncio.ensure_future(anext(changes))
    await reader.began.wait()
    await dying.close()
    with pytest.raises(Undecided):
        await reading
    assert dying.stopped is None, "it was closed, and not lost"
    end = held.parent.links[-1]
    while end.open:
        await asyncio.sleep(0)
    reader.go.set()
    await end.handle.__self__._closing  # type: ignore[attr-defined]
    async with asyncio.timeout(PATIENCE):
        await reader.closed.wait()


async def test_what_waits_while_a_gateway_loads_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that loads while too much is written ends, and the others go on."""
    monkeypatch.setattr(link, "WAITING_BYTES", 2_000)
    first = await site.gateway()
    loading, lost = site.parent.gateway(), asyncio.Event()
    loading._on_lost = lost.set
    await loading.open()
    for _ in range(3):
        await first.commit(put("a", b"x" * 500))
    await loading.confirm()
    for _ in range(3):
        await first.commit(put("a", b"x" * 500))
    await lost.wait()
    with pytest.raises(NotDurable):
        await loading.confirm()
    await first.commit(put("a"))
    await loading.close()


async def test_one_gateway_keeps_the_storage(site: Site) -> None:
    """Only the first one removes anything. The others know how far the log reaches; one of them follows it."""
    retention = Retention(history=1, log_changes=2)
    first, second, third = [await site.gateway(retention) for _ in range(3)]
    for key in "abcdef":
        await first.commit(put(key))
    await first.commit(Transaction([Write(KIND, "a", None)]))
    await second.compact(at_once=True)
    assert len(await second.since(0, take=100)) == 7
    await first.commit(put("b"))
    await first.commit(put("b"))
    await first.compact(at_once=True)
    await settle(second, third)
    assert first.oldest == second.oldest == third.oldest == 8
    assert not second.covers(3)
    await site.leave(first)
    for _ in range(3):
        await third.commit(put("c"))
    await third.compact(at_once=True)
    assert third.oldest == 8, "the third one is not the keeper"
    await settle(second)
    await second.compact(at_once=True)
    await settle(third)
    assert second.oldest == third.oldest == 11
    assert len([change async for portion in site.journal.changes() for change in portion]) == 5 + 1
    assert second.kind(KIND).last("a") is None, "the keeper before it removed this name"
    await third.commit(put("c"))
    await second.compact(at_once=True)
    await settle(third)
    assert third.kind(KIND).last("a") is None, "it was told with the next notes"
    assert state(second) == state(third)


async def test_notes_reach_the_others(site: Site) -> None:
    """What one gateway remembers the others are told, and read."""
    first, second = await site.gateway(), await site.gateway()
    told: list[dict[str, str]] = []
    second.on_notes.append(lambda notes: told.append(dict(notes)))
    await first.remember({"lastLogin:1": "7"})
    await settle(second)
    assert told == [{"lastLogin:1": "7"}]
    assert (await second.notes())["lastLogin:1"] == "7"


async def test_a_write_whose_answer_is_lost_is_undecided(held: Site) -> None:
    """When the parent goes during a commit, nobody knows whether it was written; later writes were not."""
    ledger = await held.gateway()
    await ledger.commit(put("a"))
    held.journal.go.clear()
    commit = asyncio.create_task(ledger.commit(put("b")))
    await held.journal.began.wait()
    while not held.parent.service._appending.locked():
        await asyncio.sleep(0)
    held.parent.links[0].close()
    with pytest.raises(Undecided, match="the parent process has gone"):
        await commit
    with pytest.raises(NotDurable) as refused:
        await ledger.commit(put("c"))
    assert not isinstance(refused.value, Undecided)
    assert ledger.stopped is not None and not ledger.stopped.again


async def test_what_a_gateway_began_to_write_the_others_get(held: Site) -> None:
    """When a gateway dies during its commit, the entry is written, and the others take it as that of another one."""
    first, second = await held.gateway(), await held.gateway()
    held.journal.go.clear()
    commit = asyncio.create_task(first.commit(put("a", b"last words")))
    while not held.parent.service._appending.locked():
        await asyncio.sleep(0)
    held.parent.links[0].close()
    with pytest.raises(Undecided):
        await commit
    waiting = asyncio.create_task(second.commit(put("b")))
    held.journal.go.set()
    (change,) = await waiting
    assert change.revision == 2
    found = second.get(KIND, "a")
    assert found is not None
    assert found.content == b"last words"


async def test_a_log_that_fails_costs_only_the_batch(data: Path) -> None:
    """NotDurable of the parent's storage is that of the gateway, whose next write works."""
    memory = MemoryJournal()
    site = Site(memory)
    await site.parent.open()
    ledger = await site.gateway()
    memory.broken = "no space left"
    with pytest.raises(NotDurable, match="no space left"):
        await ledger.commit(put("a"))
    memory.broken = None
    (change,) = await ledger.commit(put("a"))
    assert change.version == 1
    await ledger.close()
    await site.parent.close()


@pytest.mark.parametrize(("over", "told"), [(True, NotDurable), (False, Undecided)])
async def test_a_commit_whose_sync_failed_at_the_parent_is_undecided_until_it_is_overwritten(
    held: Site, monkeypatch: pytest.MonkeyPatch, over: bool, told: type
) -> None:
    """As one of the gateway's own storage: a start of the parent may find it."""

    async def fail(*_: object, behind: int = 0, quorum: bool = False) -> None:
        raise Unsynced("input/output error")

    ledger = await held.gateway()
    monkeypatch.setattr(held.journal, "append", fail)
    if not over:
        monkeypatch.setattr(held.journal, "confirm", fail)
    with pytest.raises(NotDurable, match="input/output error") as failed:
        await ledger.commit(put("a"))
    assert failed.type is told


async def test_a_gateway_that_does_not_read_is_cut_off(held: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it does not grow for ever, and the others do not wait for it."""
    monkeypatch.setattr(link, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(link, "UNREAD_BYTES", 1 << 16)
    first = await held.gateway()
    stuck = held.parent.gateway()
    lost = asyncio.Event()
    stuck._on_lost = lost.set
    await stuck.open()
    stuck._link._transport.pause_reading()
    while held.parent.links[1].open:
        await first.commit(put("a", b"x" * 50_000))
    stuck._link._transport.resume_reading()
    await lost.wait()
    await first.commit(put("a"))
    await stuck.close()


async def test_there_is_no_ledger_without_a_parent(tmp_path: Path) -> None:
    """Before it is open, and where nobody listens, an error says so."""
    journal = ParentJournal(str(tmp_path / "ledger"))
    with pytest.raises(NotDurable, match="not connected"):
        await journal.confirm()
    with pytest.raises(Exception, match="cannot use the ledger of the parent process"):
        await journal.open()
