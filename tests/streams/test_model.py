"""A log against a plain list: any inserts, updates, restarts and times that go by, with both engines."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any
from unittest import TestCase, mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hivewire.streams import segment
from hivewire.streams.log import Log
from hivewire.streams.message import KeyReused, Message, NotFound
from hivewire.streams.messages import Messages
from hivewire.streams.page import Selection
from tests.streams.kit import HOUR, START, Clocks, Device, draft, messages_on, of_device, updating
from tests.streams.test_engines import ENGINES

devices = st.integers(1, 3)
times = st.none() | st.integers(START - 3, START + 3) | st.integers(START + HOUR, START + HOUR + 1)
bounds = st.integers(START - 4, START + 8) | st.integers(START, START + 3 * HOUR)


class LogMachine(RuleBasedStateMachine):
    """Compares a log with the list of all its events. Segments are closed after three messages."""

    engine = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.small = mock.patch.object(segment, "SEGMENT_MESSAGES", 3)
        self.small.start()
        self.clocks = Clocks()
        self.make = ENGINES[self.engine](Path(self.folder.name) / "messages", lambda count: "")
        self.events: list[Message] = []
        self.keys: dict[tuple[int, str], tuple[str, Message]] = {}
        self.observed: list[Message] = []
        self.answered = 0
        self.messages: Messages

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @property
    def log(self) -> Log:
        return self.messages.commands

    @initialize()
    def open(self) -> None:
        self.messages = messages_on(self.make(""), self.clocks)
        self.do(self.messages.open("ledger"))
        self.log.observe(self.observed.extend)

    def teardown(self) -> None:
        self.do(self.messages.close())
        self.loop.close()
        self.small.stop()
        self.folder.cleanup()

    @property
    def kept(self) -> list[Message]:
        """The events that the log says it has."""
        return [event for event in self.events if event.place >= self.log.oldest]

    def last(self) -> list[Message]:
        """The last event of each message that is kept, in the order of timestamps, then of inserts."""
        found = {(event.device, event.id): event for event in self.kept}
        return sorted(found.values(), key=lambda event: (event.timestamp, event.id >> 11))

    # What happens.

    @rule(device=devices, time=times, count=st.integers(1, 4))
    def insert(self, device: int, time: int | None, count: int) -> None:
        drafts = [draft(Device(device, f"device {device}"), f"{number}", timestamp=time) for number in range(count)]

        async def all_at_once() -> list[Message]:
            return await asyncio.gather(*[self.log.insert(one) for one in drafts])

        messages = self.do(all_at_once())
        assert len({message.place // 1_024 for message in messages}) == 1, "one commit"
        for message in messages:
            assert message.timestamp == message.changed == (message.clock if time is None else time)
        self.events += messages

    @rule(device=devices, key=st.sampled_from("ab"), value=st.sampled_from("xy"))
    def insert_under_a_key(self, device: int, key: str, value: str) -> None:
        known = self.keys.get((device, key))
        if known is not None and known[1].place < self.log.oldest:
            known = None
        if known is not None and known[0] != value:
            with pytest.raises(KeyReused):
                self.do(self.log.insert(draft(Device(device), value, key=key)))
            return
        message = self.do(self.log.insert(draft(Device(device), value, key=key)))
        if known is not None:
            assert message == known[1]
        else:
            self.keys[device, key] = value, message
            self.events.append(message)

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        known = {(event.device, event.id): event for event in self.events}
        device, id = data.draw(st.sampled_from([*known]) if known else st.just((1, 1)))
        before = next((event for event in reversed(self.kept) if (event.device, event.id) == (device, id)), None)
        if before is None:
            with pytest.raises(NotFound):
                self.do(self.log.update(device, id, updating("late")))
            return
        message = self.do(self.log.update(device, id, updating("new")))
        assert message.changed > before.changed
        assert (message.id, message.timestamp, message.status) == (id, before.timestamp, "done")
        self.events.append(message)

    @rule(
        wall=st.sampled_from([0, 1, HOUR // 16, HOUR, -HOUR]), monotonic=st.sampled_from([0, 1, HOUR // 16, HOUR // 2])
    )
    def time_goes_by(self, wall: int, monotonic: int) -> None:
        self.clocks.wall += wall
        self.clocks.monotonic += monotonic
        self.tidy()

    def tidy(self) -> None:
        self.log.tidy()
        self.settle()

    def settle(self) -> None:
        """Wait for what the writer closes and drops by itself, as a commit that fills the segment makes it do."""

        async def until_done() -> None:
            while self.log.is_tidying:
                await asyncio.sleep(0)

        self.do(until_done())

    @rule()
    def restart(self) -> None:
        self.do(self.messages.close())
        self.answered = 0
        self.open()

    @rule()
    def answer_the_time(self) -> None:
        self.answered = self.messages.now()

    # What holds.

    @invariant()
    def all_events_are_there_in_order(self) -> None:
        self.settle()  # else it could drop something between two of these readings
        places = [event.place for event in self.events]
        assert places == sorted(set(places))
        assert self.do(self.log.since(self.log.oldest - 1, take=1_000)) == self.kept
        assert self.observed == self.events
        assert self.log.stored == len(self.kept)
        if self.kept:
            assert self.log.tip >= self.kept[-1].place

    @invariant()
    def clocks_go_on(self) -> None:
        for device in range(1, 4):
            clocks = [event.clock for event in self.events if event.device == device]
            assert clocks == sorted(set(clocks))
        if self.events and self.answered:
            assert self.messages.now() >= self.answered

    @rule(
        device=devices,
        after=st.none() | bounds,
        before=st.none() | bounds,
        matches=st.sampled_from([None, lambda event: event.status == "done"]),
        key=st.sampled_from([None, lambda event: event.status or ""]),
        descending=st.booleans(),
        skip=st.integers(0, 3),
        take=st.none() | st.integers(0, 4),
    )
    def read_a_device(self, device: int, **members: Any) -> None:
        """A page of its messages is what one gets who filters, sorts and cuts all of them."""
        selection = Selection(**members)
        low, high = selection.after or 0, selection.before or 1 << 62
        found = [event for event in self.last() if event.device == device and low < event.timestamp < high]
        expected = [event for event in found if selection.matches is None or selection.matches(event)]
        if selection.key is not None:
            expected.sort(key=selection.key)
        if selection.descending:
            expected.reverse()
        end = None if selection.take is None else selection.skip + selection.take
        assert self.do(of_device(self.log, device, **members)) == expected[selection.skip : end]

    @rule(data=st.data())
    def read_one(self, data: st.DataObject) -> None:
        known = {(event.device, event.id): None for event in self.events}
        device, id = data.draw(st.sampled_from([*known]) if known else st.just((1, 1)))
        expected = next((event for event in reversed(self.kept) if (event.device, event.id) == (device, id)), None)
        assert self.do(self.log.get(device, id)) == expected

    @rule(device=devices, after=bounds, most=st.none() | st.integers(0, 4), updated=st.booleans())
    def replay(self, device: int, after: int, most: int | None, updated: bool) -> None:
        found = self.do(self.log.replay(lambda one: one.device == device, after=after, most=most, updated=updated))
        expected = [
            event
            for event in self.last()
            if event.device == device
            and (event.updated or not updated)
            and (event.changed if updated else event.timestamp) > after
        ]
        assert found == expected[:most]

    @rule(device=devices)
    def skip(self, device: int) -> None:
        """Never over an event of the device, nor beyond the end; and nowhere from a place that is not kept."""
        for place in (self.log.oldest - 1, *(event.place for event in self.kept)):
            further = self.log.skip(place, device)
            assert place <= further <= self.log.tip
            assert not any(event.device == device and place < event.place <= further for event in self.kept)
        assert self.log.skip(self.log.oldest - 2, device) == self.log.oldest - 2

    @rule(data=st.data(), take=st.integers(1, 4))
    def follow(self, data: st.DataObject, take: int) -> None:
        place = data.draw(st.sampled_from([self.log.oldest - 1, *(event.place for event in self.kept)]))
        found = self.do(self.log.since(place, take=take))
        expected = [event for event in self.kept if event.place > place]
        assert found == expected[: len(found)]
        assert found or not expected


def machine_of(engine: str, examples: int) -> type[TestCase]:
    """The test of one engine, with so many examples in its short form."""
    machine: Any = type(f"{engine.title()}Machine", (LogMachine,), {"engine": engine})
    case: type[TestCase] = machine.TestCase
    most = examples if settings().max_examples <= 60 else 400
    case.settings = settings(max_examples=most, stateful_step_count=20)  # type: ignore[attr-defined]
    return case


TestMemory = machine_of("memory", 40)
TestSqlite = machine_of("sqlite", 12)
