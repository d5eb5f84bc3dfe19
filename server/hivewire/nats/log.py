"""A stream as an ordered log of entries that several gateways append to, and all of them follow.

A gateway appends at its tip: the message demands that nothing stands behind that yet. So what stands directly behind
the tip decides, and the answer of the server is only the fastest way to hear of it. Entries come over the feed, to
which the stream republishes what it stored, and are read from any server where the feed has a gap.

An entry is one message, or several when it is large: an atomic batch, which is stored completely or not at all. Its
place is the sequence of its last message. Each names the entry before it, so that a log that lost some is noticed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from hivewire.nats import stream as streams
from hivewire.nats import watch
from hivewire.nats.attempt import LEADER_PAUSE, Attempt
from hivewire.nats.connection import (
    NOT_FOUND,
    Connection,
    Message,
    NatsError,
    NotStored,
    Refused,
    Silent,
    Unknown,
    Unusable,
)
from hivewire.nats.entry import EMPTY, PIECE_BYTES, PIECES, Envelope, LogEntry, unreadable
from hivewire.nats.heard import Complete, Heard
from hivewire.nats.watch import compare
from hivewire.stopped import Stopped
from hivewire.telemetry import Gauges, log

IDLE_SECONDS = 0.5
"""The log is read this long after the last entry came, in case the feed lost one."""

READ_PAUSE = 0.1
"""Seconds before the log is read again, after nobody answered."""

CONTENDED_SECONDS = 1.0
"""A gateway that got an entry of another one in this time lets others go first, now and then."""

REST_MOST = 0.05
"""Longest rest between two appends, so that an election does not slow us down for long."""

APPLY_BYTES = 128 << 10
"""Bytes of entries that are applied together: about a thousand changes, in some 5 ms. Tens of megabytes may have come
while the local file or the log did not answer."""


Apply: TypeAlias = Callable[[Sequence[LogEntry]], Awaitable[None]]
"""Takes the next entries, in order. Its caller waits for it, and calls it again with the same when it raises."""


class Log:
    """The log in one stream. `format` is that of the entries; one of another format stops it.

    One with `gaps` goes on behind what was removed before it was read; else that stops it.

    `tip` is the place of the last entry that was applied, and `last` its id.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        subject: str,
        feed: str,
        *,
        gateway: str,
        append_seconds: float,
        format: int = 1,
        gaps: bool = False,
    ) -> None:
        self.epoch = ""
        self.tip = 0
        self.last = b""
        self.stopped: Stopped | None = None
        self.lost_rounds = self.gaps = 0
        """Appends that came too late, and how often the feed had lost something."""
        self._connection = connection
        self._stream, self._subject, self._feed = stream, subject, feed
        self._gateway = gateway
        self._append_seconds = append_seconds
        self._format = format
        self._gaps = gaps
        self._apply: Apply
        self._heard = Heard()
        self._asked = False  # whether to read the log at once
        self._gap = -1  # the tip at the last gap that was counted
        self._wake = asyncio.Event()
        self._suspicious = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._applying = asyncio.Lock()
        self._turn = asyncio.Lock()  # one append at a time
        self._own: tuple[bytes, Any] = b"", None  # the id of the last entry that was sent, and what is known of it
        self._attempt: Attempt | None = None  # to append it
        self._reaching: list[tuple[int, asyncio.Future[None]]] = []
        self._begun = self._proven = 0  # appends that began, and the newest of them that was stored
        self._in_doubt = False  # whether an append ended without an outcome
        self._others_at = self._rest_until = 0.0
        self.mean = 0.0
        """Moving average of the seconds until an append was stored."""

    # The life of the log.

    def begin(self, epoch: str, tip: int, last: bytes, apply: Apply) -> None:
        """Hand every entry behind `tip`, whose id is `last`, to `apply`: now by `replay`, and then by `follow`."""
        self.epoch, self.tip, self.last, self._apply = epoch, tip, last, apply

    async def replay(self, place: int, seconds: float) -> None:
        """Return when everything up to a place was applied. Raises Unusable when nothing can be read for so long."""
        until = perf_counter() + seconds
        while self.tip < place:
            if self.stopped is not None:
                raise Unusable(self.stopped.reason)
            try:
                if entries := self._next():
                    await self._take(entries)
                    until = perf_counter() + seconds
                else:
                    await self._read_on()
            except (Silent, _AnotherHistory) as error:
                if perf_counter() > until:
                    raise Unusable(f"the log cannot be read: {error}") from error
                self._heard.clear()
                await asyncio.sleep(READ_PAUSE)

    async def follow(self) -> None:
        """From now on, apply entries as they are appended. Raises Silent."""
        await self._connection.subscribe(self._feed, self.hear)
        self.read_soon()
        self._tasks = [asyncio.create_task(work()) for work in (self._follow, self._watch)]

    async def close(self) -> None:
        """Stop following. May be called twice."""
        tasks, self._tasks = self._tasks, []
        async with self._applying:  # what is being applied is neither broken off nor taken for a failure
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._release(NotStored("the gateway is stopping"))

    def _stop(self, reason: str, *, again: bool) -> None:
        """Apply nothing more. The reason is for the operator."""
        if self.stopped is not None:
            return
        self.stopped = Stopped(reason, again)
        log.error("the log is not followed any more", stream=self._stream, reason=reason, starts_again=again)
        self._release(Unknown(reason))

    def _release(self, error: NatsError) -> None:
        """All who wait for an entry get the error."""
        waiting: list[asyncio.Future[Any]] = [future for _, future in self._reaching]
        if self._attempt is not None:
            waiting.append(self._attempt.decisive)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._reaching.clear()

    def gauges(self, name: str, what: str) -> Gauges:
        """What the log, `what`, is like from here; the metrics begin with `name`."""
        return {
            f"{name}_tip": (f"Place in {what} of the last entry that was applied.", lambda: self.tip),
            f"{name}_lag": (f"Messages of {what} that are not applied yet.", lambda: self.lag),
            f"{name}_append_seconds": (
                f"Moving average of the time until an entry is stored in {what}.",
                lambda: self.mean,
            ),
            f"{name}_lost_rounds": (
                f"Appends to {what} that lost to another gateway, since the start.",
                lambda: self.lost_rounds,
            ),
            f"{name}_feed_gaps": (f"Gaps in the feed of {what}, since the start.", lambda: self.gaps),
        }

    # Reading.

    @property
    def lag(self) -> int:
        """How many messages of the log, as far as it was heard of, are not applied yet."""
        return max(0, self._heard.known - self.tip)

    def hear(self, message: Message) -> None:
        """A message of the log, from wherever it comes."""
        if self._heard.add(message, self.tip):
            self._wake.set()

    def read_soon(self) -> None:
        """Read the log at once."""
        self._asked = True
        self._wake.set()

    def doubt(self) -> None:
        """Compare the log at once with what was applied from it."""
        self._suspicious.set()

    async def _follow(self) -> None:
        """Apply entries as they come; read the log where they do not."""
        wrong = 0
        while self.stopped is None:
            try:
                if entries := self._next():
                    await self._take(entries)
                    wrong = 0
                elif self._asked or self._has_gap():
                    await self._read_on()
                else:
                    self._wake.clear()
                    try:
                        async with asyncio.timeout(IDLE_SECONDS):
                            await self._wake.wait()
                    except TimeoutError:
                        self._asked = True
            except _AnotherHistory as error:
                # It may be a server that is about to be corrected; `_watch` asks the leader.
                self._heard.clear()
                self.doubt()
                wrong += 1
                if wrong == watch.WATCH_TRIES:
                    self._stop(str(error), again=False)
                await asyncio.sleep(watch.WATCH_SECONDS / watch.WATCH_TRIES)
            except Silent:
                await asyncio.sleep(READ_PAUSE)
            except Exception as error:
                log.error("entries of the log were not applied; trying again", reason=repr(error))
                await asyncio.sleep(1.0)

    def _has_gap(self) -> bool:
        """Whether something behind the next entry came before it."""
        if not self._heard.has_gap(self.tip):
            return False
        if self._gap != self.tip:
            self._gap = self.tip
            self.gaps += 1
        return True

    async def _read_on(self) -> None:
        """Read messages from the first one that was not heard."""
        self._asked = False
        start = self._heard.missing(self.tip)
        messages = await self._connection.read(self._stream, start)
        if messages and messages[0].place > start:
            if not self._gaps:
                self._stop("the entries that come next here were compacted away", again=True)
                return
            whole = (each.place for each in messages if each.begins)
            self.tip, self.last = next(whole, messages[-1].place + 1) - 1, b""
            self._heard.clear()  # what is before that would be a gap for ever
        for message in messages:
            self.hear(message)
        if messages:  # there may be more
            self._asked = True

    def _next(self) -> list[LogEntry]:
        """The complete entries directly behind the tip that were heard, as many as are applied together."""
        found: list[LogEntry] = []
        size = 0
        for complete in self._heard.entries(self.tip):
            if size >= APPLY_BYTES or (entry := self._open(complete)) is None:
                break
            found.append(entry)
            size += len(complete.data)
        return found

    def _open(self, complete: Complete) -> LogEntry | None:
        """The entry in these messages, if it can be read here; else the log is stopped."""
        first, place, data = complete
        try:
            sealed = msgspec.msgpack.decode(data, type=Envelope)
        except msgspec.DecodeError:
            sealed = None
        if sealed is None or sealed.format != self._format:
            if first == self.tip + 1:
                self._stop(unreadable(data, place, self._format), again=False)
            return None
        if sealed.epoch != self.epoch:
            if first == self.tip + 1:
                self._stop(f"the log was recreated: its epoch is {sealed.epoch}, not {self.epoch}", again=True)
            return None
        own = self._own[1] if sealed.id == self._own[0] else None
        return LogEntry(first, place, sealed.id, sealed.before, sealed.gateway, sealed.body, own)

    async def _take(self, entries: Sequence[LogEntry]) -> None:
        """Apply entries, and tell those who wait for one of them."""
        last = self.last
        for number, entry in enumerate(entries):
            if last and entry.before != last:
                if number == 0:
                    raise _AnotherHistory(f"the entry at {entry.place} does not continue what was applied here")
                entries = entries[:number]
                break
            last = entry.id
        async with self._applying:
            await self._apply(entries)
        self.tip, self.last = entries[-1].place, last
        self._heard.drop(entries[0].first, self.tip)
        if any(entry.id != self._own[0] for entry in entries):
            self._others_at = perf_counter()
        if (attempt := self._attempt) is not None and not attempt.decisive.done():
            for entry in entries:
                if entry.first == attempt.place:
                    attempt.decisive.set_result(entry.id)
        reached = [future for place, future in self._reaching if place <= self.tip]
        self._reaching = [(place, future) for place, future in self._reaching if place > self.tip]
        for future in reached:
            if not future.done():
                future.set_result(None)

    # Writing.

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """After an append, while others append too, rest for a part of the time of a commit, so that they go first."""
        if (rest := self._rest_until - perf_counter()) > 0.0:
            await asyncio.sleep(rest)
        yield

    async def append(self, body: Raw, *, behind: int, own: Any = None) -> bool:
        """Append an entry directly behind the one at `behind`. `apply` gets it with `own`.

        True: it stands there, and was applied. False: another one stands there, which was applied; this one never will
        stand anywhere. Raises NotStored, which says the same, and Unknown.
        """
        async with self._turn:
            return await self._append(body, behind, own)

    async def _append(self, body: Raw, behind: int, own: Any) -> bool:
        if self.stopped is not None:
            raise NotStored(self.stopped.reason)
        if behind != self.tip:
            return False
        id = os.urandom(8)
        sealed = msgspec.msgpack.encode(Envelope(self._format, self.epoch, id, self.last, self._gateway, body))
        if len(sealed) > PIECES * PIECE_BYTES:
            raise NotStored(f"an entry of {len(sealed):,} bytes is larger than the log takes")
        self._own = id, own
        self._begun += 1
        number = self._begun
        attempt = self._attempt = Attempt(self._connection, self._subject, sealed, behind, self)
        try:
            stands = await attempt.decide(self._append_seconds)
        except NotStored:
            raise
        except BaseException:
            self._in_doubt = True
            raise
        finally:
            self._attempt = None
        if stands != id:
            self.lost_rounds += 1
            self._others_at = perf_counter()
            return False
        self._proven, self._in_doubt = number, False
        self._succeeded(perf_counter() - attempt.began)
        return True

    def _succeeded(self, seconds: float) -> None:
        """Measure an append, and decide whether to let others go first."""
        now = perf_counter()
        self.mean += (seconds - self.mean) / 16
        contended = now - self._others_at < CONTENDED_SECONDS
        rest = random.random() * min(self.mean, REST_MOST)  # noqa: S311 - no secret
        self._rest_until = now + rest if contended else 0.0

    # Confirming.

    async def confirm(self, *, quorum: bool = False) -> None:
        """Return when everything was applied that was stored when this was called. Raises NotStored and Unknown.

        It asks the leader, and with `quorum`, or after an append without an outcome, commits an empty entry. That is
        shared by all who wait for it.
        """
        if quorum or self._in_doubt:
            await self._prove()
            return
        until = perf_counter() + self._append_seconds
        while perf_counter() < until:
            if self.stopped is not None:
                raise NotStored(self.stopped.reason)
            try:
                # The next one that is there: the one directly behind the tip may have been removed since.
                wanted = {"seq": self.tip + 1, "next_by_subj": self._subject}
                await self._connection.api(f"STREAM.MSG.GET.{self._stream}", wanted)
                info = await streams.inspect(self._connection, self._stream)
            except Refused as refused:
                if refused.code == NOT_FOUND:
                    return
                await asyncio.sleep(LEADER_PAUSE)
            except Silent:
                await asyncio.sleep(LEADER_PAUSE)
            else:
                if info is not None:
                    await self._reach(info.last, until)
                    return
                await asyncio.sleep(LEADER_PAUSE)
        raise NotStored("the log does not answer")

    async def _prove(self) -> None:
        """Commit an entry that began after this was called: ours, or somebody else's of this gateway."""
        asked, until = self._begun, perf_counter() + self._append_seconds
        while self._proven <= asked:
            if perf_counter() > until:
                raise NotStored("other gateways were always first")
            async with self._turn:
                if self._proven <= asked:
                    await self._append(EMPTY, self.tip, None)

    async def _reach(self, place: int, until: float) -> None:
        """Return when everything up to a place was applied."""
        if place <= self.tip:
            return
        if self.stopped is not None:  # since this was asked for
            raise NotStored(self.stopped.reason)
        self._heard.known = max(self._heard.known, place)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reaching.append((place, future))
        self.read_soon()
        try:
            async with asyncio.timeout(max(0.0, until - perf_counter())):
                await future
        except TimeoutError:
            raise NotStored("the log cannot be read") from None

    # Whether it is still the same log.

    async def _watch(self) -> None:
        """Compare the log with what was applied from it, now and then, and whenever something does not fit."""
        while self.stopped is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(watch.WATCH_SECONDS):
                    await self._suspicious.wait()
            self._suspicious.clear()
            found = await compare(self._connection, self._stream, self.epoch, lambda: (self.tip, self.last))
            if found is not None:
                self._stop(found.reason, again=found.again)


class _AnotherHistory(Exception):
    """An entry does not continue what was applied before it."""
