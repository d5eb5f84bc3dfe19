"""A device answers: what its report means, what it never changes, and what is too much (fleet.md, section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from hivewire import slices
from hivewire.fleet import notes
from hivewire.fleet.reports import Rates
from hivewire_protocol.errors import TooManyReports
from tests.rooms.fleets import ADMIN, DEVICE_RIGHTS, World, fleet


async def reported(world: World, device: str, *entries: Any, **members: Any) -> None:
    """Report as a device."""
    own = world.caller(ADMIN, DEVICE_RIGHTS, d=[device])
    await world.do("device/report", own, deviceId=device, report=entries, **members)


async def states(world: World, device: str) -> dict[str, str]:
    """The state of each name of a device."""
    found = await world.do("device/effective", deviceId=device)
    return {each["name"]: each["state"] for each in found["configurations"]}


async def tags(world: World, device: str) -> dict[str, str]:
    """The tag of each name of a device."""
    found = await world.do("device/effective", deviceId=device)
    return {each["name"]: each["tag"] for each in found["configurations"]}


async def test_the_state_of_a_name_is_what_the_device_says_of_its_tag() -> None:
    """Refused, applied and local are what it says; everything else is pending."""
    async with fleet("a") as world:
        await world.put("global", refused="1", applied="1", local="1", pending="1", old="1")
        tag = await tags(world, "a")
        await world.put("global", old="2")
        await reported(
            world,
            "a",
            {"name": "refused", "tag": tag["refused"], "error": "unsupported rate", "value": "0"},
            {"name": "applied", "tag": tag["applied"]},
            {"name": "local", "value": "7"},
            {"name": "old", "tag": tag["old"]},
            {"name": "fact", "value": "8"},
        )
        assert await states(world, "a") == {
            "applied": "applied",
            "fact": "local",
            "local": "local",
            "old": "pending",
            "pending": "pending",
            "refused": "refused",
        }
        found = await world.do("device/effective", deviceId="a", names=["refused", "fact"])
        fact, refused = found["configurations"]
        assert refused["reported"] == {"tag": tag["refused"], "error": "unsupported rate", "value": "0"}
        assert (fact["value"], fact["layer"], fact["reported"]) == (None, None, {"value": "8"})


async def test_what_is_gone_is_applied_when_the_device_says_so() -> None:
    """A null tag says that the name is gone; what it still has is pending."""
    async with fleet("a") as world:
        await world.put("global", n="1")
        tag = (await tags(world, "a"))["n"]
        await reported(world, "a", {"name": "n", "tag": tag})
        await world.put("global", n=None)
        assert await states(world, "a") == {"n": "pending"}
        await reported(world, "a", {"name": "n", "tag": None})
        assert await states(world, "a") == {}


async def test_a_complete_report_replaces_and_another_adds() -> None:
    """Without `complete` what is not named stays as it was reported; so do names that the token does not reach."""
    async with fleet("a") as world:
        await world.put("global", n="1", m="1")
        tag = await tags(world, "a")
        await reported(world, "a", {"name": "n", "tag": tag["n"]})
        await reported(world, "a", {"name": "m", "tag": tag["m"]})
        assert await states(world, "a") == {"n": "applied", "m": "applied"}
        await reported(world, "a", {"name": "m", "tag": tag["m"]}, complete=True)
        assert await states(world, "a") == {"n": "pending", "m": "applied"}
        narrow = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"], c=["n"])
        await world.do("device/report", narrow, report=[{"name": "n", "tag": tag["n"]}], complete=True)
        assert await states(world, "a") == {"n": "applied", "m": "applied"}


async def test_no_report_changes_what_is_desired() -> None:
    """Nothing is written to the ledger, and nothing is pushed."""
    async with fleet("a") as world:
        await world.put("global", n="1")
        peer = world.follow("a")
        await world.quiet()
        peer.frames.clear()
        before = world.ledger.revision, await world.has("a")
        await reported(world, "a", {"name": "n", "value": "2"}, {"name": "m", "tag": "x"})
        await world.quiet()
        assert (world.ledger.revision, {**(await world.has("a")), "m": None}) == (before[0], before[1] | {"m": None})
        assert peer.taken() == []


async def test_an_equal_put_insists() -> None:
    """It is pushed to the devices that have not applied the value, and to no others; in a higher layer too."""
    async with fleet("a", "b") as world:
        await world.put("global", n="1")
        one, other = world.follow("a"), world.follow("b")
        await world.quiet()
        tag = (await tags(world, "a"))["n"]
        await reported(world, "a", {"name": "n", "tag": tag})
        await reported(world, "b", {"name": "n", "tag": tag, "error": "no"})
        one.frames.clear()
        other.frames.clear()
        await world.put("global", n="1")
        assert one.taken() == []
        [again] = other.taken()
        assert again["configuration"] == {"name": "n", "value": "1", "tag": tag}
        assert "position" in again
        await world.layer("x", 5)
        await world.put("x", n="1")
        [again] = other.taken()
        assert (again["configuration"]["value"], one.taken()) == ("1", [])
        for device in ("a", "b"):  # the layer is new, which has its device move
            await world.put(f"device/{device}", n="1")
        [again] = other.taken()
        assert again["configuration"] == {"name": "n", "value": "1", "tag": tag}
        await world.put("device/b", n="1")
        assert len(other.taken()) == 1
        await world.put("device/b", n=None)
        assert [*one.taken(), *other.taken()] == [], "a delete that leaves the same value is no put"


async def test_reports_outlive_a_restart_and_not_their_device() -> None:
    """They are notes beside the log. A new device of the same id has reported nothing."""
    async with fleet("a", "b") as world:
        await world.put("global", n="1")
        tag = (await tags(world, "a"))["n"]
        for device in "ab":
            await reported(world, device, {"name": "n", "tag": tag})
        await world.services.notes.save()
        await world.do("device/delete", deviceId="b")
        await world.register("b")
        again = await world.restarted()
        assert await states(again, "a") == {"n": "applied"}
        assert await states(again, "b") == {"n": "pending"}
        await again.messages.close()


async def test_what_is_kept_of_a_device_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the gateway was killed before it could remove the note. Many are saved in parts."""
    monkeypatch.setattr(notes, "NOTES", 2)
    async with fleet("a", "b", "c") as world:
        kept: list[int] = []
        remember = world.journal.remember
        monkeypatch.setattr(world.journal, "remember", lambda found: kept.append(len(found)) or remember(found))
        await world.put("global", n="1")
        for device in "abc":
            await reported(world, device, {"name": "n", "value": "2"})
        await world.services.notes.save()
        assert {*await world.ledger.notes()} == {"report/a", "report/b", "report/c"}
        assert kept == [2, 1]
        await world.do("device/delete", deviceId="b")
        await world.services.notes.save()
        assert {*await world.ledger.notes()} == {"report/a", "report/c"}
        await world.do("device/delete", deviceId="c")
        again = World(world.journal, world.clock)
        await again.load()
        await again.services.notes.load()
        await again.services.notes.save()
        assert {*await again.ledger.notes()} == {"report/a"}
        await again.messages.close()


async def test_a_save_that_is_broken_off_loses_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one keeps it: so a gateway that stops saves what it was about to."""
    async with fleet("a") as world:
        await reported(world, "a", {"name": "n", "value": "2"})
        with monkeypatch.context() as patch:
            patch.setattr(world.journal, "remember", lambda notes: asyncio.Event().wait())
            saving = asyncio.create_task(world.services.notes.save())
            await asyncio.sleep(0)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
        await world.services.notes.save()
        assert {*await world.ledger.notes()} == {"report/a"}


@pytest.mark.parametrize("seconds", [60.0, 0.0])
async def test_saving_waits_for_devices_that_change_views(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """But not for long: what devices report is saved within seconds, whatever happens."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(notes, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(notes, "SETTLE_SECONDS", seconds)
    ids = [f"d-{number}" for number in range(200)]
    async with fleet(*ids) as world:
        await reported(world, ids[0], {"name": "n", "value": "1"})
        moved: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def remember(notes: Mapping[str, str]) -> None:
            moved.set_result(sum(view.members for view in world.services.fleet.views if len(view.layers) > 1))

        monkeypatch.setattr(world.journal, "remember", remember)
        moving = asyncio.create_task(world.layer("x", 5))
        while not world.services.fleet.layers.ranks:
            await asyncio.sleep(0)
        world.services.notes.start()
        assert (await moved == 200) is bool(seconds)
        await world.services.notes.close()
        await moving


async def test_equal_reports_are_one_object() -> None:
    """Views count their devices by report, and forget reports that nobody has."""
    ids = [f"d-{number}" for number in range(50)]
    async with fleet(*ids) as world:
        await world.put("global", n="1")
        tag = (await tags(world, ids[0]))["n"]
        for device in ids:
            await reported(world, device, {"name": "n", "tag": tag})
        [view] = world.services.fleet.views
        assert [*view.reports.values()] == [50]
        await world.put(f"device/{ids[0]}", own="1")
        assert sorted(sum(each.reports.values()) for each in world.services.fleet.views) == [1, 49]


async def test_many_names_take_several_reports() -> None:
    """Together they make a device applied; of names and bytes there are eight full reports at most."""
    async with fleet("a") as world:
        await world.put("global", **{f"n{number}": "1" for number in range(300)})
        entries = [{"name": name, "tag": tag} for name, tag in (await tags(world, "a")).items()]
        await reported(world, "a", *entries[:200], complete=True)
        await reported(world, "a", *entries[200:])
        assert {*(await states(world, "a")).values()} == {"applied"}
        assert (await world.do("fleet/count"))["applied"] == 1
        own = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])

        async def refused(count: int, size: int) -> tuple[int, str]:
            """Reports of so many names with values of this size until one is refused."""
            world.clock.time += 60_000
            await reported(world, "a", complete=True)
            for number in range(8):
                await reported(world, "a", *({"name": f"{number}.{n}", "value": "x" * size} for n in range(count)))
            more = [{"name": f"more.{n}", "value": "x" * size} for n in range(count)]
            return await world.no("device/report", own, deviceId="a", report=more)

        assert await refused(256, 1) == (413, "what a device reports has at most 2,048 names")
        assert await refused(31, 1_024) == (413, "what a device reports has at most 262,144 bytes")


async def test_a_device_reports_once_a_second_and_twenty_times_at_once() -> None:
    """Then 429 says when it may again; other devices are not concerned."""
    async with fleet("a", "b") as world:
        for _ in range(20):
            await reported(world, "a", {"name": "n", "value": "1"})
        own = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])
        world.clock.time += 150
        with pytest.raises(TooManyReports, match=r"^Report again in 850 ms$") as refused:
            await world.do("device/report", own, deviceId="a", report=[])
        assert refused.value.members == {"retryAfter": 1}
        world.clock.time -= 150
        await reported(world, "b", {"name": "n", "value": "1"})
        world.clock.time += 1_000
        await reported(world, "a", {"name": "n", "value": "1"})
        assert (await world.no("device/report", own, deviceId="a", report=[]))[0] == 429


async def test_a_clock_that_is_set_back_keeps_no_device_from_reporting() -> None:
    """Else it would wait until the clock is again where it was, and rollouts would count it as silent."""
    async with fleet("a") as world:
        await reported(world, "a", {"name": "n", "value": "1"})
        world.clock.time -= 3_600_000
        for _ in range(20):
            await reported(world, "a", {"name": "n", "value": "2"})
        own = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])
        refused = await world.no("device/report", own, deviceId="a", report=[])
        assert refused == (429, "Report again in 1000 ms")


def test_rates_are_forgotten_when_they_say_nothing() -> None:
    """So memory is bounded by the devices that reported lately."""
    rates = Rates()
    for device in range(15_000):
        assert rates.wait(device, device / 100) == 0
    assert len(rates._empty_at) <= 10_001


async def test_only_a_device_s_own_token_reports() -> None:
    """It needs the permission and the claim; with one device in the claim its id can be left out."""
    async with fleet("a", "b") as world:
        own = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])
        await world.do("device/report", own, report=[{"name": "n", "value": "1"}])
        assert (await world.no("device/report", own, deviceId="b", report=[]))[0] == 403
        assert (await world.no("device/report", deviceId="a", report=[]))[0] == 403
        both = world.caller(ADMIN, DEVICE_RIGHTS, d=["a", "b"])
        assert (await world.no("device/report", both, report=[]))[0] == 400


async def test_a_device_s_tokens_end_at_once() -> None:
    """With `device/revoke` its requests are 401 and it is sent nothing more; a new token works."""
    async with fleet("a", "b") as world:
        peer, other = world.follow("a"), world.follow("b")
        await world.quiet()
        minted = {"userId": ADMIN, "actions": ["SyncConfiguration"], "deviceIds": ["a"], "networkIds": ["*"]}
        payload = minted | {"deviceTypeIds": ["*"]}
        old = await world.do("token/create", payload=payload)
        await world.do("device/revoke", deviceId="a")
        assert peer.frames[-1]["action"] == "subscription/paused"
        await world.put("global", n="1")
        assert peer.frames[-1]["action"] == "subscription/paused"
        assert other.frames[-1]["action"] == "configuration/update"
        device = world.device("b")
        device.ask("authenticate", token=old["accessToken"])
        assert device.frames[-1]["error"] == "Token revoked"
        assert (await world.no("token/refresh", refreshToken=old["refreshToken"]))[0] == 401
        new = await world.do("token/create", payload=payload)
        device.ask("authenticate", token=new["accessToken"])
        assert device.frames[-1]["status"] == "success"
        assert device.subscribe(deviceId="a")["status"] == "success"
