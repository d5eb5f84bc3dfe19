"""What waits on a socket, a peer that does not read, and slices of time for connections without a login."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, cast

from hivewire.transport.back_pressure import PIECE, Backlog, Slices, Stall, Turns, Watch
from hivewire.transport.frames import FrameReader
from tests.running import PATIENCE


class Transport:
    """A transport that may be closing."""

    def __init__(self, closing: bool = False) -> None:
        self._closing = closing

    def is_closing(self) -> bool:
        return self._closing


def backlog(closing: bool = False) -> Backlog:
    """That of a connection."""
    return Backlog(cast(Any, Transport(closing)), FrameReader(1))


class Unread:
    """A transport with unread bytes: so many at each look, until it is aborted."""

    def __init__(self, *looks: int) -> None:
        self._looks = [*looks]
        self.aborted = asyncio.Event()

    @property
    def left(self) -> int:
        return len(self._looks)

    def get_write_buffer_size(self) -> int:
        return self._looks.pop(0)

    def abort(self) -> None:
        self.aborted.set()


async def test_a_peer_that_has_read_nothing_between_two_looks_is_cut() -> None:
    """As long as it reads anything it is not."""
    transport = Unread(3, 2, 1, 1, 0)
    Watch(cast(Any, transport), 0.0)
    await asyncio.wait_for(transport.aborted.wait(), PATIENCE)
    assert transport.left == 1


async def test_a_peer_that_is_not_watched_any_more_is_not_cut() -> None:
    """Not even if it has read nothing since the last look."""
    transport = Unread(3, 2, 2)
    watch = Watch(cast(Any, transport), 0.0)
    while transport.left > 1:
        await asyncio.sleep(0)
    watch.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (transport.left, transport.aborted.is_set()) == (1, False)


async def test_all_connections_share_one_slice_of_time() -> None:
    """When it is over the others wait for the next one; the one that has waited longest goes first."""
    slices, worked, ends = Slices(0.0, 0.0), list[str](), set[float]()
    first, second, third = backlog(), backlog(), backlog()

    def work(name: str) -> None:
        worked.append(name)
        ends.add(slices.end)
        began = monotonic()
        while monotonic() == began:
            pass  # the slice is over
        if worked == ["first"]:
            slices.schedule(first, lambda: work("first again"))

    slices.schedule(first, lambda: work("first"))
    slices.schedule(second, lambda: work("second"))
    slices.schedule(second, lambda: work("second twice"))
    slices.schedule(third, lambda: work("third"))
    while "first again" not in worked:
        await asyncio.sleep(0)
    assert worked == ["first", "second", "third", "first again"]
    assert len(ends) == len(worked)


async def test_a_connection_that_closes_gets_no_time() -> None:
    """What it sent last is not handled."""
    slices, worked = Slices(1.0, 1.0), list[str]()
    slices.schedule(backlog(closing=True), lambda: worked.append("closing"))
    slices.schedule(backlog(), lambda: worked.append("open"))
    await asyncio.sleep(0)
    assert worked == ["open"]


async def test_requests_take_turns_and_others_are_served_between_them() -> None:
    """A request alone goes on at once; after a slice the next waits for a pause, and a cancelled one is skipped."""
    turns, order = Turns(0.0, 0.0), list[str]()

    async def request(name: str) -> None:
        await turns.take()
        order.append(name)
        began = monotonic()
        while monotonic() == began:
            pass  # the slice is over

    requests = [asyncio.create_task(request(name)) for name in ("first", "second", "cancelled", "third")]
    asyncio.get_running_loop().call_soon(requests[2].cancel)
    asyncio.get_running_loop().call_soon(order.append, "others")
    await asyncio.gather(*requests, return_exceptions=True)
    assert order == ["first", "others", "second", "third"]
    await asyncio.sleep(0.001)
    await asyncio.gather(request("alone"))
    assert order[-1] == "alone"


def text(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


def test_messages_that_were_put_off_come_before_bytes_and_bytes_come_in_pieces() -> None:
    """So the order of requests is kept, and one connection does not delay the others."""
    waits = Backlog(cast(Any, Transport()), FrameReader(1 << 20))
    message = b"x" * (PIECE // 2)
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
