"""What waits on a socket, a peer that does not read, and turns of connections without a login."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, cast

from hivewire.transport.back_pressure import SLICE, Backlog, Stall, Turns
from hivewire.transport.frames import FrameReader


class Transport:
    """A transport that may be closing."""

    def __init__(self, closing: bool = False) -> None:
        self._closing = closing

    def is_closing(self) -> bool:
        return self._closing


def backlog(closing: bool = False) -> Backlog:
    """That of a connection."""
    return Backlog(cast(Any, Transport(closing)), FrameReader(1))


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


def text(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


def test_messages_that_were_put_off_come_before_bytes_and_bytes_come_in_slices() -> None:
    """So the order of requests is kept, and one connection does not delay the others."""
    waits = Backlog(cast(Any, Transport()), FrameReader(1 << 20))
    message = b"x" * (SLICE // 2)
    waits.add(text(message) * 3)
    waits.events = [b"first", b"second"]
    taken = []
    while waits.waiting:
        taken.append(list(waits.take()))
    assert taken == [[b"first", b"second"], [message], [message, message]]


def test_a_look_ahead_takes_nothing_away() -> None:
    """It finds everything that waits, and all of it still waits; what is unfinished counts in both forms."""
    waits = Backlog(cast(Any, Transport()), FrameReader(1 << 20))
    waits.events = [b"first"]
    waits.add(text(b"second") + text(b"unfinished")[:-1])
    size = waits.size
    assert waits.look_ahead() == waits.look_ahead() == [b"first", b"second"]
    assert waits.size > size > len(b"first") + len(text(b"second"))
    assert list(waits.take()) == [b"first", b"second"]
    assert not waits.waiting


async def test_who_was_idle_once_stays_idle_until_the_stall_ends() -> None:
    """Changes are conflated for a peer that read nothing for long, also when it has read a little since."""
    stall, hour = Stall(10), 3_600
    assert stall.look(10, hour) < hour
    assert not stall.idle(hour)
    assert stall.look(10, 0) < hour
    stall.look(5, hour)
    assert stall.idle(hour)
