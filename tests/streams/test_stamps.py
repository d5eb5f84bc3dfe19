"""The clock of messages and the rate of a device, against what they promise."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hivewire.streams import stamps
from hivewire.streams.message import Message, TooMany
from hivewire.streams.stamps import BURST, Clock, Rate

START = 1_800_000_000_000


steps = st.lists(
    st.integers(1, 9) | st.sampled_from(["on", "far on", "back", "answered", "commit", "restart"]), max_size=60
)


@mock.patch.object(stamps, "LEAD", 3)  # so that it is soon far ahead
@mock.patch.object(stamps, "MOST_DEVICES", 4)
@given(steps)
@example([*[1] * 6, *["on"] * 5, 1, 1])  # the others catch up with what a device was ahead of them
def test_the_clock_of_a_device_goes_on(steps: list[int | str]) -> None:
    """Each event of a device is later than the one before, and than every answered time, also after a restart. Events
    of different devices have the same clock only when it is far ahead of what the wall clock has shown."""
    wall = shown = START

    def now() -> int:
        return wall

    clock = Clock(now)
    last: dict[int, int] = {}
    answered = 0
    clock.begin()
    for step in steps:
        if isinstance(step, int):
            stamp = clock.stamp(step)
            assert stamp > max(answered, last.get(step, 0))
            if stamp < shown + stamps.LEAD:
                assert stamp not in last.values()
            last[step] = stamp
            assert stamp <= clock.latest()
        elif step == "answered":
            answered = max(answered, clock.answered())
            clock.begin()
        elif step == "restart":
            latest, clock = clock.latest(), Clock(now)
            clock.recall(latest)
            answered = 0
            clock.begin()
        else:
            wall += {"on": 1, "far on": 1_000, "back": -500, "commit": 0}[step]
            shown = max(shown, wall)
            clock.begin()


def test_a_thousand_events_of_a_moment_have_a_millisecond_each() -> None:
    """After them the clock waits for the wall clock: events of other devices share the last millisecond."""
    clock = Clock(lambda: START)
    clock.begin()
    assert [clock.stamp(device) for device in range(1_001)] == [START + number for number in range(1_001)]
    assert [clock.stamp(device) for device in (2_000, 2_001, 2_000)] == [START + 1_000, START + 1_000, START + 1_001]


def event(device: int, clock: int) -> Message:
    """An event of another gateway."""
    return Message(1, 1, clock, clock, clock, device, "lamp", 1, 1, "on", 1, b"{}")


def test_events_of_another_gateway_may_be_far_ahead() -> None:
    """The next one of the same device is later; an answered time is not, as others of that time may still come."""
    clock = Clock(lambda: START, 1_000)
    clock.begin()
    clock.applied([event(1, START + 10_000)], foreign=True)
    assert clock.answered() == START
    assert clock.stamp(1) == START + 10_001


def test_a_gateway_that_only_follows_forgets_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each of them is far ahead."""
    monkeypatch.setattr(stamps, "MOST_DEVICES", 100)
    clock = Clock(lambda: START, 1_000)
    for device in range(1_000):
        clock.applied([event(device, START + 10_000)], foreign=True)
        assert len(clock._last) <= 100
    clock.begin()
    assert clock.stamp(1) > START + 10_000


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 2)), min_size=20, max_size=60))
def test_a_device_inserts_at_its_rate_and_some_seconds_of_it_at_once(inserts: list[tuple[int, int]]) -> None:
    """Each device for itself, whatever the others do: exactly as the cell rate algorithm for it alone."""
    rate, free, now = Rate(1), dict[int, float](), 0
    for later, device in inserts:
        now += later
        begun = max(free.get(device, 0.0), now)
        refused = False
        try:
            rate.begin(now)
            rate.count(device)
        except TooMany:
            refused = True
        assert refused == (free.get(device, 0.0) > now + BURST * 1_000 - 1_000)
        if not refused:
            free[device] = begun + 1_000


def test_devices_that_insert_no_more_are_forgotten() -> None:
    """A table has a few thousand devices, and else only those whose last inserts still count."""
    rate = Rate(1)
    for now in range(0, 100_000, 10):
        rate.begin(now)
        for device in range(10):
            rate.count(now + device)
        assert len(rate._free) <= stamps.MOST_DEVICES + 10
