"""A connection between a gateway and its parent process, over a Unix socket: requests with answers, and messages.

Both ends may ask. What one end sends arrives in that order; answers come as they are ready. Bodies are msgpack; their
members are defined by who uses the link.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from hivewire.telemetry import log
from hivewire.unexpected import log_unexpected

M = TypeVar("M")
T = TypeVar("T")

SCHEME = "parent://"
"""Begins the address of a parent, `parent://FOLDER/NUMBER`: the folder of its sockets, and which gateway asks."""

FRAME_BYTES = (2 << 30) - 1
"""Largest frame: more than the largest transaction that settings can allow. A larger one ends the link."""

UNREAD_BYTES = 16 << 20
"""Unread bytes above which the other end has SLOW_SECONDS to read them."""

SLOW_SECONDS = 30.0
"""After this time the link to an end that does not read is closed, which bounds its queue."""

WAITING_BYTES = 1 << 30
"""What others may write while a gateway loads. Beyond that it ends, and is started again."""

TURN_SECONDS = 1.0
"""After this time a gateway need not wait for its turn any longer: the one that has it may be at a standstill."""

CONTENDED_SECONDS = 0.05
"""For so long after an entry of one gateway the others take turns. Whoever writes more rarely need not ask."""

_HEAD = 4


def socket_of(address: str, name: str) -> Path:
    """The Unix socket of this name of the parent at an address."""
    return Path(address.removeprefix(SCHEME)).parent / name


def end_without_parent() -> None:
    """End this process at once: without its parent it does not get what other gateways write."""
    log.error("the parent process has gone")
    os._exit(1)


class LinkLost(Exception):
    """The connection ended before the answer: it is not known whether the request was carried out."""


class Failed(Exception):
    """The request failed at the other end: `kind` is the name of the error there, the text its message."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class _Frame(Struct, array_like=True, gc=False):
    """`call` numbers a request and its answer; 0 is neither. `failed` names the error whose text is the body."""

    call: int
    answers: bool
    failed: str
    body: Raw


Handle: TypeAlias = Callable[[Raw], Awaitable[Any]]
Tell: TypeAlias = Callable[[Raw], None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode
_NOTHING = Raw(_encode(None))


async def _refuse(body: Raw) -> Any:
    raise NotImplementedError("nothing is answered here")


class Link(asyncio.Protocol):
    """One end. `handle` answers requests, `told` gets messages, `lost` is called once when the connection ends.

    Every error of `handle` is sent to the other end; those that are not `expected` are logged here, too.
    """

    def __init__(
        self,
        handle: Handle = _refuse,
        told: Tell = lambda body: None,
        lost: Callable[[], None] = lambda: None,
        expected: type[Exception] | tuple[()] = (),
    ) -> None:
        self.handle = handle
        self.expected = expected
        self.told = told
        self.lost = lost
        self.open = False
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Raw]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slow: asyncio.TimerHandle | None = None

    # For the user.

    async def ask(self, request: Any) -> Raw:
        """Send a request and return its answer. Raises Failed, and LinkLost when the connection ends before."""
        if not self.open:
            raise LinkLost("the connection is closed")
        number = next(self._numbers)
        future: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._send(_Frame(number, False, "", Raw(_encode(request))))
        try:
            return await future
        finally:
            del self._asked[number]

    def tell(self, message: Any) -> None:
        """Send a message, unless the connection has ended."""
        self._send(_Frame(0, False, "", Raw(_encode(message))))

    def close(self) -> None:
        """End the connection, after what was sent."""
        if self.open:
            self._transport.close()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(UNREAD_BYTES)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete."""
        received, start = self._received, 0
        received += data
        while len(received) - start >= _HEAD:
            size = int.from_bytes(received[start : start + _HEAD], "big")
            if size > FRAME_BYTES:
                self._transport.abort()
                return
            end = start + _HEAD + size
            if len(received) < end:
                break
            self._take(_decode(bytes(memoryview(received)[start + _HEAD : end])))
            start = end
        if start:
            del received[:start]

    def pause_writing(self) -> None:
        """The other end does not read: give it SLOW_SECONDS."""
        self._slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        """The other end has read most of it."""
        if self._slow is not None:
            self._slow.cancel()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all requests that are not answered."""
        self.open = False
        self.resume_writing()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(LinkLost("the connection was lost"))
        self.lost()

    # Frames.

    def _send(self, frame: _Frame) -> None:
        if self.open:
            body = _encode(frame)
            # Not `writelines`: that of asyncio in Python 3.12 and 3.13.0 never calls `pause_writing`.
            self._transport.write(len(body).to_bytes(_HEAD, "big") + body)

    def _take(self, frame: _Frame) -> None:
        if frame.answers:
            future = self._asked.get(frame.call)
            if future is None or future.done():
                return
            if frame.failed:
                future.set_exception(Failed(frame.failed, msgspec.msgpack.decode(frame.body, type=str)))
            else:
                future.set_result(frame.body)
        elif frame.call:
            task = asyncio.create_task(self._answer(frame.call, frame.body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.told(frame.body)

    async def _answer(self, call: int, body: Raw) -> None:
        failed, answer = "", _NOTHING
        try:
            answer = Raw(_encode(await self.handle(body)))
        except Exception as error:
            if not isinstance(error, self.expected):
                log_unexpected("a request of another process failed", error)
            failed, answer = type(error).__name__, Raw(_encode(str(error)))
        self._send(_Frame(call, True, failed, answer))


class Keep(Struct, array_like=True, tag=True):
    """To a gateway: from now on it is the keeper, which removes what is no longer needed."""


class Turn(Struct, array_like=True, tag=True):
    """From a gateway: answered when it is the next to append (`Turns`)."""


class Passed(Struct, array_like=True, tag=True):
    """From a gateway, the only message: it has nothing to append in its turn."""


class ParentLink(Link, Generic[M]):
    """A gateway's end of a connection to its parent, for a log that the parent owns.

    `message_of` decodes messages of the parent. `unwritten` is raised when nothing was sent, `undecided` when nobody
    knows whether it was done. Errors of the parent with the name of one of these or of `others` are that one, all
    others are `unexpected`. `on_lost` is called when the connection ends, but not by `close`.
    """

    def __init__(
        self,
        path: str,
        message_of: Callable[[Raw], M | Keep],
        unwritten: type[Exception],
        undecided: type[Exception],
        *others: type[Exception],
        unexpected: type[Exception],
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(told=self._told, lost=self._lost)
        self.keeper = False
        """Whether this gateway is the keeper."""
        self._path = path
        self._message_of = message_of
        self._unwritten, self._undecided, self._unexpected = unwritten, undecided, unexpected
        self._errors = {error.__name__: error for error in (unwritten, undecided, *others)}
        self._on_lost = on_lost
        self._closed = False
        self._contended = False  # whether others appended too, when this gateway last did
        self._used = False  # whether it has appended in its turn
        self._hear: Callable[[M], None] | None = None
        self._waiting: deque[M] = deque()  # what was told before `follow`
        self._waiting_bytes = 0

    async def connect(self) -> None:
        """Open the connection. Raises OSError."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, self._path)

    def follow(self, hear: Callable[[M], None]) -> None:
        """Call `hear` with every message of the parent, in order, first with those that have come so far."""
        self._hear = hear
        while self._waiting:
            hear(self._waiting.popleft())

    async def ask(self, request: Any) -> Raw:
        """Send a request to the parent and return its reply; raises what the log raises."""
        if not self.open:
            raise self._unwritten("not connected to the parent process")
        try:
            return await super().ask(request)
        except LinkLost as error:
            raise self._undecided("the parent process has gone") from error
        except Failed as error:
            raise self._errors.get(error.kind, self._unexpected)(str(error)) from None

    async def ask_for(self, answer: type[T], request: Any) -> T:
        """The same, with the reply decoded."""
        return msgspec.msgpack.decode(await self.ask(request), type=answer)

    async def append(self, request: Any) -> bool:
        """Ask for an append, which the parent answers with `Turns.append`. Whether the entry stands."""
        self._used = True
        stands, self._contended = await self.ask_for(tuple[bool, bool], request)
        return stands

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of this gateway, which is waited for while others append too. It ends with an append."""
        if not self._contended:
            yield
            return
        with suppress(self._unwritten, self._undecided):  # the append will say so
            await self.ask(Turn())
        self._used = False
        try:
            yield
        finally:
            if not self._used:
                self.tell(Passed())

    def close(self) -> None:
        """End the connection, which is no loss."""
        self._closed = True
        super().close()

    def _told(self, body: Raw) -> None:
        message = self._message_of(body)
        if isinstance(message, Keep):
            self.keeper = True
        elif self._hear is not None:
            self._hear(message)
        else:
            self._waiting.append(message)
            self._waiting_bytes += len(body)
            if self._waiting_bytes > WAITING_BYTES:
                log.error("more was written than may wait while this gateway loads", bytes=self._waiting_bytes)
                super().close()

    def _lost(self) -> None:
        self.keeper = False
        if not self._closed:
            self._on_lost()


class Members:
    """The links of one kind to several gateways, in the order in which they joined. The first one is the keeper."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}

    def join(self, link: Link) -> None:
        """Send it everything from now on, unless its connection has ended already."""
        if link.open:
            self._links[link] = None
            self._name_keeper()

    def leave(self, link: Link) -> None:
        """The connection has ended."""
        self._links.pop(link, None)
        self._name_keeper()

    def tell(self, message: Any, author: Link | None = None, own: Any = None) -> None:
        """Send a message to all but the author, who gets `own`, if there is one."""
        for link in self._links:
            if link is not author:
                link.tell(message)
            elif own is not None:
                link.tell(own)

    def __len__(self) -> int:
        return len(self._links)

    def _name_keeper(self) -> None:
        for link in self._links:
            link.tell(Keep())  # told to the same one again, it changes nothing
            break


class Turns:
    """Which of several gateways appends next: the one that has waited longest.

    What is evaluated while the entry of another gateway is on its way comes too late, so without turns busy gateways
    evaluate everything twice. They only save work: an append without a turn is carried out like any other.
    """

    def __init__(self) -> None:
        self._holder: Link | None = None
        self._waiting: dict[Link, asyncio.Future[None]] = {}
        self._appended: dict[Link, float] = {}  # when each gateway last did

    async def take(self, link: Link) -> None:
        """Return when it is the turn of a gateway, or after TURN_SECONDS."""
        if self._holder is not None and self._holder is not link:
            future = self._waiting[link] = asyncio.get_running_loop().create_future()
            await asyncio.wait({future}, timeout=TURN_SECONDS)
            if future.done():  # `end` has given it the turn, or its connection has ended
                return
            del self._waiting[link]
        self._holder = link

    async def append(self, link: Link, append: Awaitable[bool]) -> tuple[bool, bool]:
        """Await an append. Whether its entry stands, and whether others have appended lately."""
        if self._holder is None:
            self._holder = link
        try:
            stands = await append
        finally:
            self.end(link)
        now = perf_counter()
        if stands and link.open:
            self._appended[link] = now
        return stands, any(now - at < CONTENDED_SECONDS for other, at in self._appended.items() if other is not link)

    def end(self, link: Link) -> None:
        """The turn of a gateway is over, if it was its turn."""
        if self._holder is link:
            self._holder = next(iter(self._waiting), None)
            if self._holder is not None:
                self._waiting.pop(self._holder).set_result(None)

    def leave(self, link: Link) -> None:
        """The connection of a gateway has ended."""
        if (future := self._waiting.pop(link, None)) is not None:
            future.cancel()
        self._appended.pop(link, None)
        self.end(link)
