"""Following devices, networks and device types: who follows them has in the end just what a list shows."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivewire.devices import registry
from hivewire.devices.registry import DEVICE_TYPE, NETWORK
from hivewire.fleet import device_topics
from hivewire.hub import catchup
from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.subscription import DeviceSubscribe
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.permissions import Permission
from tests.rooms.test_devices import ADMIN, ANN, BEN
from tests.rooms.test_following import World as Following
from tests.rooms.test_hub import Peer
from tests.rooms.test_topics import Reader

MEMBERS = {"device": "devices", "network": "networks", "devicetype": "deviceTypes"}
IDS = {"device": "deviceId", "network": "networkId", "devicetype": "deviceTypeId"}
ITEMS = {"device": "device", "network": "network", "devicetype": "deviceType"}


class Follower:
    """A client that does with pushes what the documentation says. `log` is what happened to its state."""

    def __init__(self, world: World, kind: str, user: int, claims: dict[str, Any], wanted: dict[str, Any]) -> None:
        self.world, self.kind, self.user, self.claims, self.wanted = world, kind, user, claims, wanted
        self.peer: Peer = world.peer(user, **claims)
        self.state: dict[Any, Any] = {}
        self.position: str | None = None
        self.log: list[Any] = []
        self.mode = ""

    def subscribe(self, **members: Any) -> None:
        """Begin, or go on from the last position with another connection."""
        self.peer.session.close()
        self.peer = self.world.peer(self.user, **self.claims)
        since = {} if self.position is None else {"since": self.position}
        self.peer.ask(f"{self.kind}/subscribe", **self.wanted, **since, **members)

    def apply(self) -> list[Any]:
        """Apply what has come; the log since the last call."""
        for frame in self.peer.taken():
            if "status" in frame:
                assert frame["status"] == "success", frame
                self.mode = frame["mode"]
            elif frame["action"] == f"{self.kind}/snapshot":
                if frame.get("reset"):
                    self.state.clear()
                    self.log.append("reset")
                for item in frame[MEMBERS[self.kind]]:
                    self.state[item["id"]] = item
            elif frame["action"] == f"{self.kind}/change":
                key, item = frame[IDS[self.kind]], frame[ITEMS[self.kind]]
                self.log.append((frame["operation"], key))
                if frame["operation"] == "put":
                    self.state[key] = item
                else:
                    assert item is None
                    self.state.pop(key, None)
            else:
                assert frame["action"] in ("device/presence", f"{self.kind}/bookmark")
                self.log.append(("presence", frame["deviceId"], frame["online"])) if "online" in frame else None
                if (shown := self.state.get(frame.get("deviceId"))) is not None:
                    shown.update(online=frame["online"], lastSeen=frame["lastSeen"])
            self.position = frame.get("position", self.position)
        found, self.log = self.log, []
        return found

    async def listed(self) -> dict[Any, Any]:
        """What a list shows of what it follows."""
        caller = self.world.caller(self.user, **self.claims)
        presence = {"presence": True} if "presence" in self.wanted else {}
        items = (await self.world.do(f"{self.kind}/list", caller, take=1_000, **presence))[MEMBERS[self.kind]]
        networks, types = self.wanted.get("networkIds"), self.wanted.get("deviceTypeIds")
        if self.kind != "device":
            only = networks or types
            return {item["id"]: item for item in items if not only or item["id"] in only}
        return {
            item["id"]: item
            for item in items
            if (not networks or item["networkId"] in networks)
            and (not types or item["deviceTypeId"] in types)
            and item["id"] == self.wanted.get("deviceId", item["id"])
        }


class World(Following):
    """With followers, and the removal of what is left of deleted networks and types."""

    removing: asyncio.Task[None] | None = None

    async def begin(self) -> World:
        """Open it."""
        await (await self.open()).fill()
        self.removing = asyncio.create_task(self.services.registry._keep_removing())
        return self

    async def close(self) -> None:
        if self.removing is not None:
            self.removing.cancel()
        await self.services.presence.close()
        await super().close()

    async def settled_fleet(self) -> None:
        """Until what is left of deleted networks and types is removed."""
        found = self.services.registry
        while len(found.ledger.kind("device").live) > len(list(found.devices_in(None, None))):
            await asyncio.sleep(0)
        await self.quiet()

    async def follower(
        self, kind: str = "device", user: int = ADMIN, claims: dict[str, Any] | None = None, **wanted: Any
    ) -> Follower:
        """One that has begun."""
        found = Follower(self, kind, user, claims or {}, wanted)
        found.subscribe()
        await self.quiet()
        found.apply()
        return found

    def present(self, device_id: str, *, online: bool) -> None:
        """A device comes, or has gone for so long that it is offline."""
        device, presence = self.services.registry.device(device_id), self.services.presence
        if device is None or presence.online(device.record_id) == online:
            return
        if online:
            presence.enter(device.record_id)
        else:
            presence.leave(device.record_id)
            presence._leaving = OrderedDict.fromkeys(presence._leaving, 0.0)
            presence._go_on()

    async def save(self, device_id: str, network: int = 1, device_type: int = 1, **members: Any) -> None:
        """Save a device."""
        await self.put(device_id, networkId=network, deviceTypeId=device_type, **members)

    async def news(self, *followers: Follower) -> list[list[Any]]:
        """What has happened to the state of each, which is then just what a list shows."""
        await self.settled_fleet()
        found = [follower.apply() for follower in followers]
        for follower in followers:
            assert follower.state == await follower.listed(), (follower.user, follower.wanted)
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().begin()
    yield world
    await world.close()


async def test_a_change_of_a_device_is_pushed_with_its_position(world: World) -> None:
    """Who changed it, when, what is there now, and a null when it is gone."""
    follower = await world.follower()
    await world.save("lamp", data={"a": 1})
    await world.do("device/delete", deviceId="lamp")
    await world.quiet()
    put, delete = follower.peer.taken()
    assert put.pop("position")
    assert put == {
        "action": "device/change",
        "subscriptionId": 1,
        "revision": world.ledger.revision - 1,
        "operation": "put",
        "modified": "2026-03-01T09:30:00.123",
        "modifiedBy": "admin",
        "deviceId": "lamp",
        "device": {
            "id": "lamp",
            "name": "lamp",
            "data": {"a": 1},
            "networkId": 1,
            "deviceTypeId": 1,
            "isBlocked": False,
        },
    }
    assert (delete["operation"], delete["deviceId"], delete["device"]) == ("delete", "lamp", None)


async def test_the_state_comes_first_and_then_every_change(world: World) -> None:
    """As for configurations: a snapshot with a position, in the order of ids."""
    for name in ("b", "c", "a"):
        await world.save(name)
    follower = Follower(world, "device", ADMIN, {}, {})
    follower.subscribe()
    await world.quiet()
    reply, snapshot = follower.peer.frames
    assert reply["mode"] == "snapshot"
    assert snapshot["action"] == "device/snapshot"
    assert [device["id"] for device in snapshot["devices"]] == ["a", "b", "c"]
    assert snapshot["last"]
    assert snapshot["position"]
    await world.save("a", name="x")
    assert await world.news(follower) == [[("put", "a")]]
    live = await world.follower(snapshot=False)
    assert (live.mode, live.state) == ("live", {})


async def test_a_device_that_moves_comes_and_goes(world: World) -> None:
    """A delete for those who reach only where it was, a put for the others; who reaches both sees no delete."""
    await world.save("lamp", 1, 1)
    everyone, ann = await world.follower(networkIds=[], deviceTypeIds=[]), await world.follower(user=ANN)
    ben, token = await world.follower(user=BEN, claims={"dt": ["2"]}), await world.follower(claims={"n": ["1"]})
    both, one = await world.follower(networkIds=[1, 2]), await world.follower(deviceTypeIds=[1])
    itself = await world.follower(deviceId="lamp")
    follows = (everyone, ann, ben, token, both, one, itself)
    put, delete = [("put", "lamp")], [("delete", "lamp")]
    await world.save("lamp", 2, 2)
    assert await world.news(*follows) == [put, delete, put, delete, put, delete, put]
    await world.save("lamp", 2, 1)
    assert await world.news(*follows) == [put, [], delete, [], put, put, put]
    await world.save("lamp", 3, 1)
    assert await world.news(*follows) == [put, put, [], [], delete, put, put]
    await world.do("device/delete", deviceId="lamp")
    assert await world.news(*follows) == [delete, delete, [], [], [], delete, delete]
    for follower in follows:
        follower.subscribe()
    assert await world.news(*follows) == [[]] * 7
    assert {follower.mode for follower in follows} == {"resumed"}


async def test_moves_are_resumed(world: World) -> None:
    """The log by itself says whose reach a device has left, also when nothing of it is in memory."""
    await world.save("lamp", 1, 1)
    ann, everyone = await world.follower(user=ANN), await world.follower()
    for follower in (ann, everyone):
        follower.peer.session.close()
    await world.save("lamp", 2, 1)
    await world.save("lamp", 2, 2)
    await world.save("door", 3, 1)
    await world.do("device/delete", deviceId="door")
    for follower in (ann, everyone):
        follower.subscribe()
    assert await world.news(ann, everyone) == [
        [("delete", "lamp"), ("put", "door"), ("delete", "door")],
        [("put", "lamp"), ("put", "lamp"), ("put", "door"), ("delete", "door")],
    ]


async def test_a_delete_says_where_the_device_was_when_it_was_written(world: World) -> None:
    """Also if it was moved just before, in the same commit: then the delete is tried again."""
    await world.save("lamp", 1)
    before, after = await world.follower(networkIds=[1]), await world.follower(networkIds=[2])
    await asyncio.gather(world.save("lamp", 2), world.do("device/delete", deviceId="lamp"))
    gone = ("delete", "lamp")
    assert await world.news(before, after) == [[gone], [("put", "lamp"), gone]]


async def test_a_device_is_followed_by_its_id_over_its_lives(world: World) -> None:
    """Also before there is one."""
    follower = await world.follower(deviceId="lamp")
    assert follower.state == {}
    await world.save("lamp", 2)
    await world.save("lamp2")
    await world.do("device/delete", deviceId="lamp")
    await world.save("lamp", 3)
    assert await world.news(follower) == [[("put", "lamp"), ("delete", "lamp"), ("put", "lamp")]]


async def test_a_change_of_memberships_is_a_reset(world: World) -> None:
    """More or fewer; only for those whose user it is, and only if it changes what is reached."""
    for number in (1, 2, 3):
        await world.save(f"d{number}", number, number)
    ann, networks = await world.follower(user=ANN), await world.follower("network", ANN)
    ben, types = [await world.follower(kind, BEN, {"dt": ["2"]}) for kind in ("device", "devicetype")]
    follows = (ann, networks, ben, types)
    await world.do("user/assignNetwork", userId=ANN, networkId=2)
    assert await world.news(*follows) == [["reset"], ["reset"], [], []]
    assert set(ann.state) == {"d1", "d2", "d3"}
    await world.do("user/unassignNetwork", userId=ANN, networkId=1)
    assert await world.news(*follows) == [["reset"], ["reset"], [], []]
    await world.do("user/assignDeviceType", userId=BEN, deviceTypeId=3)
    assert await world.news(*follows) == [[], [], [], []], "a token lists its types itself"
    await world.do("user/allowAllDeviceTypes", userId=BEN)
    assert await world.news(*follows) == [[], [], ["reset"], ["reset"]]
    await world.do("user/update", userId=BEN, user={"data": {}})
    assert await world.news(*follows) == [[], [], [], []]


async def test_memberships_that_changed_while_nobody_followed_are_a_reset(world: World) -> None:
    """What is reached now may have changed long before the position, or not since. Other users resume."""
    await world.save("d1", 1)
    await world.save("d2", 2)
    ann, networks = await world.follower(user=ANN), await world.follower("network", ANN)
    everyone = await world.follower()
    for action, network in (("assign", 2), ("unassign", 1)):
        for follower in (ann, networks, everyone):
            follower.peer.session.close()
        await world.do(f"user/{action}Network", userId=ANN, networkId=network)
        for follower in (ann, networks, everyone):
            follower.subscribe()
        assert await world.news(ann, networks, everyone) == [["reset"], ["reset"], []]
        assert [ann.mode, networks.mode, everyone.mode] == ["reset", "reset", "resumed"]
    for follower in (ann, networks):
        follower.subscribe()
    assert await world.news(ann, networks) == [[], []]
    assert [ann.mode, networks.mode] == ["resumed", "resumed"]


async def test_another_token_of_the_user_is_a_reset(world: World) -> None:
    """If it reaches other devices."""
    await world.save("d1", 1)
    await world.save("d2", 2)
    follower = await world.follower()
    for networks, expected in ((["1"], ["reset"]), (["1"], []), (["1", "2"], ["reset"])):
        follower.peer.ask("authenticate", token=world.token(n=networks))
        follower.claims = {"n": networks}
        await world.quiet()
        follower.peer.frames = [frame for frame in follower.peer.frames if "status" not in frame]
        assert await world.news(follower) == [expected]


async def test_a_network_deleted_by_force_takes_its_devices_along(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are hidden at once, and pushed as they are removed, some at a time. Who begins meanwhile does not see
    them."""
    monkeypatch.setattr(registry, "REMOVED_AT_ONCE", 2)
    for number in range(5):
        await world.save(f"d{number}", 1, number % 3 + 1)
    await world.save("other", 2)
    everyone, ann, networks = await world.follower(), await world.follower(user=ANN), await world.follower("network")
    assert world.removing is not None
    world.removing.cancel()
    await world.do("network/delete", networkId=1, force=True)
    late = await world.follower()
    assert set(late.state) == {"other"}
    world.removing = asyncio.create_task(world.services.registry._keep_removing())
    deletes = [("delete", f"d{number}") for number in range(5)]
    assert await world.news(everyone, ann, networks, late) == [deletes, deletes, [("delete", 1)], deletes]


async def test_networks_and_device_types_are_followed(world: World) -> None:
    """Those that a list shows: all for an administrator, one's own for a client."""
    everyone, ann = await world.follower("network"), await world.follower("network", ANN)
    types, one = await world.follower("devicetype"), await world.follower("network", networkIds=[2])
    assert [set(each.state) for each in (everyone, ann, types, one)] == [{1, 2, 3}, {1, 3}, {1, 2, 3}, {2}]
    follows = (everyone, ann, types, one)
    await world.do("network/update", networkId=1, network={"description": "d"})
    assert await world.news(*follows) == [[("put", 1)], [("put", 1)], [], []]
    assert everyone.state[1] == {"id": 1, "name": "n1", "description": "d"}
    await world.do("devicetype/insert", deviceType={"name": "new"})
    await world.do("network/delete", networkId=2)
    assert await world.news(*follows) == [[("delete", 2)], [], [("put", 4)], [("delete", 2)]]


async def test_a_slow_reader_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it has read nothing for long and too much has changed: a run of the latest changes would not tell what has
    left its reach."""
    monkeypatch.setattr(world.hub.catch_up, "conflate_after", 3)
    await world.save("lamp", 1)
    ann = await world.follower(user=ANN)
    ann.peer.session.pause()
    for number in range(5):
        await world.save(f"d{number}", 1)
    await world.save("lamp", 2)
    ann.peer.read(idle=True)
    assert await world.news(ann) == [["reset"]]


async def test_large_snapshots_come_in_frames_and_few_devices_are_found_among_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a user reaches of the fleet, each step of its snapshot looks at a few devices only."""
    monkeypatch.setattr(catchup, "LOOK", 5)
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 700)
    for number in range(40):
        await world.save(f"d{number:02}", 1 + (number % 4 == 0), 1)
    for few in (1_000, 3):
        monkeypatch.setattr(device_topics, "FEW", few)
        for user, claims in ((ADMIN, {}), (ANN, {}), (BEN, {"dt": ["1"]}), (ADMIN, {"n": ["3"]})):
            follower = Follower(world, "device", user, claims, {})
            follower.subscribe()
            await world.quiet()
            snapshots = follower.peer.frames[1:]
            assert [frame["last"] for frame in snapshots] == [False] * (len(snapshots) - 1) + [True]
            await world.news(follower)


async def test_what_changes_while_a_snapshot_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices move in and out of the part that was sent, and of the part that was not."""
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 700)
    for number in range(10):
        await world.save(f"d{number}", 1 + number % 2)
    ann = Follower(world, "device", ANN, {}, {})
    ann.peer.session.close()
    ann.peer = world.peer(ANN)
    ann.peer.room = 2  # the reply and the first frame
    ann.peer.ask("device/subscribe")
    await world.quiet()
    for number in range(10):
        await world.save(f"d{number}", 2 - number % 2)
    await world.do("device/delete", deviceId="d0")
    await world.do("device/delete", deviceId="d9")
    ann.peer.read()
    await world.news(ann)


async def test_an_event_stream_of_devices(world: World) -> None:
    """With the names of its events and their positions, from which it is resumed."""
    await world.save("lamp")
    reader = Reader(world, DeviceSubscribe(), Permission.GET_DEVICE)
    [[name, _, _]] = await reader.events(1)
    assert name == "event: snapshot"
    await world.save("lamp", 2)
    [[name, position, data]] = await reader.events(1)
    assert (name, position) == ("event: change", f"id: {world.ledger.epoch}-{world.ledger.revision}")
    assert '"deviceId":"lamp"' in data
    await world.quiet()


# Presence.


async def test_presence_is_pushed_to_those_who_ask_for_it(world: World) -> None:
    """Without a position, and to those who see the device where it is now. The state shows it too, and so does each
    change."""
    await world.save("lamp", 1)
    plain, everyone = await world.follower(), await world.follower(presence=True)
    ann, other = await world.follower(user=ANN, presence=True), await world.follower(networkIds=[2], presence=True)
    follows = (plain, everyone, ann, other)
    came, went = [("presence", "lamp", True)], [("presence", "lamp", False)]
    device = world.peer()
    await world.follow(device, deviceId="lamp")
    [frame] = everyone.peer.frames
    assert frame == {
        "action": "device/presence",
        "subscriptionId": 1,
        "deviceId": "lamp",
        "online": True,
        "lastSeen": "2026-03-01T09:30:00.123",
    }
    assert await world.news(*follows) == [[], came, came, []]
    await world.save("lamp", 2)
    assert await world.news(*follows) == [[("put", "lamp")], [("put", "lamp")], [("delete", "lamp")], [("put", "lamp")]]
    assert other.state["lamp"]["online"]
    late = await world.follower(presence=True)
    assert late.state["lamp"]["online"]
    world.present("lamp", online=False)
    assert await world.news(*follows, late) == [[], went, [], went, went]
    await world.do("device/delete", deviceId="lamp")
    device.session.close()
    assert await world.news(plain, everyone) == [[("delete", "lamp")]] * 2


async def test_who_did_not_read_when_a_device_came_begins_anew(world: World) -> None:
    """No queue is kept of what is in no log: the state is sent again, once. The same holds while a token is not
    accepted, and whenever a client comes back."""
    for number in range(3):
        await world.save(f"d{number}")
    slow, locked = await world.follower(presence=True), await world.follower(user=ANN, presence=True)
    slow.peer.session.pause()
    await world.do("user/update", userId=ANN, user={"status": Status.LOCKED_OUT})
    for online in (True, False, True):
        world.present("d1", online=online)
    slow.peer.read()
    await world.do("user/update", userId=ANN, user={"status": Status.ACTIVE})
    [paused] = [frame for frame in locked.peer.frames if frame["action"] == "subscription/paused"]
    locked.peer.frames.remove(paused)
    assert await world.news(slow, locked) == [["reset"], ["reset"]]
    assert slow.state["d1"]["online"]
    slow.subscribe()
    assert await world.news(slow) == [["reset"]]
    assert slow.mode == "reset"
    slow.peer.session.pause()
    world.present("d1", online=False)
    assert len(world.hub.catch_up.missed) == 1
    slow.peer.session.close()
    assert not world.hub.catch_up.missed
    refused = await world.answer(world.peer(), "device/subscribe", presence=True, snapshot=False)
    assert refused["code"] == 400


async def test_a_change_shows_presence_as_it_is_when_it_is_pushed(world: World) -> None:
    """Also to one that reads it from the log later than others."""
    live, behind = await world.follower(presence=True), await world.follower(presence=True)
    behind.peer.session.pause()
    await world.save("lamp")
    behind.peer.read()
    world.present("lamp", online=True)
    expected = [("put", "lamp"), ("presence", "lamp", True)]
    assert await world.news(live, behind) == [expected, expected[::-1]]


async def test_a_snapshot_is_finished_however_often_devices_come_and_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes in the part that was sent is sent again with the whole state; the rest comes as it is by then."""
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 700)
    for number in range(9):
        await world.save(f"d{number}")
    follower = Follower(world, "device", ADMIN, {}, {"presence": True})
    follower.peer.session.close()
    follower.peer = world.peer()
    follower.peer.room = 2
    follower.peer.ask("device/subscribe", presence=True)
    await world.quiet()
    world.present("d7", online=True)
    assert not world.hub.catch_up.missed
    for turn in range(8):
        world.present("d0", online=turn % 2 == 0)
        world.present("d8", online=turn % 2 == 0)
        follower.peer.read(1)
        await world.quiet()
    assert [frame["last"] for frame in follower.peer.frames if "last" in frame].count(True) >= 1
    follower.peer.read()
    await world.news(follower)


# Rights, listing and ending.


@pytest.mark.parametrize("kind", ["device", "network", "devicetype"])
async def test_following_needs_the_right_of_its_kind(world: World, kind: str) -> None:
    """And shows nothing to those who reach nothing."""
    peer = world.peer(a=[Permission.GET_DEVICE_COMMAND, Permission.GET_CONFIGURATION])
    refused = await world.answer(peer, f"{kind}/subscribe")
    assert refused["code"] == 403
    assert (await world.answer(peer, f"{kind}/unsubscribe", subscriptionId=1))["code"] == 403
    await world.save("lamp")
    nobody = await world.follower(kind, BEN, {"n": [], "dt": []})
    assert (nobody.mode, nobody.state) == ("snapshot", {})
    everyone = world.peer()
    assert (await world.answer(everyone, "device/subscribe", networkIds="x"))["code"] == 400
    assert (await world.answer(everyone, "device/subscribe", deviceId=""))["code"] == 400
    assert "1000" in (await world.answer(everyone, "device/subscribe", networkIds=[*range(1_001)]))["error"]
    assert "position" in (await world.answer(everyone, "device/subscribe", since="x"))["error"]
    many = [*range(101)]
    assert "pairs" in (await world.answer(everyone, "device/subscribe", networkIds=many, deviceTypeIds=many))["error"]


async def test_what_the_subscriptions_of_a_socket_stand_for_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a user may see is many keys, which each of a thousand subscriptions would have again. What it asks for
    and does not see counts too."""
    peer = world.peer(ANN)
    networks = len(world.services.registry.scope(peer.caller.identity).reached or ())
    assert networks > 1
    monkeypatch.setattr("hivewire.actions.feeds.MAX_HELD_KEYS", 2 * networks)
    first, _ = [await world.answer(peer, "device/subscribe", snapshot=False) for _ in range(2)]
    for wanted in (None, [9]):
        assert f"more than {2 * networks}" in (await world.answer(peer, "device/subscribe", networkIds=wanted))["error"]
    await world.answer(peer, "device/unsubscribe", subscriptionId=first["subscriptionId"])
    assert (await world.answer(peer, "device/subscribe"))["status"] == "success"


async def test_a_token_with_which_subscriptions_stand_for_too_much_pauses_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first one on for which there is no room; with another token they start over."""
    peer = world.peer()
    for members in ({"deviceId": "lamp"}, {}, {"networkIds": [1, 2]}):
        assert (await world.answer(peer, "device/subscribe", **members))["status"] == "success"
    monkeypatch.setattr("hivewire.hub.feed.MAX_HELD_KEYS", 6)
    for networks, served in ("1", {1, 2, 3}), ("123", {1}), ("12", {1, 2, 3}), ("123", {1}):
        await world.answer(peer, "authenticate", token=world.token(n=list(networks)))
        listed = (await world.answer(peer, "subscription/list"))["subscriptions"]
        assert {each["subscriptionId"] for each in listed if not each.get("paused")} == served
        await world.quiet()
        peer.taken()
        await world.save("lamp", name=networks)
        await world.quiet()
        assert {frame["subscriptionId"] for frame in peer.taken()} == served


async def test_subscriptions_are_listed_as_requested_and_ended_by_their_kind(world: World) -> None:
    """With the numbers of all other subscriptions."""
    peer = world.peer()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("device", {"deviceId": "lamp", "networkIds": [1], "deviceTypeIds": [2]}),
        ("network", {"networkIds": [1]}),
        ("devicetype", {}),
        ("configuration", {}),
    ]
    for kind, members in asked:
        assert (await world.answer(peer, f"{kind}/subscribe", **members))["status"] == "success"
    listed = (await world.answer(peer, "subscription/list"))["subscriptions"]
    expected: list[dict[str, Any]] = [
        {"names": None, "deviceId": "lamp", "networkIds": [1], "deviceTypeIds": [2]},
        {"names": None, "deviceId": None, "networkIds": [1]},
        {"names": None, "deviceId": None, "deviceTypeIds": None},
        {"names": ["*"]},
    ]
    assert listed == [
        {"subscriptionId": number, "type": kind, **item}
        for number, ((kind, _), item) in enumerate(zip(asked, expected, strict=True), 1)
    ]
    for number, (kind, _) in enumerate(asked, 1):
        for other, _ in asked:
            if other != kind:
                assert (await world.answer(peer, f"{other}/unsubscribe", subscriptionId=number))["code"] == 404
        assert (await world.answer(peer, f"{kind}/unsubscribe", subscriptionId=number))["status"] == "success"
    assert (await world.answer(peer, "subscription/list"))["subscriptions"] == []
    await world.save("lamp")
    await world.quiet()
    assert not [frame for frame in peer.taken() if frame["action"].endswith("/change")]


# The model.

DEVICES, GROUPS = st.sampled_from([f"d{number}" for number in range(6)]), st.integers(1, 4)
USERS = st.sampled_from([ANN, BEN])
SAVES = st.tuples(st.just("save"), DEVICES, GROUPS, st.integers(1, 3))
STEPS = st.one_of(
    SAVES,
    SAVES,
    SAVES,
    st.tuples(st.just("delete"), DEVICES),
    st.tuples(st.just("drop"), st.sampled_from([NETWORK, DEVICE_TYPE]), GROUPS),
    st.tuples(st.just("insert"), st.sampled_from(["network", "devicetype"])),
    st.tuples(st.just("member"), st.sampled_from(["assign", "unassign"]), USERS, GROUPS),
    st.tuples(st.just("types"), st.sampled_from(["allow", "disallow"])),
    st.tuples(st.just("resume"), st.integers(0, 9)),
    st.tuples(st.just("break off"), st.integers(0, 9)),
    st.tuples(st.just("pause"), st.integers(0, 9)),
    st.tuples(st.just("read"), st.integers(0, 9)),
    st.tuples(st.just("forget")),
    st.tuples(st.just("shorten")),
    st.tuples(st.just("present"), DEVICES, st.booleans()),
    st.tuples(st.just("present"), DEVICES, st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


async def step(world: World, followers: list[Follower], what: str, *given: Any) -> None:
    """Do one step of a script; what is refused is refused."""
    if what == "save":
        await world.save(*given)
    elif what == "delete":
        await world.do("device/delete", deviceId=given[0])
    elif what == "drop":
        noun, member = ("network", "networkId") if given[0] == NETWORK else ("devicetype", "deviceTypeId")
        await world.do(f"{noun}/delete", force=True, **{member: given[1]})
    elif what == "insert":
        member = "network" if given[0] == "network" else "deviceType"
        members: dict[str, Any] = {member: {"name": f"x{world.ledger.revision}"}}
        await world.do(f"{given[0]}/insert", **members)
    elif what == "member":
        await world.do(f"user/{given[0]}Network", userId=given[1], networkId=given[2])
    elif what == "types":
        await world.do(f"user/{given[0]}AllDeviceTypes", userId=BEN)
    elif what == "resume":
        followers[given[0]].apply()
        followers[given[0]].subscribe()
    elif what == "break off":
        followers[given[0]].apply()
        followers[given[0]].peer.session.close()
    elif what == "pause":
        followers[given[0]].peer.session.pause()
    elif what == "read":
        followers[given[0]].peer.read()
    elif what == "present":
        world.present(given[0], online=given[1])
    elif what == "shorten":
        world.ledger.oldest = world.ledger.revision + 1
    elif what == "forget":
        world.hub.tail()._forget_half() if world.hub.tail()._events else None
    else:
        for _ in range(given[0]):
            await asyncio.sleep(0)


async def play(script: list[Any], frame: int) -> None:
    world = await World().begin()
    patch = pytest.MonkeyPatch()
    patch.setattr(registry, "REMOVED_AT_ONCE", 2)
    patch.setattr(device_topics, "FEW", 2)
    patch.setattr(catchup, "SNAPSHOT_BYTES", frame)
    patch.setattr(world.hub.catch_up, "conflate_after", 5)
    try:
        wanted: list[tuple[Any, ...]] = [
            ("device", ADMIN, {}, {}),
            ("device", ANN, {}, {"presence": True}),
            ("device", ADMIN, {}, {"presence": True}),
            ("device", BEN, {"dt": ["1", "2"]}, {}),
            ("device", ADMIN, {"n": ["1", "2"], "dt": ["2", "3"]}, {}),
            ("device", ADMIN, {}, {"networkIds": [1, 4], "deviceTypeIds": [1]}),
            ("device", ANN, {}, {"deviceId": "d1"}),
            ("network", ADMIN, {}, {}),
            ("network", ANN, {}, {}),
            ("devicetype", BEN, {"dt": ["1", "2"]}, {}),
        ]
        followers = [Follower(world, *each) for each in wanted]
        for follower in followers:
            follower.subscribe()
        for each in script:
            try:
                await step(world, followers, *each)
            except WireError:
                pass
        for follower in followers:
            follower.peer.read()
            if follower.peer.session.closed:
                follower.subscribe()
        await world.news(*followers)
    finally:
        patch.undo()
        await world.close()


@given(st.lists(STEPS, min_size=10, max_size=60), st.sampled_from([700, 256 << 10]))
@settings(max_examples=15)
def test_who_applies_all_pushes_has_what_a_list_shows(script: list[Any], frame: int) -> None:
    """Whatever happens to devices, networks, types and memberships, and however often it breaks off and resumes."""
    asyncio.run(play(script, frame))
