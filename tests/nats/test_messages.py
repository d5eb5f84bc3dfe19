"""Messages of devices over real NATS servers: two gateways in one process, what they tell one another, and what a
gateway finds that was away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bench.nodes import PASSWORD

from hivewire.broadcast import FACT_BYTES
from hivewire.nats import connection
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Connection, address_of
from hivewire.settings import Settings
from hivewire.streams.log import Log
from hivewire.streams.message import Message
from hivewire.streams.messages import Messages
from hivewire.streams.nats import NatsEngine
from tests.ledger.shared import SharedLog
from tests.rooms.test_presence import World
from tests.streams.kit import HOUR, Clocks, draft, messages_on
from tests.world import NOW, Clock

SECONDS = 30.0


class Site:
    """The settings of a site that nobody else has, and what was opened there."""

    def __init__(self, store: str, folder: Path) -> None:
        self.settings = Settings(
            store=store.format(site=secrets.token_hex(8)), store_password=PASSWORD, messages_bytes=64 << 20
        )
        self.folder = folder
        self.ledger = SharedLog()
        self.worlds: list[World] = []
        self._opened: list[tuple[Messages, NatsBroadcast]] = []

    async def join(self) -> NatsBroadcast:
        """A connection to it."""
        live = NatsBroadcast(Connection(address_of(self.settings.store or ""), self.settings, "test"))
        await live.connection.open(SECONDS)
        await live.open()
        return live

    async def world(self) -> World:
        """A whole gateway, whose ledger is in memory. The first one has a lamp and a door."""
        live = await self.join()
        engine = NatsEngine(live, self.settings, self.folder / f"world {len(self.worlds)}")
        world = World(self.ledger.journal(), Clock(), live, engine)
        self._opened.append((world.messages, live))
        if self.worlds:
            await world.load()
            world.admin = world.caller()
        else:
            await (await world.open()).fill()
            await world.register("lamp")
            await world.register("door", 2, 2)
        self.worlds.append(world)
        world.services.neighbours.start()
        return world

    async def messages(self, name: str, clocks: Clocks, ledger: str = "ledger") -> Messages:
        """Only the messages of a gateway, with its copy under this name, of a ledger with this epoch."""
        live = await self.join()
        messages = messages_on(NatsEngine(live, self.settings, self.folder / name), clocks)
        self._opened.append((messages, live))
        await messages.open(ledger)
        return messages

    async def close(self) -> None:
        """Close everything, and remove what is on the servers."""
        for world in self.worlds:
            await world.services.neighbours.close()
            await world.services.presence.close()
        for _, live in self._opened[-1:]:
            for letter in "CN":
                await live.connection.api(f"STREAM.DELETE.HW{letter}_{live.connection.address.site}")
        for messages, live in self._opened:
            await messages.close()
            await live.close()
            await live.connection.close()
        for world in self.worlds:
            await world.close()


@pytest.fixture
async def site(clusters: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    # A busy machine may let the server answer no ping for seconds; facts are lost with the connection.
    monkeypatch.setattr(connection, "PINGS", round(SECONDS))
    site = Site(clusters(1), tmp_path)
    yield site
    await site.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something that was sent has arrived."""
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


async def test_two_gateways_serve_the_same_devices(site: Site) -> None:
    """Who is online, commands for who follows or polls elsewhere, their updates, and positions."""
    mine, other = await site.world(), await site.world()
    device, person = other.peer(), mine.peer()
    await other.follow(device, deviceId="lamp", resumable=True)
    await until(mine.online)
    assert await mine.presence() == (True, NOW)
    await mine.follow(person, deviceId="lamp", returnUpdatedCommands=True)
    poll = other.waiting("command/poll", deviceId="lamp")
    await other.until_waiting(1)
    sent = await mine.order("on")
    assert [command["id"] for command in await poll] == [sent["id"]]
    await other.do("command/update", deviceId="lamp", commandId=sent["id"], command={"status": "done"})
    await until(lambda: person.frames)
    assert [frame["command"]["status"] for frame in person.frames] == ["done"]
    await other.order("off")
    await until(lambda: mine.messages.commands.tip == other.messages.commands.tip)
    first = next(frame for frame in device.frames if "command" in frame)
    again = mine.peer()
    reply = await mine.answer(again, "command/subscribe", deviceId="lamp", since=first["position"])
    assert reply["mode"] == "resumed"
    await mine.quiet()
    assert [frame["command"]["command"] for frame in again.frames if "command" in frame] == ["off"]
    again.session.close()
    device.session.close()
    await until(lambda: mine.services.presence._leaving and not mine.services.presence._present)
    mine.linger()
    assert (await mine.presence())[0] is False


async def everything(log: Log) -> list[Message]:
    return await log.since(log.oldest - 1, take=1_000)


async def test_a_gateway_without_its_copy_reads_the_stream(site: Site) -> None:
    """Also one whose copy is damaged, or of another site; one that has it reads only what is new."""
    clocks = Clocks()
    mine = await site.messages("mine", clocks)
    for number in range(5):
        await mine.commands.insert(draft(value=str(number), key=str(number)))
    stored = await everything(mine.commands)
    other = await site.messages("other", clocks)
    assert await everything(other.commands) == stored
    assert other.commands.epoch == mine.commands.epoch
    assert await other.commands.insert(draft(value="1", key="1")) == stored[1]
    await other.close()
    stored.append(await mine.commands.insert(draft(value="new")))
    assert await everything((await site.messages("other", clocks)).commands) == stored
    (site.folder / "third").write_bytes(b"something else")
    assert await everything((await site.messages("third", clocks)).commands) == stored
    await mine.close()
    assert await everything((await site.messages("mine", clocks)).commands) == stored


async def test_what_has_expired_is_purged_from_the_stream(site: Site) -> None:
    """By whoever drops it first; the last entry stays, so that the numbers go on."""
    clocks = Clocks()
    mine, other = await site.messages("mine", clocks), await site.messages("other", clocks)
    for _ in range(4):
        await mine.commands.insert(draft())
    await until(lambda: other.commands.stored == 4)
    await other.close()
    clocks.on(HOUR)
    await tidied(mine.commands)
    clocks.on(HOUR)
    await tidied(mine.commands)
    assert (mine.commands.stored, mine.commands.oldest) == (0, 5 * 1_024)
    fresh = await site.messages("fresh", clocks)
    assert [message.place for message in await everything(fresh.commands)] == [4 * 1_024], "until it is tidied"
    message = await fresh.commands.insert(draft())
    assert message.place == 5 * 1_024
    again = await site.messages("other", clocks)
    assert again.commands.stored == 5, "it has its copy, and the new one"


async def tidied(log: Log) -> None:
    log.tidy()
    while log.is_tidying:
        await asyncio.sleep(0.001)


async def test_a_gateway_that_hears_nothing_until_messages_expire_goes_on_behind_them(site: Site) -> None:
    """It has missed some, and says so to those who follow."""
    clocks = Clocks()
    mine, other = await site.messages("mine", clocks), await site.messages("other", clocks)
    gaps: list[int] = []
    mine.commands.on_gap(lambda: gaps.append(mine.commands.oldest))
    await mine.commands.insert(draft())
    engine = mine._engine
    assert isinstance(engine, NatsEngine)
    followed = engine.log("commands")._log
    for task in followed._tasks:
        task.cancel()
    for _ in range(3):
        await other.commands.insert(draft())
    clocks.on(HOUR)
    await tidied(other.commands)
    clocks.on(HOUR)
    await tidied(other.commands)
    last = await other.commands.insert(draft())
    followed._heard.clear()
    await followed.follow()
    await until(lambda: mine.commands.tip == last.place)
    assert gaps == [4 * 1_024]
    assert [message.place for message in await everything(mine.commands)] == [4 * 1_024, 5 * 1_024]


async def test_a_ledger_that_was_made_anew_has_no_messages_of_the_one_before(site: Site) -> None:
    """They belong to devices of other records. Numbers go on, positions do not."""
    clocks = Clocks()
    before = await site.messages("mine", clocks)
    old = await before.commands.insert(draft())
    await before.close()
    for name in ("mine", "other"):
        anew = await site.messages(name, clocks, "another")
        assert await everything(anew.commands) == []
        assert anew.commands.epoch != before.commands.epoch
        assert await anew.commands.get(1, old.id) is None
        await anew.close()
    anew, other = [await site.messages(name, clocks, "another") for name in ("mine", "other")]
    message = await other.commands.insert(draft())
    assert message.place == 2 * 1_024
    await until(lambda: anew.commands.stored)
    assert await everything(anew.commands) == [message]
    assert anew.commands.epoch == other.commands.epoch


async def test_facts_reach_all_others_in_order(site: Site) -> None:
    """Not the one that tells them, and not under another subject."""
    one, two = await site.join(), await site.join()
    heard: list[tuple[str, bytes]] = []
    for live in (one, two):
        live.hear("word", lambda name, fact: heard.append((name, fact)))
    facts = [bytes(FACT_BYTES), *(b"%d" % number for number in range(100))]
    for fact in facts:
        one.tell("other", b"x")
        one.tell("word", fact)
    await until(lambda: heard and heard[-1] == (one.name, b"99"))
    assert heard == [(one.name, fact) for fact in facts]
    for live in (one, two):
        await live.close()
        await live.connection.close()
    one.tell("word", b"lost")
    await one.close()
