"""Which lines forks run, if that is measured (`make coverage`): the last module that the server of forks loads.

What measures the loading ends here, and another one begins, which each fork goes on with. In a fork of its own making
coverage would read its settings and look at every file first, which takes longer than the start of a gateway.
"""

from __future__ import annotations

import signal
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
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # on which the first one would write once more
    sys.modules["coverage"].process_startup(force=True)
