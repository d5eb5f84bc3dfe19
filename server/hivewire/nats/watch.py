"""Checks that a log is still the one from which entries were applied. Servers that were restored may have another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hivewire.nats import stream as streams
from hivewire.nats.connection import Connection, Refused, Silent
from hivewire.nats.entry import entry_id
from hivewire.stopped import Stopped

WATCH_SECONDS, WATCH_TRIES = 10.0, 3
"""How often the history is compared with the log, and how often a log has to be another one before that is believed."""


async def compare(
    connection: Connection, stream: str, epoch: str, applied: Callable[[], tuple[int, bytes]]
) -> Stopped | None:
    """Why the log should not be followed any more; None when it has what was `applied`, or nobody can tell now.

    `applied` gives the place of the last entry and its id.
    """
    for _ in range(WATCH_TRIES):
        tip, last = applied()
        try:
            info = await streams.inspect(connection, stream)
            if info is not None and info.metadata.get(streams.EPOCH, epoch) != epoch:
                return Stopped("the log was recreated", again=True)
            if info is not None and info.last >= tip and await _has(connection, stream, tip, last):
                return None
        except (Silent, Refused):
            return None  # no leader now: nobody says that anything is missing
        await asyncio.sleep(WATCH_SECONDS / WATCH_TRIES)
    return Stopped(
        f"the log has lost entries that were acknowledged: it ends before {tip}, or has another entry there;"
        " restore a backup, or accept the loss with: hivewire cluster renew",
        again=False,
    )


async def _has(connection: Connection, stream: str, place: int, id: bytes) -> bool:
    """Whether the leader has the entry there, as far as it can be told: it may be compacted away, or be large."""
    if not place or not id:
        return True
    return await entry_id(connection, stream, place) in (None, id)
