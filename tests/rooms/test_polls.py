"""Polls over a store in memory: every text, bound and default of devices, sections 2.8, 2.9 and 3.7, and of its
addendum; who gets a message first, and what ends the waiting."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from hivewire import slices
from hivewire.access.users import UserContent
from hivewire.actions import listing
from hivewire.actions import poll as polling
from hivewire.actions.poll import ELEMENT_BYTES
from hivewire.caller import Caller
from hivewire.devices.index import DeviceContent
from hivewire.ledger.records import Transaction, Write
from hivewire.polls import FREE, KEYS, READS, WIDER, Waiter, wanted_by
from hivewire.streams import reader
from hivewire.streams.filters import Filter, keys_of
from hivewire.streams.message import Message
from hivewire_protocol.catalogue import HTTP_ONLY
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotFound,
    TokenRevoked,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.user import Status
from tests.rooms.test_device_messages import Messages
from tests.rooms.test_devices import ANN, BEN, DENIED, EVE, NOT_FOUND
from tests.world import HOUR

POLLS = ("command/poll", "command/pollMany", "command/wait", "notification/poll", "notification/pollMany")


class World(Messages):
    """With polls, which come over HTTP."""

    async def poll(self, action: str, caller: Caller | None = None, **members: Any) -> Any:
        """What a poll answers, None for nothing."""
        caller = caller or self.admin
        caller.http = True
        request = build(HTTP_ONLY[action], decode_members(msgspec.json.encode(members)))
        reply = await self.dispatcher.carry_out(caller, request)
        found = msgspec.json.decode(b"{%b}" % reply.members())
        return next(iter(found.values()), None)

    def waiting(self, action: str, caller: Caller | None = None, **members: Any) -> asyncio.Task[Any]:
        """A poll that waits."""
        return asyncio.create_task(self.poll(action, caller, **members))

    async def until_waiting(self, most: int = 1) -> None:
        """Until so many polls wait, and have read what is stored."""
        while self.count() < most:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)

    def count(self) -> float:
        """How many polls wait."""
        return self.services.polls.gauges()["polls"][1]()

    async def no(self, action: str, caller: Caller | None = None, **members: Any) -> tuple[type[WireError], str]:
        """The error of a poll: what it is, and its text."""
        with pytest.raises(WireError) as raised:
            await self.poll(action, caller, **members)
        return type(raised.value), str(raised.value)

    async def save(self, device_id: str, network: int = 1, type_: int = 3) -> None:
        """Write a device, without a notification of it."""
        content = msgspec.json.encode(DeviceContent(name=device_id, network=network, type=type_))
        await self.ledger.commit(Transaction([Write("device", device_id, content)]))

    async def update(self, number: int, **fields: Any) -> None:
        """Update a command of `lamp`."""
        await self.do("command/update", deviceId="lamp", commandId=number, command=fields)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One with the device `lamp` in network 1, of type 3, and `door` in network 2, of type 2."""
    world = World()
    await (await world.open()).fill()
    await world.save("lamp")
    await world.save("door", 2, 2)
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    yield world
    assert not errors
    assert world.count() == 0
    world.services.polls.drain()
    assert not world.services.polls.commands._by_key
    assert not world.services.polls.notifications._by_key
    await world.close()


def names(found: Any) -> list[str]:
    """The names of commands or notifications."""
    return [each.get("command") or each["notification"] for each in found]


NETWORKS, TYPES, NAMES = (frozenset(range(1, 66)), frozenset(range(1, 66)), frozenset(map(str, range(65))))


@pytest.mark.parametrize(
    ("wanted", "count", "every"),
    [
        (Filter(frozenset({1, 2}), frozenset({3}), frozenset({"a", "b"})), 4, False),
        (Filter(frozenset(range(5)), frozenset(range(4))), 4, False),
        (Filter(frozenset(range(5)), None, frozenset("abcd")), 4, False),
        (Filter(frozenset(range(20)), TYPES, NAMES), 20, False),
        (Filter(NETWORKS, TYPES, frozenset(map(str, range(64)))), 64, False),
        (Filter(frozenset({1}), frozenset({3}), NAMES, 7), 1, False),
        (Filter(NETWORKS, TYPES, NAMES), 1, True),
        (Filter(NETWORKS), 1, True),
        (Filter(), 1, True),
    ],
)
def test_who_waits_is_found_by_few_keys(wanted: Filter, count: int, every: bool) -> None:
    """Also who waits for messages of many networks, types and names: by the fewest of these, so that it is not tested
    with every message."""
    keys = wanted_by(wanted, updated=False, orders=True).keys
    assert len(keys) == count
    for network, type_, name, device in ((1, 3, "a", 7), (1, 3, "3", 7), (99, 3, "3", 7), (1, 99, "3", 7)):
        message = Message(1, 1, 1, 1, 1, device, "x", network, type_, name, 1, b"{}")
        found = {*keys} & {*keys_of(message)}
        assert len(found) == 1 if wanted.accepts(message) else len(found) <= 1
    assert ("inserted:" in keys) is every


# What is stored.


async def test_others_are_served_while_a_long_answer_is_put_together(
    world: World, steps_of: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two messages, where they are sorted, cut off, and looked at once more."""
    monkeypatch.setattr(slices, "RUN", 4)
    sent = [await world.order("on") for _ in range(10)]
    for command in sent:
        await world.update(command["id"], status="done")
    steps = steps_of(reader, listing, polling)
    sorting, kept, looked_at = 10 + 3 + 10, 10, 10
    await world.poll("command/poll", deviceId="lamp", timestamp=1, limit=0)
    assert steps == [sorting + kept, looked_at]
    steps.clear()
    await world.poll("command/poll", deviceId="lamp", timestamp=1, limit=0, returnUpdatedCommands=True)
    assert steps == [sorting + kept, looked_at, sorting]


async def test_a_poll_returns_what_is_stored_after_a_time(world: World) -> None:
    """Whole messages, oldest first; a time is exclusive, so that a client goes on from its last message. Without a
    time nothing stored is returned."""
    first = await world.order("on")
    await world.order("off")
    found = await world.poll("command/poll", deviceId="lamp", timestamp="2020-01-01")
    assert names(found) == ["on", "off"]
    assert list(found[0]) == list((await world.do("command/get", deviceId="lamp", commandId=first["id"]))["command"])
    later = await world.poll("command/poll", deviceId="lamp", timestamp=first["timestamp"])
    assert names(later) == ["off"]
    assert await world.poll("command/poll", deviceId="lamp", waitTimeout=0) == []
    assert await world.poll("command/poll", deviceId="lamp", timestamp="", waitTimeout=0) == []
    assert await world.no("command/poll", deviceId="lamp", timestamp="x") == (
        InvalidParameters,
        "Unparseable timestamp",
    )


@pytest.mark.parametrize("what", ["command", "notification"])
async def test_the_stored_part_is_limited(world: World, what: str) -> None:
    """100 by default, the oldest. For commands another limit may be asked for, with 0 for none; for notifications that
    is ignored."""
    tell = world.order if what == "command" else world.tell
    for number in range(102):
        await tell(str(number))
    ask: dict[str, Any] = {"deviceId": "lamp", "timestamp": 1}
    for limit, many in ((None, 100), (0, 102), (3, 3)):
        for action in (f"{what}/poll", f"{what}/pollMany"):
            found = await world.poll(action, **ask, limit=limit)
            expected = many if what == "command" else 100
            assert names(found) == [str(number) for number in range(expected)]
    if what == "command":
        assert await world.no("command/poll", **ask, limit=-1) == (InvalidParameters, "Limit can't be less than 0.")


async def test_only_the_per_device_poll_returns_updates(world: World) -> None:
    """Commands that were updated after a time, in the order of updates. The other one ignores what is asked."""
    numbers = [(await world.order(name))["id"] for name in ("a", "b", "c")]
    before = (await world.do("command/get", deviceId="lamp", commandId=numbers[2]))["command"]["timestamp"]
    for number in (numbers[1], numbers[0]):
        await world.update(number, status="done")
    ask = {"deviceId": "lamp", "timestamp": before, "returnUpdatedCommands": "True"}
    found = await world.poll("command/poll", **ask)
    assert names(found) == ["b", "a"]
    assert names(await world.poll("command/poll", **ask, limit=1)) == ["b"]
    assert await world.poll("command/poll", **ask | {"timestamp": found[1]["lastUpdated"]}, waitTimeout=0) == []
    assert await world.poll("command/pollMany", **ask, waitTimeout=0) == []
    assert names(await world.poll("command/pollMany", **ask | {"timestamp": 1})) == ["a", "b", "c"]


async def test_a_poll_of_many_devices_is_narrowed_by_networks_types_and_names(world: World) -> None:
    """Lists come with commas, as repeated parameters, or both. One device may be named, and then is all there is."""
    for device in ("lamp", "door"):
        for name in ("on", "off"):
            await world.order(name, device)

    async def found(**asked: Any) -> list[str]:
        answer = await world.poll("command/pollMany", timestamp=1, waitTimeout=0, **asked)
        return [f"{each['deviceId']} {each['command']}" for each in answer]

    everything = ["lamp on", "lamp off", "door on", "door off"]
    assert sorted(await found(networkIds=["1,2"])) == sorted(everything)
    assert sorted(await found(networkIds=["1", "2"])) == sorted(everything)
    assert await found(networkIds=["1"]) == everything[:2]
    assert await found(deviceTypeIds=["2"]) == everything[2:]
    assert await found(networkIds=["1"], deviceTypeIds=["2"]) == []
    assert await found(networkIds=["1,2", "3"], names=["on,x", "y"]) == ["lamp on", "door on"]
    assert await found(deviceId="door") == everything[2:]
    assert await found(deviceId="door", networkIds=["1"], names=["off"]) == ["door off"]
    assert await found(deviceId="door", names=[""]) == []
    assert await found(networkIds=["1"], names=[""]) == everything[:2]
    assert await found(networkIds=[","], deviceTypeIds=["2"]) == everything[2:]
    assert await found() == [], "of all devices together nothing stored is returned"


# Who may poll, and bounds.


async def test_who_may_poll(world: World) -> None:
    """Rights come first, then what does not exist, then the bounds; a client is never told that a device or network
    does not exist."""
    missing: dict[str, Any] = {"deviceId": "gone"}
    for action in POLLS:
        ask: dict[str, Any] = {"commandId": 1} if action == "command/wait" else {}
        denied = (await world.no(action, world.caller(ANN, [2]), **missing, waitTimeout=-1))[0]
        assert denied is AccessDenied
        error, text = await world.no(action, **missing, **ask, waitTimeout=-1)
        assert (error, text) == (NotFound, "Device with such deviceId = gone not found")
        for caller in (world.caller(ANN), world.caller(n=["1"]), world.caller(n=None)):
            assert (await world.no(action, caller, **missing, **ask))[0] is AccessDenied
        assert await world.no(action, world.caller(BEN), deviceId="lamp", **ask) == DENIED
        for seconds, text in ((61, "more than 60"), (-1, "less than 0")):
            expected = InvalidParameters, f"Timeout can't be {text} seconds. "
            assert await world.no(action, deviceId="lamp", **ask, waitTimeout=seconds) == expected
    nameless = await world.no("command/wait", deviceId="lamp")
    assert nameless == (InvalidParameters, "Command id is wrong or empty")
    for action in ("command/pollMany", "notification/pollMany"):
        assert await world.no(action, networkIds=["1,x"]) == (InvalidParameters, InvalidParameters.text)
        assert await world.no(action, networkIds=["1,9"]) == (
            NotFound,
            "Networks with such networkIds wasn't found: {[1, 9]}",
        )
        assert await world.no(action, deviceTypeIds=["9"]) == (
            NotFound,
            "Device types with such deviceTypeIds wasn't found: {[9]}",
        )
        assert (await world.no(action, world.caller(ANN), networkIds=["2"]))[0] is AccessDenied
        assert await world.poll(action, world.caller(EVE), waitTimeout=0) == [], "a user of no network may ask"
        assert await world.poll(action, world.caller(n=None)) == []
        assert await world.poll(action, deviceId="lamp", names=[""]) == []


async def test_a_poll_returns_nothing_of_a_deleted_device(world: World) -> None:
    """What is stored of it has gone with it."""
    await world.order("on")
    await world.order("on", "door")
    await world.do("device/delete", deviceId="door")
    found = await world.poll("command/pollMany", networkIds=["1,2"], timestamp=1)
    assert [each["deviceId"] for each in found] == ["lamp"]


# Waiting.


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        ("poll", {"deviceId": "lamp"}),
        ("poll", {"deviceId": "lamp", "names": ["x,on"]}),
        ("pollMany", {}),
        ("pollMany", {"names": ["on"]}),
        ("pollMany", {"deviceId": "lamp"}),
        ("pollMany", {"networkIds": ["1"]}),
        ("pollMany", {"deviceTypeIds": ["3"]}),
        ("pollMany", {"networkIds": ["1,2,3"], "deviceTypeIds": ["1,2,3"], "names": ["on,a,b,c,d,e,f"]}),
    ],
)
@pytest.mark.parametrize("what", ["command", "notification"])
async def test_a_waiting_poll_gets_the_first_message_that_matches(
    world: World, what: str, action: str, asked: Any
) -> None:
    """One element, also when several come together, and also with a time of its own in the past."""
    tell = world.order if what == "command" else world.tell
    poll = world.waiting(f"{what}/{action}", **asked)
    await world.until_waiting()
    if asked:
        await tell("off", "door")
        assert not poll.done()
    await asyncio.gather(tell("on", timestamp=1_000), tell("on"))
    [found] = await poll
    assert (found[what], found["deviceId"], found["timestamp"]) == ("on", "lamp", "1970-01-01T00:00:01.000")


@pytest.mark.parametrize("others", [0, KEYS])
async def test_a_poll_for_updates_waits_for_the_next_one(world: World, others: int) -> None:
    """A new command is none, and an update is no new command, however many names it asks for."""
    wanted = ["on", *map(str, range(others))]
    updates = world.waiting("command/poll", deviceId="lamp", names=wanted, returnUpdatedCommands=True)
    await world.until_waiting()
    number = (await world.order("on"))["id"]
    inserts = world.waiting("command/poll", deviceId="lamp")
    await world.until_waiting(2)
    assert not updates.done()
    await world.update(number, status="done")
    [found] = await updates
    assert (found["id"], found["status"]) == (number, "done")
    assert not inserts.done()
    await world.order("off")
    assert names(await inserts) == ["off"]


async def test_no_message_falls_between_reading_and_waiting(world: World) -> None:
    """A poll waits before it reads what is stored: one that is inserted meanwhile is returned, once."""
    last = "2026-01-01"
    for turn in range(12):
        poll = world.waiting("command/poll", deviceId="lamp", timestamp=last)
        for _ in range(turn):
            await asyncio.sleep(0)
        last = (await world.order(str(turn)))["timestamp"]
        assert names(await poll) == [str(turn)]


@pytest.mark.parametrize("what", ["insert", "delete", "gone"])
async def test_what_comes_after_the_read_is_not_lost(world: World, what: str) -> None:
    """What is stored was read, and the poll does not know it yet: it gets what is inserted then, or ends with its
    device, or with its connection."""
    log = world.services.messages.commands
    replay, was_read, go = log.replay, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **named: Any) -> Any:
        found = await replay(*arguments, **named)
        was_read.set()
        await go.wait()
        return found

    log.replay = slow  # type: ignore[method-assign]
    caller, gone = world.caller(), list[Any]()
    caller.when_gone = gone.append
    poll = world.waiting("command/poll", caller, deviceId="lamp", timestamp="2026-01-01")
    await was_read.wait()
    if what == "gone":
        gone[0]()
    else:
        await (world.do("device/delete", deviceId="lamp") if what == "delete" else world.order("on"))
    await asyncio.sleep(0)  # the poll is told
    go.set()
    if what == "delete":
        with pytest.raises(NotFound):
            await poll
    else:
        assert names(await poll) == (["on"] if what == "insert" else [])


async def test_a_commit_is_looked_through_once_for_each_filter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands may wait with one filter, and a commit may have a thousand messages."""
    looks: list[Filter] = []
    accepts = Filter.accepts

    def counted(self: Filter, message: Message) -> bool:
        looks.append(self)
        return accepts(self, message)

    many = [",".join(f"n{number}" for number in range(WIDER + 1))]
    polls = [world.waiting("notification/pollMany", names=many) for _ in range(5)]
    polls += [world.waiting("notification/pollMany") for _ in range(5)]
    await world.until_waiting(10)
    monkeypatch.setattr(Filter, "accepts", counted)
    announced: list[int] = []
    world.services.messages.notifications.observe(lambda messages: announced.append(len(looks)))
    await asyncio.gather(*[world.tell(name) for name in ("a", "b", "c", "n1", "d")])
    assert [names(await poll) for poll in polls] == [["n1"]] * 5 + [["a"]] * 5
    assert announced == [len(["a", "b", "c", "n1"]) + len(["a"])]


async def test_many_messages_are_not_tested_with_each_of_many_filters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand may come at once while thousands wait, each with a long list of names of its own."""
    lists = [[",".join(f"{poll}.{number}" for number in range(WIDER + 1))] for poll in range(5)]
    polls = [world.waiting("notification/pollMany", networkIds=["1"], names=each) for each in lists]
    await world.until_waiting(5)
    looks: list[Filter] = []
    accepts = Filter.accepts
    monkeypatch.setattr(Filter, "accepts", lambda self, message: looks.append(self) or accepts(self, message))
    announced: list[int] = []
    world.services.messages.notifications.observe(lambda messages: announced.append(len(looks)))
    await asyncio.gather(*[world.tell(f"other-{number}") for number in range(20)])
    assert announced == [0]
    await asyncio.gather(*[world.tell(f"{number % 5}.{number}") for number in range(20)])
    assert [names(await poll) for poll in polls] == [[f"{poll}.{poll}"] for poll in range(5)]


async def test_the_first_message_of_a_commit_is_given_whatever_its_key(world: World) -> None:
    """A poll of many names waits with a key for each network, and what comes first may not be wanted."""
    many = [",".join(f"n{number}" for number in range(KEYS))]
    poll = world.waiting("notification/pollMany", networkIds=["1,2"], names=many)
    await world.until_waiting()
    await asyncio.gather(world.tell("other"), world.tell("n1", "door"), world.tell("n2"))
    assert names(await poll) == ["n1"]


@pytest.mark.parametrize("updated", [False, True])
async def test_a_few_polls_read_at_a_time(world: World, updated: bool) -> None:
    """What they read is held in memory."""
    reading = world.count_readers()
    asked = {"deviceId": "lamp", "timestamp": "2026-01-01", "waitTimeout": 0, "returnUpdatedCommands": updated}
    await asyncio.gather(*[world.poll("command/poll", world.caller(), **asked) for _ in range(3 * READS)])
    assert max(reading) == READS


async def test_nothing_waits_without_a_time_to_wait(world: World) -> None:
    """`waitTimeout=0` answers at once, and is never among those that wait."""
    added: list[object] = []
    world.services.polls.commands.add = added.append  # type: ignore[method-assign,assignment]
    assert await world.poll("command/poll", deviceId="lamp", waitTimeout=0) == []
    assert await world.poll("command/wait", deviceId="lamp", commandId=1, waitTimeout=0) is None
    assert not added


async def test_a_poll_ends_when_its_time_is_up(world: World) -> None:
    """With an empty list, or nothing for one command."""
    loop = asyncio.get_running_loop()
    timers: list[tuple[float, Callable[..., object], Any]] = []
    later = loop.call_later
    number = (await world.order("on"))["id"]

    def call_later(seconds: float, call: Callable[..., object], *arguments: Any, **named: Any) -> Any:
        timers.append((seconds, call, arguments))
        return later(seconds, call, *arguments, **named)

    loop.call_later = call_later  # type: ignore[assignment]
    try:
        polls = [world.waiting("notification/pollMany"), world.waiting("command/poll", deviceId="lamp", waitTimeout=60)]
        polls.append(world.waiting("command/wait", deviceId="lamp", commandId=number, waitTimeout=7))
        await world.until_waiting(3)
    finally:
        loop.call_later = later  # type: ignore[method-assign]
    assert [seconds for seconds, _, _ in timers] == [30, 60, 7]
    for _, call, arguments in timers:
        call(*arguments)
    assert [await poll for poll in polls] == [[], [], None]


async def test_one_command_is_waited_for(world: World) -> None:
    """At once when it was updated already, or is unknown; else its next update, wherever its device is by then."""
    numbers = [(await world.order(name))["id"] for name in ("on", "off")]
    ask = {"deviceId": "lamp", "commandId": numbers[0]}
    assert await world.poll("command/wait", deviceId="lamp", commandId=1) is None
    assert await world.poll("command/wait", deviceId="door", commandId=numbers[0]) is None
    poll = world.waiting("command/wait", **ask, names=["x"])
    await world.until_waiting()
    await world.update(numbers[1], status="done")
    await world.save("lamp", 2, 2)
    await world.until_waiting()
    assert not poll.done()
    await world.update(numbers[0], status="done")
    found = await poll
    assert (found["id"], found["status"]) == (numbers[0], "done")
    assert await world.poll("command/wait", **ask) == found
    assert await world.poll("command/wait", **ask, waitTimeout=0) == found


async def test_a_command_that_is_over_is_not_polled(world: World) -> None:
    """Neither itself nor its update; an update that comes now is waited for."""
    sent = [await world.order(name, expiresIn=seconds) for name, seconds in (("a", 5), ("b", None))]
    await world.update(sent[0]["id"], status="done")
    ask: dict[str, Any] = {"deviceId": "lamp", "timestamp": 0, "waitTimeout": 0}
    wait = {"deviceId": "lamp", "commandId": sent[0]["id"]}
    assert names(await world.poll("command/poll", **ask)) == ["a", "b"]
    assert (await world.poll("command/wait", **wait))["status"] == "done"
    world.clock.time += 6_000
    assert names(await world.poll("command/poll", **ask)) == ["b"]
    assert names(await world.poll("command/poll", **ask, returnUpdatedCommands=True)) == []
    assert names(await world.poll("command/pollMany", deviceId="lamp", timestamp=0, waitTimeout=0)) == ["b"]
    assert await world.poll("command/wait", **wait, waitTimeout=0) is None
    poll = world.waiting("command/wait", **wait)
    await world.until_waiting()
    await world.update(sent[0]["id"], status="late")
    assert (await poll)["status"] == "late"


# What ends the waiting.


async def test_a_poll_ends_with_its_device(world: World) -> None:
    """With the error that it would get now; others go on."""
    number = (await world.order("on"))["id"]
    polls = [
        world.waiting("command/poll", deviceId="lamp"),
        world.waiting("command/wait", deviceId="lamp", commandId=number),
        world.waiting("notification/pollMany", deviceId="lamp"),
    ]
    other = world.waiting("command/poll", deviceId="door")
    await world.until_waiting(4)
    await world.do("device/delete", deviceId="lamp")
    for poll in polls:
        with pytest.raises(NotFound) as raised:
            await poll
        assert (type(raised.value), str(raised.value)) == NOT_FOUND
    await world.order("open", "door")
    assert names(await other) == ["open"]


async def test_a_poll_ends_with_its_device_type(world: World) -> None:
    """As with its network."""
    by_type = world.waiting("command/pollMany", deviceTypeIds=["2"])
    other = world.waiting("command/poll", deviceId="lamp")
    await world.until_waiting(2)
    await world.drop("deviceType", 2)
    with pytest.raises(NotFound):
        await by_type
    await world.order("on")
    assert names(await other) == ["on"]


async def test_a_poll_ends_with_its_network(world: World) -> None:
    """Whether it names the network or a device in it; others go on."""
    by_network = world.waiting("command/pollMany", networkIds=["1"])
    by_device = world.waiting("command/poll", world.caller(ANN), deviceId="lamp")
    other = world.waiting("command/poll", deviceId="door")
    await world.until_waiting(3)
    await world.drop("network", 1)
    with pytest.raises(NotFound):
        await by_network
    with pytest.raises(AccessDenied):
        await by_device
    await world.order("open", "door")
    assert names(await other) == ["open"]


@pytest.mark.parametrize(("network", "type_"), [(2, 2), (2, 3), (1, 2)])
async def test_a_device_that_moves_is_polled_where_it_is(world: World, network: int, type_: int) -> None:
    """As long as the caller reaches it there."""
    admins = world.waiting("command/poll", deviceId="lamp")
    anns = world.waiting("command/poll", world.caller(ANN), deviceId="lamp")
    await world.until_waiting(2)
    await world.save("lamp", network, type_)
    if network == 2:
        with pytest.raises(AccessDenied):
            await anns
    await world.order("on")
    assert names(await admins) == ["on"]
    if network == 1:
        assert names(await anns) == ["on"]


async def set_user(world: World, login: str, content: UserContent) -> None:
    """Change a user."""
    await world.ledger.commit(world.users.write(login, content, None))


async def test_a_poll_that_reaches_nothing_any_more_ends(world: World) -> None:
    """With an empty list, as a new one would."""
    await set_user(world, "ann", UserContent("", networks=[3, 1]))
    poll = world.waiting("command/pollMany", world.caller(ANN, n=["1"]))
    await world.until_waiting()
    await set_user(world, "ann", UserContent("", networks=[3]))
    assert await poll == []
    assert await world.poll("command/pollMany", world.caller(ANN, n=["1"])) == []


async def test_a_poll_ends_with_its_user(world: World) -> None:
    """Locked, or with its tokens revoked: it is refused as a new request would be, and gets no message any more."""
    for content, refusal in (
        (UserContent("", networks=[3, 1], status=Status.LOCKED_OUT), UserNotActive),
        (UserContent("", networks=[3, 1], generation=1), TokenRevoked),
    ):
        await set_user(world, "ann", UserContent("", networks=[3, 1]))
        number = (await world.order("on"))["id"]
        other = world.waiting("command/pollMany")
        polls = [
            world.waiting("command/pollMany", world.caller(ANN)),
            world.waiting("command/wait", world.caller(ANN), deviceId="lamp", commandId=number),
        ]
        await world.until_waiting(3)
        await set_user(world, "ann", content)
        for poll in polls:
            with pytest.raises(refusal):
                await poll
        await world.order("secret")
        assert names(await other) == ["secret"]


async def test_a_token_that_expires_meanwhile_is_accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls are short, and rights are not checked for expiry again (devices, section 6.1)."""
    number = (await world.order("on"))["id"]
    polls = [
        world.waiting("command/pollMany", world.caller(ANN)),
        world.waiting("command/wait", world.caller(ANN), deviceId="lamp", commandId=number),
    ]
    await world.until_waiting(2)
    later = time.time_ns() + 2 * HOUR * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    admin = world.caller()
    await world.do("command/insert", admin, deviceId="lamp", command={"command": "late"})
    await world.do("command/update", admin, deviceId="lamp", commandId=number, command={"status": "done"})
    assert names(await polls[0]) == ["late"]
    assert (await polls[1])["status"] == "done"


async def test_a_message_and_the_end_of_a_right_at_once(world: World) -> None:
    """Who may not see a message any more does not get it, even if it came first; what is left is still polled."""
    anns = world.waiting("command/pollMany", world.caller(ANN))
    await world.until_waiting()
    await asyncio.gather(world.order("secret"), set_user(world, "ann", UserContent("", networks=[3])))
    assert world.users.by_login("ann") is not None
    await world.save("bell", 3, 3)
    await world.until_waiting()
    if not anns.done():
        await world.order("ring", "bell")
    assert names(await anns) in (["ring"], ["secret"])
    anns = world.waiting("command/pollMany", world.caller(ANN))
    await world.until_waiting()
    await world.order("secret")
    await world.order("ring", "bell")
    assert names(await anns) == ["ring"]


async def test_what_is_not_wanted_hides_nothing_from_a_poll_of_many_names(world: World) -> None:
    """It is looked for among all messages, also among those of one moment."""
    poll = world.waiting("command/pollMany", names=[f"n{number}" for number in range(100)])
    await world.until_waiting()
    await asyncio.gather(world.order("other"), world.order("n7"))
    assert [command["command"] for command in await poll] == ["n7"]


async def test_a_closed_connection_ends_its_poll(world: World) -> None:
    """It is freed at once."""
    caller = world.caller()
    gone: list[Callable[[], None] | None] = []
    caller.when_gone = gone.append
    poll = world.waiting("command/pollMany", caller)
    await world.until_waiting()
    [call] = gone
    assert call is not None
    for _ in range(2):  # its time is up at the same moment
        call()
    assert await poll == []
    assert world.count() == 0
    assert gone == [call, None]
    del call
    gone.clear()
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Waiter and each.identity is caller.identity]


@pytest.mark.parametrize("action", [action for action in POLLS if action != "command/wait"])
async def test_large_requests_that_wait_are_bounded_together(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """By the elements of their lists and their texts. Ordinary ones always wait, and who does not wait is answered."""
    monkeypatch.setattr("hivewire.polls.HELD", 2_000)
    at: dict[str, Any] = {"deviceId": "lamp"} if "Many" not in action else {}
    large = at | {"names": ["x" * (FREE + 1_000 - ELEMENT_BYTES)]}
    lists = {"names": ["x," * 50], **({"networkIds": ["1"] * 51, "deviceTypeIds": ["3,"] * 26} if not at else {})}
    polls = [world.waiting(action, **large) for _ in range(2)]
    await world.until_waiting(2)
    for wanted in (large, *({member: value} for member, value in lists.items())):
        assert "large requests" in (await world.no(action, **at | wanted))[1], wanted
    assert not await world.poll(action, waitTimeout=0, **large)
    polls.append(world.waiting(action, **at | {"names": ["x" * (FREE - ELEMENT_BYTES)]}))
    await world.until_waiting(3)
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
    polls = [world.waiting(action, **large) for _ in range(2)]
    await world.until_waiting(2)
    world.services.polls.drain()
    await asyncio.gather(*polls)


async def test_many_polls_are_woken_a_few_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer takes a while, and others want to be served between them."""
    monkeypatch.setattr("hivewire.polls.AT_ONCE", 2)
    waiting = [world.waiting("command/poll", deviceId="lamp") for _ in range(5)]
    await world.until_waiting(5)
    polls, left = world.services.polls, []
    wake_some = polls._wake_some

    def counted() -> None:
        wake_some()
        left.append(len(polls._due))

    monkeypatch.setattr(polls, "_wake_some", counted)
    polls.drain()
    assert await asyncio.gather(*waiting) == [[]] * 5
    assert left == [3, 1, 0]


async def test_a_stop_ends_all_polls(world: World) -> None:
    """As if their time was up; later ones do not wait."""
    number = (await world.order("on"))["id"]
    polls = [world.waiting("command/pollMany") for _ in range(200)]
    wait = world.waiting("command/wait", deviceId="lamp", commandId=number)
    await world.until_waiting(201)
    world.services.polls.drain()
    assert [await poll for poll in polls] == [[]] * 200
    assert await wait is None
    late = world.waiting("command/pollMany")
    for _ in range(20):
        await asyncio.sleep(0)
    assert (late.done(), await late) == (True, [])


async def test_an_administrator_polls_what_clients_cannot(world: World) -> None:
    """Notifications of the gateway itself go to polls of everything only."""
    admins, anns = world.waiting("notification/pollMany"), world.waiting("notification/pollMany", world.caller(ANN))
    by_network = world.waiting("notification/pollMany", networkIds=["1"])
    await world.until_waiting(3)
    await world.put("new", networkId=1)
    assert names(await admins) == ["$device-add"]
    assert not anns.done()
    await world.tell("temp")
    assert names(await anns) == names(await by_network) == ["temp"]


async def test_who_asks_from_the_last_message_on_gets_each_once_whatever_the_clock_shows(world: World) -> None:
    """Two in one millisecond too, and while the clock is set back or ahead: a later message has a later time."""
    found: list[str] = []
    last = "2020-01-01"
    for number, step in enumerate((0, 0, -HOUR, 0, HOUR, 2 * HOUR, -2 * HOUR, 0, 1)):
        world.clock.time += step
        await asyncio.gather(*[world.order(f"{number}{letter}") for letter in "abc"])
        for limit in (1, 1, 0):
            [*some] = await world.poll("command/poll", deviceId="lamp", timestamp=last, limit=limit, waitTimeout=0)
            found += names(some)
            last = some[-1]["timestamp"]
        waiting = world.waiting("command/poll", deviceId="lamp", timestamp=last)
        await world.until_waiting()
        await asyncio.gather(world.order(f"{number}d"), world.order(f"{number}e"))
        [first] = await waiting
        second = await world.poll("command/poll", deviceId="lamp", timestamp=first["timestamp"])
        found += names([first, *second])
        last = second[-1]["timestamp"]
    assert found == [f"{number}{letter}" for number in range(9) for letter in "abcde"]
