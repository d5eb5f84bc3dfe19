"""Commands and notifications with positions: resumed subscriptions, event streams (messages, sections 2.10 and 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs

from hivewire.access.tokens import ACCESS, Claims
from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.hub import catchup, tail
from hivewire.streams import segment
from hivewire.streams.filters import Filter, Keys
from hivewire.streams.log import Log
from hivewire.streams.message import Message
from hivewire.transport.events import EventStream, EventStreams
from hivewire_protocol.coercion import build
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotAllowed, NotFound, OutOfBounds
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.command import CommandStream
from hivewire_protocol.nouns.notification import NotificationStream
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission
from tests.rooms import test_following
from tests.rooms.test_devices import ADMIN, ANN
from tests.rooms.test_hub import Peer
from tests.world import HOUR

KINDS = test_following.KINDS
DAY = 24 * HOUR


class World(test_following.World):
    """With messages that expire when a test says so, in segments of three."""

    passed = 0

    def elapsed(self) -> int:
        return self.passed

    def log(self, kind: str) -> Log:
        return self.messages.commands if kind == "command" else self.messages.notifications

    async def expire(self, kind: str = "command") -> None:
        """All messages so far, also those in the memory of the hub."""
        self.passed += 2 * DAY
        log = self.log(kind)
        for _ in range(2):  # close the open segment, then drop it
            log.tidy()
            while log.is_tidying:
                await asyncio.sleep(0)
        self.hub.tail(f"{kind}s").clear()

    async def resume(self, peer: Peer, kind: str = "command", /, **members: Any) -> Any:
        """Subscribe; the answer."""
        reply = await self.answer(peer, f"{kind}/subscribe", **({"resumable": True} | members))
        await self.quiet()
        return reply

    async def update(self, sent: Any, status: str, device: str = "lamp") -> None:
        """Update a command."""
        await self.do("command/update", deviceId=device, commandId=sent["id"], command={"status": status})

    async def member(self, *networks: int) -> None:
        """Ann belongs to these networks from now on."""
        ann: UserContent = self.users.by_login("ann").content  # type: ignore[union-attr]
        await self.ledger.commit(self.users.write("ann", structs.replace(ann, networks=list(networks)), None))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with mock.patch.object(segment, "SEGMENT_MESSAGES", 3):
        world = World()
        await (await world.open()).fill()
        await world.register("lamp")
        yield world
        await world.close()


def told(peer: Peer) -> list[Any]:
    """The pushes since the last call, in short: the name of a message, `reset` before the first one after a reset,
    `live`, `bookmark`, or the word of another push."""
    found: list[Any] = []
    for frame in peer.taken():
        noun, _, what = frame["action"].partition("/")
        found += ["reset"] if frame.get("reset") else []
        found.append(frame[noun][noun] if noun in frame else "live" if frame.get("live") else what)
    return found


# What is pushed.


@pytest.mark.parametrize("kind", KINDS)
async def test_pushes_have_positions(world: World, kind: str) -> None:
    """From the reply on, and otherwise the members of plain ones; a bookmark when nothing matched for a while."""
    plain, peer = world.peer(), world.peer()
    await world.follow(plain, kind, deviceId="lamp")
    reply = await world.resume(peer, kind, deviceId="lamp")
    await world.send(kind, "on")
    assert set(reply) == {"action", "requestId", "status", "subscriptionId", "mode", "position"}
    assert reply["mode"] == "live"
    [frame], [expected] = peer.taken(), plain.taken()
    position = frame.pop("position")
    assert frame == expected
    assert position > reply["position"]
    await world.register("fan")
    await world.send(kind, "of another", "fan")
    for _ in range(2):
        await world.hub.bookmarks()
    [bookmark] = peer.taken()
    assert set(bookmark) == {"action", "subscriptionId", "position"}
    assert bookmark["action"] == f"{kind}/bookmark"
    assert bookmark["position"] > position


@pytest.mark.parametrize("kind", KINDS)
async def test_a_position_is_resumed_from(world: World, kind: str) -> None:
    """On another connection, in the order of the log, then a bookmark that says so; what was pushed is not repeated."""
    first = world.peer()
    await world.resume(first, kind, deviceId="lamp", names=["a", "b"])
    for name in ("a", "c"):
        await world.send(kind, name)
    last = first.frames[-1]["position"]
    first.session.close()
    for name in ("b", "c", "a"):
        await world.send(kind, name, timestamp="2001-01-01")
    peer = world.peer()
    reply = await world.resume(peer, kind, deviceId="lamp", names=["a", "b"], since=last, resumable=None)
    assert (reply["mode"], reply["position"]) == ("resumed", last)
    await world.send(kind, "b")
    frames = list(peer.frames)
    assert told(peer) == ["b", "a", "live", "b"]
    assert sorted(frame["position"] for frame in frames) == [frame["position"] for frame in frames]
    assert frames[2]["position"] == frames[1]["position"]
    again = await world.resume(peer, kind, deviceId="lamp", since=frames[-1]["position"])
    assert (again["mode"], told(peer)) == ("resumed", ["live"])


async def test_a_command_that_is_over_is_not_resumed(world: World) -> None:
    """Whether it is still in memory or read from the log; the bookmark goes beyond it."""
    first = world.peer()
    start = (await world.resume(first, deviceId="lamp"))["position"]
    for number, seconds in enumerate((5, None, 5, 9, None, 5)):
        await world.order(f"c{number}", expiresIn=seconds)
    first.session.close()
    world.clock.time += 6_000
    for forgotten in (False, True):
        if forgotten:
            world.hub.tail("commands").clear()
        peer = world.peer()
        await world.resume(peer, deviceId="lamp", since=start)
        last = peer.frames[-1]["position"]
        assert told(peer) == ["c1", "c3", "c4", "live"]
        again = world.peer()
        await world.resume(again, deviceId="lamp", since=last)
        assert told(again) == ["live"]
        for each in (peer, again):
            each.session.close()


async def test_updates_and_inserts_of_a_command_are_events_of_their_own(world: World) -> None:
    """Who follows inserts gets those as they were, who follows updates each of them, also when they are resumed."""
    inserts, updates = world.peer(), world.peer()
    start = (await world.resume(inserts, deviceId="lamp"))["position"]
    await world.resume(updates, networkIds=[1], returnUpdatedCommands=True)
    sent = await world.order("on", status="new")
    for status in ("begun", "done"):
        await world.update(sent, status)
    late, later = world.peer(), world.peer()
    await world.resume(late, deviceId="lamp", since=start)
    await world.resume(later, networkIds=[1], since=start, returnUpdatedCommands=True)
    for peers, action, statuses in (
        ((inserts, late), "command/insert", ["new"]),
        ((updates, later), "command/update", ["begun", "done"]),
    ):
        for peer in peers:
            frames = [frame for frame in peer.taken() if "command" in frame]
            assert {frame["action"] for frame in frames} == {action}
            assert [frame["command"]["status"] for frame in frames] == statuses


async def test_in_json_rpc_the_mode_and_the_positions_are_there_too(world: World) -> None:
    """The reply is the result; pushes are notifications."""
    peer = world.peer()
    params = {"deviceId": "lamp", "resumable": True}
    request = {"jsonrpc": "2.0", "id": 1, "method": "notification/subscribe", "params": params}
    peer.session.receive(json.dumps(request).encode())
    await world.tell("temp")
    reply, frame = peer.taken()
    assert (reply["result"]["mode"], frame["method"]) == ("live", "notification/insert")
    assert frame["params"]["position"] > reply["result"]["position"]


# Resets.


@pytest.mark.parametrize("kind", KINDS)
async def test_a_position_that_is_no_good_resets(world: World, kind: str) -> None:
    """One of another log, one ahead of it, and one that is not kept any more; the reply says where what is kept
    begins."""
    peer = world.peer()
    before = (await world.resume(peer, kind))["position"]
    await world.send(kind, "lost")
    await world.expire(kind)
    for number in range(2):
        await world.send(kind, f"m{number}")
    epoch = before.partition("-")[0]
    peer.taken()
    for since in (f"{world.ledger.epoch}-1", f"{epoch}-{1 << 50}", before):
        reply = await world.resume(peer, kind, since=since)
        assert (reply["mode"], reply["oldest"]) == ("reset", world.log(kind).oldest)
        assert told(peer) == ["reset", "m0", "m1", "live"]
        again = await world.resume(peer, kind, since=reply["position"])
        assert (again["mode"], told(peer)) == ("resumed", ["m0", "m1", "live"])


async def test_a_reset_without_anything_kept_is_told_by_the_bookmark(world: World) -> None:
    """Then it has both members."""
    peer = world.peer()
    before = (await world.resume(peer))["position"]
    await world.order("lost")
    await world.expire()
    peer.taken()
    reply = await world.resume(peer, since=before)
    assert (reply["mode"], told(peer)) == ("reset", ["reset", "live"])


async def test_a_slow_reader_gets_all_that_is_kept(world: World) -> None:
    """Nothing is left out for it; if what it has not read expires, it is told, and keeps its connection."""
    peer = world.peer()
    await world.resume(peer, deviceId="lamp")
    peer.taken()
    peer.session.pause()
    for number in range(8):
        await world.order(str(number))
    peer.read(idle=True)
    await world.quiet()
    assert told(peer) == [*map(str, range(8)), "live"]
    peer.session.pause()
    await world.order("lost")
    await world.expire()
    await world.order("kept")
    peer.read()
    await world.quiet()
    assert told(peer) == ["reset", "kept", "live"]
    assert peer.closed is None


async def test_who_resumes_by_device_reads_only_segments_with_messages_of_it(world: World) -> None:
    """So a device that was away for long costs little, however many others there are."""
    await world.register("fan")
    peer = world.peer()
    start = (await world.resume(peer, deviceId="lamp"))["position"]
    peer.session.close()
    for number in range(60):
        await world.order(str(number), "lamp" if number == 40 else "fan")
    world.hub.tail("commands").clear()
    engine = world.messages.commands._engine
    with (
        mock.patch.object(catchup, "PORTION", 5),
        mock.patch.object(engine, "forward", side_effect=engine.forward) as forward,
    ):
        for device, reads, expected in (("lamp", 1, ["40", "live"]), ("x", 0, ["live"])):
            peer = world.peer()
            if device == "x":
                await world.register(device)
            world.hub.tail("commands").clear()
            await world.resume(peer, deviceId=device, since=start)
            assert told(peer)[-len(expected) :] == expected
            assert forward.call_count == reads
            forward.reset_mock()
            peer.session.close()


async def test_recent_messages_are_looked_at_a_few_at_a_time(world: World) -> None:
    """So the first who resumes among thousands of them keeps nobody waiting."""
    await world.resume(world.peer())
    start = world.hub.tail("commands").position(world.hub.tail("commands").offset)
    for number in range(20):
        await world.order(str(number))
    peer = world.peer()
    with mock.patch.object(tail, "LOOK", 6):
        [channel] = world.hub.tail("commands").channels["command"].values()
        wanted = Patterns(["inserted:=19;"])
        assert [channel.last_within(wanted) is None for _ in range(4)] == [True, True, True, False]
        for number in range(20, 40):
            await world.order(str(number))
        await world.resume(peer, names=["19", "39"], since=start)
    assert told(peer) == ["19", "39", "live"]


# What is refused.


@pytest.mark.parametrize("kind", KINDS)
async def test_what_does_not_go_together(world: World, kind: str) -> None:
    """Positions and times; and `since` has to be a position. Rights come first."""
    together = (InvalidParameters, "timestamp and limit cannot be combined with resumable or since")
    others: list[dict[str, Any]] = [{"timestamp": 0}, *([{"limit": 5}] if kind == "command" else [])]
    for other in others:
        assert await world.no(ADMIN, kind, resumable=True, **other) == together
        assert await world.no(ADMIN, kind, since="x-1", **other) == together
    assert (await world.no(ADMIN, kind, since="yesterday"))[0] is OutOfBounds
    assert (await world.no(ADMIN, kind, since=""))[0] is OutOfBounds
    assert (await world.no(ADMIN, kind, deviceId="x", since="yesterday"))[0] is NotFound
    assert (await world.no(ADMIN, kind, n=[], resumable=True))[0] is NotAllowed
    peer = world.peer()
    reply = await world.resume(peer, kind, resumable=False, timestamp=0)
    assert "mode" not in reply


async def test_both_kinds_of_subscriptions_share_ids_bounds_the_list_and_their_end(world: World) -> None:
    """Those of the other kind are not ended, nor are those to configurations."""
    peer = world.peer()
    for number, resumable in enumerate((True, False, True), 1):
        assert (await world.resume(peer, deviceId="lamp", names=["x"], resumable=resumable))["subscriptionId"] == number
    await world.resume(peer, "notification")
    assert (await world.answer(peer, "configuration/subscribe"))["subscriptionId"] == 5
    shown = (await world.answer(peer, "subscription/list", type="command"))["subscriptions"]
    assert [(item["subscriptionId"], item.get("resumable")) for item in shown] == [(1, True), (2, None), (3, True)]
    assert {(item["deviceId"], item["timestamp"], *item["names"]) for item in shown} == {("lamp", None, "x")}
    for action, number in (("configuration", 1), ("notification", 1), ("command", 4), ("command", 5)):
        assert (await world.answer(peer, f"{action}/unsubscribe", subscriptionId=number))["code"] == 404
    assert (await world.answer(peer, "command/unsubscribe", subscriptionId=1))["status"] == "success"
    await world.answer(peer, "command/unsubscribe")
    shown = (await world.answer(peer, "subscription/list"))["subscriptions"]
    assert [item["subscriptionId"] for item in shown] == [4, 5]
    await world.quiet()
    peer.taken()
    await world.order("x")
    await world.tell("temp")
    assert told(peer) == ["temp"]


# Rights that end, and come back.


async def test_an_expired_token_pauses_and_a_new_one_goes_on(world: World) -> None:
    """Both are told, unlike plain ones on the same socket, which go on meanwhile. Nothing is missing."""
    peer = world.peer()
    plain = await world.follow(peer, deviceId="lamp")
    await world.resume(peer, deviceId="lamp")
    await world.order("first")
    peer.taken()
    world.clock.time = peer.caller.identity.expires - 1
    world.hub.check_token(peer.caller.feed)  # type: ignore[arg-type]
    world.clock.time += HOUR
    for number in range(2):
        await world.order(f"meanwhile {number}")
    frames = peer.taken()
    assert [frame["action"].split("/")[1] for frame in frames if frame["subscriptionId"] != plain] == [
        "expiring",
        "paused",
    ]
    assert len([frame for frame in frames if frame["subscriptionId"] == plain]) == 2
    claims = Claims([0], world.clock.time + HOUR, ACCESS, ADMIN, ["*"], ["*"])
    peer.ask("authenticate", token=world.tokens.mint(claims))
    await world.quiet()
    frames = [frame for frame in peer.taken() if frame.get("subscriptionId") == plain + 1]
    assert [frame["command"]["command"] for frame in frames[:-1]] == ["meanwhile 0", "meanwhile 1"]
    assert frames[-1]["live"] is True


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_deleted_device_sent_is_not_missing(world: World, kind: str) -> None:
    """Who resumes gets it, unlike those without a position."""
    reply = await world.resume(world.peer(), kind, networkIds=[1])
    await world.send(kind, "old")
    await world.do("device/delete", deviceId="lamp")
    peer, plain = world.peer(), world.peer()
    await world.resume(peer, kind, networkIds=[1], since=reply["position"])
    await world.follow(plain, kind, networkIds=[1], timestamp=0)
    await world.quiet()
    assert (told(peer), told(plain)) == (["old", "live"], [])


@pytest.mark.parametrize("wanted", [{}, {"deviceId": "lamp"}, {"networkIds": [1, 3]}])
async def test_scope_that_shrinks_narrows_and_that_comes_back_resets(world: World, wanted: dict[str, Any]) -> None:
    """What was out of reach meanwhile is not missing then: all that is kept follows."""
    await world.register("fan", 3)
    peer = world.peer(ANN)
    await world.resume(peer, **wanted)
    await world.order("before")
    peer.taken()
    await world.member(3)
    await world.order("meanwhile")
    await world.order("fan's", "fan")
    others = [] if "deviceId" in wanted else ["fan's"]
    assert told(peer) == others
    item = (await world.answer(peer, "subscription/list"))["subscriptions"][0]
    assert item.get("paused", False) is ("deviceId" in wanted)
    await world.member(1, 3)
    await world.order("after")
    await world.quiet()
    assert told(peer) == ["reset", "before", "meanwhile", *others, "live", "after"]


async def test_who_comes_to_reach_too_much_is_paused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription asked for names in all networks of its user, who gets more of them: its keys have a bound."""
    monkeypatch.setattr("hivewire.actions.following.MAX_HELD_KEYS", 4)
    await world.register("fan", 3)
    peer = world.peer(ANN)
    await world.resume(peer, names=["a", "b"])
    for networks, expected in (((1, 3), ["a"]), ((1, 2, 3), []), ((1, 3), ["reset", "a", "a", "live", "a"])):
        await world.member(*networks)
        await world.quiet()
        await world.order("a")
        assert told(peer)[-len(expected) or None :] == expected
        item = (await world.answer(peer, "subscription/list"))["subscriptions"][0]
        assert item.get("paused", False) is (expected == [])


async def test_a_token_that_reaches_other_things(world: World) -> None:
    """A narrower one narrows silently, a wider one resets; one for everything covers each of them."""
    await world.register("fan", 2)
    peer = world.peer()
    await world.resume(peer, names=["a", "b"])
    for networks, expected in (
        (["1", "2"], ["a", "b"]),
        (["1"], ["a"]),
        (["1"], ["a"]),
        ([], []),
        (["2"], ["reset", "b", "b", "b", "b", "live", "b"]),
    ):
        peer.ask("authenticate", token=world.token(n=networks))
        await world.quiet()
        peer.frames = [frame for frame in peer.frames if "status" not in frame]
        await world.order("a")
        await world.order("b", "fan")
        assert told(peer) == expected, networks


async def test_a_token_without_the_right_of_a_kind_pauses_what_follows_it(world: World) -> None:
    """What follows the other kind goes on. With the right it starts over, as with everything that is reached again."""
    peer = world.peer()
    for kind in KINDS:
        await world.resume(peer, kind, deviceId="lamp")
    await world.answer(peer, "authenticate", token=world.token(a=[Permission.GET_DEVICE_NOTIFICATION]))
    await world.order("on")
    await world.tell("temp")
    await world.quiet()
    assert told(peer) == ["temp"]
    await world.answer(peer, "authenticate", token=world.token())
    await world.quiet()
    assert told(peer) == ["reset", "on", "live"]


async def test_a_network_that_is_gone_is_left_out(world: World) -> None:
    """Of the networks that were asked for, the others are still followed with another token."""
    peer = world.peer()
    await world.resume(peer, networkIds=[1, 2])
    await world.do("network/delete", networkId=2)
    assert (await world.answer(peer, "authenticate", token=world.token()))["status"] == "success"
    await world.order("on")
    assert told(peer) == ["on"]


@pytest.mark.parametrize(
    ("wanted", "drop"),
    [({"networkIds": [2]}, {"networkId": 2}), ({"deviceTypeIds": [2]}, {"deviceTypeId": 2})],
    ids=["network", "type"],
)
async def test_who_asked_for_what_is_gone_follows_nothing(
    world: World, wanted: dict[str, Any], drop: dict[str, Any]
) -> None:
    """And not all that its next token reaches, as if it had asked for nothing."""
    peer = world.peer()
    await world.resume(peer, **wanted)
    await world.do("network/delete" if "networkId" in drop else "devicetype/delete", **drop)
    assert (await world.answer(peer, "authenticate", token=world.token()))["status"] == "success"
    await world.order("on")
    assert told(peer) == []
    assert (await world.answer(peer, "subscription/list"))["subscriptions"][0]["paused"]


async def test_a_stop_is_told_to_those_with_positions_only(world: World) -> None:
    """The official clients know no such push."""
    peer = world.peer()
    await world.follow(peer, deviceId="lamp")
    number = (await world.resume(peer, deviceId="lamp"))["subscriptionId"]
    for feed in peer.caller.feeds:
        feed.drain((), 100)
    assert [(frame["action"], frame["subscriptionId"]) for frame in peer.taken()] == [("server/draining", number)]


async def test_a_user_who_is_locked_goes_on_when_active_again(world: World) -> None:
    """It is told, and gets what it missed; a plain subscription has ended."""
    peer = world.peer(ANN)
    await world.resume(peer, deviceId="lamp")
    ann: UserContent = world.users.by_login("ann").content  # type: ignore[union-attr]
    for status in (Status.LOCKED_OUT, Status.ACTIVE):
        await world.ledger.commit(world.users.write("ann", structs.replace(ann, status=status), None))
        await world.quiet()
        await world.order(status.name)
    assert told(peer) == ["paused", "LOCKED_OUT", "live", "ACTIVE"]


async def test_a_device_that_moves_or_goes_leaves_its_subscriptions(world: World) -> None:
    """As with plain ones: those by its id keep the network that it was in, and the device that it was."""
    by_id, first, second = world.peer(), world.peer(), world.peer()
    start = (await world.resume(by_id, deviceId="lamp"))["position"]
    await world.resume(first, networkIds=[1])
    await world.resume(second, networkIds=[2])
    await world.order("here")
    await world.register("lamp", 2)
    await world.order("there")
    await world.do("device/delete", deviceId="lamp")
    await world.register("lamp")
    await world.order("another")
    assert (told(by_id), told(first), told(second)) == (["here"], ["here", "another"], ["there"])
    peer = world.peer()
    await world.resume(peer, deviceId="lamp", since=start)
    assert told(peer) == ["another", "live"]


async def test_a_device_that_follows_with_positions_is_online(world: World) -> None:
    """As with a plain subscription; who follows its updates is not the device."""
    presence = world.services.presence
    record = world.services.registry.device("lamp").record_id  # type: ignore[union-attr]
    peer = world.peer()
    await world.resume(peer, deviceId="lamp", returnUpdatedCommands=True)
    await world.resume(peer, "notification", deviceId="lamp")
    await world.resume(peer)
    assert not presence.online(record)
    await world.resume(peer, deviceId="lamp")
    assert presence.online(record)


# Event streams.


class Reader:
    """An HTTP client that reads an event stream."""

    def __init__(self, world: World, caller: Caller, kind: str, last: str | None = None, **query: Any) -> None:
        shape = CommandStream if kind == "command" else NotificationStream
        members = {name: Raw(encode(value)) for name, value in {**query, **({"since": last} if last else {})}.items()}
        caller.http = True
        self.streams = EventStreams(world.dispatcher)
        self.stream: EventStream
        self.text = ""
        self.answering = asyncio.create_task(self._answer(caller, build(shape, members)))

    async def _answer(self, caller: Caller, request: Request) -> None:
        self.stream = await self.streams.subscribe(caller, request)
        scope = {"hivewire.connection": SimpleNamespace(streaming=False, unsent=0)}
        await self.stream(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self.text += message.get("body", b"").decode()

    async def events(self, count: int) -> list[tuple[str, str | None, Any]]:
        """The next events: what they are, their ids and their data."""
        while self.text.count("\n\n") < count:
            await asyncio.sleep(0)
        found, self.text = self.text, ""
        lines = [dict(line.split(": ", 1) for line in event.splitlines()) for event in found.split("\n\n")[:-1]]
        return [(each["event"], each.get("id"), json.loads(each["data"])) for each in lines]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_stream_of_messages(world: World, kind: str) -> None:
    """Its ids are positions; it begins with one, and goes on after one."""
    reader = Reader(world, world.caller(), kind, networkIds=["1,2", "3"], deviceTypeIds=["3"], names=["on,off"])
    [(what, start, _)] = await reader.events(1)
    assert what == "bookmark"
    await world.send(kind, "on")
    await world.send(kind, "other")
    await world.send(kind, "off")
    events = await reader.events(2)
    assert [(what, data[kind][kind]) for what, _, data in events] == [("insert", "on"), ("insert", "off")]
    assert all(position == data["position"] for _, position, data in events)
    reader.answering.cancel()
    again = Reader(world, world.caller(), kind, start, deviceId="lamp", names=["off"])
    events = await again.events(3)
    assert [(what, data.get(kind, {}).get(kind), data.get("live")) for what, _, data in events] == [
        ("bookmark", None, None),
        ("insert", "off", None),
        ("bookmark", None, True),
    ]
    again.answering.cancel()
    reset = Reader(world, world.caller(), kind, "another-5")
    events = await reset.events(4)
    assert [data.get("reset") for _, _, data in events] == [True, None, None, None]
    reset.answering.cancel()


async def test_an_event_stream_of_updates(world: World) -> None:
    """`returnUpdatedCommands` as in a poll."""
    reader = Reader(world, world.caller(), "command", deviceId="lamp", returnUpdatedCommands="True")
    await world.update(await world.order("on"), "done")
    _, (what, _, data) = await reader.events(2)
    assert (what, data["command"]["status"]) == ("update", "done")
    reader.answering.cancel()


async def test_what_an_event_stream_refuses(world: World) -> None:
    """As subscribing does, before the first event."""
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (AccessDenied, {"a": [Permission.GET_DEVICE]}),
        (NotFound, {"deviceId": "x"}),
        (NotAllowed, {"names": [""]}),
        (NotAllowed, {"n": []}),
        (InvalidParameters, {"networkIds": ["x"]}),
        (NotFound, {"networkIds": ["9"]}),
        (OutOfBounds, {"since": "x"}),
    ]
    for error, query in cases:
        claims = {name: query.pop(name) for name in ("a", "n") if name in query}
        for kind in KINDS:
            with pytest.raises(error):
                await Reader(world, world.caller(ADMIN, **claims), kind, **query).answering


async def test_an_event_stream_ends_with_its_user(world: World) -> None:
    """It tells so; a token cannot be renewed there."""
    reader = Reader(world, world.caller(ANN), "notification", deviceId="lamp")
    await reader.events(1)
    ann: UserContent = world.users.by_login("ann").content  # type: ignore[union-attr]
    await world.ledger.commit(world.users.write("ann", structs.replace(ann, status=Status.LOCKED_OUT), None))
    await reader.answering
    [(what, _, data)] = await reader.events(1)
    assert (what, data["code"]) == ("close", 401)


# Filters.


SIDES = st.frozensets(st.integers(1, 3), max_size=2) | st.none()
FILTERS = st.builds(
    Filter, SIDES, SIDES, st.frozensets(st.sampled_from("ab"), max_size=2) | st.none(), st.integers(1, 2) | st.none()
)


@given(FILTERS, FILTERS, test_following.MESSAGES)
def test_a_filter_covers_another_if_it_wants_all_of_its_messages(one: Filter, other: Filter, message: Message) -> None:
    """Both are of one subscription, so of a narrower one nothing is missing. Their keys say the same."""
    other = structs.replace(other, names=one.names, device=one.device)
    if one.covers(other):
        assert one.accepts(message) or not other.accepts(message)
    assert Keys(one, updated=False).covers(Keys(other, updated=False)) is one.covers(other)
    assert one.covers(one)
    assert Keys(one, updated=True).covers(Patterns(()))


# Against a list: whatever happens, each gets what it is promised.


class Follower:
    """A client that comes back again and again: what it has got since it began, or was reset."""

    def __init__(self, world: World, user: int, updated: bool, wanted: dict[str, Any]) -> None:
        self.world, self.user, self.updated = world, user, updated
        self.wanted = wanted | ({"returnUpdatedCommands": True} if updated else {})
        self.position: str | None = None
        self.got: list[tuple[int, str | None]] = []
        self.began = 0
        self.resets = 0
        self.peer: Peer | None = None

    async def connect(self) -> None:
        """Resume, or begin."""
        self.peer = self.world.peer(self.user)
        since = {} if self.position is None else {"since": self.position}
        self.peer.ask("command/subscribe", resumable=True, **since, **self.wanted)
        await asyncio.sleep(0)

    def read(self) -> None:
        """Take in what was sent so far, in order."""
        for frame in self.peer.taken() if self.peer is not None else ():
            if frame.get("reset") or frame.get("mode") == "reset":
                self.got, self.resets = [], self.resets + 1
            if "command" in frame:
                self.got.append((frame["command"]["id"], frame["command"]["status"]))
            if frame.get("position") is not None:
                known = 0 if self.position is None else place(self.position)
                assert frame.get("mode") == "reset" or place(frame["position"]) >= known, "never back without a reset"
                self.position = frame["position"]

    def drop(self) -> None:
        """The connection breaks; what was sent has arrived."""
        if self.peer is not None:
            self.read()
            self.peer.session.close()
            self.peer = None


def place(position: str) -> int:
    return int(position.partition("-")[2])


WANTED: list[dict[str, Any]] = [
    {"networkIds": [1, 2]},
    {"deviceId": "d1"},
    {"deviceId": "d2", "names": ["a"]},
    {"names": ["a", "b"]},
    {},
]
"""What clients follow; the first one the updates."""
WORDS = ("insert", "insert", "insert", "insert", "update", "break", "pause", "pause", "read", "expire", "wait")
STEPS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 59)), min_size=20, max_size=60)


@given(STEPS)
@settings(max_examples=30, deadline=None)
async def test_each_gets_every_matching_message_once_in_order_or_a_reset(steps: list[tuple[str, int]]) -> None:
    """For devices, networks, names and everything, inserts and updates, of commands: over broken connections, slow
    readers and messages that expire. After a reset it is everything that is kept."""
    with mock.patch.object(segment, "SEGMENT_MESSAGES", 3), mock.patch.object(tail, "RECENT_EVENTS", 4):
        world = World()
        await (await world.open()).fill()
        for device, network in (("d1", 1), ("d2", 2), ("d3", 3)):
            await world.register(device, network)
        events: list[tuple[str, str, int, str | None, bool]] = []
        commands: list[tuple[str, str, int]] = []
        followers = [Follower(world, ADMIN, wanted is WANTED[0], wanted) for wanted in WANTED]
        followers.append(Follower(world, ANN, False, {}))
        for each in followers:
            await each.connect()
        await world.quiet()
        for step, number in steps:
            follower = followers[number % len(followers)]
            if step == "insert":
                for _ in range(1 + number % 4):
                    device, name = f"d{number // 4 % 3 + 1}", "abc"[number // 12 % 3]
                    sent = await world.order(name, device)
                    commands.append((device, name, sent["id"]))
                    events.append((device, name, sent["id"], None, False))
            elif step == "update" and commands:
                device, name, sent_id = commands[-1 - number % len(commands)]
                if await world.messages.commands.get(record(world, device), sent_id) is not None:
                    await world.update({"id": sent_id}, f"s{len(events)}", device)
                    events.append((device, name, sent_id, f"s{len(events)}", True))
            elif step == "break":
                follower.drop()
                if number > 30:
                    await follower.connect()
            elif step == "pause" and follower.peer is not None:
                follower.peer.session.pause()
            elif step == "read" and follower.peer is not None:
                follower.read()
                follower.peer.read()
            elif step == "expire" and number < 30:
                await world.expire()
            elif step == "wait":
                await world.quiet()
        for each in followers:
            if each.peer is None:
                await each.connect()
            assert each.peer is not None
            each.peer.read()
        await world.quiet()
        for each in followers:
            each.read()
            mine = [event[2:4] for event in events if matches(each, event)]
            assert each.got == (mine[len(mine) - len(each.got) :] if each.resets else mine), (each.wanted, each.resets)
        await world.close()


def record(world: World, device: str) -> int:
    found = world.services.registry.device(device)
    assert found is not None
    return found.record_id


def matches(follower: Follower, event: tuple[str, str, int, str | None, bool]) -> bool:
    device, name, _, _, updated = event
    wanted, network = follower.wanted, int(device[1])
    return (
        updated == follower.updated
        and wanted.get("deviceId", device) == device
        and network in wanted.get("networkIds", [network])
        and name in wanted.get("names", [name])
        and (follower.user == ADMIN or network in (1, 3))
    )
