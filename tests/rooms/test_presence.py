"""Presence: which devices are online, and when they were seen last."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hivewire.devices import presence
from hivewire_protocol import times
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.permissions import Permission
from tests.rooms.test_devices import ANN
from tests.rooms.test_following import World as Followed
from tests.rooms.test_polls import World as Polled
from tests.world import NOW


class World(Followed, Polled):  # type: ignore[misc]  # both have a `no`, which is not used here
    """With sockets and polls."""

    async def presence(self, device_id: str = "lamp") -> tuple[bool, int | None]:
        """Whether a device is online, and when it was last, as `device/get` and `device/list` show it."""
        shown = (await self.do("device/get", deviceId=device_id, presence=True))["device"]
        listed = (await self.do("device/list", presence=True))["devices"]
        assert shown in listed
        seen = shown["lastSeen"]
        return shown["online"], None if seen is None else times.parse(seen)

    def online(self) -> float:
        """How many devices are, as the gauge says."""
        return self.services.presence.gauges()["devices_online"][1]()

    def linger(self) -> None:
        """Until the time of those who have left is over."""
        found = self.services.presence
        found._leaving = OrderedDict.fromkeys(found._leaving, 0.0)
        while found._timer is not None:
            found._timer.cancel()
            found._go_on()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await (await world.open()).fill()
    await world.register("lamp")
    await world.register("door", 2, 2)
    yield world
    await world.services.presence.close()
    await world.close()


async def test_presence_is_shown_only_on_request(world: World) -> None:
    """Otherwise a device has DeviceHive's six members."""
    plain = (await world.do("device/get", deviceId="lamp"))["device"]
    assert list(plain) == ["id", "name", "data", "networkId", "deviceTypeId", "isBlocked"]
    assert (await world.do("device/list", presence=False))["devices"][0] == plain
    asked = (await world.do("device/get", deviceId="lamp", presence=True))["device"]
    assert asked == {**plain, "online": False, "lastSeen": None}


async def test_a_device_is_online_while_a_socket_follows_its_commands(world: World) -> None:
    """However many do, and some seconds longer; then it was last seen when the last one ended."""
    one, two = world.peer(), world.peer()
    number = await world.follow(one, deviceId="lamp")
    await world.follow(two, deviceId="lamp", names=["on"], timestamp=0)
    assert await world.presence() == (True, NOW)
    world.clock.time += 1_000
    two.session.close()
    assert await world.presence() == (True, NOW + 1_000)
    world.clock.time += 1_000
    await world.answer(one, "command/unsubscribe", subscriptionId=number)
    world.clock.time += 1_000
    assert await world.presence() == (True, NOW + 2_000)
    assert world.online() == 1
    world.linger()
    assert await world.presence() == (False, NOW + 2_000)
    assert world.online() == 0
    await world.follow(one, deviceId="lamp")
    assert await world.presence() == (True, NOW + 3_000)
    assert await world.presence("door") == (False, None)


async def test_a_resumable_subscription_counts_as_well(world: World) -> None:
    """Until its socket closes, also while it is paused: the device is there, and waits for a new token."""
    peer = world.peer(ANN)
    await world.follow(peer, deviceId="lamp", resumable=True)
    assert await world.presence() == (True, NOW)
    await world.do("user/update", userId=ANN, user={"status": Status.LOCKED_OUT})
    world.linger()
    assert await world.presence() == (True, NOW)
    peer.session.close()
    world.linger()
    assert await world.presence() == (False, NOW)


async def test_who_comes_back_in_time_was_never_gone(world: World) -> None:
    """Nobody is told anything."""
    told: list[int] = []
    world.services.presence.on_change.append(told.append)
    peer = world.peer()
    for _ in range(3):
        number = await world.follow(peer, deviceId="lamp")
        await world.answer(peer, "command/unsubscribe", subscriptionId=number)
    assert len(told) == 1
    world.linger()
    assert len(told) == 2
    assert world.online() == 0


async def test_each_device_has_its_own_seconds(world: World) -> None:
    """The time of the one that left first is over, not that of the other."""
    for device in ("lamp", "door"):
        await world.follow(peer := world.peer(), deviceId=device)
        peer.session.close()
    found = world.services.presence
    first, _ = found._leaving
    found._leaving[first] = 0.0
    assert found._timer is not None
    found._timer.cancel()
    found._go_on()
    assert [(await world.presence(device))[0] for device in ("lamp", "door")] == [False, True]
    assert found._timer is not None, "for the other one"
    world.linger()
    assert (await world.presence("door"))[0] is False


async def test_others_than_the_device_do_not_make_it_online(world: World) -> None:
    """Neither who follows updates, notifications, all devices or a network, nor who polls for those."""
    peer = world.peer()
    await world.follow(peer, deviceId="lamp", returnUpdatedCommands=True)
    await world.follow(peer, "notification", deviceId="lamp")
    await world.follow(peer)
    await world.follow(peer, networkIds=[1])
    sent = await world.order("on")
    waiting = [
        world.waiting("command/poll", deviceId="lamp", returnUpdatedCommands=True),
        world.waiting("notification/poll", deviceId="lamp"),
        world.waiting("command/wait", deviceId="lamp", commandId=sent["id"]),
        world.waiting("command/pollMany"),
    ]
    await world.until_waiting(4)
    assert await world.poll("command/poll", deviceId="lamp", waitTimeout=0) == []
    assert world.online() == 0
    world.services.polls.drain()
    await asyncio.gather(*waiting)


async def test_a_device_is_online_while_it_polls(world: World) -> None:
    """Also when it is moved meanwhile. A command ends the poll, and the device has some seconds for its next one."""
    polls = [world.waiting("command/poll", deviceId="lamp"), world.waiting("command/pollMany", deviceId="lamp")]
    await world.until_waiting(2)
    await world.save("lamp", 2, 2)
    await world.until_waiting(2)
    assert await world.presence() == (True, NOW)
    await world.order("on")
    await asyncio.gather(*polls)
    assert await world.presence() == (True, NOW)
    world.linger()
    assert await world.presence() == (False, NOW)


async def test_a_deleted_device_leaves(world: World) -> None:
    """What is left of its subscriptions does not count for a new device of its id. A device that is moved stays."""
    old, new = world.peer(), world.peer()
    await world.follow(old, deviceId="lamp")
    await world.register("lamp", 2, 2)
    assert await world.presence() == (True, NOW)
    await world.do("device/delete", deviceId="lamp")
    assert world.online() == 0
    await world.register("lamp")
    assert await world.presence() == (False, None)
    await world.follow(new, deviceId="lamp")
    old.session.close()
    world.linger()
    assert await world.presence() == (True, NOW)


async def test_a_subscription_that_ends_silently_does_not_keep_a_device_online(world: World) -> None:
    """Its user is locked, or what it follows is out of its reach."""
    ann = world.users.by_id(ANN)
    assert ann is not None
    peer = world.peer(ANN, [Permission.GET_DEVICE_COMMAND])
    await world.follow(peer, deviceId="lamp")
    await world.do("user/update", userId=ANN, user={"status": Status.LOCKED_OUT})
    world.linger()
    assert await world.presence() == (False, NOW)
    peer.session.close()
    assert world.online() == 0


async def test_many_leave_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few in one iteration of the event loop, with one timer."""
    monkeypatch.setattr(presence, "AT_ONCE", 2)
    for number in range(1, 8):
        world.services.presence.enter(number)
    for number in range(1, 8):
        world.services.presence.leave(number)
    world.services.presence.enter(3)
    gone: list[Any] = []
    world.services.presence.on_change.append(gone.append)
    world.linger()
    assert gone == [1, 2, 4, 5, 6, 7]
    assert world.online() == 1
