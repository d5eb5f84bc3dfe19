"""The clocks of this machine in milliseconds: the time of day, and one for durations."""

from __future__ import annotations

import time


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def elapsed() -> int:
    """Milliseconds of the monotonic clock, for durations, not for the time of day."""
    return time.monotonic_ns() // 1_000_000
