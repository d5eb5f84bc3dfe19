"""The ledger's log in a stream of NATS JetStream, which any number of gateways append to.

An entry is one group commit: the changes of a batch as effects, and rows of the audit. It is durable when the servers
have it on the disk, two of three of them. Every gateway has all entries, in one order, first in its local file and then
in memory. The local file is a copy: it answers `history` and `since`, and makes a start quick.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Raw, Struct

from hivewire import __version__
from hivewire.component import end
from hivewire.ledger.engines.nats.body import FORMAT, Body
from hivewire.ledger.engines.nats.checkpoint import Checkpoints
from hivewire.ledger.engines.nats.upkeep import Upkeep
from hivewire.ledger.journal import Cache, Copied, Entry, Recall, Take
from hivewire.ledger.records import AuditFilter, AuditRow, Change, JournalError, NotDurable, Outline, Undecided, share
from hivewire.nats import stream as streams
from hivewire.nats.connection import (
    Address,
    Connection,
    NatsError,
    NotStored,
    Refused,
    Silent,
    Unknown,
    Unusable,
    address_of,
)
from hivewire.nats.entry import LogEntry, entry_id
from hivewire.nats.log import Log
from hivewire.nats.monitor import ask_later, require_synced
from hivewire.settings import Settings
from hivewire.stopped import Stopped
from hivewire.telemetry import Gauges

BATCH_BYTES = 512 << 10
"""A batch is one message, if it can be."""

START_SECONDS = 30.0
"""Longest wait at the start for the servers, and for a leader."""

ASK_SECONDS = 60.0
"""How often servers that were away are asked again whether they sync."""


STATUS = "hw.{site}.live.status"
"""The subject at which gateways tell how far they are."""


class GatewayStatus(Struct):
    """How far a gateway is: the last entry that it applied, and what `Log` counts.

    `digests`: it tells what it has in memory when it is asked; older versions do not.
    """

    name: str
    version: str
    tip: int
    id: bytes
    lag: int
    lost_rounds: int
    gaps: int
    digests: bool = False


def names_of(site: str) -> tuple[str, str, str]:
    """The stream of a site's log, its subject, and that of its feed."""
    return f"HW_{site}", f"hw.{site}.log", f"hw.{site}.feed"


def wanted_of(settings: Settings, address: Address) -> dict[str, Any]:
    """The configuration of the stream that every gateway with these settings expects; its epoch comes to that."""
    kept = {"history": settings.history, "log_changes": settings.log_changes, "log_days": settings.log_days}
    metadata = {"hivewire.format": str(FORMAT)} | {f"hivewire.{key}": f"{value:g}" for key, value in kept.items()}
    configuration = streams.log_configuration(*names_of(address.site), address.replicas, settings.store_bytes)
    return configuration | {"metadata": metadata}


class NatsJournal:
    """The log at `settings.store`, with `cache` as its local copy."""

    def __init__(self, settings: Settings, cache: Cache, *, existing: bool = False) -> None:
        """`existing`: make no new log."""
        try:
            self._address = address_of(settings.store or "")
        except Unusable as error:
            raise JournalError(str(error)) from None
        self.tip = 0
        self.batch_bytes = BATCH_BYTES
        self.shared = True
        self.shares_notes = False
        self.keeper = True  # of its own copy
        self.append_seconds = settings.append_seconds
        self._settings = settings
        self._existing = existing
        self._cache = cache
        site, gateway = self._address.site, settings.gateway
        self._gateway = gateway
        self._connection = Connection(self._address, settings, gateway)
        self._wanted = wanted_of(settings, self._address)
        self.log = Log(
            self._connection,
            *names_of(site),
            gateway=gateway,
            append_seconds=settings.append_seconds,
            format=FORMAT,
        )
        self._checkpoints = Checkpoints(self._connection, self._wanted["name"], gateway)
        self._upkeep = Upkeep(self._checkpoints, cache)
        self._take: Take | None = None
        self._unasked: set[str] = set()  # servers that were away when they were asked whether they sync
        self._asking: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> str:
        """That of the log, in the metadata of the stream and in each entry."""
        return self.log.epoch

    @property
    def read_only(self) -> bool:
        """Never; a log that takes nothing may take it later."""
        return False

    @property
    def stopped(self) -> Stopped | None:
        """Why the log is not followed any more."""
        return self.log.stopped

    # The start.

    async def open(self) -> None:
        """Connect, check the stream or make it, and bring the local copy up to date."""
        try:
            await self._connection.open(START_SECONDS)
            await streams.require_level(self._connection)
            info = await self._stream()
            if not self._existing:
                self._unasked = await require_synced(self._settings, info.servers)
            await self._checkpoints.open(START_SECONDS)
            await self._cache.open()
            await self._catch_up_patiently()
        except NatsError as error:
            raise JournalError(str(error)) from error

    async def _catch_up_patiently(self) -> None:
        """A stream that was just made, or whose leader fell, does not answer for a while."""
        until = perf_counter() + START_SECONDS
        while True:
            try:
                await self._catch_up(await self._stream())
                return
            except (Silent, Refused):
                if perf_counter() > until:
                    raise
            await asyncio.sleep(streams.PAUSE)

    async def _stream(self) -> streams.Info:
        """The stream of the log, made if it is not there."""
        connection, wanted = self._connection, self._wanted
        if self._existing and await streams.inspect(connection, wanted["name"], START_SECONDS) is None:
            raise Unusable(f"there is no ledger at {self._address}")
        new = streams.with_epoch(wanted, secrets.token_hex(8))
        return await streams.ensure(connection, wanted, START_SECONDS, new=new)

    async def _catch_up(self, info: streams.Info) -> None:
        """Have everything in the local copy that is in the log by now."""
        cache, epoch = self._cache, info.epoch
        if cache.epoch != epoch or cache.place + 1 < info.first:
            if cache.epoch != epoch:
                await cache.set_aside()
            await cache.begin(epoch)
            await self._checkpoints.load(epoch, cache)
        elif not await self._is_continued(info):
            raise JournalError(
                f"{self._address} has lost entries that were acknowledged: it ends before {cache.place}, or has another"
                " entry there. The local file has them, and was left untouched; keep a copy of it"
            )
        if cache.place + 1 < info.first:
            raise JournalError(f"{self._address} does not reach back to its last checkpoint; try again")
        self.log.begin(epoch, cache.place, cache.id, self._apply)
        await self.log.replay(info.last, START_SECONDS)
        self.tip = self.log.tip

    async def _is_continued(self, info: streams.Info) -> bool:
        """Whether the log goes on where the local copy ends."""
        place = self._cache.place
        if place > info.last:
            return False
        return not place or await entry_id(self._connection, self._wanted["name"], place) in (None, self._cache.id)

    def changes(self) -> AsyncIterator[list[Change]]:
        """From the local copy."""
        return self._cache.changes()

    async def follow(self, take: Take, recall: Recall) -> None:
        """Over the feed, and by reading where that has a gap."""
        self._take = take
        try:
            await self.log.follow()
            await self._connection.answer(STATUS.format(site=self._address.site), self._status)
            await self._upkeep.start(self.log)
        except NatsError as error:
            raise JournalError(str(error)) from error
        self._asking = asyncio.create_task(ask_later(self._settings, self._unasked, ASK_SECONDS))

    async def _apply(self, entries: Sequence[LogEntry]) -> None:
        """The next entries of the log, own and foreign: first into the local copy, then to the ledger."""
        found = [copied(entry) for entry in entries]
        await self._cache.store(found)
        self._upkeep.note(found)
        for entry in found:
            self.tip = entry.place
            if self._take is not None:
                self._take(Entry(entry.place, entry.changes))

    # Writing.

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """What stands directly behind `behind` decides."""
        return await self._append(changes, (), behind)

    async def _append(self, changes: Sequence[Change], rows: Sequence[AuditRow], behind: int) -> bool:
        body = Raw(msgspec.msgpack.encode((changes, rows)))
        with _outcomes():
            return await self.log.append(body, behind=behind, own=(changes, rows))

    async def confirm(self, *, quorum: bool = False) -> None:
        """By asking the leader what stands behind the tip; with `quorum` or after an unknown outcome by a commit."""
        with _outcomes():
            await self.log.confirm(quorum=quorum)

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """An entry without changes. It depends on nothing, so it is appended again when another one was first."""
        until = perf_counter() + self.append_seconds
        while not await self._append((), rows, self.log.tip):
            if perf_counter() > until:
                raise NotDurable("other gateways were always first")

    def turn(self) -> AbstractAsyncContextManager[None]:
        """After a rest, while other gateways append too."""
        return self.log.turn()

    # In the local copy only.

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """From the local copy."""
        return await self._cache.history(kind, key, revision=revision, take=take)

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """From the local copy."""
        return await self._cache.since(revision, take=take)

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """Of the local copy."""
        return await self._cache.outline(after, before=before, take=take)

    async def remove(self, places: Sequence[int]) -> None:
        """From the local copy: every gateway sweeps its own."""
        await self._cache.remove(places)

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """From the local copy; the numbers are the same on every gateway."""
        return await self._cache.read_audit(wanted, before=before, take=take, skip=skip)

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """From the local copy: every gateway forgets by itself."""
        await self._cache.remove_audit(numbers)

    async def notes(self) -> dict[str, str]:
        """From the local copy."""
        return await self._cache.notes()

    async def remember(self, notes: Mapping[str, str]) -> None:
        """In the local copy: each gateway has its own."""
        await self._cache.remember(notes)

    def _status(self) -> bytes:
        """For `hivewire cluster status` and `check`."""
        log = self.log
        status = GatewayStatus(
            self._gateway, __version__, log.tip, log.last, log.lag, log.lost_rounds, log.gaps, digests=True
        )
        return msgspec.msgpack.encode(status)

    def gauges(self) -> Gauges:
        """What the log is like from here."""
        age = "Age of the last checkpoint of the shared log; 0 without one.", self._upkeep.age
        return self.log.gauges("log", "the shared log") | {"log_checkpoint_seconds": age}

    async def close(self) -> None:
        """Stop following, disconnect, and close the local copy."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._cache.close)
            stack.push_async_callback(self._connection.close)
            stack.push_async_callback(self.log.close)
            stack.push_async_callback(self._upkeep.close)
            stack.push_async_callback(end, self._asking)


def copied(entry: LogEntry) -> Copied:
    """An entry of the log with what is in it. One of ours has the very changes that were appended."""
    if entry.own is not None:
        changes, rows = entry.own
        return Copied(entry.place, entry.id, changes, rows)
    body = msgspec.msgpack.decode(entry.body, type=Body | None)
    if body is None:
        return Copied(entry.place, entry.id, (), ())
    for change in body.changes:
        share(change)
    return Copied(entry.place, entry.id, body.changes, body.rows)


@contextmanager
def _outcomes() -> Iterator[None]:
    """What went wrong with the log, in the words of the ledger."""
    try:
        yield
    except Unknown as error:
        raise Undecided(str(error)) from error
    except (NotStored, Silent, Refused) as error:
        raise NotDurable(str(error)) from error
