"""A fleet over real NATS servers: what gateways know of its devices, who decides, and what a checkpoint keeps."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from bench.nodes import PASSWORD

from hivewire.ledger.engines.nats.journal import NatsJournal
from hivewire.ledger.engines.sqlite.cache import SqliteCache
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Connection, address_of
from hivewire.settings import Settings
from tests.nats.test_messages import SECONDS, until
from tests.rooms.fleets import World
from tests.rooms.test_reports import reported, states, tags
from tests.rooms.test_rollouts import Devices, judge, start, state
from tests.rooms.test_schedules import timers_of
from tests.world import Clock

DEVICES = ("a", "b", "c", "d")


class Gateway(World):
    """One of several. `time` is its monotonic clock, by which it takes others for gone."""

    def __init__(self, journal: NatsJournal, clock: Clock, live: NatsBroadcast) -> None:
        super().__init__(journal, clock, live)
        self.log, self.live = journal, live
        self.time = 0.0
        self.services.notes.online._seconds = lambda: self.time


class Site:
    """Gateways that share a log, what they tell one another, and the time."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store = store.format(site=secrets.token_hex(8))
        self.folder = folder
        self.clock = Clock()
        self.gateways: list[Gateway] = []
        self.killed: list[Gateway] = []

    async def gateway(self) -> Gateway:
        """One more, with an empty file. The first one makes the devices."""
        path = self.folder / f"{secrets.token_hex(4)}.db"
        settings = Settings(data=str(path), store=self.store, store_password=PASSWORD)
        live = NatsBroadcast(Connection(address_of(self.store), settings, path.stem))
        await live.connection.open(SECONDS)
        await live.open()
        gateway = Gateway(NatsJournal(settings, SqliteCache(path)), self.clock, live)
        if self.gateways or self.killed:
            await gateway.load()
            gateway.admin = gateway.caller()
        else:
            await (await gateway.open()).fill()
            await gateway.register(*DEVICES)
        await gateway.services.notes.load()
        self.gateways.append(gateway)
        return gateway

    async def kill(self, gateway: Gateway) -> None:
        """It says nothing and saves nothing any more."""
        self.gateways.remove(gateway)
        self.killed.append(gateway)
        await gateway.live.connection.close()

    async def agree(self) -> None:
        """A second passes: every gateway saves and tells what is new, and all know the same of every device."""
        self.clock.time += 1_000
        for gateway in self.gateways:
            await gateway.ledger.confirm()
        for gateway in self.gateways:
            gateway.services.notes.online.beat()
            await gateway.services.notes.save()
        await until(lambda: len({self._known(gateway) for gateway in self.gateways}) == 1)

    @staticmethod
    def _known(gateway: Gateway) -> object:
        fleet = gateway.services.fleet
        known = {each: fleet.known(each) for each in DEVICES}
        return str(
            [
                (each, found and (found.at, found.reached, found.report and found.report.content), fleet.online(each))
                for each, found in known.items()
            ]
        )

    async def every(self, action: str, **members: Any) -> Any:
        """The reply, which is that of every gateway."""
        found = [await gateway.do(action, **members) for gateway in self.gateways]
        assert all(each == found[0] for each in found), found
        return found[0]

    async def close(self) -> None:
        """Close all, and remove what is on the server."""
        for gateway in self.gateways[-1:]:
            for stream in (gateway.log._wanted["name"], gateway.log._checkpoints.stream):
                await gateway.log._connection.api(f"STREAM.DELETE.{stream}")
        for gateway in (*self.gateways, *self.killed):
            await gateway.services.fleet.close()
            await gateway.close()
            await gateway.live.close()
            await gateway.live.connection.close()


@pytest.fixture
async def site(clusters: Callable[[int], str], tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(clusters(1), tmp_path)
    yield site
    await site.close()


async def listen(*groups: Devices, refuse: Iterable[str] = ()) -> None:
    """Devices at several gateways apply what they were sent."""
    for devices in groups:
        await devices.world.ledger.confirm()
        await devices.listen(refuse=refuse)


async def test_gateways_know_the_same_and_one_of_them_advances(site: Site) -> None:
    """Reports, who is online and who was reached; both decide at once, and the record has one change for each step. One
    that is killed leaves a rollout that the other goes on with, and its devices are offline after a while."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    here, there = Devices(mine, "a", "b"), Devices(other, "c", "d")
    await listen(here, there)
    await site.agree()
    counted = await site.every("fleet/count")
    assert {each: counted[each] for each in ("online", "applied", "pending")} == {
        "online": 4,
        "applied": 4,
        "pending": 0,
    }
    number = await start(mine, {"deviceIds": ["a", "c"]}, n="2")
    await listen(here, there)
    await site.agree()
    found = (await site.every("rollout/get", rollout=number))["rollout"]
    assert (found["counts"]["reached"], found["counts"]["applied"]) == (2, 2)
    site.clock.time += 2_000
    await asyncio.gather(judge(mine), judge(other))
    await listen(here, there)
    assert await state(mine, number) == await state(other, number) == ("running", 2, None)
    assert mine.ledger.kind("rollout").live[str(number)].version == 2, "one of the two decisions stands"
    await site.kill(mine)
    other.time += 11
    await site.agree()
    assert (await other.do("fleet/count"))["online"] == 2
    await judge(other, 2)
    assert await state(other, number) == ("completed", 2, None)
    assert await other.has("a") == {"n": "2"}


async def test_reports_are_in_a_checkpoint(site: Site) -> None:
    """A gateway that starts from one knows what devices reported and who was reached, and has nobody to ask."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1", m="1")
    await listen(Devices(mine, "a"))
    tag = await tags(mine, "b")
    await reported(mine, "b", {"name": "n", "tag": tag["n"], "error": "unsupported rate"}, {"name": "m", "value": "7"})
    number = await start(mine, {"deviceIds": ["a"]}, n="2")
    await listen(Devices(mine, "a"))
    await mine.do("rollout/hold", rollout=number)
    for _ in range(2):  # what one is told it saves a second later
        await site.agree()
    expected = [await states(mine, each) for each in DEVICES]
    assert expected[:2] == [{"n": "applied", "m": "applied"}, {"n": "refused", "m": "local"}]
    await other.log._upkeep.make(other.log.log)
    await site.kill(mine)
    await site.kill(other)
    again = await site.gateway()
    assert [await states(again, each) for each in DEVICES] == expected
    assert (await again.has("a"), await again.has("b")) == ({"n": "2", "m": "1"}, {"n": "1", "m": "1"})


async def test_what_is_scheduled_is_done_once_whoever_is_killed(site: Site) -> None:
    """Two gateways with one clock try at once; of what a killed one has scheduled the other does the rest."""
    mine, other = await site.gateway(), await site.gateway()
    clocks = [timers_of(mine), timers_of(other)]
    now = site.clock.time
    for after in (5, 60):
        changes = [{"operation": "put", "name": "n", "value": str(after), "layer": "global"}]
        await mine.do("configuration/transact", changes=changes, at=str(now + after * 1_000))
        await mine.do("configuration/put", name=f"m{after}", value="1", ttl=after)
    await other.ledger.confirm()
    site.clock.time += 5_000
    await asyncio.gather(*(clock.fire() for clock in clocks))
    await site.agree()
    assert await mine.has("a") == await other.has("a") == {"n": "5"}
    await site.kill(mine)
    site.clock.time += 60_000
    await clocks[1].fire()
    history = (await other.do("configuration/history", name="n", layer="global"))["changes"]
    assert [each["configuration"]["value"] for each in history] == ["60", "5"]
    for name in ("m5", "m60"):
        changes = (await other.do("configuration/history", name=name))["changes"]
        assert [each["description"] for each in changes] == ["expired", None]
