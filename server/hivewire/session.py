"""One conversation: decode, dispatch, encode, keep the order, know what is owed. No socket here.

The promise: a request sees the effect of every request before it on the same connection, and answers come in the order
of the requests. Writes in a row ride one batch; everything else waits for what is under way. A read with nothing before
it is answered inside `receive`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic

from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher
from hivewire.ledger.ledger import Outcome
from hivewire.ledger.pending import PendingWrite
from hivewire_protocol import codec
from hivewire_protocol.codec import Call
from hivewire_protocol.errors import TooLarge, WireError
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import ConfigurationGet, ConfigurationHistory, ConfigurationList
from hivewire_protocol.nouns.identity import Authenticate, Token, TokenRefresh

_AUTHENTICATIONS = (Authenticate, Token, TokenRefresh)
_UNAUTHENTICATED = (401, 429)
_MERE_READS = (ConfigurationGet, ConfigurationList, ConfigurationHistory)

TURN_SECONDS = 0.01
"""A connection that has kept the gateway busy for so long lets the others have their turn."""


class Session:
    """The requests of one caller, in order.

    `send` takes the bytes of one text message. `settled` is called when something that was waited for was answered, so
    that the owner may read on or close. `owed` and `owed_bytes` are the requests not answered yet and their size.
    """

    __slots__ = (
        "_busy",
        "_dispatcher",
        "_held",
        "_line",
        "_task",
        "_writing",
        "caller",
        "closed",
        "owed",
        "owed_bytes",
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
        self.owed = 0
        self.owed_bytes = 0
        self._dispatcher = dispatcher
        self._line: deque[Call] | None = None  # made when first needed: most sessions never do
        self._writing = 0
        self._busy = False
        self._held = False
        self._task: asyncio.Task[Reply | PendingWrite[Reply]] | None = None

    def receive(self, message: bytes) -> None:
        """Take one text message: valid UTF-8, whatever its content."""
        calls = codec.decode(message)
        if type(calls) is Call:
            calls.size = len(message)
            self._enter(calls)
            return
        assert isinstance(calls, list)  # noqa: S101 - decode returns one of the two
        calls[0].size = len(message)
        batch = codec.Batch(len(calls))
        for call in calls:
            call.batch = batch
        self._line_up(calls)

    def hold(self) -> None:
        """Start no more requests and push nothing: the peer does not read."""
        self._held = True
        if self.caller.feed is not None:
            self.caller.feed.pause()

    def release(self, idle: bool = False) -> None:
        """Go on after `hold`; `idle`: the peer read nothing for so long that changes may be conflated."""
        self._held = False
        if self.caller.feed is not None:
            self.caller.feed.resume(idle)
        self._advance()

    def close(self) -> None:
        """The peer is gone: drop what has not begun. Writes under way are finished, and answered to nobody."""
        self.closed = True
        self._line = None
        if self.caller.feed is not None:
            self.caller.feed.close()
        if self._task is not None:
            self._task.cancel()

    def _enter(self, call: Call) -> None:
        self.owed += 1
        self.owed_bytes += call.size
        if self._line or not self._may_start(call):
            if self._line is None:
                self._line = deque()
            self._line.append(call)
        else:
            self._start(call)

    def _line_up(self, calls: list[Call]) -> None:
        """Take the calls of a batch, but work on them for a moment at a time."""
        self.owed += len(calls)
        self.owed_bytes += calls[0].size
        if self._line:
            self._line += calls
        else:
            self._line = deque(calls)
            self._advance()

    def _may_start(self, call: Call) -> bool:
        if self._held or self._busy:
            return False
        return self._writing == 0 or (call.error is None and call.request_type in self._dispatcher.writes)

    def _advance(self) -> None:
        """Start what may start now, for a moment at most: others want their turn."""
        end = monotonic() + TURN_SECONDS
        while self._line and not self.closed and self._may_start(self._line[0]):
            self._start(self._line.popleft())
            if monotonic() > end:
                asyncio.get_running_loop().call_soon(self._settle)
                return

    def _start(self, call: Call) -> None:
        try:
            if call.error is not None:
                self._refuse_late(call, call.error)
                return
            assert call.request is not None  # noqa: S101 - a call has a request or an error
            if call.batch is not None and call.batch.full and isinstance(call.request, _MERE_READS):
                raise TooLarge  # it changes nothing, and there is no room left for its answer
            answer = self._dispatcher.start(self.caller, call.request)
            if isinstance(answer, Reply):
                self._finish(call, answer)
            elif isinstance(answer, PendingWrite):
                self._submit(call, answer)
            else:
                self._busy = True
                self._task = asyncio.get_running_loop().create_task(answer)
                self._task.add_done_callback(partial(self._waited, call))
        except Exception as error:
            if self._writing:
                # The answers of the writes before it come first.
                call.fail(self._dispatcher.error(call.request_type, error))
                self._line = self._line if self._line is not None else deque()
                self._line.appendleft(call)
            else:
                self._fail(call, error)

    def _refuse_late(self, call: Call, error: WireError) -> None:
        """Answer a call that was wrong from the start; where the action is known, rights are checked first."""
        if call.request_type is not None:
            self._dispatcher.admit(self.caller, call.request_type)
        self._fail(call, error)

    def _written(self, call: Call, pending: PendingWrite[Reply], outcome: Outcome) -> None:
        self._writing -= 1
        try:
            reply = self._dispatcher.conclude(pending, outcome)
        except Exception as error:
            self._fail(call, error)
        else:
            self._finish(call, reply)
        self._settle()

    def _submit(self, call: Call, pending: PendingWrite[Reply]) -> None:
        self._dispatcher.services.ledger.submit(pending.transaction, partial(self._written, call, pending))
        self._writing += 1

    def _waited(self, call: Call, task: asyncio.Task[Reply | PendingWrite[Reply]]) -> None:
        self._task = None
        self._busy = False
        if task.cancelled():
            return
        try:
            result = task.result()
            if isinstance(result, PendingWrite):
                self._submit(call, result)
                return
        except Exception as error:
            self._fail(call, error)
        else:
            self._finish(call, result)
        self._settle()

    def _settle(self) -> None:
        if not self.closed:
            if self._line:
                self._advance()
            self.settled()

    def _finish(self, call: Call, reply: Reply) -> None:
        """Send the success reply that the call gets."""
        self._dispatcher.services.telemetry.requests[call.request_type, 200] += 1
        self._emit(call, codec.answer(call, reply))

    def _fail(self, call: Call, cause: BaseException) -> None:
        """Send the error reply that the call gets."""
        error = self._dispatcher.error(call.request_type, cause)
        self._dispatcher.services.telemetry.requests[call.request_type, error.code] += 1
        if error.code in _UNAUTHENTICATED and call.request_type in _AUTHENTICATIONS:
            self.caller.failures += 1
        self._emit(call, codec.refuse(call, error))

    def _emit(self, call: Call, data: bytes) -> None:
        self.owed -= 1
        self.owed_bytes -= call.size
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
