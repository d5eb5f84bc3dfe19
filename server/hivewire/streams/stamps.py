"""The clock of messages, and how fast a device may insert."""

from __future__ import annotations

from collections.abc import Callable

from hivewire.streams.message import TooMany

MOST_DEVICES = 10_000
"""Devices in a table before those are dropped from it that it need not know any more."""

BURST = 10
"""Seconds of the rate that a device may insert at once."""


class Clock:
    """Gives each event of a device a later clock than the one before, and than every `answered` time.

    Where the wall clock did not go on, or was set back, it goes on by a millisecond. `now` gives milliseconds since
    1970. All logs share it.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._floor = 0  # no event gets this clock or an earlier one any more
        self._last: dict[int, int] = {}  # of devices with a later event than that
        self._latest = 0  # of them

    def wall(self) -> int:
        """What the wall clock shows."""
        return self._now()

    def answered(self) -> int:
        """A time for clients, `serverTimestamp`: every event from now on is later."""
        self._floor = max(self._floor, self._now())
        return self._floor

    def recall(self, clock: int) -> None:
        """Note the clock of an event that the log has at start."""
        self._floor = max(self._floor, clock)

    def latest(self) -> int:
        """No event has a later clock."""
        return max(self._floor, self._latest)

    def begin(self) -> int:
        """The earliest clock of the next events, for `stamp`. Called once for each commit."""
        wall = self._now()
        if wall > self._latest:  # as nearly always: a small table stays in the processor's cache
            self._floor = self.latest()
            self._last.clear()
        elif len(self._last) > MOST_DEVICES:
            self._forget(wall)
        return max(wall, self._floor + 1)

    def stamp(self, device: int, earliest: int) -> int:
        """The clock of the next event of a device."""
        last = self._last.get(device, 0)
        clock = self._last[device] = earliest if earliest > last else last + 1
        if clock > self._latest:
            self._latest = clock
        return clock

    def _forget(self, wall: int) -> None:
        self._floor = max(self._floor, wall - 1)
        self._last = {device: last for device, last in self._last.items() if last > self._floor}
        if len(self._last) > MOST_DEVICES:
            self._floor = max(self._last.values())
            self._last.clear()


class Rate:
    """Limits how many messages each device inserts in a second, with `BURST` seconds' worth at once.

    A device is known by the time at which it would have used up nothing, if it inserted at its rate from the beginning
    (the generic cell rate algorithm). Times are milliseconds of the monotonic clock.
    """

    def __init__(self, rate: int) -> None:
        """A rate of 0 is no limit."""
        self._step = 1_000 / rate if rate else 0.0
        self._free: dict[int, float] = {}
        self._latest = 0.0  # of them

    def count(self, device: int, now: int) -> None:
        """Count a message of a device. Raises TooMany when it is one too many, which does not count."""
        if not self._step:
            return
        if now >= self._latest and self._free:  # none of them has used up anything
            self._free.clear()
        free = self._free.get(device, 0.0)
        if free > now + BURST * 1_000 - self._step:
            raise TooMany(f"a device inserts at most {1_000 / self._step:g} messages a second")
        free = self._free[device] = (free if free > now else now) + self._step
        if free > self._latest:
            self._latest = free
        if len(self._free) > MOST_DEVICES:
            self._free = {device: free for device, free in self._free.items() if free > now}
