"""A log in a stream, over a real server: what stands, who is too late, and what an answer that never came means."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from bench.nodes import PASSWORD
from msgspec import Raw

from hivewire.nats import log as logs
from hivewire.nats import stream as streams
from hivewire.nats import watch
from hivewire.nats.connection import Address, Connection, Message, NotStored, Silent, Unknown, Unusable, address_of
from hivewire.nats.entry import PIECE_BYTES, LogEntry
from hivewire.nats.heard import Heard
from hivewire.nats.log import Log
from hivewire.settings import Settings
from hivewire.stopped import Stopped

SECONDS = 30.0


class Scripted(Connection):
    """A connection on which something goes wrong: `script` has a step for each of the next messages that ask for an
    answer, and `lose` is how many of the next messages of the feed get lost.

    `silent`: it is sent, and its answer is lost. `lost`: it is not sent. Anything to call happens before it is sent.
    """

    def __init__(self, address: Address, settings: Settings, name: str) -> None:
        super().__init__(address, settings, name)
        self.script: deque[Any] = deque()
        self.lose = 0

    async def request(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, seconds: float = 1.0
    ) -> dict[str, Any]:
        step = self.script.popleft() if self.script and headers is not None else None
        if step == "lost":
            raise Silent("nobody says anything")
        if callable(step):
            await asyncio.shield(asyncio.ensure_future(step()))  # ours may be decided before it ends
        answer = await super().request(subject, data, headers, seconds=seconds)
        if step == "silent":
            raise Silent("nobody says anything")
        return answer

    async def subscribe(self, subject: str, hear: Callable[[Message], None]) -> None:
        def heard(message: Message) -> None:
            if self.lose:
                self.lose -= 1
            else:
                hear(message)

        await super().subscribe(subject, heard)


class Gateway:
    """One that follows a log."""

    def __init__(self, connection: Scripted, name: str, append_seconds: float, format: int, gaps: bool) -> None:
        self.connection = connection
        self.applied: list[LogEntry] = []
        self.log = Log(connection, *NAMES, gateway=name, append_seconds=append_seconds, format=format, gaps=gaps)

    async def apply(self, entries: Sequence[LogEntry]) -> None:
        self.applied += entries

    async def append(self, what: Any, behind: int | None = None) -> bool:
        body = Raw(msgspec.msgpack.encode(what))
        return await self.log.append(body, behind=self.log.tip if behind is None else behind, own=what)

    @property
    def bodies(self) -> list[Any]:
        return [msgspec.msgpack.decode(entry.body) for entry in self.applied]

    async def close(self) -> None:
        await self.log.close()
        await self.connection.close()


NAMES = ("HW_log", "hw.log", "hw.feed")


class Site:
    """A stream on a server, and the gateways on it. It has the one account to itself while it is there."""

    def __init__(self, store: str) -> None:
        self.settings = Settings(store=store.format(site="log"), store_password=PASSWORD)
        self.address = address_of(self.settings.store or "")
        self.gateways: list[Gateway] = []
        self.epoch = secrets.token_hex(8)

    async def create(self, most_bytes: int = 64 << 20, epoch: str | None = None) -> None:
        """Make the stream anew."""
        connection = self.gateways[0].connection if self.gateways else await self.connect()
        configuration = streams.log_configuration(*NAMES, 1, most_bytes)
        await self.delete(connection)
        metadata = {"hivewire.epoch": epoch or self.epoch}
        assert await streams.create(connection, configuration | {"metadata": metadata}, SECONDS)
        if not self.gateways:
            await connection.close()

    async def delete(self, connection: Connection) -> None:
        if await streams.inspect(connection, NAMES[0], SECONDS) is not None:
            await connection.api(f"STREAM.DELETE.{NAMES[0]}")

    async def connect(self) -> Scripted:
        connection = Scripted(self.address, self.settings, "test")
        await connection.open(SECONDS)
        return connection

    async def gateway(self, *, append_seconds: float = SECONDS, format: int = 1, gaps: bool = False) -> Gateway:
        """One more, which has read everything."""
        gateway = Gateway(await self.connect(), f"g{len(self.gateways)}", append_seconds, format, gaps)
        self.gateways.append(gateway)
        gateway.log.begin(self.epoch, 0, b"", gateway.apply)
        info = await streams.inspect(gateway.connection, NAMES[0], SECONDS)
        assert info is not None
        await gateway.log.replay(info.last, SECONDS)
        await gateway.log.follow()
        return gateway


@pytest.fixture
async def site(clusters: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.3)
    name = secrets.token_hex(8)  # others use the same server
    monkeypatch.setattr(f"{__name__}.NAMES", (f"HW_{name}", f"hw.{name}.log", f"hw.{name}.feed"))
    site = Site(clusters(1))
    await site.create()
    yield site
    if site.gateways:
        await site.delete(site.gateways[0].connection)
    for gateway in site.gateways:
        await gateway.close()


async def stopped(gateway: Gateway) -> Stopped:
    while gateway.log.stopped is None:
        await asyncio.sleep(0.01)
    return gateway.log.stopped


async def test_what_was_appended_stands_once_and_everybody_has_it_in_one_order(site: Site) -> None:
    """Of gateways that append at the same tip one wins. The others are told so, have the winner's by then, and append
    behind it."""
    gateways = [await site.gateway() for _ in range(3)]

    async def write(number: int) -> None:
        gateway = gateways[number]
        for count in range(20):
            while not await gateway.append([number, count]):
                pass

    await asyncio.gather(*(write(number) for number in range(3)))
    for gateway in gateways:
        await gateway.log.confirm()
    first = gateways[0].bodies
    assert sorted(first) == [[number, count] for number in range(3) for count in range(20)]
    assert [gateway.bodies for gateway in gateways] == [first] * 3
    assert [entry.place for entry in gateways[0].applied] == list(range(1, 61))
    assert sum(gateway.log.lost_rounds for gateway in gateways) > 0
    assert [entry.own for entry in gateways[1].applied if entry.own is not None] == [[1, count] for count in range(20)]


async def test_an_append_at_an_old_tip_is_too_late(site: Site) -> None:
    """It is refused without asking, once the tip has moved here; else by what stands there, which was applied."""
    mine, other = await site.gateway(), await site.gateway()
    mine.connection.script.append(lambda: other.append("theirs"))
    assert not await mine.append("mine")
    assert mine.bodies == ["theirs"]
    assert not await mine.append("mine", behind=0)
    assert mine.bodies == ["theirs"]


async def test_who_got_entries_of_others_lets_them_go_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an append it rests, for up to as long as appends take; alone on the log it does not."""
    monkeypatch.setattr(logs, "CONTENDED_SECONDS", 3_600)
    monkeypatch.setattr(logs, "REST_MOST", 3_600)
    monkeypatch.setattr("random.random", lambda: 1.0)
    mine, other = await site.gateway(), await site.gateway()
    mine.log._others_at = -3_600.0
    mine.log.mean = 1_000.0
    rested: list[float] = []

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    assert await mine.append("alone")
    async with mine.log.turn():
        assert rested == []
    await other.log.confirm()
    assert await other.append("theirs")
    await mine.log.confirm()
    assert await mine.append("contended")
    monkeypatch.setattr("hivewire.nats.log.asyncio.sleep", rest)
    async with mine.log.turn():
        assert len(rested) == 1
    assert 0 < rested[0] <= mine.log.mean


async def test_a_large_entry_is_stored_completely_or_not_at_all(site: Site) -> None:
    """It goes in pieces; its place is that of the last one. One that comes too late leaves no piece behind."""
    mine, other = await site.gateway(), await site.gateway()
    large = bytes(range(256)) * 4 * 2_500
    assert await mine.append(large)
    assert await mine.append("small")
    mine.connection.script.append(lambda: other.append("theirs"))
    await other.log.confirm()
    assert not await mine.append(large)
    late = await site.gateway()
    pieces = -(-len(large) // PIECE_BYTES)
    for gateway in (mine, other, late):
        await gateway.log.confirm()
        assert [body == large for body in gateway.bodies] == [True, False, False]
        assert [entry.place for entry in gateway.applied] == [pieces, pieces + 1, pieces + 2]
    with pytest.raises(NotStored, match="larger than the log takes"):
        await mine.append(bytes(PIECE_BYTES * 128))


async def test_a_gap_of_the_feed_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the feed lost is applied before what came behind it, and counted."""
    mine, other = await site.gateway(), await site.gateway()
    with monkeypatch.context() as patched:
        patched.setattr(logs, "IDLE_SECONDS", 3_600)
        await lose_two_of_three(mine, other)
    other.connection.lose = 1
    assert await mine.append(3)
    other.log.read_soon()  # out of the long pause
    while len(other.applied) < 4:  # nothing comes behind it: the log is read when it is quiet
        await asyncio.sleep(0.01)


async def lose_two_of_three(mine: Gateway, other: Gateway) -> None:
    other.log._wake.set()
    while other.log._asked or other.log._wake.is_set():  # it has read the log at its start
        await asyncio.sleep(0.01)
    other.connection.lose = 2
    for number in range(3):
        assert await mine.append(number)
    while len(other.applied) < 3:
        await asyncio.sleep(0.01)
    assert other.bodies == [0, 1, 2]
    assert other.log.gaps == 1


async def test_what_waits_to_be_applied_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room is read again when its turn has come."""
    monkeypatch.setattr("hivewire.nats.heard.HEARD_BYTES", 10_000)
    mine, other = await site.gateway(), await site.gateway()
    apply, go = other.apply, asyncio.Event()

    async def waiting(entries: Sequence[LogEntry]) -> None:
        await go.wait()
        await apply(entries)

    other.log._apply = waiting
    for number in range(50):
        assert await mine.append([number, bytes(1_000)])
    while other.log._heard.known < 50:
        await asyncio.sleep(0)
    waited = other.log._heard._bytes
    go.set()
    await other.log.confirm()
    assert waited < 12_000
    assert [number for number, _ in other.bodies] == [*range(50)]


class Looked(dict[int, Message]):
    """Counts how often somebody looks through all."""

    looks = 0

    def __iter__(self) -> Iterator[int]:
        self.looks += 1
        return super().__iter__()


def test_what_has_no_room_looks_at_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand messages may wait while the local file takes none, and every further one comes too. One that
    is in front of them makes room at their end."""
    monkeypatch.setattr("hivewire.nats.heard.HEARD_BYTES", 10_000)
    heard, looked = Heard(), Looked()
    heard._messages = looked
    for place in range(2, 100):
        assert heard.add(Message(place, {}, b"x" * 100), 0)
    kept = heard.missing(1)
    assert (heard.known, heard.missing(0), looked.looks) == (99, 1, 0)
    assert 5 < kept < 30
    assert heard.has_gap(0)
    assert heard.add(Message(1, {}, b"x" * 100), 0)
    assert heard.missing(0) == kept - 1
    assert not heard.has_gap(0)
    heard.drop(1, kept)
    assert (heard._bytes, heard.has_gap(kept)) == (0, False)
    assert looked.looks <= 1, "when the last one goes"


async def test_a_confirmation_waits_for_everything_that_is_stored(site: Site) -> None:
    """Whatever the feed lost was applied when it returns, and where nothing came it writes nothing. With a quorum it
    writes an empty entry."""
    mine, other = await site.gateway(), await site.gateway()
    other.connection.lose = 100
    for number in range(5):
        assert await mine.append(number)
        await other.log.confirm()
        assert other.bodies == list(range(number + 1))
    await other.log.confirm()
    assert other.log.tip == 5
    await asyncio.gather(*(other.log.confirm(quorum=True) for _ in range(10)))
    assert other.bodies in ([*range(5), None], [*range(5), None, None]), "one that began after each was asked"


@pytest.mark.parametrize("script", [["silent"], ["silent", "silent"], ["lost"], ["lost", "silent"]], ids=str)
async def test_an_answer_that_was_lost_does_not_matter(site: Site, script: list[str]) -> None:
    """The same is sent again until it is known what stands there. However often it was sent, it stands once."""
    mine, other = await site.gateway(), await site.gateway()
    mine.connection.lose = other.connection.lose = 100
    mine.connection.script.extend(script)
    assert await mine.append("mine")
    assert await mine.append("next")
    await other.log.confirm()
    assert mine.bodies == other.bodies == ["mine", "next"]


async def test_an_append_without_an_outcome_is_unknown(site: Site) -> None:
    """It is given up after a time, and then nobody knows. The next confirmation commits something, and so decides."""
    mine, other = await site.gateway(append_seconds=0.2), await site.gateway()
    mine.connection.script.extend(["lost"] * 100)
    with pytest.raises(Unknown, match=r"not answered for 0\.2 s"):
        await mine.append("mine")
    mine.connection.script.clear()
    await mine.log.confirm()
    assert mine.bodies == [None]
    await mine.log.confirm()
    assert await mine.append("next")
    await other.log.confirm()
    assert other.bodies == [None, "next"]


async def test_a_full_log_refuses_and_goes_on_when_there_is_room(site: Site) -> None:
    """Nothing is dropped, and what was refused is not stored later."""
    await site.create(most_bytes=100_000)
    mine = await site.gateway()
    assert await mine.append(bytes(60_000))
    with pytest.raises(NotStored, match="maximum bytes"):
        await mine.append(bytes(60_000))
    assert await mine.append("small")
    assert [len(body) for body in mine.bodies] == [60_000, 5]


async def test_an_entry_of_another_format_stops_the_log(site: Site) -> None:
    """A gateway that meets what a newer one wrote applies it not, nor anything behind it, and says what to do; what
    came before it was applied. A start is refused."""
    old = await site.gateway()
    assert await old.append("old")
    new = await site.gateway(format=1)
    new.log._format = 2
    new.log.tip, new.log.last = old.log.tip, old.log.last
    assert await new.append("new")
    found = await stopped(old)
    assert (found.again, old.bodies) == (False, ["old"])
    assert "the entry at 2 has the format 2, and this version of Hivewire reads 1" in found.reason
    with pytest.raises(NotStored, match="upgrade this one"):
        await old.append("more")
    with pytest.raises(Unusable, match="upgrade this one"):
        await site.gateway()


async def test_a_log_that_was_made_anew_is_noticed(site: Site) -> None:
    """Its epoch is another one: a gateway can restart with it."""
    mine = await site.gateway()
    assert await mine.append("mine")
    await site.create(epoch="another")
    assert (await stopped(mine)).again


async def test_a_log_that_lost_entries_is_noticed(site: Site) -> None:
    """It is shorter than what was applied, or has others there: nothing more is applied, and nobody restarts by
    itself, because this gateway has what is missing."""
    mine = await site.gateway()
    for number in range(3):
        assert await mine.append(number)
    await site.create()
    found = await stopped(mine)
    assert not found.again
    assert "has lost entries that were acknowledged" in found.reason
    rewritten = await site.gateway()
    assert await rewritten.append(0)
    behind = await site.gateway()
    behind.log.last = b"another"
    assert await rewritten.append(1)
    assert not (await stopped(behind)).again
    assert behind.bodies == [0]


async def left_behind(site: Site) -> Gateway:
    """A gateway that heard nothing of five entries, of which the first ones are not in the log any more."""
    mine, other = await site.gateway(), await site.gateway()
    await other.log.close()
    await streams.inspect(other.connection, NAMES[0], SECONDS)  # so the server has got the subscription by now
    other.connection.lose = 5
    for number in range(5):
        assert await mine.append(number)
    await mine.connection.api(f"STREAM.PURGE.{NAMES[0]}", {"seq": 4})
    while other.connection.lose:
        await asyncio.sleep(0.01)
    return other


async def test_what_was_compacted_away_cannot_be_followed(site: Site) -> None:
    """A gateway that is too far behind stops, and can restart."""
    other = await left_behind(site)
    await other.log.follow()
    found = await stopped(other)
    assert found.again
    assert "compacted" in found.reason
    assert other.bodies == []


async def test_a_confirmation_notices_what_was_compacted_away(site: Site) -> None:
    """A gateway that was suspended does not say that it has everything because what comes next is not there any
    more."""
    other = await left_behind(site)
    confirming = asyncio.create_task(other.log.confirm())
    await asyncio.sleep(0)  # it asks before the log is read
    await other.log.follow()
    with pytest.raises((NotStored, Unknown), match="compacted"):
        await confirming
    assert other.bodies == []


async def test_what_was_heard_before_a_gap_is_forgotten_with_it(site: Site) -> None:
    """A log of what expires goes on behind what was removed, and does not look for the rest of that for ever."""
    mine, other = await site.gateway(), await site.gateway(gaps=True)
    read, answers = other.connection.read, asyncio.Event()

    async def reading(stream: str, place: int, subject: str | None = None) -> list[Message]:
        await answers.wait()
        return await read(stream, place, subject)

    other.connection.read = reading  # type: ignore[method-assign]
    other.connection.lose = 2
    for number in range(6):
        assert await mine.append(number)
    while other.log._heard.known < 6:
        await asyncio.sleep(0.01)
    await mine.connection.api(f"STREAM.PURGE.{NAMES[0]}", {"seq": 6})
    answers.set()
    assert await mine.append("next")
    await other.log.confirm()
    assert other.bodies == [5, "next"]
    assert other.log._heard._bytes == 0
    assert not other.log._has_gap()


async def test_a_long_backlog_is_applied_in_portions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """So others are served in between; an entry that is larger than a portion comes alone."""
    monkeypatch.setattr(logs, "APPLY_BYTES", 2_000)
    mine, other = await site.gateway(), await site.gateway()
    apply, go, portions = other.apply, asyncio.Event(), list[int]()

    async def counting(entries: Sequence[LogEntry]) -> None:
        await go.wait()
        portions.append(len(entries))
        await apply(entries)

    other.log._apply = counting
    assert await mine.append("first")
    for number in range(10):
        assert await mine.append([number, bytes(3_000 if number == 9 else 900)])
    while other.log._heard.known < 11:
        await asyncio.sleep(0.01)
    go.set()
    await other.log.confirm()
    assert [body[0] for body in other.bodies[1:]] == [*range(10)]
    assert portions[0] == 1
    assert set(portions[1:]) == {3, 1}, "until a portion has 2,000 bytes"


async def test_entries_are_applied_again_when_they_could_not_be(site: Site) -> None:
    """An error of the local file loses nothing: the same entries come again."""
    mine, other = await site.gateway(), await site.gateway()
    apply, tries = other.apply, 0

    async def failing(entries: Sequence[LogEntry]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("no space left")
        await apply(entries)

    other.log._apply = failing
    assert await mine.append("a")
    await other.log.confirm()
    assert (other.bodies, tries) == (["a"], 2)


async def test_a_close_waits_for_what_is_being_applied(site: Site) -> None:
    """A local file that is interrupted in a commit fails in ways of its own, and that is no reason to try again."""
    mine, other = await site.gateway(), await site.gateway()
    begun, ends, applied = asyncio.Event(), asyncio.Event(), list[Any]()

    async def slowly(entries: Sequence[LogEntry]) -> None:
        begun.set()
        try:
            await ends.wait()
        except asyncio.CancelledError:
            raise OSError("cannot roll back") from None
        applied.extend(entries)

    mine.log._apply = slowly
    await other.append("one")
    await begun.wait()
    closing = asyncio.create_task(mine.log.close())
    await asyncio.sleep(0)
    assert not closing.done()
    ends.set()
    async with asyncio.timeout(SECONDS):
        await closing
    assert len(applied) == 1
