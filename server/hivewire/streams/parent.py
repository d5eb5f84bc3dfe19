"""Commands and notifications of several gateways under one parent: the protocol, and both ends of the connection.

The parent owns the real engine. A gateway has the logs in memory as usual, and appends through the parent, which sends
every entry of the log to all of them, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from hivewire.link import Keep, Link, Members, ParentLink, Turn, Turns, socket_of
from hivewire.stopped import Stopped
from hivewire.streams.contract import LOGS, Follower, Loaded, LogEngine, LogName, StoreError
from hivewire.streams.message import NotStored, StreamError, Undecided, Unreadable, Unsynced
from hivewire.telemetry import Gauges

# Requests: the methods of `LogEngine`, by name. What they answer is what those return.


class Load(Struct, array_like=True, tag=True):
    """Answered with `Begun`. Everything behind that is told."""


class Begun(Struct, array_like=True):
    """The log as it is."""

    epoch: str
    loaded: Loaded


class Append(Struct, array_like=True, tag=True):
    """If it is stored, `Stored` is told before the answer."""

    number: int
    entry: bytes


class Confirm(Struct, array_like=True, tag=True):
    """Its answer comes after all entries that were durable."""


class Forward(Struct, array_like=True, tag=True):
    """Answered with entries."""

    number: int
    take: int


class Pick(Struct, array_like=True, tag=True):
    """Answered with entries."""

    numbers: Sequence[int]


class Seal(Struct, array_like=True, tag=True):
    """Answered when it is done, and the others are told."""

    first: int
    last: int
    header: bytes
    postings: bytes


class Postings(Struct, array_like=True, tag=True):
    """Answered with bytes, or nothing."""

    first: int


class Drop(Struct, array_like=True, tag=True):
    """Answered when it is done, and the others are told."""

    oldest: int
    clock: int


Request: TypeAlias = Load | Turn | Append | Confirm | Forward | Pick | Seal | Postings | Drop
request_of = msgspec.msgpack.Decoder(Request).decode


# What the parent tells, in the order in which it happened.


class Stored(Struct, array_like=True, tag=True):
    """The entry that this gateway is appending is durable."""

    number: int


class Others(Struct, array_like=True, tag=True):
    """An entry of another gateway is durable."""

    number: int
    entry: bytes


class Closed(Struct, array_like=True, tag=True):
    """Another gateway has closed the open segment."""

    header: bytes


class Dropped(Struct, array_like=True, tag=True):
    """Another gateway has dropped what is before an entry."""

    oldest: int


Message: TypeAlias = Stored | Others | Closed | Dropped
message_of = msgspec.msgpack.Decoder(Message | Keep).decode


class LogService:
    """The parent's end of one log. It is what follows the engine."""

    def __init__(self, engine: LogEngine) -> None:
        self._engine = engine
        self._members = Members()
        self._turns = Turns()
        self._writing = asyncio.Lock()  # the engine has one writer
        self._author: Link | None = None  # of the entry that is on its way to the storage
        self._next: int | None = None  # unknown at first: then all gateways have loaded the same

    async def start(self) -> None:
        """Follow the engine, which has been opened."""
        await self._engine.follow(self)

    def connected(self) -> Link:
        """The parent's end of one more connection."""

        async def handle(body: Raw) -> Any:
            return await self._handle(link, body)

        link = Link(handle, lambda body: self._turns.end(link), lambda: self._left(link), expected=StreamError)
        return link

    def _left(self, link: Link) -> None:
        self._members.leave(link)
        self._turns.leave(link)

    # Called by the engine.

    def take(self, number: int, entry: bytes) -> None:
        """An entry is durable."""
        self._next = number + 1
        self._members.tell(Others(number, entry), self._author, Stored(number))

    def closed(self, header: bytes) -> None:
        """Nobody but this process closes segments."""

    def dropped(self, oldest: int) -> None:
        """Nobody but this process drops them."""

    # What gateways ask.

    async def _handle(self, link: Link, body: Raw) -> Any:
        match request_of(body):
            case Turn():
                return await self._turns.take(link)
            case Append(number, entry):
                return await self._turns.append(link, self._append(link, number, entry))
            case Forward(number, take):
                return await self._engine.forward(number, take)
            case Pick(numbers):
                return await self._engine.pick(numbers)
            case Postings(first):
                return await self._engine.postings(first)
            case other:
                async with self._writing:
                    return await self._write(link, other)

    async def _append(self, link: Link, number: int, entry: bytes) -> bool:
        async with self._writing:
            if self._next not in (None, number):
                return False
            self._author = link
            try:
                return await self._engine.append(number, entry)
            finally:
                self._author = None

    async def _write(self, link: Link, request: Load | Confirm | Seal | Drop) -> Any:
        engine = self._engine
        match request:
            case Load():
                begun = Begun(engine.epoch, await engine.load())
                self._members.join(link)
                return begun
            case Confirm():
                await engine.confirm()
            case Seal(first, last, header, postings):
                await engine.seal(first, last, header, postings)
                self._members.tell(Closed(header), link)
            case Drop(oldest, clock):
                await engine.drop(oldest, clock)
                self._members.tell(Dropped(oldest), link)
        return None


class ParentLog:
    """A gateway's end of one log. `on_lost` is called when the parent has gone, or has closed the connection."""

    shared = True
    stopped: Stopped | None = None

    def __init__(self, path: Path, on_lost: Callable[[], None]) -> None:
        self._link = ParentLink(
            str(path), message_of, NotStored, Undecided, Unsynced, Unreadable, unexpected=NotStored, on_lost=on_lost
        )
        self._follower: Follower
        self._entry = b""  # the one that is on its way
        self.epoch = ""

    @property
    def keeper(self) -> bool:
        """Whether this gateway is the keeper, which closes and drops segments."""
        return self._link.keeper

    async def connect(self) -> None:
        """Raises StoreError."""
        try:
            await self._link.connect()
        except OSError as error:
            raise StoreError(f"cannot reach the parent process: {error}") from error

    async def load(self) -> Loaded:
        """As the parent has it."""
        begun = await self._link.ask_for(Begun, Load())
        self.epoch = begun.epoch
        return begun.loaded

    async def follow(self, follower: Follower) -> None:
        """First what the parent has sent since `load`."""
        self._follower = follower
        self._link.follow(self._heard)

    def _heard(self, message: Message) -> None:
        match message:
            case Others(number, entry):
                self._follower.take(number, entry)
            case Stored(number):
                self._follower.take(number, self._entry)
            case Closed(header):
                self._follower.closed(header)
            case Dropped(oldest):
                self._follower.dropped(oldest)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """As the parent gives it."""
        return self._link.turn()

    async def append(self, number: int, entry: bytes) -> bool:
        """As the parent answers. Raises Undecided when the parent ends before that."""
        self._entry = entry
        return await self._link.append(Append(number, entry))

    async def confirm(self) -> None:
        """The parent sends everything that was durable at the time of the call before it replies."""
        await self._link.ask(Confirm())

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """As the parent reads it."""
        return await self._link.ask_for(list[tuple[int, bytes]], Forward(number, take))

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """As the parent reads it."""
        return await self._link.ask_for(list[tuple[int, bytes]], Pick([*numbers]))

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """By the parent, which tells the others."""
        await self._link.ask(Seal(first, last, header, postings))

    async def postings(self, first: int) -> bytes | None:
        """As the parent reads them."""
        answer: bytes | None = msgspec.msgpack.decode(await self._link.ask(Postings(first)), type=bytes | None)
        return answer

    async def drop(self, oldest: int, clock: int) -> None:
        """By the parent, which tells the others."""
        await self._link.ask(Drop(oldest, clock))

    def close(self) -> None:
        """End the connection."""
        self._link.close()


class ParentEngine:
    """Both logs, at the sockets `commands` and `notifications` of a folder."""

    def __init__(self, address: str, on_lost: Callable[[], None] = lambda: None) -> None:
        """`address` is that of the parent. `on_lost` is called when the connection of a log has ended."""
        self._logs: dict[LogName, ParentLog] = {name: ParentLog(socket_of(address, name), on_lost) for name in LOGS}

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """The parent has opened what belongs to this ledger, or has begun without messages if it was damaged."""
        if damage is not None:
            raise StoreError(f"the messages are damaged ({damage}): stop all gateways and start them again")
        for log in self._logs.values():
            await log.connect()

    def log(self, name: LogName) -> ParentLog:
        """One of the logs."""
        return self._logs[name]

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def close(self) -> None:
        """End the connections."""
        for log in self._logs.values():
            log.close()
