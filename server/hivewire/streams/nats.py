"""Logs of messages that several gateways share: each is a stream of NATS JetStream, with a copy in a local file.

An entry is durable when the servers have it on the disk, two of three of them. Every gateway has all entries, in one
order, first in its copy and then in memory; what it reads, closes and drops is in the copy. Whoever drops something
also purges it from the stream. The last message of a stream is never purged, because it has the number of the last
entry.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Raw

from hivewire.nats import stream as streams
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import NatsError, NotStored, Refused, Silent, Unknown
from hivewire.nats.entry import Envelope, LogEntry, entry_id
from hivewire.nats.log import Log
from hivewire.settings import Settings
from hivewire.stopped import Stopped
from hivewire.streams import message
from hivewire.streams.contract import LOGS, Follower, Loaded, LogName, StoreError
from hivewire.streams.sqlite import SqliteEngine, SqliteLog
from hivewire.telemetry import Gauges

FORMAT = 1
"""The form of entries. A gateway that meets another one applies nothing more."""

START_SECONDS = 30.0
"""Longest wait at the start for a leader, and for the next entries."""

LETTERS: dict[LogName, str] = {"commands": "C", "notifications": "N"}
"""In the name of the stream of each log."""

SPARE = 2
"""How much more the streams hold than the settings say: there, an entry takes more than its bytes."""

_envelope = msgspec.msgpack.Decoder(Envelope)
_encode = msgspec.msgpack.Encoder().encode
_body = msgspec.msgpack.Decoder(tuple[int, bytes, str] | None)


class NatsEngine:
    """Both logs of a site. `file` has the copies."""

    def __init__(self, site: NatsBroadcast, settings: Settings, file: Path) -> None:
        self._connection = site.connection
        self._copy = SqliteEngine(file, durable=False)
        self._logs = {name: NatsLog(site, settings, self._copy.log(name)) for name in LOGS}

    def log(self, name: LogName) -> NatsLog:
        """Its stream."""
        return self._logs[name]

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Make the streams, if they are not there, and open the copy, if it is one of these streams."""
        try:
            await streams.require_level(self._connection)
            epochs = [await log.prepare(ledger_epoch) for log in self._logs.values()]
        except NatsError as error:
            raise StoreError(str(error)) from error
        await self._copy.open("-".join([ledger_epoch, *epochs]), damage=damage)

    def gauges(self) -> Gauges:
        """What both logs are like from here."""
        return self._logs["commands"].gauges() | self._logs["notifications"].gauges()

    async def close(self) -> None:
        """Stop following, and close the copy."""
        for log in self._logs.values():
            await log.close()
        await self._copy.close()


class NatsLog:
    """A log in a stream."""

    shared = True
    keeper = True  # of its own copy

    def __init__(self, site: NatsBroadcast, settings: Settings, copy: SqliteLog) -> None:
        self._connection = connection = site.connection
        address = connection.address
        self._copy = copy
        subject = f"hw.{address.site}.{copy.name}"
        feed = f"hw.{address.site}.feed.{copy.name}"
        name = f"HW{LETTERS[copy.name]}_{address.site}"
        self._wanted = streams.log_configuration(
            name, subject, feed, address.replicas, SPARE * settings.messages_bytes
        ) | {"metadata": {"hivewire.format": str(FORMAT)}}
        seconds = settings.append_seconds
        self._log = Log(
            connection, name, subject, feed, gateway=site.name, append_seconds=seconds, format=FORMAT, gaps=True
        )
        self._next = 1  # the number of the next entry
        self._follower: Follower | None = None
        self.epoch = self._ledger = self._stream_epoch = ""
        self.forward, self.pick, self.postings = copy.forward, copy.pick, copy.postings
        self.seal = copy.seal

    # The start.

    async def prepare(self, ledger_epoch: str) -> str:
        """The epoch of the stream, which is made if it is not there. Raises NatsError."""
        new = streams.with_epoch(self._wanted, secrets.token_hex(8))
        epoch = (await streams.ensure(self._connection, self._wanted, START_SECONDS, new=new)).epoch
        self._ledger, self._stream_epoch = ledger_epoch, epoch
        self.epoch = blake2b(f"{epoch} {ledger_epoch}".encode(), digest_size=8).hexdigest()
        return epoch

    async def load(self) -> Loaded:
        """What the copy has, if the stream continues it; otherwise nothing."""
        place, id = await self._copy.copied()
        try:
            info = await streams.require_configuration(self._connection, self._wanted, START_SECONDS)
            known = None if not id else await entry_id(self._connection, self._wanted["name"], place)
            if place > info.last or place + 1 < info.first or known not in (None, id):
                await self._copy.clear()
                place, id = info.last if info.first > info.last else 0, b""
        except NatsError as error:
            raise StoreError(str(error)) from error
        self._last = info.last
        loaded = await self._copy.load()
        self._next = self._copy.next
        self._log.begin(self._stream_epoch, place, id, self._apply)
        return loaded

    async def follow(self, follower: Follower) -> None:
        """Everything that the stream has by now, and then what the feed brings."""
        self._follower = follower
        try:
            await self._log.replay(self._last, START_SECONDS)
            await self._log.follow()
        except NatsError as error:
            raise StoreError(str(error)) from error

    async def _apply(self, entries: Sequence[LogEntry]) -> None:
        """The next entries of the stream: first into the copy, then to the follower.

        What was written for another ledger, before this one was recreated, counts as expired.
        """
        found = [body for entry in entries if (body := entry.own or _body.decode(entry.body)) is not None]
        new = [(number, entry) for number, entry, ledger in found if ledger == self._ledger]
        first = new[0][0] if new else max([self._next, *[number + 1 for number, _, _ in found]])
        if lost := first > self._next:  # what is before it was dropped while this gateway did not run
            await self._copy.drop(first, 0)
        await self._copy.store(new, entries[-1].place, entries[-1].id)
        self._next = new[-1][0] + 1 if new else first
        if self._follower is not None:
            if lost:
                self._follower.dropped(first)
            for number, entry in new:
                self._follower.take(number, entry)

    @property
    def stopped(self) -> Stopped | None:
        """Why the stream is not followed any more."""
        if (found := self._log.stopped) is None:
            return None
        return Stopped(f"{self._copy.name} are not followed any more: {found.reason}", found.again)

    def gauges(self) -> Gauges:
        """What the stream is like from here."""
        name = self._copy.name
        return self._log.gauges(f"{name}_log", f"the shared log of {name}")

    # Writing.

    def turn(self) -> AbstractAsyncContextManager[None]:
        """After a rest, while other gateways append too."""
        return self._log.turn()

    async def append(self, number: int, entry: bytes) -> bool:
        """What stands directly behind the last message that was applied decides."""
        if self._follower is None:
            raise message.NotStored("the log is not followed")
        if number != self._next:
            return False
        own = number, entry, self._ledger
        with _outcomes():
            return await self._log.append(Raw(_encode(own)), behind=self._log.tip, own=own)

    async def confirm(self) -> None:
        """By asking the leader what stands behind the tip; after an unknown outcome by a commit."""
        with _outcomes():
            await self._log.confirm()

    async def drop(self, oldest: int, clock: int) -> None:
        """From the copy and, as far as the store answers, from the stream."""
        await self._copy.drop(oldest, clock)
        with suppress(NatsError):  # the next gateway that drops something, or the next drop, removes it
            await self._purge(oldest - 1)

    async def _purge(self, number: int) -> None:
        """Remove what is before an entry from the stream.

        An entry takes one message or several, so this may leave some; the next time begins at what is left.
        """
        if (first := await self._first()) is not None and first[1] < number:
            place = first[0] + number - first[1]
            await self._connection.api(f"STREAM.PURGE.{self._wanted['name']}", {"seq": place})

    async def _first(self) -> tuple[int, int] | None:
        """Where the first whole entry of the stream begins, and its number; None when there is none.

        Raises Silent.
        """
        pieces: list[bytes] = []
        begin = 0
        for each in await self._connection.read(self._wanted["name"], 1):
            if each.begins:
                pieces, begin = [], each.place
            pieces.append(each.data)
            if begin and each.ends and (body := _body.decode(_envelope.decode(b"".join(pieces)).body)) is not None:
                return begin, body[0]
        return None

    async def close(self) -> None:
        """Stop following."""
        self._follower = None
        await self._log.close()


@contextmanager
def _outcomes() -> Iterator[None]:
    """What went wrong with the stream, in the words of messages."""
    try:
        yield
    except Unknown as error:
        raise message.Undecided(str(error)) from error
    except (NotStored, Silent, Refused) as error:
        raise message.NotStored(str(error)) from error
