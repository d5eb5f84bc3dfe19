"""Preconditions see the ledger at the time of their evaluation, with earlier writes of the transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.ledger.batch import Batch
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import (
    Change,
    EvaluatedState,
    Expected,
    Guard,
    Missing,
    Outcome,
    PreconditionFailed,
    Transaction,
    Write,
    version_of,
)
from hivewire.ledger.state import State

KIND = "configuration"


def write(key: str, content: bytes | None = b"x", *preconditions: Any, if_present: bool = False) -> Write:
    return Write(KIND, key, content, "", None, preconditions, if_present)


class AtMost:
    """At most so many records of a kind."""

    def __init__(self, most: int) -> None:
        self.most = most

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        return version_of(last) > 0 or state.count(KIND) < self.most


class Same:
    """Another record has this content."""

    def __init__(self, key: str, content: bytes | None) -> None:
        self.key = key
        self.content = content

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        other = state.last(KIND, self.key)
        return (other.content if other is not None else None) == self.content


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    ledger = Ledger(MemoryJournal(), lambda: 1)
    await ledger.open()
    yield ledger
    await ledger.close()


async def together(ledger: Ledger, *transactions: Transaction) -> list[Outcome]:
    """All in one commit."""
    outcomes: list[Outcome] = []
    for transaction in transactions[:-1]:
        ledger.submit(transaction, outcomes.append)
    try:
        outcomes.append(await ledger.commit(transactions[-1]))
    except (PreconditionFailed, Missing) as refused:
        outcomes.append(refused)
    return outcomes


async def test_a_limit_counts_earlier_writes_of_its_commit(ledger: Ledger) -> None:
    """Of many creations in one commit only as many as the limit allows are written; a delete before them counts."""
    outcomes = await together(
        ledger,
        *(Transaction([write(str(number), b"x", AtMost(3))]) for number in range(5)),
        Transaction([write("0", None)]),
        Transaction([write("new", b"x", AtMost(3))]),
    )
    assert [isinstance(outcome, list) for outcome in outcomes] == [True, True, True, False, False, True, True]
    assert sorted(ledger.kind(KIND).live) == ["1", "2", "new"]


async def test_a_condition_sees_the_earlier_writes_of_its_transaction(ledger: Ledger) -> None:
    """Writes of one transaction are evaluated one after the other; when one is refused, nobody saw the others."""
    (first,) = await together(ledger, Transaction([write("a", b"1"), write("b", b"2", Same("a", b"1"))]))
    assert isinstance(first, list)
    refused, after = await together(
        ledger,
        Transaction([write("a", None), write("c", b"3"), write("b", b"4", Same("a", b"1"))]),
        Transaction([write("b", b"5", Same("a", b"1"), AtMost(2))]),
    )
    assert isinstance(refused, PreconditionFailed)
    assert refused.index == 2
    assert isinstance(after, list)
    assert sorted(ledger.kind(KIND).live) == ["a", "b"]
    (made,) = await ledger.commit(Transaction([write("d")]))
    assert (made.id, made.revision) == (3, 3), "a refused transaction uses up neither an id nor a revision"


async def test_a_guard_is_not_written(ledger: Ledger) -> None:
    """A transaction happens only as long as its guards hold; they are not changed, and the refusal names them."""
    await ledger.commit(Transaction([write("switch", b"on")]))
    guard = Guard(KIND, "switch", (Expected(version=1),))
    (change,) = await ledger.commit(Transaction([write("a")], None, [guard]))
    assert change.key == "a"
    off, late = await together(
        ledger, Transaction([write("switch", b"off")]), Transaction([write("b"), write("c")], None, [guard])
    )
    assert isinstance(off, list)
    assert isinstance(late, PreconditionFailed)
    assert (late.write, late.index, late.last) == (guard, 2, off[0])
    assert sorted(ledger.kind(KIND).live) == ["a", "switch"]


async def test_deleting_an_optional_record(ledger: Ledger) -> None:
    """With `if_present` an absent record is not an error; a transaction without any change has no revision."""
    assert await ledger.commit(Transaction([write("a", None, if_present=True)])) == []
    assert ledger.revision == 0
    (made,) = await ledger.commit(Transaction([write("a", None, if_present=True), write("b")]))
    assert (made.key, made.revision) == ("b", 1)
    (gone,) = await ledger.commit(Transaction([write("b", None, if_present=True)]))
    assert (gone.version, gone.content) == (2, None)
    with pytest.raises(PreconditionFailed):
        await ledger.commit(Transaction([write("b", None, Expected(version=2), if_present=True)]))
    with pytest.raises(Missing):
        await ledger.commit(Transaction([write("b", None)]))


writes = st.builds(
    lambda key, content, if_present: write(key, content, if_present=if_present),
    st.sampled_from("abcd"),
    st.none() | st.just(b"x"),
    st.booleans(),
)
transactions = st.lists(writes, min_size=1, max_size=3, unique_by=lambda one: one.key).map(Transaction)


@given(st.lists(transactions, max_size=5), st.lists(transactions, max_size=8))
def test_the_view_of_a_batch_is_the_state_after_it(before: list[Transaction], batch: list[Transaction]) -> None:
    """At every moment, records and counts are those of a state to which the changes so far were applied."""
    state, applied = State(), State()
    first = Batch(state, 0, 1)
    for transaction in before:
        first.evaluate(transaction)
    if first.changes:
        state.apply(first.changes)
        applied.apply(first.changes)
    second = Batch(state, 1, 2)
    for transaction in batch:
        outcome = second.evaluate(transaction)
        if isinstance(outcome, list) and outcome:
            applied.apply(outcome)
        kind = applied.kind(KIND)
        assert second.count(KIND) == len(kind.live)
        assert [second.last(KIND, key) for key in "abcd"] == [kind.last(key) for key in "abcd"]
    assert second.count("user") == 0
