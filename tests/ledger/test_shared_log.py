"""Several ledgers on one log: who comes too late is evaluated again, and all of them end up with the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from structlog.testing import capture_logs

from hivewire.access import bootstrap
from hivewire.access.keys import Key
from hivewire.access.passwords import Passwords
from hivewire.access.users import Users
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import (
    Change,
    EvaluatedState,
    Expected,
    Guard,
    Missing,
    NotDurable,
    Outcome,
    PreconditionFailed,
    Refused,
    Transaction,
    Undecided,
    Write,
    version_of,
)
from hivewire.settings import Settings
from hivewire_protocol.errors import InternalError, Unavailable
from tests.ledger.shared import UNDECIDED, Fault, SharedJournal, SharedLog
from tests.ledger.sites import Sites, case_of, losses, scripts
from tests.world import HASHER

KIND = "configuration"


def put(key: str, content: bytes = b"x", *expected: Expected) -> Transaction:
    return Transaction([Write(KIND, key, content, "text/plain", preconditions=expected)])


class Site:
    """Ledgers on one log."""

    def __init__(self) -> None:
        self.log = SharedLog()
        self.ledgers: list[Ledger] = []
        self.journals: list[SharedJournal] = []

    async def gateway(self) -> tuple[Ledger, SharedJournal]:
        """One more ledger, opened."""
        journal = self.log.journal()
        ledger = Ledger(journal, lambda: 1)
        await ledger.open()
        self.ledgers.append(ledger)
        self.journals.append(journal)
        return ledger, journal

    async def settle(self) -> None:
        """Deliver everything to all gateways."""
        for journal in self.journals:
            await journal.confirm()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    for ledger in site.ledgers:
        await ledger.close()


def state(ledger: Ledger) -> Any:
    kinds = {
        name: (kind.live, kind.tombstones, list(kind.keys), kind.last_id)
        for name, kind in ledger.kinds.items()
        if kind.last_id
    }
    return ledger.revision, kinds


async def test_a_write_that_comes_too_late_is_evaluated_again(site: Site) -> None:
    """When another gateway's entry was appended first, ids, versions and revisions are assigned again after it."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    seen: list[tuple[int, str, int]] = []
    mine.observe(lambda changes: seen.extend((c.revision, c.key, c.version) for c in changes))
    journal.script.append(lambda: other.commit(put("a", b"theirs")))
    (change,) = await mine.commit(put("a", b"mine"))
    assert (change.id, change.version, change.revision, change.previous) == (1, 2, 2, 1)
    assert seen == [(1, "a", 1), (2, "a", 2)], "foreign changes are announced like our own, in order"
    await site.settle()
    assert state(mine) == state(other)


async def test_a_condition_holds_for_the_log_as_it_is(site: Site) -> None:
    """A condition that was true when it was first evaluated is evaluated again and refused, and shows the winner."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    journal.script.append(lambda: other.commit(put("a", b"theirs")))
    with pytest.raises(PreconditionFailed) as refused:
        await mine.commit(put("a", b"mine", Expected(version=0)))
    assert refused.value.last is not None
    assert refused.value.last.content == b"theirs"
    assert len(site.log.entries) == 1


async def first_records(ledger: Ledger, settings: Settings) -> tuple[str | None, Key]:
    """Write them as a start does. The password that it prints, and the key that it signs with."""
    users, passwords = Users(ledger), Passwords(1, HASHER)
    await users.load()
    await bootstrap.write_secret(settings, ledger)
    key = bootstrap.signing_key(settings, ledger)
    try:
        return await bootstrap.write_administrator(settings, users, passwords), key
    finally:
        passwords.close()


@pytest.mark.parametrize("login", ["admin", "root"])
async def test_of_two_gateways_that_start_on_an_empty_log_one_writes_the_first_records(site: Site, login: str) -> None:
    """The other one signs with the same secret, prints no password and makes no administrator, under no login."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    theirs: list[tuple[str | None, Key]] = []

    async def rival() -> None:
        theirs.append(await first_records(other, Settings(admin_login=login)))

    journal.script.append(rival)
    password, key = await first_records(mine, Settings())
    ((their_password, their_key),) = theirs
    assert (password, key.value) == (None, their_key.value)
    assert their_password is not None
    made = [(change.kind, change.key) for change in site.log.changes()]
    assert made == [("secret", "jwt"), ("secret", "tag"), ("user", login)]


async def test_an_administrator_that_is_stored_too_late_is_not_shown(site: Site) -> None:
    """A gateway that finds another one's administrator only when it stores its own prints no password."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()

    async def rival() -> None:
        await first_records(other, Settings(admin_login="root"))

    journal.script += [None, rival]
    password, _ = await first_records(mine, Settings())
    assert password is None
    made = [(change.kind, change.key) for change in site.log.changes()]
    assert made == [("secret", "jwt"), ("secret", "tag"), ("user", "root")]


async def test_a_log_that_answers_nobody_is_noticed_though_nothing_is_written(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a log over a network is asked for that, and only after a while without an entry."""
    ledger, journal = await site.gateway()
    journal.broken = "no leader"
    await ledger._look()
    assert ledger.failing is None
    monkeypatch.setattr("hivewire.ledger.ledger.LOOK_SECONDS", 0)
    await ledger._look()
    assert ledger.failing is None, "it is on this machine"
    journal.append_seconds = 1.0
    with capture_logs() as logged:
        for _ in range(2):
            await ledger._look()
    assert [(line["event"], line["reason"]) for line in logged] == [("writes fail", "no leader")]
    assert ledger.not_ready(for_writes=True) == "no leader"
    journal.broken = None
    await ledger.probe()
    await ledger._look()
    assert ledger.failing is None


async def test_a_refusal_can_become_a_write(site: Site) -> None:
    """A transaction that was refused at an old tip is written when its condition holds at the new one, in order."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    journal.script.append(lambda: other.commit(put("a")))
    answers: list[tuple[int, Outcome]] = []
    mine.submit(put("b"), lambda outcome: answers.append((1, outcome)))
    mine.submit(put("a", b"second", Expected(version=1)), lambda outcome: answers.append((2, outcome)))
    await mine.commit(put("c"))
    assert [number for number, _ in answers] == [1, 2]
    assert [change.revision for _, outcome in answers for change in outcome] == [2, 3]  # type: ignore[union-attr]


async def test_newer_transactions_are_evaluated_with_those_that_lost(site: Site) -> None:
    """The next attempt includes newer transactions, in one entry."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    late: list[Outcome] = []

    async def rival() -> None:
        mine.submit(put("late"), late.append)
        await other.commit(put("theirs"))

    journal.script.append(rival)
    await mine.commit(put("mine"))
    assert [[change.key for change in entry] for entry in site.log.entries] == [["theirs"], ["mine", "late"]]
    assert isinstance(late[0], list)


async def test_a_refusal_alone_is_confirmed(site: Site) -> None:
    """A refusal that writes nothing waits until this gateway has heard everything, and is evaluated again if so."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    journal.lose = 1
    await other.commit(put("a"))
    await asyncio.sleep(0)
    assert mine.get(KIND, "a") is None, "the feed lost it"
    with pytest.raises(Missing):
        await mine.commit(Transaction([Write(KIND, "b", None)]))
    assert mine.get(KIND, "a") is not None
    assert journal.confirms == 2, "the tip moved, so the refusal was evaluated and confirmed once more"
    journal.lose = 1
    await other.commit(put("b"))
    (gone,) = await mine.commit(Transaction([Write(KIND, "b", None)]))
    assert (gone.version, len(site.log.entries)) == (2, 3), "deleted, though it was not known here at first"


async def test_a_commit_proves_that_the_state_is_current(site: Site) -> None:
    """A confirmation may be told by a part of the log that knows nothing newer; one with a quorum commits, and hears
    everything. All who wait share it."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    journal.lose, journal.misled = 1, True
    await other.commit(put("a"))
    await asyncio.sleep(0)
    await mine.confirm()
    assert mine.revision == 0
    await asyncio.gather(*(mine.confirm(quorum=True) for _ in range(10)))
    assert mine.get(KIND, "a") is not None
    assert [len(entry) for entry in site.log.entries] == [1, 0], "one empty entry for all of them"
    (later,) = await other.commit(put("b"))
    assert (later.revision, later.version) == (2, 1), "an empty entry has no revision"


async def test_refusals_are_confirmed_together(site: Site) -> None:
    """Whoever is about to refuse hears what others wrote; all who wait share that. A log that does not answer changes
    nothing."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    journal.lose = 1
    await other.commit(put("a"))
    await asyncio.sleep(0)
    assert await asyncio.gather(*(mine.hear(0) for _ in range(10))) == [True] * 10
    assert journal.confirms == 1
    assert await asyncio.gather(*(mine.hear(1) for _ in range(10))) == [False] * 10
    assert journal.confirms == 2
    journal.broken = "no leader"
    assert not await mine.hear(1)


async def test_a_gap_in_the_feed_is_closed(site: Site) -> None:
    """An entry that the feed lost is taken before the one behind it, so nobody sees them out of order."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    seen: list[int] = []
    mine.observe(lambda changes: seen.extend(change.revision for change in changes))
    journal.lose = 2
    for key in "abc":
        await other.commit(put(key))
    await asyncio.sleep(0)
    assert seen == [1, 2, 3]
    assert await mine.since(0, take=10) == site.log.changes()


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.LOST, Fault.LATE])
async def test_an_unknown_outcome_is_reported_as_unknown(site: Site, fault: Fault) -> None:
    """A write without an answer is abandoned and its writer is told so; the next one finds out the outcome."""
    mine, journal = await site.gateway()
    journal.script.append(fault)
    outcomes: list[Outcome] = []
    mine.submit(put("a", b"first"), outcomes.append)
    mine.submit(put("b", b"", Expected(version=7)), outcomes.append)
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [Undecided, Undecided]
    assert mine.failing == UNDECIDED
    (second,) = await mine.commit(put("a", b"second"))
    site.log.deliver_late()
    assert mine.failing is None
    assert (second.version, second.revision) == ((2, 2) if fault is Fault.SILENT else (1, 1))
    assert [change.content for change in site.log.changes()][-1] == b"second"
    assert len(site.log.entries) == second.revision


async def test_an_abandoned_entry_that_appears_later_is_applied(site: Site) -> None:
    """It reaches the state and the observers of all gateways."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    seen: list[Change] = []
    mine.observe(seen.extend)
    journal.script.append(Fault.LATE)
    with pytest.raises(Undecided):
        await mine.commit(put("a"))
    site.log.deliver_late()
    await site.settle()
    assert [change.key for change in seen] == ["a"]
    assert state(mine) == state(other)


async def test_a_client_is_told_to_read_before_trying_again(site: Site) -> None:
    """Undecided is 503 with its own text; a refusal of the log is the 503 that says that nothing was written."""
    mine, journal = await site.gateway()
    pending = PendingWrite(put("a"), lambda changes: changes, lambda refused: InternalError())
    journal.script += [Fault.LOST, Fault.REFUSED]
    with pytest.raises(Unavailable) as undecided:
        await commit(mine, pending, None)
    assert str(undecided.value) == "not known whether this was written; read before trying again"
    with pytest.raises(Unavailable, match="the log is full; nothing was written"):
        await commit(mine, pending, None)
    await mine.close()
    with pytest.raises(Unavailable, match="the gateway is stopping; nothing was written"):
        await commit(mine, pending, None)


async def test_a_log_that_fails_costs_only_the_batch(site: Site) -> None:
    """A batch that the log refuses is not written anywhere; the next batch is."""
    mine, journal = await site.gateway()
    journal.script.append(Fault.REFUSED)
    with pytest.raises(NotDurable):
        await mine.commit(put("a"))
    (change,) = await mine.commit(put("a"))
    assert (change.version, change.revision, len(site.log.entries)) == (1, 1, 1)


async def test_more_refusals_than_fit_into_an_entry_become_writes(site: Site) -> None:
    """When thousands of refusals are evaluated again and all succeed, they are spread over entries that can be kept."""
    mine, journal = await site.gateway()
    other, _ = await site.gateway()
    await other.commit(put("switch"))
    await site.settle()
    journal.script.append(lambda: other.commit(put("switch")))
    on = (Guard(KIND, "switch", (Expected(version=2),)),)
    outcomes: list[Outcome] = []
    for number in range(2_000):
        mine.submit(Transaction([Write(KIND, str(number), b"")], None, on), outcomes.append)
    await mine.commit(put("end"))
    assert all(isinstance(outcome, list) for outcome in outcomes)
    assert [len(entry) for entry in site.log.entries] == [1, 1, 1_024, 977]


async def test_a_ledger_that_joins_late_has_everything(site: Site) -> None:
    """A gateway that is opened later reads the log, also what is appended while it reads."""
    first, _ = await site.gateway()
    await first.commit(put("a"))
    journal = site.log.journal()
    second = Ledger(journal, lambda: 1)
    site.ledgers.append(second)
    site.journals.append(journal)
    notes = journal.notes

    async def busy() -> dict[str, str]:
        await first.commit(put("b"))
        return await notes()

    journal.notes = busy  # type: ignore[method-assign]
    await second.open()
    assert state(first) == state(second)
    assert [change.key for change in await second.since(0, take=10)] == ["a", "b"]


async def test_a_foreign_entry_that_cannot_be_applied_stops_the_writer(site: Site) -> None:
    """When the state may be wrong, the ledger says that it is not ready and writes nothing more."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    mine, _ = await site.gateway()
    other, _ = await site.gateway()
    await mine.commit(put("a"))
    del mine.kind(KIND).keys
    await other.commit(put("b"))
    await asyncio.sleep(0)
    with pytest.raises(NotDurable, match="the writer ended"):
        await mine.commit(put("c"))
    assert len(site.log.entries) == 2
    loop.set_exception_handler(None)


# The model: whatever happens on the way, the log is right and everybody agrees on it.

keys = st.sampled_from("abc")
expectations = st.just(()) | st.builds(lambda version: (Expected(version=version),), st.integers(0, 2))
MOST = 3


class AtMost:
    """No more than MOST records."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        return version_of(last) > 0 or state.count(KIND) < MOST


writes = st.builds(
    lambda kind, key, content, expected, if_present: Write(
        kind, key, content, "", None, (*expected, *((AtMost(),) if content is not None else ())), if_present
    ),
    st.sampled_from([KIND, KIND, "user"]),
    keys | st.sampled_from("de"),
    st.none() | st.binary(max_size=2),
    expectations,
    st.booleans(),
)
guards: st.SearchStrategy[list[Guard]] = st.just([]) | st.lists(
    st.builds(Guard, st.just(KIND), keys, expectations), max_size=1
)
transactions = st.builds(
    Transaction,
    st.lists(writes, min_size=1, max_size=3, unique_by=lambda write: (write.kind, write.key)),
    st.none(),
    guards,
)


class Replay:
    """The state after the log, transaction by transaction: the simplest ledger, as an `EvaluatedState`."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Change] = {}
        self.changes: list[Change] = []

    def last(self, kind: str, key: str) -> Change | None:
        return self.records.get((kind, key))

    def count(self, kind: str) -> int:
        return sum(of == kind and change.content is not None for (of, _), change in self.records.items())

    def written(self, kind: str) -> list[Change]:
        return []

    def refuses(self, transaction: Transaction) -> tuple[type[Refused], int] | None:
        """Why a transaction is not possible here, if it is not; the records are as before."""
        before = dict(self.records)
        try:
            for index, guard in enumerate(transaction.guards, len(transaction.writes)):
                if not all(p.holds(self.last(guard.kind, guard.key), self) for p in guard.preconditions):
                    return PreconditionFailed, index
            for index, write in enumerate(transaction.writes):
                last = self.last(write.kind, write.key)
                if not all(p.holds(last, self) for p in write.preconditions):
                    return PreconditionFailed, index
                version = version_of(last)
                if write.content is None and not version:
                    if write.if_present:
                        continue
                    return Missing, index
                self.records[write.kind, write.key] = Change(
                    revision=0,
                    kind=write.kind,
                    key=write.key,
                    id=0,
                    version=version + 1,
                    content=write.content,
                    content_type="",
                    time=0,
                )
            return None
        finally:
            self.records = before


class Ledgers(Sites):
    """Random transactions on three ledgers of one log: rivals, silence, refusals, late entries, a lossy feed."""

    def __init__(self) -> None:
        super().__init__()
        self.log = SharedLog()
        self.ledgers: list[Ledger] = []
        self.asked: list[tuple[Transaction, Outcome, int, int]] = []
        self.seen: list[list[Change]] = [[], [], []]

    @initialize()
    def begin(self) -> None:
        self.run(self.open())

    async def open(self) -> None:
        self.followers = [self.log.journal() for _ in range(3)]
        self.ledgers = [Ledger(journal, lambda: 1) for journal in self.followers]
        for ledger, seen in zip(self.ledgers, self.seen, strict=True):
            ledger.observe(seen.extend)
            await ledger.open()

    @rule(
        batches=st.lists(st.tuples(st.integers(0, 2), st.lists(transactions, min_size=1, max_size=4)), max_size=4),
        given=scripts,
        lose=losses,
        rival=transactions,
        together=st.booleans(),
    )
    def write(self, batches: Any, given: Any, lose: Any, rival: Transaction, together: bool) -> None:
        self.distort(given, lose, lambda number: self.ask(self.ledgers[number], rival))
        for some in [batches] if together else [[batch] for batch in batches]:
            self.run(self.written(some))

    async def written(self, batches: Any) -> None:
        await asyncio.gather(
            *(self.ask(self.ledgers[number], transaction) for number, batch in batches for transaction in batch)
        )

    async def ask(self, ledger: Ledger, transaction: Transaction) -> None:
        began = len(self.log.changes())
        outcome: Outcome
        try:
            outcome = await ledger.commit(transaction)
        except (Refused, NotDurable) as error:
            outcome = error
        self.asked.append((transaction, outcome, began, len(self.log.changes())))

    @rule()
    def arrive_late(self) -> None:
        async def deliver() -> None:
            self.log.deliver_late()

        self.run(deliver())

    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        """A gateway that has forgotten everything reads the log again."""

        async def again() -> None:
            await self.ledgers[number].close()
            self.seen[number].clear()
            self.seen[number] += self.log.changes()
            journal = self.followers[number] = self.log.journal()
            ledger = self.ledgers[number] = Ledger(journal, lambda: 1)
            ledger.observe(self.seen[number].extend)
            await ledger.open()

        self.run(again())

    @invariant()
    def all_agree(self) -> None:
        async def hear() -> None:
            for journal in self.followers:
                await journal.confirm()

        self.run(hear())
        changes = self.log.changes()
        assert [state(ledger) for ledger in self.ledgers] == [state(self.ledgers[0])] * 3
        assert self.seen == [changes] * 3, "each announced everything, once and in order"
        revisions = [change.revision for change in changes]
        assert revisions == sorted(revisions)
        assert len({(change.kind, change.id, change.version) for change in changes}) == len(changes)
        assert len({(change.kind, change.key, change.revision) for change in changes}) == len(changes)
        assert self.ledgers[0].kind(KIND).last_id == 0 or len(self.ledgers[0].kind(KIND).live) <= MOST
        self.answers_are_true(changes)

    def answers_are_true(self, changes: list[Change]) -> None:
        for transaction, outcome, began, ended in self.asked:
            if isinstance(outcome, list):
                where = [changes.index(change) for change in outcome]
                assert all(changes.count(change) == 1 for change in outcome), "an answered write stands once"
                assert where == list(range(where[0], where[0] + len(where))) if where else True
                assert {change.key for change in outcome} <= {write.key for write in transaction.writes}
            elif isinstance(outcome, Refused):
                assert self.refused_rightly(changes, transaction, outcome, began, ended)
        self.asked.clear()

    def refused_rightly(
        self, changes: list[Change], transaction: Transaction, refused: Refused, began: int, ended: int
    ) -> bool:
        """Whether it was so at some moment between question and answer; no older state counts."""
        replay = Replay()
        for number in range(ended + 1):
            boundary = number == len(changes) or number == 0 or changes[number].revision > changes[number - 1].revision
            if (
                number >= began
                and boundary
                and replay.last(refused.write.kind, refused.write.key) == refused.last
                and replay.refuses(transaction) == (type(refused), refused.index)
            ):
                return True
            if number < len(changes):
                replay.records[changes[number].kind, changes[number].key] = changes[number]
        return False

    async def close(self) -> None:
        for ledger in self.ledgers:
            await ledger.close()


TestSites = case_of(Ledgers, "All ledgers agree, every answered write stands once, and every refusal was right.")
