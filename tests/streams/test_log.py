"""What a log of messages promises to the rest of the gateway, with either engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hivewire.streams.log import Log
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.message import KeyReused, Message, NotFound
from hivewire.streams.messages import Messages
from tests.streams.kit import DOOR, LAMP, START, Clocks, draft, messages_on, of_device, updating


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def messages(clocks: Clocks) -> AsyncIterator[Messages]:
    messages = messages_on(MemoryEngine(), clocks)
    await messages.open("ledger")
    yield messages
    await messages.close()


@pytest.fixture
def log(messages: Messages) -> Log:
    return messages.commands


async def test_an_inserted_message_can_be_read_by_its_id(log: Log) -> None:
    """The message has its device, its times and its body, and is found by the device and the id."""
    message = await log.insert(draft(LAMP, "a"))
    assert (message.device, message.device_id, message.network, message.type) == (1, "lamp", 1, 1)
    assert message.clock == message.timestamp == message.changed == START
    assert message.body == b'{"id":%d,"at":[%d,%d],"value":"a"}' % (message.id, START, START)
    assert await log.get(1, message.id) == message
    assert await log.get(2, message.id) is None


async def test_the_clock_goes_on_with_each_event(log: Log) -> None:
    """While the wall clock stands still, each event is a millisecond later, of whatever device."""
    first, second, other = [await log.insert(draft(device)) for device in (LAMP, LAMP, DOOR)]
    updated = await log.update(1, first.id, updating("b"))
    assert [one.clock - START for one in (first, second, other, updated)] == [0, 1, 2, 3]


async def test_events_are_later_than_every_time_that_was_answered(messages: Messages) -> None:
    """An event is later than each `serverTimestamp` before it, in both logs."""
    answered = messages.now()
    inserted = [await log.insert(draft()) for log in (messages.commands, messages.notifications)]
    assert all(message.clock > answered for message in inserted)
    assert messages.now() >= answered


async def test_a_timestamp_of_the_client_is_kept_and_moves_no_clock(log: Log) -> None:
    """A supplied timestamp stays, equal for many messages; the next one without has the time of the server."""
    future = [await log.insert(draft(timestamp=START * 2)) for _ in range(2)]
    assert [one.timestamp for one in future] == [START * 2] * 2
    assert (await log.insert(draft())).timestamp == START + 2
    updated = await log.update(1, future[0].id, updating("b"))
    assert updated.changed == START * 2 + 1


async def test_an_update_is_an_event_of_its_own(log: Log) -> None:
    """It appends the whole command again; the last event is what `get` finds, and all can be followed."""
    events: list[Message] = []
    log.observe(events.extend)
    inserted = await log.insert(draft(value="a"))
    updated = await log.update(1, inserted.id, updating("b"))
    assert (inserted.updated, updated.updated, updated.status) == (False, True, "done")
    assert (updated.id, updated.timestamp) == (inserted.id, inserted.timestamp)
    assert updated.changed > inserted.changed
    assert await log.get(1, inserted.id) == updated
    assert await of_device(log, 1) == [updated]
    assert await log.since(log.oldest - 1, take=10) == events == [inserted, updated]
    with pytest.raises(NotFound):
        await log.update(2, inserted.id, updating("c"))


async def test_an_idempotency_key_gives_the_same_message(log: Log) -> None:
    """At once and later; another author, device or key has another one, other content under it is refused."""
    at_once = await asyncio.gather(*[log.insert(draft(value="a", key="k")) for _ in range(3)])
    assert len({one.place for one in at_once}) == 1
    assert await log.insert(draft(value="a", key="k")) == at_once[0]
    other = draft(value="a", key="k")
    other.author = 2
    ids = [(await log.insert(each)).id for each in (draft(DOOR, value="a", key="k"), other, draft(value="a", key="l"))]
    assert len({at_once[0].id, *ids}) == 4
    with pytest.raises(KeyReused):
        await log.insert(draft(value="b", key="k"))
