"""Several gateways on one log: reports, who is online, and rollouts are the same at each (fleet.md, cluster.md 9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivewire import slices
from hivewire.fleet import notes
from hivewire_protocol.nouns.device_configuration import Reported
from tests.broadcast import Bus, End
from tests.ledger.shared import SharedLog
from tests.rooms.fleets import World
from tests.rooms.neighbours import settle
from tests.rooms.test_reports import reported, states, tags
from tests.rooms.test_rollouts import Devices, counts, judge, start, state
from tests.world import Clock

DEVICES = ("a", "b", "c", "d")


class Site:
    """What the gateways share: a log, a bus and the time."""

    def __init__(self) -> None:
        self.log, self.bus, self.clock = SharedLog(), Bus(), Clock()
        self.gateways: list[World] = []

    async def gateway(self, end: End | None = None) -> World:
        """One more. The first one makes the devices."""
        world = World(self.log.journal(), self.clock, end or self.bus.end())
        if self.gateways:
            await world.load()
            world.admin = world.caller()
        else:
            await (await world.open()).fill()
            await world.register(*DEVICES)
        self.gateways.append(world)
        return world

    async def second(self) -> None:
        """A second passes: every gateway saves and tells what is new, and is heard."""
        self.clock.time += 1_000
        for world in self.gateways:
            world.services.notes.online.beat()
            await world.services.notes.save()
        await settle()

    async def close(self) -> None:
        """Close all."""
        for world in self.gateways:
            await world.services.notes.close()
            await world.services.fleet.close()
            await world.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site without a gateway."""
    site = Site()
    yield site
    await site.close()


async def both(site: Site, action: str, **members: Any) -> Any:
    """The reply, which is that of every gateway."""
    found = [await world.do(action, **members) for world in site.gateways]
    assert all(each == found[0] for each in found), found
    return found[0]


async def test_reports_and_who_is_online_are_known_to_all(site: Site) -> None:
    """Counts, rows and effective values are the same, wherever a device reports and follows."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    tag = (await tags(other, "a"))["n"]
    mine.follow("a")
    other.follow("a")
    following = other.follow("b")
    await reported(mine, "a", {"name": "n", "tag": tag})
    await reported(other, "b", {"name": "n", "tag": tag, "error": "unsupported rate"})
    await site.second()
    found = await both(site, "fleet/count")
    assert {each: found[each] for each in ("devices", "online", "applied", "refused", "pending")} == {
        "devices": 4,
        "online": 2,
        "applied": 1,
        "refused": 1,
        "pending": 2,
    }
    assert [each["online"] for each in (await both(site, "fleet/list"))["devices"]] == [True, True, False, False]
    assert await states(mine, "b") == {"n": "refused"}
    tried = await both(site, "configuration/put", layer="global", name="n", value="2", dryRun=True)
    assert tried["affects"] == {"devices": 4, "online": 2, "hidden": 0}
    following.session.close()
    await site.second()
    assert (await both(site, "fleet/count"))["online"] == 1


async def test_of_two_reports_the_last_one_counts(site: Site) -> None:
    """Also where it is heard first, and when the clock of its gateway is behind."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    tag = (await tags(mine, "a"))["n"]
    await reported(mine, "a", {"name": "n", "tag": tag, "error": "no"})
    await site.second()
    site.clock.time -= 60_000
    await reported(other, "a", {"name": "n", "tag": tag})
    await site.second()
    assert [await states(world, "a") for world in site.gateways] == [{"n": "applied"}] * 2
    await reported(mine, "b", {"name": "n", "tag": tag, "error": "no"})
    site.clock.time += 1
    await reported(other, "b", {"name": "n", "tag": tag})
    await site.second()
    assert [await states(world, "b") for world in site.gateways] == [{"n": "applied"}] * 2, "their facts have crossed"


async def test_what_is_lost_is_asked_for(site: Site) -> None:
    """A gateway that missed facts, or started later, has all within a second or two."""
    mine, _ = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    tag = (await tags(mine, "a"))["n"]
    await site.second()
    await reported(mine, "a", {"name": "n", "tag": tag})
    site.bus.lose = 2
    await mine.services.notes.save()
    await reported(mine, "b", {"name": "n", "tag": tag})
    await site.second()
    later = await site.gateway()
    for _ in range(2):
        await site.second()
    assert (await both(site, "fleet/count"))["applied"] == 2
    assert [world.services.notes.lag for world in site.gateways] == [notes.LAG] * 3
    await reported(later, "c", {"name": "n", "tag": tag})
    await site.second()
    assert (await both(site, "fleet/count"))["applied"] == 3


async def test_what_is_new_of_many_devices_is_told_in_steps(site: Site, steps_of: Callable[..., list[int]]) -> None:
    """After a step of a rollout that may be thousands. What a gateway has not told when it stops, it tells then."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    tag = (await tags(mine, "a"))["n"]
    for device in DEVICES:
        await reported(mine, device, {"name": "n", "tag": tag})
    saving = asyncio.create_task(mine.services.notes.save())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notes, "PART_BYTES", 1)
        patch.setattr(slices, "BACKGROUND_SECONDS", -1)
        patch.setattr(slices, "BACKGROUND_SHARE", 0)
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await settle()
        assert (await other.do("fleet/count"))["applied"] < 4
        steps = steps_of(notes)
        await mine.services.notes.save()
        assert steps[0] == 4
    await settle()
    assert (await both(site, "fleet/count"))["applied"] == 4


async def test_reports_of_others_outlive_a_restart(site: Site) -> None:
    """Each gateway saves what it hears; nobody else is there when it starts again."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    tag = (await tags(mine, "a"))["n"]
    await reported(mine, "a", {"name": "n", "tag": tag})
    for _ in range(2):
        await site.second()
    again = World(other.journal, site.clock)
    await again.load()
    again.admin = again.caller()
    await again.services.notes.load()
    assert await states(again, "a") == {"n": "applied"}


async def test_a_fact_about_what_is_not_there_yet_is_asked_for_again(site: Site) -> None:
    """Facts may be faster than the log: the device is known a moment later."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await site.second()
    other.journal.lose = 1  # type: ignore[attr-defined]  # the feed of a SharedJournal
    await mine.register("new")
    await reported(mine, "new", {"name": "n", "tag": (await tags(mine, "new"))["n"]})
    await site.second()
    assert other.services.fleet.member("new") is None
    assert other.services.notes.lag is None
    await mine.register("newer")
    await settle()
    for _ in range(2):
        await site.second()
    assert await states(other, "new") == {"n": "applied"}


async def test_a_rollout_counts_the_devices_of_all_gateways(site: Site) -> None:
    """Devices that refuse at one gateway hold it, whichever looks; and it does not go on before all is known."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    here, there = Devices(mine, "a", "b"), Devices(other, "c", "d")
    for devices in (here, there):
        await devices.listen()
    await site.second()
    gate = {"wait": 0, "minimum": 0, "failures": 0}
    number = await start(mine, {"deviceIds": [*"abcd"]}, gate=gate, n="2")
    await settle()
    await here.listen()
    await there.listen(refuse=("c",))
    await judge(mine)
    assert await state(mine, number) == ("running", 1, None), "others may know more"
    for _ in range(2):
        await site.second()
    assert [await counts(world, number) for world in site.gateways] == [{"reached": 4, "applied": 3, "refused": 1}] * 2
    await judge(other)
    await settle()
    now, _, reason = await state(mine, number)
    assert now == "held"
    assert reason.startswith("1 of 4 reached devices failed (1 refused")
    assert [await each.has("c") for each in site.gateways] == [{"n": "2"}] * 2, "it was reached"


async def test_one_of_two_gateways_advances(site: Site) -> None:
    """Both decide at once; the record has one change for each step."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.put("global", n="1")
    await settle()
    here, there = Devices(mine, "a", "b"), Devices(other, "c", "d")
    number = await start(mine, {"percent": 50}, n="2")
    for _ in range(6):
        await settle()
        await here.listen()
        await there.listen()
        await site.second()
        await settle()
        await asyncio.gather(judge(mine), judge(other))
        await settle()
    assert await state(other, number) == ("completed", 2, None)
    kinds = [change for change in site.log.changes() if change.kind == "rollout"]
    assert [change.version for change in kinds] == [1, 2, 3]
    assert [await each.has("d") for each in site.gateways] == [{"n": "2"}] * 2


@settings(max_examples=25, deadline=None)
@given(st.data())
async def test_gateways_agree_at_rest(data: st.DataObject) -> None:
    """Whatever is reported where, and whichever facts get lost."""
    site = Site()
    for _ in range(2):
        await site.gateway()
    await site.gateways[0].put("global", n="1")
    await settle()
    for _ in range(data.draw(st.integers(1, 12))):
        world = data.draw(st.sampled_from(site.gateways))
        what = data.draw(st.sampled_from(("report", "lose", "second", "delete")))
        if what == "report":
            member = world.services.fleet.member(data.draw(st.sampled_from(DEVICES)))
            if member is not None:
                value = data.draw(st.sampled_from("123"))
                complete = data.draw(st.booleans())
                world.services.fleet.report(member, {"n": Reported(value=value)}, complete=complete)
        elif what == "lose":
            site.bus.lose = data.draw(st.integers(1, 5))
        elif what == "second":
            await site.second()
        elif world.services.fleet.member("d") is not None:
            await world.do("device/delete", deviceId="d")
            await world.register("d")
            await settle()
    site.bus.lose = 0
    for _ in range(4):
        await site.second()
    known = [{each: world.services.fleet.known(each) for each in DEVICES} for world in site.gateways]
    contents = [
        {each: found and (found.id, found.at, found.report and found.report.content) for each, found in one.items()}
        for one in known
    ]
    assert contents[0] == contents[1]
    await site.close()
