"""Requests that wait for a message: which of them gets it, and what ends their waiting.

A waiting request is woken when a message comes for it, when its time is up, its connection has closed or the gateway
stops, and when the caller's rights have changed. It then checks these rights again, so that nobody without them gets a
message or goes on waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from hivewire.access.identity import Identity
from hivewire.devices.index import Device
from hivewire.devices.presence import Presence
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, Registry
from hivewire.hub.index import ByKey
from hivewire.hub.ledger_source import LedgerSource
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.streams.filters import Filter, keys_of
from hivewire.streams.log import Log
from hivewire.streams.message import Message
from hivewire.streams.messages import Messages
from hivewire.telemetry import Gauges
from hivewire_protocol.errors import Unavailable

AT_ONCE = 50
"""Waiting requests that are woken in one iteration of the event loop. Each answer takes some 50 µs."""

KEYS, WIDER = 16, 64
"""Most keys of a waiting request. One with more is found by up to so many wider ones, of its networks, its types or its
names alone, and then tested. Only one with still more of each is tested with every message."""

SEVERAL = 4
"""Messages of a key that are tested one by one: with more it is asked first whether any can be wanted."""

READS = 4
"""Polls that read stored messages at the same time: what they read is held in memory."""

FREE = 4 << 10
"""Bytes of the lists of a waiting request that do not count: those of an ordinary one."""

HELD = 32 << 20
"""Most bytes that all waiting requests together hold beyond FREE. They take about twice as much memory."""

EVERY_MESSAGE = Filter()


class Wanted(NamedTuple):
    """What a request waits for: the keys by which it is found, and the test of what it wants. `device` is the record of
    the device that is online while it waits, if it waits as one."""

    keys: tuple[str, ...]
    filter: Filter
    device: int | None = None


def wanted_by(filter: Filter, *, updated: bool, orders: bool) -> Wanted:
    """What a poll waits for. Equal filters share it, because they can be large. `orders`: it waits for commands. Who
    waits for the new ones of one device is that device."""
    found: Wanted = (_few if len(filter) <= KEYS else _many)(filter, updated, orders)
    return found


def _wanted_by(filter: Filter, updated: bool, orders: bool) -> Wanted:
    keys = tuple(_found_by(filter).keys(updated=updated))
    return Wanted(keys, filter, filter.device if orders and not updated else None)


def _found_by(filter: Filter) -> Filter:
    """The filter by whose keys the request is found: it has few, and accepts at least all that is wanted."""
    if len(filter) <= KEYS:
        return filter
    sides = Filter(filter.networks), Filter(types=filter.types), Filter(names=filter.names)
    wider = [each for each in (replace(filter, names=None), *sides) if each != EVERY_MESSAGE]
    fewest = min(wider, key=len)
    return fewest if len(fewest) <= WIDER else EVERY_MESSAGE


_few = lru_cache(256)(_wanted_by)
_many = lru_cache(64)(_wanted_by)  # each may have some 100 KiB


def update_of(device: int, number: int) -> Wanted:
    """An update of one command of a device (the id of its record)."""
    return Wanted((_command(device, number),), Filter(device=device))


def _command(device: int, number: int) -> str:
    return f"{device}/{number}"


class Asked(Protocol):
    """What a request waits for, as things are at the moment."""

    def look(self) -> Wanted | None:
        """What is wanted; None when there is nothing to be had. Raises what the request would be refused with now."""

    async def stored(self, wanted: Wanted, /) -> list[Message] | None:
        """What is stored of it; None when there is nothing to wait for."""


class Waiter:
    """One request that waits. `found` is the message that came for it, `over` whether its time has ended, `stale`
    whether what it may see has changed."""

    __slots__ = ("_waker", "found", "identity", "over", "stale", "wanted")

    def __init__(self, identity: Identity, wanted: Wanted) -> None:
        self.identity = identity
        self.wanted = wanted
        self.found: Message | None = None
        self.over = self.stale = False
        self._waker: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Wake the request, which looks at what has happened."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """To be waited for until something has happened."""
        self._waker = asyncio.get_running_loop().create_future()
        if self.found is not None or self.over or self.stale:
            self._waker.set_result(None)
        return self._waker


class Waiters:
    """The requests that wait for messages of one log, by their keys. A message costs nothing for those without one of
    its keys. `wake` is called with each that a message has come for."""

    def __init__(self, log: Log, presence: Presence, wake: Callable[[Waiter], None]) -> None:
        self.log = log
        self._presence = presence
        self._wake = wake
        self._by_key = ByKey[Waiter]()
        log.observe(self._announce)

    def add(self, waiter: Waiter) -> None:
        """Add a request, which gets the first message that it wants."""
        for key in waiter.wanted.keys:
            self._by_key.add(key, waiter)
        if waiter.wanted.device is not None:
            self._presence.enter(waiter.wanted.device)

    def remove(self, waiter: Waiter) -> None:
        """Remove a request that waits no longer, or for something else."""
        for key in waiter.wanted.keys:
            self._by_key.remove(key, waiter)
        if waiter.wanted.device is not None:
            self._presence.leave(waiter.wanted.device)

    def _announce(self, messages: Sequence[Message]) -> None:
        """Give each the first message that it wants.

        A commit may have a thousand messages, and thousands may wait for them with one filter. So those of a key are
        looked through once for each filter.
        """
        if not self._by_key:
            return
        for key, of_key in self._followed(messages).items():
            firsts: dict[int, Message | None] = {}
            find = _finder(of_key)
            for waiter in self._by_key[key]:
                wanted = waiter.wanted.filter
                if (number := id(wanted)) not in firsts:
                    firsts[number] = find(wanted)
                first, found = firsts[number], waiter.found
                if first is not None and (found is None or first.place < found.place):  # another key may have had one
                    waiter.found = first
                    if found is None:
                        self._wake(waiter)

    def _followed(self, messages: Sequence[Message]) -> dict[str, list[Message]]:
        """The messages by those of their keys that somebody waits for."""
        found: dict[str, list[Message]] = {}
        for message in messages:
            keys = keys_of(message)
            if message.updated:
                keys = (*keys, _command(message.device, message.id))
            for key in keys:
                if key in self._by_key:
                    found.setdefault(key, []).append(message)
        return found


def _finder(messages: Sequence[Message]) -> Callable[[Filter], Message | None]:
    """Finds the first of some messages that a filter wants. There may be a thousand, and thousands of filters: one that
    wants none of many is not tested with each of them."""

    def first(wanted: Filter) -> Message | None:
        return next(filter(wanted.accepts, messages), None)

    if len(messages) <= SEVERAL:
        return first
    networks, types = {message.network for message in messages}, {message.type for message in messages}
    names = {message.name for message in messages}
    return lambda wanted: first(wanted) if wanted.meets(networks, types, names) else None


class Polls:
    """All requests that wait."""

    def __init__(self, messages: Messages, ledger: Ledger, registry: Registry, presence: Presence) -> None:
        self.commands = Waiters(messages.commands, presence, self._wake)
        self.notifications = Waiters(messages.notifications, presence, self._wake)
        self.reads = asyncio.Semaphore(READS)
        self._waiting: dict[Waiter, None] = {}
        self._due: deque[Waiter] = deque()  # to be woken
        self._draining = False
        self._held = 0  # bytes of waiting requests that count
        self._changed: list[Callable[[Identity], bool]] = []  # tests of whose rights have changed
        self._moved: set[int] = set()  # records of devices that were deleted or have moved
        LedgerSource(ledger).follow_access(self._follow_access)
        ledger.observe(self._follow_groupings, NETWORK, DEVICE_TYPE)
        registry.on_device.append(self._follow_device)

    async def wait(
        self,
        waiters: Waiters,
        identity: Identity,
        when_gone: Callable[[Callable[[], None] | None], None],
        seconds: int,
        size: int,
        asked: Asked,
    ) -> list[Message]:
        """The stored messages that are wanted, or else the first one that comes within this number of seconds.

        It waits before it reads what is stored, so no message falls between the two. `size` is the bytes that the
        lists of the request hold while it waits. Raises Unavailable when large ones hold too much.
        """
        wanted = asked.look()
        if wanted is None:
            return []
        if not seconds or self._draining:
            return await asked.stored(wanted) or []
        size = max(0, size - FREE)
        if self._held + size > HELD:
            raise Unavailable.because("too many large requests are waiting")
        waiter = Waiter(identity, wanted)
        end = partial(self._end, waiter)
        timer = asyncio.get_running_loop().call_later(seconds, end)
        self._waiting[waiter] = None
        self._held += size
        waiters.add(waiter)
        try:
            when_gone(end)
            found = await asked.stored(wanted)
            while not found:
                if found is None:
                    return []
                await waiter.news()
                wanted = asked.look()
                if wanted is None:
                    return []
                if waiter.found is not None and wanted.filter.accepts(waiter.found):
                    return [waiter.found]
                if waiter.over:
                    return []
                waiter.found, waiter.stale = None, False
                if wanted != waiter.wanted:
                    waiters.remove(waiter)
                    waiter.wanted = wanted
                    waiters.add(waiter)
                    found = await asked.stored(wanted)
            return found
        finally:
            when_gone(None)
            timer.cancel()
            waiters.remove(waiter)
            del self._waiting[waiter]
            self._held -= size

    # What ends the waiting, or changes what is waited for.

    def drain(self) -> None:
        """The gateway stops: requests that wait, now or later, end at once."""
        self._draining = True
        for waiter in self._waiting:
            self._end(waiter)

    def _end(self, waiter: Waiter) -> None:
        waiter.over = True
        self._wake(waiter)

    def _wake(self, waiter: Waiter) -> None:
        """Queue a request to be woken: not thousands in one iteration of the event loop."""
        self._due.append(waiter)
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._due))):
            self._due.popleft().wake()
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _follow_access(self, concerned: Callable[[Identity], bool]) -> None:
        self._look_soon()
        self._changed.append(concerned)

    def _follow_groupings(self, changes: Sequence[Change]) -> None:
        if any(change.content is None for change in changes):
            self._look_soon()
            self._changed.append(lambda identity: True)

    def _follow_device(self, before: Device | None, after: Device | None) -> None:
        if before is None:
            return
        if after is None or (after.network, after.type) != (before.network, before.type):
            self._look_soon()
            self._moved.add(before.record_id)

    def _look_soon(self) -> None:
        """Look once, however many changes come together: a network may be deleted with thousands of devices."""
        if not self._changed and not self._moved:
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        changed, self._changed = self._changed, []
        moved, self._moved = self._moved, set()
        for waiter in self._waiting:
            if waiter.wanted.filter.device in moved or any(test(waiter.identity) for test in changed):
                waiter.stale = True
                self._wake(waiter)

    # The life of the component.

    def start(self) -> None:
        """Does nothing: it waits with each request."""

    async def close(self) -> None:
        """Answer all that still wait."""
        self.drain()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"polls": ("Requests that wait for a command or a notification.", lambda: len(self._waiting))}
