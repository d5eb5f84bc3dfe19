"""Segments: what is read from closed ones, what expires, and what a log has after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from hivewire import slices
from hivewire.streams import reader, segment, stamps, writer
from hivewire.streams.contract import StreamEngine
from hivewire.streams.log import Log
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.message import (
    ROOM,
    KeyReused,
    Message,
    NotFound,
    NotKept,
    Overloaded,
    TooLarge,
    TooMany,
    Update,
    pack,
)
from hivewire.streams.messages import Messages
from hivewire.streams.page import Selection
from hivewire.streams.segment import Header, Known, Recent
from hivewire.streams.sqlite import SqliteEngine
from hivewire_protocol.tenant.steps import Steps, at_once
from tests.streams.kit import DOOR, HOUR, LAMP, START, Clocks, Device, draft, messages_on, of_device, updating
from tests.streams.test_engines import ENGINES, Clusters


class Shelf:
    """Both logs over one engine, which can be closed and opened again."""

    def __init__(self, make: Callable[[], StreamEngine]) -> None:
        self.make = make
        self.clocks = Clocks()
        self.messages: Messages

    async def open(self, **limits: Any) -> Log:
        self.messages = messages_on(self.make(), self.clocks, **limits)
        await self.messages.open("ledger")
        return self.messages.commands

    async def reopen(self, **limits: Any) -> Log:
        await self.messages.close()
        return await self.open(**limits)

    async def tidy(self) -> None:
        """As the timer does, until nothing more is due."""
        await tidied(self.messages.commands)


@pytest.fixture(params=[name for name in ENGINES if name != "nats"])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> AsyncIterator[Shelf]:
    shelf = Shelf(partial(ENGINES[request.param](tmp_path / "hivewire.db.messages", clusters), ""))
    yield shelf
    await shelf.messages.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are closed after four messages."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 4)


async def test_closed_segments_are_read_like_the_open_one(shelf: Shelf) -> None:
    """By id, by device and by place, before a restart and after it."""
    log = await shelf.open()
    inserted = [await log.insert(draft(Device(number % 3), f"{number}")) for number in range(30)]
    updated = {number: await log.update(number % 3, inserted[number].id, updating("new")) for number in (0, 7, 29)}
    last = [updated.get(number, message) for number, message in enumerate(inserted)]
    for _ in range(2):
        assert [await log.get(number % 3, inserted[number].id) for number in range(30)] == last
        assert await log.get(9, inserted[0].id) is None
        for device in range(3):
            assert await of_device(log, device) == last[device::3]
        assert await log.since(log.oldest - 1, take=100) == [*inserted, *updated.values()]
        assert (await log.since(inserted[4].place, take=2))[0] == inserted[5]
        assert await log.since(log.tip, take=2) == []
        assert await log.replay(lambda message: message.device < 2, after=0) == sorted(
            [one for one in last if one.device < 2], key=lambda one: (one.timestamp, one.place)
        )
        log = await shelf.reopen()


async def test_a_page_comes_in_portions_of_a_few_megabytes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has as many messages as a list has by default; those behind it follow from their size."""
    monkeypatch.setattr(reader, "FIRST", 3)
    monkeypatch.setattr(reader, "READ_BYTES", 5_000)
    log = await shelf.open()
    inserted = [await log.insert(draft(value="x" * 1_000)) for _ in range(20)]
    for _ in range(2):
        portions = [portion async for portion in log.portions_of(1, Selection())]
        assert [message for portion in portions for message in portion] == inserted
        assert [len(portion) for portion in portions[:2]] == [3, 5_000 // len(inserted[0].body)]
        assert [portion async for portion in log.portions_of(2, Selection())] == []
        log = await shelf.reopen()


async def test_what_readers_keep_in_memory_is_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay returns the oldest messages until they have so many bytes; of the postings the last ones are kept."""
    monkeypatch.setattr(reader, "REPLAY_BYTES", 1_000)
    monkeypatch.setattr(reader, "POSTINGS", 2)
    log = await shelf.open()
    inserted = [await log.insert(draft(value="x" * 100)) for _ in range(40)]
    found = await log.replay(lambda message: True, after=0)
    assert found == inserted[: len(found)]
    assert 1_000 <= sum(len(message.body) for message in found) < 1_000 + 2 * len(inserted[0].body)
    for _ in range(2):
        assert await of_device(log, 1) == inserted
        assert len(log._postings) == 2
        log = await shelf.reopen()


def test_a_replay_holds_little_more_than_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many match: of those found so far the latest are dropped again and again, by their number or bytes."""
    monkeypatch.setattr(reader, "REPLAY_BYTES", 10_000)
    for most, size in ((2, 1), (None, 100)):
        found = reader.Oldest(most)
        for time in range(5_000, 0, -1):
            found.add(Message(time, time << 11, time, time, time, 1, "lamp", 1, 1, "on", 1, b"x" * size))
            if found.too_many:
                at_once(found.shorten())
            assert len(found._found) <= 2 * (most or 100) + ROOM
        assert [message.timestamp for message in at_once(found.shorten())] == list(range(1, 1 + (most or 100)))


async def test_time_bounds_are_exclusive(shelf: Shelf) -> None:
    """Of messages of one device and of a replay; those with the same timestamp are in the order of their inserts."""
    log = await shelf.open()
    times = [50, 10, 30, 30, 20, 30, 40, 10, 50]
    inserted = [await log.insert(draft(timestamp=time)) for time in times]
    expected = [inserted[number] for number in (4, 2, 3, 5, 6)]
    for _ in range(2):
        assert await of_device(log, 1, after=10, before=50) == expected
        assert await of_device(log, 1, take=1) == [inserted[1]]
        assert await of_device(log, 1, descending=True, take=1) == [inserted[8]]
        assert await log.replay(lambda message: message.timestamp < 50, after=10) == expected
        assert await log.replay(lambda message: True, after=10, most=2) == expected[:2]
        assert await log.replay(lambda message: True, after=50) == []
        log = await shelf.reopen()


def test_what_comes_while_a_segment_is_closed_is_in_the_next_one() -> None:
    """Closing takes several steps of the event loop, and another gateway of a shared log may append between any two."""

    def entry(number: int) -> list[Message]:
        body, place = b"x" * number, number * ROOM
        return [Message(place + n, place + n, number, number, number, n % 2, "", 1, 1, "", 1, body) for n in range(3)]

    def made() -> Recent:
        recent = Recent(1, 0)
        for number in (1, 2):
            recent.add(entry(number), 100 * number, 0)
        recent.keys[7] = Known(8, ROOM, 9)
        return recent

    alone, crowded = made(), made()
    steps = segment.close(crowded)
    number = 2
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        number += 1
        crowded.add(entry(number), 1_000, 0)
        crowded.keys[100 + number] = Known(number, number * ROOM, number)
    assert number > 6
    assert found == at_once(segment.close(alone))
    closed, rest = crowded.split(found[0].last)
    assert (closed.last, closed.messages, closed.keys) == (alone.last, alone.messages, alone.keys)
    assert (rest.first, rest.last) == (3, number)


async def test_a_segment_that_another_gateway_has_closed_meanwhile_is_not_closed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which of them closes segments may change at any time."""
    engine = MemoryEngine()
    log = messages_on(engine, Clocks()).commands
    await log.load()
    await log.start()

    def closed_by_another(recent: Recent) -> Steps[tuple[Header, bytes, bytes]]:
        found = yield from segment.close(recent)
        log._writer.closed(found[1])
        return found

    monkeypatch.setattr(writer, "close", closed_by_another)
    inserted = [await log.insert(draft()) for _ in range(4)]
    await tidied(log)
    assert [each.header.last for each in log._index.closed] == [4]
    assert vars(engine.log("commands"))["_segments"] == {}
    assert await log.since(log.oldest - 1, take=100) == inserted
    assert await log.insert(draft())
    await log.close()


async def tidied(log: Log) -> None:
    """Close and drop what is due."""
    log.tidy()
    while log.is_tidying:
        await asyncio.sleep(0)


async def test_messages_of_one_time_are_in_the_order_of_their_inserts(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first of them was updated later, and where devices share a millisecond of the server's clock."""
    monkeypatch.setattr(stamps, "LEAD", 2)
    log = await shelf.open()
    first, second = [await log.insert(draft(timestamp=10)) for _ in range(2)]
    updated = await log.update(1, first.id, updating("later"))
    shared = [await log.insert(draft(device)) for device in (LAMP, DOOR) * 4]
    assert len({message.timestamp for message in shared}) < len(shared)
    last = sorted(shared, key=lambda message: (message.timestamp, message.place))
    for _ in range(2):
        assert await log.replay(lambda message: True, after=0) == [updated, second, *last]
        assert await of_device(log, 1, take=2) == [updated, second]
        log = await shelf.reopen()


async def test_what_is_stored_and_not_announced_yet_is_not_read() -> None:
    """A reader of the storage is not ahead of those who follow."""
    engine = MemoryEngine()
    log = messages_on(engine, Clocks()).commands
    await log.load()
    await log.start()
    inserted = [await log.insert(draft()) for _ in range(12)]
    await tidied(log)
    place = (inserted[-1].place // ROOM + 1) * ROOM
    vars(engine.log("commands"))["_entries"][place // ROOM] = pack([replace(inserted[-1], place=place)])
    assert await log.since(log.oldest - 1, take=100) == inserted
    await log.close()


async def test_a_replay_of_updates_goes_by_the_time_of_the_update(shelf: Shelf) -> None:
    """Only messages that were updated, each once, as the last update left it."""
    log = await shelf.open()
    inserted = [await log.insert(draft(value=f"{number}")) for number in range(9)]
    shelf.clocks.on(1_000)
    before = shelf.messages.now()
    for value in ("a", "b"):
        last = [await log.update(1, inserted[number].id, updating(value)) for number in (1, 5)]
    assert await log.replay(lambda message: True, after=before, updated=True) == last
    assert await log.replay(lambda message: True, after=last[0].changed, updated=True) == last[1:]
    assert await log.replay(lambda message: True, after=before) == []
    assert len(await log.replay(lambda message: True, after=0)) == 9
    for _ in range(12):  # so that the updates are in memory no longer
        await log.insert(draft(DOOR, timestamp=1))
    assert await log.replay(lambda message: True, after=before, updated=True) == last


async def test_messages_expire_by_segments(shelf: Shelf) -> None:
    """What is older than the retention is dropped, and forgotten after a restart too; the rest stays."""
    log = await shelf.open()
    old = [await log.insert(draft(value="old")) for _ in range(8)]
    shelf.clocks.on(HOUR // 2)
    young = [await log.insert(draft(value="young")) for _ in range(4)]
    shelf.clocks.on(HOUR // 2 - 1)
    await shelf.tidy()
    assert await log.since(log.oldest - 1, take=100) == [*old, *young]
    shelf.clocks.on(1)
    await shelf.tidy()
    for _ in range(2):
        assert log.oldest == young[0].place
        assert await log.since(log.oldest - 1, take=100) == await of_device(log, 1) == young
        assert await log.get(1, old[0].id) is None
        assert not log.covers(old[0].place)
        with pytest.raises(NotKept):
            await log.since(old[0].place, take=1)
        with pytest.raises(NotFound):
            await log.update(1, old[0].id, updating("late"))
        log = await shelf.reopen()
    shelf.clocks.on(HOUR)
    await shelf.tidy()
    tip = log.tip
    log = await shelf.reopen()
    assert (log.tip, log.oldest, log.stored, log.bytes) == (
        tip // 1_024 * 1_024 + 1_023,
        tip // 1_024 * 1_024 + 1_024,
        0,
        0,
    )
    assert await log.insert(draft()) is not None


async def test_a_log_of_which_all_has_expired_is_whole(shelf: Shelf) -> None:
    """Who begins to follow it misses nothing."""
    log = await shelf.open()
    await log.insert(draft())
    shelf.clocks.on(HOUR)
    await shelf.tidy()
    assert log.stored == 0
    assert log.covers(log.tip)
    assert await log.since(log.tip, take=1) == []


async def test_a_replay_reads_only_the_segments_that_it_may_need(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose messages were all before its time are passed over."""
    log = await shelf.open()
    for time in range(1, 41):
        await log.insert(draft(timestamp=time))
    await shelf.tidy()
    read: list[int] = []
    pick = log._engine.pick

    async def noted(numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        read.extend(numbers)
        return await pick(numbers)

    monkeypatch.setattr(log._engine, "pick", noted)
    assert len(await log.replay(lambda message: True, after=20)) == 20
    assert 12 <= len(read) < 24
    assert min(read) > 16


async def test_a_replay_looks_at_no_entry_in_memory_before_its_time(shelf: Shelf) -> None:
    """It goes backwards, and ends where all was inserted and updated before."""
    log = await shelf.open()
    inserted = [await log.insert(draft(timestamp=time)) for time in (1, 2, 3)]
    assert [[*portion] async for portion in log._backwards(after=1)] == [[inserted[2]], [inserted[1]]]


async def test_who_follows_a_device_skips_what_has_nothing_of_it(shelf: Shelf) -> None:
    """Stored segments, messages in memory up to the next one of the device, and all of the rest when there is none."""
    log = await shelf.open()
    start = log.oldest - 1
    for _ in range(10):
        last = await log.insert(draft(DOOR))
    assert log.skip(start, LAMP.record_id) == last.place == log.tip
    own = await log.insert(draft(LAMP))
    assert [log.skip(place, LAMP.record_id) for place in (start, own.place)] == [own.place - 1, own.place]
    for _ in range(10):
        await log.insert(draft(DOOR))
    behind = (own.place // ROOM + 2) * ROOM - 1
    places = [log.skip(place, LAMP.record_id) for place in (start, own.place, behind, start - 1)]
    assert places == [9 * ROOM - 1, own.place, log.tip, start - 1], "segments have four entries, and it is in the third"


async def test_a_segment_is_closed_after_a_part_of_the_retention(shelf: Shelf) -> None:
    """A sixteenth, so what is in it does not stay for much longer than it must."""
    log = await shelf.open()
    await log.insert(draft())
    shelf.clocks.on(HOUR // 16)
    await shelf.tidy()
    await log.insert(draft())
    shelf.clocks.on(HOUR - HOUR // 16)
    await shelf.tidy()
    assert log.stored == 1


async def test_an_update_lets_the_retention_begin_anew(shelf: Shelf) -> None:
    """The whole command is there, when its insert has expired."""
    log = await shelf.open()
    message = await log.insert(draft())
    shelf.clocks.on(HOUR // 2)
    await shelf.tidy()
    updated = await log.update(1, message.id, updating("b"))
    shelf.clocks.on(HOUR // 2)
    await shelf.tidy()
    assert log.oldest > message.place
    for _ in range(2):
        assert await log.get(1, message.id) == updated
        assert await of_device(log, 1) == [updated]
        assert await log.replay(lambda message: True, after=0) == [updated]
        log = await shelf.reopen()


@pytest.mark.parametrize("set_by", [-400 * 24 * HOUR, 400 * 24 * HOUR])
async def test_a_clock_that_is_set_drops_nothing_early_and_keeps_the_order(shelf: Shelf, set_by: int) -> None:
    """Ahead or back: what has been there for a second stays, expires in its time, and clocks of a device go on."""
    log = await shelf.open()
    before = [await log.insert(draft()) for _ in range(6)]
    shelf.clocks.on(1_000)
    shelf.clocks.wall += set_by
    await shelf.tidy()
    after = await log.insert(draft())
    shelf.clocks.wall -= set_by
    last = await log.insert(draft())
    assert before[-1].clock < after.clock < last.clock
    assert await log.since(log.oldest - 1, take=9) == [*before, after, last]
    shelf.clocks.on(HOUR)
    await shelf.tidy()
    assert log.stored == 0


@pytest.mark.parametrize("closed", [False, True])
async def test_a_start_with_a_clock_that_was_set_back_drops_nothing(shelf: Shelf, closed: bool) -> None:
    """And the clock goes on behind the highest that is stored, in the open segment or in a closed one."""
    log = await shelf.open()
    before = [await log.insert(draft()) for _ in range(6)]
    if closed:
        shelf.clocks.on(HOUR // writer.PARTS)
        await shelf.tidy()
    shelf.clocks.wall = START - HOUR
    log = await shelf.reopen()
    await shelf.tidy()
    assert await log.since(log.oldest - 1, take=9) == before
    assert (await log.insert(draft())).clock > before[-1].clock
    assert (await shelf.messages.notifications.insert(draft(DOOR))).clock > before[-1].clock


async def test_what_has_expired_keeps_its_times(shelf: Shelf) -> None:
    """A clock that is set back between two starts gives no time again, also when its messages are gone."""
    log = await shelf.open()
    expired = await log.insert(draft(LAMP))
    shelf.clocks.on(HOUR // 16)
    await shelf.tidy()
    shelf.clocks.on(HOUR)
    await shelf.tidy()
    assert log.stored == 0
    shelf.clocks.wall = START - HOUR
    log = await shelf.reopen()
    assert (await log.insert(draft(LAMP))).clock > expired.clock


async def test_idempotency_keys_are_kept_as_long_as_their_messages(shelf: Shelf) -> None:
    """Over closed segments and restarts; when the message has expired the key is free."""
    log = await shelf.open()
    message = await log.insert(draft(value="a", key="k"))
    for _ in range(12):
        await log.insert(draft())
    for _ in range(2):
        assert await log.insert(draft(value="a", key="k")) == message
        with pytest.raises(KeyReused):
            await log.insert(draft(value="b", key="k"))
        log = await shelf.reopen()
    shelf.clocks.on(HOUR)
    await shelf.tidy()
    assert (await log.insert(draft(value="b", key="k"))).id != message.id


async def test_expired_commands_are_not_delivered(shelf: Shelf) -> None:
    """A replay leaves them out; they can still be read."""
    log = await shelf.open()
    short = await log.insert(draft(expires_in=1_000))
    long = await log.insert(draft(expires_in=9_000))
    assert await log.replay(lambda message: True, after=0) == [short, long]
    shelf.clocks.on(999)
    assert await log.replay(lambda message: True, after=0) == [short, long]
    assert not log.is_over(short)
    shelf.clocks.on(1)
    assert await log.replay(lambda message: True, after=0) == [long]
    assert [log.is_over(message) for message in (short, long)] == [True, False]
    assert await log.get(1, short.id) == short
    assert (short.expires, long.expires) == (START + 1_000, START + 1 + 9_000)


async def test_a_full_store_drops_what_is_old_and_refuses_otherwise(shelf: Shelf) -> None:
    """Nothing younger than 120 s is dropped: inserts are refused until something is older."""
    log = await shelf.open(stored_bytes=2_000)
    old = [await log.insert(draft(value="x" * 100)) for _ in range(8)]
    with pytest.raises(Overloaded, match="full"):
        for _ in range(20):
            await log.insert(draft(value="x" * 100))
            await shelf.tidy()
    assert log.oldest == old[0].place
    shelf.clocks.on(writer.YOUNG)
    before = log.stored
    with capture_logs() as logged:
        await shelf.tidy()
    [told] = logged
    assert "dropped before their time" in told["event"]
    assert log.dropped_early == before - log.stored > 0
    assert log.bytes <= 2_000
    assert log.oldest > old[3].place
    await log.insert(draft(value="x" * 100))


async def test_nothing_is_refused_while_much_is_dropped(shelf: Shelf) -> None:
    """A start with less room drops one segment after the other; what comes between two of them is inserted."""
    log = await shelf.open()
    for _ in range(40):
        await log.insert(draft(value="x" * 100))
    shelf.clocks.on(writer.YOUNG + 1_000)
    log = await shelf.reopen(stored_bytes=2_000)
    left: list[int] = []
    log.tidy()
    log.submit(draft(), lambda outcome: left.append(log.bytes if isinstance(outcome, Message) else 0))
    await shelf.tidy()
    assert left[0] > 2_000 >= log.bytes


async def test_a_device_is_limited_in_bytes(shelf: Shelf) -> None:
    """Another one is not; after a restart it still is; when its messages expire it may insert again, however much
    others have."""
    log = await shelf.open(device_bytes=1_000)
    with pytest.raises(TooMany, match="device lamp has 1,000 bytes of messages stored"):
        for _ in range(20):
            await log.insert(draft(value="x" * 100))
    await log.insert(draft(DOOR))
    log = await shelf.reopen(device_bytes=1_000)
    with pytest.raises(TooMany):
        await log.insert(draft())
    [message, *_] = await of_device(log, 1)
    with pytest.raises(TooMany, match="device lamp has"):
        await log.update(1, message.id, updating("b"))
    shelf.clocks.on(HOUR // 2)
    with pytest.raises(TooMany, match="device door has"):
        for _ in range(20):
            await log.insert(draft(DOOR, "x" * 100))
    shelf.clocks.on(HOUR // 2)
    await shelf.tidy()
    await log.insert(draft())
    with pytest.raises(TooMany, match="device door has"):
        await log.insert(draft(DOOR))


async def test_of_a_device_that_has_nothing_stored_nothing_is_kept(shelf: Shelf) -> None:
    """Devices come and go; of the others the bytes are those that they still have."""
    log = await shelf.open()
    for device in (LAMP, LAMP, LAMP, DOOR):
        await log.insert(draft(device))
    shelf.clocks.on(HOUR // 2)
    young = await log.insert(draft(DOOR))
    shelf.clocks.on(HOUR // 2)
    await shelf.tidy()
    assert log._index.devices == {DOOR.record_id: len(young.body) + segment.OVERHEAD}
    shelf.clocks.on(HOUR // 2)
    await shelf.tidy()
    assert log._index.devices == {}


async def test_a_device_is_limited_in_its_rate(shelf: Shelf) -> None:
    """Ten seconds' worth at once, then one by one; a wall clock that is set changes nothing."""
    log = await shelf.open(device_rate=2)
    for _ in range(20):
        await log.insert(draft())
    shelf.clocks.wall += HOUR
    with pytest.raises(TooMany, match="2 messages a second"):
        await log.insert(draft())
    await log.insert(draft(DOOR))
    shelf.clocks.on(500)
    await log.insert(draft())
    with pytest.raises(TooMany):
        await log.insert(draft())


async def test_a_draft_is_limited_in_its_size(shelf: Shelf) -> None:
    """Inserts and updates."""
    log = await shelf.open(draft_bytes=10)
    message = await log.insert(draft(size=10))
    with pytest.raises(TooLarge):
        await log.insert(draft(size=11))
    with pytest.raises(TooLarge):
        await log.update(LAMP.record_id, message.id, lambda message: Update(lambda *_: b"{}", None, size=11))


HARM = {
    "an entry": "UPDATE commands SET messages = x'00' WHERE number = (SELECT max(number) FROM commands)",
    "a missing entry": "DELETE FROM commands WHERE number = (SELECT max(number) - 1 FROM commands)",
    "a header": "UPDATE commands_segment SET header = x'00'",
    "a missing header": "DELETE FROM commands_segment WHERE first = (SELECT min(first) FROM commands_segment)",
    "where a log begins": "UPDATE meta SET value = 'x' WHERE name = 'commands.oldest'",
    "no beginning": "DELETE FROM meta WHERE name = 'commands.oldest'",
    "no epoch": "DELETE FROM meta WHERE name = 'notifications.epoch'",
    "a missing table": "DROP TABLE notifications",
}


@pytest.mark.parametrize("what", HARM)
async def test_a_start_that_finds_damage_begins_anew(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other epochs, so that nobody resumes; what is left is kept under another name, and inserts work."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 2)
    path, clocks = tmp_path / "hivewire.db.messages", Clocks()
    messages = messages_on(SqliteEngine(path), clocks)
    await messages.open("ledger")
    for number in range(7):
        await messages.commands.insert(draft(value=str(number)))
        messages.commands.tidy()
        while messages.commands.is_tidying:
            await asyncio.sleep(0)
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 100)
    for number in range(2):
        await messages.commands.insert(draft(value=f"open {number}"))
    epochs = {messages.commands.epoch, messages.notifications.epoch}
    await messages.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM commands_segment").fetchone()[0] > 1
        connection.execute(HARM[what])
        connection.commit()
    messages = messages_on(SqliteEngine(path), clocks)
    await messages.open("ledger")
    assert messages.commands.stored == 0
    assert not epochs & {messages.commands.epoch, messages.notifications.epoch}
    assert len([*tmp_path.glob("*.set-aside-*")]) == 1
    inserted = await messages.commands.insert(draft(value="new"))
    assert await messages.commands.get(1, inserted.id) == inserted
    await messages.close()


async def test_a_long_list_lets_the_event_loop_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each segment, each entry that is read and each slice, also from a store in memory that never waits."""
    log = await shelf.open()
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 50)
    for number in range(120):
        await log.insert(draft(value=str(number)))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    await of_device(log, 1)  # the postings are in memory now
    ticking = asyncio.create_task(tick())
    await of_device(log, 1)
    assert ticks >= 50, "as many entries are not in memory"
    monkeypatch.setattr(slices, "SHORT_SECONDS", -1)
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1)
    ticks = 0
    assert len(await of_device(log, 1, take=1)) == 1
    ticking.cancel()
    assert ticks >= 120


async def test_a_page_reads_only_the_segments_that_it_may_need(shelf: Shelf) -> None:
    """The newest ones of a device are found without the places of older ones."""
    log = await shelf.open()
    inserted = [await log.insert(draft(value=f"{number}")) for number in range(40)]
    log = await shelf.reopen()
    assert await of_device(log, 1, descending=True, take=2) == [inserted[39], inserted[38]]
    assert len(log._postings) == 1, "of the segment that was closed last"
    assert await of_device(log, 1, descending=True, take=2, skip=5) == [inserted[34], inserted[33]]
    assert len(log._postings) == 2
