"""Which lines forks run, if that is measured (`make coverage`): the last module that the server of forks loads.

What the loading ran is saved here, and each fork goes on with the same measurement, which begins a file of its own for
each process. With another one each fork would decide again which of all files to measure.
"""

from __future__ import annotations

import sys
from typing import Any


def _current() -> Any:
    """What measures this process, or None."""
    return sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None


def save() -> None:
    """Write which lines this fork has run."""
    if (current := _current()) is not None:
        current.save()


if (loading := _current()) is not None:
    loading.stop()
    loading.save()
    loading.start()
