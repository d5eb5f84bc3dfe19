"""Following commands and notifications over a socket (devices, sections 2.5 to 2.7, 3.4 to 3.6, 4, 6; its addendum)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hivewire.access.users import UserContent
from hivewire.actions import following
from hivewire.actions.filtering import Reach, narrowed, resolve
from hivewire.caller import Caller
from hivewire.devices.index import Device, DeviceContent
from hivewire.devices.registry import DEVICE_TYPE
from hivewire.devices.scope import Scope
from hivewire.hub.hub import REPLAYS
from hivewire.ledger.records import Change, Transaction, Write
from hivewire.streams.filters import Filter, keys_of
from hivewire.streams.message import Message, Unreadable
from hivewire_protocol import times
from hivewire_protocol.close import Code
from hivewire_protocol.errors import AccessDenied, InvalidParameters, MalformedJson, NotAllowed, NotFound, WireError
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission
from tests.rooms.test_device_messages import Messages
from tests.rooms.test_devices import ADMIN, ANN, BEN, EVE, ROOT
from tests.rooms.test_hub import Peer
from tests.world import HOUR, NOW

NOTHING_THERE = (NotAllowed, "No access to any device type or network")
DENIED = (AccessDenied, "Access is denied")
KINDS = ("command", "notification")


class World(Messages):
    """With sockets."""

    def peer(self, user: int = ADMIN, a: list[int] | None = None, **claims: Any) -> Peer:
        """A socket of a user."""
        return Peer(self, self.caller(user, a, **claims).identity)  # type: ignore[arg-type]

    async def quiet(self) -> None:
        """Until nobody who reads is behind, and nobody waits for an answer."""
        for _ in range(20):
            await asyncio.sleep(0)
        while any(feed.serving for feed in self.hub.feeds):
            await asyncio.sleep(0)

    async def answer(self, peer: Peer, action: str, **members: Any) -> Any:
        """The answer to a request over a socket."""
        peer.ask(action, **members)
        while not (found := [frame for frame in peer.frames if "status" in frame]):
            await asyncio.sleep(0)
        peer.frames.remove(found[-1])
        return found[-1]

    async def follow(self, peer: Peer, kind: str = "command", **members: Any) -> int:
        """Subscribe; the number of the subscription."""
        reply = await self.answer(peer, f"{kind}/subscribe", **members)
        assert reply["status"] == "success", reply
        return int(reply["subscriptionId"])

    async def no(self, user: int = ADMIN, kind: str = "command", /, **members: Any) -> tuple[type[WireError], str]:
        """The error of subscribing. The same for both kinds."""
        n, dt = members.pop("n", ["*"]), members.pop("dt", ["*"])
        caller = Caller("10.0.0.1", "h", identity=self.caller(user, n=n, dt=dt).identity, listener=self.peer())
        return await self.refused(f"{kind}/subscribe", caller, **members)

    async def register(self, device_id: str, network: int = 1, device_type: int = 3) -> None:
        """A device, without a notification of it."""
        content = msgspec.json.encode(DeviceContent(name=device_id, network=network, type=device_type))
        await self.ledger.commit(Transaction([Write("device", device_id, content)]))

    async def send(self, kind: str, name: str, device: str = "lamp", **members: Any) -> Any:
        """Insert a command or a notification."""
        return await (self.order if kind == "command" else self.tell)(name, device, **members)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await (await world.open()).fill()
    await world.register("lamp")
    yield world
    await world.close()


def names(peer: Peer) -> list[Any]:
    """The names in the pushes since the last call; with the numbers of their subscriptions if there are several."""
    found = [
        (frame["subscriptionId"], frame[frame["action"].partition("/")[0]][frame["action"].partition("/")[0]])
        for frame in peer.taken()
    ]
    return [name for _, name in found] if len({number for number, _ in found}) < 2 else found


# What is pushed.


async def test_a_command_is_pushed_with_all_its_members(world: World) -> None:
    """Without what only answers have, and without a position: the official client dies of pushes that it does not
    know."""
    peer = world.peer()
    number = await world.follow(peer, deviceId="lamp")
    sent = await world.order("on", parameters={"a": 1}, lifetime=0)
    [frame] = peer.taken()
    assert set(frame) == {"action", "subscriptionId", "command"}
    assert (frame["action"], frame["subscriptionId"]) == ("command/insert", number)
    assert frame["command"] == {
        "id": sent["id"],
        "command": "on",
        "timestamp": sent["timestamp"],
        "lastUpdated": sent["timestamp"],
        "userId": ADMIN,
        "deviceId": "lamp",
        "networkId": 1,
        "deviceTypeId": 3,
        "parameters": {"a": 1},
        "lifetime": 0,
        "status": None,
        "result": None,
    }


async def test_a_notification_is_pushed_with_all_its_members(world: World) -> None:
    """Seven of them."""
    peer = world.peer()
    number = await world.follow(peer, "notification", deviceId="lamp")
    sent = await world.tell("temp", timestamp="2001-01-01T00:00:00")
    [frame] = peer.taken()
    assert (frame["action"], frame["subscriptionId"]) == ("notification/insert", number)
    assert frame["notification"] == {
        "id": sent["id"],
        "notification": "temp",
        "deviceId": "lamp",
        "networkId": 1,
        "deviceTypeId": 3,
        "timestamp": "2001-01-01T00:00:00.000",
        "parameters": None,
    }


async def test_updates_go_only_to_those_who_ask_for_them(world: World) -> None:
    """Each exactly once; inserts go to the others."""
    inserts, updates = world.peer(), world.peer()
    await world.follow(inserts, deviceId="lamp")
    await world.follow(updates, deviceId="lamp", returnUpdatedCommands=True, names=["on"])
    sent = await world.order("on")
    for status in ("begun", "done"):
        await world.do("command/update", deviceId="lamp", commandId=sent["id"], command={"status": status})
    other = await world.order("off")
    await world.do("command/update", deviceId="lamp", commandId=other["id"], command={})
    assert names(inserts) == ["on", "off"]
    frames = updates.taken()
    assert [(frame["action"], frame["command"]["status"]) for frame in frames] == [
        ("command/update", "begun"),
        ("command/update", "done"),
    ]


async def test_who_inserts_gets_the_push_like_anybody_else(world: World) -> None:
    """Each subscription of a socket gets it, with its own number; the answer to the insert has a request id."""
    peer = world.peer()
    numbers = [await world.follow(peer, **wanted) for wanted in ({}, {"networkIds": [1]}, {"names": ["on", "x"]})]
    await world.follow(peer, deviceId="lamp", names=["other"])
    peer.ask("command/insert", deviceId="lamp", command={"command": "on"})
    await world.quiet()
    assert sorted(frame["subscriptionId"] for frame in peer.frames if "status" not in frame) == numbers
    assert [frame["requestId"] for frame in peer.frames if "status" in frame] == [1]


@pytest.mark.parametrize("kind", KINDS)
async def test_networks_and_types_are_followed_with_devices_that_come_later(world: World, kind: str) -> None:
    """A message must be of one of the networks and of one of the types."""
    peer = world.peer()
    await world.follow(peer, kind, networkIds=[1, "2"], deviceTypeIds=[2, 3])
    for number, (network, device_type) in enumerate([(1, 2), (2, 3), (3, 2), (1, 1)]):
        await world.register(f"d{number}", network, device_type)
        await world.send(kind, f"of d{number}", f"d{number}")
    assert names(peer) == ["of d0", "of d1"]


async def test_the_gateways_own_notifications_go_to_those_who_follow_everything(world: World) -> None:
    """That is an administrator with a token for everything and without a filter; a client's `*` are its networks."""
    everything, device, network = world.peer(), world.peer(), world.peer()
    narrower, client = world.peer(n=["1", "2", "3"]), world.peer(ANN)
    await world.follow(everything, "notification")
    await world.follow(device, "notification", deviceId="lamp", timestamp=0)
    await world.follow(network, "notification", networkIds=[1], timestamp=0)
    await world.follow(narrower, "notification", timestamp=0)
    await world.follow(client, "notification", timestamp=0)
    await world.put("lamp", networkId=1)
    await world.put("new", networkId=1)
    await world.tell("$device-add")
    assert names(everything) == ["$device-update", "$device-add", "$device-add"]
    for peer in (device, network, narrower, client):
        assert names(peer) == ["$device-add"]


async def test_in_json_rpc_a_push_is_a_notification(world: World) -> None:
    """As with configurations."""
    peer = world.peer()
    request = {"jsonrpc": "2.0", "id": 1, "method": "notification/subscribe", "params": {"deviceId": "lamp"}}
    peer.session.receive(json.dumps(request).encode())
    await world.tell("temp")
    reply, frame = peer.taken()
    assert reply == {"jsonrpc": "2.0", "id": 1, "result": {"subscriptionId": 1}}
    assert (frame["method"], frame["params"]["notification"]["notification"]) == ("notification/insert", "temp")


# What is stored comes first.


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_stored_after_a_time_comes_first(world: World, kind: str) -> None:
    """Behind the answer, oldest first, without the message at that time, and then what is new."""
    sent = [await world.send(kind, f"m{number}") for number in range(4)]
    await world.send(kind, "of another", "lamp", timestamp="2001-01-01")
    peer = world.peer()
    peer.ask(f"{kind}/subscribe", deviceId="lamp", timestamp=sent[1]["timestamp"])
    await world.quiet()
    await world.send(kind, "new", timestamp="2001-01-01")
    assert peer.frames.pop(0)["status"] == "success"
    assert names(peer) == ["m2", "m3", "new"]


async def test_several_names_and_filters_repeat_nothing(world: World) -> None:
    """Each stored message comes once, and the limit is for all together."""
    await world.register("fan", 2, 1)
    for number in range(6):
        await world.order(f"m{number % 3}", ("lamp", "fan")[number % 2])
    peer = world.peer()
    await world.follow(peer, networkIds=[1, 2], names=["m0", "m1"], timestamp=0, limit=3)
    await world.quiet()
    assert names(peer) == ["m0", "m1", "m0"]


async def test_a_subscription_begins_with_20_commands_or_100_notifications(world: World) -> None:
    """Unless it asks for another number of commands: 0 are all. Notifications have no limit to ask for."""
    for number in range(105):
        for kind in KINDS:
            await world.send(kind, str(number))
    for limit, most in ((None, 20), (30, 30), (0, 105)):
        peer = world.peer()
        await world.follow(peer, deviceId="lamp", timestamp=0, limit=limit)
        await world.quiet()
        assert names(peer) == [str(number) for number in range(most)]
    peer = world.peer()
    await world.follow(peer, "notification", deviceId="lamp", timestamp=0, limit=7)
    await world.quiet()
    assert len(peer.taken()) == 100


async def test_a_replay_shows_a_command_as_it_is_now(world: World) -> None:
    """For those who follow inserts as one; who follows updates gets only commands updated after the time."""
    sent = [await world.order(name) for name in ("a", "b", "c")]
    for one in sent[:2]:
        await world.do("command/update", deviceId="lamp", commandId=one["id"], command={"status": "done"})
    updated = (await world.do("command/get", deviceId="lamp", commandId=sent[0]["id"]))["command"]["lastUpdated"]
    inserts, updates = world.peer(), world.peer()
    await world.follow(inserts, deviceId="lamp", timestamp=0)
    await world.follow(updates, deviceId="lamp", timestamp=updated, returnUpdatedCommands=True)
    await world.quiet()
    assert [(frame["action"], frame["command"]["status"]) for frame in inserts.taken()] == [
        ("command/insert", "done"),
        ("command/insert", "done"),
        ("command/insert", None),
    ]
    assert [(frame["action"], frame["command"]["command"]) for frame in updates.taken()] == [("command/update", "b")]


async def test_a_command_that_is_over_is_not_delivered_any_more(world: World) -> None:
    """Neither to those who subscribe, nor to those who had not read so far; it can still be read."""
    slow, updates = world.peer(), world.peer()
    await world.follow(slow, deviceId="lamp")
    await world.follow(updates, deviceId="lamp", returnUpdatedCommands=True)
    slow.session.pause()
    sent = [await world.order(name, expiresIn=seconds) for name, seconds in (("a", 5), ("b", 9), ("c", None))]
    await world.do("command/update", deviceId="lamp", commandId=sent[0]["id"], command={"status": "done"})
    await world.quiet()
    assert names(updates) == ["a"]
    world.clock.time += 8_000
    slow.session.resume()
    replayed, updated = world.peer(), world.peer()
    await world.follow(replayed, deviceId="lamp", timestamp=0)
    await world.follow(updated, deviceId="lamp", timestamp=0, returnUpdatedCommands=True)
    await world.quiet()
    assert (names(slow), names(replayed), names(updated)) == (["b", "c"], ["b", "c"], [])
    assert await world.names("command", sortField="timestamp", sortOrder="asc") == ["a", "b", "c"]
    found = (await world.do("command/list", deviceId="lamp", sortField="timestamp", sortOrder="asc"))["commands"]
    begins = [times.parse(each["timestamp"]) for each in sent]
    ends = [times.render(begins[0] + 5_000), times.render(begins[1] + 9_000), None]
    assert [each.get("expires") for each in found] == ends, "also after an update"
    await world.do("command/update", deviceId="lamp", commandId=sent[0]["id"], command={"status": "late"})
    await world.quiet()
    assert names(updates) == ["a"], "what comes of it now is news"


async def test_who_follows_everything_gets_nothing_stored(world: World) -> None:
    """As in DeviceHive; a client's token for everything stands for its networks, whose messages it gets."""
    await world.order("old")
    administrator, client = world.peer(), world.peer(ANN)
    await world.follow(administrator, timestamp=0)
    await world.follow(client, timestamp=0)
    await world.quiet()
    assert (names(administrator), names(client)) == ([], ["old"])


async def test_messages_of_a_device_that_is_gone_do_not_come_back(world: World) -> None:
    """A new device of its id starts empty, and who followed the old one does not follow the new one."""
    old = world.peer()
    await world.follow(old, deviceId="lamp")
    await world.order("old")
    assert names(old) == ["old"]
    await world.do("device/delete", deviceId="lamp")
    await world.register("lamp")
    new = world.peer()
    await world.follow(new, deviceId="lamp", timestamp=0)
    await world.order("new")
    await world.quiet()
    assert (names(old), names(new)) == ([], ["new"])


async def test_messages_of_a_device_that_is_gone_take_no_place_of_others(world: World) -> None:
    """A limit counts those that are there."""
    await world.register("bell")
    for device in ("bell", "lamp", "lamp"):
        await world.order(f"of {device}", device)
    await world.do("device/delete", deviceId="bell")
    peer = world.peer()
    await world.follow(peer, networkIds=[1], timestamp=0, limit=2)
    await world.quiet()
    assert names(peer) == ["of lamp", "of lamp"]


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_of_a_deleted_device_go_with_it(world: World, kind: str) -> None:
    """Who follows its network gets nothing of them any more, nor of a device that is hidden with its type."""
    await world.register("fan", 1, 2)
    for device in ("lamp", "fan"):
        await world.send(kind, f"of {device}", device)
    await world.register("bell")
    await world.send(kind, "of bell", "bell")
    await world.do("device/delete", deviceId="lamp")
    await world.register("lamp")
    await world.drop(DEVICE_TYPE, 2)
    peer = world.peer()
    await world.follow(peer, kind, networkIds=[1], timestamp=0)
    await world.quiet()
    assert names(peer) == ["of bell"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slow", [False, True])
async def test_between_what_is_stored_and_what_is_new_nothing_is_missing_or_twice(
    world: World, kind: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while others insert, peers stop reading and subscribe again and again: the end of each is the end of all,
    in the order of the inserts."""
    monkeypatch.setattr("hivewire.actions.following.NOTIFICATIONS", 100_000)
    numbers, stop = count(), asyncio.Event()

    async def insert() -> None:
        while not stop.is_set():
            await world.send(kind, str(next(numbers)))

    writers = [asyncio.create_task(insert()) for _ in range(3)]
    peers: list[Peer] = []
    for number in range(15):
        await asyncio.sleep(0)
        peers.append(peer := world.peer())
        if slow:
            peer.room = number % 4 + 1
        peer.ask(f"{kind}/subscribe", networkIds=[1], timestamp=0, limit=0)
        for _ in range(number * 7):
            await asyncio.sleep(0)
    stop.set()
    await asyncio.gather(*writers)
    for peer in peers:
        while not peer.frames:
            await asyncio.sleep(0)
        peer.read()
    await world.quiet()
    everything = (await world.do(f"{kind}/list", deviceId="lamp", take=100_000))[f"{kind}s"]
    for peer in peers:
        [reply] = [frame for frame in peer.frames if "status" in frame]
        assert reply["status"] == "success"
        assert peer.frames.pop(0) == reply
        assert names(peer) == [message[kind] for message in everything]


async def test_others_are_served_while_what_is_stored_becomes_pushes(
    world: World, steps_of: Callable[..., list[int]]
) -> None:
    """Between any two messages: there may be a hundred thousand."""
    for _ in range(10):
        await world.order("on")
    steps = steps_of(following)
    await world.follow(world.peer(), deviceId="lamp", timestamp=0)
    assert steps == [10]


async def test_stored_messages_that_nobody_reads_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribing is refused while others have too much to read; what they have is freed with their socket."""
    monkeypatch.setattr("hivewire.actions.following.REPLAY_BYTES", 100_000)
    for number in range(10):
        await world.order(str(number), parameters={"x": "y" * 20_000})
    reader = world.peer()
    reader.room = 1
    reader.ask("command/subscribe", deviceId="lamp", timestamp=0)
    await world.quiet()
    assert world.hub.replay_bytes() > 100_000
    peer = world.peer()
    refused = await world.answer(peer, "command/subscribe", deviceId="lamp", timestamp=0)
    assert refused["code"] == 503
    assert await world.follow(peer, deviceId="lamp") > 0
    reader.session.close()
    assert world.hub.replay_bytes() == 0
    await world.follow(peer, deviceId="lamp", timestamp=0)


async def test_one_of_a_thousand_that_never_reads_harms_nobody(world: World) -> None:
    """The others get every message at once. It holds none of them; if it reads in time it gets them all, and if not it
    loses its connection."""
    peers = [world.peer() for _ in range(1_000)]
    for peer in peers:
        peer.ask("command/subscribe", networkIds=[1])
        peer.taken()
    stuck, late = peers[17], peers[500]
    for peer in (stuck, late):
        peer.session.pause()
    for number in range(4):
        await world.order(str(number))
        await world.quiet()
        for peer in peers:
            if peer is not stuck and peer is not late:
                assert names(peer) == [str(number)]
    assert (stuck.frames, late.frames, world.hub.replay_bytes()) == ([], [], 0)
    late.read()
    await world.quiet()
    assert names(late) == ["0", "1", "2", "3"]
    log = world.services.messages.commands
    log._index.oldest += 3  # as when they expire
    world.hub.tail("commands").clear()
    stuck.read()
    await world.quiet()
    assert (names(stuck), stuck.closed) == ([], Code.SLOW_CONSUMER)
    await world.order("4")
    await world.quiet()
    assert names(late) == ["4"]


# What is refused.


@pytest.mark.parametrize("kind", KINDS)
async def test_what_subscribing_refuses(world: World, kind: str) -> None:
    """With the texts of DeviceHive, and in its order."""

    async def no(user: int = ADMIN, **members: Any) -> tuple[type[WireError], str]:
        return await world.no(user, kind, **members)

    missing = (NotFound, "Device with such deviceId = x not found")
    assert await no(deviceId="x", networkIds=[9]) == missing
    assert (await no(ANN, deviceId="x"))[0] is AccessDenied
    assert (await no(n=["1"], deviceId="x"))[0] is AccessDenied
    assert (await no(BEN, deviceId="lamp"))[0] is AccessDenied
    assert await no(deviceId="") == (InvalidParameters, "Device id is wrong or empty")
    assert (await no(n=["1"], deviceId=""))[0] is AccessDenied
    text = "Networks with such networkIds wasn't found: {[1, 9]}"
    assert await no(networkIds=[1, 9], deviceTypeIds=[7]) == (NotFound, text)
    text = "Device types with such deviceTypeIds wasn't found: {[7]}"
    assert await no(networkIds=[1], deviceTypeIds=[7]) == (NotFound, text)
    assert await no(n=["2"], networkIds=[1]) == (NotFound, "Networks with such networkIds wasn't found: {[1]}")
    assert await no(ANN, networkIds=[1, 2]) == DENIED
    assert await no(BEN, deviceTypeIds=[3]) == DENIED
    assert await no(ANN, deviceTypeIds=[7]) == DENIED
    assert await no(n=[]) == await no(BEN, dt=[]) == NOTHING_THERE
    assert await no(names=[]) == await no(deviceId="lamp", names=[]) == NOTHING_THERE
    assert await no(ANN, n=["2"]) == NOTHING_THERE
    assert (await no(networkIds="x"))[0] is MalformedJson
    assert (await no(names={}))[0] is MalformedJson
    for timestamp in ("yesterday", 253_402_300_800_000):  # the year 10000, which no list could show
        assert (await no(timestamp=timestamp))[0] is MalformedJson
    assert (await no(networkIds=list(range(1, 1_002))))[0] is NotFound
    assert "1000 elements" in (await no(names=[str(number) for number in range(1_001)]))[1]


async def test_a_negative_limit_is_refused(world: World) -> None:
    """With the text that polls have."""
    assert await world.no(limit=-1) == (InvalidParameters, "Limit can't be less than 0.")
    assert (await world.no(limit=-1, deviceId="x"))[0] is NotFound


async def test_what_subscribing_takes(world: World) -> None:
    """Lists that are null or empty are absent, so are names with networks or types; `deviceIds` is unknown."""
    requests: list[dict[str, Any]] = [
        {"networkIds": None, "deviceTypeIds": None, "names": None, "timestamp": None, "limit": None},
        {"networkIds": [], "deviceTypeIds": []},
        {"networkIds": [1], "names": []},
        {"deviceIds": ["nowhere"]},
        {"deviceId": "lamp", "networkIds": [2]},
        {"deviceTypeIds": [3]},  # an administrator needs no assigned types
    ]
    root = structs.replace(world.staff["root"], all_device_types_available=False)
    await world.ledger.commit(world.users.write("root", root, None))
    unlisted = world.peer(n=None)  # a token without networks reaches those that are asked for
    await world.follow(unlisted, networkIds=[1])
    for members in requests:
        peer = world.peer(ROOT)
        await world.follow(peer, **members)
        await world.order("on")
        assert (names(peer), names(unlisted)) == (["on"], ["on"]), members
    await world.follow(world.peer(EVE))  # a client without a network


async def test_a_subscription_needs_the_right_of_its_kind(world: World) -> None:
    """That of the other kind does not do."""
    peer = world.peer(a=[Permission.GET_DEVICE_COMMAND])
    assert (await world.answer(peer, "notification/subscribe"))["code"] == 403
    await world.follow(peer)


async def test_a_connection_has_a_limit_for_subscriptions_of_all_kinds() -> None:
    """The setting `subscriptions`."""
    world = World(subscriptions=3)
    await (await world.open()).fill()
    peer = world.peer()
    await world.follow(peer)
    await world.follow(peer, "notification")
    assert (await world.answer(peer, "configuration/subscribe"))["status"] == "success"
    for kind in (*KINDS, "configuration"):
        assert "maximum" in (await world.answer(peer, f"{kind}/subscribe"))["error"]
    await world.close()


async def test_a_list_without_end_is_not_gone_through_for_each_of_its_elements(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bound is checked after what does not exist, and the event loop serves nobody else meanwhile."""
    asked: list[int] = []
    shows = Reach.shows_network
    monkeypatch.setattr(Reach, "shows_network", lambda reach, each: asked.append(each) or shows(reach, each))
    assert "1000 elements" in (await world.no(networkIds=[1] * 3_000))[1]
    assert asked == [1]
    assert (await world.no(networkIds=[99] * 3_000))[1].count("99") == 1_000


@pytest.mark.parametrize("resumable", [False, True])
async def test_the_lists_of_a_connection_are_bounded_together(world: World, resumable: bool) -> None:
    """All their elements count, also those that repeat or do not matter, because lists are shown as they were
    requested; and no name is longer than that of any message."""
    peer = world.peer()
    await world.answer(peer, "configuration/subscribe", names=["of another kind"])
    for number in range(5):
        other = {"networkIds": [1] * 1_000} if number % 2 else {"deviceTypeIds": [3] * 1_000}
        lists: dict[str, Any] = {"names": [f"{number}"] * 1_000, **other}
        await world.follow(peer, KINDS[number % 2], deviceId="lamp", resumable=resumable, **lists)
    for kind in KINDS:
        refused = await world.answer(peer, f"{kind}/subscribe", deviceId="lamp", resumable=resumable, names=["on"])
        assert "10000 elements" in refused["error"]
    await world.follow(peer, deviceId="lamp")
    await world.answer(peer, "command/unsubscribe")
    await world.follow(peer, deviceId="lamp", names=["on"])
    assert "128 symbols" in (await world.no(names=["x" * 129], resumable=resumable))[1]
    for member, one in (("names", "x"), ("networkIds", 1), ("deviceTypeIds", 3)):
        many: dict[str, Any] = {member: [one] * 1_001}
        assert "more than 1000 elements" in (await world.no(resumable=resumable, **many))[1]


# Ending and listing.


async def test_subscriptions_of_all_kinds_have_ids_of_one_counter(world: World) -> None:
    """Clients keep them in one map. Unsubscribing without an id ends those of its own kind, with a foreign id none."""
    peer = world.peer()
    kinds = ("command", "configuration", "notification", "command", "configuration", "notification")
    asked = [await world.answer(peer, f"{kind}/subscribe", snapshot=False) for kind in kinds]
    numbers = [reply["subscriptionId"] for reply in asked]
    assert numbers == [1, 2, 3, 4, 5, 6]
    for kind, number in (("command", 3), ("notification", 1), ("configuration", 1), ("command", 2), ("command", 9)):
        refused = await world.answer(peer, f"{kind}/unsubscribe", subscriptionId=number)
        assert (refused["code"], refused["error"]) == (404, f"Subscription with id {number} was not found")
    assert (await world.answer(peer, "command/unsubscribe", subscriptionId=1))["status"] == "success"
    await world.answer(peer, "notification/unsubscribe")
    peer.taken()
    await world.order("on")
    await world.tell("temp")
    assert names(peer) == ["on"]
    assert [item["subscriptionId"] for item in (await listed(world, peer))] == [2, 4, 5]
    for _ in range(2):
        assert (await world.answer(peer, "command/unsubscribe", subscriptionId=None))["status"] == "success"
    assert [item["subscriptionId"] for item in (await listed(world, peer))] == [2, 5]


async def listed(world: World, peer: Peer, **members: Any) -> list[Any]:
    """What `subscription/list` answers."""
    found: list[Any] = (await world.answer(peer, "subscription/list", **members))["subscriptions"]
    return found


async def test_the_list_shows_what_was_requested(world: World) -> None:
    """With nulls, only what the token may follow, and of a kind if one is asked for."""
    peer = world.peer()
    assert await listed(world, peer) == []
    await world.follow(peer, deviceId="lamp", names=["on"], timestamp="2026-01-01", limit=3, returnUpdatedCommands=True)
    await world.follow(peer, "notification", networkIds=[1, 2], deviceTypeIds=[3])
    await world.answer(peer, "configuration/subscribe", names=["a"])
    nothing = {"deviceId": None, "networkIds": None, "deviceTypeIds": None, "names": None, "timestamp": None}
    command = nothing | {"deviceId": "lamp", "names": ["on"], "timestamp": "2026-01-01T00:00:00.000"}
    notification = nothing | {"networkIds": [1, 2], "deviceTypeIds": [3]}
    one = {"subscriptionId": 1, "type": "command"} | command
    two = {"subscriptionId": 2, "type": "notification"} | notification
    three = {"subscriptionId": 3, "type": "configuration", "names": ["a"]}
    assert await listed(world, peer) == [one, two, three]
    assert await listed(world, peer, type="command") == [one]
    assert await listed(world, peer, type="configuration") == [three]
    assert await listed(world, peer, type="device") == []
    for right, shown in (("GET_DEVICE_NOTIFICATION", [two]), ("GET_CONFIGURATION", [three]), ("GET_DEVICE", None)):
        await world.answer(peer, "authenticate", token=world.token(a=[Permission[right]]))
        if shown is None:
            assert (await world.answer(peer, "subscription/list"))["code"] == 403
        else:
            assert await listed(world, peer) == shown


async def test_a_list_of_any_size_is_answered(world: World) -> None:
    """It ends early and says so when an answer cannot have more; the rest follows a number."""
    peer = world.peer()
    lists = [[f"{number}:{name:{chr(1)}>120}" for name in range(1_000)] for number in range(5)]
    for names in lists:
        await world.follow(peer, deviceId="lamp", names=names)
    for _ in range(5):
        await world.follow(peer, deviceId="lamp")
    found: list[Any] = []
    more = True
    while more:
        page = await world.answer(peer, "subscription/list", after=found[-1]["subscriptionId"] if found else None)
        more = page.get("more", False)
        found += page["subscriptions"]
    assert [item["names"] for item in found] == lists + [None] * 5
    assert await listed(world, peer, after=10) == await listed(world, peer, after=3, type="notification") == []


# Rights that end.


async def test_a_subscription_outlives_its_token_and_says_nothing_of_it(world: World) -> None:
    """No bookmarks, no word of the token's end: the official clients renew it when a request is refused."""
    peer = world.peer()
    await world.follow(peer, "notification", deviceId="lamp")
    world.clock.time = max(NOW, peer.caller.identity.expires + HOUR)
    await world.register("fan")
    await world.tell("of another device", "fan")
    await world.hub.bookmarks()
    world.hub.recheck()
    await world.tell("late")
    assert names(peer) == ["late"]


async def test_another_token_of_the_user_continues_and_one_of_another_user_ends(world: World) -> None:
    """With the rights of the new token; of a wider one nothing comes back."""
    peer = world.peer()
    numbers = [await world.follow(peer, networkIds=[1]), await world.follow(peer, networkIds=[2])]
    await world.register("fan", 2)
    peer.ask("authenticate", token=world.token(n=["1"]))
    peer.ask("authenticate", token=world.token())
    peer.taken()
    await world.order("on")
    await world.order("on", "fan")
    assert [frame["subscriptionId"] for frame in peer.taken()] == numbers[:1]
    reply = await world.answer(peer, "authenticate", token=world.token(ROOT))
    assert reply["ended"] == numbers
    await world.order("on")
    assert peer.taken() == []


async def test_a_token_without_the_right_of_a_kind_ends_what_follows_it(world: World) -> None:
    """What follows the other kind goes on; with the right nothing comes back."""
    peer = world.peer()
    for kind in KINDS:
        await world.follow(peer, kind, deviceId="lamp")
    for right in (Permission.GET_DEVICE_NOTIFICATION, 0):
        await world.answer(peer, "authenticate", token=world.token(a=[right]))
        await world.order("on")
        await world.tell("temp")
        assert names(peer) == ["temp"]


async def test_who_followed_everything_gets_nothing_with_a_token_that_reaches_less(world: World) -> None:
    """Of all networks none is left with one that lists networks, and of all types none with one that lists types."""
    await world.register("fan", 2, 2)
    of_networks, of_types = world.peer(), world.peer(BEN)
    await world.follow(of_networks)
    await world.follow(of_types, networkIds=[2])
    await world.order("before", "fan")
    assert (names(of_networks), names(of_types)) == (["before"], ["before"])
    await world.answer(of_networks, "authenticate", token=world.token(n=["1"]))
    await world.answer(of_types, "authenticate", token=world.token(BEN, dt=["3"]))
    for device in ("lamp", "fan"):
        await world.order("after", device)
    assert (of_networks.taken(), of_types.taken()) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_subscription_ends_silently_with_its_user(world: World, kind: str) -> None:
    """Locked, and active again: it is still listed, and stays silent; a new one works."""
    peer = world.peer(ANN)
    await world.follow(peer, kind, deviceId="lamp")
    ann = world.users.by_login("ann").content  # type: ignore[union-attr]
    for status in (Status.LOCKED_OUT, Status.ACTIVE):
        await world.ledger.commit(world.users.write("ann", structs.replace(ann, status=status), None))
        await world.send(kind, "on")
    assert peer.taken() == []
    [item] = await listed(world, peer)
    assert "paused" not in item, "clients of DeviceHive know no such member"
    await world.follow(peer, kind, deviceId="lamp")
    await world.send(kind, "on")
    assert names(peer) == ["on"]


@pytest.mark.parametrize("wanted", [{}, {"deviceId": "lamp"}, {"networkIds": [1]}, {"deviceTypeIds": [3]}])
async def test_a_subscription_ends_silently_with_the_membership(world: World, wanted: dict[str, Any]) -> None:
    """What is still within reach goes on; what was taken away does not come back with the membership."""
    await world.register("fan", 3, 3)
    peer = world.peer(ANN)
    await world.follow(peer, **wanted)
    await world.follow(peer, deviceId="fan")
    await world.order("before")
    ann: UserContent = world.users.by_login("ann").content  # type: ignore[union-attr]
    for networks in ([3], [1, 3]):
        await world.ledger.commit(world.users.write("ann", structs.replace(ann, networks=networks), None))
        await world.order("after")
    assert names(peer) == ["before"]
    await world.order("fan", "fan")
    assert {frame["subscriptionId"] for frame in peer.taken()} == (
        {1, 2} if wanted in ({}, {"deviceTypeIds": [3]}) else {2}
    )


async def test_a_device_that_moves_leaves_its_subscriptions(world: World) -> None:
    """Those by its id keep the network that it was in; those by network follow where it goes."""
    by_id, first, second = world.peer(), world.peer(), world.peer()
    await world.follow(by_id, deviceId="lamp")
    await world.follow(first, networkIds=[1])
    await world.follow(second, networkIds=[2])
    await world.register("lamp", 2)
    await world.order("on")
    assert (names(by_id), names(first), names(second)) == ([], [], ["on"])


@pytest.mark.parametrize("resumable", [False, True])
async def test_an_update_is_for_who_follows_the_network_that_its_device_is_in(world: World, resumable: bool) -> None:
    """Not for that in which its command was inserted; who follows that one may not reach the device any more."""
    first, second = world.peer(), world.peer()
    for peer, network in ((first, 1), (second, 2)):
        await world.follow(peer, networkIds=[network], returnUpdatedCommands=True, resumable=resumable)
    sent = await world.order("on")
    await world.register("lamp", 2)
    await world.do("command/update", deviceId="lamp", commandId=sent["id"], command={"status": "done"})
    await world.quiet()
    assert (names(first), names(second)) == ([], ["on"])


async def test_a_network_that_goes_with_its_devices_is_not_told(world: World) -> None:
    """Nor is a device that is deleted. Subscriptions stay in the list, and follow no new device of that id."""
    peer = world.peer()
    await world.register("bell")
    for wanted in ({}, {"networkIds": [1]}, {"deviceId": "lamp"}, {"deviceId": "bell"}):
        await world.follow(peer, "notification", **wanted)
    await world.do("device/delete", deviceId="bell")
    await world.do("network/delete", networkId=1, force=True)
    await world.quiet()
    assert (peer.taken(), len(await listed(world, peer))) == ([], 4)
    await world.register("lamp", 2)
    await world.tell("on")
    assert [frame["subscriptionId"] for frame in peer.taken()] == [1]


@pytest.mark.parametrize("changed", [{"status": Status.LOCKED_OUT}, {"networks": [3]}])
async def test_rights_that_end_while_what_is_stored_is_read(world: World, changed: dict[str, Any]) -> None:
    """Then nothing of it is pushed."""
    await world.order("old")
    peer = world.peer(ANN)
    peer.room = 1
    peer.ask("command/subscribe", deviceId="lamp", timestamp=0)
    await world.quiet()
    ann: UserContent = world.users.by_login("ann").content  # type: ignore[union-attr]
    await world.ledger.commit(world.users.write("ann", structs.replace(ann, **changed), None))
    peer.read()
    await world.quiet()
    assert [frame.get("status") for frame in peer.taken()] == ["success"]


async def test_a_device_that_is_deleted_while_what_is_stored_is_read(world: World, monkeypatch: Any) -> None:
    """Nothing of it is pushed to who follows its network."""
    await world.register("bell")
    for device in ("lamp", "bell"):
        await world.send("command", f"of {device}", device)
    log = world.services.messages.commands
    replay = log.replay

    async def slow(*about: Any, **bounds: Any) -> Any:
        found = await replay(*about, **bounds)
        await world.do("device/delete", deviceId="lamp")
        return found

    monkeypatch.setattr(log, "replay", slow)
    peer = world.peer()
    await world.follow(peer, networkIds=[1], timestamp=0)
    await world.quiet()
    assert names(peer) == ["of bell"]


async def test_a_socket_that_closes_while_what_is_stored_is_read_leaves_nothing(world: World) -> None:
    """Neither a subscription nor an error."""
    await world.order("old")
    peer = world.peer()
    peer.ask("command/subscribe", deviceId="lamp", timestamp=0)
    peer.session.close()
    await world.quiet()
    assert (world.hub.count(), world.hub.feeds) == (0, set())


async def test_a_store_that_cannot_be_read_refuses_the_subscription(world: World, monkeypatch: Any) -> None:
    """With 503, and there is no subscription then."""
    peer = world.peer()

    async def fail(*_: Any, **__: Any) -> Any:
        raise Unreadable("the disk is gone")

    monkeypatch.setattr(world.services.messages.commands, "replay", fail)
    assert (await world.answer(peer, "command/subscribe", deviceId="lamp", timestamp=0))["code"] == 503
    assert await listed(world, peer) == []


async def test_a_subscription_that_ended_before_its_store_could_not_be_read(world: World, monkeypatch: Any) -> None:
    """The request is refused with 503 all the same, and nothing is left of it."""
    peer = world.peer()

    async def fail(*_: Any, **__: Any) -> Any:
        [feed] = world.hub.feeds
        feed.end_all()
        raise Unreadable("the disk is gone")

    monkeypatch.setattr(world.services.messages.commands, "replay", fail)
    assert (await world.answer(peer, "command/subscribe", deviceId="lamp", timestamp=0))["code"] == 503
    assert await listed(world, peer) == []


async def test_a_few_read_what_is_stored_at_a_time(world: World) -> None:
    """What they read is held in memory."""
    await world.order("old")
    reading = world.count_readers()
    peers = [world.peer() for _ in range(3 * REPLAYS)]
    await asyncio.gather(*[world.follow(peer, deviceId="lamp", timestamp=0) for peer in peers])
    assert max(reading) == REPLAYS


# Filters, against what the contract says in the simplest words.


IDS = st.integers(1, 3)
SOME = st.frozensets(st.integers(1, 4), max_size=3)
NAMES = st.sampled_from(["a", "b*", "n1", "a;"])
MESSAGES = st.builds(
    lambda device, network, kind, name, changed: Message(
        place=1, id=1, clock=1, timestamp=5, changed=changed, device=device, device_id="d", network=network, type=kind,
        name=name, author=1, body=b"{}",
    ),
    IDS, IDS, IDS, NAMES | st.none(), st.sampled_from([5, 6]),
)  # fmt: skip
OWN = MESSAGES.map(lambda message: structs.replace(message, network=None, type=None))
REACHES = st.builds(
    lambda n, dt, members, assigned: Reach(Scope(n, dt, members), assigned, {1, 2, 3}, {1, 2, 3}),
    SOME | st.none(), SOME | st.none(), SOME | st.none(), SOME | st.none(),
)  # fmt: skip
LISTS = st.lists(st.integers(1, 4), max_size=2) | st.none()


def device(record_id: int, network: int, device_type: int) -> Device:
    """A device for a filter."""
    return Device.of(Change(1, "device", "d", record_id, 1, b"{}", "", 0, "", ""), network, device_type)


DEVICES = st.builds(device, IDS, IDS, IDS) | st.none()


@given(
    st.builds(Filter, SOME | st.none(), SOME | st.none(), st.frozensets(NAMES) | st.none(), st.none() | IDS),
    st.booleans(),
    MESSAGES | OWN,
)
def test_keys_find_exactly_what_a_filter_accepts(wanted: Filter, updated: bool, message: Message) -> None:
    """By one key, also with names that look like patterns. So no push looks at subscriptions that do not match."""
    if wanted.device is not None and (
        len(wanted.networks or ()) != 1 or len(wanted.types or ()) != 1
    ):  # the filter of a device has its network and its type
        wanted = structs.replace(wanted, networks=frozenset((1,)), types=frozenset((2,)))
    patterns = Patterns(wanted.keys(updated=updated))
    assert patterns.prefixes == ()
    assert len(patterns.exact) == len(wanted)
    common = [key for key in keys_of(message) if key in patterns]
    assert len(common) == (wanted.accepts(message) and message.updated == updated)


@given(REACHES, DEVICES, LISTS, LISTS, st.lists(NAMES, max_size=2) | st.none(), MESSAGES | OWN)
def test_a_request_gets_what_the_contract_says(
    reach: Reach,
    device: Device | None,
    networks: list[int] | None,
    types: list[int] | None,
    names: list[str] | None,
    message: Message,
) -> None:
    """Devices, section 6.2, clause by clause; a client's `*` are its networks (addendum, section 4)."""
    scope, client = reach.scope, reach.scope.members is not None
    gets: bool | type[WireError]
    hidden = [
        what
        for wanted, token, mine, what in (
            (networks, scope.networks, scope.members, "Networks"),
            (types, scope.types, reach.assigned, "Device types"),
        )
        for each in wanted or ()
        if each > 3 or (mine is not None and each not in mine) or (token and each not in token)
    ]
    n = set(networks) if networks else None if scope.networks is None else set(scope.networks)
    t = set(types) if types else None if scope.types is None else set(scope.types)
    if hidden:
        gets = AccessDenied if client else NotFound
    elif n == set() or t == set() or (names == [] and (device is not None or (n is None and t is None))):
        gets = NotAllowed
    elif device is not None:
        gets = (message.device, message.network, message.type) == (device.record_id, device.network, device.type)
        gets = gets and (not names or message.name in names)
    elif client and n is not None and not any(each in (scope.members or ()) for each in n):
        gets = NotAllowed
    else:
        gets = (n is None or message.network in n) and (t is None or message.type in t)
        gets = gets and (not client or message.network in (scope.members or ()))
        gets = gets and (not names or message.name in names)
    try:
        found = resolve(reach, device, networks, types, names)
    except (AccessDenied, NotFound) as error:
        assert gets is type(error)
        if not client:
            assert str(error).startswith(hidden[0])
        return
    if found is None:
        assert gets is NotAllowed
    else:
        assert found.accepts(message) is gets


@given(REACHES, REACHES, LISTS, LISTS, MESSAGES | OWN)
def test_what_is_left_of_a_filter_is_a_part_of_it(
    before: Reach, after: Reach, networks: list[int] | None, types: list[int] | None, message: Message
) -> None:
    """And it is within what is reached now; as long as nothing changes, all is left."""
    try:
        wanted = resolve(before, None, networks, types, None)
    except WireError:
        return
    if wanted is None:
        return
    assert narrowed(wanted, before) == wanted
    left = narrowed(wanted, after)
    if left.accepts(message):
        assert wanted.accepts(message)
        scope = after.scope
        assert not scope.networks or message.network in scope.networks
        assert not scope.types or message.type in scope.types
        assert scope.members is None or message.network in scope.members
