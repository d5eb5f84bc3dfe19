"""The ledger against a plain dict and list, and the promises that a model does not show."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.journal import MAX_APPEND, Journal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import (
    MAX_WRITES,
    Change,
    EvaluatedState,
    Expected,
    JournalError,
    LedgerError,
    Missing,
    NotDurable,
    Overloaded,
    PreconditionFailed,
    Refused,
    Transaction,
    Undecided,
    Unexpected,
    Unsynced,
    Write,
)
from hivewire.ledger.retention import Retention
from hivewire.stopped import Stopped
from hivewire_protocol.patterns import Patterns
from tests.ledger.shared import SharedLog
from tests.running import PATIENCE

Outcome = list[Change] | LedgerError

# A few keys, so that transactions of one batch meet.
keys = st.sampled_from(["a", "b", "ab", "é", "\U0010ffff", ""])
kinds = st.sampled_from(["configuration", "configuration", "tenantConfiguration", "user"])
contents = st.none() | st.binary(max_size=5)
expectations = st.none() | st.builds(
    Expected, version=st.none() | st.integers(0, 3), revision=st.none() | st.integers(0, 6)
)


@st.composite
def writes(draw: st.DrawFn) -> Write:
    """A put or a delete, often with an expectation."""
    expected = draw(expectations)
    return Write(
        draw(kinds),
        draw(keys),
        draw(contents),
        draw(st.sampled_from(["text/plain", "image/png"])),
        draw(st.none() | st.just("why")),
        () if expected is None else (expected,),
    )


transactions = st.lists(
    writes(), min_size=1, max_size=4, unique_by=lambda write: (write.kind, write.key or id(write))
).map(lambda found: Transaction(found, "ann"))


class Model:
    """The rules of the ledger in the plainest words: a list of changes, and the last one of each record."""

    def __init__(self) -> None:
        self.log: list[Change] = []
        self.last: dict[tuple[str, str], Change] = {}
        self.ids: dict[str, set[int]] = {}

    def foresee(self, transaction: Transaction) -> list[Change] | tuple[type[Refused], int]:
        """What a transaction comes to; of a change, only what must be so: ids and revisions are looked at later."""
        changes = []
        for index, write in enumerate(transaction.writes):
            last = self.last.get((write.kind, write.key))
            exists = last is not None and last.content is not None
            version = last.version if exists and last is not None else 0
            for expected in write.preconditions:
                assert isinstance(expected, Expected)
                if expected.version is not None and expected.version != version:
                    return PreconditionFailed, index
                if expected.revision is not None and expected.revision != (last.revision if last is not None else 0):
                    return PreconditionFailed, index
            if write.content is None and not exists:
                return Missing, index
            changes.append(
                Change(
                    revision=0,
                    kind=write.kind,
                    key=write.key,
                    id=last.id if exists and last is not None else 0,
                    version=version + 1,
                    content=write.content,
                    content_type=write.content_type,
                    time=0,
                    author=transaction.author,
                    description=write.description,
                    previous=last.revision if last is not None else 0,
                    ordinal=last.ordinal + 1 if last is not None else 1,
                )
            )
        return changes

    def take(self, expected: list[Change], found: list[Change]) -> None:
        """Check what the ledger made of it and remember that."""
        revision = found[0].revision
        assert revision > (self.log[-1].revision if self.log else 0)
        for want, got in zip(expected, found, strict=True):
            assert got.revision == revision
            if want.id == 0:
                ids = self.ids.setdefault(got.kind, set())
                assert got.id > max(ids, default=0), "an id was used again"
                ids.add(got.id)
                want.id = got.id
                want.key = want.key or str(got.id)
            want.revision, want.time = revision, got.time
            assert got == want
            self.last[got.kind, got.key] = got
        self.log += found

    def kept(self) -> list[Change]:
        """The changes in the journal's log."""
        return [change for change in self.log if change.kind != "user" or self.last[change.kind, change.key] == change]


class Machine(RuleBasedStateMachine):
    """Random transactions, several of them submitted before any is awaited, with restarts in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hivewire-model-"))
        self.loop = asyncio.new_event_loop()
        self.clock = count(1_000)
        self.model = Model()
        self.seen: list[Change] = []

    @initialize()
    def first_open(self) -> None:
        self.loop.run_until_complete(self.open())

    def journal_again(self) -> Journal:
        """The log as it is opened again."""
        return SqliteJournal(self.folder / "model.db")

    async def open(self) -> None:
        self.journal: Journal = self.journal_again()
        self.ledger = Ledger(self.journal, lambda: next(self.clock))
        self.ledger.observe(self.seen.extend)
        await self.ledger.open()

    @rule(batch=st.lists(transactions, min_size=1, max_size=8))
    def write(self, batch: list[Transaction]) -> None:
        """All of them are submitted at once, so each is evaluated on top of those before it and all share a commit."""
        outcomes = self.loop.run_until_complete(submit_all(self.ledger, batch))
        for transaction, outcome in zip(batch, outcomes, strict=True):
            expected = self.model.foresee(transaction)
            if isinstance(expected, tuple):
                assert isinstance(outcome, Refused)
                assert (type(outcome), outcome.index) == expected
                write = transaction.writes[outcome.index]
                assert outcome.write is write
                assert outcome.last == self.model.last.get((write.kind, write.key))
            else:
                assert isinstance(outcome, list), outcome
                self.model.take(expected, outcome)

    @rule()
    def reopen(self) -> None:
        async def again() -> None:
            await self.ledger.close()
            await self.open()

        self.loop.run_until_complete(again())

    @rule(kind=kinds, key=keys)
    def look_back(self, kind: str, key: str) -> None:
        last = self.model.last.get((kind, key))
        if last is not None:
            found = self.loop.run_until_complete(self.ledger.history(kind, key, revision=last.revision, take=1_000))
            kept = [change for change in self.model.kept() if (change.kind, change.key) == (kind, key)]
            assert found == kept[::-1]

    @rule(revision=st.integers(0, 30))
    def read_on(self, revision: int) -> None:
        found = self.loop.run_until_complete(self.journal.since(revision, take=10_000))
        assert found == [change for change in self.model.kept() if change.revision > revision]

    @invariant()
    def state_is_the_models(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for kind in ("configuration", "tenantConfiguration", "user"):
            live = {
                key: change
                for (of, key), change in self.model.last.items()
                if of == kind and change.content is not None
            }
            found = self.ledger.kind(kind)
            assert found.live == live
            assert list(found.keys) == sorted(live)
            for (of, key), change in self.model.last.items():
                if of == kind:
                    assert found.last(key) == change
        assert self.seen == self.model.log
        assert self.ledger.revision == (self.model.log[-1].revision if self.model.log else 0)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.loop.run_until_complete(self.ledger.close())
        self.loop.close()
        shutil.rmtree(self.folder)


async def submit_all(ledger: Ledger, batch: Sequence[Transaction]) -> list[Outcome]:
    """Submit all, then wait for all: outcomes in the order of submission, which is the order of the answers."""
    answered: list[tuple[int, Outcome]] = []
    everybody = asyncio.Event()

    def submit(number: int, transaction: Transaction) -> None:
        def done(outcome: Outcome) -> None:
            answered.append((number, outcome))
            if len(answered) == len(batch):
                everybody.set()

        ledger.submit(transaction, done)

    for number, transaction in enumerate(batch):
        submit(number, transaction)
    await everybody.wait()
    assert [number for number, _ in answered] == list(range(len(batch)))
    return [outcome for _, outcome in answered]


class SharedMachine(Machine):
    """The same over a log that other gateways may share: each start knows nothing of it and reads it whole."""

    def __init__(self) -> None:
        super().__init__()
        self.log = SharedLog()

    def journal_again(self) -> Journal:
        return self.log.journal()


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=settings().max_examples // 2,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestModelOfASharedLog = SharedMachine.TestCase
TestModelOfASharedLog.settings = settings(TestModel.settings, max_examples=settings().max_examples // 3)


# A ledger whose journal can be held up and broken.


class GatedJournal(MemoryJournal):
    """Counts its batches, and keeps each waiting while `gate` is closed. `unknown` is why nobody knows the outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Change]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.unknown: str | None = None

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        self.reached.set()
        await self.gate.wait()
        self.reached.clear()
        if self.unknown is not None:
            self._in_doubt = True
            raise Undecided(self.unknown)
        appended = await super().append(changes, behind=behind)
        self.batches.append(list(changes))
        return appended


@pytest.fixture
def journal() -> GatedJournal:
    return GatedJournal()


@pytest.fixture
async def ledger(journal: GatedJournal) -> AsyncIterator[Ledger]:
    ledger = Ledger(journal, iter(range(1, 100_000)).__next__)
    await ledger.open()
    yield ledger
    journal.gate.set()
    await ledger.close()


def put(key: str, content: bytes = b"x", *expected: Expected, kind: str = "configuration") -> Transaction:
    return Transaction([Write(kind, key, content, "text/plain", preconditions=expected)])


def delete(key: str, *expected: Expected) -> Transaction:
    return Transaction([Write("configuration", key, None, preconditions=expected)])


async def test_versions_start_at_one_and_a_new_life_is_a_new_record(ledger: Ledger) -> None:
    """Each write is one version more, a delete too; created again the record has another id and starts at 1."""
    found = [
        (await ledger.commit(transaction))[0]
        for transaction in (put("a"), put("a"), delete("a"), put("a"), put("b"), put("a"))
    ]
    assert [(change.id, change.version) for change in found] == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (2, 2)]
    assert [change.previous for change in found] == [0, 1, 2, 3, 0, 4]
    assert [change.revision for change in found] == [1, 2, 3, 4, 5, 6]
    assert [change.time for change in found] == sorted(change.time for change in found)


async def test_an_empty_key_makes_a_record_whose_key_is_its_id(data: Path) -> None:
    """Each write of an empty key is a new record, also within one transaction and behind one that is refused; a number
    of a deleted record is not used again."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    make = Write("network", "", b"{}", preconditions=(Expected(version=0),))
    refused = Transaction([make, Write("name", "network/a", None)])
    outcomes = await submit_all(ledger, [Transaction([make, make]), refused, Transaction([make])])
    made = [change for outcome in outcomes if isinstance(outcome, list) for change in outcome]
    assert [(change.key, change.id, change.version) for change in made] == [("1", 1, 1), ("2", 2, 1), ("3", 3, 1)]
    assert isinstance(outcomes[1], Missing)
    await ledger.commit(Transaction([Write("network", "3", None)]))
    await ledger.close()
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    (fourth,) = await ledger.commit(Transaction([make]))
    assert (fourth.key, fourth.id) == ("4", 4)
    assert sorted(ledger.kind("network").live) == ["1", "2", "4"]
    await ledger.close()


async def test_ids_are_counted_by_kind_and_never_used_again(data: Path) -> None:
    """The id of a deleted record is not given to a new one, also not after a restart."""
    for number in (1, 2, 3):
        ledger = Ledger(SqliteJournal(data), lambda: 1)
        await ledger.open()
        (made,) = await ledger.commit(put("a"))
        assert made.id == number
        (user,) = await ledger.commit(put("a", kind="user"))
        assert user.id == number
        await ledger.commit(delete("a"))
        await ledger.commit(Transaction([Write("user", "a", None)]))
        await ledger.close()


async def test_one_write_of_many_that_cannot_be_stops_them_all(ledger: Ledger) -> None:
    """A transaction whose last write is refused leaves no trace, and tells which write it was."""
    await ledger.commit(put("a"))
    writes = [
        Write("configuration", "b", b"new"),
        Write("configuration", "a", None),
        Write("configuration", "a2", b"new", preconditions=(Expected(version=7),)),
    ]
    with pytest.raises(PreconditionFailed) as refused:
        await ledger.commit(Transaction(writes))
    assert (refused.value.index, refused.value.last, refused.value.failed) == (2, None, Expected(version=7))
    assert set(ledger.kind("configuration").live) == {"a"}
    assert ledger.revision == 1
    with pytest.raises(Missing):
        await ledger.commit(Transaction([Write("configuration", "c", b""), Write("configuration", "d", None)]))
    assert ledger.revision == 1


async def test_the_first_of_two_writers_wins(ledger: Ledger) -> None:
    """Of two writers who saw the same version the first is written; the second is refused and gets the first's
    change."""
    await ledger.commit(put("a", b"old"))
    first, second = await submit_all(
        ledger, [put("a", b"first", Expected(version=1)), put("a", b"second", Expected(version=1))]
    )
    assert isinstance(first, list)
    assert isinstance(second, PreconditionFailed)
    assert second.last == first[0]
    assert ledger.get("configuration", "a") == first[0]


async def test_a_deleted_record_is_at_version_zero_but_keeps_its_revision(ledger: Ledger) -> None:
    """Version 0 means that there is no record now; the revision tells a record that never existed from a deleted
    one."""
    await ledger.commit(put("a", b"", Expected(version=0, revision=0)))
    await ledger.commit(delete("a", Expected(version=1, revision=1)))
    for wrong in (Expected(version=2), Expected(version=1), Expected(revision=0), Expected(revision=1)):
        with pytest.raises(PreconditionFailed):
            await ledger.commit(put("a", b"", wrong))
    (again,) = await ledger.commit(put("a", b"", Expected(version=0, revision=2)))
    assert (again.version, again.previous) == (1, 2)


async def test_nothing_is_read_seen_or_answered_before_it_is_durable(ledger: Ledger, journal: GatedJournal) -> None:
    """While the disk works readers get the old value and watchers nothing; writes and refusals are not answered."""
    await ledger.commit(put("a", b"old"))
    seen: list[Change] = []
    ledger.observe(seen.extend)
    journal.gate.clear()
    order: list[Any] = []
    ledger.submit(put("a", b"new"), order.append)
    ledger.submit(put("a", b"never", Expected(version=1)), order.append)
    await journal.reached.wait()
    old = ledger.get("configuration", "a")
    assert old is not None
    assert (old.content, ledger.revision, seen, order) == (b"old", 1, [], [])
    journal.gate.set()
    (later,) = await ledger.commit(put("b"))
    assert isinstance(order[0], list)
    assert isinstance(order[1], PreconditionFailed)
    assert order[1].last == order[0][0]
    assert seen == [order[0][0], later]


async def test_watchers_are_told_before_the_writer_is(ledger: Ledger) -> None:
    """Observers get the changes of a commit in order, before any of its writers gets an answer."""
    events: list[str] = []
    ledger.observe(lambda changes: events.extend(f"saw {change.key}" for change in changes))

    def told(key: str, _: Outcome) -> None:
        events.append(f"told {key}")

    for key in "abc":
        ledger.submit(put(key), partial(told, key))
    await ledger.commit(put("d"))
    assert events == ["saw a", "saw b", "saw c", "saw d", "told a", "told b", "told c"]


async def under_way(ledger: Ledger, journal: GatedJournal, transaction: Transaction) -> list[Outcome]:
    """The future outcomes of a transaction that the storage works on until `journal.gate` is set."""
    journal.gate.clear()
    outcomes: list[Outcome] = []
    ledger.submit(transaction, outcomes.append)
    await journal.reached.wait()
    return outcomes


async def test_writes_that_come_together_share_a_commit(ledger: Ledger, journal: GatedJournal) -> None:
    """Writes that arrive during a commit are all in the next one."""
    journal.gate.clear()
    waiting = [asyncio.create_task(ledger.commit(put("first")))]
    await journal.reached.wait()
    waiting += [asyncio.create_task(ledger.commit(put(f"key {number}"))) for number in range(500)]
    await asyncio.sleep(0)
    journal.gate.set()
    await asyncio.gather(*waiting)
    assert [len(batch) for batch in journal.batches] == [1, 500]


async def test_a_commit_has_bounds(ledger: Ledger, journal: GatedJournal) -> None:
    """No commit has more changes than the engine takes, and transactions are never split over two."""
    batch = [
        Transaction([Write("configuration", f"{number} {index}", b"") for index in range(400)]) for number in range(6)
    ]
    await submit_all(ledger, batch)
    assert all(len(found) <= MAX_APPEND for found in journal.batches)
    assert [len(found) for found in journal.batches] == [800, 800, 800]
    journal.batches.clear()
    await submit_all(ledger, [put(f"large {number}", bytes(1 << 20)) for number in range(9)])
    assert [len(found) for found in journal.batches] == [4, 4, 1]


async def test_a_failed_commit_fails_all_writers_of_its_batch(ledger: Ledger, journal: GatedJournal) -> None:
    """Its writers and the refused ones all get the error, and the state is as before."""
    await ledger.commit(put("a", b"old"))
    before = ledger.get("configuration", "a")
    seen: list[Change] = []
    ledger.observe(seen.extend)
    journal.broken = "no space left on device"
    outcomes = await submit_all(
        ledger, [put("a", b"new"), put("b"), put("a", b"never", Expected(version=1)), delete("nothing")]
    )
    assert [type(outcome) for outcome in outcomes] == [NotDurable] * 4
    assert all("no space left" in str(outcome) for outcome in outcomes)
    assert ledger.get("configuration", "a") is before
    assert ledger.get("configuration", "b") is None
    assert list(ledger.kind("configuration").keys) == ["a"]
    assert (ledger.revision, seen) == (1, [])
    assert ledger.failing == "no space left on device"

    journal.broken = None
    (change,) = await ledger.commit(put("a", b"later"))
    assert (change.version, change.content) == (2, b"later")
    assert ledger.failing is None


async def test_an_engine_that_breaks_in_a_new_way_does_not_stop_the_ledger(data: Path) -> None:
    """A key that the engine cannot keep is an error for its writer; the next writer is served."""
    ledger = Ledger(SqliteJournal(data), lambda: 1)
    await ledger.open()
    try:
        with pytest.raises(NotDurable):
            await ledger.commit(put("\ud800"))
        assert (await ledger.commit(put("a")))[0].revision == 1
    finally:
        await ledger.close()


async def test_writes_beyond_the_bound_of_the_queue_are_refused_at_once(journal: GatedJournal) -> None:
    """The writer gets an error, and nothing of its transaction is written."""
    ledger = Ledger(journal, lambda: 1, max_waiting=10_000)
    await ledger.open()
    answered = await under_way(ledger, journal, put("under way"))
    with pytest.raises(Overloaded):
        for number in range(1_000):
            ledger.submit(put(f"key {number}"), answered.append)
    assert number < 12
    journal.gate.set()
    await ledger.close()
    assert len(answered) == number + 1
    assert f"key {number}" not in ledger.kind("configuration").live


async def test_a_storage_that_hangs_holds_nobody_up(ledger: Ledger, journal: GatedJournal) -> None:
    """The writes in the hanging commit are undecided, all others are not written, and a late answer counts."""
    await ledger.commit(put("a"))
    seen: list[Change] = []
    ledger.observe(seen.extend)
    journal.gate.clear()
    outcomes: list[Outcome] = []
    unchanged = Transaction([Write("configuration", "nothing", None, if_present=True)])
    for transaction in (put("b"), put("a", b"never", Expected(version=9)), unchanged):
        ledger.submit(transaction, outcomes.append)
    await journal.reached.wait()
    ledger.submit(put("queued"), outcomes.append)
    ledger._writer.watch(3_600)
    assert (outcomes, ledger.failing) == ([], None)
    ledger._writer.watch(0)
    assert [type(outcome) for outcome in outcomes] == [Undecided, NotDurable, NotDurable, NotDurable]
    assert "has not answered" in str(ledger.failing)
    with pytest.raises(NotDurable, match="has not answered"):
        ledger.submit(put("late"), outcomes.append)
    await ledger.probe()
    ledger._writer.watch(0)
    assert (len(outcomes), seen, ledger.get("configuration", "b")) == (4, [], None)
    assert ledger.failing is not None, "a probe cannot tell while the storage hangs"

    journal.gate.set()
    while ledger.failing is not None:
        await asyncio.sleep(0)
    assert ([change.key for change in seen], len(outcomes)) == (["b"], 4)
    (change,) = await ledger.commit(put("b"))
    assert change.version == 2


async def test_a_log_over_a_network_accepts_nothing_new_while_it_is_slow(ledger: Ledger, journal: GatedJournal) -> None:
    """What waits gets the time to be written, as when a leader is elected; more is refused at once. When nobody knows
    the outcome, it stays so until a confirmation has shown that the log works."""
    outcomes = await under_way(ledger, journal, put("a"))
    ledger.submit(put("queued"), outcomes.append)
    ledger._writer.watch(3_600, 0)
    assert (outcomes, ledger.not_ready(for_writes=False)) == ([], None)
    assert "has not answered" in str(ledger.not_ready(for_writes=True))
    with pytest.raises(NotDurable, match="has not answered"):
        ledger.submit(put("late"), outcomes.append)
    journal.gate.set()
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [list, list], "it was elected in time"
    assert ledger.failing is None

    journal.gate.clear()
    outcomes = await under_way(ledger, journal, put("a"))
    ledger.submit(put("queued"), outcomes.append)
    ledger._writer.watch(3_600, 0)
    journal.unknown = "no answer for 15 s"
    journal.broken = "no leader"
    journal.gate.set()
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [Undecided, NotDurable]
    await ledger.probe()
    with pytest.raises(NotDurable, match="has not answered"):
        ledger.submit(put("late"), outcomes.append)
    assert ledger.failing == "no leader"
    journal.broken = journal.unknown = None
    await ledger.probe()
    assert ledger.failing is None
    await ledger.commit(put("b"))


async def test_a_log_that_is_not_followed_any_more_stops_the_gateway(
    ledger: Ledger, journal: GatedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written any more, what waits is answered, readiness says why for reads too, and the owner is told."""
    told: list[str] = []
    ledger.on_stopped = lambda: told.append("stopped")
    outcomes = await under_way(ledger, journal, put("a"))
    ledger.submit(put("queued"), outcomes.append)
    reason = "a newer gateway wrote it"
    monkeypatch.setattr(GatedJournal, "stopped", Stopped(reason, again=False))
    for _ in range(2):
        await ledger._watch()
    assert told == ["stopped"]
    assert (ledger.not_ready(for_writes=False), ledger.not_ready(for_writes=True)) == (reason, reason)
    with pytest.raises(NotDurable, match=reason):
        ledger.submit(put("late"), outcomes.append)
    journal.gate.set()
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert type(outcomes[1]) is NotDurable


class Turn:
    """The turn of a journal: it is `asked` for, and comes with `given`."""

    def __init__(self, journal: GatedJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.given = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(journal, "turn", self._wait)

    @asynccontextmanager
    async def _wait(self) -> AsyncIterator[None]:
        self.asked.set()
        await self.given.wait()
        yield


async def test_others_may_go_first(ledger: Ledger, journal: GatedJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each batch the writer waits until the journal says that it is its turn, and takes what came meanwhile."""
    turn = Turn(journal, monkeypatch)
    commit = asyncio.create_task(ledger.commit(put("a")))
    await turn.asked.wait()
    ledger.submit(put("meanwhile"), lambda outcome: None)
    assert journal.batches == []
    turn.given.set()
    await commit
    assert [[change.key for change in batch] for batch in journal.batches] == [["a", "meanwhile"]]


async def test_who_never_gets_a_turn_is_answered(
    ledger: Ledger, journal: GatedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write whose turn does not come in time was not written; when it comes after all, writes work again."""
    turn = Turn(journal, monkeypatch)
    outcomes: list[Outcome] = []
    ledger.submit(put("a"), outcomes.append)
    await turn.asked.wait()
    ledger._writer.watch(0)
    assert [type(outcome) for outcome in outcomes] == [NotDurable]
    with pytest.raises(NotDurable, match="has not answered"):
        ledger.submit(put("late"), outcomes.append)
    turn.given.set()
    while ledger.failing is not None:
        await asyncio.sleep(0)
    await ledger.commit(put("b"))
    assert [[change.key for change in batch] for batch in journal.batches] == [["b"]]


async def test_the_storage_is_not_blamed_for_a_stop_of_the_process(
    ledger: Ledger, journal: GatedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute in which nothing ran, a commit under way gets the time to end before it is given up."""
    moment = perf_counter()
    monkeypatch.setattr("hivewire.ledger.ledger.perf_counter", lambda: moment)
    monkeypatch.setattr(ledger._writer, "_seconds", lambda: moment)
    outcomes = await under_way(ledger, journal, put("a"))
    moment += 60
    await ledger._watch()
    assert (outcomes, ledger.failing) == ([], None)
    moment += 0.5
    await ledger._watch()
    assert [type(outcome) for outcome in outcomes] == [Undecided]
    journal.gate.set()


async def test_over_a_network_writes_are_refused_before_a_commit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 2 seconds, and only writes: an election takes longer, and may still end well."""
    moment = perf_counter()
    journal = GatedJournal()
    journal.append_seconds = 15.0
    ledger = Ledger(journal, lambda: 1_700_000_000_000)
    await ledger.open()
    monkeypatch.setattr("hivewire.ledger.ledger.perf_counter", lambda: moment)
    monkeypatch.setattr(ledger._writer, "_seconds", lambda: moment)
    ledger._watched = moment
    outcomes = await under_way(ledger, journal, put("a"))
    for passed in (0.5, 1.0, 1.5, 2.0):
        assert ledger.not_ready(for_writes=True) is None, passed
        moment += 0.5
        await ledger._watch()
    with pytest.raises(NotDurable, match="not answered for 2 s"):
        ledger.submit(put("late"), outcomes.append)
    assert (outcomes, ledger.not_ready(for_writes=False)) == ([], None)
    assert ledger.not_ready(for_writes=True) == "the storage has not answered for 2 s"
    journal.gate.set()
    while not outcomes:
        await asyncio.sleep(0)
    assert isinstance(outcomes[0], list)
    assert ledger.not_ready(for_writes=True) is None
    await ledger.close()


async def test_a_storage_that_hangs_and_then_fails_has_written_nothing(ledger: Ledger, journal: GatedJournal) -> None:
    """No writer is answered twice, and the storage is probed again."""
    outcomes = await under_way(ledger, journal, put("a"))
    ledger._writer.watch(0)
    journal.broken = "input/output error"
    journal.gate.set()
    while ledger.failing != "input/output error":
        await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [Undecided]
    journal.broken = None
    (change,) = await ledger.commit(put("a"))
    assert change.version == 1


async def test_closing_while_the_storage_hangs_refuses_later_writes(ledger: Ledger, journal: GatedJournal) -> None:
    """A ledger that was closed while its storage hung refuses writes after the storage has answered too."""
    outcomes = await under_way(ledger, journal, put("a"))
    ledger._writer.watch(0)
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    journal.gate.set()
    await closing
    with pytest.raises(NotDurable, match="stopping"):
        ledger.submit(put("late"), outcomes.append)
    assert "a" in ledger.kind("configuration").live


async def test_a_failed_commit_is_answered_though_its_probe_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is awaited for a limited time, and ends by itself."""
    monkeypatch.setattr("hivewire.group_commit.PROBE_PATIENCE", 0)
    probing = asyncio.Event()

    class Hanging(MemoryJournal):
        async def confirm(self, *, quorum: bool = False) -> None:
            await probing.wait()

    journal = Hanging()
    ledger = Ledger(journal, lambda: 1)
    await ledger.open()
    journal.broken = "input/output error"
    with pytest.raises(NotDurable, match="input/output"):
        await ledger.commit(put("a"))
    journal.broken = None
    (change,) = await ledger.commit(put("a"))
    assert change.version == 1
    probing.set()
    await ledger.close()


@pytest.mark.parametrize(("over", "told"), [(True, NotDurable), (False, Undecided)])
async def test_a_commit_whose_sync_failed_is_undecided_until_it_is_overwritten(over: bool, told: type) -> None:
    """Its writers are told that nothing was written only after another write; a refusal never writes anything."""

    class Unsyncing(MemoryJournal):
        async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
            raise Unsynced("input/output error")

        async def confirm(self, *, quorum: bool = False) -> None:
            if not over:
                raise NotDurable("input/output error")

    ledger = Ledger(Unsyncing(), lambda: 1)
    await ledger.open()
    tried = put("a"), put("b", b"x", Expected(version=7))
    outcomes = await asyncio.gather(*map(ledger.commit, tried), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [told, NotDurable]
    await ledger.close()


class Unspeakable(Exception):
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_a_failed_commit_is_answered_though_its_error_cannot_be_told(reported: list[str]) -> None:
    """An error in the handling of an error ends the writer; everybody who waits is answered, and later writes are
    refused."""

    class Broken(MemoryJournal):
        async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
            ledger.submit(put("queued"), queued.append)
            raise Unspeakable

    queued: list[Outcome] = []
    ledger = Ledger(Broken(), lambda: 1)
    await ledger.open()
    async with asyncio.timeout(PATIENCE):
        outcomes = await submit_all(ledger, [put("a"), put("b")])
    assert [type(outcome) for outcome in outcomes] == [Undecided] * 2
    assert [type(outcome) for outcome in queued] == [NotDurable]
    assert reported == ["the writer of the ledger ended: no words"]
    with pytest.raises(NotDurable):
        await ledger.commit(put("c"))
    await ledger.close()


async def test_a_batch_is_answered_though_its_evaluation_ends_the_writer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction at which it happened, those before it and those after it get an answer."""

    def broken(*_: object) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr("hivewire.ledger.batch.log_unexpected", broken)
    awkward = Transaction([Write("configuration", "b", b"", preconditions=(Awkward(),))])
    async with asyncio.timeout(PATIENCE):
        outcomes = await submit_all(ledger, [put("a"), awkward, put("c")])
    assert [type(outcome) for outcome in outcomes] == [Undecided, Undecided, NotDurable]
    assert ledger.get("configuration", "a") is None


async def test_writes_are_accepted_again_after_an_overload(journal: GatedJournal) -> None:
    """Once the waiting writes are stored, new ones are accepted again."""
    ledger = Ledger(journal, lambda: 1, max_waiting=10_000)
    await ledger.open()
    await submit_all(ledger, [put("large", bytes(100_000))])
    assert (await ledger.commit(put("a")))[0].version == 1
    await ledger.close()


async def test_closing_writes_everything_that_was_submitted(journal: GatedJournal) -> None:
    """Transactions from before the close are written and answered; later ones are refused."""
    ledger = Ledger(journal, lambda: 1)
    await ledger.open()
    answered = await under_way(ledger, journal, put("first"))
    for number in range(2_000):
        ledger.submit(put(f"key {number}"), answered.append)
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    with pytest.raises(NotDurable):
        ledger.submit(put("late"), answered.append)
    journal.gate.set()
    await closing
    await ledger.close()
    assert len(answered) == 2_001
    assert all(isinstance(outcome, list) for outcome in answered)
    assert sum(len(batch) for batch in journal.batches) == 2_001


async def test_a_cancelled_writer_does_not_disturb_the_others(ledger: Ledger, journal: GatedJournal) -> None:
    """Its write is made nevertheless, and the others get their answers."""
    journal.gate.clear()
    gone = asyncio.create_task(ledger.commit(put("gone")))
    stays = asyncio.create_task(ledger.commit(put("stays")))
    await journal.reached.wait()
    gone.cancel()
    journal.gate.set()
    assert (await stays)[0].key == "stays"
    assert ledger.get("configuration", "gone") is not None


async def test_a_transaction_has_one_to_a_thousand_writes_of_different_records(ledger: Ledger) -> None:
    """None, too many, or two writes of one record are the caller's mistake; a thousand are fine."""
    many = [Write("configuration", str(number), b"") for number in range(MAX_WRITES + 1)]
    for wrong in ([], many, [Write("configuration", "a", b""), Write("configuration", "a", None)]):
        with pytest.raises(ValueError, match="transaction"):
            await ledger.commit(Transaction(wrong))
    changes = await ledger.commit(Transaction(many[:MAX_WRITES]))
    assert {change.revision for change in changes} == {1}


async def test_a_kind_without_a_row_is_refused(ledger: Ledger, reported: list[str]) -> None:
    """Nobody reads, follows or writes records of a kind for which it was not decided what is kept of them."""
    with pytest.raises(ValueError, match="'password' is no kind of record"):
        ledger.kind("password")
    with pytest.raises(ValueError, match="'password' is no kind of record"):
        ledger.observe(lambda changes: None, "configuration", "password")
    with pytest.raises(Unexpected):
        await ledger.commit(put("a", kind="password"))
    (report,) = reported
    assert "'password' is no kind of record" in report
    assert ledger.revision == 0


async def test_a_log_with_a_kind_of_a_newer_version_is_refused() -> None:
    """Nobody serves records whose meaning it does not know. A note about such a kind hinders nobody, and is kept."""
    journal = MemoryJournal()
    await journal.remember({"lastId:novel": "9"})
    ledger = Ledger(journal, lambda: 1, retention=Retention(log_changes=1))
    await ledger.open()
    await ledger.commit(put("a"))
    await ledger.compact(at_once=True)
    assert (await journal.notes())["lastId:novel"] == "9"
    novel = Change(
        revision=2, kind="novel", key="a", id=7, version=1, content=b"x", content_type="text/plain", time=1, author=None
    )
    await journal.append([novel], behind=1)
    with pytest.raises(JournalError, match="'novel', which this version of Hivewire does not know"):
        await Ledger(journal, lambda: 1).open()
    await ledger.close()


async def test_keys_are_in_the_order_of_their_code_points(ledger: Ledger) -> None:
    """Keys are kept in ordinal order, whatever the order of writing, and deleted ones are not among them."""
    names = ["b", "a", "é", "Z", "\U0001f600", "\uffee", "aa", " ", "a\0"]
    for name in names:
        await ledger.commit(put(name))
    await ledger.commit(delete("aa"))
    assert list(ledger.kind("configuration").keys) == [" ", "Z", "a", "a\0", "b", "é", "\uffee", "\U0001f600"]


@pytest.mark.parametrize(
    ("patterns", "covered"),
    [
        (["*"], ["a", "a.1", "a.2", "a\U0010ffff", "b", "\U0010ffff", "\U0010ffffx"]),
        (["a.*"], ["a.1", "a.2"]),
        (["a*"], ["a", "a.1", "a.2", "a\U0010ffff"]),
        (["a\U0010ffff*"], ["a\U0010ffff"]),
        (["\U0010ffff*"], ["\U0010ffff", "\U0010ffffx"]),
        (["b", "a.2", "nothing"], ["a.2", "b"]),
        (["b", "a.*", "a.1"], ["a.1", "a.2", "b"]),
        (["c*"], []),
        ([], []),
    ],
)
async def test_patterns_cover_ranges_of_the_ordered_keys(
    ledger: Ledger, patterns: list[str], covered: list[str]
) -> None:
    """Patterns become ordered ranges that do not overlap and hold exactly the names that match."""
    await submit_all(ledger, [put(n) for n in ("b", "a.2", "a", "\U0010ffffx", "a\U0010ffff", "a.1", "\U0010ffff")])
    kind = ledger.kind("configuration")
    ranges = list(kind.ranges(Patterns(patterns)))
    assert ranges == sorted(ranges)
    assert [kind.keys[index] for start, end in ranges for index in range(start, end)] == covered


async def test_a_ledger_opened_again_is_the_same(data: Path) -> None:
    """State, deleted records, revision and epoch are those from before the restart."""
    ticks = count(1)
    ledger = Ledger(SqliteJournal(data), ticks.__next__)
    assert ledger.failing == "not open yet"
    await ledger.open()
    await submit_all(ledger, [put("a"), put("b"), delete("a"), put("a"), delete("b"), put("c", kind="user")])
    states = [(dict(ledger.kind(kind).live), dict(ledger.kind(kind).tombstones)) for kind in ("configuration", "user")]
    revision, epoch = ledger.revision, ledger.epoch
    await ledger.close()

    again = Ledger(SqliteJournal(data), ticks.__next__)
    await again.open()
    assert (again.revision, again.epoch, again.failing) == (revision, epoch, None)
    assert states == [(again.kind(kind).live, again.kind(kind).tombstones) for kind in ("configuration", "user")]
    await again.close()


async def test_a_ledger_that_failed_finds_out_that_it_can_write_again() -> None:
    """After a full disk, readiness returns by itself when there is space again, without a write."""
    journal = MemoryJournal()
    ledger = Ledger(journal, lambda: 1)
    await ledger.open()
    journal.broken = "no space left on device"
    with pytest.raises(NotDurable):
        await ledger.commit(Transaction([Write("configuration", "a", b"1", "text/plain")]))
    await ledger.probe()
    assert ledger.failing == "no space left on device"
    journal.broken = None
    await ledger.probe()
    assert ledger.failing is None
    await ledger.close()


async def test_the_time_of_a_record_never_goes_back() -> None:
    """When the clock is set back, a record's next change has the time of its last one, also behind a delete."""
    moment = 0
    ledger = Ledger(MemoryJournal(), lambda: moment)
    await ledger.open()
    times = []
    for moment, content in ((5_000, b"1"), (4_000, b"2"), (3_000, None), (2_000, b"3"), (6_000, b"4")):  # noqa: B007
        [change] = await ledger.commit(Transaction([Write("configuration", "a", content)]))
        times.append(change.time)
    assert times == [5_000, 5_000, 5_000, 5_000, 6_000]
    await ledger.close()


class Awkward:
    """A precondition that breaks when it is looked at."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        raise RuntimeError("awkward")


@pytest.fixture
async def reported() -> AsyncIterator[list[str]]:
    """The errors that the event loop's exception handler got."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(f"{context['message']}: {context['exception']}"))
    yield found
    loop.set_exception_handler(None)


async def test_a_transaction_that_cannot_be_evaluated_fails_alone(ledger: Ledger, reported: list[str]) -> None:
    """A bug of the gateway in one transaction is an error of that transaction; the others of its batch are written."""
    awkward = Transaction([Write("configuration", "b", b"", preconditions=(Awkward(),))])
    first, failed, last = await submit_all(ledger, [put("a"), awkward, put("c")])
    assert isinstance(first, list)
    assert isinstance(failed, Unexpected)
    assert "awkward" not in str(failed)
    assert isinstance(last, list)
    assert set(ledger.kind("configuration").live) == {"a", "c"}
    assert reported == ["a transaction could not be evaluated: awkward"]
    assert ledger.failing is None


async def test_a_failing_observer_affects_nobody_else(ledger: Ledger, reported: list[str]) -> None:
    """When an observer or a measurement fails, it is reported; the next observer and the writer are still notified."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    seen: list[Change] = []
    ledger.observe(broken)
    ledger.observe(seen.extend)
    ledger.measure(broken)
    found = await ledger.commit(put("a"))
    assert seen == found
    assert reported == ["an observer of the ledger failed: broken", "the commit was not measured: broken"]
    assert (await ledger.commit(put("a")))[0].version == 2
    assert ledger.failing is None


async def test_an_observer_of_some_kinds_gets_each_of_their_commits_once(ledger: Ledger) -> None:
    """A commit with changes of two of its kinds too, and none of other kinds."""
    seen: list[list[str]] = []
    ledger.observe(lambda changes: seen.append([change.kind for change in changes]), "user", "tenant")
    for kinds in (["user", "tenant"], ["configuration"], ["configuration", "tenant"]):
        await ledger.commit(Transaction([Write(kind, "a", b"x", "text/plain") for kind in kinds]))
    assert seen == [["user", "tenant"], ["configuration", "tenant"]]


async def test_a_writer_that_ends_leaves_nobody_waiting(
    ledger: Ledger, journal: GatedJournal, reported: list[str]
) -> None:
    """When the gateway itself fails after a commit, readiness fails, and every writer gets an answer."""
    outcomes = await under_way(ledger, journal, put("a"))
    ledger.submit(put("b"), outcomes.append)
    del ledger.kind("configuration").keys  # what is in memory cannot be kept up to date any more
    journal.gate.set()
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert isinstance(outcomes[0], list), "it was written, whatever happened then"
    assert isinstance(outcomes[1], NotDurable)
    assert "the writer ended" in str(ledger.failing)
    with pytest.raises(NotDurable, match="the writer ended"):
        await ledger.commit(put("c"))
    await ledger.probe()
    assert "the writer ended" in str(ledger.failing)
    assert len(reported) == 1
    assert [change.key async for portion in journal.changes() for change in portion] == ["a"]
    await ledger.close()


async def test_a_probe_survives_an_engine_that_breaks_in_a_new_way() -> None:
    """Whatever the engine raises, the probe says so and can be repeated."""

    class Breaking(MemoryJournal):
        async def remember(self, notes: Mapping[str, str]) -> None:
            raise OSError("gone")

    journal = Breaking()
    ledger = Ledger(journal, lambda: 1)
    await ledger.open()
    journal.broken = "no space left on device"
    with pytest.raises(NotDurable):
        await ledger.commit(put("a"))
    assert ledger.failing == "no space left on device"
    await ledger.probe()
    assert ledger.failing == "gone"
    await ledger.close()


async def test_readiness_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """From `start` on, the ledger detects that the storage accepts writes again."""
    monkeypatch.setattr("hivewire.ledger.ledger.PROBE_SECONDS", 0)
    journal = MemoryJournal()
    ledger = Ledger(journal, lambda: 1, compact_seconds=3_600)
    await ledger.open()
    ledger.start()
    journal.broken = "no space left on device"
    with pytest.raises(NotDurable):
        await ledger.commit(put("a"))
    journal.broken = None
    while ledger.failing is not None:
        await asyncio.sleep(0)
    await ledger.close()
