"""The work of commands on a shared log: make one of a data file, show it, check it, give it a new epoch.

They need no gateway, only the servers, and more rights than a gateway for `init` and `renew`.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hivewire.broadcast import Facts
from hivewire.ledger.digest import MOST, SUBJECT, Ask, Digest, Fact, fact_of, part_of
from hivewire.ledger.engines import engine_of
from hivewire.ledger.engines.nats.checkpoint import Checkpoints, Manifest
from hivewire.ledger.engines.nats.journal import (
    START_SECONDS,
    STATUS,
    GatewayStatus,
    NatsJournal,
    copied,
    names_of,
    wanted_of,
)
from hivewire.ledger.engines.sqlite.cache import NUMBERS, SqliteCache, snapshot_of
from hivewire.ledger.engines.sqlite.start import require_whole
from hivewire.ledger.journal import Block
from hivewire.ledger.records import Change, JournalError
from hivewire.nats import stream as streams
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Connection, NatsError, address_of
from hivewire.nats.entry import LogEntry
from hivewire.nats.log import Log
from hivewire.settings import Settings

LISTEN_SECONDS = 1.0
"""How long to wait for gateways to tell how far they are."""

CHECK_SECONDS = 30.0
"""Longest wait for the next entries while the log is checked."""


class Server(Struct):
    """A server with a copy of the log. `lag` is how many entries it lacks, and those of the servers' own count
    too. `silent` is for how many seconds the leader has heard nothing from it, 0 if it never has."""

    name: str
    state: str
    lag: int
    silent: float = 0.0


class Status(Struct):
    """What a site is like. `tip` is the last place of the log, `first` the first one that is kept, `unread` why it is
    not known whether there is a checkpoint."""

    epoch: str
    first: int
    tip: int
    bytes: int
    servers: list[Server]
    gateways: list[GatewayStatus]
    checkpoint: Manifest | None
    unread: str | None


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Connection]:
    """A connection to the servers of the settings. What goes wrong with them is a JournalError."""
    if settings.store is None:
        raise JournalError("no shared log is named: give --store, or set HIVEWIRE_STORE")
    try:
        connection = Connection(address_of(settings.store), settings, "hivewire cluster")
        try:
            await connection.open(START_SECONDS)
            yield connection
        finally:
            await connection.close()
    except NatsError as error:
        raise JournalError(str(error)) from error


async def status(settings: Settings) -> Status:
    """What the log, its servers and its gateways are like now. Raises JournalError."""
    async with _connected(settings) as connection:
        return await _status(connection)


async def _status(connection: Connection) -> Status:
    stream, _, _ = names_of(connection.address.site)
    answer = await streams.patiently(connection, f"STREAM.INFO.{stream}", None, START_SECONDS)
    info, cluster = streams.info_of(answer), answer.get("cluster") or {}
    servers = [Server(str(cluster.get("leader", "the server")), "leader", 0)]
    for replica in cluster.get("replicas") or ():
        state = "offline" if replica.get("offline") else "current" if replica.get("current") else "behind"
        lag, silent = int(replica.get("lag", 0)), replica.get("active", 0) / 1e9
        servers.append(Server(str(replica.get("name")), state, lag, silent))
    replies = await connection.ask_all(STATUS.format(site=connection.address.site), LISTEN_SECONDS)
    gateways = [msgspec.msgpack.decode(reply, type=GatewayStatus) for reply in replies]
    checkpoint = unread = None
    try:
        if (found := await _checkpoints(connection).newest()) is not None:
            checkpoint = found[0]
    except NatsError as error:  # no leader: the state of the servers is what is looked for then
        unread = str(error)
    return Status(
        info.epoch,
        info.first,
        info.last,
        info.bytes,
        servers,
        sorted(gateways, key=lambda gateway: gateway.name),
        checkpoint,
        unread,
    )


async def check(settings: Settings) -> tuple[int, Status]:
    """Read the whole log, and compare it with its checkpoint and with all gateways. Returns the number of entries.

    Gateways without `digests` are compared by their last entry only. Raises JournalError where an entry does not
    continue the one before, has another epoch or cannot be read, or where a gateway has another entry or other records.
    """
    async with _connected(settings) as connection:
        found = await _status(connection)
        if found.unread is not None:
            raise JournalError(found.unread)
        digests = await _digests(connection, {gateway.name for gateway in found.gateways if gateway.digests})
        ids: dict[int, bytes] = {gateway.tip: b"" for gateway in found.gateways}
        if found.checkpoint is not None:
            ids[found.checkpoint.place] = b""
        replayed = _Replayed({digest.place for digest in digests})
        await _checkpoints(connection).load(found.epoch, replayed)
        count = 0

        async def note(entries: Sequence[LogEntry]) -> None:
            nonlocal count
            count += len(entries)
            ids.update((entry.place, entry.id) for entry in entries if entry.place in ids)
            for entry in entries:
                await replayed.note(entry)

        log = Log(connection, *names_of(connection.address.site), gateway="", append_seconds=0)
        log.begin(found.epoch, max(0, found.first - 1), b"", note)
        await log.replay(max([found.tip, *[digest.place for digest in digests]]), CHECK_SECONDS)
        _require_same_entries(found, ids)
        _require_same_records(digests, replayed)
        return count, found


def _require_same_entries(found: Status, ids: Mapping[int, bytes]) -> None:
    """Raise JournalError where somebody has another entry at its place than the log has."""
    claims = [(f"the gateway {each.name}", each.tip, each.id) for each in found.gateways]
    if (manifest := found.checkpoint) is not None and manifest.epoch == found.epoch:
        claims.append(("the checkpoint", manifest.place, bytes.fromhex(manifest.entry)))
    for who, place, id in claims:
        if found.first <= place <= found.tip and ids[place] not in (b"", id):
            raise JournalError(f"{who} has another entry at {place} than the log")


def _require_same_records(digests: Sequence[Digest], replayed: _Replayed) -> None:
    """Raise JournalError where a gateway has other records in memory than follow from the log."""
    for digest in digests:
        who, expected = f"the gateway {digest.gateway}", replayed.states.get(digest.place)
        if expected is None:
            raise JournalError(f"{who} is behind the checkpoint, at {digest.place}: try again")
        if expected != (digest.records, digest.sum):
            raise JournalError(
                f"{who} has other records at {digest.place} than the log: {digest.records:,}, and the log has"
                f" {expected[0]:,}. Restart it without its data file"
            )


async def _digests(connection: Connection, gateways: set[str]) -> list[Digest]:
    """What these gateways have in memory. Raises JournalError when one does not tell it in time."""
    found: dict[str, Digest] = {}
    complete = asyncio.Event()

    def hear(name: str, fact: Fact) -> None:
        if isinstance(fact, Digest):
            found[fact.gateway] = fact
            if gateways <= found.keys():
                complete.set()

    broadcast = NatsBroadcast(connection)
    facts = Facts(broadcast, SUBJECT, fact_of, hear)
    await broadcast.open()
    try:
        async with asyncio.timeout(CHECK_SECONDS if gateways else 0):
            facts.tell(Ask())
            await complete.wait()
    except TimeoutError:
        if missing := sorted(gateways - found.keys()):
            raise JournalError(f"these gateways did not tell what they have: {', '.join(missing)}") from None
    finally:
        await broadcast.close()
    return [found[name] for name in gateways]


class _Replayed:
    """The state that follows from a checkpoint and the entries behind it, as numbers for the records.

    `states` has how many there were, and their sum, after the entries at some places.
    """

    def __init__(self, places: Set[int]) -> None:
        self.states: dict[int, tuple[int, int]] = {}
        self._places = places
        self._place = 0  # what is before it is in the checkpoint
        self._parts: dict[tuple[str, str], int] = {}
        self._sum = 0

    async def begin(self, epoch: str) -> None:
        """Nothing is there yet."""
        self._parts.clear()
        self._sum = 0

    async def load(self, block: Block) -> None:
        """What comes next in the checkpoint."""
        self._apply(block.changes)

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._sum -= self._parts.pop((change.kind, change.key), 0)
            if change.content is not None:
                part = self._parts[change.kind, change.key] = part_of(change)
                self._sum += part

    async def complete(self, place: int, id: bytes) -> None:
        """That was all."""
        self._place = place
        self._keep(place)

    async def note(self, entry: LogEntry) -> None:
        """The next entry of the log."""
        if entry.place > self._place:
            self._apply(copied(entry).changes)
            self._keep(entry.place)

    def _keep(self, place: int) -> None:
        if place in self._places:
            self.states[place] = len(self._parts), self._sum % MOST


async def init(settings: Settings, file: Path) -> int:
    """Make the streams of a site, with everything in a data file as their first checkpoint; the number of its messages.

    The epoch is a new one. Raises JournalError: when there is a log already, or the file is in use or not whole.
    """
    engine_of(replace(settings, data=str(file), store=None)).require_free()
    require_whole(file)
    async with _connected(settings) as connection:
        await streams.require_level(connection)
        stream, _, _ = names_of(connection.address.site)
        if await streams.inspect(connection, stream, START_SECONDS) is not None:
            raise JournalError(f"there is a log at {connection.address} already; it was left untouched")
        epoch, checkpoints = secrets.token_hex(8), _checkpoints(connection)
        await checkpoints.open(START_SECONDS)
        # The log comes last: without it no gateway takes the checkpoint for a ledger.
        async with snapshot_of(file) as snapshot:
            # An entry numbers its rows of the audit by its place, which has to be behind those of the file.
            snapshot.place, snapshot.id = snapshot.last_row // NUMBERS + 1, b""
            made = await checkpoints.make(snapshot, epoch)
        wanted = wanted_of(settings, connection.address) | {"first_seq": snapshot.place + 1}
        if made is None or not await streams.create(connection, streams.with_epoch(wanted, epoch), START_SECONDS):
            raise JournalError("another command or gateway made the log meanwhile")
        return made.frames


async def renew(settings: Settings) -> str:
    """Give a log a new epoch, after its servers were restored or have lost entries: clients that follow get the whole
    state. Returns the epoch. All gateways must be stopped. Raises JournalError.
    """
    async with _connected(settings) as connection:
        if (await _status(connection)).gateways:
            raise JournalError("gateways are running; stop them first")
        epoch, checkpoints = secrets.token_hex(8), _checkpoints(connection)
        with tempfile.TemporaryDirectory() as folder:
            cache = SqliteCache(Path(folder) / "copy.db")
            journal = NatsJournal(settings, cache, existing=True)
            try:
                await journal.open()
                # The checkpoint comes first: until the stream has the epoch too, it is nobody's.
                async with cache.snapshot() as snapshot:
                    if await checkpoints.make(snapshot, epoch) is None:
                        raise JournalError("another command made a checkpoint meanwhile; try again")
            finally:
                await journal.close()
        stream, _, _ = names_of(connection.address.site)
        wanted = streams.with_epoch(wanted_of(settings, connection.address), epoch)
        await connection.api(f"STREAM.UPDATE.{stream}", wanted, seconds=10.0)
        await connection.api(f"STREAM.PURGE.{stream}", {"seq": journal.tip + 1}, seconds=10.0)
        return epoch


def _checkpoints(connection: Connection) -> Checkpoints:
    stream, _, _ = names_of(connection.address.site)
    return Checkpoints(connection, stream, "hivewire cluster")


def age_of(manifest: Manifest) -> float:
    """Seconds since a checkpoint was made."""
    return max(0.0, time.time() - manifest.made / 1_000)
