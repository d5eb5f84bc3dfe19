"""`python -m tests.faults.gateway`: the command `hivewire` with a disk and a clock that follow the orders of a test."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hivewire import cli
from hivewire.ledger.engines.sqlite import journal
from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from tests.faults.disk import Desk, Disk

# `_insert` rather than `append`, which also announces what it wrote: to die between the two must be possible.
WATCHED = {"open": "load", "_insert": "append", "remember": "remember", "remove": "remove", "close": "close"}
"""Methods of the engine, and what the orders of a test call them."""


def main() -> None:
    """The file with the orders is named by the variable FAULTS, what they may be about by FAULTS_OF: `disk and clock`,
    `clock`, or `disk`, which has no power cuts."""
    desk, about = Desk(Path(os.environ["FAULTS"])), os.environ["FAULTS_OF"]
    disk = Disk(desk, power_cuts=about != "disk")
    if "disk" in about:
        disk.install()
    if "clock" in about:
        really = time.time_ns
        time.time_ns = lambda: really() + desk.take()[1].clock * 1_000_000_000
    vars(journal)["SqliteJournal"] = _watched(disk)  # before the engine imports it
    cli.main()


def _watched(disk: Disk) -> type[SqliteJournal]:
    """The engine, which tells the disk what it is about."""

    def method(name: str, what: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        really = getattr(SqliteJournal, name)

        async def watched(*arguments: Any) -> Any:
            # What is noted of messages, at every start too, is no note of the ledger.
            of_messages = what == "remember" and any(key.startswith("messages:") for key in arguments[-1])
            disk.during = "" if of_messages else what
            try:
                done = await really(*arguments)
                disk.operation("return")
                return done
            finally:
                disk.during = ""

        return watched

    return type("Watched", (SqliteJournal,), {name: method(name, what) for name, what in WATCHED.items()})


if __name__ == "__main__":
    main()
