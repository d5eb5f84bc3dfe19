"""One conversation: decode, dispatch, encode, keep the order, count pending requests. No socket here.

The promise: a request sees the effect of every earlier request of the connection, and answers are in the order of the
requests. Consecutive writes to one log share a commit, and so do those of a concurrent kind about different devices;
every other request waits for those in progress. A read that need not wait is answered inside `receive`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from types import CoroutineType
from typing import Any, TypeAlias

from hivewire.access.identity import ANONYMOUS
from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher, Pending
from hivewire.ledger.pending import PendingWrite
from hivewire.streams.pending import PendingMessage
from hivewire_protocol.codec import Call, RpcBatch, answer, decode, read, refuse
from hivewire_protocol.errors import TooLarge, TooManyRequests
from hivewire_protocol.messages import LEDGER, Reply

_UNAUTHENTICATED = (401, 429)

CONNECTION_SLICE_SECONDS = 0.01
"""The longest that one connection may keep the event loop busy before the others are served."""

ANONYMOUS_SLICE_SECONDS = 0.000_25
"""The same for all connections together on which nobody has logged in."""

ANONYMOUS_PAUSE_SECONDS = 0.001
"""Time between two of their slices: they get a fifth of one processor at most, thousands of requests a second."""

CONCURRENT = 64
"""Requests of a concurrent kind that one connection may have running at a time."""


Running: TypeAlias = "tuple[Call, asyncio.Task[Reply | Pending]]"
"""A call whose handler runs as a task."""


class Session:
    """The requests of one caller, in order.

    `send` takes the bytes of one text message. `settled` is called after waiting requests were answered, so that the
    owner can write, read on or close. `pending` and `pending_bytes` are the number and size of requests without an
    answer; requests that are answered inside `receive` are never counted.
    """

    __slots__ = (
        "_dispatcher",
        "_line",
        "_log",
        "_paused",
        "_running",
        "_settling",
        "_writing",
        "caller",
        "closed",
        "pending",
        "pending_bytes",
        "send",
        "settled",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        caller: Caller,
        send: Callable[[bytes], None],
        settled: Callable[[], None],
    ) -> None:
        self.caller = caller
        self.send = send
        self.settled = settled
        self.closed = False
        self.pending = 0
        self.pending_bytes = 0
        self._dispatcher = dispatcher
        self._line: deque[Call] | None = None  # calls that have not started; created when first needed
        self._writing = 0  # calls whose write is not durable yet
        self._log = ""  # where they write
        self._running: deque[Running] | None = None  # calls that wait in tasks, in order; None without any
        self._paused = False
        self._settling = False

    def receive(self, message: bytes) -> None:
        """Take one text message: valid UTF-8, whatever its content."""
        call = decode(message)
        if type(call) is not Call:
            assert isinstance(call, list)  # noqa: S101 - decode returns one of the two
            self._receive_batch(call, len(message))
            return
        call.size = len(message)
        if self._line or self._paused or ((self._writing or self._running) and not self._joins(call)):
            self._wait(call)
            self._queue().append(call)
        else:
            self._start(call)

    def receive_anonymous(self, message: bytes) -> bool:
        """Take a text message of a caller who has not logged in. False when too many came from its address: then its
        requests are refused."""
        found = decode(message)
        calls = [found] if isinstance(found, Call) else found
        services, taken = self._dispatcher.services, True
        try:
            services.anonymous_rate.count(services.settings, self.caller.address, len(calls))
        except TooManyRequests as error:
            taken = False
            for call in calls:
                call.fail(error)
        if not isinstance(found, Call):
            self._receive_batch(found, len(message))
        elif self._line or not self._may_start(found):
            self._line_up(calls, len(message))
        else:  # without a queue, which would take more memory than the rest of an idle session
            found.size = len(message)
            self._start(found)
        return taken

    def pause(self) -> None:
        """Start no more requests and push nothing: the peer does not read."""
        self._paused = True
        for feed in self.caller.feeds:
            feed.pause()

    def resume(self, idle: bool = False) -> None:
        """Continue after `pause`; `idle`: the peer read nothing for so long that changes may be conflated."""
        self._paused = False
        for feed in self.caller.feeds:
            feed.resume(idle)
        self._advance()

    def close(self) -> None:
        """The peer is gone: drop requests that have not started. Writes in progress are finished without an answer.

        Nothing here leads back to the owner afterwards, so that both are freed without a garbage collection.
        """
        self.closed = True
        self._line = None
        self.send, self.settled = _send_nothing, _nothing
        self.caller.listener = None
        for feed in self.caller.feeds:
            feed.close()
        self.caller.feed = self.caller.plain = None
        for _, task in self._running or ():
            task.cancel()

    # Waiting.

    def _receive_batch(self, calls: list[Call], size: int) -> None:
        """Queue the calls of a JSON-RPC batch."""
        batch = RpcBatch(len(calls))
        for call in calls:
            call.batch = batch
        self._line_up(calls, size)

    def _line_up(self, calls: list[Call], size: int) -> None:
        """Queue the calls of one message, and work on them, one slice of time after the other."""
        calls[0].size = size
        for call in calls:
            self._wait(call)
        begin = not self._line
        self._queue().extend(calls)
        if begin:
            self._advance()

    def _queue(self) -> deque[Call]:
        if self._line is None:
            self._line = deque()
        return self._line

    def _wait(self, call: Call) -> None:
        """Count a call as pending until it is answered."""
        if not call.pending:
            call.pending = True
            self.pending += 1
            self.pending_bytes += call.size

    def _may_start(self, call: Call) -> bool:
        """Whether all earlier calls have taken effect, as far as this one could notice."""
        return not (self._paused or ((self._writing or self._running) and not self._joins(call)))

    def _joins(self, call: Call) -> bool:
        """Whether it may start while earlier calls are in progress: they write to its log, which takes writes in order,
        or they are of its kind, and about other devices."""
        request = call.request
        if request is None or call.error is not None:
            return False
        if not self._running:
            return self._dispatcher.writes.get(type(request)) == self._log
        return (
            request.concurrent
            and len(self._running) < CONCURRENT
            and all(
                earlier.request_type is call.request_type and earlier.request.deviceId != request.deviceId  # type: ignore[union-attr]
                for earlier, _ in self._running
            )
        )

    def _advance(self) -> None:
        """Start waiting calls, for one slice of time at most, so that other connections are served too."""
        end = monotonic() + (ANONYMOUS_SLICE_SECONDS if self.caller.identity is ANONYMOUS else CONNECTION_SLICE_SECONDS)
        while self._line and not self.closed and self._may_start(read(self._line[0])):
            self._start(self._line.popleft())
            if monotonic() > end:
                self._settle_soon()
                return

    # One call, from its start to its answer.

    def _start(self, call: Call) -> None:
        try:
            request = call.request
            if request is None or call.error is not None:
                self._refuse(call)
                return
            if call.batch is not None and call.batch.full and request.read_only:
                self._dispatcher.admit(self.caller, type(request))
                raise TooLarge  # its answer would not fit
            result: Any = self._dispatcher.start(self.caller, request)
            kind = type(result)  # looked at once, because `isinstance` takes long for structs
            if kind is PendingWrite:
                result.transaction.by = self.caller.identity
                self._dispatcher.ledger.submit(result.transaction, Session._written, self, call, result)
                self._log = LEDGER
            elif kind is PendingMessage:
                result.by = self.caller.identity
                result.log.submit(result, Session._written, self, call, result)
                self._log = request.log
            elif kind is CoroutineType:
                self._wait_for(call, result)
                return
            else:
                self._succeed(call, result)  # it is a Reply, as nothing else is left
                return
            self._writing += 1
            self._wait(call)
        except Exception as error:
            self._fail_in_order(call, error, self._writing or self._running)

    def _fail_in_order(self, call: Call, error: Exception, earlier: object) -> None:
        """Answers are in order, so an error waits at the head of the queue for the calls before it, if there are."""
        if earlier:
            call.fail(self._dispatcher.error(call.request_type, error))
            self._wait(call)
            self._queue().appendleft(call)
        else:
            self._fail(call, error)

    def _wait_for(self, call: Call, result: Coroutine[Any, Any, Reply | Pending]) -> None:
        """Run a handler as a task; later calls that do not join it wait until it has ended."""
        self._wait(call)
        task = asyncio.get_running_loop().create_task(result)
        if self._running is None:
            self._running = deque()
        self._running.append((call, task))
        task.add_done_callback(self._waited)

    def _refuse(self, call: Call) -> None:
        """Answer an invalid call. If its action is known, rights are checked first, so that callers without them learn
        nothing about parameters."""
        assert call.error is not None  # noqa: S101 - a call has a request or an error
        if call.request_type is not None and not isinstance(call.error, TooManyRequests):
            self._dispatcher.admit(self.caller, call.request_type)
            if call.request_type.of_device and call.request is not None:
                self._dispatcher.check_device(self.caller, call.request.deviceId)
        self._fail(call, call.error)

    def _written(self, call: Call, write: Pending, outcome: Any) -> None:
        self._writing -= 1
        result = write.conclude(outcome)
        if isinstance(result, Exception):
            self._fail(call, result)
        else:
            self._succeed(call, result)
        if not self._writing:
            self._settle()
        elif not self._settling:
            # The other writes of this session are usually in the same commit and answered right after this one. A
            # callback runs after all of them, so the session settles once.
            self._settle_soon()

    def _waited(self, _: asyncio.Task[Reply | Pending]) -> None:
        """A task has ended: answer those at the head of the line that have."""
        running = self._running
        while running and running[0][1].done():
            call, task = running.popleft()
            if not task.cancelled():
                self._conclude(call, task)
        if running:  # usually they share a commit, and end right after this one
            self._settle_soon()
        else:
            self._running = None
            self._settle()

    def _conclude(self, call: Call, task: asyncio.Task[Reply | Pending]) -> None:
        """Answer a call by the result of its task, or write what that is."""
        try:
            result = task.result()
            if isinstance(result, PendingWrite):
                result.transaction.by = self.caller.identity
                self._dispatcher.ledger.submit(result.transaction, Session._written, self, call, result)
            elif isinstance(result, PendingMessage):
                result.by = self.caller.identity
                result.log.submit(result, Session._written, self, call, result)
            else:
                self._dispatcher.check_read(self.caller, call.request)  # type: ignore[arg-type]
                self._succeed(call, result)
                return
            self._log = call.request_type.log  # type: ignore[union-attr]
            self._writing += 1
        except Exception as error:
            self._fail_in_order(call, error, self._writing)

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle_now)

    def _settle_now(self) -> None:
        if self._settling:
            self._settle()

    def _settle(self) -> None:
        """Start calls that waited for the answered ones, and notify the owner."""
        self._settling = False
        if not self.closed:
            if self._line:
                self._advance()
            self.settled()

    def _succeed(self, call: Call, reply: Reply) -> None:
        """Send the success reply of a call."""
        self._dispatcher.telemetry.succeeded[call.request_type] += 1  # type: ignore[index]
        self._emit(call, answer(call, reply))

    def _fail(self, call: Call, cause: BaseException) -> None:
        """Send the error reply of a call."""
        error = self._dispatcher.error(call.request_type, cause)
        self._dispatcher.telemetry.requests[call.request_type, error.code] += 1
        if error.code in _UNAUTHENTICATED and call.request_type is not None and call.request_type.authenticates:
            self.caller.failures += 1
        self._emit(call, refuse(call, error))

    def _emit(self, call: Call, data: bytes) -> None:
        if call.pending:
            self.pending -= 1
            self.pending_bytes -= call.size
        if self.closed:
            return
        if call.batch is not None:
            whole = call.batch.add(call, data)
            if whole is not None:
                self.send(whole)
        elif call.reply_wanted:
            self.send(data)
        feed = self.caller.feed
        if feed is not None and feed.starting and (call.batch is None or call.batch.complete):
            feed.begin(call.rpc)
        plain = self.caller.plain
        if plain is not None and plain.starting and (call.batch is None or call.batch.complete):
            plain.begin(call.rpc)


def _send_nothing(data: bytes) -> None:
    """The `send` of a closed session."""


def _nothing() -> None:
    """The `settled` of a closed session."""
