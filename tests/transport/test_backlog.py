"""Turns of connections without a login, which share one in each iteration of the event loop."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, cast

from hivewire.transport.backlog import Backlog, Turns


class Transport:
    """A transport that may be closing."""

    def __init__(self, closing: bool = False) -> None:
        self._closing = closing

    def is_closing(self) -> bool:
        return self._closing


def backlog(closing: bool = False) -> Backlog:
    """That of a connection."""
    return Backlog(cast(Any, Transport(closing)))


async def test_all_connections_share_the_time_of_one_turn() -> None:
    """When it is over the others wait for the next one; the one that has waited longest goes first."""
    turns, worked, ends = Turns(0.0, 0.0), list[str](), set[float]()
    first, second, third = backlog(), backlog(), backlog()

    def work(name: str) -> None:
        worked.append(name)
        ends.add(turns.end)
        began = monotonic()
        while monotonic() == began:
            pass  # the time of the turn is over
        if worked == ["first"]:
            turns.schedule(first, lambda: work("first again"))

    turns.schedule(first, lambda: work("first"))
    turns.schedule(second, lambda: work("second"))
    turns.schedule(second, lambda: work("second twice"))
    turns.schedule(third, lambda: work("third"))
    while "first again" not in worked:
        await asyncio.sleep(0)
    assert worked == ["first", "second", "third", "first again"]
    assert len(ends) == len(worked)


async def test_a_connection_that_closes_has_no_turn() -> None:
    """What it sent last is not handled."""
    turns, worked = Turns(1.0, 1.0), list[str]()
    turns.schedule(backlog(closing=True), lambda: worked.append("closing"))
    turns.schedule(backlog(), lambda: worked.append("open"))
    await asyncio.sleep(0)
    assert worked == ["open"]
