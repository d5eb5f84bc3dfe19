"""A store of messages in the file that is its argument, its disk as a test orders, and one request in a line.

`insert COUNT VALUE` inserts so many messages at once and prints their places, or the names of the errors. `key KEY
VALUE` inserts one under a key, and prints its place. `all` prints the places and values of everything that can be read,
from the oldest on. `on MILLISECONDS` lets time go by, and closes and drops what is due. Segments are closed after four
messages. At the end of the input it stops.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from hivewire import group_commit
from hivewire.streams import segment
from hivewire.streams.log import Log
from hivewire.streams.message import StreamError
from hivewire.streams.sqlite import SqliteEngine, SqliteLog
from tests.faults.disk import Desk, Disk
from tests.streams.kit import Clocks, draft, messages_on, updating

WATCHED = (
    (SqliteEngine, "open", "load"),
    (SqliteEngine, "close", "close"),
    (SqliteLog, "append", "append"),
    (SqliteLog, "seal", "seal"),
    (SqliteLog, "drop", "drop"),
)
"""Methods of the engine, and what the orders of a test call them."""


def watch(disk: Disk) -> None:
    """Let the engine tell the disk what it is about."""

    def watched(really: Callable[..., Coroutine[Any, Any, Any]], what: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def method(*arguments: Any, **named: Any) -> Any:
            disk.during = what
            try:
                done = await really(*arguments, **named)
                disk.operation("return")
                return done
            finally:
                disk.during = ""

        return method

    for owner, name, what in WATCHED:
        setattr(owner, name, watched(getattr(owner, name), what))


async def serve(path: Path) -> None:
    """Answer the requests of standard input."""
    clocks = Clocks()
    messages = messages_on(SqliteEngine(path), clocks)
    try:
        await messages.open("ledger")
        say("open")
        for line in sys.stdin:
            say(await answer(messages.commands, clocks, *line.split()))
    finally:
        await messages.close()


def say(answer: object) -> None:
    """Print a line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def answer(log: Log, clocks: Clocks, what: str, number: str = "", value: str = "") -> Any:
    """What is printed for a request."""
    if what == "insert":
        drafts = [log.insert(draft(value=value)) for _ in range(int(number))]
        outcomes = await asyncio.gather(*drafts, return_exceptions=True)
        return [type(one).__name__ if isinstance(one, BaseException) else one.place for one in outcomes]
    if what == "key":
        return (await log.insert(draft(value=value, key=number))).place
    if what in ("update", "state"):
        [oldest] = await log.since(log.oldest - 1, take=1)
        if what == "state":
            now = await log.get(oldest.device, oldest.id)
            assert now is not None
            return msgspec.json.decode(now.body)["value"]
        try:
            return [(await log.update(oldest.device, oldest.id, updating(value))).place]
        except StreamError as error:
            return [type(error).__name__]
    if what == "on":
        clocks.on(int(number))
        log.tidy()
        while log.is_tidying:
            await asyncio.sleep(0.001)
        return log.oldest
    found, place = [], log.oldest - 1
    while messages := await log.since(place, take=100):
        found += [(message.place, msgspec.json.decode(message.body)["value"]) for message in messages]
        place = messages[-1].place
    return found


def main() -> None:
    """The file with the orders for the disk is named by the variable FAULTS."""
    vars(segment)["SEGMENT_MESSAGES"] = 4
    # An insert whose sync failed is answered after this, even if what it left is not overwritten yet: then a kill
    # brings it back. A second is too short on a machine that has other things to do for so long.
    vars(group_commit)["PROBE_PATIENCE"] = 60
    orders = Disk(Desk(Path(os.environ["FAULTS"])))
    watch(orders)
    orders.install()
    asyncio.run(serve(Path(sys.argv[1])))
