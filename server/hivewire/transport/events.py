"""Event streams: subscriptions for plain HTTP clients (WHATWG HTML, section 9.2; configuration contract, section 5)."""

from __future__ import annotations

import asyncio
import random
from asyncio import FIRST_COMPLETED as FIRST
from collections import deque
from collections.abc import Awaitable

from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.dispatch import Dispatcher
from hivewire.hub.feed import Feed
from hivewire.hub.frames import Frame, draining
from hivewire.transport.asgi import Receive, Scope, Send
from hivewire.transport.connection import HttpProtocol
from hivewire_protocol.close import TABLE, Code
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import Unavailable, WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.subscription import SubscribeReply

WRITE = 64 << 10
"""Bytes of events that are written at a time."""

LOOK_SECONDS = 0.5
"""Interval of checks whether a slow peer has read anything."""

LEAST_RETRY = 100
"""Least milliseconds after which a client is told to reconnect. `EventSource` waits as long after each failure, too."""

EVENTS = "text/event-stream"

HEADERS = [
    (b"content-type", EVENTS.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx must not buffer events
]


class EventStreams:
    """All open streams of one gateway."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.open: dict[int, EventStream] = {}
        dispatcher.services.connections.tables.append(self.open)
        self.draining = False

    async def subscribe(self, caller: Caller, request: Request) -> EventStream:
        """The stream of a new subscription, an ASGI response. The request is any that is answered with SubscribeReply.

        Raises WireError.
        """
        if self.draining:
            raise Unavailable("the gateway is stopping")
        caller.listener = stream = EventStream(self, caller, type(request))
        reply = await self.dispatcher.carry_out(caller, request)
        assert isinstance(reply, SubscribeReply)  # noqa: S101 - what subscribing returns
        if self.draining:  # it began while the request waited for a revision
            stream.feed.close()
            raise Unavailable("the gateway is stopping")
        stream.start(reply)
        return stream

    def closing(self) -> int:
        """The number of finished streams whose callers have not read the last event yet."""
        return sum(stream.ended for stream in self.open.values())

    def drain(self, spread: float) -> None:
        """End all streams. Each client is told to reconnect at a random time within `spread` seconds."""
        self.draining = True
        for stream in self.open.values():
            milliseconds = max(LEAST_RETRY, random.randrange(int(spread * 1_000) + 1))  # noqa: S311 - no secret
            reason = TABLE[Code.GOING_AWAY].reason.format(ms=milliseconds)
            others = self.dispatcher.services.settings.other_gateways
            stream.push(stream.framing("server", 0, False, "draining")(draining(others, milliseconds), None))
            stream.finish(Code.GOING_AWAY, reason, b"retry: %d\n" % milliseconds)


class EventStream:
    """One stream: a bounded queue of events, and the task of the request that empties it."""

    kind = "events"
    outlives_token = False

    def __init__(self, streams: EventStreams, caller: Caller, request: type[Request]) -> None:
        self._streams = streams
        services = streams.dispatcher.services
        self.number = next(services.connections.numbers)
        self.since = services.ledger.now()
        self._settings = services.settings
        self.caller = caller
        self._request = request
        self._out: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self.ended = False
        """Whether its last event is queued already."""
        self._connection: HttpProtocol

    # The listener that the hub pushes to.

    @staticmethod
    def framing(topic: str, number: int, rpc: bool, what: str) -> Frame:
        """What makes one event; its id is the position, so that `Last-Event-ID` resumes."""

        def frame(members: bytes, position: str | None) -> bytes:
            identity = b"id: %b\n" % position.encode() if position is not None else b""
            return b"event: %b\n%bdata: {%b}\n\n" % (what.encode(), identity, members)

        return frame

    def push(self, data: bytes) -> None:
        """Queue an event. When the queue is full, the feed pauses until half of it is written."""
        if self.ended:
            return
        self._out.append(data)
        self._bytes += len(data)
        self._news.set()
        if self._bytes >= self._settings.outbox_bytes:
            self.feed.pause()

    def close(self, code: Code) -> None:
        """End with an event that gives the code and the reason."""
        self.finish(code, TABLE[code].reason)

    def authenticated(self) -> None:
        """Does nothing: only authenticated callers can open a stream."""

    def suspend(self) -> None:
        """End the stream if its token is no longer valid: a client can send a new one only by reconnecting."""
        try:
            self._streams.dispatcher.admit(self.caller, self._request)
        except WireError as error:
            self.finish(error.code, str(error))

    def finish(self, code: int, reason: str, fields: bytes = b"") -> None:
        """Queue the last event, after all others."""
        self.push(b"event: close\n%bdata: %b\n\n" % (fields, encode({"code": code, "reason": reason})))
        self.ended = True

    @property
    def unread(self) -> int:
        """Bytes that the peer has not read yet, beyond the kernel's buffers."""
        return self._bytes + self._connection.unsent

    # The ASGI response.

    def start(self, reply: SubscribeReply) -> None:
        """Queue a bookmark with the position from which the caller can resume, if it is known. Not before a reset: a
        client that resumes from that position would never get the reset."""
        if isinstance(reply.position, str) and reply.mode != "reset":
            members = b'"position":"%b"' % reply.position.encode()
            self.push(self.framing("", 0, False, "bookmark")(members, reply.position))

    @property
    def feed(self) -> Feed:
        """Its subscription."""
        assert self.caller.feed is not None  # noqa: S101 - it has subscribed
        return self.caller.feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the caller disconnects or the stream is finished."""
        self._streams.open[self.number] = self
        self._connection = scope["hivewire.connection"]
        self._connection.streaming = True
        gone = asyncio.create_task(self._wait_for_the_end(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            self.feed.begin(rpc=False)
            while not gone.done() and (self._out or not self.ended):
                await self._send_on(send, gone)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._connection.streaming = False
            del self._streams.open[self.number]
            self.feed.close()

    async def _write(self, sending: Awaitable[None], gone: asyncio.Task[None]) -> None:
        """Wait for `sending`. If the peer reads nothing for `slow_seconds`, the queue is replaced by the reason."""
        clock = asyncio.get_running_loop().time
        task = asyncio.ensure_future(sending)
        unsent, since = self._connection.unsent, clock()
        while not gone.done() and not (await asyncio.wait({task, gone}, timeout=LOOK_SECONDS, return_when=FIRST))[0]:
            if self._connection.unsent < unsent:
                unsent, since = self._connection.unsent, clock()
            elif clock() - since >= self._settings.slow_seconds and not self.ended:
                self._out.clear()
                self._bytes = 0
                self.close(Code.SLOW_CONSUMER)
        if gone.done():
            task.cancel()
        else:
            await task

    async def _wait_for_the_end(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._news.set()

    async def _send_on(self, send: Send, gone: asyncio.Task[None]) -> None:
        """Wait for events and send them. After `ping_seconds` without one, a comment keeps the connection open."""
        clock = asyncio.get_running_loop().time
        left = max(0.0, (self.feed.expires + 1 - now()) / 1_000)
        try:
            async with asyncio.timeout(min(self._settings.ping_seconds, left)):
                await self._news.wait()
        except TimeoutError:
            self.suspend()
            self.push(b":\n\n")
        self._news.clear()
        while self._out and not gone.done():
            piece = [self._out.popleft()]
            size = len(piece[0])
            while self._out and size < WRITE:
                piece.append(self._out.popleft())
                size += len(piece[-1])
            began = clock()
            await self._write(send({"type": "http.response.body", "body": b"".join(piece), "more_body": True}), gone)
            self._bytes = max(0, self._bytes - size)
            if self.feed.stalled and self._bytes < self._settings.outbox_bytes // 2:
                self.feed.resume(idle=clock() - began >= self._settings.conflate_seconds)
