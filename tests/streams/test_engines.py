"""The contract of `streams/contract.py`, held against every engine."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import secrets
import shutil
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from bench.nodes import PASSWORD

from hivewire.files import beside
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Connection, address_of
from hivewire.settings import Settings
from hivewire.streams import sqlite
from hivewire.streams.contract import LOGS, READ_BYTES, Damaged, Loaded, LogEngine, StoreError, StreamEngine
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.message import NotStored, Unreadable
from hivewire.streams.nats import NatsEngine
from hivewire.streams.sqlite import SqliteEngine
from tests.running import process
from tests.streams.parent import Parent
from tests.streams.shared import SharedStore

OPEN = """
    import asyncio, sys
    from pathlib import Path
    from hivewire.streams.contract import StoreError
    from hivewire.streams.sqlite import SqliteEngine

    try:
        asyncio.run(SqliteEngine(Path(sys.argv[1])).open("ledger"))
    except StoreError as error:
        print(error)
"""
"""Opens a file, and says why it cannot."""


Clusters = Callable[[int], str]
Make = Callable[[str], StreamEngine]
"""Makes the engine of a gateway."""


def memory(path: Path, clusters: Clusters) -> Make:
    """Its messages do not outlive its object."""
    engine = MemoryEngine()
    return lambda gateway: engine


def sqlite_(path: Path, clusters: Clusters) -> Make:
    return lambda gateway: SqliteEngine(path)


def shared(path: Path, clusters: Clusters) -> Make:
    store = SharedStore()
    return lambda gateway: store.engine()


def parent(path: Path, clusters: Clusters) -> Make:
    served = Parent(path)
    return lambda gateway: served.engine()


class OverNats(NatsEngine):
    """With a connection of its own."""

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        await self._connection.open(30.0)
        await super().open(ledger_epoch, damage=damage)

    async def close(self) -> None:
        await super().close()
        await self._connection.close()

    async def remove(self) -> None:
        """From the servers: they have room for a few sites."""
        address = self._connection.address
        connection = Connection(address, self._connection._settings, "the end")  # a test may have closed the other
        await connection.open(30.0)
        for letter in "CN":
            await connection.api(f"STREAM.DELETE.HW{letter}_{address.site}")
        await connection.close()


def over_nats(path: Path, store: str) -> Make:
    """On a site that nobody else has."""
    site = store.format(site=secrets.token_hex(8))
    settings = Settings(store=site, store_password=PASSWORD, messages_bytes=64 << 20)

    def make(gateway: str) -> StreamEngine:
        site = NatsBroadcast(Connection(address_of(settings.store or ""), settings, gateway))
        return OverNats(site, settings, path.with_name(gateway + path.name))

    return make


ENGINES: dict[str, Callable[[Path, Clusters], Make]] = {
    "memory": memory,
    "sqlite": sqlite_,
    "shared": shared,
    "parent": parent,
    "nats": lambda path, clusters: over_nats(path, clusters(1)),
}
"""For each engine, what makes it ready to be opened, again and again; `path` is free for its file."""


class Shelf:
    """A place where one engine keeps its logs, so that it can be closed and opened again."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self.engine: StreamEngine

    async def open(self) -> LogEngine:
        """The log of commands."""
        self.engine = self._make("")
        await self.engine.open("ledger")
        return self.engine.log("commands")

    async def reopen(self) -> LogEngine:
        """Close it and open it again."""
        await self.engine.close()
        return await self.open()


class Told:
    """Keeps what a follower is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []
        self.headers: list[bytes] = []
        self.oldest = 1

    def take(self, number: int, entry: bytes) -> None:
        self.entries.append((number, entry))

    def closed(self, header: bytes) -> None:
        self.headers.append(header)

    def dropped(self, oldest: int) -> None:
        self.oldest = oldest


@pytest.fixture(params=ENGINES)
async def shelf(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> AsyncIterator[Shelf]:
    shelf = Shelf(ENGINES[request.param](tmp_path / "hivewire.db.messages", clusters))
    await shelf.open()
    yield shelf
    if isinstance(shelf.engine, OverNats):
        await shelf.engine.remove()
    await shelf.engine.close()


@pytest.fixture
def log(shelf: Shelf) -> LogEngine:
    return shelf.engine.log("commands")


async def loaded(log: LogEngine) -> Loaded:
    """What it has; it is followed from then on."""
    found = await log.load()
    await log.follow(Told())
    return found


async def filled(log: LogEngine, count: int) -> list[tuple[int, bytes]]:
    entries = [(number, b"entry %d" % number) for number in range(1, count + 1)]
    for number, entry in entries:
        await log.append(number, entry)
    return entries


async def test_a_new_log_is_empty(shelf: Shelf) -> None:
    """A new log begins with entry 1; both logs have epochs of their own."""
    for name in LOGS:
        found = await loaded(shelf.engine.log(name))
        assert (found.oldest, found.headers, found.entries) == (1, [], [])
    assert shelf.engine.log("commands").epoch != shelf.engine.log("notifications").epoch
    assert shelf.engine.log("commands").epoch.isalnum()


async def test_entries_are_there_after_a_restart(shelf: Shelf, log: LogEngine) -> None:
    """Every byte of them, in their log only, and the epoch is the same."""
    await loaded(log)
    entries = await filled(log, 3)
    await log.append(4, bytes(range(256)) * 8_000)
    entries.append((4, bytes(range(256)) * 8_000))
    epoch = log.epoch
    log = await shelf.reopen()
    assert (await loaded(log)).entries == entries
    assert log.epoch == epoch
    assert (await loaded(shelf.engine.log("notifications"))).entries == []


async def test_entries_are_read_forwards_and_by_number(log: LogEngine) -> None:
    """In order, as many as wanted; those that are not there are left out."""
    await loaded(log)
    entries = await filled(log, 9)
    assert await log.forward(3, 4) == entries[2:6]
    assert await log.forward(8, 9) == entries[7:]
    assert await log.forward(10, 9) == []
    assert await log.pick([2, 5, 70]) == [entries[1], entries[4]]


async def test_a_portion_ends_when_it_is_large(log: LogEngine) -> None:
    """It has at least one entry, however large that is."""
    await loaded(log)
    for number in range(1, 5):
        await log.append(number, bytes(READ_BYTES - 1))
    assert [number for number, _ in await log.forward(1, 100)] == [1, 2]
    await log.append(5, bytes(READ_BYTES * 2))
    assert [number for number, _ in await log.forward(5, 100)] == [5]


async def test_a_closed_segment_is_loaded_as_its_header(shelf: Shelf, log: LogEngine) -> None:
    """A start gets the headers and the entries behind them; postings are read when they are needed."""
    await loaded(log)
    entries = await filled(log, 3)
    await log.seal(1, 3, b"header", b"postings")
    for number in (4, 5):
        await log.append(number, b"entry %d" % number)
    await log.seal(4, 5, b"header 2", b"postings 2")
    await log.append(6, b"entry 6")
    log = await shelf.reopen()
    found = await loaded(log)
    assert (found.headers, found.entries) == ([b"header", b"header 2"], [(6, b"entry 6")])
    assert (await log.postings(1), await log.postings(4), await log.postings(6)) == (b"postings", b"postings 2", None)
    assert await log.pick([1, 2, 3]) == entries


async def test_what_is_dropped_is_gone(shelf: Shelf, log: LogEngine) -> None:
    """Entries and segments before the oldest; the log remembers where it begins, also when it is empty."""
    await loaded(log)
    entries = await filled(log, 4)
    await log.seal(1, 4, b"header", b"postings")
    await log.append(5, b"entry 5")
    await log.drop(5, 50)
    assert await log.forward(1, 10) == [(5, b"entry 5")]
    assert await log.pick([1, 4]) == []
    assert await log.postings(1) is None
    log = await shelf.reopen()
    found = await loaded(log)
    assert (found.oldest, found.clock, found.headers, found.entries) == (5, 50, [], [(5, b"entry 5")])
    await log.seal(5, 5, b"header", b"postings")
    await log.drop(6, 60)
    log = await shelf.reopen()
    found = await loaded(log)
    assert (found.oldest, found.clock, found.headers, found.entries) == (6, 60, [], [])
    assert entries


async def test_both_logs_are_written_at_once(shelf: Shelf) -> None:
    """An append to one log within the transaction of the other is no part of it."""
    commands, notifications = (shelf.engine.log(name) for name in LOGS)
    for log in (commands, notifications):
        await loaded(log)
    await filled(commands, 50)

    async def drops() -> None:
        for oldest in range(2, 50):
            await commands.drop(oldest, oldest)

    await asyncio.gather(drops(), filled(notifications, 50))
    commands = await shelf.reopen()
    assert (await loaded(commands)).oldest == 49
    assert len((await loaded(shelf.engine.log("notifications"))).entries) == 50


async def test_a_closed_engine_refuses(shelf: Shelf, log: LogEngine) -> None:
    """The durable one; memory stays what it is."""
    if isinstance(shelf.engine, MemoryEngine):
        pytest.skip("memory is never closed")
    await loaded(log)
    await shelf.engine.close()
    with pytest.raises(NotStored):
        await log.append(1, b"")
    if not log.shared:
        with pytest.raises(Unreadable):
            await log.forward(1, 1)


async def test_entries_are_told_before_append_returns(shelf: Shelf, log: LogEngine) -> None:
    """As the same object, with its number, when it can be read; those that were loaded are not told again."""
    await loaded(log)
    await filled(log, 2)
    log = await shelf.reopen()
    await log.load()
    told = (follower := Told()).entries
    await log.follow(follower)
    assert told == []
    entry = bytes(100)
    assert await log.append(3, entry)
    assert told == [(3, entry)]
    assert told[0][1] is entry
    assert await log.forward(3, 1) == told
    await log.confirm()
    assert told == [(3, entry)]


# A log that several gateways share.


SHARED = {name: make for name, make in ENGINES.items() if name not in ("memory", "sqlite")}


class Gateway:
    """The log of commands as one gateway has it, and what it was told."""

    def __init__(self, engine: StreamEngine) -> None:
        self.engine = engine
        self.log = engine.log("commands")
        self.follower = Told()
        self.told = self.follower.entries

    async def open(self) -> None:
        """Load and follow it."""
        await self.engine.open("ledger")
        await self.log.load()
        await self.log.follow(self.follower)


@pytest.fixture(params=SHARED)
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    make = SHARED[request.param](tmp_path / "messages", clusters)
    mine, other = Gateway(make("one")), Gateway(make("two"))
    for gateway in (mine, other):
        await gateway.open()
    yield mine, other
    if isinstance(mine.engine, OverNats):
        await mine.engine.remove()
    for gateway in (mine, other):
        await gateway.engine.close()


async def test_an_entry_that_comes_too_late_is_not_stored(pair: tuple[Gateway, Gateway]) -> None:
    """Who is behind has got the entry that stands there, and can append the next one."""
    mine, other = pair
    assert mine.log.epoch == other.log.epoch
    assert await other.log.append(1, b"theirs")
    assert not await mine.log.append(1, b"mine")
    assert mine.told == [(1, b"theirs")]
    assert await mine.log.append(2, b"mine")
    await other.log.confirm()
    assert mine.told == other.told == [(1, b"theirs"), (2, b"mine")] == await other.log.forward(1, 9)


async def test_the_keeper_of_a_storage_tells_the_others(pair: tuple[Gateway, Gateway]) -> None:
    """What it has closed and dropped; where each gateway has a storage of its own, each is the keeper of that."""
    mine, other = pair
    assert mine.log.keeper
    assert await mine.log.append(1, b"entry")
    await mine.log.seal(1, 1, b"header", b"postings")
    await mine.log.drop(2, 20)
    await other.log.confirm()
    assert (mine.follower.headers, mine.follower.oldest) == ([], 1)
    expected = ([], 1) if other.log.keeper else ([b"header"], 2)
    assert (other.follower.headers, other.follower.oldest) == expected


async def test_of_many_appends_each_stands_once(pair: tuple[Gateway, Gateway]) -> None:
    """Both gateways append as fast as they can, and are told the same."""

    async def append(gateway: Gateway, name: bytes) -> None:
        for number in range(20):
            while not await gateway.log.append(len(gateway.told) + 1, b"%b %d" % (name, number)):
                pass

    mine, other = pair
    await asyncio.gather(append(mine, b"mine"), append(other, b"other"))
    for gateway in pair:
        await gateway.log.confirm()
    assert mine.told == other.told
    for name in (b"mine", b"other"):
        found = [entry for _, entry in mine.told if entry.startswith(name)]
        assert found == [b"%b %d" % (name, number) for number in range(20)]


# The file.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hivewire.db.messages"


async def opened(path: Path, ledger_epoch: str = "ledger") -> SqliteEngine:
    engine = SqliteEngine(path)
    await engine.open(ledger_epoch)
    return engine


async def written(path: Path) -> str:
    """A file with one command; returns the epoch of that log."""
    engine = await opened(path)
    await engine.log("commands").append(1, b"entry")
    await engine.close()
    return engine.log("commands").epoch


def asides(path: Path) -> list[Path]:
    return [
        one for one in path.parent.iterdir() if ".set-aside-" in one.name and not one.name.endswith(("-wal", "-shm"))
    ]


async def begins_anew(path: Path, epoch: str, ledger_epoch: str = "ledger") -> None:
    """The file is renamed, and the new one has nothing, and another epoch."""
    engine = await opened(path, ledger_epoch)
    log = engine.log("commands")
    assert (await log.load()).entries == []
    assert log.epoch != epoch
    await engine.close()
    assert len(asides(path)) == 1


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    """Messages may hold secrets."""
    await written(path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_transaction_that_was_left_open_holds_nothing_back(path: Path) -> None:
    """Where its rollback failed: the next entry is durable all the same."""
    engine = SqliteEngine(path)
    await engine.open("ledger")
    assert engine._writers is not None
    await engine._writers.execute("BEGIN IMMEDIATE")
    await engine.log("commands").append(1, b"entry")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT messages FROM commands").fetchall() == [(b"entry",)]
    await engine.close()


async def test_to_confirm_writes_only_after_a_failure(path: Path) -> None:
    """Whoever asks for a command that is not there confirms the log: that must cost no write."""
    engine = await opened(path)
    log = engine.log("commands")

    def probed() -> bool:
        with closing(sqlite3.connect(path)) as other:
            return bool(other.execute("SELECT * FROM meta WHERE name = 'probe'").fetchall())

    found = []
    await log.append(1, b"entry")
    await log.confirm()
    found.append(probed())
    with pytest.raises(NotStored):
        await log.append(1, b"there is one")
    await log.confirm()
    found.append(probed())
    assert engine._writers is not None
    await engine._writers.execute("DELETE FROM meta WHERE name = 'probe'")
    await log.confirm()
    found.append(probed())
    await engine.close()
    assert found == [False, True, False]


async def test_a_file_of_another_ledger_is_set_aside(path: Path) -> None:
    """Its messages belong to devices of other records."""
    await begins_anew(path, await written(path), "another")


async def test_a_missing_file_is_made_anew(path: Path) -> None:
    """With other epochs."""
    epoch = await written(path)
    path.unlink()
    engine = await opened(path)
    assert engine.log("commands").epoch != epoch
    await engine.close()


@pytest.mark.parametrize("content", [b"something else", b"SQLite format 3\0" + bytes(200)])
async def test_a_file_that_is_no_file_of_messages_is_set_aside(path: Path, content: bytes) -> None:
    """It is not deleted."""
    path.write_bytes(content)
    await begins_anew(path, "")
    assert asides(path)[0].read_bytes() == content


async def test_a_file_of_which_only_a_part_could_be_set_aside_is_kept_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails, and the next one renames the rest and begins anew."""
    await written(path)
    beside(path, "-wal").write_bytes(b"wal")
    parts, rename = {each.read_bytes() for each in path.parent.iterdir()}, Path.rename

    def fail(self: Path, target: Path) -> None:
        if self.name.endswith("-wal"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(StoreError, match="-wal: Input/output error"):
            await opened(path, "another")
    await (await opened(path, "another")).close()
    assert parts <= {each.read_bytes() for each in path.parent.glob("*.set-aside-*")}


async def test_a_file_that_lost_its_wal_is_set_aside(path: Path, tmp_path: Path) -> None:
    """Its last messages are missing, so nobody may resume in it. One that was closed needs no WAL."""
    epoch = await written(path)
    engine = await opened(path)
    assert engine.log("commands").epoch == epoch
    await engine.log("commands").load()
    await engine.log("commands").append(2, b"entry")
    lost = tmp_path / "copied" / path.name
    lost.parent.mkdir()
    lost.write_bytes(path.read_bytes())
    await engine.close()
    await begins_anew(lost, epoch)


async def test_a_file_whose_wal_was_emptied_is_set_aside(path: Path, tmp_path: Path) -> None:
    """As without its WAL: what was answered is missing."""
    epoch = await written(path)
    engine = await opened(path)
    await engine.log("commands").load()
    await engine.log("commands").append(2, b"entry")
    lost = tmp_path / "copied" / path.name
    lost.parent.mkdir()
    lost.write_bytes(path.read_bytes())
    lost.with_name(path.name + "-wal").touch()
    await engine.close()
    await begins_anew(lost, epoch)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_file_of_a_gateway_that_was_killed_at_its_start_is_used(
    path: Path, tmp_path: Path, begun: bool
) -> None:
    """Its WAL is empty in the midst of the start, and nothing is missing."""
    epoch = await written(path)
    engine = await opened(path)
    if not begun:
        assert engine._writers is not None
        await engine._writers.executescript(f"{sqlite._noted(sqlite.OPENING)} PRAGMA wal_checkpoint(TRUNCATE);")
    killed = tmp_path / "copied" / path.name
    killed.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), killed.with_name(killed.name + suffix))
    await engine.close()
    assert bool(killed.with_name(killed.name + "-wal").stat().st_size) == begun
    engine = await opened(killed)
    loaded = await engine.log("commands").load()
    await engine.close()
    assert (engine.log("commands").epoch, loaded.entries) == (epoch, [(1, b"entry")])


async def test_a_wal_without_its_file_is_set_aside(path: Path, tmp_path: Path) -> None:
    """It may have the last messages, and SQLite would delete it."""
    engine = await opened(path)
    await engine.log("commands").load()
    await engine.log("commands").append(1, b"entry")
    wal = path.with_name(path.name + "-wal").read_bytes()
    lost = tmp_path / "copied" / path.name
    lost.parent.mkdir()
    lost.with_name(path.name + "-wal").write_bytes(wal)
    await engine.close()
    await (await opened(lost)).close()
    [aside] = lost.parent.glob("*.set-aside-*-wal")
    assert aside.read_bytes() == wal


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_what_is_no_regular_file_is_refused(path: Path, suffix: str, make: Callable[[Path], None]) -> None:
    """At once, with its name: who opens a named pipe waits for ever."""
    if suffix:
        await (await opened(path)).close()
    name = path.with_name(path.name + suffix)
    make(name)
    with pytest.raises(StoreError, match=f"cannot use {name}: it is not a regular file"):
        await opened(path)


async def test_a_link_leads_to_a_file_with_its_wal(path: Path, tmp_path: Path) -> None:
    """Somebody may keep the messages on another disk: after a kill everything is there."""
    engine = await opened(path)
    await engine.log("commands").load()
    await engine.log("commands").append(1, b"entry")
    disk, link = tmp_path / "disk" / "messages", tmp_path / "other.db.messages"
    disk.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), disk.with_name(disk.name + suffix))
    await engine.close()
    link.symlink_to(disk)
    engine = await opened(link)
    loaded = await engine.log("commands").load()
    await engine.close()
    assert loaded.entries == [(1, b"entry")]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_file_of_another_user_is_no_damage(path: Path, suffix: str) -> None:
    """The start is refused and names it, instead of beginning without messages."""
    await written(path)
    closed = path.with_name(path.name + suffix)
    closed.touch(0)
    found = process(OPEN, path, powerless=True)
    assert (found.returncode, found.stdout) == (0, f"cannot use {closed}: Permission denied\n"), found.stderr
    assert asides(path) == []


async def test_damage_is_found_when_it_is_read(path: Path) -> None:
    """By a start in what it reads, and later in the rest."""
    await written(path)
    engine = await opened(path)
    log = engine.log("commands")
    await log.load()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE commands SET messages = x'00'")
        connection.commit()
    with pytest.raises(Unreadable):
        await log.forward(1, 1)
    await engine.close()
    engine = await opened(path)
    with pytest.raises(Damaged):
        await engine.log("commands").load()
    await engine.close()


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_nothing_is_written_to_a_file_that_was_replaced(path: Path, suffix: str) -> None:
    """What would be lost at the next start is refused."""
    await written(path)
    engine = await opened(path)
    log = engine.log("commands")
    await log.load()
    path.with_name(path.name + suffix).rename(path.with_name("elsewhere"))
    with pytest.raises(NotStored, match="replaced or removed"):
        await log.append(2, b"entry")
    await engine.close()


async def test_a_stop_while_the_disk_is_full_keeps_what_was_stored(path: Path) -> None:
    """No file can grow, so the note that the file is closed has to fit into what its WAL has already."""
    engine = await opened(path)
    log = engine.log("commands")
    entries = [(number, b"entry") for number in range(1, 33)]
    for entry in entries:  # so that the WAL is longer than the file
        await log.append(*entry)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size, hard))
    try:
        with pytest.raises(NotStored):
            await log.append(33, b"entry")
        await engine.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    engine = await opened(path)
    found = await engine.log("commands").load()
    await engine.close()
    assert (found.entries, asides(path)) == (entries, [])


async def test_a_read_only_directory_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there; and where nothing is, there is an empty log. Nothing can be inserted."""
    await written(path)
    monkeypatch.setattr("os.access", lambda *_: False)  # the superuser may write everywhere
    for place, entries in ((path, [(1, b"entry")]), (path.with_name("nothing"), [])):
        engine = await opened(place)
        log = engine.log("commands")
        assert (await log.load()).entries == entries
        with pytest.raises(NotStored, match="read-only at the start; restart the gateway"):
            await log.append(2, b"entry")
        await engine.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


class Counted(int):
    """A number that counts the comparisons with it."""

    compared = 0

    def __ge__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__ge__(other)  # type: ignore[operator]


async def test_memory_goes_through_the_entries_asked_for_only() -> None:
    """Also when there are a million of them: to load and to drop some holds nobody up."""
    log = MemoryEngine().log("commands")
    for number in range(1, 20_001):
        await log.append(Counted(number), b"entry")
    await log.seal(1, 19_999, b"header", b"postings")
    Counted.compared = 0
    assert (await log.load()).entries == [(20_000, b"entry")]
    assert Counted.compared < 100
    tracemalloc.start()
    try:
        await log.drop(2, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000
    assert await log.forward(1, 1) == [(2, b"entry")]
