"""Detects a wrong clock: one that is set back while the gateway runs, is behind the ledger's last change, or was never
set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.clocks import elapsed
from hivewire.ledger.records import Change
from hivewire.telemetry import log

STEP = 60_000
"""Milliseconds by which a clock may be set, or be behind the last change, without a log line."""

DAY = 86_400_000

EARLIEST = 1_577_836_800_000
"""2020 began. A machine without a battery for its clock starts at 1970, or when its system was built."""


class ClockWatch:
    """Compares the clock with the monotonic clock, and with the last change. `now` gives milliseconds.

    `on_set_back` is called when it was set back by more than STEP. `last_change` is the time of the last change.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.on_set_back: Callable[[], None] = lambda: None
        self.last_change = 0
        self._now = now
        self._offset = self._ahead()
        self._behind = False
        self._early = False

    def note(self, changes: Sequence[Change]) -> None:
        """Remember the time of the newest change; called by the ledger."""
        self.last_change = changes[-1].time

    def check(self) -> None:
        """Log what is wrong, once. Called by a timer."""
        offset = self._ahead()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            log.warning("the clock was set", seconds=step // 1_000)
        if step < -STEP:
            self.on_set_back()
        behind = self.last_change - self._now()
        if behind > STEP and not self._behind:
            log.warning("the clock is behind the last change", seconds=behind // 1_000)
        self._behind = behind > STEP
        early = self._now() < EARLIEST
        if early and not self._early:
            log.warning("the clock is before 2020; is it set?")
        self._early = early

    @property
    def problem(self) -> str | None:
        """Why writes should not use the clock: it is before 2020, or over a day behind the last change. None when it is
        right."""
        if self._now() < EARLIEST:
            return "the clock is before 2020; set it"
        behind = self.last_change - self._now()
        if behind <= DAY:
            return None
        advice = "set it, or write any value to accept the current time"
        return f"the clock is {behind // DAY} days behind the last change; {advice}"

    def _ahead(self) -> int:
        return self._now() - elapsed()
