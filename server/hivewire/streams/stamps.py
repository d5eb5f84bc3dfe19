"""The clock of messages, and how fast a device may insert."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.streams.message import Message, TooMany

MOST_DEVICES = 10_000
"""Devices in a table before those are dropped from it that it need not know any more."""

BURST = 10
"""Seconds of the rate that a device may insert at once."""


LEAD = 1_000
"""Milliseconds that the clock may be ahead so that no two events have the same one. It is ahead after a burst, and
where there are over 1,000 events a second."""

SHARED_LAG = 1_000
"""Milliseconds by which an answered time is behind the wall clock where other gateways append too: they may be about to
append events that they have stamped already, by clocks that differ."""


class Clock:
    """Gives each event of a device a later clock than the one before, and than every `answered` time.

    Where the wall clock did not go on, or was set back, it goes on by a millisecond. So nobody who goes on after the
    last message of many devices misses another one of the same millisecond. Only when it is LEAD ahead do events of
    different devices share one. `now` gives milliseconds since 1970. All logs share it.

    Where the logs are shared with other gateways, events are later than those that were `applied`, whoever stamped
    them, and times are answered `lag` milliseconds late.
    """

    def __init__(self, now: Callable[[], int], lag: int = 0) -> None:
        self._now = now
        self._lag = lag
        self._applied = 0  # the latest clock in the logs
        self._floor = 0  # no event gets this clock or an earlier one any more
        self._newest = 0  # no event gets an earlier one
        self._most = 0  # from here on events share one; never decreases
        self._last: dict[int, int] = {}  # of devices with an event that was from there on

    def wall(self) -> int:
        """What the wall clock shows."""
        return self._now()

    def answered(self) -> int:
        """A time for clients, `serverTimestamp`: every event from now on is later."""
        wall = self._now()
        # Not later than the wall clock: from LEAD before it on, events of other gateways may share a millisecond.
        self._floor = max(self._floor, wall - self._lag, min(self._applied, wall))
        return self._floor

    def recall(self, clock: int) -> None:
        """Note the clock of an event that the log has at start."""
        self._floor = max(self._floor, clock)

    def applied(self, messages: Sequence[Message], *, foreign: bool) -> None:
        """Note the messages of an entry that is in the log from now on."""
        self._applied = max(self._applied, messages[-1].clock)
        if foreign:
            for message in messages:
                self._newest = max(self._newest, message.clock)
                if message.clock >= self._most:
                    self._last[message.device] = message.clock
            if len(self._last) > MOST_DEVICES:
                self._forget()

    def latest(self) -> int:
        """No event has a later clock."""
        return max(self._floor, self._newest, max(self._last.values(), default=0))

    def begin(self) -> None:
        """Look at the wall clock. Called once for each commit, before its events are stamped."""
        if len(self._last) > MOST_DEVICES:
            self._forget()
        earliest = max(self._now(), self._floor + 1)
        self._newest = max(self._newest, earliest - 1)
        self._most = max(self._most, earliest + LEAD)

    def stamp(self, device: int) -> int:
        """The clock of the next event of a device."""
        clock = self._newest
        if clock < self._most:
            clock = self._newest = clock + 1
        if self._last and (last := self._last.get(device, 0)) >= clock:
            clock = last + 1
        if clock >= self._most or clock > self._newest:  # the next event may be stamped from `_newest` on
            self._last[device] = clock
        return clock

    def _forget(self) -> None:
        self._last = {device: last for device, last in self._last.items() if last >= self._newest}
        if len(self._last) > MOST_DEVICES:
            self._newest = max(self._last.values()) + 1
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
        self._room = MOST_DEVICES
        self._now = self._most = 0.0  # now, and the time that no device may be ahead of

    def begin(self, now: int) -> None:
        """Look at the clock. Called once for each commit, before its messages are counted."""
        if len(self._free) > self._room:
            self._free = {device: free for device, free in self._free.items() if free > now}
            self._room = max(MOST_DEVICES, 2 * len(self._free))  # not again with every commit where most are needed
        self._now, self._most = now, now + BURST * 1_000 - self._step

    def count(self, device: int) -> None:
        """Count a message of a device. Raises TooMany when it is one too many, which does not count."""
        if not self._step:
            return
        free = self._free.get(device, 0.0)
        if free < self._now:
            free = self._now
        elif free > self._most:
            raise TooMany(f"a device inserts at most {1_000 / self._step:g} messages a second")
        self._free[device] = free + self._step

    def take_back(self, device: int) -> None:
        """A message that was counted is counted again: it needs a new stamp."""
        if device in self._free:
            self._free[device] -= self._step
