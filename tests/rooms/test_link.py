"""The connection between two processes of one gateway: requests, messages, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hivewire import link
from hivewire.link import Failed, Link, LinkLost, Members, Turns
from tests.running import PATIENCE


def text_of(body: Raw) -> Any:
    return msgspec.msgpack.decode(body)


class Pair:
    """Both ends, and what each was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.lost = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()
        self.near = Link(lost=self.lost.set)
        self.far = Link(self._answer, lambda body: self.told.append(text_of(body)))

    async def _answer(self, body: Raw) -> Any:
        question = text_of(body)
        if question == "wait":
            await self.hold.wait()
        if question == "fail":
            raise ValueError("not like this")
        return [question, len(self.told)]

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for end, sock in zip((self.near, self.far), socket.socketpair(), strict=True):
            await loop.create_unix_connection(lambda end=end: end, sock=sock)  # type: ignore[misc]

    async def ask(self, question: Any) -> Any:
        return text_of(await self.near.ask(question))


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.open()
    yield pair
    pair.near.close()
    pair.far.close()
    await pair.lost.wait()


async def test_answers_come_as_they_are_ready(pair: Pair) -> None:
    """Whoever waits for long does not hold up the others; each gets its own answer, of any size."""
    pair.hold.clear()
    waiting = asyncio.create_task(pair.ask("wait"))
    large = "x" * 5_000_000
    assert await asyncio.gather(*(pair.ask(question) for question in (1, large, 2))) == [[1, 0], [large, 0], [2, 0]]
    pair.hold.set()
    assert await waiting == ["wait", 0]


async def test_what_is_sent_arrives_in_order(pair: Pair) -> None:
    """A request that is sent behind messages is answered by somebody who has got them."""
    for number in range(100):
        pair.near.tell(number)
        assert await pair.ask("so many?") == ["so many?", number + 1]
    assert pair.told == list(range(100))


async def test_an_error_of_the_other_end_is_told(pair: Pair) -> None:
    """With its name and text; the connection goes on."""
    with pytest.raises(Failed, match="not like this") as failed:
        await pair.ask("fail")
    assert failed.value.kind == "ValueError"
    assert await pair.ask(1) == [1, 0]
    with pytest.raises(Failed, match="nothing is answered here"):
        await pair.far.ask("anything")


async def test_who_waits_when_the_connection_ends_is_told(pair: Pair) -> None:
    """The outcome is not known; later requests and messages go nowhere."""
    pair.hold.clear()
    waiting = asyncio.create_task(pair.ask("wait"))
    await pair.ask("it has arrived")
    pair.far.close()
    with pytest.raises(LinkLost, match="was lost"):
        await waiting
    await pair.lost.wait()
    with pytest.raises(LinkLost, match="is closed"):
        await pair.ask(1)
    pair.near.tell(1)
    pair.hold.set()
    assert pair.told == []


async def test_who_gave_up_is_not_answered(pair: Pair) -> None:
    """Neither an answer that comes at the same moment nor the end of the connection harms the others."""
    pair.hold.clear()
    waiting = [asyncio.create_task(pair.ask("wait")) for _ in range(2)]
    await pair.ask("they have arrived")
    (first, gone), (second, _) = pair.near._asked.items()
    gone.cancel()  # as a task is that waits for it; it forgets the request in the next turn of the loop
    pair.near._take(link._Frame(first, True, "", Raw(msgspec.msgpack.encode("late"))))
    pair.near._asked[second].cancel()
    pair.near.connection_lost(None)
    assert pair.lost.is_set()
    assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [
        *(asyncio.CancelledError, asyncio.CancelledError)
    ]
    pair.hold.set()


async def test_who_reads_again_is_not_cut_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a slow reader ends when it has read; the next pause has a time of its own."""
    monkeypatch.setattr(link, "SLOW_SECONDS", 0)
    pair.near.pause_writing()
    pair.near.resume_writing()
    for number in range(3):  # turns of the loop, in which the timer would be over
        assert await pair.ask(number) == [number, 0]


async def test_a_frame_that_is_too_large_ends_the_connection(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any of it is kept."""
    monkeypatch.setattr(link, "FRAME_BYTES", 1_000)
    with pytest.raises(LinkLost):
        await pair.ask("x" * 1_001)
    await pair.lost.wait()
    assert len(pair.far._received) < 2_000


async def test_the_first_member_is_the_keeper() -> None:
    """The next one follows it; the author of a message is told something else, or nothing."""
    members, pairs = Members(), [Pair() for _ in range(3)]
    for each in pairs:
        await each.open()
        members.join(each.near)
    members.tell("news", pairs[1].near, "own")
    members.tell("more", pairs[2].near)
    members.leave(pairs[0].near)
    gone = Link()
    members.join(gone)
    assert len(members) == 2, "what has gone does not join"
    members.leave(pairs[2].near)
    members.tell("end")
    for each in pairs:
        await each.ask("")
    first, second, third = (each.told for each in pairs)
    assert [message for message in first if message != ["Keep"]] == ["news", "more"]
    assert [message for message in second if message != ["Keep"]] == ["own", "more", "end"]
    assert third == ["news"]
    assert first[0] == ["Keep"]
    assert second.index(["Keep"]) == 2, "when the first one has left"
    for each in pairs:
        each.near.close()
        await each.lost.wait()


async def test_only_who_has_the_turn_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An append without a turn gives nobody the turn of another, and who did not wait for it is not given it later."""
    turns, holder, waiting, other = Turns(), Link(), Link(), Link()
    await turns.take(holder)
    monkeypatch.setattr(link, "TURN_SECONDS", PATIENCE)
    task = asyncio.create_task(turns.take(waiting))
    await asyncio.sleep(0)  # it waits
    turns.end(other)
    assert turns._holder is holder
    turns.end(holder)
    await task
    assert turns._holder is waiting
    monkeypatch.setattr(link, "TURN_SECONDS", 0)
    await turns.take(other)
    turns.end(other)
    assert turns._holder is None


async def test_an_append_whose_gateway_has_gone_is_not_remembered() -> None:
    """Nothing is kept of those that ended."""

    async def stands() -> bool:
        return True

    turns = Turns()
    await turns.append(Link(), stands())
    assert not turns._appended
