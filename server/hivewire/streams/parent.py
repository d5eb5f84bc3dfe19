"""Commands and notifications of several gateways under one parent: what both say, and their ends of the connection.

The parent owns the real engine. A gateway has the logs in memory as usual, and appends through the parent, which tells
all of them what is in the log, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from hivewire.link import Failed, Link, LinkLost, Members, socket_of
from hivewire.reports import report
from hivewire.streams.contract import LOGS, Follower, Loaded, LogEngine, LogName, StoreError
from hivewire.streams.message import NotStored, StreamError, Undecided, Unreadable

T = TypeVar("T")

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


Request: TypeAlias = Load | Append | Confirm | Forward | Pick | Seal | Postings | Drop
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


class Keep(Struct, array_like=True, tag=True):
    """From now on it is this gateway that closes and drops segments."""


Message: TypeAlias = Stored | Others | Closed | Dropped | Keep
message_of = msgspec.msgpack.Decoder(Message).decode


class LogService:
    """The parent's end of one log. It is what follows the engine."""

    def __init__(self, engine: LogEngine) -> None:
        self._engine = engine
        self._members = Members(Keep())
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

        link = Link(handle, lost=lambda: self._members.leave(link))
        return link

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
        request = request_of(body)
        try:
            if isinstance(request, Load | Append | Confirm | Seal | Drop):
                async with self._writing:
                    return await self._write(link, request)
            return await self._read(request)
        except StreamError:
            raise
        except Exception as error:
            report("a request of a gateway failed", error)
            raise

    async def _read(self, request: Forward | Pick | Postings) -> Any:
        match request:
            case Forward(number, take):
                return await self._engine.forward(number, take)
            case Pick(numbers):
                return await self._engine.pick(numbers)
            case Postings(first):
                return await self._engine.postings(first)

    async def _write(self, link: Link, request: Load | Append | Confirm | Seal | Drop) -> Any:
        engine = self._engine
        match request:
            case Load():
                begun = Begun(engine.epoch, await engine.load())
                self._members.join(link)
                return begun
            case Append(number, entry):
                if self._next not in (None, number):
                    return False
                self._author = link
                try:
                    return await engine.append(number, entry)
                finally:
                    self._author = None
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
    rest = 0.0

    def __init__(self, path: Path, on_lost: Callable[[], None]) -> None:
        self._path = path
        self._on_lost = on_lost
        self._link = Link(told=self._told, lost=self._lost)
        self._closed = False
        self._follower: Follower | None = None
        self._waiting: deque[Message] = deque()  # what was told before `follow`
        self._entry = b""  # the one that is on its way
        self.epoch = ""
        self.keeper = False

    async def connect(self) -> None:
        """Raises StoreError."""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self._link, str(self._path))
        except OSError as error:
            raise StoreError(f"cannot reach the parent process: {error}") from error

    async def load(self) -> Loaded:
        """As the parent has it."""
        begun = await self._ask(Load(), Begun)
        self.epoch = begun.epoch
        return begun.loaded

    async def follow(self, follower: Follower) -> None:
        """First what was told since `load`."""
        self._follower = follower
        while self._waiting:
            self._heard(follower, self._waiting.popleft())

    def _told(self, body: Raw) -> None:
        message = message_of(body)
        if isinstance(message, Keep):
            self.keeper = True
        elif self._follower is None:
            self._waiting.append(message)
        else:
            self._heard(self._follower, message)

    def _lost(self) -> None:
        self.keeper = False
        if not self._closed:
            self._on_lost()

    def _heard(self, follower: Follower, message: Message) -> None:
        match message:
            case Others(number, entry):
                follower.take(number, entry)
            case Stored(number):
                follower.take(number, self._entry)
            case Closed(header):
                follower.closed(header)
            case Dropped(oldest):
                follower.dropped(oldest)

    async def append(self, number: int, entry: bytes) -> bool:
        """As the parent answers. Raises Undecided when it has gone meanwhile."""
        self._entry = entry
        return await self._ask(Append(number, entry), bool)

    async def confirm(self) -> None:
        """What was durable when the parent was asked has been told before its answer."""
        await self._ask(Confirm(), type(None))

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """As the parent reads it."""
        return await self._ask(Forward(number, take), list[tuple[int, bytes]])

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """As the parent reads it."""
        return await self._ask(Pick([*numbers]), list[tuple[int, bytes]])

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """By the parent, which tells the others."""
        await self._ask(Seal(first, last, header, postings), type(None))

    async def postings(self, first: int) -> bytes | None:
        """As the parent reads them."""
        answer: bytes | None = msgspec.msgpack.decode(await self._asked(Postings(first)), type=bytes | None)
        return answer

    async def drop(self, oldest: int, clock: int) -> None:
        """By the parent, which tells the others."""
        await self._ask(Drop(oldest, clock), type(None))

    def close(self) -> None:
        """End the connection."""
        self._closed = True
        self._link.close()

    async def _ask(self, request: Request, answer: type[T]) -> T:
        return msgspec.msgpack.decode(await self._asked(request), type=answer)

    async def _asked(self, request: Request) -> Raw:
        """The answer, with the errors that the log knows."""
        if not self._link.open:
            raise NotStored("the parent process has gone")
        try:
            return await self._link.ask(request)
        except LinkLost as error:
            raise Undecided("the parent process has gone") from error
        except Failed as error:
            raise _ERRORS.get(error.kind, NotStored)(str(error)) from None


_ERRORS: dict[str, type[StreamError]] = {error.__name__: error for error in (NotStored, Undecided, Unreadable)}


class ParentEngine:
    """Both logs, at the sockets `commands` and `notifications` of a folder."""

    def __init__(self, address: str, on_lost: Callable[[], None] = lambda: None) -> None:
        """`address` is that of the parent. `on_lost` is called when the connection of a log has ended."""
        self._logs: dict[LogName, ParentLog] = {name: ParentLog(socket_of(address, name), on_lost) for name in LOGS}

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """The parent has opened what belongs to this ledger, and has begun anew if it was damaged."""
        if damage is not None:
            raise StoreError(f"the messages are damaged ({damage}): stop all gateways and start them again")
        for log in self._logs.values():
            await log.connect()

    def log(self, name: LogName) -> ParentLog:
        """One of the logs."""
        return self._logs[name]

    async def close(self) -> None:
        """End the connections."""
        for log in self._logs.values():
            log.close()
