"""Several gateways on one ledger, one store of messages and one bus: what a device or its user sees of another one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.msgpack import encode
from structlog.testing import capture_logs

from hivewire.broadcast import FACT_BYTES
from hivewire.devices import neighbours
from hivewire.streams.broadcast import BroadcastLog
from hivewire.streams.message import ROOM, Message, pack, unpack
from hivewire_protocol.close import Code
from tests.rooms.neighbours import Site, settle
from tests.streams.test_engines import Told
from tests.world import NOW

# Who is online.


async def test_a_device_is_online_at_every_gateway(site: Site) -> None:
    """While it is at any of them, and some seconds longer; who follows devices at another one is told once."""
    mine, other = await site.gateway(), await site.gateway()
    told: list[int] = []
    other.services.presence.on_change.append(told.append)
    peer = mine.peer()
    number = await mine.follow(peer, deviceId="lamp")
    await settle()
    assert [await gateway.presence() for gateway in (mine, other)] == [(True, NOW)] * 2
    await other.follow(elsewhere := other.peer(), deviceId="lamp")
    await mine.answer(peer, "command/unsubscribe", subscriptionId=number)
    await settle()
    for gateway in (mine, other):
        gateway.linger()
    assert [await gateway.presence() for gateway in (mine, other)] == [(True, NOW)] * 2
    assert len(told) == 1
    elsewhere.session.close()
    await settle()
    for gateway in (mine, other):
        assert await gateway.presence() == (True, NOW), "a little longer"
        gateway.linger()
        assert await gateway.presence() == (False, NOW)
        assert gateway.online() == 0
    assert len(told) == 2


async def test_a_device_at_two_others_is_online_until_both_have_lost_it(site: Site) -> None:
    """And never counts as one of this gateway."""
    one, two, third = [await site.gateway() for _ in range(3)]
    peers = [gateway.peer() for gateway in (one, two)]
    for gateway, peer in zip((one, two), peers, strict=True):
        await gateway.follow(peer, deviceId="lamp")
    await settle()
    for peer, online in zip(peers, (True, False), strict=True):
        peer.session.close()
        await settle()
        third.linger()
        assert (await third.presence())[0] is online
        assert third.services.presence.local() == []


async def test_others_are_told_once_of_a_device_here_and_of_none_elsewhere(site: Site) -> None:
    """However many subscriptions it has; also when it is deleted here, but was elsewhere."""
    mine, other = await site.gateway(), await site.gateway()
    told: list[int] = []
    mine.services.presence.on_local = told.append
    device = mine.services.registry.device("lamp")
    assert device is not None
    one, two = mine.peer(), mine.peer()
    for peer in (one, two):
        await mine.follow(peer, deviceId="lamp")
    assert told == [device.record_id]
    for peer in (one, two):
        peer.session.close()
    assert told == [device.record_id, -device.record_id]
    await other.follow(other.peer(), deviceId="lamp")
    await settle()
    await mine.do("device/delete", deviceId="lamp")
    assert len(told) == 2


async def test_a_gateway_that_starts_later_hears_of_all(site: Site) -> None:
    """It asks when it hears the first beat."""
    mine = await site.gateway()
    await mine.follow(mine.peer(), deviceId="lamp")
    await settle()
    other = await site.gateway()
    assert await other.presence() == (False, None)
    await site.beat()
    assert await other.presence() == (True, NOW)
    assert await other.presence("door") == (False, None)


@pytest.mark.parametrize("part", [1, 100])
async def test_facts_that_were_lost_are_found_out(site: Site, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """By the number of the next one, or of a beat; also when a part of the answer is lost."""
    monkeypatch.setattr(neighbours, "PART", part)
    mine, other = await site.gateway(), await site.gateway()
    peer = mine.peer()
    lamp = await mine.follow(peer, deviceId="lamp")
    await settle()
    site.bus.lose = 2 if part == 1 else 1
    await mine.follow(peer, deviceId="door")
    await mine.answer(peer, "command/unsubscribe", subscriptionId=lamp)
    await settle()
    assert (await other.presence("door"))[0] == (part == 1 and site.bus.lose == 1)
    for _ in range(3):
        other.seconds += neighbours.ASK_SECONDS
        await site.beat()
    other.linger()
    assert (await other.presence("door"))[0]
    assert not (await other.presence("lamp"))[0]
    site.bus.lose = 2  # what it says next, and a beat
    await mine.follow(peer, deviceId="lamp")
    await settle()
    site.bus.lose = 1
    mine.neighbours.beat()
    other.neighbours.beat()
    await settle()
    other.seconds += neighbours.ASK_SECONDS
    await site.beat()
    assert (await other.presence("lamp"))[0]


async def test_the_devices_of_a_gateway_that_was_killed_go_offline(site: Site) -> None:
    """Ten seconds after nothing was heard of it, and the seconds that every device has. One line tells the loss."""
    mine, other = await site.gateway(), await site.gateway()
    online = other.services.notes.online
    online._seconds = lambda: other.seconds
    mine.services.notes.online.beat()
    await mine.follow(mine.peer(), deviceId="lamp")
    await site.beat()
    assert await other.presence() == (True, NOW)
    assert other.neighbours.gauges()["gateways"][1]() == len(online.names) == 1
    mine.end.leave()
    other.seconds += 10
    other.neighbours.beat()
    await settle()
    other.linger()
    assert await other.presence() == (True, NOW)
    other.seconds += 0.1
    with capture_logs() as lines:
        for each in (other.neighbours, online):
            each.beat()
    assert online.names == []
    assert lines == [{"event": "another gateway has gone", "other": mine.end.name, "log_level": "warning"}]
    await settle()
    assert await other.presence() == (True, NOW)
    other.linger()
    assert await other.presence() == (False, NOW)
    assert other.neighbours.gauges()["gateways"][1]() == 0


async def test_devices_elsewhere_come_and_go_in_portions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that come at once do not hold up the event loop, nor do they make a fact too large."""
    monkeypatch.setattr(neighbours, "AT_ONCE", 2)
    mine = await site.gateway()
    mine.neighbours._move(neighbours.Neighbour(), [1, 2, 3, 4, 5])
    left = []
    while mine.neighbours._moves:
        mine.neighbours._move_some()
        left.append(len(mine.neighbours._moves))
    assert left == [3, 1, 0]
    mine.neighbours._move(neighbours.Neighbour(), [*range(6, 15)])
    await settle()
    assert not mine.neighbours._moves, "by themselves"
    everybody = neighbours.All(1 << 62, 1 << 62, [1 << 62] * neighbours.PART)
    assert len(encode(everybody)) <= FACT_BYTES


async def test_only_all_parts_of_one_answer_say_which_devices_there_are(site: Site) -> None:
    """Not those of an earlier answer, of one that nobody here asked for, or from before what was told since."""
    mine, other = await site.gateway(), await site.gateway()

    def hear(*facts: neighbours.Fact) -> set[int]:
        for fact in facts:
            mine.neighbours._hear(other.end.name, fact)
        return mine.neighbours._neighbours[other.end.name].ids

    assert hear(neighbours.Moved(1, [1])) == {1}
    assert mine.neighbours.problem is None, "its clock is not known yet"
    assert hear(neighbours.All(5, 1, [2])) == {1}
    assert hear(neighbours.Beat(5, NOW), neighbours.All(5, 2, [2]), neighbours.All(6, 2, [3])) == {1}
    assert hear(neighbours.All(6, 2, [4])) == {3, 4}
    mine.seconds += 1
    assert hear(neighbours.Beat(9, NOW), neighbours.Moved(7, [5]), neighbours.All(6, 1, [4])) == {3, 4, 5}


async def test_a_gateway_that_does_not_answer_is_asked_once_a_second(site: Site) -> None:
    """However many beats and facts say that something was missed."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.follow(mine.peer(), deviceId="lamp")
    await settle()
    site.bus.lose = 99
    await mine.follow(mine.peer(), deviceId="door")
    await settle()
    asked: list[str] = []
    facts = other.neighbours._facts
    tell = facts.tell

    def noted(fact: Any) -> None:
        asked.extend(fact.name for fact in [fact] if isinstance(fact, neighbours.Ask))
        tell(fact)

    facts.tell = noted  # type: ignore[method-assign]
    other.neighbours._hear(mine.end.name, neighbours.Moved(6, []))
    assert asked == [mine.end.name], "behind a gap at once"
    for seconds in (0.0, 0.9, 0.1):
        other.seconds += seconds
        for number in (7, 8):
            other.neighbours._hear(mine.end.name, neighbours.Beat(number, NOW))
    assert asked == [mine.end.name] * 2


async def test_a_gateway_that_stops_says_so(site: Site) -> None:
    """Its devices have the usual seconds to come to another one."""
    mine, other = await site.gateway(), await site.gateway()
    await mine.follow(mine.peer(), deviceId="lamp")
    await settle()
    await mine.neighbours.close()
    await settle()
    assert await other.presence() == (True, NOW)
    other.linger()
    assert await other.presence() == (False, NOW)


async def test_a_deleted_device_is_forgotten_everywhere(site: Site) -> None:
    """Whoever deletes it, and whatever is told of it then."""
    mine, other = await site.gateway(), await site.gateway()
    peer = mine.peer()
    await mine.follow(peer, deviceId="lamp")
    await mine.follow(peer, deviceId="door")
    await settle()
    assert other.online() == 2
    await other.do("device/delete", deviceId="lamp")
    await settle()
    [neighbour] = other.neighbours._neighbours.values()
    assert len(neighbour.ids) == 1, "what is deleted is not kept there for ever"
    peer.session.close()
    await settle()
    for gateway in (mine, other):
        gateway.linger()
        assert gateway.online() == 0
    assert mine.services.presence.local() == []


async def test_what_another_version_tells_is_passed_over(site: Site) -> None:
    """It is reported, and the gateway goes on."""
    mine, other = await site.gateway(), await site.gateway()
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    mine.end.tell("presence", b"\x93")
    await mine.follow(mine.peer(), deviceId="lamp")
    await settle()
    assert reported == ["a fact of another gateway was not understood"]
    assert (await other.presence())[0]


async def test_clocks_that_differ_are_noticed(site: Site) -> None:
    """The gateway whose clock differs from those of most others says that nothing should be written there."""
    gateways = [await site.gateway() for _ in range(3)]
    gateways[2].clock.time += 501
    await site.beat()
    problems = [gateway.neighbours.problem for gateway in gateways]
    assert problems[:2] == [None, None]
    assert problems[2] == "the clock is 501 ms ahead of that of another gateway; set both by NTP"
    gateways[2].clock.time -= 1_002
    for _ in range(neighbours.BEATS):
        await site.beat()
    assert "501 ms behind" in str(gateways[2].neighbours.problem)
    gateways[2].clock.time += 501
    for _ in range(neighbours.BEATS):
        await site.beat()
    assert gateways[2].neighbours.problem is None


async def test_beats_that_were_under_way_for_long_say_nothing_of_clocks(site: Site) -> None:
    """The quickest of the last five counts."""
    mine, other = await site.gateway(), await site.gateway()
    mine.neighbours._hear(other.end.name, neighbours.Beat(0, NOW))
    for problem in (None, None, None, None, "the clock is 600 ms ahead of that of another gateway; set both by NTP"):
        mine.neighbours._hear(other.end.name, neighbours.Beat(0, NOW - 600))
        assert mine.neighbours.problem == problem


# Messages.


async def test_messages_reach_who_follows_or_waits_at_another_gateway(site: Site) -> None:
    """Pushes, polls, and the update of a command, for whoever inserted it."""
    mine, other = await site.gateway(), await site.gateway()
    device, person = other.peer(), mine.peer()
    await other.follow(device, deviceId="lamp")
    await mine.follow(person, deviceId="lamp", returnUpdatedCommands=True)
    poll = other.waiting("command/poll", deviceId="lamp")
    await other.until_waiting(1)
    sent = await mine.order("on")
    await other.quiet()
    assert [frame["command"]["id"] for frame in device.frames] == [sent["id"]]
    assert [command["id"] for command in await poll] == [sent["id"]]
    wait = mine.waiting("command/wait", deviceId="lamp", commandId=sent["id"])
    await mine.until_waiting(1)
    await other.do("command/update", deviceId="lamp", commandId=sent["id"], command={"status": "done"})
    await mine.quiet()
    assert (await wait)["status"] == "done"
    assert [frame["command"]["status"] for frame in person.frames] == ["done"]


async def test_a_subscription_resumes_at_another_gateway(site: Site) -> None:
    """By the position of its last push; it gets every message once and in order."""
    mine, other = await site.gateway(), await site.gateway()
    peer = mine.peer()
    await mine.follow(peer, deviceId="lamp", resumable=True)
    names = ["one", "two", "three", "four"]
    for number, name in enumerate(names[:2]):
        await (mine, other)[number].order(name)
    await settle()
    await mine.quiet()
    got = [frame for frame in peer.frames if "command" in frame]
    peer.session.close()
    for number, name in enumerate(names[2:]):
        await (mine, other)[number].order(name)
    again = other.peer()
    reply = await other.answer(again, "command/subscribe", deviceId="lamp", since=got[0]["position"])
    assert reply["mode"] == "resumed"
    await other.quiet()
    got[1:] = [frame for frame in again.frames if "command" in frame]
    assert [frame["command"]["command"] for frame in got] == names
    assert len({frame.get("position", number) for number, frame in enumerate(got)}) == len(got)


async def test_a_position_ahead_of_this_gateway_is_waited_for(site: Site) -> None:
    """It has not heard of the last messages yet: it asks before it says that the position is not its own."""
    mine, other = await site.gateway(), await site.gateway()
    peer = mine.peer()
    await mine.follow(peer, deviceId="lamp", resumable=True)
    other.feed.lose = 1
    await mine.order("one")
    await mine.quiet()
    position = peer.frames[-1]["position"]
    again = other.peer()
    reply: dict[str, Any] = await other.answer(again, "command/subscribe", deviceId="lamp", since=position)
    assert (reply["mode"], again.frames) == ("resumed", [])


async def test_who_follows_is_told_that_messages_were_lost(site: Site) -> None:
    """When a gateway was away until its next messages had expired. Those without positions lose their connection."""
    mine, other = await site.gateway(), await site.gateway()
    peer, plain = other.peer(), other.peer()
    await other.follow(peer, deviceId="lamp", resumable=True)
    await other.follow(plain, deviceId="lamp")
    await mine.order("one")
    await other.quiet()
    other.feed.lose = 1
    await mine.order("two")
    other.feed._tip = 2
    other.messages.commands._writer.dropped(3)
    await other.quiet()
    await mine.order("three")
    await other.quiet()
    pushed = [(frame["action"], frame.get("reset", False)) for frame in peer.frames]
    assert pushed == [("command/insert", False), ("command/bookmark", True), ("command/insert", False)]
    assert plain.closed is Code.SLOW_CONSUMER


async def test_messages_in_memory_are_told(site: Site) -> None:
    """At most once: what is lost on the way is missing there. Every gateway has an order and an epoch of its own."""
    mine, other = BroadcastLog(site.bus.end(), "commands"), BroadcastLog(site.bus.end(), "commands")
    first, second = Told(), Told()
    for log, follower in ((mine, first), (other, second)):
        await log.load()
        await log.follow(follower)
    messages = [message(index, body) for index, body in enumerate([b"a", bytes(FACT_BYTES), b"c", b"d"])]
    assert await mine.append(1, pack(messages))
    assert not await mine.append(1, pack(messages)), "it has a number of its own"
    await settle()
    found = [each for _, entry in second.entries for each in unpack(entry)]
    assert [each.body for each in found] == [each.body for each in messages]
    places = [number * ROOM + index for number, entry in second.entries for index in range(len(unpack(entry)))]
    assert [each.place for each in found] == places
    assert mine.epoch != other.epoch
    site.bus.lose = 1
    assert await mine.append(2, pack([message(0, b"lost")]))
    assert await other.append(len(second.entries) + 1, pack([message(0, b"theirs")]))
    await settle()
    assert [unpack(entry)[0].body for _, entry in first.entries[1:]] == [b"lost", b"theirs"]
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    site.bus.ends[0].tell("commands", b"\x93")
    await settle()
    assert reported == ["a fact of another gateway was not understood"]


def message(index: int, body: bytes) -> Message:
    return Message(ROOM + index, 1, 1, 1, 1, 1, "lamp", 1, 1, "on", 1, body)
