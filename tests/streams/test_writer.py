"""The writer of a log: a storage that fails, hangs or comes back, and what is too much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hivewire.settings import Settings
from hivewire.streams import segment
from hivewire.streams.log import UPDATES, Log
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.message import KeyReused, Message, NotStored, Outcome, Overloaded, Undecided, Update, pack
from hivewire.streams.messages import Messages, messages_of
from tests.streams.kit import DOOR, HOUR, LAMP, Clocks, draft, making, messages_on, of_device, updating


class Held:
    """An engine in memory whose appends to the commands can be held back, like those of a slow disk."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.log = self.engine.log("commands")
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self._append = self.log.append
        vars(self.log)["append"] = self.append

    async def append(self, number: int, entry: bytes) -> bool:
        self.began.set()
        await self.go.wait()
        return await self._append(number, entry)


@pytest.fixture
async def held() -> Held:
    return Held()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def messages(held: Held, clocks: Clocks) -> AsyncIterator[Messages]:
    messages = messages_on(held.engine, clocks, waiting_bytes=20_000)
    await messages.open("ledger")
    yield messages
    held.go.set()
    await messages.close()


@pytest.fixture
def log(messages: Messages) -> Log:
    return messages.commands


async def test_messages_that_wait_share_the_next_commit(log: Log, held: Held) -> None:
    """While one entry is on its way, the next one fills; observers get entries before anybody is answered."""
    told: list[object] = []
    log.observe(lambda messages: told.append([message.place for message in messages]))
    held.go.clear()
    log.submit(draft(), lambda outcome: told.append("first"))
    await held.began.wait()
    for number in range(3):
        log.submit(draft(), lambda number, outcome: told.append(number), number)
    held.go.set()
    await log.insert(draft())
    assert told[:2] == [[1_024], "first"]
    assert told[2:6] in ([[2_048, 2_049, 2_050], 0, 1, 2], [[2_048, 2_049, 2_050, 2_051], 0, 1, 2])


async def test_a_storage_that_fails_refuses_and_recovers(log: Log, held: Held) -> None:
    """A refused message is nowhere, and the next one has its place."""
    held.log.broken = "disk full"
    for _ in range(2):
        with pytest.raises(NotStored, match="disk full"):
            await log.insert(draft())
    assert log.failing == "disk full"
    held.log.broken = None
    message = await log.insert(draft())
    assert log.failing is None
    assert message.place == 1_024
    assert await log.since(log.oldest - 1, take=9) == [message]


async def test_whether_a_storage_works_again_is_found_out_without_an_insert(
    log: Log, held: Held, clocks: Clocks
) -> None:
    """Nobody may come who tries, because nobody is sent here; what is refused says nothing about the storage."""
    await log.insert(draft(key="k"))
    held.log.broken = "disk full"
    with pytest.raises(NotStored):
        await log.insert(draft())
    with pytest.raises(KeyReused):
        await log.insert(draft(value="other", key="k"))
    assert log.failing == "disk full"
    held.log.broken = "disk gone"
    await tidied(log)
    assert (log.failing, log.waiting_seconds()) == ("disk gone", 0)
    held.log.broken = None
    await tidied(log)
    assert log.failing is None


async def test_a_storage_that_hangs_blocks_nobody(log: Log, held: Held, clocks: Clocks) -> None:
    """Who waits is told that the outcome is not known, later ones that nothing was written; observers get it anyway."""
    events: list[Message] = []
    log.observe(events.extend)
    outcomes: list[Outcome] = []
    held.go.clear()
    log.submit(draft(), outcomes.append)
    await held.began.wait()
    log.submit(draft(), outcomes.append)
    clocks.on(4_999)
    log.tidy()
    assert outcomes == []
    clocks.on(1)
    log.tidy()
    assert [type(outcome) for outcome in outcomes] == [Undecided, NotStored]
    with pytest.raises(NotStored, match="not answered for 5 s"):
        log.submit(draft(), outcomes.append)
    assert log.waiting_seconds() == 5
    held.go.set()
    while log.failing:
        await asyncio.sleep(0)
    message = await log.insert(draft())
    assert [event.place for event in events] == [1_024, message.place]
    assert len(outcomes) == 2
    assert log.waiting_seconds() == 0


async def test_inserts_are_refused_before_a_commit_is_given_up(held: Held, clocks: Clocks) -> None:
    """Of a store that takes long: who comes later is not kept waiting, and who waits may still be answered."""
    settings = Settings(store="nats://n1/site")
    messages = messages_of(settings, lambda: clocks.wall, held.engine, lambda: clocks.monotonic)
    await messages.open("ledger")
    outcomes: list[Outcome] = []
    held.go.clear()
    messages.commands.submit(draft(), outcomes.append)
    await held.began.wait()
    clocks.on(2_000)
    messages.commands.tidy()
    with pytest.raises(NotStored, match="not answered for 2 s"):
        messages.commands.submit(draft(), outcomes.append)
    assert outcomes == []
    held.go.set()
    while not outcomes:
        await asyncio.sleep(0)
    assert isinstance(outcomes[0], Message)
    await messages.commands.insert(draft())
    await messages.close()


async def test_a_storage_that_hangs_between_commits_blocks_nobody(log: Log, held: Held, clocks: Clocks) -> None:
    """While something that has expired is dropped, say: who waits is told that nothing was written."""
    began, go = asyncio.Event(), asyncio.Event()
    drop = held.log.drop

    async def hanging(oldest: int, clock: int) -> None:
        began.set()
        await go.wait()
        await drop(oldest, clock)

    vars(held.log)["drop"] = hanging
    await log.insert(draft())
    clocks.on(HOUR)
    log.tidy()
    await began.wait()
    outcomes: list[Outcome] = []
    log.submit(draft(), outcomes.append)
    clocks.on(5_000)
    log.tidy()
    assert [type(outcome) for outcome in outcomes] == [NotStored]
    go.set()
    while log.failing:
        await asyncio.sleep(0)
    await log.insert(draft())


async def test_what_waits_is_bounded(log: Log, held: Held) -> None:
    """More is refused at once; when the storage answers there is room again."""
    held.go.clear()
    waiting = [asyncio.create_task(log.insert(draft())) for _ in range(15)]
    await held.began.wait()
    for _ in range(30):
        waiting.append(asyncio.create_task(log.insert(draft(size=5_000))))
    await asyncio.sleep(0)
    held.go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Message, Overloaded}
    await log.insert(draft())


async def test_a_message_that_cannot_be_encoded_harms_no_other(log: Log) -> None:
    """The others of its commit are written; the error is reported."""

    def fail(*stamps: int) -> bytes:
        raise ValueError(stamps)

    bad = draft()
    bad.make = fail
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    outcomes = await asyncio.gather(log.insert(draft()), log.insert(bad), log.insert(draft()), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Message, NotStored, Message]
    assert reported == ["a message was not encoded"]


async def test_an_observer_or_an_answer_that_fails_harms_nobody(log: Log) -> None:
    """It is reported, and everybody else is told."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))

    def fail(_: object) -> None:
        raise RuntimeError

    events: list[Message] = []
    log.observe(fail)
    log.observe(events.extend)
    log.submit(draft(), fail)
    assert await log.insert(draft()) == events[-1]
    assert set(reported) == {"an observer of messages failed", "an answer from the writer of messages was not taken"}


async def test_when_the_writer_ends_everybody_is_answered(
    log: Log, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody expects ends it: what was on its way is stored, whatever happened then, and nothing else."""

    def fail(*given: object) -> None:
        raise RuntimeError("unexpected")

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    monkeypatch.setattr(log._index, "add", fail)
    outcomes: list[Outcome] = []
    log.submit(draft(LAMP), outcomes.append)
    held.go.clear()
    await held.began.wait()
    log.submit(draft(LAMP), outcomes.append)
    held.go.set()
    while len(outcomes) < 2:
        await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [Message, NotStored]
    assert reported == ["the writer of messages ended"]
    with pytest.raises(NotStored, match="the writer ended"):
        await log.insert(draft(LAMP))


async def test_a_close_writes_what_waits_and_refuses_more(messages: Messages, log: Log) -> None:
    """A second one does nothing."""
    outcomes: list[Outcome] = []
    log.submit(draft(), outcomes.append)
    await messages.close()
    assert [type(outcome) for outcome in outcomes] == [Message]
    with pytest.raises(NotStored, match="stopping"):
        log.submit(draft(), outcomes.append)
    await messages.close()


async def test_a_close_of_one_log_does_not_wait_for_the_other(messages: Messages, log: Log, held: Held) -> None:
    """One whose storage does not answer takes a while; if the other went on meanwhile, it could take as long again."""
    held.go.clear()
    log.submit(draft(), lambda outcome: None)
    await held.began.wait()
    closing = asyncio.create_task(messages.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # until the tasks of both have begun
    with pytest.raises(NotStored, match="stopping"):
        messages.notifications.submit(draft(), lambda outcome: None)
    held.go.set()
    await closing


async def test_what_cannot_be_dropped_is_told_once_and_dropped_later(
    log: Log, held: Held, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log goes on meanwhile."""
    monkeypatch.setattr(segment, "SEGMENT_MESSAGES", 1)
    await log.insert(draft(LAMP))
    clocks.on(HOUR)
    held.log.broken = "disk full"
    for _ in range(3):
        await tidied(log)
    assert capsys.readouterr().err.count("messages were not closed or dropped") == 1
    assert log.stored == 1
    held.log.broken = None
    await tidied(log)
    assert log.stored == 0
    assert [await log.insert(draft(DOOR))] == await log.since(log.oldest - 1, take=9)


@pytest.mark.parametrize("bound", ["SEGMENT_MESSAGES", "SEGMENT_BYTES"])
async def test_inserts_are_refused_where_segments_cannot_be_closed(
    log: Log, held: Held, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The open one is in memory: with the messages of two, or their bytes, it takes no more until it can be closed."""
    seal, reasons = held.log.seal, ["disk full"]

    async def failing(*given: Any) -> None:
        for reason in reasons:
            raise NotStored(reason)
        await seal(*given)

    vars(held.log)["seal"] = failing
    first = await log.insert(draft())
    monkeypatch.setattr(segment, bound, {"SEGMENT_MESSAGES": 3, "SEGMENT_BYTES": 3 * len(pack([first]))}[bound])
    for _ in range(6):
        await log.insert(draft())
        await tidied(log)
    with pytest.raises(Overloaded, match="disk full"):
        await log.insert(draft())
    reasons.clear()
    await tidied(log)
    await log.insert(draft())


async def tidied(log: Log) -> None:
    """Close and drop what is due."""
    log.tidy()
    while log.is_tidying:
        await asyncio.sleep(0)


async def test_updates_of_one_command_lose_nothing_of_one_another(log: Log, held: Held) -> None:
    """At once, and when the caller of one is cancelled while the disk is slow: each begins with what the last left."""
    message = await log.insert(draft())

    def adding(value: str) -> Callable[[Message], Update]:
        return lambda last: Update(making(value), (last.status or "") + value)

    held.go.clear()
    held.began.clear()
    first = asyncio.create_task(log.update(1, message.id, adding("a")))
    await held.began.wait()
    first.cancel()
    others = [asyncio.create_task(log.update(1, message.id, adding(value))) for value in "bc"]
    await asyncio.sleep(0)
    held.go.set()
    assert [(await other).status for other in others] == ["ab", "abc"]
    assert first.cancelled()


async def test_updates_of_one_command_that_wait_are_bounded(log: Log, held: Held) -> None:
    """More are refused; those that wait are made, and there is room again."""
    message = await log.insert(draft())
    held.go.clear()
    updates = [log.update(1, message.id, updating(f"{number}")) for number in range(UPDATES + 3)]
    waiting = asyncio.gather(*updates, return_exceptions=True)
    await asyncio.sleep(0)
    held.go.set()
    assert [type(outcome) for outcome in await waiting] == [Message] * UPDATES + [Overloaded] * 3
    await log.update(1, message.id, updating("last"))


async def test_times_of_clients_may_be_any_integers(log: Log) -> None:
    """What is too far away to be stored is clipped."""
    for time in (1 << 70, -(1 << 70), 0):
        await log.insert(draft(timestamp=time, expires_in=1 << 70))
    assert len(await of_device(log, 1)) == 3
