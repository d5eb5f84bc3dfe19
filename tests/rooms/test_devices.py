"""Devices over a ledger in memory: every text, code, order and default of devices, section 1, and of its addendum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import product
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

import tests.world
from hivewire.access.users import UserContent
from hivewire.actions.device import MOST_BYTES
from hivewire.caller import Caller
from hivewire.devices.index import Device
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, delete, insert
from hivewire.ledger.batch import Batch
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.records import Outcome, Transaction
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TooLarge,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.user import Role, Status

ADMIN, ANN, BEN, EVE, ROOT = 1, 2, 3, 4, 5


class World(tests.world.World):
    """Three networks and three device types; users by the networks and types that they belong to."""

    staff: ClassVar[Mapping[str, UserContent]] = {
        "admin": UserContent("", Role.ADMIN, networks=[2]),
        "ann": UserContent("", networks=[3, 1, 99]),
        "ben": UserContent("", networks=[2], all_device_types_available=False, device_types=[2]),
        "eve": UserContent(""),
        "root": UserContent("", Role.ADMIN),
    }

    async def fill(self) -> World:
        """Create the networks and types: n1, n2, n3 and t1, t2, t3."""
        for kind, letter in ((NETWORK, "n"), (DEVICE_TYPE, "t")):
            for number in (1, 2, 3):
                await self.ledger.commit(Transaction(insert(kind, GroupingContent(f"{letter}{number}"))))
        return self

    async def drop(self, kind: str, group_id: int) -> None:
        """Delete a network or a type."""
        groups = self.services.registry.networks if kind == NETWORK else self.services.registry.device_types
        await self.ledger.commit(Transaction(delete(kind, groups[group_id])))

    async def do(self, action: str, caller: Caller | None = None, **members: Any) -> Any:
        """The reply to a request as it comes over a socket, as plain values."""
        request = build(REQUESTS[action], decode_members(msgspec.json.encode(members)))
        return msgspec.json.decode(b"{%b}" % (await self.ask(request, caller)).members())

    async def refused(self, action: str, caller: Caller | None = None, **members: Any) -> tuple[type[WireError], str]:
        """The error of a request: what it is, and its text."""
        with pytest.raises(WireError) as raised:
            await self.do(action, caller, **members)
        return type(raised.value), str(raised.value)

    async def put(self, device_id: str, caller: Caller | None = None, **device: Any) -> None:
        """Save a device, named like its id."""
        assert await self.do("device/save", caller, deviceId=device_id, device={"name": device_id} | device) == {}

    async def ids(self, caller: Caller | None = None, **members: Any) -> list[str]:
        """The ids in a list, in its order."""
        return [device["id"] for device in (await self.do("device/list", caller, **members))["devices"]]

    async def device(self, device_id: str) -> Any:
        """A device as an administrator gets it."""
        return (await self.do("device/get", deviceId=device_id))["device"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One without devices."""
    world = await (await World().open()).fill()
    yield world
    await world.close()


NOT_FOUND = (NotFound, "Device with such deviceId = lamp not found")
DENIED = (AccessDenied, "Access is denied: device 'lamp' is not within reach of the token")


# Get and delete.


async def test_a_device_is_shown_with_its_six_members(world: World) -> None:
    """Members that are not set are null, never missing."""
    await world.put("lamp", data={"k": {"deep": [1.50, None]}}, networkId=1, deviceTypeId=3, isBlocked=True)
    assert await world.device("lamp") == {
        "id": "lamp",
        "name": "lamp",
        "data": {"k": {"deep": [1.50, None]}},
        "networkId": 1,
        "deviceTypeId": 3,
        "isBlocked": True,
    }
    await world.put("bare")
    assert list((await world.device("bare")).items())[2] == ("data", None)


TOKENS = [*product((["*"], ["1"], ["2"], None), (["*"], ["1"], ["2"]), (ADMIN, ANN, BEN))]
"""`n` and `dt` of a token, and its user."""


@pytest.mark.parametrize("action", ["device/get", "device/delete"])
@pytest.mark.parametrize("exists", [True, False])
async def test_who_reaches_a_device(world: World, action: str, exists: bool) -> None:
    """The table of the addendum, section 4, for a device in network 1 of type 1: Ann is a member of that network and
    has all types; Ben is a member of network 2 and has not. The action is checked first, then that there is an id."""
    for networks, types, user in TOKENS:
        if exists:
            await world.put("lamp", networkId=1, deviceTypeId=1)
        caller = world.caller(user, n=networks, dt=types)
        unlimited = types == ["*"] or user != BEN
        if exists and networks in (["*"], ["1"]) and user != BEN:
            await world.do(action, caller, deviceId="lamp")
            assert await world.ids() == (["lamp"] if action == "device/get" else [])
        else:
            expected = NOT_FOUND if networks == ["*"] and unlimited else DENIED
            assert await world.refused(action, caller, deviceId="lamp") == expected, (networks, types, user)
        assert (await world.refused(action, world.caller(user, [2], n=networks, dt=types)))[0] is AccessDenied
        assert await world.refused(action, caller) == (InvalidParameters, "Device id is wrong or empty")


async def test_an_id_is_the_text_of_any_scalar(world: World) -> None:
    """A number is the id with its digits. An empty id is one that no device has."""
    await world.put("999999")
    assert (await world.do("device/get", deviceId=999999))["device"]["id"] == "999999"
    assert (await world.refused("device/get", deviceId=""))[0] is NotFound


async def test_a_deleted_device_comes_back_as_another_one(world: World) -> None:
    """A new device of the same id has another record, so nothing of the old one belongs to it."""
    await world.put("lamp", data={"old": 1})
    first = world.services.registry.device("lamp")
    assert await world.do("device/delete", deviceId="lamp") == {}
    assert await world.refused("device/delete", deviceId="lamp") == NOT_FOUND
    await world.put("lamp")
    second = world.services.registry.device("lamp")
    assert first is not None
    assert second is not None
    assert second.record_id > first.record_id
    assert (await world.device("lamp"))["data"] is None


# Save.


async def test_a_new_device_gets_the_first_network_of_its_user_and_the_first_type_in_reach(world: World) -> None:
    """The lowest network that the user is a member of and that exists; the lowest type that the token lists, or of
    all."""
    await world.put("of-admin")
    await world.put("of-ann", world.caller(ANN, n=["*"], dt=["3"]))
    await world.put("of-ben", world.caller(BEN, n=["2"], dt=["3", "2", "99"]))
    await world.put("bare", world.caller(ANN, n=None, dt=None))
    for device_id, network, device_type in (("of-admin", 2, 1), ("of-ann", 1, 1), ("of-ben", 2, 2), ("bare", 1, 1)):
        found = await world.device(device_id)
        assert (found["networkId"], found["deviceTypeId"], found["isBlocked"]) == (network, device_type, False)


async def test_a_device_is_changed_by_what_is_given(world: World) -> None:
    """Absent and null members stay as they are; only `data` is cleared. An id, and members that nobody knows, are
    ignored."""
    await world.put("lamp", data={"a": 1}, networkId=3, deviceTypeId=2, isBlocked=True)
    await world.do("device/save", deviceId="lamp", device={"data": {"b": {}}})
    full = {"id": "lamp", "name": "lamp", "data": {"b": {}}, "networkId": 3, "deviceTypeId": 2, "isBlocked": True}
    assert await world.device("lamp") == full
    nulls = dict.fromkeys(("name", "data", "networkId", "deviceTypeId", "isBlocked"))
    await world.do("device/save", deviceId="lamp", device=nulls | {"id": "other", "status": "x"})
    assert await world.device("lamp") == full | {"data": None}
    await world.do("device/save", deviceId="lamp", device={"name": 7, "networkId": "1", "isBlocked": False})
    assert await world.device("lamp") == full | {"data": None, "name": "7", "networkId": 1, "isBlocked": False}


@pytest.mark.parametrize("user", [ADMIN, ANN])
@pytest.mark.parametrize(
    ("device_id", "device", "error"),
    [
        (None, {"name": "x"}, (InvalidParameters, "Device id is wrong or empty")),
        ("", {"name": "x"}, (OutOfBounds, "Device Id can only contain letters, digits and dashes.")),
        ("a_b", None, (OutOfBounds, "Device Id can only contain letters, digits and dashes.")),
        ("a\n", {"name": "x"}, (OutOfBounds, "Device Id can only contain letters, digits and dashes.")),
        ("ä", {"name": "x"}, (OutOfBounds, "Device Id can only contain letters, digits and dashes.")),
        ("new", None, (InvalidParameters, "Device is required")),
        ("new", {"name": "x", "data": [1]}, (InvalidParameters, "'parameters' must be JSON Object!")),
        ("new", {"name": "x", "data": "{}"}, (InvalidParameters, "'parameters' must be JSON Object!")),
        ("new", {"name": "x", "networkId": 4}, (InvalidParameters, "Invalid request parameters")),
        ("new", {"name": "x", "deviceTypeId": 4}, (InvalidParameters, "Invalid request parameters")),
        ("new", {}, (OutOfBounds, "name field cannot be null.")),
        (
            "new",
            {"name": ""},
            (OutOfBounds, "Field cannot be empty. The length of name should not be more than 128 symbols."),
        ),
        (
            "new",
            {"name": "x" * 129},
            (OutOfBounds, "Field cannot be empty. The length of name should not be more than 128 symbols."),
        ),
        (
            "old",
            {"name": "x" * 129},
            (OutOfBounds, "Field cannot be empty. The length of name should not be more than 128 symbols."),
        ),
        (
            "x" * 49,
            {"name": "x"},
            (OutOfBounds, "Field cannot be empty. The length of guid should not be more than 48 symbols."),
        ),
        (
            "x" * 49,
            {},
            (
                OutOfBounds,
                "name field cannot be null."
                "Field cannot be empty. The length of guid should not be more than 48 symbols.",
            ),
        ),
    ],
)
async def test_a_save_is_refused_with_the_texts_of_the_reference(
    world: World, user: int, device_id: str | None, device: Any, error: tuple[type[WireError], str]
) -> None:
    """Each wrong member has its text, whoever asks; nothing is written."""
    await world.put("old", networkId=1)
    before = world.ledger.revision
    caller = world.caller(user)
    assert await world.refused("device/save", caller, deviceId=device_id, device=device) == error
    assert world.ledger.revision == before


async def test_a_device_that_no_answer_could_show_is_refused(world: World) -> None:
    """Whatever is stored can be read, with some room for the rest of the answer."""
    await world.put("lamp", data={"text": ""})
    change = world.ledger.get("device", "lamp")
    assert change is not None
    room = MOST_BYTES - len(change.content or b"")
    await world.put("lamp", data={"text": "d" * room})
    assert len(encode(await world.device("lamp"))) < MAX_REPLY - 900
    larger = {"data": {"text": "d" * (room + 1)}}
    assert (await world.refused("device/save", deviceId="lamp", device=larger))[0] is TooLarge


async def test_an_error_repeats_the_beginning_of_an_id(world: World) -> None:
    """128 characters of it: a path may be long."""
    for action in ("device/get", "notification/get"):
        refused = await world.refused(action, deviceId="x" * 129)
        assert refused == (NotFound, f"Device with such deviceId = {'x' * 128} not found")
    refused = await world.refused("device/get", world.caller(ANN, n=["1"]), deviceId="x" * 129)
    assert refused == (AccessDenied, f"Access is denied: device '{'x' * 128}' is not within reach of the token")


async def test_the_longest_id_and_name_are_taken(world: World) -> None:
    """48 and 128 characters."""
    await world.put("x" * 48, name="ü" * 128)
    assert (await world.device("x" * 48))["name"] == "ü" * 128


async def test_a_save_needs_a_network_that_its_user_belongs_to(world: World) -> None:
    """A client must be a member, and an administrator need not be. A network that the token leaves out on purpose is
    refused to both. The default network is looked for even if it is not needed."""
    network = (NotAllowed, "No access to network!")
    await world.put("lamp", networkId=1)

    async def save(user: int, device_id: str = "new", n: list[str] | None = None, **device: Any) -> Any:
        caller = world.caller(user, n=n)
        return await world.refused("device/save", caller, deviceId=device_id, device={"name": "x"} | device)

    assert await save(ANN, networkId=2) == network
    assert await save(ANN, n=["1"], networkId=3) == network
    assert await save(ADMIN, n=["1"], networkId=3) == network
    assert await save(EVE) == network
    assert await save(ROOT) == network
    assert await save(ROOT, device_id="lamp") == network
    assert await save(BEN, device_id="lamp", networkId=2) == (NotAllowed, "No access to device")
    assert await save(ANN, device_id="lamp", n=["3"]) == (NotAllowed, "No access to device")
    await world.put("of-root", world.caller(ROOT), networkId=3)
    await world.put("of-root", world.caller(ANN, n=["3"]))


async def test_a_save_needs_a_type_in_reach_unless_it_names_one(world: World) -> None:
    """A token of a user without all types who lists none has no default, and may name any that exists."""
    no_types = world.caller(BEN, dt=[])
    refused = await world.refused("device/save", no_types, deviceId="new", device={"name": "x"})
    assert refused == (NotAllowed, "No access to device type!")
    await world.put("new", no_types, deviceTypeId=3)


async def test_only_a_change_that_moves_a_device_says_where_it_was(world: World) -> None:
    """Who follows the place where it was is told that it left; other changes tell nobody so."""
    said = []
    for device in ({}, {"name": "Lamp"}, {"networkId": 3}, {"networkId": 3}, {"deviceTypeId": 2}):
        await world.put("lamp", **device)
        change = world.ledger.get("device", "lamp")
        said.append(change and change.description)
    assert said == [None, None, "was in network 2, of type 1", None, "was in network 3, of type 1"]


async def test_a_save_over_a_change_of_somebody_else_keeps_it(world: World) -> None:
    """What comes first counts: a save that was evaluated before another one is evaluated again."""
    await world.put("lamp", networkId=1)
    saved = [
        world.dispatcher.carry_out(world.admin, build(REQUESTS["device/save"], decode_members(body)))
        for body in (
            b'{"deviceId":"lamp","device":{"networkId":3}}',
            b'{"deviceId":"lamp","device":{"name":"second"}}',
            b'{"deviceId":"lamp","device":{"isBlocked":true}}',
        )
    ]
    await asyncio.gather(*saved)
    found = await world.device("lamp")
    assert (found["networkId"], found["name"], found["isBlocked"]) == (3, "second", True)


@pytest.mark.parametrize(("action", "members"), [("device/save", {"device": {"name": "late"}}), ("device/delete", {})])
async def test_a_write_is_not_repeated_for_a_user_who_was_locked_meanwhile(
    world: World, action: str, members: dict[str, Any]
) -> None:
    """The right to it is checked again where it is evaluated again."""
    await world.put("lamp", networkId=1)
    locked = structs.replace(world.staff["ann"], status=Status.LOCKED_OUT)
    first = asyncio.create_task(world.put("lamp", name="first"))
    late = asyncio.create_task(world.refused(action, world.caller(ANN), deviceId="lamp", **members))
    await asyncio.sleep(0)
    await world.ledger.commit(world.users.write("ann", locked, None))
    assert (await late)[0] is UserNotActive
    await first
    assert (await world.device("lamp"))["name"] == "first"


async def test_a_deleted_network_is_no_default(world: World) -> None:
    """Memberships stay when a network is deleted, and count for nothing."""
    await world.drop(NETWORK, 1)
    await world.put("lamp", world.caller(ANN))
    assert (await world.device("lamp"))["networkId"] == 3


@pytest.mark.parametrize(("kind", "device"), [(NETWORK, {"networkId": 3}), (DEVICE_TYPE, {"deviceTypeId": 3})])
async def test_nothing_is_saved_into_what_is_deleted_meanwhile(world: World, kind: str, device: dict[str, int]) -> None:
    """A save that was evaluated before its network or type was deleted is refused like one that comes after it."""
    deleted = asyncio.create_task(world.drop(kind, 3))
    await asyncio.sleep(0)  # the delete is submitted, and nothing knows of it yet
    refused = await world.refused("device/save", deviceId="lamp", device={"name": "x"} | device)
    await deleted
    assert refused == (InvalidParameters, "Invalid request parameters")
    assert len(world.ledger.kind("device").live) == 0


async def test_a_device_of_a_deleted_network_can_be_registered_again(world: World) -> None:
    """It is another device, although the record of the first one may not have been removed yet."""
    await world.put("lamp", networkId=3, data={"old": 1})
    first = world.services.registry.device("lamp")
    await world.drop(NETWORK, 3)
    assert await world.refused("device/get", deviceId="lamp") == NOT_FOUND
    assert await world.ids() == []
    await world.put("lamp", networkId=1)
    second = world.services.registry.device("lamp")
    assert first is not None
    assert second is not None
    assert second.record_id > first.record_id


async def test_whoever_asks_is_told_each_change_of_a_device(world: World) -> None:
    """Before it is answered: the device before and after it, for a new one, a change and a delete."""
    seen: list[tuple[Any, Any]] = []

    def note(before: Device | None, after: Device | None) -> None:
        seen.append((before and (before.id, before.content.name), after and (after.id, after.content.name)))

    world.services.registry.on_device.append(note)
    await world.put("lamp")
    await world.put("lamp", name="new")
    await world.do("device/delete", deviceId="lamp")
    assert seen == [(None, ("lamp", "lamp")), (("lamp", "lamp"), ("lamp", "new")), (("lamp", "new"), None)]


# List and count.


@pytest.fixture
async def full(world: World) -> World:
    """Nine devices: b13 is in network 1 and of type 3, named like the others of its type."""
    for network, device_type in product((2, 1, 3), (2, 3, 1)):
        await world.put(f"b{network}{device_type}", networkId=network, deviceTypeId=device_type, name=f"t{device_type}")
    return world


IN_ORDER = ["b22", "b23", "b21", "b12", "b13", "b11", "b32", "b33", "b31"]

FILTERS: list[tuple[dict[str, Any], Callable[[str], bool]]] = [
    ({}, lambda _: True),
    ({"name": "t1"}, lambda device: device[2] == "1"),
    ({"name": "t"}, lambda _: False),
    ({"namePattern": "_3"}, lambda device: device[2] == "3"),
    ({"namePattern": "T%"}, lambda _: False),
    ({"name": "t1", "namePattern": "%1%"}, lambda device: device[2] == "1"),
    ({"name": "t1", "namePattern": "%2"}, lambda _: False),
    ({"networkId": 2}, lambda device: device[1] == "2"),
    ({"networkName": "n3"}, lambda device: device[1] == "3"),
    ({"networkId": 3, "networkName": "n3", "name": "t2"}, lambda device: device == "b32"),
    ({"networkId": 2, "networkName": "n3"}, lambda _: False),
    ({"networkName": "nothing"}, lambda _: False),
    ({"networkId": 99}, lambda _: False),
]

SCOPES: list[tuple[int, list[str] | None, list[str] | None, str, str, str]] = [
    # The user, `n`, `dt`, and the networks of a list, of a count, and the types of both.
    (ADMIN, ["*"], ["*"], "123", "123", "123"),
    (ADMIN, ["1", "3"], ["*"], "13", "13", "123"),
    (ADMIN, None, ["*"], "", "123", "123"),
    (ROOT, ["*"], None, "123", "123", "123"),
    (ANN, ["*"], ["*"], "13", "13", "123"),
    (ANN, ["1", "2"], ["1"], "1", "1", "123"),
    (ANN, [], ["*"], "", "13", "123"),
    (BEN, ["*"], ["*"], "2", "2", "123"),
    (BEN, ["*"], ["2", "3", "99"], "2", "2", "23"),
    (BEN, ["*"], [], "2", "2", ""),
    (BEN, ["*"], None, "2", "2", ""),
    (EVE, ["*"], ["*"], "", "", "123"),
]


@pytest.mark.parametrize(("user", "n", "dt", "listed", "counted", "types"), SCOPES)
async def test_a_list_has_what_is_in_reach_and_matches(
    full: World,
    user: int,
    n: list[str] | None,
    dt: list[str] | None,
    listed: str,
    counted: str,
    types: str,
) -> None:
    """By creation, for all filters; and a count counts the same, except that a token without networks counts those of
    its user."""
    caller = full.caller(user, n=n, dt=dt)
    for asked, matches in FILTERS:
        devices = [device for device in IN_ORDER if matches(device) and device[2] in types]
        assert await full.ids(caller, **asked) == [device for device in devices if device[1] in listed]
        count = len([device for device in devices if device[1] in counted])
        assert await full.do("device/count", caller, **asked) == {"count": count}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"sortField": "name"}, ["b21", "b11", "b31", "b22", "b12", "b32", "b23", "b13", "b33"]),
        ({"sortField": "NAME", "sortOrder": "DESC"}, ["b33", "b13", "b23", "b32", "b12", "b22", "b31", "b11", "b21"]),
        ({"sortField": "network"}, ["b12", "b13", "b11", "b22", "b23", "b21", "b32", "b33", "b31"]),
        ({"sortOrder": "desc"}, IN_ORDER),
        ({"take": 2}, IN_ORDER[:2]),
        ({"take": 0}, []),
        ({"skip": 7}, IN_ORDER[7:]),
        ({"skip": 100}, []),
        ({"sortField": "network", "sortOrder": "Asc", "take": 2, "skip": 2}, ["b11", "b22"]),
    ],
)
async def test_a_list_is_sorted_and_paged(full: World, asked: dict[str, Any], expected: list[str]) -> None:
    """Ties are in the order of creation, and in the opposite one when the order is descending."""
    assert await full.ids(**asked) == expected


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        {"sortField": "status"},
        {"sortField": "id"},
        {"sortOrder": "up"},
        {"sortField": "name", "sortOrder": "x"},
        {"take": -1},
        {"skip": -1},
        {"namePattern": "x" * 257},
    ],
)
async def test_a_list_refuses_what_it_does_not_know(full: World, asked: dict[str, Any], http: bool) -> None:
    """Also for a caller who would get nothing."""
    caller = structs.replace(full.caller(ANN, n=None), http=http)
    assert (await full.refused("device/list", caller, **asked))[0] in (InvalidParameters, OutOfBounds)


async def test_a_list_over_http_has_everything_and_knows_one_order_more(full: World) -> None:
    """Over a socket there are 20 at most unless the request says more, and `devicetype` is no order."""
    over_http = structs.replace(full.admin, http=True)
    by_type = ["b21", "b11", "b31", "b22", "b12", "b32", "b23", "b13", "b33"]
    assert await full.ids(over_http, sortField="deviceType") == by_type
    assert await full.refused("device/list", sortField="devicetype") == (
        InvalidParameters,
        "Invalid request parameters",
    )
    for number in range(20):
        await full.put(f"more-{number}")
    assert len(await full.ids()) == 20
    assert len(await full.ids(take=100)) == len(await full.ids(over_http)) == 29


async def test_a_device_is_found_where_it_is_now(full: World) -> None:
    """A device that moved is listed in its new network and type, in its old place in the order, and nowhere else."""
    await full.put("b13", networkId=3, deviceTypeId=1)
    assert await full.ids(networkId=1) == ["b12", "b11"]
    assert await full.ids(networkId=3) == ["b13", "b32", "b33", "b31"]
    assert await full.ids() == IN_ORDER
    await full.drop(DEVICE_TYPE, 2)
    assert await full.ids() == [device for device in IN_ORDER if device[2] != "2"]


async def test_data_is_answered_as_it_was_given(world: World) -> None:
    """Every digit of its numbers is kept."""
    data = b'{"a":1.0,"b":123456789012345678901234567890,"c":{}}'
    request = build(
        REQUESTS["device/save"],
        {"deviceId": Raw(b'"lamp"'), "device": Raw(b'{"name":"x","data":%b}' % data)},
    )
    await world.ask(request)
    assert data in (await world.ask(build(REQUESTS["device/get"], {"deviceId": Raw(b'"lamp"')}))).members()


# Everything together.

OPERATIONS = st.lists(
    st.tuples(st.just("save"), st.sampled_from("abcd"), st.integers(1, 3), st.integers(1, 3))
    | st.tuples(st.just("move"), st.sampled_from("abcd"), st.integers(1, 3), st.none())
    | st.tuples(st.just("delete"), st.sampled_from("abcd"), st.none(), st.none())
    | st.tuples(st.sampled_from((NETWORK, DEVICE_TYPE)), st.none(), st.integers(1, 3), st.none()),
    max_size=25,
)


class Model:
    """What devices there are, by creation: id, network and type."""

    def __init__(self) -> None:
        self.devices: dict[str, tuple[int, int]] = {}
        self.gone: dict[str, set[int]] = {NETWORK: set(), DEVICE_TYPE: set()}

    def save(self, device_id: str, network: int, device_type: int) -> bool:
        """Whether it can be saved."""
        if network in self.gone[NETWORK] or device_type in self.gone[DEVICE_TYPE]:
            return False
        self.devices[device_id] = (network, device_type)
        return True

    def drop(self, kind: str, group_id: int) -> None:
        """Delete a network or a type with its devices."""
        self.gone[kind].add(group_id)
        place = 0 if kind == NETWORK else 1
        self.devices = {key: where for key, where in self.devices.items() if where[place] != group_id}

    def ids(self, networks: str, types: str) -> list[str]:
        """The devices in some networks and of some types."""
        return [key for key, (network, kind) in self.devices.items() if str(network) in networks and str(kind) in types]


async def carry_out(world: World, model: Model, operation: tuple[str, Any, Any, Any]) -> None:
    """Do one thing in both, and hold what is answered against the model."""
    what, device_id, network, device_type = operation
    if what == "save":
        saving = world.put(device_id, networkId=network, deviceTypeId=device_type)
        if model.save(device_id, network, device_type):
            await saving
        else:
            with pytest.raises(InvalidParameters):
                await saving
    elif what == "move" and device_id in model.devices and network not in model.gone[NETWORK]:
        await world.put(device_id, networkId=network)
        model.save(device_id, network, model.devices[device_id][1])
    elif what == "delete":
        found = model.devices.pop(device_id, None)
        if found is not None:
            await world.do("device/delete", deviceId=device_id)
        else:
            assert (await world.refused("device/delete", deviceId=device_id))[0] is NotFound
    elif what in model.gone and network not in model.gone[what]:
        await world.drop(what, network)
        model.drop(what, network)


async def hold(world: World, model: Model) -> None:
    """Lists and counts of different tokens are those of the model."""
    for user, n, dt, networks, types in (
        (ROOT, ["*"], ["*"], "123", "123"),
        (ANN, ["*"], ["*"], "13", "123"),
        (BEN, ["1", "2"], ["3", "2"], "2", "23"),
    ):
        caller, expected = world.caller(user, n=n, dt=dt), model.ids(networks, types)
        assert await world.ids(caller) == expected
        assert await world.do("device/count", caller) == {"count": len(expected)}


@given(OPERATIONS)
def test_devices_are_those_of_a_model_also_after_a_restart(operations: list[tuple[str, Any, Any, Any]]) -> None:
    """Whatever is saved, moved, deleted, and dropped with its network or type, in any order: lists, counts and their
    order are those of a simple model after each step, and of a gateway that starts on what is left."""

    async def check() -> None:
        journal, model = MemoryJournal(), Model()
        first = await (await World(journal).open()).fill()
        for operation in operations:
            await carry_out(first, model, operation)
            await hold(first, model)
        await first.close()
        second = World(journal)
        await second.ledger.open()
        await second.users.load()
        second.services.registry.load()
        await hold(second, model)
        await second.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("action", "named", "member", "fields"),
    [
        ("network/update", {"networkId": 1}, "network", {"name": "x{}"}),
        ("devicetype/update", {"deviceTypeId": 1}, "deviceType", {"name": "x{}"}),
        ("device/save", {"deviceId": "lamp"}, "device", {"name": "x{}", "networkId": 1, "deviceTypeId": 1}),
        ("user/update", {"userId": ANN}, "user", {"password": None, "data": {"x": "{}"}}),
    ],
)
async def test_changes_of_one_record_that_come_together_are_made_one_after_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str, named: Any, member: str, fields: Any
) -> None:
    """Each is evaluated once: if all tried again after each of them, a thousand would be evaluated half a million
    times."""
    evaluate, evaluated = Batch.evaluate, list[object]()

    def counted(batch: Batch, transaction: Transaction) -> Outcome:
        evaluated.append(transaction)
        return evaluate(batch, transaction)

    def numbered(number: int) -> Any:
        return msgspec.json.decode(msgspec.json.encode(fields).replace(b"{}", b"%d" % number))

    monkeypatch.setattr(Batch, "evaluate", counted)
    await asyncio.gather(*[world.do(action, **named, **{member: numbered(number)}) for number in range(5)])
    assert len(evaluated) == 5


@pytest.mark.parametrize(
    ("action", "key", "members"),
    [
        ("network/update", (NETWORK, "1"), {"networkId": 1, "network": {"name": "x"}}),
        ("device/save", ("device", "lamp"), {"deviceId": "lamp", "device": {"name": "x"}}),
        ("device/delete", ("device", "lamp"), {"deviceId": "lamp"}),
    ],
)
async def test_a_change_that_waits_for_another_one_is_refused_with_its_token(
    world: World, action: str, key: tuple[str, str], members: Any
) -> None:
    """Whose user is locked meanwhile changes nothing any more."""
    await world.do("device/save", deviceId="lamp", device={"name": "lamp", "networkId": 1, "deviceTypeId": 1})
    async with world.services.registry.changing.lock(key):
        waiting = asyncio.create_task(world.do(action, world.caller(ANN), **members))
        await asyncio.sleep(0)
        locked = structs.replace(world.staff["ann"], status=Status.LOCKED_OUT)
        await world.ledger.commit(world.users.write("ann", locked, None))
    with pytest.raises(UserNotActive):
        await waiting


async def test_an_end_of_tokens_that_waits_for_a_change_of_the_user_is_refused_with_its_token(world: World) -> None:
    """Whoever is locked meanwhile ends none."""
    async with world.users.changing.lock(ANN):
        waiting = asyncio.create_task(world.do("token/revoke", world.caller(ANN), userId=ANN))
        await asyncio.sleep(0)
        locked = structs.replace(world.staff["ann"], status=Status.LOCKED_OUT)
        await world.ledger.commit(world.users.write("ann", locked, None))
    with pytest.raises(UserNotActive):
        await waiting
