"""The clock of messages and the rate of a device, against what they promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hivewire.streams.message import TooMany
from hivewire.streams.stamps import BURST, Clock, Rate

STEPS = st.lists(st.tuples(st.integers(-3, 5), st.booleans(), st.lists(st.integers(1, 4), max_size=6)), max_size=30)
"""By how much the wall clock moves, whether a time is answered, and the devices whose events follow in one commit."""


@given(STEPS)
def test_a_clock_is_later_than_the_one_before_and_than_any_answered(steps: list[tuple[int, bool, list[int]]]) -> None:
    """Wherever the wall clock goes: later than that of the device's last event, and than every time that was answered.
    None is later than `latest`."""
    wall, answered = 1_000, 0
    clock, last = Clock(lambda: wall), dict[int, int]()
    for moved, answer, devices in steps:
        wall += moved
        if answer:
            answered = clock.answered()
        earliest = clock.begin()
        for device in devices:
            found = clock.stamp(device, earliest)
            assert found > max(last.get(device, 0), answered)
            last[device] = found
        assert clock.latest() >= max(last.values(), default=0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 2)), min_size=20, max_size=60))
def test_a_device_inserts_at_its_rate_and_some_seconds_of_it_at_once(inserts: list[tuple[int, int]]) -> None:
    """Each device for itself, whatever the others do: exactly as the cell rate algorithm for it alone."""
    rate, free, now = Rate(1), dict[int, float](), 0
    for later, device in inserts:
        now += later
        begun = max(free.get(device, 0.0), now)
        refused = False
        try:
            rate.count(device, now)
        except TooMany:
            refused = True
        assert refused == (free.get(device, 0.0) > now + BURST * 1_000 - 1_000)
        if not refused:
            free[device] = begun + 1_000
