"""The contract of `ledger/journal.py`, held against every engine."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench.nodes import PASSWORD
from msgspec.structs import replace

from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import SqliteCache
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from hivewire.ledger.journal import AUDITED, MAX_APPEND, NO_HISTORY, SINCE_BYTES, Entry, Journal
from hivewire.ledger.records import AuditFilter, AuditRow, Change, NotDurable
from hivewire.settings import Settings
from tests.ledger.parent import Served
from tests.ledger.shared import SharedLog

Clusters = Callable[[int], str]

ENGINES: dict[str, Callable[[Path, Clusters], Callable[[], Journal]]] = {
    "memory": lambda path, clusters: partial(same, MemoryJournal()),
    "sqlite": lambda path, clusters: partial(SqliteJournal, path),
    "shared": lambda path, clusters: partial(same, SharedLog().journal()),
    "parent": lambda path, clusters: partial(Served, path),
    "nats": lambda path, clusters: over_nats(path, clusters(1)),
    "nats3": lambda path, clusters: over_nats(path, clusters(3)),
}
"""For each engine, what makes its log ready to be opened, again and again; `path` is free for its files."""


def over_nats(path: Path, store: str) -> Callable[[], Journal]:
    """A log on NATS of a site that nobody else has."""
    settings = Settings(data=str(path), store=store.format(site=secrets.token_hex(8)), store_password=PASSWORD)
    return lambda: NatsJournal(settings, SqliteCache(path))


CONTENTS = {
    "empty": b"",
    "with NULs": b"a\0b\0",
    "one NUL": b"\0",
    "not UTF-8": b"\xff\xfe\x80",
    "every byte": bytes(range(256)),
    "1 MiB": bytes(range(256)) * 4_096,
}
KEYS = (
    "plain",
    "",
    " ",
    "a\0b",
    "é",
    "e\u0301",
    "日本語",
    "\U0010ffff",
    "\uffff",
    "'; DROP TABLE change; --",
    "%",
    "n" * 5_000,
)


async def delete_streams(journal: NatsJournal) -> None:
    """They reserve room on the servers that all tests share."""
    for name in (journal._wanted["name"], journal._checkpoints.stream):
        await journal._connection.api(f"STREAM.DELETE.{name}")


def same(journal: Journal) -> Journal:
    """For an engine whose log does not outlive its object."""
    return journal


class Shelf:
    """A place where one engine keeps its log, so that it can be closed and opened again."""

    def __init__(self, make: Callable[[], Journal]) -> None:
        self._make = make
        self.journal: Journal

    async def open(self) -> Journal:
        """Open the log, as a new object where that finds it again."""
        self.journal = self._make()
        await self.journal.open()
        self.entries: list[Entry] = []
        self.tips: list[int] = []
        self.notes: dict[str, str] = {}
        await self.journal.follow(self._take, self.notes.update)
        return self.journal

    def _take(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.tips.append(self.journal.tip)

    async def reopen(self) -> Journal:
        """Close it and open it again."""
        await self.journal.close()
        return await self.open()


@pytest.fixture(params=ENGINES)
async def shelf(request: pytest.FixtureRequest, data: Path, clusters: Clusters) -> AsyncIterator[Shelf]:
    """An open, empty log, for each engine."""
    shelf = Shelf(ENGINES[request.param](data, clusters))
    await shelf.open()
    yield shelf
    if isinstance(shelf.journal, NatsJournal):
        await delete_streams(shelf.journal)
    await shelf.journal.close()


def change(revision: int, key: str = "a", version: int = 1, content: bytes | None = b"x", **members: object) -> Change:
    fields = SimpleNamespace(kind="configuration", id=1, content_type="text/plain", time=1_700_000_000_000)
    fields.__dict__.update(members)
    return Change(revision=revision, key=key, version=version, content=content, **fields.__dict__)


async def append(journal: Journal, changes: Sequence[Change]) -> None:
    """As the next entry, which nobody contests."""
    assert await journal.append(changes, behind=journal.tip)


async def everything(journal: Journal) -> list[Change]:
    return [change async for portion in journal.changes() for change in portion]


async def refused(attempt: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(Exception):  # noqa: B017 - which one is the engine's own affair here
        await attempt()


async def test_a_new_log_is_empty(shelf: Shelf) -> None:
    """A new log has no changes, no notes and can be written."""
    assert await everything(shelf.journal) == []
    assert await shelf.journal.notes() == {}
    assert await shelf.journal.since(0, take=10) == []
    assert await shelf.journal.history("configuration", "a", revision=1, take=10) == []
    assert not shelf.journal.read_only


async def test_any_content_comes_back_byte_for_byte(shelf: Shelf) -> None:
    """Content of any bytes and length, the empty one included, is the same after the log was closed and opened."""
    written = [change(revision, name, content=content) for revision, (name, content) in enumerate(CONTENTS.items(), 1)]
    for one in written:
        await append(shelf.journal, [one])
    for found, one in zip(await everything(await shelf.reopen()), written, strict=True):
        assert found == one, one.key


async def test_a_delete_is_told_from_empty_content(shelf: Shelf) -> None:
    """A delete stays a delete and an empty value stays an empty value."""
    await append(shelf.journal, [change(1, content=b""), change(2, version=2, content=None, previous=1)])
    assert [found.content for found in await everything(await shelf.reopen())] == [b"", None]


async def test_entries_are_taken_before_append_returns(shelf: Shelf) -> None:
    """Every entry is taken once, in order, when it can be read; its place is the tip then, and grows."""
    before = shelf.journal.tip
    batches = [[change(1)], [change(2, "b"), change(2, "c")], [change(9, version=2, previous=1)]]
    for number, batch in enumerate(batches, 1):
        assert await shelf.journal.append(batch, behind=shelf.journal.tip)
        assert [list(entry.changes) for entry in shelf.entries] == batches[:number]
    assert [entry.place for entry in shelf.entries] == shelf.tips == sorted({*shelf.tips, shelf.tips[0]})
    assert before < shelf.tips[0]
    assert shelf.journal.tip == shelf.tips[-1]
    journal = await shelf.reopen()
    assert shelf.entries == [], "what `changes` tells is not taken"
    await append(journal, [change(10, "d")])
    assert [list(entry.changes) for entry in shelf.entries] == [[change(10, "d")]]


async def test_a_confirmation_moves_nothing_where_nothing_came(shelf: Shelf) -> None:
    """To confirm writes no change and no note, and the tip stays."""
    await append(shelf.journal, [change(1)])
    tip = shelf.journal.tip
    await shelf.journal.confirm()
    assert (shelf.journal.tip, len(shelf.entries)) == (tip, 1)
    assert await shelf.journal.notes() == {}
    await shelf.journal.confirm(quorum=True)
    came = [len(entry.changes) for entry in shelf.entries[1:]]
    assert came in ([], [0] * shelf.journal.shared), "an empty entry at most"
    assert shelf.entries[-1].place == shelf.journal.tip


async def test_a_confirmation_after_a_failed_append_tells_the_truth(data: Path) -> None:
    """It writes a note first: while that fails it says NotDurable, and afterwards it writes no more."""
    memory = MemoryJournal()
    memory.broken = "no space left"
    with pytest.raises(NotDurable):
        await append(memory, [change(1)])
    with pytest.raises(NotDurable, match="no space left"):
        await memory.confirm()
    memory.broken = None
    await memory.confirm()
    memory.broken = "no space left"
    await memory.confirm()
    sqlite = SqliteJournal(data)
    await sqlite.open()
    await refused(lambda: append(sqlite, [change(1, "\ud800")]))
    await sqlite.confirm()
    probe = (await sqlite.notes())["probe"]
    await sqlite.confirm()
    assert await sqlite.notes() == {"probe": probe}
    await sqlite.close()


async def test_any_key_is_found_again(shelf: Shelf) -> None:
    """A key of any Unicode text is kept as it is, and its history is found under it."""
    written = []
    for first, key in zip(count(1, 2), KEYS, strict=False):
        written += [change(first, key=key), change(first + 1, key=key, version=2, previous=first)]
        await append(shelf.journal, written[-2:])
    journal = await shelf.reopen()
    assert await everything(journal) == written
    for last in written[1::2]:
        found = await journal.history("configuration", last.key, revision=last.revision, take=10)
        assert found == [last, written[last.previous - 1]], ascii(last.key)


async def test_keys_that_look_alike_are_different_records(shelf: Shelf) -> None:
    """Keys that differ only by case, a NUL, a space or the composition of an accent do not share a history."""
    keys = ["a", "A", "a\0", "a ", "a\0b", "é", "e\u0301"]
    await append(shelf.journal, [change(1, key=key, id=number) for number, key in enumerate(keys, 1)])
    for number, key in enumerate(keys, 1):
        found = await shelf.journal.history("configuration", key, revision=1, take=10)
        assert [change.id for change in found] == [number], ascii(key)


async def test_every_member_of_a_change_is_kept(shelf: Shelf) -> None:
    """Author, description, type, time, id, version and the link to the change before are all kept."""
    written = change(
        7,
        key="k",
        version=3,
        id=9,
        content_type="image/png",
        time=1_767_225_600_123,
        author="Ünï",
        description="lunch\0break",
        previous=5,
        ordinal=12,
    )
    plain = change(8, key="k", version=4, id=9, previous=7)
    await append(shelf.journal, [written])
    await append(shelf.journal, [plain])
    assert await everything(await shelf.reopen()) == [written, plain]


async def test_a_batch_of_any_size_is_kept_in_order(shelf: Shelf) -> None:
    """From one change to the most that are allowed, a batch is there whole and in order after reopening."""
    written: list[Change] = []
    for size in [1, 2, 3, 4, 5, 63, 64, 65, 511, 513, 1_000, 1_023, MAX_APPEND]:
        first = len(written) + 1
        batch = [change(n, key=f"key {first + size - n}", id=n) for n in range(first, first + size)]
        await append(shelf.journal, batch)
        written += batch
        assert shelf.entries[-1].changes == batch
    assert await everything(await shelf.reopen()) == written


async def test_one_transaction_may_fill_a_batch(shelf: Shelf) -> None:
    """A thousand changes of one revision stay in the order in which they were written."""
    written = [change(5, key=f"key {1_000 - number}", id=number) for number in range(1, 1_001)]
    await append(shelf.journal, written)
    assert await everything(await shelf.reopen()) == written
    assert await shelf.journal.since(4, take=1) == written


async def test_batches_follow_one_another_with_gaps(shelf: Shelf) -> None:
    """Revisions may have gaps; the log is in the order of appending."""
    written = [change(1), change(10, version=2, previous=1), change(1_000_000, version=3, previous=10)]
    for one in written:
        await append(shelf.journal, [one])
    assert await everything(await shelf.reopen()) == written


@pytest.mark.parametrize("size", [2, 3, 64, 1_000, MAX_APPEND])
@pytest.mark.parametrize("kind", ["configuration", "user"])
async def test_a_batch_that_fails_leaves_nothing(data: Path, size: int, kind: str) -> None:
    """When the last change of a batch cannot be kept, none of it is there, and the next batch is written as usual."""
    journal = SqliteJournal(data)
    await journal.open()
    try:
        before = change(1, key="before", kind=kind)
        await append(journal, [before])
        good = [change(2, key=f"key {number}", kind=kind) for number in range(size - 1)]
        impossible = change(3, key="\ud800", kind=kind)  # a lone surrogate has no UTF-8
        await refused(lambda: append(journal, [*good, impossible]))
        twice = change(1, key="again", kind=kind)  # the place is taken
        await refused(lambda: append(journal, [*good, twice]))
        assert await everything(journal) == [before]
        after = change(2, key="after", kind=kind)
        await append(journal, [after])
        assert await everything(journal) == [before, after]
    finally:
        await journal.close()


async def test_a_refused_append_says_not_durable(data: Path) -> None:
    """An engine that cannot write says NotDurable, from `append` and from `remember`."""
    memory = MemoryJournal()
    memory.broken = "no space left"
    closed = SqliteJournal(data)
    for journal in (memory, closed):
        with pytest.raises(NotDurable):
            await append(journal, [change(1)])
        with pytest.raises(NotDurable):
            await journal.remember({"a": "b"})
        with pytest.raises(NotDurable):
            await journal.remove([1])
    assert await everything(memory) == []
    assert await memory.notes() == {}


async def test_history_goes_backwards_through_all_lives(shelf: Shelf) -> None:
    """A record's history crosses deletes and re-creations, newest first, and other records do not get in between."""
    mine = [
        change(1, version=1, content=b"1", id=1),
        change(3, version=2, content=b"2", id=1, previous=1),
        change(5, version=3, content=None, id=1, previous=3),
        change(8, version=1, content=b"3", id=4, previous=5),
        change(9, version=2, content=None, id=4, previous=8),
        change(12, version=1, content=b"4", id=5, previous=9),
    ]
    others = [change(revision, key="b", id=2, content=b"other") for revision in (2, 4, 6, 7, 10, 11, 13)]
    same_revision = [change(3, key="c", id=3), change(8, key="d", id=6)]
    for one in sorted([*mine, *others, *same_revision], key=lambda change: change.revision):
        if one in same_revision:
            continue
        batch = [one, *(other for other in same_revision if other.revision == one.revision)]
        await append(shelf.journal, batch)
    journal = await shelf.reopen()
    assert await journal.history("configuration", "a", revision=12, take=100) == mine[::-1]
    assert await journal.history("configuration", "a", revision=8, take=100) == mine[3::-1]
    assert await journal.history("configuration", "a", revision=12, take=2) == mine[:3:-1]
    assert await journal.history("configuration", "c", revision=3, take=100) == [same_revision[0]]
    assert await journal.history("device", "a", revision=12, take=100) == []


async def test_a_long_history_is_read_in_pages(shelf: Shelf) -> None:
    """A history of 2,000 versions can be walked page by page."""
    written = [change(revision, version=revision, previous=revision - 1) for revision in range(1, 2_001)]
    for start in range(0, 2_000, 1_000):
        await append(shelf.journal, written[start : start + 1_000])
    found: list[Change] = []
    revision = 2_000
    while revision:
        page = await shelf.journal.history("configuration", "a", revision=revision, take=300)
        found += page
        revision = page[-1].previous
    assert found == written[::-1]


async def test_since_gives_whole_transactions(shelf: Shelf) -> None:
    """Reading on from any revision gives whole transactions, at least one, and misses nothing."""
    sizes = {1: 1, 2: 5, 4: 1, 5: 2, 9: 3}
    written = [
        change(revision, key=f"{revision} {number}") for revision, size in sizes.items() for number in range(size)
    ]
    await append(shelf.journal, written)
    journal = await shelf.reopen()
    for take in (1, 2, 3, 5, 6, 100):
        for start in range(11):
            page = await journal.since(start, take=take)
            later = [change for change in written if change.revision > start]
            assert page == later[: len(page)]
            assert len(page) >= min(take, len(later))
            assert len(page) < take + max(sizes.values())
            assert page == [change for change in later if change.revision <= (page[-1].revision if page else 0)]


async def test_since_ends_when_it_has_enough_content(shelf: Shelf) -> None:
    """However many changes are asked for, a page ends with the transaction that reaches a few megabytes."""
    half = SINCE_BYTES // 2
    sizes = {1: [half - 1], 2: [half], 3: [1], 4: [half, half, half], 5: [2 * SINCE_BYTES], 6: [0]}
    for revision, contents in sizes.items():
        await append(shelf.journal, [change(revision, f"{n}", content=bytes(size)) for n, size in enumerate(contents)])
    journal = await shelf.reopen()
    for start, revisions in ((0, [1, 2, 3]), (1, [2, 3, 4, 4, 4]), (3, [4, 4, 4]), (4, [5]), (5, [6]), (6, [])):
        assert [found.revision for found in await journal.since(start, take=1_000)] == revisions


async def test_an_outline_tells_of_changes_without_their_content(shelf: Shelf) -> None:
    """It goes forwards from any place to a revision, in pages, and has a record's name, rank and size."""
    written = [change(1, "a", content=b"123"), change(1, "b", content=None, kind="device"), change(5, "é\0", ordinal=7)]
    await append(shelf.journal, written)
    await append(shelf.journal, [change(6, content=b"")])
    journal = await shelf.reopen()
    found = await journal.outline(0, before=7, take=10)
    assert [(one.revision, one.kind, one.key, one.ordinal, one.size) for one in found] == [
        (1, "configuration", "a", 1, 3),
        (1, "device", "b", 1, 0),
        (5, "configuration", "é\0", 7, 1),
        (6, "configuration", "a", 1, 0),
    ]
    assert [one.place for one in found] == sorted({one.place for one in found})
    assert await journal.outline(0, before=6, take=10) == found[:3]
    assert await journal.outline(0, before=1, take=10) == []
    for number, one in enumerate(found):
        assert await journal.outline(one.place, before=7, take=2) == found[number + 1 : number + 3]


async def test_what_is_removed_is_gone_and_nothing_else(shelf: Shelf) -> None:
    """Removed changes are in no reading any more; their neighbours and the places of the others are as before."""
    journal, places, revision = shelf.journal, [], 1
    kept: list[Change] = []
    for size in (1, 2, 3, 63, 65, 1_000, MAX_APPEND):
        written = [change(n, f"key {n}") for n in range(revision, revision + size + 2)]
        for start in range(0, len(written), 1_000):
            await append(journal, written[start : start + 1_000])
        outlines = (await journal.outline(0, before=1 << 40, take=10_000))[len(kept) :]
        await journal.remove([outline.place for outline in outlines[1:-1]])
        journal = await shelf.reopen()
        kept += [written[0], written[-1]]
        places += [outlines[0], outlines[-1]]
        assert await everything(journal) == kept
        assert await journal.outline(0, before=1 << 40, take=100) == places
        assert await journal.since(0, take=100) == kept
        await journal.remove([outlines[1].place])  # again: nothing to do
        revision += len(written)
    after = change(revision)
    await append(journal, [after])
    assert await everything(journal) == [*kept, after]


async def test_a_history_ends_where_a_change_was_removed(shelf: Shelf) -> None:
    """Changes before a removed one are not shown, even if they still exist."""
    written = [change(n, version=n, previous=n - 1, ordinal=n) for n in range(1, 7)]
    await append(shelf.journal, written)
    outlines = await shelf.journal.outline(0, before=7, take=10)
    await shelf.journal.remove([outlines[2].place])
    assert await shelf.journal.history("configuration", "a", revision=6, take=10) == written[:2:-1]
    assert await shelf.journal.history("configuration", "a", revision=3, take=10) == []
    assert await shelf.journal.history("configuration", "a", revision=2, take=10) == written[1::-1]


async def test_kinds_without_history_keep_the_last_change_only(shelf: Shelf) -> None:
    """Users and secrets keep only their last change, also within one batch and after a delete."""
    journal, kept = shelf.journal, []
    for r, kind in zip(count(1, 10), sorted(NO_HISTORY), strict=False):  # the first revision of the kind
        last = change(r, kind=kind, content=b"hash 1")
        other = change(r + 1, key="b", kind=kind, id=2, content=b"other")
        kept += [change(r + 2, f"of {kind}"), change(r + 3, f"of {kind}", version=2, previous=r + 2)]
        await append(journal, [last, other])
        await append(journal, kept[-2:])
        second = change(r + 4, kind=kind, version=2, content=b"hash 2", previous=r)
        await append(journal, [second, change(r + 5, kind=kind, version=3, content=b"hash 3", previous=r + 4)])
        last = change(r + 6, kind=kind, version=4, content=b"hash 4", previous=r + 5)
        await append(journal, [last])
        journal = await shelf.reopen()
        assert [found for found in await everything(journal) if found.kind == kind] == [other, last]
        assert [found for found in await everything(journal) if found.kind == "configuration"] == kept
        assert await journal.history(kind, "a", revision=r + 6, take=10) == [last]
        deleted = change(r + 7, kind=kind, version=5, content=None, previous=r + 6)
        await append(journal, [deleted])
        assert [found for found in await everything(journal) if found.kind == kind] == [other, deleted]


async def test_reads_run_beside_appends(shelf: Shelf) -> None:
    """A long read sees the log as it was before an append or after it, never a part of a batch."""
    await append(shelf.journal, [change(revision, key=str(revision)) for revision in range(1, 1_001)])
    reading = shelf.journal.changes()
    first = await anext(reading)
    await append(shelf.journal, [change(1_001, key="new"), change(1_001, key="newer")])
    found = first + [change async for portion in reading for change in portion]
    assert len(found) in (1_000, 1_002)


async def test_notes_are_kept_and_the_last_one_wins(shelf: Shelf) -> None:
    """Notes outlive the process, are overwritten or removed one by one, and leave the log alone."""
    await shelf.journal.remember({"a": "1", "ключ": "значение", "b": "1"})
    await shelf.journal.remember({"a": "2", "b": "", "%": "x"})
    journal = await shelf.reopen()
    assert await journal.notes() == {"a": "2", "ключ": "значение", "%": "x"}
    assert await everything(journal) == []


async def test_the_epoch_names_one_history(shelf: Shelf, data: Path) -> None:
    """The epoch is the same after reopening and differs between two logs."""
    epoch = shelf.journal.epoch
    assert len(epoch) >= 16
    assert (await shelf.reopen()).epoch == epoch
    other = SqliteJournal(data.with_name("other.db"))
    await other.open()
    assert other.epoch not in ("", epoch)
    await other.close()
    assert MemoryJournal().epoch not in (MemoryJournal().epoch, epoch)


async def test_a_log_may_be_closed_twice(shelf: Shelf) -> None:
    """Closing a log again does nothing, and its changes are kept."""
    await append(shelf.journal, [change(1)])
    await shelf.journal.close()
    await shelf.journal.close()
    assert await everything(await shelf.open()) == [change(1)]


async def test_an_append_with_concurrent_notes_is_durable_when_it_returns(data: Path) -> None:
    """Notes that are saved at the same moment do not delay a commit beyond its answer: a second reader sees it."""
    journal = SqliteJournal(data)
    await journal.open()
    reader = sqlite3.connect(data)
    try:
        for revision in range(1, 60):
            kind = "user" if revision % 2 else "configuration"
            note = asyncio.create_task(journal.remember({f"lastLogin:{revision}": "1"}))
            await append(journal, [change(revision, f"k{revision}", kind=kind, id=revision)])
            (last,) = reader.execute("SELECT max(place) / 1024 FROM change").fetchone()
            assert last == revision
            await note
    finally:
        reader.close()
        await journal.close()


async def test_reads_do_not_wait_for_a_commit(data: Path) -> None:
    """While a commit is stuck, readers get what is stored."""
    journal = SqliteJournal(data)
    await journal.open()
    blocker = sqlite3.connect(data, isolation_level=None)
    try:
        await append(journal, [change(1)])
        blocker.execute("BEGIN IMMEDIATE")
        commit = asyncio.create_task(append(journal, [change(2, version=2, previous=1)]))
        await asyncio.sleep(0)
        assert await journal.since(0, take=10) == [change(1)]
        assert await journal.history("configuration", "a", revision=1, take=10) == [change(1)]
        assert await everything(journal) == [change(1)]
        assert len(await journal.outline(0, before=9, take=10)) == 1
        assert not commit.done()
        blocker.execute("ROLLBACK")
        await commit
        assert len(await journal.since(0, take=10)) == 2
    finally:
        blocker.close()
        await journal.close()


async def test_a_transaction_that_was_left_open_takes_nothing_with_it(data: Path) -> None:
    """When a failed transaction could not be rolled back, the next write is durable nevertheless."""
    journal = SqliteJournal(data)
    await journal.open()
    reader = sqlite3.connect(data)
    try:
        for write in (
            lambda: append(journal, [change(1)]),
            lambda: append(journal, [change(2, kind="user")]),
            lambda: journal.remember({"a": "b"}),
        ):
            assert journal._writers is not None
            await journal._writers.execute("BEGIN IMMEDIATE")
            await journal._writers.execute("INSERT INTO meta VALUES ('left', 'open')")
            await write()  # type: ignore[no-untyped-call]
            assert reader.execute("SELECT 1 FROM meta WHERE name = 'left'").fetchall() == []
        assert [row[0] // 1_024 for row in reader.execute("SELECT place FROM change ORDER BY place")] == [1, 2]
        assert await journal.notes() == {"a": "b"}
    finally:
        reader.close()
        await journal.close()


# The audit.


async def test_rows_of_the_audit_are_kept_beside_the_log(shelf: Shelf) -> None:
    """They are read newest first, survive a restart, and are removed by number; the log knows nothing of them."""
    assert await shelf.journal.read_audit(AuditFilter(), before=1 << 62, take=10) == []
    rows = [
        AuditRow(1, "login", "ann", 0, "ann", "::1", 1, '{"how":"password"}'),
        AuditRow(2, "activity", "t1", 7, "sync", None, 3, "{}"),
        AuditRow(3, "token", "b\0ß", 0, None, None, 1, "{}"),
    ]
    await shelf.journal.append_audit(rows[:2])
    await shelf.journal.append_audit(rows[2:])
    if isinstance(shelf.journal, SqliteJournal | Served):
        await shelf.reopen()
    found = await shelf.journal.read_audit(AuditFilter(), before=1 << 62, take=10)
    assert [replace(row, number=0) for row in found] == rows[::-1]
    assert found[0].number > found[1].number > found[2].number > 0
    for wanted, kinds in (
        (AuditFilter(kind="login"), ["login"]),
        (AuditFilter(kind="login", others=True), ["token", "activity"]),
        (AuditFilter(subject="t1", record_id=7), ["activity"]),
        (AuditFilter(record_id=8), []),
        (AuditFilter(author="ann"), ["login"]),
        (AuditFilter(until=2), ["activity", "login"]),
    ):
        assert [row.kind for row in await shelf.journal.read_audit(wanted, before=1 << 62, take=10)] == kinds
    later = await shelf.journal.read_audit(AuditFilter(), before=found[0].number, take=1, skip=1)
    assert [row.kind for row in later] == ["login"]
    await shelf.journal.remove_audit([found[0].number, found[2].number])
    left = await shelf.journal.read_audit(AuditFilter(), before=1 << 62, take=10)
    assert [row.kind for row in left] == ["activity"]
    assert await everything(shelf.journal) == []


async def test_a_change_of_an_audited_kind_is_a_row_of_the_audit(shelf: Shelf) -> None:
    """The row is written with the change, without its content; other kinds have none."""
    expected: list[tuple[str, str, str | None, str]] = []
    for first, kind in zip(count(1, 2), sorted(AUDITED), strict=False):
        put = change(first, "ann", 1, b"a hash", kind=kind, author="bob")
        await append(shelf.journal, [put, change(first, f"beside {kind}")])
        await append(shelf.journal, [change(first + 1, "ann", 2, None, kind=kind, previous=first)])
        expected = [
            (kind, "ann", None, f'{{"operation":"delete","version":2,"revision":{first + 1}}}'),
            (kind, "ann", "bob", f'{{"operation":"put","version":1,"revision":{first}}}'),
            *expected,
        ]
    found = await shelf.journal.read_audit(AuditFilter(), before=1 << 62, take=100)
    assert [(row.kind, row.subject, row.author, row.detail) for row in found] == expected


async def test_a_change_that_failed_has_no_row(data: Path) -> None:
    """Both are in one transaction, whatever fails in it."""
    journal = SqliteJournal(data)
    await journal.open()
    await append(journal, [change(1, "ann", kind="tenant")])
    with pytest.raises(NotDurable):  # the place is taken
        await journal.append([change(1, "bob", kind="tenant")], behind=1)
    found = await journal.read_audit(AuditFilter(), before=1 << 62, take=10)
    assert [row.subject for row in found] == ["ann"]
    await journal.close()
