"""Commands and notifications over a store in memory: every text, code, order and default of devices, sections 2 and 3,
and of its addendum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import attrgetter
from typing import Any

import msgspec
import pytest

from hivewire.actions import device_messages
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.index import DeviceContent
from hivewire.ledger.records import Transaction, Write
from hivewire.session import Session
from hivewire.streams import reader
from hivewire.streams.log import Log
from hivewire.streams.message import Undecided
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    MalformedJson,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TokenRevoked,
    TooLarge,
    Unavailable,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.notification import NotificationList
from tests.rooms.test_devices import ADMIN, ANN, BEN, DENIED, NOT_FOUND, TOKENS, World
from tests.rooms.test_rollouts import meanwhile

BOTH = ("command", "notification")


class Messages(World):
    """With helpers for messages of the device `lamp`."""

    def over_http(self) -> Caller:
        """The administrator over HTTP."""
        caller = self.caller()
        caller.http = True
        return caller

    async def tell(self, name: str, device: str = "lamp", caller: Caller | None = None, **members: Any) -> Any:
        """Insert a notification; what is answered."""
        fields = {"notification": name} | members
        return (await self.do("notification/insert", caller, deviceId=device, notification=fields))["notification"]

    async def order(self, name: str | None, device: str = "lamp", caller: Caller | None = None, **members: Any) -> Any:
        """Insert a command; what is answered."""
        fields = {"command": name} | members
        return (await self.do("command/insert", caller, deviceId=device, command=fields))["command"]

    async def names(self, what: str, caller: Caller | None = None, **members: Any) -> list[Any]:
        """The names in a list, in its order."""
        reply = await self.do(f"{what}/list", caller, deviceId="lamp", **members)
        return [message[what] for message in reply[what + "s"]]

    def count_readers(self) -> list[int]:
        """From now on, how many read stored commands at a time: a number whenever another one begins."""
        log = self.services.messages.commands
        replay, reading, counts = log.replay, 0, list[int]()

        async def counted(*about: Any, **bounds: Any) -> Any:
            nonlocal reading
            reading += 1
            counts.append(reading)
            for _ in range(20):
                await asyncio.sleep(0)
            reading -= 1
            return await replay(*about, **bounds)

        log.replay = counted  # type: ignore[method-assign]
        return counts


@pytest.fixture
async def world() -> AsyncIterator[Messages]:
    """One with the device `lamp` in network 1, of type 3."""
    world = Messages()
    await (await world.open()).fill()
    content = msgspec.json.encode(DeviceContent(name="lamp", network=1, type=3))
    await world.ledger.commit(Transaction([Write("device", "lamp", content)]))  # without a notification of it
    yield world
    await world.close()


# Inserting and getting.


async def test_a_notification_is_shown_with_its_seven_members(world: Messages) -> None:
    """The insert answers two of them; members that the gateway sets are ignored in it."""
    told = await world.tell("temp", parameters={"t": 20.50}, id=7, deviceId="x", networkId=9, deviceTypeId=9)
    assert list(told) == ["id", "timestamp"]
    found = (await world.do("notification/get", deviceId="lamp", notificationId=told["id"]))["notification"]
    assert list(found.items()) == [
        ("id", told["id"]),
        ("notification", "temp"),
        ("deviceId", "lamp"),
        ("networkId", 1),
        ("deviceTypeId", 3),
        ("timestamp", told["timestamp"]),
        ("parameters", {"t": 20.5}),
    ]
    bare = await world.tell("bare", parameters=None)
    found = (await world.do("notification/get", deviceId="lamp", notificationId=str(bare["id"])))["notification"]
    assert found["parameters"] is None


async def test_a_command_is_shown_with_its_twelve_members(world: Messages) -> None:
    """The insert answers four of them; nulls and absent members are null."""
    sent = await world.order("on", parameters={"a": 1}, lifetime=0, status="new", result={})
    assert list(sent) == ["id", "timestamp", "lastUpdated", "userId"]
    assert sent["timestamp"] == sent["lastUpdated"]
    found = (await world.do("command/get", deviceId="lamp", commandId=sent["id"]))["command"]
    assert list(found.items()) == [
        ("id", sent["id"]),
        ("command", "on"),
        ("timestamp", sent["timestamp"]),
        ("lastUpdated", sent["timestamp"]),
        ("userId", ADMIN),
        ("deviceId", "lamp"),
        ("networkId", 1),
        ("deviceTypeId", 3),
        ("parameters", {"a": 1}),
        ("lifetime", 0),
        ("status", "new"),
        ("result", {}),
    ]
    bare = await world.order(None)
    found = (await world.do("command/get", deviceId="lamp", commandId=bare["id"]))["command"]
    assert [found[member] for member in ("command", "parameters", "lifetime", "status", "result")] == [None] * 5


async def test_a_supplied_timestamp_is_kept(world: Messages) -> None:
    """Past or future, in any form, cut to milliseconds; it does not move the clock."""
    for given, shown in (
        ("2017-07-15T12:46:37.1239", "2017-07-15T12:46:37.123"),
        (4_000_000_000_000, "2096-10-02T07:06:40.000"),
        ("1500000000000", "2017-07-14T02:40:00.000"),
    ):
        assert (await world.tell("t", timestamp=given))["timestamp"] == shown
        sent = await world.order("c", timestamp=given)
        assert (sent["timestamp"], sent["lastUpdated"]) == (shown, shown)
    assert (await world.tell("now"))["timestamp"] < "2030"


async def test_ids_are_unique_and_below_2_to_the_53(world: Messages) -> None:
    """Also within one millisecond."""
    told = [await world.tell("n") for _ in range(50)]
    assert len({each["id"] for each in told}) == 50
    assert all(0 < each["id"] < 1 << 53 for each in told)
    assert [each["timestamp"] for each in told] == sorted({each["timestamp"] for each in told})


async def test_bad_inserts_are_refused(world: Messages) -> None:
    """With the texts of the reference."""
    for action, members, error in (
        ("notification/insert", {"notification": None}, (InvalidParameters, "Notification is required")),
        ("notification/insert", {"notification": {}}, (InvalidParameters, "Notification is required")),
        (
            "notification/insert",
            {"notification": {"notification": ""}},
            (InvalidParameters, "Notification is required"),
        ),
        ("command/insert", {}, (InvalidParameters, "Command is required")),
        ("command/insert", {"command": None}, (InvalidParameters, "Command is required")),
    ):
        assert await world.refused(action, deviceId="lamp", **members) == error
    wrong = (InvalidParameters, "'parameters' must be JSON Object!")
    for value in list[Any]((1, "x", [], True)):
        assert await world.refused("notification/insert", deviceId="lamp", notification=_named(value)) == wrong
        assert await world.refused("command/insert", deviceId="lamp", command={"parameters": value}) == wrong
        assert await world.refused("command/insert", deviceId="lamp", command={"result": value}) == wrong
    for timestamp in ("soon", -62_135_596_800_001):  # before the year 1, which no answer could show
        assert await world.refused("command/insert", deviceId="lamp", command={"timestamp": timestamp}) == (
            MalformedJson,
            "Malformed Json received.",
        )
    http = world.over_http()
    assert await world.refused("notification/list", http, deviceId="lamp", start="soon") == (
        InvalidParameters,
        "Unparseable timestamp",
    )
    large = {"x": "y" * 65_536}
    assert (await world.refused("command/insert", deviceId="lamp", command={"parameters": large}))[0] is TooLarge
    number = (await world.order("on", device="lamp"))["id"]
    update = {"deviceId": "lamp", "commandId": number, "command": {"result": large}}
    assert (await world.refused("command/update", **update))[0] is TooLarge
    update["command"] = {"status": "x" * 129}
    assert (await world.refused("command/update", **update))[0] is OutOfBounds
    for member in ("command", "status"):
        assert (await world.refused("command/insert", deviceId="lamp", command={member: "x" * 129}))[0] is OutOfBounds
    assert (await world.refused("notification/insert", deviceId="lamp", notification={"notification": "x" * 129}))[
        0
    ] is OutOfBounds
    assert (await world.names("command"), await world.names("notification")) == (["on"], [])
    longest = "x" * 128
    sent = await world.order(longest, status=longest)
    await world.do("command/update", deviceId="lamp", commandId=sent["id"], command={"status": longest})
    await world.tell(longest)


def _named(parameters: Any) -> Any:
    return {"notification": "n", "parameters": parameters}


async def test_names_of_the_gateway_are_forbidden_over_http_only(world: Messages) -> None:
    """Before the device is looked for."""
    http = world.over_http()
    for name in ("$device-add", "$device-update"):
        for device in ("lamp", "none"):
            members = {"deviceId": device, "notification": {"notification": name}}
            assert await world.refused("notification/insert", http, **members) == (
                NotAllowed,
                "It's forbidden to insert these special notifications: $device-update, $device-add.",
            )
        await world.tell(name)
    assert await world.refused("notification/insert", http, deviceId="lamp", notification={}) == (
        InvalidParameters,
        "Invalid request parameters",
    )


ACTIONS: dict[str, dict[str, Any]] = {
    "notification/insert": {"notification": {"notification": "n"}},
    "notification/get": {"notificationId": 1},
    "notification/list": {},
    "command/insert": {"command": {}},
    "command/update": {"commandId": 1, "command": {}},
    "command/get": {"commandId": 1},
    "command/list": {},
}
MISSING = {
    "notification/get": (NotFound, "Requested notification not found"),
    "command/get": (NotFound, "Command with id = 1 not found"),
    "command/update": (NotFound, "Command with id = 1 not found"),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("exists", [True, False])
async def test_who_reaches_the_messages_of_a_device(world: Messages, action: str, exists: bool) -> None:
    """The table of the addendum, section 4, for the device `lamp` in network 1 of type 3: Ann is a member of network 1
    and has all types, Ben belongs elsewhere."""
    if not exists:
        await world.do("device/delete", deviceId="lamp")
    members = ACTIONS[action]
    for networks, types, user in TOKENS:
        caller = world.caller(user, n=networks, dt=types)
        all_types = types == ["*"] or user != BEN
        if exists and networks in (["*"], ["1"]) and user != BEN:
            if action in MISSING:
                assert await world.refused(action, caller, deviceId="lamp", **members) == MISSING[action]
            else:
                await world.do(action, caller, deviceId="lamp", **members)
        else:
            # Over a socket, everybody may learn that a device whose notifications are read does not exist.
            known = action in ("notification/get", "notification/list") and not exists
            expected = NOT_FOUND if (networks == ["*"] and all_types) or known else DENIED
            assert await world.refused(action, caller, deviceId="lamp", **members) == expected
    assert (await world.refused(action, world.caller(ANN, [10]), deviceId="lamp"))[0] is AccessDenied


async def test_what_is_checked_before_what(world: Messages) -> None:
    """Rights, then what is missing in the order of the reference, then the device."""
    narrow = world.caller(ANN, n=["2"])
    device = (InvalidParameters, "Device id is wrong or empty")
    for action, members, error in (
        ("notification/insert", {}, (InvalidParameters, "Notification is required")),
        ("notification/insert", ACTIONS["notification/insert"], device),
        ("notification/insert", {"deviceId": "none"}, (InvalidParameters, "Notification is required")),
        ("command/insert", {}, device),
        ("command/insert", {"deviceId": "none"}, (NotFound, "Device with such deviceId = none not found")),
        ("command/update", {}, (InvalidParameters, "Command id is wrong or empty")),
        ("command/update", {"deviceId": "none"}, (InvalidParameters, "Command id is wrong or empty")),
        ("command/update", {"commandId": 1}, device),
        ("command/update", {"commandId": 1, "deviceId": "lamp"}, (InvalidParameters, "Command is required")),
        ("command/get", {}, device),
        ("command/get", {"deviceId": "lamp"}, (InvalidParameters, "Command id is wrong or empty")),
        ("notification/get", {}, device),
        ("notification/get", {"deviceId": "lamp"}, (InvalidParameters, "Notification id is wrong or empty")),
    ):
        assert await world.refused(action, **members) == error
        if "deviceId" in members:
            assert (await world.refused(action, narrow, **members))[0] is AccessDenied
    assert await world.refused("notification/get", deviceId="lamp", notificationId="x") == (
        InvalidParameters,
        "Notification id should be an integer value.",
    )


WRONG: dict[str, dict[str, Any]] = {
    "notification/insert": {"notification": []},
    "notification/list": {"take": "x"},
    "notification/subscribe": {"names": 1},
    "command/insert": {"command": 1},
    "command/update": {"commandId": "x"},
    "command/get": {"commandId": "x"},
    "command/list": {"take": []},
    "command/subscribe": {"limit": {}},
    "device/get": {"presence": []},
}


@pytest.mark.parametrize("action", WRONG)
@pytest.mark.parametrize("rpc", [False, True])
def test_reach_comes_before_members_of_a_wrong_type(world: Messages, action: str, rpc: bool) -> None:
    """Over a socket too: a token that does not reach a device learns nothing of the request. One that reaches all is
    told of the member, whether the device exists or not."""
    refused: list[bool] = []
    devices: list[tuple[list[str], Any]] = [
        (["2"], "lamp"),
        (["2"], "none"),
        (["1"], "lamp"),
        (["*"], "none"),
        ([], []),
    ]
    for networks, device in devices:
        outbox: list[bytes] = []
        session = Session(world.dispatcher, world.caller(n=networks), outbox.append, world.settled)
        given = {"deviceId": device, **WRONG[action]}
        message = {"jsonrpc": "2.0", "id": 1, "method": action, "params": given} if rpc else {"action": action, **given}
        session.receive(msgspec.json.encode(message))
        [answer] = [msgspec.json.decode(line) for line in outbox]
        code = answer["error"]["code"] if rpc else answer["code"]
        assert code in (403, -32602 if rpc else 400)
        refused.append(code == 403)
    assert refused == [True, True, False, False, False]


async def test_what_a_deleted_device_leaves(world: Messages) -> None:
    """Nothing: a new device of its id starts empty."""
    for what in BOTH:
        sent = await (world.tell("old") if what == "notification" else world.order("old"))
        await world.do("device/delete", deviceId="lamp")
        await world.put("lamp", networkId=1)
        assert "old" not in await world.names(what)
        assert (await world.refused(f"{what}/get", deviceId="lamp", **{f"{what}Id": sent["id"]}))[0] is NotFound


async def test_what_the_gateway_tells_of_a_device(world: Messages) -> None:
    """Each save is a notification: without network and type, with the device as it is then, and there when the save
    is answered."""
    await world.put("new", networkId=2, data={"k": 1})
    await world.put("new", networkId=3)
    added, updated = (await world.do("notification/list", deviceId="new"))["notifications"]
    for found, name, network, data in ((added, "$device-add", 2, {"k": 1}), (updated, "$device-update", 3, None)):
        assert (found["notification"], found["networkId"], found["deviceTypeId"]) == (name, None, None)
        assert list(found["parameters"].items()) == [
            ("id", "new"),
            ("name", "new"),
            ("data", data),
            ("networkId", network),
            ("deviceTypeId", 1),
            ("isBlocked", False),
        ]
    engine: Any = world.services.messages.notifications._engine
    engine.broken = "the disk is full"
    await world.put("other")  # it is saved all the same
    engine.broken = None
    assert (await world.device("other"))["name"] == "other"


# Updates.


async def test_an_update_replaces_status_and_result(world: Messages) -> None:
    """Absent and null members stay; all else is ignored. Each update is later than the one before."""
    sent = await world.order("on", parameters={"a": 1}, status="new")
    number, last = sent["id"], sent["timestamp"]
    for given, status, result in (
        ({}, "new", None),
        ({"status": "half"}, "half", None),
        ({"status": None, "result": {"r": 1}}, "half", {"r": 1}),
        ({"result": None, "command": "off", "parameters": {}, "timestamp": 0, "id": 3, "userId": 9}, "half", {"r": 1}),
        ({"status": "done", "result": {}}, "done", {}),
    ):
        reply = await world.do("command/update", deviceId="lamp", commandId=number, command=given)
        assert reply == {}
        found = (await world.do("command/get", deviceId="lamp", commandId=number))["command"]
        assert (found["status"], found["result"]) == (status, result)
        assert (found["command"], found["parameters"], found["timestamp"]) == ("on", {"a": 1}, sent["timestamp"])
        assert found["lastUpdated"] > last
        last = found["lastUpdated"]
    assert await world.names("command") == ["on"]


async def test_only_updated_commands_on_request(world: Messages) -> None:
    """A command without an update is then not found."""
    number = (await world.order("on"))["id"]
    wanted = {"deviceId": "lamp", "commandId": number, "returnUpdatedCommands": True}
    assert await world.refused("command/get", **wanted) == (NotFound, f"Command with id = {number} not found")
    await world.do("command/update", deviceId="lamp", commandId=number, command={})
    assert (await world.do("command/get", **wanted))["command"]["id"] == number


async def test_concurrent_updates_are_all_made(world: Messages) -> None:
    """One after the other: none is lost, and the last one stays."""
    number = (await world.order("on"))["id"]
    updates = [{"status": f"s{n}"} if n % 2 else {"result": {"n": n}} for n in range(20)]
    await asyncio.gather(
        *[world.do("command/update", deviceId="lamp", commandId=number, command=each) for each in updates]
    )
    found = (await world.do("command/get", deviceId="lamp", commandId=number))["command"]
    assert (found["status"], found["result"]) == ("s19", {"n": 18})


# Lists.


@pytest.mark.parametrize("what", BOTH)
async def test_a_list_is_filtered_sorted_and_cut(world: Messages, what: str) -> None:
    """By name, names and times, which are exclusive; over a socket in the order of time, over HTTP newest first; ties
    in the order of inserts, or the opposite."""
    insert = world.tell if what == "notification" else world.order
    for name, time in (("b", 3), ("a", 1), ("c", 3), ("a", 2), ("d", 3)):
        await insert(name, timestamp=time)
    http = world.over_http()

    async def names(caller: Caller | None = None, **members: Any) -> str:
        return "".join(await world.names(what, caller, **members))

    assert await names() == "aabcd"
    assert await names(http) == "dcbaa"
    assert await names(sortOrder="DESC") == "aabcd"
    for order in ("asc", "ASC", "x"):
        assert await names(http, sortOrder=order) == "aabcd"
    for descending in (None, "desc", "DESC"):
        assert await names(sortField="TimeStamp", sortOrder=descending) == "dcbaa"
    assert await names(sortField=what, sortOrder="asc") == "aabcd"
    assert await names(sortField=what) == "dcbaa"
    assert await names(http, sortField="unknown") == "aabcd"
    assert await names(None, **{what: "a"}) == await names(names=["a"]) == "aa"
    assert await names(names=["c", "b"]) == "bc"
    assert await names(names=[]) == ""
    assert await names(start=1) == "abcd"
    assert await names(start=1, end=3) == "a"
    assert await names(start=3) == await names(start=2, end=2) == ""
    assert await names(start="", end=None) == "aabcd"
    for members, found in (({"take": 0}, ""), ({"take": -1}, ""), ({"skip": -1}, ""), ({"skip": 9}, "")):
        assert await names(None, **members) == found
    assert await names(take=2, skip=1) == "ab"
    assert await names(http, take=2, skip=1, sortOrder="asc") == "ab"
    await insert("e", timestamp=0)
    assert await names(sortField=what.upper(), sortOrder="asc") == "aabcde"
    assert await names(sortField=what, take=3) == "edc"
    assert await names() == "eaabcd"


async def test_a_name_is_not_compared_with_all_that_are_asked_for(world: Messages) -> None:
    """There may be a hundred thousand of them."""
    await world.tell("on")

    class Names(list[str]):
        def __contains__(self, name: object) -> bool:
            raise AssertionError

    asked = NotificationList(deviceId="lamp", names=Names(["off", "on"]))
    assert b'"on"' in (await world.ask(asked)).members()


async def test_how_many_a_list_has_by_default(world: Messages) -> None:
    """20 over a socket, the oldest ones; 100 over HTTP, the newest ones."""
    for number in range(120):
        await world.tell(f"n{number}")
    assert await world.names("notification") == [f"n{number}" for number in range(20)]
    over_http = await world.names("notification", world.over_http())
    assert over_http == [f"n{number}" for number in range(119, 19, -1)]


async def test_of_a_list_that_no_answer_has_room_for_little_is_read(
    world: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a socket it is refused; over HTTP it has any length."""
    monkeypatch.setattr(reader, "FIRST", 1)
    monkeypatch.setattr(reader, "READ_BYTES", 1)
    monkeypatch.setattr(device_messages, "MAX_REPLY", 1_000)
    log, read = world.services.messages.notifications, []
    portions_of = log.portions_of

    async def counted(*asked: Any) -> AsyncIterator[Any]:
        async for portion in portions_of(*asked):
            read.append(portion)
            yield portion

    monkeypatch.setattr(log, "portions_of", counted)
    for number in range(20):
        await world.tell(f"n{number}", parameters={"text": "x" * 100})
    await world.names("notification", take=20)
    assert len(read) == 1 + 1_000 // len(read[0][0].body)


async def test_commands_by_status(world: Messages) -> None:
    """As it is after the last update, and also as the order."""
    numbers = [(await world.order(f"c{n}", status=status))["id"] for n, status in enumerate(("b", None, "a"))]
    await world.do("command/update", deviceId="lamp", commandId=numbers[0], command={"status": "z"})
    assert await world.names("command", status="b") == []
    assert await world.names("command", status="z") == ["c0"]
    assert await world.names("command", command="c0") == ["c0"], "whatever its status is"
    assert await world.names("command", names=["c0", "c1"], status="z") == ["c0"]
    assert await world.names("command", sortField="status", sortOrder="asc") == ["c1", "c2", "c0"]


async def test_a_storage_that_does_not_answer_is_told(world: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, which does not say that nothing was stored."""

    async def silent(number: int, entry: bytes) -> bool:
        raise Undecided("no answer")

    monkeypatch.setattr(world.services.messages.notifications._engine, "append", silent)
    error, text = await world.refused("notification/insert", deviceId="lamp", notification={"notification": "n"})
    assert (error, text) == (Unavailable, "not known whether this was stored; read before trying again")


async def test_a_storage_that_fails_is_told(world: Messages) -> None:
    """503; nothing of it is there."""
    engine: Any = world.services.messages.notifications._engine
    engine.broken = "the disk is full"
    error, text = await world.refused("notification/insert", deviceId="lamp", notification={"notification": "n"})
    assert (error, "the disk is full" in text, "nothing was stored" in text) == (Unavailable, True, True)
    engine.broken = None
    assert await world.names("notification") == []


class Slow:
    """A storage of messages that appends when it is told to."""

    def __init__(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self._append = log._engine.append
        monkeypatch.setattr(log._engine, "append", self.append)

    async def append(self, number: int, entry: bytes) -> bool:
        self.began.set()
        await self.go.wait()
        return await self._append(number, entry)


ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "locked": ("user/update", {"userId": ANN, "user": {"status": 1}}),
    "revoked": ("token/revoke", {"tokenId": "lost"}),
    "revoked device": ("device/revoke", {"deviceId": "lamp"}),
}


@pytest.mark.parametrize("end", ENDS)
async def test_inserts_that_wait_are_dropped_when_the_rights_to_them_end(
    world: Messages, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The storage is slow: what it has already is stored, what waits is not, and others are not affected."""
    slow, ann = (
        Slow(world.services.messages.notifications, monkeypatch),
        world.caller(ANN, j="lost", d=["lamp"], i=now()),
    )
    first = asyncio.create_task(world.tell("first", caller=ann))
    await slow.began.wait()
    waiting = [
        asyncio.create_task(world.tell(name, caller=by)) for name, by in (("waits", ann), ("other", world.admin))
    ]
    await asyncio.sleep(0)
    action, members = ENDS[end]
    await world.do(action, **members)
    slow.go.set()
    _, refused, other = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert (type(refused), "nothing was stored" in str(refused)) == (Unavailable, True)
    assert isinstance(other, dict)
    assert sorted(await world.names("notification")) == ["first", "other"]


@pytest.mark.parametrize("end", ENDS)
async def test_updates_that_wait_are_dropped_when_the_rights_to_them_end(
    world: Messages, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """That of a command whose former update is being stored, and that of another command."""
    first, second = [(await world.order(name))["id"] for name in ("one", "two")]
    slow = Slow(world.services.messages.commands, monkeypatch)
    ann = world.caller(ANN, j="lost", d=["lamp"], i=now())

    def update(number: int, status: str, by: Caller | None) -> asyncio.Task[Any]:
        members = {"deviceId": "lamp", "commandId": number, "command": {"status": status}}
        return asyncio.create_task(world.do("command/update", by, **members))

    before = update(first, "before", ann)
    await slow.began.wait()
    waiting = [update(first, "behind", ann), update(second, "beside", ann), update(second, "other", None)]
    for _ in range(20):
        await asyncio.sleep(0)
    action, members = ENDS[end]
    await world.do(action, **members)
    slow.go.set()
    _, behind, beside, other = await asyncio.gather(before, *waiting, return_exceptions=True)
    assert isinstance(behind, (UserNotActive, TokenRevoked))
    assert (type(beside), "nothing was stored" in str(beside)) == (Unavailable, True)
    assert isinstance(other, dict)
    listed = (await world.do("command/list", deviceId="lamp"))["commands"]
    assert sorted(each["status"] for each in listed) == ["before", "other"]


async def read_over(world: Messages, caller: Caller, over: str, action: str, members: dict[str, Any]) -> int:
    """The code with which a read is answered, over a socket or HTTP."""
    if over == "http":
        try:
            await world.do(action, caller, **members)
        except WireError as error:
            return error.code
        return 200
    answers: list[bytes] = []
    session = Session(world.dispatcher, caller, answers.append, lambda: None)
    session.receive(msgspec.json.encode({"action": action} | members))
    while not answers:
        await asyncio.sleep(0)
    return int(msgspec.json.decode(answers[0]).get("code", 200))


@pytest.mark.parametrize("over", ["socket", "http"])
@pytest.mark.parametrize(
    ("action", "method"),
    [
        ("command/get", "messages.commands.get"),
        ("configuration/get", "ledger.history"),
        ("audit/list", "ledger.audit.read"),
        ("connection/list", "connections.find"),
    ],
)
async def test_who_loses_its_token_while_something_is_read_is_not_shown_it(
    world: Messages, monkeypatch: pytest.MonkeyPatch, action: str, method: str, over: str
) -> None:
    """The disk, or another gateway, may take long to answer."""
    number = (await world.order("on"))["id"]
    await world.do("configuration/put", name="a", value="1")
    members: dict[str, Any] = {
        "command/get": {"deviceId": "lamp", "commandId": number},
        "configuration/get": {"name": "a", "entityVersion": 1},
    }.get(action, {})
    caller = world.caller(j="lost")
    assert await read_over(world, caller, over, action, members) == 200
    owner, _, name = method.rpartition(".")
    revoke = world.services.tokens.revocations.revoke("lost", None)
    meanwhile(monkeypatch, attrgetter(owner)(world.services), name, lambda: world.ledger.commit(revoke))
    assert await read_over(world, caller, over, action, members) == 401


# Over one connection.


async def test_inserts_in_a_row_share_a_commit_and_all_is_answered_in_order(world: Messages) -> None:
    """Other requests wait for them, and they for writes to another log, so that each sees what came before it."""
    session, outbox = world.connect()
    frames: list[dict[str, Any]] = [
        *[{"action": "notification/insert", "notification": {"notification": f"n{n}"}} for n in range(3)],
        {"action": "configuration/put", "name": "a", "value": "v"},
        {"action": "command/insert", "command": {"command": "c"}},
        {"action": "notification/insert", "notification": {"notification": "n3"}},
        {"action": "notification/insert"},
        {"action": "notification/list"},
        {"action": "command/list"},
    ]
    tip = world.services.messages.notifications.tip
    for number, members in enumerate(frames):
        device = {} if members["action"].startswith("configuration/") else {"deviceId": "lamp"}
        session.receive(msgspec.json.encode({"requestId": number, **device, **members}))
    while session.pending:
        await asyncio.sleep(0)
    answers = [msgspec.json.decode(line) for line in outbox]
    assert [answer["requestId"] for answer in answers] == list(range(9))
    assert [answer["status"] for answer in answers] == ["success"] * 6 + ["error"] + ["success"] * 2
    assert [each["notification"] for each in answers[7]["notifications"]] == ["n0", "n1", "n2", "n3"]
    assert [each["command"] for each in answers[8]["commands"]] == ["c"]
    entries = {message.place // 1_024 for message in await world.services.messages.notifications.since(tip, take=9)}
    assert len(entries) == 2
