"""Which devices are online: those that follow or poll for their commands, at any gateway, and for a few seconds after.

This is in memory only: after a restart no device has been seen yet. Devices are known here by the ids of their records,
so nothing of a deleted device counts for a new one of the same id.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from hivewire.devices.index import Device
from hivewire.devices.registry import Registry
from hivewire.telemetry import Gauges

LINGER_SECONDS = 10.0
"""How long a device stays online after its last subscription or poll, so that it is not offline between two of them."""

AT_ONCE = 1_000
"""Devices that go offline in one iteration of the event loop."""


class Presence:
    """Counts, for each device, the subscriptions and polls for its commands, and other gateways that have some.

    One timer serves all devices. A device that is online is in one dictionary, one that was online in another.
    """

    def __init__(self, now: Callable[[], int], registry: Registry) -> None:
        self._now = now
        self._present: dict[int, int] = {}
        self._elsewhere: dict[int, int] = {}  # how many of these are other gateways
        self._leaving: OrderedDict[int, float] = OrderedDict()  # when they go offline, the next one first
        self._seen: dict[int, int] = {}  # of those that are not present
        self._timer: asyncio.TimerHandle | None = None
        self.on_change: list[Callable[[int], None]] = []
        """Called with the id of a device's record when it goes online or offline. Not when it is deleted."""
        self.on_local: Callable[[int], None] = lambda move: None
        """Called with the id of the record when a device comes to this gateway, with the negative id when it leaves."""
        registry.on_device.append(self._follow)

    def enter(self, record_id: int) -> None:
        """A subscription or poll for the commands of this device begins."""
        if self._enter(record_id) == self._elsewhere.get(record_id, 0):
            self.on_local(record_id)

    def leave(self, record_id: int) -> None:
        """It ends. Called once for each call of `enter`."""
        if record_id in self._present and self._leave(record_id) == self._elsewhere.get(record_id, 0):
            self.on_local(-record_id)

    def moved_elsewhere(self, move: int) -> None:
        """A device has come to another gateway or, with the negative id, has left it."""
        record_id = abs(move)
        if move > 0:
            self._enter(record_id)
            self._elsewhere[record_id] = self._elsewhere.get(record_id, 0) + 1
        elif others := self._elsewhere.pop(record_id, 0):  # else it was deleted meanwhile
            if others > 1:
                self._elsewhere[record_id] = others - 1
            self._leave(record_id)

    def local(self) -> list[int]:
        """The devices that are at this gateway."""
        elsewhere = self._elsewhere
        return [id for id, present in self._present.items() if not elsewhere or present > elsewhere.get(id, 0)]

    def _enter(self, record_id: int) -> int:
        """Count one more; returns how many there were."""
        present = self._present.get(record_id, 0)
        self._present[record_id] = present + 1
        if not present:
            self._seen.pop(record_id, None)
            if self._leaving.pop(record_id, None) is None:
                self._tell(record_id)
        return present

    def _leave(self, record_id: int) -> int:
        """Count one less; returns how many are left."""
        present = self._present[record_id]
        if present > 1:
            self._present[record_id] = present - 1
            return present - 1
        del self._present[record_id]
        self._seen[record_id] = self._now()
        loop = asyncio.get_running_loop()
        self._leaving[record_id] = loop.time() + LINGER_SECONDS
        if self._timer is None:
            self._timer = loop.call_later(LINGER_SECONDS, self._go_on)
        return 0

    def online(self, record_id: int) -> bool:
        """Whether the device is online."""
        return record_id in self._present or record_id in self._leaving

    def last_seen(self, record_id: int) -> int | None:
        """When it last followed or polled for its commands, in milliseconds since 1970; None for not since the
        start."""
        return self._now() if record_id in self._present else self._seen.get(record_id)

    def _go_on(self) -> None:
        """Report devices offline whose linger time is over."""
        loop = asyncio.get_running_loop()
        for _ in range(AT_ONCE):
            record_id, due = next(iter(self._leaving.items()), (0, 0.0))
            if not record_id:
                self._timer = None
                return
            if due > loop.time():
                break
            del self._leaving[record_id]
            self._tell(record_id)
        else:
            due = 0.0
        self._timer = loop.call_later(max(0.0, due - loop.time()), self._go_on)

    def _tell(self, record_id: int) -> None:
        for call in self.on_change:
            call(record_id)

    def _follow(self, before: Device | None, after: Device | None) -> None:
        if before is not None and after is None:
            if self._present.get(before.record_id, 0) > self._elsewhere.get(before.record_id, 0):
                self.on_local(-before.record_id)
            for table in (self._present, self._elsewhere, self._leaving, self._seen):
                table.pop(before.record_id, None)

    # The life of the component.

    def start(self) -> None:
        """Does nothing: the timer runs only while a device is about to go offline."""

    async def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"devices_online": ("Devices that are online.", lambda: len(self._present) + len(self._leaving))}
