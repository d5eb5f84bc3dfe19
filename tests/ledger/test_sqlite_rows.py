"""Changes as rows: whatever a batch holds comes back from the table as it was."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hivewire.ledger.engines.sqlite.file import creation_script
from hivewire.ledger.engines.sqlite.journal import _HISTORY
from hivewire.ledger.engines.sqlite.rows import SELECTED, change_of, insertion
from hivewire.ledger.records import Change

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(0, 2**50)
CHANGES = st.builds(
    Change,
    revision=st.just(0),
    kind=TEXTS,
    key=TEXTS,
    id=NUMBERS,
    version=NUMBERS,
    content=st.none() | st.binary(max_size=8),
    content_type=TEXTS,
    time=NUMBERS,
    author=st.none() | TEXTS,
    description=st.none() | TEXTS,
    previous=NUMBERS,
    ordinal=NUMBERS,
)


def stored(batch: list[Change]) -> list[Change]:
    """The batch as it is read after it was inserted."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(creation_script())
        connection.execute(*insertion(batch))
        return [change_of(row) for row in connection.execute(f"SELECT {SELECTED} FROM change ORDER BY place")]


@given(st.lists(CHANGES, min_size=1, max_size=12), st.data())
def test_a_batch_of_any_changes_is_read_as_it_was_written(changes: list[Change], data: st.DataObject) -> None:
    """None stays None and empty stays empty; several changes of one revision keep their order."""
    steps = data.draw(st.lists(st.integers(0, 1), min_size=len(changes), max_size=len(changes)))
    batch = [replace(change, revision=1 + sum(steps[:number])) for number, change in enumerate(changes)]
    assert stored(batch) == batch


@given(CHANGES, st.lists(CHANGES, min_size=1, max_size=10))
def test_what_all_changes_of_a_batch_share_is_bound_once(first: Change, others: list[Change]) -> None:
    """It is read from every row all the same, and takes fewer parameters."""
    common = {name: getattr(first, name) for name in ("kind", "content_type", "time", "author", "description")}
    batch = [replace(change, revision=number, **common) for number, change in enumerate([first, *others], 1)]
    assert stored(batch) == batch
    different = [*batch[:-1], replace(batch[-1], kind=first.kind + "!")]
    assert len(insertion(batch)[1]) < len(insertion(different)[1])


def test_parameters_have_no_numbers() -> None:
    """Up to Python 3.12.3, which Ubuntu 24.04 has, `sqlite3` takes them for names, and warns of each."""
    change = Change(1, "kind", "key", 1, 1, b"", "text/plain", 0)
    for statement in (insertion([change])[0], insertion([change, replace(change, kind="other")])[0], _HISTORY):
        assert re.search(r"\?[0-9]", statement) is None
