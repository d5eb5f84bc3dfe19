"""Retention and removal: the ledger against a model that keeps everything, and the promises one by one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from structlog.testing import capture_logs

from hivewire.ledger import sweep
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.journal import NO_HISTORY, Journal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Missing, NotDurable, NotKept, Outcome, Outline, Transaction, Write
from hivewire.ledger.retention import DAY, SECTIONS, Log, Retention
from hivewire.ledger.state import State
from tests.ledger.shared import SharedLog

kinds = st.sampled_from(["configuration", "configuration", "tenantConfiguration", "user"])
names = st.tuples(kinds, st.sampled_from("abc"))
transactions = st.lists(
    st.tuples(names, st.none() | st.binary(max_size=3)), min_size=1, max_size=3, unique_by=lambda pair: pair[0]
).map(lambda pairs: Transaction([Write(*name, content, "text/plain") for name, content in pairs], "ann"))
batches = st.lists(transactions, min_size=1, max_size=5)


def put(key: str, content: bytes = b"x", kind: str = "configuration") -> Transaction:
    return Transaction([Write(kind, key, content, "text/plain")])


def delete(key: str, kind: str = "configuration") -> Transaction:
    return Transaction([Write(kind, key, None)])


async def everything(journal: Journal) -> list[Change]:
    return [change async for portion in journal.changes() for change in portion]


async def outcome_of(ledger: Ledger, transaction: Transaction) -> Outcome:
    try:
        return await ledger.commit(transaction)
    except Missing as missing:
        return missing


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 1_000_000

    def __call__(self) -> int:
        return self.time


class Mortal:
    """Mixed into an engine: after so many writes its process is dead, and nothing more is written."""

    writes_left = 1_000_000

    def _write(self) -> None:
        if self.writes_left == 0:
            raise NotDurable("dead")
        self.writes_left -= 1

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        self._write()
        stood: bool = await super().append(changes, behind=behind)  # type: ignore[misc]
        return stood

    async def remove(self, places: Sequence[int]) -> None:
        self._write()
        await super().remove(places)  # type: ignore[misc]

    async def remember(self, notes: Mapping[str, str]) -> None:
        self._write()
        await super().remember(notes)  # type: ignore[misc]


class MortalMemory(Mortal, MemoryJournal):
    pass


class MortalSqlite(Mortal, SqliteJournal):
    pass


class Model:
    """Every change that ever was; which of them may be gone; and the last one of each name that is not forgotten."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.log: list[Change] = []
        self.lines: dict[tuple[str, str], list[Change]] = {}
        self.gone: set[tuple[int, str, str]] = set()
        self.ids: dict[str, int] = {}

    def take(self, write: Write, change: Change, oldest: int) -> None:
        """A write was made: check what became of it."""
        name = (write.kind, write.key)
        line = self.lines.setdefault(name, [])
        if line and change.ordinal == 1:
            assert self.is_over(name, oldest), "a name was forgotten too early"
            line.clear()
        last = line[-1] if line else None
        assert change.ordinal == (last.ordinal + 1 if last else 1)
        assert change.previous == (last.revision if last else 0)
        if last is None or last.content is None:
            assert change.id > self.ids.get(write.kind, 0), "an id was used again"
            assert change.version == 1
            self.ids[write.kind] = change.id
        else:
            assert (change.id, change.version) == (last.id, last.version + 1)
        assert change.content == write.content
        line.append(change)
        self.log.append(change)

    def exists(self, name: tuple[str, str]) -> bool:
        line = self.lines.get(name)
        return line is not None and bool(line) and line[-1].content is not None

    def is_over(self, name: tuple[str, str], oldest: int) -> bool:
        """Whether the name was deleted before the log begins."""
        last = self.lines[name][-1]
        return last.content is None and last.revision < oldest

    def needs(self, change: Change, oldest: int) -> bool:
        line = self.lines[change.kind, change.key]
        if change.kind in NO_HISTORY and change != line[-1]:
            return False
        if change.revision >= oldest:
            return True
        if change not in line or self.is_over((change.kind, change.key), oldest):
            return False
        return change in line[-self.retention.history :]

    def let_go(self, oldest: int) -> set[tuple[int, str, str]]:
        """From now on, what is not needed now may be gone."""
        self.gone |= {(c.revision, c.kind, c.key) for c in self.log if not self.needs(c, oldest)}
        return self.gone

    def copy(self) -> Model:
        other = Model(self.retention)
        other.log = list(self.log)
        other.lines = {name: list(line) for name, line in self.lines.items()}
        return other

    def sure(self, oldest: int) -> list[Change]:
        """The changes that must be there, because they were needed all the time."""
        return [c for c in self.log if (c.revision, c.kind, c.key) not in self.gone and self.needs(c, oldest)]


class Keeping(RuleBasedStateMachine):
    """Random writes, clock steps, compactions that run through, beside writes or into a crash, and restarts."""

    @initialize(
        on_disk=st.booleans(), history=st.integers(1, 3), log_changes=st.integers(1, 6), log_days=st.integers(1, 60)
    )
    def begin(self, on_disk: bool, history: int, log_changes: int, log_days: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hivewire-keeping-"))
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.retention = Retention(history, log_changes, log_days / DAY)
        self.model = Model(self.retention)
        self.memory = None if on_disk else MortalMemory()
        self.oldest = 1
        self.take, sweep.SWEEP_TAKE = sweep.SWEEP_TAKE, 2  # so that a sweep has many steps, and can die between them
        self.run(self.open())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        self.journal = self.memory or MortalSqlite(self.folder / "x.db")
        self.journal.writes_left = 1_000_000
        self.ledger = Ledger(self.journal, self.clock, retention=self.retention)
        await self.ledger.open()

    @rule(step=st.integers(-30, 60))
    def tick(self, step: int) -> None:
        self.clock.time += step

    @rule(batch=batches)
    def write(self, batch: list[Transaction]) -> None:
        self.run(self.written(batch))

    async def written(self, batch: list[Transaction]) -> None:
        outcomes = await asyncio.gather(*(outcome_of(self.ledger, transaction) for transaction in batch))
        for transaction, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, list | Missing)
            if isinstance(outcome, Missing):
                write = transaction.writes[outcome.index]
                assert write.content is None
                assert not self.model.exists((write.kind, write.key))
                continue
            assert len({change.revision for change in outcome}) == 1
            assert outcome[0].revision > (self.model.log[-1].revision if self.model.log else 0)
            for write, change in zip(transaction.writes, outcome, strict=True):
                self.model.take(write, change, self.ledger.oldest)

    @rule()
    def compact(self) -> None:
        """All the way, and then nothing is there that nobody needs."""
        limit = self.clock.time - round(self.retention.log_days * DAY) - 1
        before = self.run(everything(self.journal))
        self.run(self.ledger.compact(at_once=True))
        after = self.run(everything(self.journal))
        oldest = self.ledger.oldest
        self.model.let_go(oldest)
        assert after == [change for change in before if self.model.needs(change, oldest)]
        for name, line in self.model.lines.items():
            last = self.ledger.kind(name[0]).last(name[1])
            assert last == (line[-1] if line and not self.model.is_over(name, oldest) else None)
        # No more of the log is kept than the settings require: without its first transaction it would be too short.
        log = [change for change in after if change.revision >= oldest]
        if log and oldest > self.oldest:
            rest = [change for change in log if change.revision > log[0].revision]
            assert len(rest) < self.retention.log_changes
            assert log[0].time > limit
        self.oldest = oldest

    @rule(batch=batches)
    def compact_beside_writes(self, batch: list[Transaction]) -> None:
        async def both() -> None:
            compaction = asyncio.create_task(self.ledger.compact(at_once=True))
            await asyncio.gather(compaction, self.written(batch))

        before = self.model.copy()
        self.run(both())
        # A name that was over may have been created again when its changes were about to go.
        self.model.gone |= before.let_go(self.ledger.oldest)
        self.model.let_go(self.ledger.oldest)

    @rule(writes=st.integers(0, 4))
    def compact_and_die(self, writes: int) -> None:
        """The process dies after so many of the writes that a compaction makes."""
        self.journal.writes_left = writes
        try:
            self.run(self.ledger.compact(at_once=True))
        except NotDurable:
            pass
        self.model.let_go(self.ledger.oldest)
        self.reopen()

    @rule()
    def reopen(self) -> None:
        async def again() -> None:
            await self.ledger.close()
            await self.open()

        oldest = self.ledger.oldest
        self.run(again())
        assert self.ledger.oldest >= oldest

    @rule(name=names)
    def look_back(self, name: tuple[str, str]) -> None:
        last = self.ledger.kind(name[0]).last(name[1])
        if last is not None:
            found = self.run(self.journal.history(*name, revision=last.revision, take=1_000))
            line = self.model.lines[name]
            assert found == line[: -len(found) - 1 : -1]
            sure = [change for change in self.model.sure(self.ledger.oldest) if (change.kind, change.key) == name]
            assert found[: len(sure)] == sure[::-1]

    @rule(back=st.integers(0, 12), take=st.integers(1, 5))
    def read_on(self, back: int, take: int) -> None:
        position = self.ledger.revision - back
        if not self.ledger.covers(position):
            with pytest.raises(NotKept):
                self.run(self.ledger.since(position, take=take))
            return
        expected = [
            change
            for change in self.model.log
            if change.revision > position
            and (change.kind not in NO_HISTORY or change == self.model.lines[change.kind, change.key][-1])
        ]
        found: list[Change] = []
        while page := self.run(self.ledger.since(position, take=take)):
            found += page
            position = page[-1].revision
        assert found == expected

    @invariant()
    def what_is_needed_is_there(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert self.ledger.oldest >= self.oldest
        oldest = self.oldest = self.ledger.oldest
        assert self.ledger.revision == (self.model.log[-1].revision if self.model.log else 0)
        there = {(change.revision, change.kind, change.key) for change in self.run(everything(self.journal))}
        assert there <= {(change.revision, change.kind, change.key) for change in self.model.log}
        assert there >= {(change.revision, change.kind, change.key) for change in self.model.sure(oldest)}
        for kind in ("configuration", "tenantConfiguration", "user"):
            lines = {key: line for (of, key), line in self.model.lines.items() if of == kind and line}
            found = self.ledger.kind(kind)
            assert found.live == {key: line[-1] for key, line in lines.items() if line[-1].content is not None}
            assert list(found.keys) == sorted(found.live)
            for key, line in lines.items():
                assert found.last(key) == line[-1] or self.model.is_over((kind, key), oldest)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            sweep.SWEEP_TAKE = self.take
            self.run(self.ledger.close())
            self.loop.close()
            shutil.rmtree(self.folder)


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(
    max_examples=settings().max_examples // 2,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestKeeping.__doc__ = """Nothing that is promised is ever missing, and after a compaction nothing else is there."""


@pytest.fixture(params=["memory", "sqlite", "shared"])
def engine(request: pytest.FixtureRequest, data: Path) -> Any:
    """Makes an engine on the same log again and again."""
    if request.param == "sqlite":
        return lambda: SqliteJournal(data)
    journal = MemoryJournal() if request.param == "memory" else SharedLog().journal()
    return lambda: journal


class Kept:
    """A ledger with a clock that is moved by hand, opened again at will."""

    def __init__(self, engine: Any, retention: Retention) -> None:
        self._engine = engine
        self._retention = retention
        self.clock = Clock()
        self.ledger: Ledger

    async def __aenter__(self) -> Kept:
        self.journal = self._engine()
        self.ledger = Ledger(self.journal, self.clock, retention=self._retention)
        await self.ledger.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.close()

    async def reopen(self) -> None:
        await self.ledger.close()
        await self.__aenter__()

    async def write(self, *written: Transaction) -> list[Change]:
        return [change for transaction in written for change in await self.ledger.commit(transaction)]

    async def compact(self) -> None:
        await self.ledger.compact(at_once=True)

    async def versions(self, key: str) -> list[int]:
        """The stored versions of a configuration, newest first."""
        last = self.ledger.kind("configuration").last(key)
        assert last is not None
        found = await self.ledger.history("configuration", key, revision=last.revision, take=1_000)
        return [change.version for change in found]


async def test_the_log_has_a_length(engine: Any) -> None:
    """The log keeps the last changes, in whole transactions; older positions cannot be resumed."""
    async with Kept(engine, Retention(history=1, log_changes=10)) as kept:
        await kept.write(*(put("a") for _ in range(50)))
        await kept.write(Transaction([Write("configuration", f"many {n}", b"") for n in range(8)]), put("a"), put("a"))
        await kept.compact()
        assert kept.ledger.oldest == 51
        assert kept.ledger.gauges()["ledger_log_changes"][1]() == 10
        assert [len(await kept.ledger.since(50, take=1)), len(await kept.ledger.since(50, take=9))] == [8, 9]
        with pytest.raises(NotKept):
            await kept.ledger.since(49, take=1)
        assert [kept.ledger.covers(revision) for revision in (49, 50, 53, 54)] == [False, True, True, False]
        await kept.reopen()
        assert kept.ledger.oldest == 51
        assert len(await everything(kept.journal)) == 10


async def test_the_log_has_an_age(engine: Any) -> None:
    """Changes over the age leave the log, even if nothing is written; a resumed client misses nothing."""
    async with Kept(engine, Retention(history=1, log_days=1)) as kept:
        await kept.write(put("a"), put("a"))
        kept.clock.time += DAY // 2
        await kept.write(put("a"))
        kept.clock.time += DAY // SECTIONS // 2
        await kept.write(put("b"))
        await kept.compact()
        assert kept.ledger.oldest == 1
        kept.clock.time += DAY // 2 + DAY // SECTIONS
        await kept.compact()
        assert kept.ledger.oldest == 3
        kept.clock.time += DAY // 2 - DAY // SECTIONS - 1
        await kept.compact()
        assert kept.ledger.oldest == 3
        kept.clock.time += DAY // SECTIONS
        await kept.compact()
        assert kept.ledger.oldest == 5
        assert await kept.ledger.since(4, take=10) == []
        assert [change.revision for change in await everything(kept.journal)] == [3, 4]


async def test_a_clock_that_was_wrong_does_not_shorten_the_log(engine: Any) -> None:
    """Changes that were made while the clock was behind stay as long as those before them."""
    async with Kept(engine, Retention(history=1, log_days=1)) as kept:
        kept.clock.time += 10 * DAY
        await kept.write(put("a"))
        kept.clock.time -= 9 * DAY
        await kept.write(put("a"))
        kept.clock.time += 9 * DAY
        await kept.write(put("a"))
        await kept.compact()
        assert kept.ledger.oldest == 1


async def test_each_name_keeps_so_many_changes(engine: Any) -> None:
    """However short the log, the last changes of each name stay; deletes count; an earlier life is one of them."""
    async with Kept(engine, Retention(history=3, log_changes=1)) as kept:
        await kept.write(*(put("a") for _ in range(9)), delete("a"), put("a"), *(put("b") for _ in range(2)))
        await kept.compact()
        assert await kept.versions("a") == [1, 10, 9]
        assert await kept.versions("b") == [2, 1]
        await kept.reopen()
        await kept.write(put("a"), put("c"))
        await kept.compact()
        assert await kept.versions("a") == [2, 1, 10]
        assert len(await everything(kept.journal)) == 6


@pytest.mark.parametrize("kind", ["configuration", *sorted(NO_HISTORY)])
async def test_a_deleted_name_is_forgotten_with_the_log(engine: Any, kind: str) -> None:
    """When the delete leaves the log, nothing of the name is kept; created again, it starts at version 1."""
    async with Kept(engine, Retention(history=5, log_changes=2)) as kept:
        await kept.write(put("a", kind=kind), put("a", kind=kind), delete("a", kind=kind), put("b"), put("b"))
        await kept.compact()
        assert kept.ledger.kind(kind).last("a") is None
        assert {change.key for change in await everything(kept.journal)} == {"b"}
        (again,) = await kept.write(put("a", kind=kind))
        assert (again.version, again.previous, again.ordinal) == (1, 0, 1)


async def test_numbers_are_never_reused_even_if_everything_is_forgotten(engine: Any) -> None:
    """Revisions, ids and `oldest` continue after a restart with an empty log."""
    async with Kept(engine, Retention(log_days=1)) as kept:
        await kept.write(put("a"), put("b", kind="user"), delete("a"), delete("b", kind="user"))
        kept.clock.time += 2 * DAY
        await kept.compact()
        assert await everything(kept.journal) == []
        await kept.reopen()
        assert (kept.ledger.revision, kept.ledger.oldest) == (4, 5)
        made = await kept.write(put("stays"), put("b", kind="user"))
        assert [(change.revision, change.id) for change in made] == [(5, 2), (6, 2)]
        await kept.write(put("c"), delete("c"), delete("b", kind="user"))
        kept.clock.time += 2 * DAY
        await kept.compact()
        assert await everything(kept.journal) == made[:1]
        await kept.reopen()
        assert (kept.ledger.revision, kept.ledger.oldest) == (9, 10)
        assert [(change.revision, change.id) for change in await kept.write(put("d"))] == [(10, 4)]


async def test_a_record_that_gets_another_key_keeps_its_number(engine: Any) -> None:
    """In one transaction, also after a restart and when the former key is forgotten. A refused one takes no number."""
    async with Kept(engine, Retention(log_days=1)) as kept:
        await kept.write(put("a", kind="user"), put("b", kind="user"))
        moved = Transaction([Write("user", "a", None), Write("user", "c", b"x", "text/plain", id=1)])
        (change,) = [change for change in await kept.write(moved) if change.content is not None]
        assert (change.key, change.id, change.version) == ("c", 1, 1)
        refused = Transaction(
            [Write("user", "c", None), Write("user", "d", b"x", "text/plain", id=1), Write("user", "gone", None)]
        )
        made = asyncio.gather(outcome_of(kept.ledger, refused), kept.ledger.commit(put("e", kind="user")))
        assert isinstance((await made)[0], Missing)
        kept.clock.time += 2 * DAY
        await kept.compact()
        await kept.reopen()
        assert {key: change.id for key, change in kept.ledger.kind("user").live.items()} == {"b": 2, "c": 1, "e": 3}
        assert kept.ledger.kind("user").last("a") is None
        (again,) = await kept.write(put("a", kind="user"))
        assert again.id == 4


async def test_a_longer_log_does_not_promise_removed_changes(engine: Any) -> None:
    """After a restart with a longer log, `oldest` stays where it was; with a shorter one it moves on."""
    async with Kept(engine, Retention(1, 3)) as kept:
        await kept.write(*(put("a") for _ in range(10)))
    for log_changes, oldest in ((3, 8), (1_000, 8), (2, 9)):
        async with Kept(engine, Retention(1, log_changes)) as kept:
            await kept.compact()
            assert kept.ledger.oldest == oldest


async def test_changes_of_a_forgotten_life_are_not_needed() -> None:
    """When a forgotten key is created again, leftovers of its earlier life are removed by the next sweep."""
    journal = MemoryJournal()
    old, new = _change(1, "a"), _change(2, "a")
    old.ordinal = 5
    for change in (old, new, _change(3, "b")):
        assert await journal.append([change], behind=journal.tip)
    async with Kept(lambda: journal, Retention(history=10, log_changes=1)) as kept:
        await kept.compact()
        assert [change.revision for change in await everything(journal)] == [2, 3]


async def test_a_gateway_beside_the_keeper_forgets_what_that_removes() -> None:
    """It removes nothing itself. By the keeper's notes it knows how far the log reaches, and which names are gone."""
    retention = Retention(history=1, log_changes=2)
    written = [put("a"), delete("a"), put("b"), put("b"), put("b")]
    async with Kept(MemoryJournal, retention) as keeper, Kept(MemoryJournal, retention) as other:
        other.journal.keeper = False
        for kept in (keeper, other):
            await kept.write(*written)
        await other.compact()
        assert len(await everything(other.journal)) == len(written)
        assert (other.ledger.oldest, len(other.ledger.kind("configuration").tombstones)) == (1, 1)
        await keeper.compact()
        await keeper.write(put("b"))
        await other.write(put("b"))
        await keeper.compact()
        for recall in other.ledger.on_notes:
            recall(await keeper.journal.notes())
        assert other.ledger.oldest == keeper.ledger.oldest == 5
        assert other.ledger.revision == 6
        assert not other.ledger.kind("configuration").tombstones
        with pytest.raises(NotKept):
            await other.ledger.since(3, take=1)


class Counting(MemoryJournal):
    """Counts the looks at what is older than the log, and can be stopped before one."""

    def __init__(self) -> None:
        super().__init__()
        self.sweeps = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        self.sweeps += after == 0
        return await super().outline(after, before=before, take=take)

    async def since(self, revision: int, *, take: int) -> list[Change]:
        found = await super().since(revision, take=take)
        await self.gate.wait()
        return found


async def test_a_sweep_waits_until_it_is_worth_while() -> None:
    """A sweep starts when much has left the log, or an hour after something did."""
    journal = Counting()
    async with Kept(lambda: journal, Retention(1, 1)) as kept:
        await kept.write(put("a"), put("a"))
        await kept.ledger.compact()
        assert (journal.sweeps, kept.ledger.oldest) == (0, 2)
        kept.clock.time += 3_600_000
        for _ in range(3):
            await kept.ledger.compact()
        assert journal.sweeps == 1
        kept.clock.time += 3_600_000
        await kept.ledger.compact()
        assert journal.sweeps == 1  # nothing had left
        await kept.write(Transaction([Write("configuration", str(n), b"") for n in range(1_000)]), put("b"))
        await kept.ledger.compact()
        assert journal.sweeps == 2
        await kept.reopen()
        await kept.ledger.compact()
        assert journal.sweeps == 3  # who was here before may have been stopped half way


async def test_a_sweep_waits_longer_when_there_is_much_to_look_at() -> None:
    """If many old changes are needed, a tenth as many have to leave the log before the next sweep."""
    journal = Counting()
    async with Kept(lambda: journal, Retention(1, 1)) as kept:
        for start in range(0, 20_000, 1_000):
            await kept.write(Transaction([Write("configuration", str(start + n), b"") for n in range(1_000)]))
        await kept.write(put("a"))
        await kept.ledger.compact()
        for number, sweeps in ((1_000, 1), (900, 1), (100, 2)):
            await kept.write(Transaction([Write("configuration", f"b {n}", b"") for n in range(number)]), put("a"))
            await kept.ledger.compact()
            assert journal.sweeps == sweeps


@pytest.mark.parametrize(
    ("changes", "older", "left", "behind"),
    [(0, 0, 0, 0), (0, 0, 50_000, 0.5), (0, 0, 200_000, 1), (300_000, 100_000, 200_000, 0.5), (1_000_000, 0, 0, 0)],
)
def test_a_sweep_is_behind_when_much_leaves_the_log_meanwhile(
    changes: int, older: int, left: int, behind: float
) -> None:
    """Wholly when that is as much as is kept."""
    work = sweep.Sweep(State(), MemoryJournal(), Clock(), Retention())
    work.log.changes, work._older, work.log.left = changes, older, 7 + left
    assert work._behind(7) == behind


@pytest.mark.parametrize(("behind", "removed"), [(0, [2, 2, 2, 2, 1]), (1, [6, 3])])
async def test_a_sweep_that_is_behind_removes_more_at_once(
    behind: float, removed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no pauses then either, and so it keeps up with what is written."""
    monkeypatch.setattr(sweep, "SWEEP_TAKE", 2)
    monkeypatch.setattr(sweep, "SWEEP_MOST", 6)
    monkeypatch.setattr(sweep.Sweep, "_behind", lambda work, left: behind)
    journal, found = MemoryJournal(), list[int]()
    async with Kept(lambda: journal, Retention(1, 1)) as kept:
        await kept.write(*[put("a")] * 10)
        remove = journal.remove

        async def count(places: Sequence[int]) -> None:
            found.append(len(places))
            await remove(places)

        monkeypatch.setattr(journal, "remove", count)
        await kept.compact()
    assert found == removed


async def test_large_contents_are_removed_in_small_steps(data: Path) -> None:
    """One removal holds about a megabyte of content, so that no write waits behind hundreds of them."""
    removed: list[int] = []

    class Watched(SqliteJournal):
        async def remove(self, places: Sequence[int]) -> None:
            removed.append(len(places))
            await super().remove(places)

    async with Kept(lambda: Watched(data), Retention(1, 1)) as kept:
        await kept.write(*(put("a", bytes(400_000)) for _ in range(8)))
        await kept.compact()
        assert removed == [3, 3, 1]
        assert len(await everything(kept.journal)) == 1


async def test_a_reader_of_the_log_is_told_that_it_was_shortened() -> None:
    """A reader whose position leaves the log during the read gets no answer with a gap."""
    journal = Counting()
    async with Kept(lambda: journal, Retention(1, 2)) as kept:
        await kept.write(put("a"), put("a"), put("a"))
        journal.gate.clear()
        reading = asyncio.create_task(kept.ledger.since(0, take=10))
        await asyncio.sleep(0)
        await kept.compact()
        journal.gate.set()
        with pytest.raises(NotKept):
            await reading


async def test_changes_that_are_not_announced_yet_are_not_read_from_the_log() -> None:
    """A reader of the log never overtakes the observers, which would announce the changes again."""

    class Early(MemoryJournal):
        async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
            self._store(changes)
            if changes[0].revision > 1:
                seen.append(await kept.ledger.since(0, take=10))
            self._announce(changes)
            return True

    seen: list[list[Change]] = []
    journal = Early()
    async with Kept(lambda: journal, Retention()) as kept:
        first = await kept.write(put("a"))
        second = await kept.write(put("a"))
        assert seen == [first]
        assert await kept.ledger.since(0, take=10) == first + second


async def test_a_storage_that_fails_is_not_compacted(data: Path) -> None:
    """While writes fail nothing is removed, and `oldest` stays: it moves only when the new value is stored."""
    journal = MemoryJournal()
    async with Kept(lambda: journal, Retention(1, 1)) as kept:
        await kept.write(put("a"), put("a"))
        journal.broken = "no space left"
        with pytest.raises(NotDurable):
            await kept.compact()
        assert kept.ledger.oldest == 1
        with pytest.raises(NotDurable):
            await kept.write(put("a"))
        await kept.compact()
        assert (kept.ledger.oldest, len(await everything(journal))) == (1, 2)


def _change(revision: int, key: str) -> Change:
    return Change(
        revision=revision, kind="configuration", key=key, id=1, version=1, content=b"", content_type="", time=1
    )


async def test_the_log_is_shortened_again_and_again() -> None:
    """The ledger compacts by itself, and repeats an attempt that failed in any way."""

    class Failing(MemoryJournal):
        attempts = 0

        async def remember(self, notes: Mapping[str, str]) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise OSError("gone for a moment")
            await super().remember(notes)

    journal = Failing()
    ledger = Ledger(journal, lambda: 1, retention=Retention(1, 1), compact_seconds=0)
    await ledger.open()
    ledger.start()
    for _ in range(3):
        (change,) = await ledger.commit(put("a"))
        while ledger.oldest < change.revision:
            await asyncio.sleep(0)
    assert ledger.oldest == 3
    await ledger.close()
    attempts = journal.attempts
    for _ in range(10):
        await asyncio.sleep(0)
    assert journal.attempts == attempts, "nothing goes on after the end"


@given(
    most=st.integers(1, 5_000),
    sizes=st.lists(st.integers(1, 1_000), max_size=60),
)
def test_a_log_is_cut_close_to_its_length(most: int, sizes: list[int]) -> None:
    """A log has at least its number of changes, and at most a thousandth and two transactions more."""
    log = Log(Retention(1, most))
    for revision, size in enumerate(sizes, 1):
        log.add([_change(revision, str(n)) for n in range(size)])
    first = log.cut(1)
    within = sum(sizes[first - 1 :]) if first is not None else 0
    assert log.changes == within
    assert log.changes + log.left == sum(sizes)
    assert within >= min(most, sum(sizes))
    if first is not None and first > 1:
        assert within < most + most // SECTIONS + 2 * max(sizes)


async def test_a_start_that_keeps_less_says_so(tmp_path: Path) -> None:
    """Once, with both numbers of each setting; one that keeps as much or more says nothing."""
    said = []
    for retention in (Retention(1_000_000, 1_000, 7.0), *[Retention(2, 1_000, 0.5)] * 2, Retention(9)):
        ledger = Ledger(SqliteJournal(tmp_path / "hivewire.db"), lambda: 1_772_357_400_123, retention=retention)
        await ledger.open()
        with capture_logs() as logged:
            ledger.start()
        said += logged
        await ledger.compact()
        await ledger.close()
    words = "the settings keep less than before: older changes are being removed"
    assert said == [{"event": words, "log_level": "warning", "history": "1,000,000 -> 2", "log_days": "7 -> 0.5"}]
