"""Several gateways on the same messages: who comes too late stamps anew, and all of them end up with the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from hivewire.stopped import Stopped
from hivewire.streams import segment
from hivewire.streams.log import Log
from hivewire.streams.message import (
    KeyReused,
    Message,
    NotFound,
    NotKept,
    NotStored,
    Outcome,
    Overloaded,
    StreamError,
    TooMany,
    Undecided,
    Update,
    unpack,
)
from hivewire.streams.messages import Messages
from hivewire.streams.writer import MOST_FILL
from tests.ledger.shared import Fault
from tests.ledger.sites import Sites, case_of, losses, scripts
from tests.running import PATIENCE
from tests.streams.kit import HOUR, START, Clocks, Device, draft, making, messages_on, of_device, updating
from tests.streams.shared import SharedStore, SharedView


class Site:
    """Gateways on one store, each with clocks of its own."""

    def __init__(self) -> None:
        self.store = SharedStore()
        self.opened: list[Messages] = []
        self.clocks: list[Clocks] = []

    async def gateway(self, **limits: Any) -> tuple[Messages, SharedView]:
        """One more, opened."""
        engine = self.store.engine()
        self.clocks.append(Clocks())
        messages = messages_on(engine, self.clocks[-1], **limits)
        await messages.open("ledger")
        self.opened.append(messages)
        return messages, engine.log("commands")

    def stored(self) -> list[Message]:
        """All commands in the log."""
        return [message for entry in self.store.logs["commands"].entries for message in unpack(entry)]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    for messages in site.opened:
        await messages.close()


async def test_a_log_that_is_not_followed_any_more_stops_the_gateway(site: Site) -> None:
    """Nothing is inserted any more, and the owner is told, once, also when it is only one of the two logs."""
    (mine, follower), (other, _) = await site.gateway(), await site.gateway()
    told = asyncio.Event()
    mine.on_stopped = told.set
    mine.start()
    follower.stopped = Stopped("a newer gateway wrote it", again=False)
    async with asyncio.timeout(PATIENCE):
        await told.wait()
    assert mine.stopped == follower.stopped
    assert mine.failing == "commands or notifications are not written: a newer gateway wrote it"
    with pytest.raises(NotStored, match="a newer gateway wrote it"):
        await mine.commands.insert(draft())
    await other.commands.insert(draft())
    assert (other.stopped, mine.commands.stored, other.commands.stored) == (None, 0, 1)


async def test_a_message_that_comes_too_late_is_stamped_again(site: Site) -> None:
    """It is behind the other one in place and time, and everybody is told both in this order."""
    mine, follower = await site.gateway()
    other, _ = await site.gateway()
    seen: list[Message] = []
    mine.commands.observe(seen.extend)
    follower.script.append(lambda: other.commands.insert(draft(value="theirs")))
    message = await mine.commands.insert(draft(value="mine"))
    assert (message.place, message.clock) == (2_048, START + 1)
    assert seen == site.stored() == await mine.commands.since(mine.commands.oldest - 1, take=9)
    assert seen[1] == message
    assert [b'"theirs"' in seen[0].body, b'"mine"' in seen[1].body] == [True, True]


async def test_newer_messages_go_with_those_that_lost(site: Site) -> None:
    """The next attempt has both, in one entry."""
    mine, follower = await site.gateway()
    other, _ = await site.gateway()
    late: list[Outcome] = []

    async def rival() -> None:
        mine.commands.submit(draft(value="late"), late.append)
        await other.commands.insert(draft())

    follower.script.append(rival)
    message = await mine.commands.insert(draft())
    assert isinstance(late[0], Message)
    assert [message.place, late[0].place] == [2_048, 2_049]


@asynccontextmanager
async def waited_for(turn: asyncio.Event) -> AsyncIterator[None]:
    """A turn that comes with an event."""
    await turn.wait()
    yield


async def test_others_may_go_first(site: Site) -> None:
    """Before a gateway's turn the entry of another one comes, and what it stamps then is not too late."""
    mine, view = await site.gateway()
    other, _ = await site.gateway()
    turn = asyncio.Event()
    view.turn = lambda: waited_for(turn)  # type: ignore[method-assign]
    outcomes: list[Outcome] = []
    mine.commands.submit(draft(), outcomes.append)
    theirs = await other.commands.insert(draft())
    assert (outcomes, theirs.place) == ([], 1_024)
    appended: list[int] = []
    append = view.append

    async def counted(number: int, entry: bytes) -> bool:
        appended.append(number)
        return await append(number, entry)

    view.append = counted  # type: ignore[method-assign]
    turn.set()
    await mine.commands.insert(draft())
    assert appended == [2]
    assert len(outcomes) == 1


async def test_a_lost_message_counts_once_for_its_device(site: Site) -> None:
    """The rate of a device is what it inserts, however often that is stamped."""
    mine, follower = await site.gateway(device_rate=1)
    other, _ = await site.gateway()
    for _ in range(10):
        follower.script.append(lambda: other.commands.insert(draft()))
        await mine.commands.insert(draft())
    with pytest.raises(TooMany):
        await mine.commands.insert(draft())


async def test_an_update_that_comes_too_late_gives_its_device_no_room(site: Site) -> None:
    """It does not count for the rate, however often it is stamped."""
    mine, follower = await site.gateway(device_rate=1)
    other, _ = await site.gateway()
    inserted = [await mine.commands.insert(draft()) for _ in range(10)]
    follower.script.append(lambda: other.commands.insert(draft()))
    await mine.commands.update(1, inserted[0].id, updating("new"))
    assert len(site.stored()) == 12
    with pytest.raises(TooMany):
        await mine.commands.insert(draft())


async def test_a_key_is_known_on_every_gateway(site: Site) -> None:
    """The same content under it is the same message, also when both are inserted at once; other content is refused."""
    mine, follower = await site.gateway()
    other, _ = await site.gateway()
    theirs: list[Message] = []

    async def rival() -> None:
        theirs.append(await other.commands.insert(draft(key="k")))

    follower.script.append(rival)
    assert await mine.commands.insert(draft(key="k")) == theirs[0]
    with pytest.raises(KeyReused):
        await mine.commands.insert(draft(value="another", key="k"))
    assert len(site.stored()) == 1


async def test_updates_on_two_gateways_lose_nothing_of_one_another(site: Site) -> None:
    """An update of what another gateway has changed meanwhile is made again, of what the command is then."""
    mine, follower = await site.gateway()
    other, _ = await site.gateway()
    message = await mine.commands.insert(draft())
    follower.script.append(lambda: other.commands.update(1, message.id, adding("b")))
    assert (await mine.commands.update(1, message.id, adding("a"))).status == "ba"
    assert (await other.commands.update(1, message.id, adding("c"))).status == "bac"


async def test_an_update_may_be_behind_another_one_in_a_closed_segment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much came meanwhile that the other one is not in memory any more: it is read, and lost by nobody."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 1)
    other, _ = await site.gateway()  # the keeper
    mine, follower = await site.gateway()
    message = await mine.commands.insert(draft())

    async def rival() -> None:
        await other.commands.update(1, message.id, adding("b"))
        for _ in range(3):
            await tidied(other.commands)
            await other.commands.insert(draft())

    follower.script.append(rival)
    assert (await mine.commands.update(1, message.id, adding("a"))).status == "ba"


async def test_a_command_that_another_gateway_has_just_got_can_be_updated(site: Site) -> None:
    """This one has not heard of it yet, and asks before it says that there is none."""
    mine, follower = await site.gateway()
    other, _ = await site.gateway()
    follower.lose = 1
    message = await other.commands.insert(draft())
    assert (await mine.commands.update(1, message.id, updating("new"))).id == message.id
    with pytest.raises(NotFound):
        await mine.commands.update(1, message.id + 1, updating("new"))


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.LOST, Fault.LATE])
async def test_an_unknown_outcome_is_reported_as_unknown(site: Site, fault: Fault) -> None:
    """The next message finds out what stands there; with a key, so does the same one again."""
    mine, follower = await site.gateway()
    follower.script.append(fault)
    with pytest.raises(Undecided):
        await mine.commands.insert(draft(value="a", key="k"))
    assert mine.failing is not None
    message = await mine.commands.insert(draft(value="a", key="k"))
    await site.store.logs["commands"].deliver_late()
    await tidied(mine.commands)
    assert mine.failing is None
    assert [message] == site.stored() == await mine.commands.since(mine.commands.oldest - 1, take=9)


async def test_an_entry_of_a_newer_version_stops_the_log(site: Site) -> None:
    """What cannot be read is not passed over: the log says that it is not ready, and writes nothing more."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    mine, _ = await site.gateway()
    await site.store.logs["commands"].put(1, b"\x81")
    await asyncio.sleep(0)
    with pytest.raises(NotStored, match="the writer ended"):
        await mine.commands.insert(draft())
    assert mine.failing is not None


async def test_a_time_that_was_answered_is_before_all_that_others_append(site: Site) -> None:
    """Though the clock of the other gateway is behind, and what it appends was stamped before: a second is allowed."""
    mine, _ = await site.gateway()
    other, follower = await site.gateway()
    site.clocks[1].on(-400)
    answered: list[int] = []

    async def ask() -> None:
        site.clocks[0].on(500)
        answered.append(mine.now())

    follower.script.append(ask)
    message = await other.commands.insert(draft())
    assert (answered, message.clock) == ([START - 500], START - 400)
    await asyncio.sleep(0)
    assert mine.now() == START - 400, "what is in the log was stamped before"
    assert (await other.commands.insert(draft())).clock > START - 400


async def test_a_gateway_may_be_behind_what_another_one_noted(site: Site) -> None:
    """What the ledger says of a log that several append to is no sign of an older copy: a gateway catches up."""
    mine, view = await site.gateway()
    message = await mine.commands.insert(draft())
    other = messages_on(site.store.engine(), Clocks())
    await other.open("ledger", {"messages:commands": f"{view.epoch} {message.place + 9_999}"})
    site.opened.append(other)
    assert await other.commands.get(1, message.id) == message


async def segments(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Log, Log]:
    """Two gateways, the first one the keeper, and six entries in four segments, the last one open."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 1)
    mine, _ = await site.gateway()
    other, _ = await site.gateway()
    for _ in range(3):
        await mine.commands.insert(draft())
        await tidied(mine.commands)
        await other.commands.insert(draft())
    return mine.commands, other.commands


async def test_one_gateway_closes_and_drops_segments_for_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper of the storage; the others are told, and read the same. When it is gone, another one is it."""
    mine, other = await segments(site, monkeypatch)
    place = other.oldest - 1
    assert await other.since(place, take=9) == await mine.since(place, take=9) == site.stored()
    await tidied(mine)
    for clocks in site.clocks:
        clocks.on(HOUR // 2)
    await other.insert(draft())
    for clocks in site.clocks:
        clocks.on(HOUR // 2)
    await tidied(other)
    assert (mine.oldest, other.oldest) == (1_024, 1_024), "that is the affair of the keeper"
    await tidied(mine)
    assert (mine.oldest, other.oldest, mine.stored, other.stored) == (7 * 1_024, 7 * 1_024, 1, 1)
    await site.opened[0].close()
    site.clocks[1].on(HOUR)
    await tidied(other)
    assert (other.oldest, other.stored, other.bytes) == (8 * 1_024, 0, 0)


async def test_inserts_are_refused_while_the_keeper_closes_no_segment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open one is in the memory of every gateway, also of those that must not close it."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 1)
    store = site.store.logs["commands"].store
    keeper, _ = await site.gateway()
    mine, _ = await site.gateway()
    with monkeypatch.context() as failing:
        failing.setattr(store, "seal", mock.AsyncMock(side_effect=NotStored("disk full")))
        with pytest.raises(Overloaded, match="closes segments"):
            for _ in range(9):
                await mine.commands.insert(draft())
                await tidied(mine.commands)
        assert mine.commands.stored == MOST_FILL + 1
    await tidied(keeper.commands)
    await tidied(mine.commands)
    await mine.commands.insert(draft())


async def test_a_key_that_comes_while_a_segment_is_closed_is_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the segment behind that one."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 2)
    mine, _ = await site.gateway()
    other, _ = await site.gateway()
    theirs: list[Message] = []
    store = site.store.logs["commands"].store
    seal = store.seal

    async def meanwhile(*closed: Any) -> None:
        if not theirs:
            theirs.append(await other.commands.insert(draft(key="k")))
        await seal(*closed)

    monkeypatch.setattr(store, "seal", meanwhile)
    for number in range(4):
        await mine.commands.insert(draft(value=f"{number}"))
        await tidied(mine.commands)
        assert not theirs or await mine.commands.insert(draft(key="k")) == theirs[0]
    assert theirs
    assert len(site.stored()) == 5


async def test_nobody_reads_over_a_gap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the keeper has dropped a moment ago is missing, though this gateway has not been told yet."""
    _, other = await segments(site, monkeypatch)
    place = other.oldest - 1
    for oldest in (2, 4, 6):
        await site.store.logs["commands"].store.drop(oldest, START)
        with pytest.raises(NotKept):
            await other.since(place, take=9)


async def test_a_log_that_lost_the_beginning_goes_on_behind_it(site: Site) -> None:
    """A gateway that was away until its next entries had expired has nothing before them, and covers nothing of it."""
    mine, _ = await site.gateway()
    message = await mine.commands.insert(draft())
    gaps: list[int] = []
    mine.commands.on_gap(lambda: gaps.append(mine.commands.oldest))
    mine.commands._writer.dropped(9)
    assert gaps == [9_216], "who follows is told then"
    assert (mine.commands.oldest, mine.commands.tip, mine.commands.stored) == (9_216, 9_215, 0)
    assert not mine.commands.covers(message.place)
    assert await of_device(mine.commands, 1) == []
    mine.commands._writer.take(9, site.store.logs["commands"].entries[0])
    assert (mine.commands.stored, mine.commands.bytes) == (1, len(site.store.logs["commands"].entries[0]))


def adding(value: str) -> Any:
    """An update that adds to the status what nobody must lose."""
    return lambda last: Update(making(value), (last.status or "") + value)


async def tidied(log: Log) -> None:
    """Close and drop what is due."""
    log.tidy()
    while log.is_tidying:
        await asyncio.sleep(0)


# The model: whatever happens on the way, the log is right and everybody agrees on it.

devices = st.integers(1, 2)


class Logs(Sites):
    """Three gateways with clocks that differ: rivals, silence, refusals, late entries, a feed that loses some."""

    def __init__(self) -> None:
        super().__init__()
        self.small = mock.patch.object(segment, "SEGMENT_MESSAGES", 3)
        self.small.start()
        self.store = SharedStore()
        self.log = self.store.logs["commands"]
        self.clocks = [Clocks() for _ in range(3)]
        for number, clocks in enumerate(self.clocks):
            clocks.wall += 200 * number
        self.seen: list[list[Message]] = [[], [], []]
        self.gateways: list[Messages] = []
        self.answered: list[tuple[int, int]] = []  # times, and how many events were stored then
        self.outcomes: list[tuple[str, Message | StreamError]] = []  # with what was inserted, or added to a status
        self.told: dict[tuple[int, int], list[str]] = {}  # what answered updates have added, by message
        self.count = 0

    @initialize()
    def begin(self) -> None:
        for number in range(3):
            self.run(self.open(number))

    async def open(self, number: int) -> None:
        engine = self.store.engine()
        messages = messages_on(engine, self.clocks[number])
        await messages.open("ledger")
        messages.commands.observe(self.seen[number].extend)
        self.gateways[number : number + 1] = [messages]
        self.followers[number : number + 1] = [engine.log("commands")]

    async def close(self) -> None:
        for messages in self.gateways:
            await messages.close()
        self.small.stop()

    def stored(self) -> list[Message]:
        """All commands that ever were in the log."""
        return [message for entry in self.log.entries for message in unpack(entry)]

    @rule(
        inserts=st.lists(st.tuples(st.integers(0, 2), devices, st.sampled_from([None, None, "k"])), max_size=6),
        updates=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=3),
        given=scripts,
        lose=losses,
    )
    def write(self, inserts: Any, updates: Any, given: Any, lose: Any) -> None:
        self.distort(given, lose, lambda number: self.insert(number, 1, None))

        async def all_at_once() -> None:
            known = list({(event.device, event.id): None for event in self.kept()})[-4:]
            await asyncio.gather(
                *[self.insert(*insert) for insert in inserts],
                *[self.update(number, *known[which]) for number, which in updates if which < len(known)],
            )

        self.run(all_at_once())

    async def insert(self, number: int, device: int, key: str | None) -> None:
        self.count += 1
        value = "keyed" if key is not None else str(self.count)
        outcome: Message | StreamError
        try:
            outcome = await self.gateways[number].commands.insert(draft(Device(device), value, key=key))
        except StreamError as error:
            outcome = error
        self.outcomes.append((value, outcome))

    async def update(self, number: int, device: int, id: int) -> None:
        self.count += 1
        value = f" {self.count}"
        outcome: Message | StreamError
        try:
            outcome = await self.gateways[number].commands.update(device, id, adding(value))
        except StreamError as error:
            outcome = error
        self.outcomes.append((value, outcome))
        if isinstance(outcome, Message):
            self.told.setdefault((device, id), []).append(value)

    @rule()
    def arrive_late(self) -> None:
        self.run(self.log.deliver_late())

    @rule(number=st.integers(0, 2))
    def answer_the_time(self, number: int) -> None:
        self.answered.append((self.gateways[number].now(), len(self.stored())))

    @rule(milliseconds=st.sampled_from([1, 300, HOUR // 16, HOUR // 2, HOUR]))
    def time_goes_by(self, milliseconds: int) -> None:
        self.run(self.log.deliver_late())  # an entry that is under way for longer may be before an answered time
        self.all_agree()
        for clocks in self.clocks:
            clocks.on(milliseconds)

    @rule(number=st.integers(0, 2))
    def tidy(self, number: int) -> None:
        self.run(tidied(self.gateways[number].commands))

    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        self.run(self.gateways[number].close())
        self.seen[number][:] = self.stored()
        self.run(self.open(number))

    def oldest(self) -> int:
        """The first place that everybody has."""
        return max(messages.commands.oldest for messages in self.gateways)

    def kept(self) -> list[Message]:
        """The events that everybody has."""
        oldest = self.oldest()
        return [event for event in self.stored() if event.place >= oldest]

    @invariant()
    def all_agree(self) -> None:
        async def hear() -> tuple[int, list[list[Message]]]:
            for follower in self.followers:
                await follower.confirm()
            for messages in self.gateways:  # what has expired goes in the background, also while somebody reads
                while messages.commands.is_tidying:
                    await asyncio.sleep(0)
            oldest = self.oldest()
            return oldest, [await messages.commands.since(oldest - 1, take=10_000) for messages in self.gateways]

        oldest, read = self.run(hear())
        stored = self.stored()
        assert read == [[event for event in stored if event.place >= oldest]] * 3
        assert self.seen == [stored] * 3, "each announced everything, once and in order"
        places = [event.place for event in stored]
        assert places == sorted(set(places))
        for device in (1, 2):
            events = [event for event in stored if event.device == device]
            clocks = [event.clock for event in events]
            assert clocks == sorted(set(clocks)), "the clock of a device goes on over all gateways"
        for time, before in self.answered:
            assert all(event.clock > time for event in stored[before:])

    @invariant()
    def answers_are_true(self) -> None:
        stored = self.stored()
        for value, outcome in self.outcomes:
            if isinstance(outcome, Message):
                assert stored.count(outcome) == 1, "what was answered stands once"
            elif not isinstance(outcome, Undecided) and value != "keyed":
                body = b'"value":"%b"' % value.encode()
                assert not any(body in event.body for event in stored), "what was refused stands nowhere"
        self.outcomes.clear()
        for (device, id), values in self.told.items():
            last = [event for event in stored if (event.device, event.id) == (device, id)][-1]
            assert all((last.status or "").split().count(value.strip()) == 1 for value in values), "no update is lost"
        keyed = [event for event in self.kept() if b'"keyed"' in event.body and not event.updated]
        assert len({event.device for event in keyed}) == len(keyed), "a key has one message"


TestSites = case_of(Logs, "All gateways agree, every answered message stands once and in order, and no update is lost.")
