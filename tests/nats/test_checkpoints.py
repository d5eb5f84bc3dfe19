"""Checkpoints of a shared ledger, and what is removed with them, over a real server."""

from __future__ import annotations

import secrets
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from bench.nodes import PASSWORD
from msgspec import msgpack
from msgspec.structs import replace

from hivewire.ledger.engines.nats import checkpoint
from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import SqliteCache
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import AuditFilter, AuditRow, JournalError, Transaction, Write
from hivewire.nats import stream as streams
from hivewire.nats.connection import Silent
from hivewire.settings import Settings
from tests.ledger.test_shared_log import put, state

SECONDS = 30.0


class Site:
    """Ledgers that share a log."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store = store.format(site=secrets.token_hex(8))
        self.folder = folder
        self.open: dict[str, tuple[Ledger, NatsJournal]] = {}

    def journal(self, name: str) -> NatsJournal:
        path = self.folder / f"{name}.db"
        return NatsJournal(Settings(data=str(path), store=self.store, store_password=PASSWORD), SqliteCache(path))

    async def gateway(self, name: str) -> tuple[Ledger, NatsJournal]:
        journal = self.journal(name)
        ledger = Ledger(journal, lambda: 1_700_000_000_000)
        self.open[name] = ledger, journal
        await ledger.open()
        return ledger, journal

    async def close(self, name: str) -> None:
        ledger, _ = self.open.pop(name)
        await ledger.close()


@pytest.fixture
async def site(clusters: Callable[[int], str], tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(clusters(1), tmp_path)
    yield site
    _, journal = next(iter(site.open.values()))
    for stream in (journal._wanted["name"], journal._checkpoints.stream):
        await journal._connection.api(f"STREAM.DELETE.{stream}")
    for ledger, _ in site.open.values():
        await ledger.close()


async def write(ledger: Ledger, count: int, prefix: str = "name") -> None:
    """Many small transactions, one with many writes, a user, a delete, and a row of the audit."""
    for number in range(count):
        await ledger.commit(put(f"{prefix} {number % 7}", b"x" * number))
    await ledger.commit(Transaction([Write("configuration", f"{prefix} of many {n}", b"y") for n in range(1_000)]))
    await ledger.commit(Transaction([Write("user", f"{prefix}@example", b"{}"), Write("configuration", "a", b"")]))
    await ledger.commit(Transaction([Write("configuration", f"{prefix} 0", None)]))
    await ledger.audit.write(AuditRow(5, "activity", prefix))


async def kept(journal: NatsJournal) -> Any:
    """Everything that is kept locally."""
    changes = [change async for portion in journal.changes() for change in portion]
    return changes, await journal.read_audit(AuditFilter(), before=1 << 60, take=10_000)


async def info(journal: NatsJournal, stream: str) -> streams.Info:
    found = await streams.inspect(journal._connection, stream, SECONDS)
    assert found is not None
    return found


async def test_a_new_gateway_starts_from_a_checkpoint(site: Site) -> None:
    """It has the same state, history, audit and notes as one that read the whole log, also what was written since."""
    ledger, journal = await site.gateway("a")
    await write(ledger, 30)
    await journal.remember({"lastLogin:1": "7"})
    await journal._upkeep.make(journal.log)
    await write(ledger, 5, "later")
    other, others = await site.gateway("b")
    assert state(other) == state(ledger)
    assert await kept(others) == await kept(journal)
    assert (await others.notes())["lastLogin:1"] == "7"
    last = ledger.get("configuration", "name 3")
    assert last is not None
    assert await other.history("configuration", "name 3", revision=last.revision, take=9) == await ledger.history(
        "configuration", "name 3", revision=last.revision, take=9
    )
    await other.commit(put("b"))
    assert journal._upkeep.age() > 0


async def test_blocks_are_not_compressed_on_the_event_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block takes up to 0.1 s, and a gateway with many names has dozens."""
    ledger, journal = await site.gateway("a")
    await ledger.commit(put("name"))
    compress, threads = zlib.compress, list[threading.Thread]()

    def noted(data: bytes, level: int) -> bytes:
        threads.append(threading.current_thread())
        return compress(data, level)

    monkeypatch.setattr("zlib.compress", noted)
    await journal._upkeep.make(journal.log)
    assert threads
    assert threading.current_thread() not in threads


async def test_the_log_is_removed_up_to_the_checkpoint_before(site: Site) -> None:
    """So a gateway that was away for two checkpoints starts from the newest one, and one that was away for less goes on
    with its file."""
    ledger, journal = await site.gateway("a")
    long_away, _ = await site.gateway("b")
    await write(ledger, 3)
    await long_away.confirm()
    await site.close("b")
    places = []
    for round in range(3):
        await write(ledger, 3, f"round {round}")
        await journal._upkeep.make(journal.log)
        places.append(journal.tip)
        if round == 1:
            await site.gateway("c")  # away only briefly
            await site.close("c")
    assert (await info(journal, journal._wanted["name"])).first == places[1] + 1
    frames = await journal._connection.api(f"STREAM.INFO.{journal._checkpoints.stream}", {"subjects_filter": "hw.>"})
    assert len(frames["state"]["subjects"]) == 3, "two checkpoints and the manifests"
    assert frames["state"]["subjects"][f"{journal._checkpoints._subject}.manifest"] == 2
    for name in ("b", "c", "new"):
        again, its = await site.gateway(name)
        assert state(again) == state(ledger)
        assert await kept(its) == await kept(journal)


async def test_of_two_checkpoints_at_once_one_stands(site: Site) -> None:
    """The other gateway removes what it wrote, and counts from the one that stands."""
    ledger, journal = await site.gateway("a")
    _, others = await site.gateway("b")
    await write(ledger, 3)
    await others.confirm()
    await journal._upkeep.make(journal.log)
    found = await journal._checkpoints.newest()
    newest = others._checkpoints.newest
    others._checkpoints.newest = lambda: _nothing()  # type: ignore[method-assign]
    async with others._cache.snapshot() as snapshot:
        assert await others._checkpoints.make(snapshot, others.epoch) is None
    others._checkpoints.newest = newest  # type: ignore[method-assign]
    assert await others._checkpoints.newest() == found
    await others._upkeep.make(others.log)
    assert others._upkeep._last == journal._upkeep._last


async def _nothing() -> None:
    return None


async def test_a_checkpoint_that_was_read_half_is_no_copy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that is killed while it reads one begins again; one that is damaged is refused."""
    ledger, journal = await site.gateway("a")
    await write(ledger, 10)
    await journal._upkeep.make(journal.log)

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SqliteCache, "complete", killed)
        half = site.journal("b")
        try:
            await half.open()
        finally:
            await half.close()
    other, _ = await site.gateway("b")
    assert state(other) == state(ledger)
    found = await journal._checkpoints.newest()
    assert found is not None
    await journal._connection.request(f"{journal._checkpoints._subject}.{found[0].id}", b"more", {})
    damaged = site.journal("c")
    with pytest.raises(JournalError, match="damaged, or was replaced"):
        await damaged.open()
    await damaged.close()


async def test_the_manifest_of_a_checkpoint_decides(site: Site) -> None:
    """One of an epoch that the log does not have yet, since a `renew` was broken off, is passed over. One that tells of
    other bytes, or has a newer format, is refused."""
    ledger, journal = await site.gateway("a")
    for prefix in ("removed", "kept"):
        await write(ledger, 3, prefix)
        await journal._upkeep.make(journal.log)
    manifest = journal._upkeep._last
    assert manifest is not None

    async def store(**changed: Any) -> None:
        data = msgpack.encode(replace(manifest, **changed))
        await journal._connection.request(f"{journal._checkpoints._subject}.manifest", data)

    await store(epoch="another")
    other, _ = await site.gateway("b")
    assert state(other) == state(ledger)
    for name, changed, words in (("c", {"sha256": "0" * 64}, "damaged"), ("d", {"format": 99}, "has the format 99")):
        await store(**changed)
        refused = site.journal(name)
        try:
            with pytest.raises(JournalError, match=words):
                await refused.open()
        finally:
            await refused.close()


async def test_a_checkpoint_is_due_after_enough_changes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task makes one by itself, and the other gateways hear of it instead of making another one."""
    monkeypatch.setattr("hivewire.ledger.engines.nats.upkeep.CHANGES", 1_000)
    monkeypatch.setattr("hivewire.ledger.engines.nats.upkeep.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("hivewire.ledger.engines.nats.upkeep.SPREAD_SECONDS", 0)
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 1_000)
    ledger, journal = await site.gateway("a")
    _, others = await site.gateway("b")
    await write(ledger, 3)
    while journal._upkeep._last is None or others._upkeep._last is None:
        await others.confirm()
    assert journal._upkeep._last == others._upkeep._last
    assert journal._upkeep._last.frames > 1
    assert max(journal._upkeep._changes, others._upkeep._changes) < 1_000, "both count from it"
    other, _ = await site.gateway("c")
    assert state(other) == state(ledger)


async def test_a_start_waits_for_a_stream_without_a_leader(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made a moment ago has none for a while."""
    one, _ = await site.gateway("one")
    await write(one, 3)
    newest, silent = checkpoint.Checkpoints.newest, [True, True]

    async def sometimes(self: checkpoint.Checkpoints) -> Any:
        if silent:
            silent.pop()
            raise Silent("no answer")
        return await newest(self)

    monkeypatch.setattr(checkpoint.Checkpoints, "newest", sometimes)
    two, _ = await site.gateway("two")
    assert not silent
    assert state(two) == state(one)


async def test_a_checkpoint_that_is_broken_off_leaves_the_copy_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing reads it any more by then, so that it can be closed."""
    one, journal = await site.gateway("one")
    await write(one, 3)

    request = journal._connection.request

    async def fail(subject: str, *given: Any, **more: Any) -> Any:
        if subject.startswith("hw."):
            raise Silent("no answer")
        return await request(subject, *given, **more)

    monkeypatch.setattr(journal._connection, "request", fail)
    async with journal._cache.snapshot() as snapshot:
        blocks = snapshot.blocks()
        monkeypatch.setattr(snapshot, "blocks", lambda: blocks)
        with pytest.raises(Silent):
            await journal._checkpoints.make(snapshot, journal.epoch)
        assert [block async for block in blocks] == []
    monkeypatch.undo()
