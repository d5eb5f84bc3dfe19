"""The rows of `cases.md` about devices: their commands and notifications, what they should have, what they say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hivewire_client import Conflict, Device, FleetState, Hivewire, NotFound, Refused
from hivewire_client.fleet import ErrorCount
from hivewire_client.testing import FakeGateway
from tests.clients.conftest import Start
from tests.clients.gateways import FleetGateway
from tests.clients.test_contract import client, until
from tests.running import PATIENCE


async def test_commands_resume(start: Start) -> None:
    """The connection is cut while commands come: each comes once, in order, and can be answered."""
    gateway = start()
    async with client(gateway, names=[]) as sender, client(gateway, names=[]) as device:
        await sender.call("device/save", deviceId="dev-1", device={"name": "dev-1"})
        async with device.commands("dev-1") as commands, sender.commands("dev-1", updates=True) as updates:
            await commands.follow()
            await updates.follow()
            for number in range(20):
                await sender.insert_command("dev-1", "set", {"level": number})
                if number % 3 == 0:
                    await asyncio.to_thread(gateway.drop)
            for number in range(20):
                async with asyncio.timeout(PATIENCE):
                    command = await anext(commands)
                    assert (command.name, command.parameters, command.reset) == ("set", {"level": number}, False)
                    await command.done({"level": number})
                    update = await anext(updates)
                    while update.result != {"level": number}:  # the update was sent again after a cut
                        assert update.result == {"level": number - 1}
                        update = await anext(updates)
                    assert (update.id, update.status) == (command.id, "done")


async def test_send_command(start: Start) -> None:
    """A command is sent, and its sender gets what has become of it."""
    gateway = start()
    async with client(gateway, names=[]) as sender, client(gateway, names=[]) as device:
        await sender.call("device/save", deviceId="dev-1", device={"name": "dev-1"})

        async def obey() -> None:
            async for command in device.commands("dev-1"):
                await command.failed({"why": command.name})
                break

        following = device.commands("dev-1", names=["other"])
        await following.follow()
        obeying = asyncio.create_task(obey())
        await until(lambda: len(device._link.subscriptions) == 2 and device._link.subscriptions[1].number)
        answer = await sender.send_command("dev-1", "open", timeout=PATIENCE)
        assert (answer.status, answer.result) == ("failed", {"why": "open"})
        await obeying
        with pytest.raises(TimeoutError):
            await sender.send_command("dev-1", "open", timeout=0.05)


async def test_notifications(start: Start) -> None:
    """A notification comes once, also when the connection was cut before its insert was answered."""
    gateway = start()
    async with client(gateway, names=[]) as hw, hw.notifications("dev-1") as notifications:
        await hw.call("device/save", deviceId="dev-1", device={"name": "dev-1"})
        await notifications.follow()
        for number in range(3):
            if isinstance(gateway, FakeGateway):
                gateway.cut("notification/insert")
            await hw.insert_notification("dev-1", "temperature", {"t": number})
        async with asyncio.timeout(PATIENCE):
            found = [await anext(notifications) for _ in range(3)]
        assert [each.parameters for each in found] == [{"t": 0}, {"t": 1}, {"t": 2}]
        async with hw.notifications("dev-1", since=found[0].position) as again:
            assert [(await anext(again)).id for _ in range(2)] == [each.id for each in found[1:]]


Fleet = FleetGateway | FakeGateway
LAYER = "device/dev-1"


@pytest.fixture(params=[FleetGateway, FakeGateway], ids=["real", "fake"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A gateway with the device `dev-1`."""
    gateway: Fleet = request.param()
    with gateway:
        if isinstance(gateway, FleetGateway):
            gateway.do("device/save", deviceId="dev-1", device={"name": "dev-1"})
        yield gateway


@asynccontextmanager
async def device_of(gateway: Fleet, cache: Path | None = None) -> AsyncIterator[Device]:
    """The device, with a token of its own."""
    token = gateway.token() if isinstance(gateway, FakeGateway) else gateway.device_token("dev-1")
    async with (
        asyncio.timeout(PATIENCE),
        client(gateway, token=token, names=[]) as hw,
        hw.device("dev-1", cache=cache) as device,
    ):
        yield device


async def put(gateway: Fleet, **values: str | None) -> None:
    """Change what the device should have, in one transaction."""
    await asyncio.to_thread(gateway.change, values, layer=LAYER)


async def take(device: Device, count: int) -> dict[str, str | None]:
    """Apply so many changes; what they were."""
    found: dict[str, str | None] = {}
    for _ in range(count):
        change = await device.next()
        found[change.name] = change.value
        change.applied()
    return found


async def states(hw: Hivewire) -> dict[str, str | None]:
    """The states of the names of the device, with the reason of a refusal."""
    found = (await hw.effective("dev-1")).configurations
    return {each.name: each.reported.error if each.reported and each.reported.error else each.state for each in found}


async def test_device(fleet: Fleet) -> None:
    """A device applies and refuses, over a cut connection, and what it says is known."""
    await put(fleet, baud="9600", mode="fast", port="1")
    async with client(fleet, names=[]) as hw, device_of(fleet) as device:
        for _ in range(3):
            change = await device.next()
            change.refused("too fast") if change.name == "mode" else change.applied()
            change.applied()  # it is answered already
        await device.report()
        assert await states(hw) == {"baud": "applied", "mode": "too fast", "port": "applied"}
        await asyncio.to_thread(fleet.drop)
        await put(fleet, baud="4800", mode=None)
        assert await take(device, 2) == {"baud": "4800", "mode": None}
        await device.report()
        assert await states(hw) == {"baud": "applied", "port": "applied"}
        assert [each.layer for each in (await hw.effective("dev-1", "ba*")).configurations] == [LAYER]


async def test_device_restart(fleet: Fleet, tmp_path: Path) -> None:
    """A device that starts again gets only what is new and what it has not answered, and learns what is gone."""
    await put(fleet, a="1", b="1", c="1")
    async with client(fleet, names=[]) as hw:
        async with device_of(fleet, tmp_path / "cache") as device:
            for _ in range(3):
                change = await device.next()
                if change.name != "c":
                    change.refused("no b") if change.name == "b" else change.applied()
            await device.report()
        await put(fleet, a=None, d="1")
        async with device_of(fleet, tmp_path / "cache") as device:
            assert await take(device, 3) == {"a": None, "c": "1", "d": "1"}
            await device.report()
            assert await states(hw) == {"b": "no b", "c": "applied", "d": "applied"}


async def test_device_latest(fleet: Fleet) -> None:
    """Of changes that a device does not read it gets the latest of each name; an old answer is not one to them."""
    await put(fleet, a="1")
    async with client(fleet, names=[]) as hw, device_of(fleet) as device:
        old = await device.next()
        for value in ("2", "3"):
            await put(fleet, a=value, b=value)
        await put(fleet, last="1")
        while len(device._unread) < 3:
            await asyncio.sleep(0.002)
        newer = await device.next()
        old.applied()  # too late
        assert (newer.name, newer.value) == ("a", "3")
        assert await take(device, 2) == {"b": "3", "last": "1"}
        await device.report()
        assert await states(hw) == {"a": "pending", "b": "applied", "last": "applied"}


async def test_device_local(fleet: Fleet) -> None:
    """What a device has of its own is reported, and stays until the same is written again."""
    await put(fleet, mode="eco")
    async with client(fleet, names=[]) as hw, device_of(fleet) as device:
        await take(device, 1)
        await device.report({"mode": "boost", "firmware": 12})
        assert await states(hw) == {"firmware": "local", "mode": "local"}
        if isinstance(fleet, FakeGateway):
            assert fleet.reported("dev-1") == {"mode": {"value": "boost"}, "firmware": {"value": "12"}}
        await put(fleet, mode="eco")
        assert await take(device, 1) == {"mode": "eco"}
        await device.report({"firmware": None})
        assert await states(hw) == {"mode": "applied"}


async def test_watch_fleet(fleet: Fleet) -> None:
    """Counts and rows of devices follow what they say, over a cut connection."""
    target = {"deviceIds": ["dev-1"]}
    await put(fleet, baud="9600", mode="fast")
    async with client(fleet, names=[]) as hw, device_of(fleet) as device:
        watch = hw.watch_fleet(target, names=["baud", "mode"], rows=10)

        async def seen(state: str) -> FleetState:
            while True:
                found = await anext(watch)
                if found.rows and (found.rows[0].state, found.counts.online) == (state, 1):
                    return found

        for _ in range(2):
            change = await device.next()
            change.refused("too fast") if change.name == "mode" else change.applied()
        await device.report()
        found = await seen("refused")
        assert (found.counts.devices, found.counts.refused, found.rows[0].device) == (1, 1, "dev-1")
        assert found.counts.errors == (ErrorCount("mode", "too fast", 1),)
        assert (found.rows[0].errors, found.rows[0].online) == ({"mode": "too fast"}, True)
        await asyncio.to_thread(fleet.drop)
        await put(fleet, mode="slow")
        assert await take(device, 1) == {"mode": "slow"}
        await device.report()
        assert (await seen("applied")).counts.applied == 1
        async with hw.watch_fleet(target, names=["baud"], state="refused", rows=10) as refused:
            assert (await anext(refused)).rows == ()


async def test_rollout_held(fleet: Fleet) -> None:
    """A rollout is held, goes on, and is rolled back; then it is over."""
    await put(fleet, baud="4800")
    async with client(fleet, names=[]) as hw:
        rollout = await hw.start_rollout(LAYER, {"baud": 9_600}, [100], gate={"minimum": 1})
        assert ((await rollout.get()).state, (await rollout.get()).layer) == ("running", LAYER)
        await rollout.hold()
        assert (await rollout.get()).state == "held"
        await rollout.resume()
        await asyncio.to_thread(fleet.drop)
        assert (await rollout.get()).state == "running"  # asked again on the next connection
        await rollout.rollback()
        assert [state.state async for state in hw.rollout(rollout.number).follow()] == ["rolledBack"]
        with pytest.raises(Conflict):
            await rollout.hold()
        assert (await hw.effective("dev-1"))["baud"].value == "4800"
        with pytest.raises(NotFound):
            await hw.rollout(99_999).get()


async def test_a_fake_rollout_is_decided(fake: FakeGateway) -> None:
    """The test says how it goes; a completed one is written into its layer."""
    async with client(fake, names=[]) as hw:
        rollout = await hw.start_rollout(LAYER, {"baud": 9_600, "old": None}, [10, 100])
        await asyncio.to_thread(fake.decide, rollout.number, "held", "too many have failed")
        state = await rollout.get()
        assert (state.state, state.reason, state.is_over) == ("held", "too many have failed", False)
        await rollout.resume(step=2)
        assert (await rollout.get()).step == 2
        await asyncio.to_thread(fake.decide, rollout.number, "completed")
        assert [state.state async for state in rollout.follow()] == ["completed"]
        assert (await hw.effective("dev-1"))["baud"].value == "9600"
        with pytest.raises(Refused, match="by `deviceIds` only"):
            await anext(hw.watch_fleet({"labels": {"a": ["b"]}}))
