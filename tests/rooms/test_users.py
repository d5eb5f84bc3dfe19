"""Users over the actions of DeviceHive: reading, deleting, renaming, memberships, and what tokens say of them (core
protocol, section 6.3; devices, addendum, sections 3 and 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec import Raw, structs

from hivewire.access.throttle import FREE_ATTEMPTS
from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.records import Transaction
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TokenRevoked,
    UnknownLogin,
    UserNotActive,
    WireError,
)
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import ConfigurationPut
from hivewire_protocol.nouns.device import DeviceFields, DeviceSave
from hivewire_protocol.nouns.identity import Authenticate, Token, TokenCreate, TokenPayload, TokenRefresh
from hivewire_protocol.nouns.membership import (
    UserAllowAllDeviceTypes,
    UserAssignDeviceType,
    UserAssignNetwork,
    UserDisallowAllDeviceTypes,
    UserGetDeviceType,
    UserGetDeviceTypes,
    UserGetNetwork,
    UserUnassignDeviceType,
    UserUnassignNetwork,
)
from hivewire_protocol.nouns.network import NetworkDelete
from hivewire_protocol.nouns.user import (
    Role,
    Status,
    UserCount,
    UserDelete,
    UserGet,
    UserGetCurrent,
    UserInsert,
    UserInsertFields,
    UserUpdate,
    UserUpdateCurrent,
    UserUpdateFields,
)
from hivewire_protocol.permissions import CLIENT
from tests.world import ADMIN, BOUND, HELPER, JOHN, HeldJournal, World

NOBODY = Caller("10.0.0.1", "h")
FRAME = "Error! Make sure, that the passed object is correct and properly structured. Validation failed: "
NEW: dict[str, Any] = {"login": "mary", "password": "mary's one", "role": 1}


async def grouped(world: World) -> None:
    """Networks 1 and 2, and device types 1 and 2."""
    for number in (1, 2):
        for kind in (NETWORK, DEVICE_TYPE):
            await world.ledger.commit(Transaction(insert(kind, GroupingContent(f"{kind} {number}"))))


def content(world: World, number: int) -> UserContent:
    user = world.users.by_id(number)
    assert user is not None
    return user.content


async def shown(world: World, request: Request, caller: Caller | None = None) -> Any:
    """The only member of a reply, as its client sees it."""
    reply = await world.ask(request, caller)
    [found] = msgspec.json.decode(b"{%b}" % reply.members()).values()
    return found


# Reading.


async def test_a_user_is_read_with_its_networks(world: World) -> None:
    """By id: those that exist, in the order of ids; `user/getCurrent` shows the same."""
    await grouped(world)
    for number in (2, 1):
        await world.ask(UserAssignNetwork(userId=JOHN, networkId=number))
    found = await shown(world, UserGet(userId=JOHN))
    assert (found["id"], found["login"], found["lastLogin"]) == (JOHN, "john", None)
    assert [network["id"] for network in found["networks"]] == [1, 2]
    backwards = structs.replace(content(world, JOHN), networks=[2, 1])
    await world.ledger.commit(world.users.write("john", backwards, None))
    assert await shown(world, UserGet(userId=JOHN)) == found
    assert found["networks"][0] == {"id": 1, "name": "network 1", "description": None}
    assert await shown(world, UserGetCurrent(), world.caller(JOHN)) == found
    await world.ask(NetworkDelete(networkId=1))
    assert [each["id"] for each in (await shown(world, UserGet(userId=JOHN)))["networks"]] == [2]


async def test_a_client_reads_only_itself_and_counts_all(world: World) -> None:
    """With ManageUser; others do not exist for it, while an administrator's narrow token reads everybody."""
    helper = world.caller(HELPER, [12])
    assert (await shown(world, UserGet(userId=HELPER), helper))["login"] == "helper"
    for number in (JOHN, ADMIN, 99):
        with pytest.raises(NotFound, match=rf"^User with id = {number} not found$"):
            await world.ask(UserGet(userId=number), helper)
    assert (await shown(world, UserGet(userId=JOHN), world.caller(ADMIN, [12])))["login"] == "john"
    assert (await world.ask(UserCount(), helper)).count == 5
    assert (await world.ask(UserCount(role=0), helper)).count == 1
    assert (await world.ask(UserCount(loginPattern="%o%"), helper)).count == 3
    with pytest.raises(InvalidParameters, match=r"^User id is wrong or empty$"):
        await world.ask(UserGet())


async def test_the_last_login_is_that_of_a_login(world: World) -> None:
    """`token`, `token/refresh` and `authenticate` set it, `token/create` does not, and it is shown at once."""
    await world.ask(TokenCreate(payload=TokenPayload(JOHN)))
    assert (await shown(world, UserGet(userId=JOHN)))["lastLogin"] is None
    tokens = await world.ask(Token(login="john", password="john's"), NOBODY)
    for number, request in enumerate(
        (TokenRefresh(refreshToken=tokens.refreshToken), Authenticate(token=tokens.accessToken)), 1
    ):
        before = (await shown(world, UserGet(userId=JOHN)))["lastLogin"]
        world.clock.time += number * 1_000
        await world.ask(request, Caller("10.0.0.1", "h"))
        assert (await shown(world, UserGet(userId=JOHN)))["lastLogin"] > before


async def test_a_login_while_others_are_saved_is_saved_too(world: World) -> None:
    """The next time: what is being saved has the login before."""
    users, remember, go = world.services.users, world.ledger.remember, asyncio.Event()

    async def slowly(notes: Mapping[str, str]) -> None:
        await go.wait()
        await remember(notes)

    world.ledger.remember = slowly  # type: ignore[method-assign]
    john = users.by_id(JOHN)
    assert john is not None
    users.logged_in(john)
    saving = asyncio.create_task(users.save_last_logins())
    await asyncio.sleep(0)
    world.clock.time += 1_000
    users.logged_in(john)
    go.set()
    await saving
    await users.save_last_logins()
    assert (await world.ledger.notes())[f"lastLogin:{JOHN}"] == str(users.last_login(john))


async def test_logins_that_are_being_saved_at_a_stop_are_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop ends what saves them now and then, and saves once more."""
    monkeypatch.setattr("hivewire.access.users.SAVE_LOGINS_SECONDS", 0)
    users, remember, begun = world.services.users, world.ledger.remember, asyncio.Event()

    async def first(notes: Mapping[str, str]) -> None:
        world.ledger.remember = remember  # type: ignore[method-assign]
        begun.set()
        await asyncio.Event().wait()

    world.ledger.remember = first  # type: ignore[method-assign]
    john = users.by_id(JOHN)
    assert john is not None
    users.logged_in(john)
    users.start()
    await begun.wait()
    await users.close()
    assert (await world.ledger.notes())[f"lastLogin:{JOHN}"] == str(users.last_login(john))


# Inserting and updating.


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"data": [], "login": ""}, InvalidParameters, "'parameters' must be JSON Object!"),
        (
            {"login": "", "role": 2, "status": 4},
            InvalidParameters,
            FRAME + "\nOn property login (value: ): Field login cannot be empty. The length of login should not be more"
            " than 128 symbols. ; \nOn property role (value: 2): The value of role should not be more than 1. ; "
            "\nOn property status (value: 4): The value of status should not be more than 3. ; ",
        ),
        (
            {"role": -1},
            InvalidParameters,
            FRAME + "\nOn property role (value: -1): The value of role should not be less than 0. ; ",
        ),
        (
            {"login": None, "role": None},
            InvalidParameters,
            FRAME + "\nOn property login (value: null): login field cannot be null. ; ",
        ),
        ({"login": "john", "role": None}, InvalidParameters, "User role is invalid or empty"),
        (
            {"login": " john ", "password": "x"},
            NotAllowed,
            "User with such login already exists. Please, select another one",
        ),
        ({"login": "a!", "password": "x\ny" * 3}, OutOfBounds, "Password can contain only from 6 to 128 symbols!"),
        (
            {"login": " a! "},
            OutOfBounds,
            "Field cannot be empty. The length of login should be from 3 to 128 symbols."
            "Login can contain only lowercase or uppercase letters, numbers, and some special symbols (_@.)",
        ),
        ({"status": 3}, OutOfBounds, "status must be 0 (active), 1 (locked out) or 2 (disabled)"),
    ],
)
async def test_an_insert_is_checked_in_the_order_of_devicehive(
    world: World, fields: dict[str, Any], error: type[WireError], text: str
) -> None:
    """With its texts, and the same for a client with ManageUser: the rules of the project's own come after them."""
    for caller in (world.admin, world.caller(HELPER, [12])):
        with pytest.raises(error) as refused:
            await world.ask(UserInsert(user=UserInsertFields(**NEW | fields)), caller)
        assert str(refused.value) == text
    with pytest.raises(NotAllowed, match=r"^Admin permissions required"):
        await world.ask(UserInsert(user=UserInsertFields(**NEW)), world.caller(HELPER, [12]))
    with pytest.raises(InvalidParameters, match=r"^User is required$"):
        await world.ask(UserInsert())


@pytest.mark.parametrize(("login", "password"), [("abc", "p" * 6), ("a-b@c.d_" + "e" * 120, "p" * 128)])
async def test_the_shortest_and_longest_logins_and_passwords_are_taken(world: World, login: str, password: str) -> None:
    """3 and 128 characters, 6 and 128; blanks around a login do not count."""
    given = NEW | {"login": login, "password": password}
    await world.ask(UserInsert(user=UserInsertFields(**given)))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(login=f" x{login[1:]} ", password=password)))
    for name in (login, "x" + login[1:]):
        await world.ask(Token(login=name, password=password), NOBODY)


async def test_a_put_without_a_body_changes_nothing(world: World) -> None:
    """Over HTTP, of a user who exists."""
    http = world.caller()
    http.http = True
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(data={"x": 1})))
    revision = world.ledger.revision
    for request in (UserUpdate(userId=JOHN), UserUpdateCurrent()):
        await world.ask(request, http)
    with pytest.raises(NotFound, match=r"^User with id = 99 not found$"):
        await world.ask(UserUpdate(userId=99), http)
    assert (content(world, JOHN).data, world.ledger.revision) == ({"x": 1}, revision)


async def test_only_who_is_made_active_has_its_wrong_passwords_forgiven(world: World) -> None:
    """A user that is unlocked logs in at once; other changes and dry runs do not help who tries passwords."""
    throttle = world.services.throttle

    def waits() -> bool:
        return throttle.wait("john", "10.0.0.9") > 0

    for _ in range(FREE_ATTEMPTS + 1):
        throttle.fail("john", "10.0.0.9")
    for fields, dry_run in (({"data": None}, False), ({"status": 1}, False), ({"status": 0}, True)):
        await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(**fields), dryRun=dry_run))
        assert waits()
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=0)))
    assert not waits()


async def test_who_is_no_administrator_any_more_decides_nothing(world: World) -> None:
    """Though it was one when its request began: with the role its tokens end, which are looked at again where the
    change is evaluated again."""
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
    first = asyncio.create_task(world.ask(UserUpdate(userId=BOUND, user=UserUpdateFields(introReviewed=True))))
    late = asyncio.create_task(world.ask(UserUpdate(userId=BOUND, user=UserUpdateFields(role=0)), world.caller(HELPER)))
    await asyncio.sleep(0)
    client = content(world, HELPER).with_role(Role.CLIENT)
    await world.ledger.commit(world.users.write("helper", client, None))
    with pytest.raises(TokenRevoked):
        await late
    await first
    assert (content(world, BOUND).role, content(world, BOUND).intro_reviewed) == (Role.CLIENT, True)


LOGIN_EMPTY = "Field login cannot be empty. The length of login should not be more than 128 symbols."


@pytest.mark.parametrize(
    ("number", "fields", "error", "text"),
    [
        (None, None, InvalidParameters, "User is required"),
        (None, {"login": "admin"}, InvalidParameters, "User id is wrong or empty"),
        (99, {"login": "admin"}, NotFound, "User with id = 99 not found"),
        (
            JOHN,
            {"login": "admin", "password": "x"},
            NotAllowed,
            "User with such login already exists. Please, select another one",
        ),
        (JOHN, {"login": "", "password": "x"}, OutOfBounds, "Password can contain only from 6 to 128 symbols!"),
        (JOHN, {"login": "", "role": 2, "status": 3}, OutOfBounds, "role must be 0 (administrator) or 1 (client)"),
        (JOHN, {"login": "", "status": 3}, OutOfBounds, "status must be 0 (active), 1 (locked out) or 2 (disabled)"),
        (JOHN, {"login": " "}, InvalidParameters, FRAME + f"\nOn property login (value:  ): {LOGIN_EMPTY} ; "),
        (
            JOHN,
            {"login": "ab"},
            OutOfBounds,
            "Field cannot be empty. The length of login should be from 3 to 128 symbols.",
        ),
        (JOHN, {"data": [1]}, InvalidParameters, "'parameters' must be JSON Object!"),
    ],
)
async def test_an_update_is_checked_in_the_order_of_devicehive(
    world: World, number: int | None, fields: dict[str, Any] | None, error: type[WireError], text: str
) -> None:
    """With its texts. A client is refused where it would change what administrators decide, before its values are."""
    given = None if fields is None else UserUpdateFields(**fields)
    with pytest.raises(error) as refused:
        await world.ask(UserUpdate(userId=number, user=given))
    assert str(refused.value) == text
    if number == JOHN and "login" in (fields or {}):
        with pytest.raises(NotAllowed, match=r"^Admin permissions required for this action$"):
            await world.ask(UserUpdate(userId=number, user=given), world.caller(HELPER, [12]))


async def test_a_new_login_keeps_the_user(world: World) -> None:
    """Its id, its tokens and open connections. What it writes now has the new login, and the former one is free."""
    john = world.caller(JOHN, [0])
    tokens = await world.ask(Token(login="john", password="john's"), NOBODY)
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(login=" jack ", data={"a": 1})))
    assert (await shown(world, UserGetCurrent(), john))["login"] == "jack"
    assert content(world, JOHN).data == {"a": 1}
    await world.ask(Authenticate(token=tokens.accessToken), Caller("10.0.0.1", "h"))
    await world.ask(ConfigurationPut(name="a", value="1"), john)
    record = world.ledger.get("configuration", "a")
    assert record is not None
    assert record.author == "jack"
    await world.ask(Token(login="jack", password="john's"), NOBODY)
    with pytest.raises(UnknownLogin):
        await world.ask(Token(login="john", password="john's"), NOBODY)
    created = (await world.ask(UserInsert(user=UserInsertFields(**NEW | {"login": "john"})))).user
    assert created.id == HELPER + 1
    again = World(world.journal)
    await again.ledger.open()
    await again.users.load()
    assert {user.login: user.id for user in again.users.all()}["jack"] == JOHN


async def test_a_login_that_is_taken_meanwhile_is_refused(world: World) -> None:
    """Of a rename and an insert at once one succeeds; ids go on where they were."""
    results = await asyncio.gather(
        world.ask(UserInsert(user=UserInsertFields(**NEW))),
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(login="mary"))),
        world.ask(UserUpdate(userId=BOUND, user=UserUpdateFields(login="mary"))),
        return_exceptions=True,
    )
    assert [isinstance(result, NotAllowed) for result in results].count(True) == 2
    assert [user.login for user in world.users.all()].count("mary") == 1
    before = max(user.id for user in world.users.all())
    assert (await world.ask(UserInsert(user=UserInsertFields(**NEW | {"login": "next"})))).user.id == before + 1


async def test_a_user_changes_itself(world: World) -> None:
    """Its password, data and introReviewed with any token that has the right; connections and tokens go on."""
    tokens = await world.ask(Token(login="john", password="john's"), NOBODY)
    john = world.caller(JOHN, [11], n=[], dt=[])
    fields = UserUpdateFields(login="john", password="a new one", data={"x": {}}, introReviewed=True)
    await world.ask(UserUpdateCurrent(user=fields), john)
    await world.ask(UserUpdateCurrent(user=UserUpdateFields(introReviewed=True)), john)
    assert (content(world, JOHN).data, content(world, JOHN).intro_reviewed) == (None, True)
    await world.ask(Authenticate(token=tokens.accessToken), Caller("10.0.0.1", "h"))
    await world.ask(Token(login="john", password="a new one"), NOBODY)
    for member in ({"role": 1}, {"status": 0}, {"login": "jack"}):
        with pytest.raises(NotAllowed, match=r"^Admin permissions required for this action$"):
            await world.ask(UserUpdateCurrent(user=UserUpdateFields(**member)), john)
    with pytest.raises(NotAllowed, match="unrestricted token"):
        await world.ask(UserUpdateCurrent(user=UserUpdateFields(role=0)), world.caller(ADMIN, [11]))
    with pytest.raises(InvalidParameters, match=r"^User is required$"):
        await world.ask(UserUpdateCurrent(), john)
    with pytest.raises(OutOfBounds, match="Password can contain only"):
        await world.ask(UserUpdateCurrent(user=UserUpdateFields(password="short")), john)


# Deleting.


async def test_a_deleted_user_is_gone_at_once(world: World) -> None:
    """Its connections, tokens and login; a new user of the same login is another one."""
    tokens = await world.ask(Token(login="john", password="john's"), NOBODY)
    john = world.caller(JOHN)
    await world.ask(UserDelete(userId=JOHN), world.caller(HELPER, [12]))
    with pytest.raises(UserNotActive):
        await world.ask(UserGetCurrent(), john)
    with pytest.raises(NotFound, match=rf"^User with id = {JOHN} not found$"):
        await world.ask(UserDelete(userId=JOHN))
    assert (await world.ask(UserInsert(user=UserInsertFields(**NEW | {"login": "john"})))).user.id == HELPER + 1
    for request in (Authenticate(token=tokens.accessToken), TokenRefresh(refreshToken=tokens.refreshToken)):
        with pytest.raises(WireError):
            await world.ask(request, Caller("10.0.0.1", "h"))


async def test_who_may_delete_whom(world: World) -> None:
    """Nobody itself; administrators only with an administrator's unrestricted token."""
    own = "^You can not delete a user or access key that you use to authenticate this request$"
    for caller, number in ((world.admin, ADMIN), (world.caller(HELPER, [12]), HELPER)):
        with pytest.raises(NotAllowed, match=own):
            await world.ask(UserDelete(userId=number), caller)
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0)))
    for caller in (world.caller(HELPER, [12]), world.caller(ADMIN, [12])):
        with pytest.raises(NotAllowed, match="unrestricted token"):
            await world.ask(UserDelete(userId=JOHN), caller)
    with pytest.raises(InvalidParameters, match=r"^User id is wrong or empty$"):
        await world.ask(UserDelete())
    results = await asyncio.gather(
        world.ask(UserDelete(userId=JOHN)),
        world.ask(UserDelete(userId=ADMIN), world.caller(JOHN)),
        return_exceptions=True,
    )
    assert len([result for result in results if isinstance(result, WireError)]) == 1
    assert len(world.users.administrators()) == 1


async def test_writes_of_a_deleted_user_that_wait_are_dropped() -> None:
    """They were sent before it was deleted, and are answered after."""
    journal = HeldJournal()
    world = await World(journal).open()
    helper = world.caller(HELPER)
    journal.began.clear()
    journal.go.clear()
    deleted = asyncio.create_task(world.ask(UserDelete(userId=HELPER)))
    await journal.began.wait()
    put = asyncio.create_task(world.ask(ConfigurationPut(name="a", value="1"), helper))
    await asyncio.sleep(0)
    journal.go.set()
    await deleted
    with pytest.raises(WireError, match="nothing was written"):
        await put
    await world.close()


async def test_writes_that_wait_are_dropped_when_their_author_leaves_a_network() -> None:
    """Its device there is not written behind that any more."""
    journal = HeldJournal()
    world = await World(journal).open()
    await grouped(world)
    await world.ask(UserAssignNetwork(userId=HELPER, networkId=1))
    helper = world.caller(HELPER)
    journal.began.clear()
    journal.go.clear()
    left = asyncio.create_task(world.ask(UserUnassignNetwork(userId=HELPER, networkId=1)))
    await journal.began.wait()
    device = DeviceFields(name="d", networkId=1, deviceTypeId=1)
    saved = asyncio.create_task(world.ask(DeviceSave(deviceId="d", device=device), helper))
    await asyncio.sleep(0)
    journal.go.set()
    await left
    with pytest.raises(WireError, match="nothing was written"):
        await saved
    await world.close()


# Memberships.


async def test_networks_are_assigned_and_unassigned(world: World) -> None:
    """Both again and again; a network of the user is nested in the answer."""
    await grouped(world)
    before = None
    for _ in range(2):
        await world.ask(UserAssignNetwork(userId=JOHN, networkId=2))
        assert before in (None, world.ledger.revision)
        before = world.ledger.revision
    found = msgspec.to_builtins((await world.ask(UserGetNetwork(userId=JOHN, networkId=2))).network)
    assert found == {"network": {"id": 2, "name": "network 2", "description": None}}
    for _ in range(2):
        await world.ask(UserUnassignNetwork(userId=JOHN, networkId=2))
    with pytest.raises(NotFound, match=rf"^Network with id 2 for user with id {JOHN} was not found$"):
        await world.ask(UserGetNetwork(userId=JOHN, networkId=2))
    for number in (1, 2):
        await world.ask(UserAssignNetwork(userId=JOHN, networkId=number))
    await world.ask(NetworkDelete(networkId=1))
    await world.ask(UserUnassignNetwork(userId=JOHN, networkId=2))
    assert content(world, JOHN).networks == [], "one that was deleted is forgotten"


async def test_device_types_are_assigned_to_who_does_not_have_all(world: World) -> None:
    """Allowing all ends the assignments; disallowing leaves none; over HTTP all of them are found one by one."""
    await grouped(world)
    with pytest.raises(NotAllowed, match=r"^Cannot assign device type to user with all device types allowed$"):
        await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=99))
    types = await shown(world, UserGetDeviceTypes(userId=JOHN))
    assert [each["id"] for each in types] == [1, 2]
    socket, http = world.caller(), world.caller()
    http.http = True
    found = await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=1), http)
    assert msgspec.to_builtins(found.deviceType) == {
        "deviceType": {"id": 1, "name": "deviceType 1", "description": None}
    }
    with pytest.raises(NotFound, match=rf"^Device type with id 1 for user with id {JOHN} not found$"):
        await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=1), socket)
    await world.ask(UserDisallowAllDeviceTypes(userId=JOHN))
    assert await shown(world, UserGetDeviceTypes(userId=JOHN)) == []
    for _ in range(2):
        await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=2))
    assert (await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=2))).deviceType.deviceType.id == 2
    assert [each["id"] for each in await shown(world, UserGetDeviceTypes(userId=JOHN))] == [2]
    await world.ask(UserDisallowAllDeviceTypes(userId=ADMIN))
    assert await shown(world, UserGetDeviceTypes(userId=ADMIN)) == [], "the role gives none"
    await world.ask(UserUnassignDeviceType(userId=JOHN, deviceTypeId=2))
    await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=1))
    await world.ask(UserAllowAllDeviceTypes(userId=JOHN))
    assert (content(world, JOHN).all_device_types_available, content(world, JOHN).device_types) == (True, [])


async def test_an_administrator_assigns_what_its_token_does_not_list(world: World) -> None:
    """These actions look at no ids of a token, except at a client's."""
    await grouped(world)
    narrow = world.caller(n=["1"], dt=["1"])
    await world.ask(UserDisallowAllDeviceTypes(userId=ADMIN), narrow)
    await world.ask(UserDisallowAllDeviceTypes(userId=JOHN), narrow)
    await world.ask(UserAssignNetwork(userId=JOHN, networkId=2), narrow)
    await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=2), narrow)
    assert (content(world, JOHN).networks, content(world, JOHN).device_types) == ([2], [2])


async def test_a_network_that_is_deleted_meanwhile_is_not_assigned(world: World) -> None:
    """The delete came first, so the user is no member of what is gone."""
    await grouped(world)
    results: Any = await asyncio.gather(
        world.ask(NetworkDelete(networkId=1)),
        world.ask(UserAssignNetwork(userId=JOHN, networkId=1)),
        return_exceptions=True,
    )
    assert [isinstance(result, NotFound) for result in results] == [False, True]
    assert not isinstance(results[0], BaseException)
    assert content(world, JOHN).networks == []


@pytest.mark.parametrize(
    "request_",
    [
        UserAssignNetwork(userId=BOUND, networkId=1),
        UserAllowAllDeviceTypes(userId=BOUND),
        UserDelete(userId=BOUND),
        UserUpdate(userId=BOUND, user=UserUpdateFields(data={"late": 1})),
    ],
)
async def test_a_change_of_a_user_is_not_repeated_for_one_who_was_locked_meanwhile(
    world: World, request_: Request
) -> None:
    """The right to it is checked again where it is evaluated again."""
    await grouped(world)
    for kind in ("networks", "device_types"):
        given = structs.replace(content(world, HELPER), **{kind: [1, 2]})
        await world.ledger.commit(world.users.write("helper", given, None))
    locked = structs.replace(content(world, HELPER), status=Status.LOCKED_OUT)
    fields = UserUpdateFields(introReviewed=True)
    first = asyncio.create_task(world.ask(UserUpdate(userId=BOUND, user=fields)))
    late = asyncio.create_task(world.ask(request_, world.caller(HELPER)))
    await asyncio.sleep(0)
    await world.ledger.commit(world.users.write("helper", locked, None))
    with pytest.raises(UserNotActive):
        await late
    await first
    found = content(world, BOUND)
    assert (found.intro_reviewed, found.networks, found.data) == (True, [], None)


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (UserAssignNetwork(), InvalidParameters, "User id is wrong or empty"),
        (UserAssignNetwork(networkId=1), InvalidParameters, "User id is wrong or empty"),
        (UserAssignNetwork(userId=99), InvalidParameters, "Network id is wrong or empty"),
        (UserAssignNetwork(userId=99, networkId=99), NotFound, "User with id = 99 not found"),
        (UserAssignNetwork(userId=JOHN, networkId=99), NotFound, "Network with id = 99 not found"),
        (UserUnassignNetwork(userId=JOHN, networkId=99), NotFound, "Network with id = 99 not found"),
        (UserGetNetwork(userId=99, networkId=1), NotFound, "User with id = 99 not found"),
        (UserGetDeviceType(userId=JOHN), InvalidParameters, "Device type id is wrong or empty"),
        (UserAssignDeviceType(userId=BOUND, deviceTypeId=99), NotFound, "Device type with id = 99 not found"),
        (UserUnassignDeviceType(userId=BOUND, deviceTypeId=99), NotFound, "Device type with id = 99 not found"),
        (UserGetDeviceTypes(), InvalidParameters, "User id is wrong or empty"),
        (UserAllowAllDeviceTypes(), InvalidParameters, "User id is wrong or empty"),
        (UserDisallowAllDeviceTypes(userId=99), NotFound, "User with id = 99 not found"),
    ],
)
async def test_a_wrong_membership_says_why(world: World, request_: Request, error: type[WireError], text: str) -> None:
    """In the order of DeviceHive: ids, user, then network or device type."""
    await grouped(world)
    with pytest.raises(error) as refused:
        await world.ask(request_)
    assert str(refused.value) == text


async def test_a_client_gives_nobody_what_it_does_not_reach(world: World) -> None:
    """Not to itself either, whatever its token grants; of others it sees only networks that it belongs to, and device
    types that it has."""
    await grouped(world)
    await world.ask(UserAssignNetwork(userId=HELPER, networkId=1))
    await world.ask(UserAssignNetwork(userId=JOHN, networkId=2))
    helper = world.caller(HELPER, [2, 14, 17, 18])
    await world.ask(UserAssignNetwork(userId=JOHN, networkId=1), helper)
    for number, caller in ((2, helper), (1, world.caller(HELPER, [14], n=["2"]))):
        with pytest.raises(AccessDenied, match=f"network {number} is not within reach"):
            await world.ask(UserAssignNetwork(userId=BOUND, networkId=number), caller)
    assert (await world.ask(UserGetNetwork(userId=JOHN, networkId=1), helper)).network.network.id == 1
    with pytest.raises(NotFound):
        await world.ask(UserGetNetwork(userId=JOHN, networkId=2), helper)
    bound = world.caller(BOUND, [17, 18])
    with pytest.raises(AccessDenied):
        await world.ask(UserAssignDeviceType(userId=BOUND, deviceTypeId=1), bound)
    with pytest.raises(AccessDenied):
        await world.ask(UserAllowAllDeviceTypes(userId=BOUND), bound)
    await world.ask(UserAssignDeviceType(userId=BOUND, deviceTypeId=1), helper)
    await world.ask(UserDisallowAllDeviceTypes(userId=JOHN))
    for number in (1, 2):
        await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=number))
    assert (await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=1), bound)).deviceType.deviceType.id == 1
    with pytest.raises(NotFound):
        await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=2), bound)
    for caller in (  # with all types, what a token lists says nothing
        world.caller(HELPER, [18], n=["1"]),
        world.caller(HELPER, [18], n=[]),
        world.caller(HELPER, [18], dt=["1"]),
    ):
        await world.ask(UserUnassignDeviceType(userId=JOHN, deviceTypeId=2), caller)
    await world.ask(UserDisallowAllDeviceTypes(userId=HELPER))
    for number in (1, 2):
        await world.ask(UserAssignDeviceType(userId=HELPER, deviceTypeId=number))
    narrow = world.caller(HELPER, [18], n=["*"], dt=["2"])
    await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=2), narrow)
    with pytest.raises(AccessDenied, match="device type 1 is not within reach"):
        await world.ask(UserUnassignDeviceType(userId=JOHN, deviceTypeId=1), narrow)
    await world.ask(UserAllowAllDeviceTypes(userId=HELPER))
    await world.ask(UserAllowAllDeviceTypes(userId=BOUND), helper)


async def test_nobody_has_what_was_deleted(world: World) -> None:
    """Though the user's record still names it."""
    await grouped(world)
    given = structs.replace(content(world, JOHN), networks=[9], device_types=[9], all_device_types_available=False)
    await world.ledger.commit(world.users.write("john", given, None))
    with pytest.raises(NotFound, match=rf"^Network with id 9 for user with id {JOHN} was not found$"):
        await world.ask(UserGetNetwork(userId=JOHN, networkId=9))
    with pytest.raises(NotFound, match=rf"^Device type with id 9 for user with id {JOHN} not found$"):
        await world.ask(UserGetDeviceType(userId=JOHN, deviceTypeId=9))
    assert await shown(world, UserGetDeviceTypes(userId=JOHN)) == []


def test_records_from_before_memberships_are_read() -> None:
    """A user without networks and device types is written as it was before."""
    old = b'{"password_hash":"x","role":0,"status":0,"data":null}'
    found = msgspec.json.decode(old, type=UserContent)
    assert (found.networks, found.device_types, found.all_device_types_available) == ([], [], True)
    assert b"networks" not in msgspec.json.encode(found)


# Tokens.


@pytest.mark.parametrize("assigned", [[], [1, 2]], ids=["none", "two"])
@pytest.mark.parametrize("all_types", [True, False])
async def test_exactly_the_own_rights_pass(world: World, assigned: list[int], all_types: bool) -> None:
    """What DeviceHive's JavaScript client does: it logs in and at once asks for a token with what its token says."""
    await grouped(world)
    new = structs.replace(
        content(world, JOHN), networks=assigned, device_types=assigned, all_device_types_available=all_types
    )
    await world.ledger.commit(world.users.write("john", new, None))
    login = await world.ask(Token(login="john", password="john's"), NOBODY)
    claims = world.tokens.claims(login.accessToken)
    ids = [str(number) for number in assigned]
    assert (claims.a, claims.n, claims.dt) == (sorted(CLIENT), ids, ["*"] if all_types else ids)
    caller = Caller("10.0.0.1", "h", identity=world.tokens.verify(login.accessToken, now()))
    given = [[Raw(msgspec.json.encode(each)) for each in part] for part in claims_of(claims)]
    payload = TokenPayload(JOHN, actions=given[0], networkIds=given[1], deviceTypeIds=given[2])
    made = world.tokens.claims((await world.ask(TokenCreate(payload=payload), caller)).accessToken)
    assert claims_of(made) == claims_of(claims)


def claims_of(claims: Any) -> tuple[Any, Any, Any]:
    return claims.a, claims.n, claims.dt


async def test_a_token_may_name_what_does_not_exist(world: World) -> None:
    """Ids that nobody has, of which the user is no member, empty lists, none, and no actions."""
    for given in ([b"77", b'"78"'], [], None):
        scope: Any = None if given is None else [Raw(each) for each in given]
        payload = TokenPayload(BOUND, networkIds=scope, deviceTypeIds=scope)
        claims = world.tokens.claims((await world.ask(TokenCreate(payload=payload))).accessToken)
        wanted = None if given is None else ["77", "78"][: len(given)]
        assert (claims.a, claims.n, claims.dt) == ([1], wanted, wanted)


async def test_an_administrator_that_loses_all_device_types_is_restricted_at_once(world: World) -> None:
    """On an open connection too, if its token names only some of them."""
    helper = World.caller
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
    narrow = helper(world, HELPER, dt=["1"])
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=0)), narrow)
    await world.ask(UserDisallowAllDeviceTypes(userId=HELPER))
    with pytest.raises(NotAllowed, match="unrestricted token"):
        await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=0)), narrow)
