"""Networks and device types: the same requests for both, over a ledger in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hivewire.access.user_changes import change_user
from hivewire.access.users import User
from hivewire.caller import Caller
from hivewire.devices import registry
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent
from hivewire.ledger.records import Transaction, Write
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.user import Status
from tests.world import ADMIN, BOUND, JOHN, World, opened


class Word(NamedTuple):
    """How a noun is spelt: the kind of its records, its actions, its members, and its texts."""

    kind: str
    action: str
    one: str
    many: str
    title: str
    claim: str

    @property
    def id(self) -> str:
        """The member that names one."""
        return self.one + "Id"


WORDS = {
    "network": Word(NETWORK, "network", "network", "networks", "Network", "n"),
    "device type": Word(DEVICE_TYPE, "devicetype", "deviceType", "deviceTypes", "Device type", "dt"),
}
V = "Error! Make sure, that the passed object is correct and properly structured. Validation failed: "
LENGTHS = {
    "name": "Field cannot be empty. The length of name should not be more than 128 symbols.",
    "description": "The length of description should not be more than 128 symbols.",
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


@pytest.fixture(params=list(WORDS))
def word(request: pytest.FixtureRequest) -> Word:
    return WORDS[request.param]


def asked(word: Word, what: str, **members: Any) -> Any:
    """The request `what` of a noun. `id` is the member that names one, and `its` the object."""
    given = {{"id": word.id, "its": word.one}.get(name, name): value for name, value in members.items()}
    action = f"{word.action}/{what}"
    return msgspec.json.decode(msgspec.json.encode({"action": action, **given}), type=REQUESTS[action])


async def make(world: World, word: Word, name: str, description: str | None = None) -> int:
    """Create one; its id."""
    reply = await world.ask(asked(word, "insert", its={"name": name, "description": description}))
    created: int = getattr(reply, word.one).id
    return created


async def names(world: World, word: Word, caller: Caller | None = None, **members: Any) -> list[str]:
    """The names in a list."""
    return [each["name"] for each in await listed(world, word, caller, **members)]


async def listed(world: World, word: Word, caller: Caller | None = None, **members: Any) -> list[dict[str, Any]]:
    """A list as it is sent."""
    reply = await world.ask(asked(word, "list", **members), caller)
    found: list[dict[str, Any]] = msgspec.json.decode(b"{%b}" % reply.members())[word.many]
    return found


async def shown(world: World, word: Word, number: int, caller: Caller | None = None) -> dict[str, Any]:
    """One as it is sent."""
    reply = await world.ask(asked(word, "get", id=number), caller)
    found: dict[str, Any] = msgspec.json.decode(b"{%b}" % reply.members())[word.one]
    return found


async def assign(world: World, user: int, **lists: Any) -> None:
    """Set the networks or the device types of a user."""

    def change(user: User) -> Transaction:
        return world.users.replace(user, structs.replace(user.content, **lists), None)

    await change_user(world.users, None, user, change)


async def register(world: World, device: str, network: int = 1, device_type: int = 1) -> None:
    """Write a device."""
    content = DeviceContent(name=f"{device}'s name", network=network, type=device_type)
    await world.ledger.commit(Transaction([Write(DEVICE, device, msgspec.json.encode(content))]))


async def refusal(world: World, request: Any, caller: Caller | None = None) -> tuple[type[WireError], str]:
    """The error that a request gets."""
    with pytest.raises(WireError) as refused:
        await world.ask(request, caller)
    return type(refused.value), str(refused.value)


def over_http(caller: Caller) -> Caller:
    """The same caller with a request of HTTP."""
    caller.http = True
    return caller


async def test_one_is_created_read_changed_and_deleted(world: World, word: Word) -> None:
    """The answers have DeviceHive's members; null changes nothing, and an empty text empties the description."""
    assert await make(world, word, "a", "first") == 1
    full = await shown(world, word, 1)
    assert full == {"devices": [], "id": 1, "name": "a", "description": "first"}
    await world.ask(asked(word, "update", id=1, its={"name": None, "description": None}))
    await world.ask(asked(word, "update", id=1, its={}))
    assert await listed(world, word) == [{"id": 1, "name": "a", "description": "first"}]
    await world.ask(asked(word, "update", id=1, its={"id": 7, "name": "b", "description": ""}))
    full = await shown(world, word, 1)
    assert (full["name"], full["description"]) == ("b", "")
    await world.ask(asked(word, "delete", id=1))
    assert await names(world, word) == []
    assert await make(world, word, "b") == 2


async def test_what_is_wrong_with_an_object_is_said_in_devicehives_words(world: World, word: Word) -> None:
    """Each rule has its text, with the member and its value; several are said together; an `id` is refused over a
    socket and ignored over HTTP and in a change."""
    long = "n" * 129
    for its, broken in (
        ({}, [("name", "null", "name field cannot be null.")]),
        ({"name": None}, [("name", "null", "name field cannot be null.")]),
        ({"name": ""}, [("name", "", LENGTHS["name"])]),
        ({"name": long}, [("name", long, LENGTHS["name"])]),
        ({"name": "a", "description": long}, [("description", long, LENGTHS["description"])]),
        ({"name": long, "description": long}, [(name, long, LENGTHS[name]) for name in ("name", "description")]),
    ):
        text = V + "".join(f"\nOn property {name} (value: {value}): {rule} ; " for name, value, rule in broken)
        assert await refusal(world, asked(word, "insert", its=its)) == (InvalidParameters, text)
    longer = await refusal(world, asked(word, "insert", its={"name": "n" * 257}))
    assert f"(value: {'n' * 256}): " in longer[1], "a text of any length is not repeated whole"
    assert await make(world, word, "n" * 128, "d" * 128) == 1
    for its, name in (({"name": ""}, "name"), ({"description": long}, "description")):
        found = await refusal(world, asked(word, "update", id=1, its=its))
        assert found == (InvalidParameters, f"{V}\nOn property {name} (value: {its[name]}): {LENGTHS[name]} ; ")
    for insert in (asked(word, "insert"), asked(word, "insert", its=None), asked(word, "update", id=1)):
        assert await refusal(world, insert) == (InvalidParameters, f"{word.title} is required")
    with_id = asked(word, "insert", its={"id": 5, "name": "a"})
    assert await refusal(world, with_id) == (
        InvalidParameters,
        "Invalid request parameters. Id cannot be specified.",
    )
    await world.ask(with_id, over_http(world.caller()))
    await world.ask(asked(word, "insert", its={"id": None, "name": "b"}))
    assert await names(world, word, sortField="name") == ["a", "b", "n" * 128]


async def test_a_name_that_is_taken_is_refused(world: World, word: Word) -> None:
    """In an insert and in an update, with the same text; to keep one's own name is no fault."""
    await make(world, word, "a")
    await make(world, word, "b")
    taken = (NotAllowed, f"{word.title} cannot be created. {word.title} with such name already exists")
    assert await refusal(world, asked(word, "insert", its={"name": "a"})) == taken
    assert await refusal(world, asked(word, "update", id=2, its={"name": "a"})) == taken
    await world.ask(asked(word, "update", id=2, its={"name": "b", "description": "d"}))
    await world.ask(asked(word, "update", id=1, its={"name": "A"}))
    assert await names(world, word) == ["A", "b"]


async def test_concurrent_writes_of_one_name_or_record_all_count(world: World, word: Word) -> None:
    """Of many inserts of a name one succeeds; of many updates of one record each is applied to the result of those
    before it."""
    made = await asyncio.gather(*[make(world, word, "a") for _ in range(5)], return_exceptions=True)
    assert [each for each in made if isinstance(each, int)] == [1]
    changes = [{"name": "b"}, {"description": "d"}]
    await asyncio.gather(*[world.ask(asked(word, "update", id=1, its=its)) for its in changes])
    full = await shown(world, word, 1)
    assert (full["name"], full["description"]) == ("b", "d")


@pytest.mark.parametrize(("what", "members"), [("update", {"its": {"name": "late"}}), ("delete", {})])
async def test_a_write_is_not_repeated_for_a_user_who_was_locked_meanwhile(
    world: World, word: Word, what: str, members: dict[str, Any]
) -> None:
    """The right to it is checked again where it is evaluated again."""
    await make(world, word, "a")
    await assign(world, BOUND, networks=[1], device_types=[1])
    locked = structs.replace(world.staff["bound"], status=Status.LOCKED_OUT)
    first = asyncio.create_task(world.ask(asked(word, "update", id=1, its={"name": "first"})))
    late = asyncio.create_task(refusal(world, asked(word, what, id=1, **members), world.caller(BOUND)))
    await asyncio.sleep(0)
    await world.ledger.commit(world.users.write("bound", locked, None))
    assert (await late)[0] is UserNotActive
    await first
    assert await names(world, word) == ["first"]


async def test_the_scope_comes_before_the_id_and_that_before_the_body(world: World, word: Word) -> None:
    """403 out of the token's scope, also of what does not exist; then 400 without an id, then 404, then the rest."""
    await make(world, word, "a")
    narrow = world.caller(BOUND, n=["2"], dt=["2"])
    for what, members in (("get", {}), ("update", {"its": {"name": ""}}), ("delete", {"force": True})):
        assert await refusal(world, asked(word, what, id=1, **members), narrow) == (AccessDenied, "Access is denied")
        assert await refusal(world, asked(word, what, id=9, **members), narrow) == (AccessDenied, "Access is denied")
        wrong = (InvalidParameters, f"{word.title} id is wrong or empty")
        assert await refusal(world, asked(word, what, **members), narrow) == wrong
        missing = (NotFound, f"{word.title} with id = 2 not found")
        assert await refusal(world, asked(word, what, id=2, **members), narrow) == missing
    assert await names(world, word) == ["a"]


async def test_lists_are_sorted_and_paged_by_devicehives_rules(world: World, word: Word) -> None:
    """`sortField` and `sortOrder` in any case; 20 over a socket, all over HTTP; bad values are 400."""
    for number in range(25):
        await make(world, word, f"{word.one} {number:02}")
    everybody = [f"{word.one} {number:02}" for number in range(25)]
    assert await names(world, word) == everybody[:20]
    assert await names(world, word, over_http(world.caller())) == everybody
    assert await names(world, word, sortField="NAME", sortOrder="dEsC", take=2, skip=1) == everybody[-2:-4:-1]
    assert await names(world, word, sortField="ID", sortOrder="desc", take=2) == everybody[:-3:-1]
    assert await names(world, word, take=0) == []
    assert await names(world, word, skip=24) == everybody[24:]
    assert await names(world, word, skip=25) == []
    wrong = (InvalidParameters, "Invalid request parameters")
    for members in ({"sortField": "login"}, {"sortField": "name", "sortOrder": "up"}):
        assert await refusal(world, asked(word, "list", **members)) == wrong
    for page in ({"take": -1}, {"skip": -1}):
        assert await refusal(world, asked(word, "list", **page)) == (
            OutOfBounds,
            "must be greater than or equal to 0",
        )
    long = asked(word, "count", namePattern="_" * 257)
    assert await refusal(world, long) == (OutOfBounds, "namePattern is longer than 256 characters")


NAMES = st.text("ab_%", min_size=1, max_size=3)
SUBSETS = st.sets(st.integers(1, 6), max_size=4)


@given(
    existing=st.lists(NAMES, unique=True, max_size=6),
    deleted=SUBSETS,
    claimed=st.none() | st.just("*") | SUBSETS,
    assigned=SUBSETS,
    admin=st.booleans(),
    everything=st.booleans(),
    name=st.none() | NAMES,
    pattern=st.none() | NAMES,
    page=st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)),
    order=st.sampled_from([None, "asc", "desc"]),
    word=st.sampled_from(list(WORDS.values())),
    http=st.booleans(),
)
def test_a_caller_sees_what_its_token_and_its_user_both_reach(word: Word, **given: Any) -> None:
    """Lists, counts and reads agree with a naive filter: by the ids of the token, the user's own ids unless it is an
    administrator or has all types, the name, the pattern, the order and the page."""
    asyncio.run(scope_is_naive(word, **given))


async def scope_is_naive(
    word: Word,
    existing: list[str],
    deleted: set[int],
    claimed: str | set[int] | None,
    assigned: set[int],
    admin: bool,
    everything: bool,
    name: str | None,
    pattern: str | None,
    page: tuple[int | None, int | None],
    order: str | None,
    http: bool,
) -> None:
    async with opened() as world:
        for each in existing:
            await make(world, word, each)
        present = dict(enumerate(existing, 1))
        for number in deleted & {*present}:
            await world.ask(asked(word, "delete", id=number))
            del present[number]
        lists: dict[str, Any] = {"networks" if word.kind == NETWORK else "device_types": sorted(assigned)}
        user = ADMIN if admin else JOHN
        await assign(world, user, **lists, all_device_types_available=everything)
        claim = None if claimed is None else ["*"] if isinstance(claimed, str) else [str(each) for each in claimed]
        claims: dict[str, Any] = {word.claim: claim}
        caller = world.caller(user, **claims)
        caller.http = http

        all_types = word.kind == DEVICE_TYPE and everything
        granted = {*present} if claimed == "*" or all_types else {*(claimed or ())}
        own = {*present} if admin or all_types else assigned
        expression = None if pattern is None else re.escape(pattern).replace("%", ".*").replace("_", ".")

        def found(ids: set[int]) -> list[str]:
            return [
                each
                for number, each in present.items()
                if number in ids
                and name in (None, each)
                and (expression is None or re.fullmatch(expression, each) is not None)
            ]

        expected = found(granted & own)
        counted = expected
        if word.kind == NETWORK and claimed is None:
            counted = found({*present} & own)
        elif word.kind == DEVICE_TYPE and not http:
            counted = found({*present})
        if order is not None:
            expected.sort(reverse=order == "desc")
        take, skip = page
        rest = expected[skip or 0 :]
        members = {"name": name, "namePattern": pattern, "take": take, "skip": skip}
        if order is not None:
            members |= {"sortField": "name", "sortOrder": order}
        assert await names(world, word, caller, **members) == (rest if take is None else rest[:take])
        count = await world.ask(asked(word, "count", name=name, namePattern=pattern), caller)
        assert count.count == len(counted)
        for number in range(1, 7):
            try:
                found_one = await shown(world, word, number, caller)
            except AccessDenied:
                assert number not in granted and not (claimed == "*" or all_types)
            except NotFound:
                assert number not in present or number not in own
            else:
                assert found_one["name"] == present[number]
                assert number in granted & own


async def test_what_a_token_lists_is_counted(world: World) -> None:
    """A token that says nothing of networks restricts no count of them; over a socket all device types are counted."""
    for word, name in product(WORDS.values(), "abc"):
        await make(world, word, name)
    await assign(world, BOUND, networks=[1, 2], device_types=[1, 2])
    network, device_type = WORDS.values()
    given: tuple[tuple[Word, Caller, int], ...] = (
        (network, world.caller(n=["1", "9"]), 1),
        (network, world.caller(n=[]), 0),
        (network, world.caller(n=None), 3),
        (network, world.caller(BOUND, n=None), 2),
        (network, world.caller(BOUND, n=["2", "3"]), 1),
        (device_type, over_http(world.caller(BOUND, dt=["2", "3"])), 1),
        (device_type, over_http(world.caller(BOUND, dt=["*"])), 2),
        (device_type, world.caller(BOUND, dt=["2", "3"]), 3),
    )
    for word, caller, number in given:
        assert (await world.ask(asked(word, "count"), caller)).count == number


async def test_the_devices_of_one_are_those_that_the_token_reaches(world: World) -> None:
    """By creation, with their data; of a network those of the token's types, of a type those of the token's networks
    and, for a client, of its own."""
    network, device_type = WORDS.values()
    for name in ("a", "b"):
        await make(world, network, name)
        await make(world, device_type, name)
    for device, place in (("z", (1, 1)), ("y", (1, 2)), ("x", (2, 1)), ("w", (1, 1))):
        await register(world, device, *place)
    await assign(world, BOUND, networks=[1], device_types=[1, 2])

    async def devices(word: Word, number: int, caller: Caller) -> list[str]:
        return [each["id"] for each in (await shown(world, word, number, caller))["devices"]]

    full = await shown(world, network, 2)
    assert list(full) == ["devices", "id", "name", "description"]
    assert full["devices"] == [{"id": "x", "name": "x's name", "data": None, "isBlocked": False}]
    blocked = DeviceContent(name="x", data=msgspec.Raw(b'{"k":1}'), network=2, type=1, blocked=True)
    await world.ledger.commit(Transaction([Write(DEVICE, "x", msgspec.json.encode(blocked))]))
    [device] = (await shown(world, network, 2))["devices"]
    assert device == {"id": "x", "name": "x", "data": {"k": 1}, "isBlocked": True}
    assert await devices(network, 1, world.admin) == ["z", "y", "w"]
    assert await devices(network, 1, world.caller(BOUND, dt=["2"])) == ["y"]
    assert await devices(network, 1, world.caller(BOUND, dt=[])) == []
    assert await devices(device_type, 1, world.admin) == ["z", "x", "w"]
    assert await devices(device_type, 1, world.caller(n=["2"])) == ["x"]
    assert await devices(device_type, 1, world.caller(BOUND)) == ["z", "w"]
    assert await devices(device_type, 1, world.caller(BOUND, n=["2"])) == []


async def test_one_with_devices_is_deleted_only_by_force(world: World, word: Word) -> None:
    """The refusal names the devices that the caller sees. By force they go with it, at once."""
    for each in WORDS.values():
        await make(world, each, "a")
    for device in ("b", "a"):
        await register(world, device)
    text = (
        f"There are the following devices within this {word.title.lower()}: b, a. Please review and delete them first."
    )
    for members in ({}, {"force": False}, {"force": None}):
        assert await refusal(world, asked(word, "delete", id=1, **members)) == (InvalidParameters, text)
    await world.ask(asked(word, "delete", id=1, force=True))
    assert world.services.registry.device("a") is None
    (other,) = [each for each in WORDS.values() if each != word]
    assert (await shown(world, other, 1))["devices"] == []
    await world.ask(asked(other, "delete", id=1))


async def test_devices_that_a_caller_does_not_see_keep_nothing(world: World, word: Word) -> None:
    """A client that belongs to the other side only: as in DeviceHive, it deletes what it would not be shown."""
    for each in WORDS.values():
        await make(world, each, "a")
    await register(world, "d")
    await assign(world, BOUND, **({"device_types": [1]} if word.kind == NETWORK else {"networks": [1]}))
    await world.ask(asked(word, "delete", id=1), world.caller(BOUND))
    assert world.services.registry.device("d") is None


async def test_the_refusal_names_100_devices_at_most(world: World, word: Word) -> None:
    """And says when there are more, so that it is short however many there are."""
    for each in WORDS.values():
        await make(world, each, "a")
    for number in range(101):
        await register(world, f"d{number}")
        if number >= 99:
            _, text = await refusal(world, asked(word, "delete", id=1))
            more = " and more" if number == 100 else ""
            assert f"{word.title.lower()}: d0, d1, " in text
            assert f", d99{more}. Please review" in text
            assert text.count(",") == 99


async def test_a_device_of_the_same_moment_is_not_lost_with_what_it_is_in(world: World, word: Word) -> None:
    """A device that is registered in the same commit as an unforced delete comes first: the delete is refused, and the
    other way round the guarded device is."""
    for each in WORDS.values():
        await make(world, each, "a")
    content = msgspec.json.encode(DeviceContent(name="d", network=1, type=1))
    saved = Transaction(
        [Write(DEVICE, "d", content)], guards=[registry.exists(each.kind, 1) for each in WORDS.values()]
    )
    _, refused = await asyncio.gather(
        world.ledger.commit(saved), refusal(world, asked(word, "delete", id=1)), return_exceptions=False
    )
    assert refused[0] is InvalidParameters
    assert "d. Please" in refused[1]


async def test_contents_are_small_json(world: World, word: Word) -> None:
    """The record of one is a JSON object of its name and description, audited under its id with its name."""
    await make(world, word, "a")
    change = world.ledger.get(word.kind, "1")
    assert change is not None
    assert (change.content, change.description, change.author) == (b'{"name":"a"}', "a", "admin")
    assert msgspec.json.decode(b'{"name":"a"}', type=GroupingContent) == GroupingContent("a")
