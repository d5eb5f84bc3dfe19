"""Two gateways that write at the same moment: what holds on one gateway holds on several.

No lock of a gateway is common to two. So every rule between records has to be a condition of the transaction, which is
evaluated again behind what the other gateway has written. In each test that one goes first, after this gateway has
evaluated its own write and before it has stored it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from hivewire.access import revocations
from hivewire.access.users import UserContent
from hivewire.clocks import now
from hivewire.devices.index import KIND as DEVICE
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, NotAllowed, OutOfBounds, TokenRevoked, Unavailable, WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import ConfigurationPut
from hivewire_protocol.nouns.device import DeviceFields, DeviceSave
from hivewire_protocol.nouns.devicetype import DeviceTypeInsert
from hivewire_protocol.nouns.identity import TokenRevoke
from hivewire_protocol.nouns.network import NetworkDelete, NetworkInsert
from hivewire_protocol.nouns.user import Role, Status, UserDelete, UserUpdate, UserUpdateFields
from tests.http.test_application import Answer
from tests.http.test_application import Gateway as Door
from tests.protocol import tenants
from tests.rooms.site import Gateway, site
from tests.world import ADMIN, JOHN

KEY = "k" * 32
DOCUMENT = encode(tenants.document())


@pytest.fixture
async def two() -> AsyncIterator[list[Gateway]]:
    """Two gateways on one log. The administrator is not the only one."""
    async with site(api_key=KEY, property_count=3) as gateways:
        await gateways[0].ledger.commit(
            gateways[0].users.write("john", UserContent("", Role.ADMIN, generation=1), "admin")
        )
        yield gateways


async def outcome(asked: Awaitable[Any]) -> Any:
    """What is answered, an error too."""
    try:
        return await asked
    except WireError as error:
        return error


async def race(two: list[Gateway], mine: Any, theirs: Any) -> list[Any]:
    """What both are answered, when theirs is stored between the evaluation and the writing of mine."""
    found: list[Any] = [None, None]
    asked = [two[number].ask(each) if isinstance(each, Request) else each for number, each in enumerate((mine, theirs))]

    async def rival() -> None:
        found[1] = await outcome(asked[1])

    two[0].journal.script.append(rival)
    found[0] = await outcome(asked[0])
    assert not two[0].journal.script, "they met"
    return found


def client(user_id: int) -> UserUpdate:
    """The request that makes a user a client."""
    return UserUpdate(userId=user_id, user=UserUpdateFields(role=Role.CLIENT))


async def test_one_administrator_stays(two: list[Gateway]) -> None:
    """Of the last two, each of whom steps down on another gateway, one is refused."""
    mine, theirs = await race(two, client(ADMIN), client(JOHN))
    assert (type(mine), str(mine)) == (NotAllowed, "This is the last active administrator")
    assert not isinstance(theirs, WireError)
    for gateway in two:
        assert [user.id for user in gateway.users.administrators()] == [ADMIN]


async def test_a_deletion_and_a_demotion(two: list[Gateway]) -> None:
    """They meet in the same way; the rights of who was demoted have ended by then."""
    mine, _ = await race(two, UserDelete(userId=JOHN), client(ADMIN))
    assert isinstance(mine, Unavailable)
    assert [user.id for user in two[0].users.administrators()] == [JOHN]


async def test_a_login_has_one_user(two: list[Gateway]) -> None:
    """Of two users who are given the same login on two gateways, one gets it."""
    fields = UserUpdateFields(login="same")
    mine, theirs = await race(two, UserUpdate(userId=3, user=fields), UserUpdate(userId=4, user=fields))
    assert isinstance(mine, NotAllowed)
    assert not isinstance(theirs, WireError)
    found = two[0].users.by_login("same")
    assert found is not None
    assert found.id == 4


async def test_changes_of_one_user_do_not_undo_one_another(two: list[Gateway]) -> None:
    """A change is made again of what the other gateway has left: a revocation of all tokens is not lost."""
    token = two[1].token(JOHN)
    caller = two[0].caller(JOHN)
    await race(two, UserUpdate(userId=JOHN, user=UserUpdateFields(introReviewed=True)), TokenRevoke(userId=JOHN))
    for gateway in two:
        user = gateway.users.by_id(JOHN)
        assert user is not None
        assert (user.content.generation, user.content.intro_reviewed) == (2, True)
        with pytest.raises(TokenRevoked):
            gateway.tokens.verify(token, now())
        with pytest.raises(TokenRevoked):
            await gateway.ask(ConfigurationPut(name="a", value="1"), caller)


@pytest.mark.parametrize(
    "end",
    [
        UserUpdate(userId=JOHN, user=UserUpdateFields(status=Status.LOCKED_OUT)),
        UserUpdate(userId=JOHN, user=UserUpdateFields(role=Role.CLIENT)),
        TokenRevoke(tokenId="lost"),
    ],
    ids=["locked", "role", "revoked"],
)
async def test_nothing_is_written_behind_the_end_of_its_author(two: list[Gateway], end: Request) -> None:
    """What was evaluated before another gateway locked its author is not evaluated again behind that."""
    john = two[0].caller(JOHN, j="lost")
    put = two[0].ask(ConfigurationPut(name="a", value="1"), john)
    mine, theirs = await race(two, put, end)
    assert not isinstance(theirs, WireError)
    assert (type(mine), two[0].ledger.get("configuration", "a")) == (Unavailable, None)


async def test_two_revocations_at_once_are_both_done(two: list[Gateway]) -> None:
    """Of all tokens of one user: each begins a generation of its own."""
    both = await race(two, TokenRevoke(userId=JOHN), TokenRevoke(userId=JOHN))
    assert not any(isinstance(each, WireError) for each in both)
    assert two[0].users.by_id(JOHN).content.generation == 3  # type: ignore[union-attr]


async def test_the_limit_of_revocations(two: list[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for both together, and one that is remembered can be repeated."""
    monkeypatch.setattr(revocations, "MOST", 1)
    mine, theirs = await race(two, TokenRevoke(tokenId="mine"), TokenRevoke(tokenId="theirs"))
    assert (type(mine), type(theirs).__name__) == (OutOfBounds, "Reply")
    assert not isinstance(await outcome(two[0].ask(TokenRevoke(tokenId="theirs"))), WireError)
    assert ["theirs" in gateway.tokens.revocations for gateway in two] == [True, True]
    assert ["mine" in gateway.tokens.revocations for gateway in two] == [False, False]


@pytest.mark.parametrize("insert", [NetworkInsert, DeviceTypeInsert])
async def test_a_name_has_one_network_or_device_type(two: list[Gateway], insert: Any) -> None:
    """Of two of the same name, one is made; ids are never given twice."""
    member = "network" if insert is NetworkInsert else "deviceType"
    requests = [_built(insert, {member: {"name": "same"}}) for _ in two]
    mine, theirs = await race(two, *requests)
    assert isinstance(mine, NotAllowed)
    assert not isinstance(theirs, WireError)
    other = await two[0].ask(_built(insert, {member: {"name": "other"}}))
    ids = [_id(each, member) for each in (theirs, other)]
    assert len({*ids}) == 2


async def test_a_device_is_never_in_a_network_that_is_gone(two: list[Gateway]) -> None:
    """A network that is deleted while a device is saved in it is not deleted, or the device is not saved."""
    for number, mine_first in enumerate((True, False)):
        made = await two[0].ask(_built(NetworkInsert, {"network": {"name": f"n{number}"}}))
        kind = await two[0].ask(_built(DeviceTypeInsert, {"deviceType": {"name": f"t{number}"}}))
        network, device_type = _id(made, "network"), _id(kind, "deviceType")
        fields = DeviceFields(name="d", networkId=network, deviceTypeId=device_type)
        save = DeviceSave(deviceId=f"d{number}", device=fields)
        delete = NetworkDelete(networkId=network)
        pair = (delete, save) if mine_first else (save, delete)
        mine, theirs = await race(two, *pair)
        assert isinstance(mine, InvalidParameters)
        assert not isinstance(theirs, WireError)
        for gateway in two:
            there = gateway.services.registry.networks
            assert all(device.network in there for device in gateway.services.registry.devices_in(None, None))
            assert (gateway.ledger.get(DEVICE, f"d{number}") is not None) is mine_first


# Over HTTP.


async def ask(gateway: Gateway, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """An answer of the gateway to the administrator."""
    given = {"authorization": f"Bearer {gateway.token()}", "content_type": "application/json"}
    return await Door(gateway).ask(method, path, body, **{**given, "content_length": str(len(body)), **headers})


def batch(*names: str) -> bytes:
    """A batch of new properties."""
    rows = "".join(f'<property name="{name}"><contents type="text/plain">1</contents></property>' for name in names)
    return f"<properties>{rows}</properties>".encode()


async def test_the_limit_of_properties(two: list[Gateway]) -> None:
    """Batches on two gateways stop at it together; each entry is answered for itself."""
    path, kind = f"/@api/deki/site/properties?apikey={KEY}", {"content_type": "application/xml"}
    mine, theirs = await race(
        two,
        ask(two[0], "PUT", path, batch("a", "b"), **kind),
        ask(two[1], "PUT", path, batch("c", "d"), **kind),
    )
    assert (theirs.status, mine.status) == (200, 207)
    assert (mine.body.count(b"property_count"), [*two[0].ledger.kind("configuration").keys]) == (1, ["a", "c", "d"])


async def test_of_two_puts_with_one_etag_one_wins(two: list[Gateway]) -> None:
    """The other one gets 409, and nothing of it is written."""
    path = f"/@api/deki/site/properties/a?apikey={KEY}"
    first = await ask(two[0], "PUT", f"{path}&abort=never", b"1", content_type="text/plain")
    etag = {"etag": first.headers["etag"], "content_type": "text/plain"}
    mine, theirs = await race(
        two, ask(two[0], "PUT", path, b"mine", **etag), ask(two[1], "PUT", path, b"theirs", **etag)
    )
    assert (mine.status, theirs.status) == (409, 200)
    assert two[0].ledger.get("configuration", "a").content == b"theirs"  # type: ignore[union-attr]


@pytest.fixture
async def shop(two: list[Gateway]) -> list[Gateway]:
    """The same, with a tenant."""
    await two[0].ledger.commit(two[0].tenants.insert_tenant("shop", None))
    return two


DOOR = "/reltio/api/shop/configuration"


async def test_a_save_and_the_deletion_of_its_tenant(shop: list[Gateway]) -> None:
    """A document never outlives its tenant: a first save is refused when the tenant is gone, also one that comes back
    under its id."""
    remove = shop[1].tenants.delete_tenant("shop", None)
    mine, _ = await race(shop, ask(shop[0], "PUT", DOOR, DOCUMENT), shop[1].ledger.commit(remove))
    assert mine.status == 404
    for gateway in shop:
        assert gateway.ledger.get("tenantConfiguration", "shop") is None
    await shop[1].ledger.commit(shop[1].tenants.insert_tenant("shop", None))
    assert (await ask(shop[0], "GET", DOOR)).status == 404


async def test_of_two_saves_with_one_date_one_wins(shop: list[Gateway]) -> None:
    """The other one is evaluated again, against the version of the winner, and gets 412."""
    first = await ask(shop[0], "PUT", DOOR, DOCUMENT)
    since = {"if_unmodified_since": first.headers["last-modified"]}
    shop[0].clock.time = shop[1].clock.time = shop[0].clock.time + 60_000
    mine, theirs = await race(
        shop, ask(shop[0], "PUT", DOOR, DOCUMENT, **since), ask(shop[1], "PUT", DOOR, DOCUMENT, **since)
    )
    assert (mine.status, theirs.status) == (412, 200)


async def test_saves_count_on_from_one_another(shop: list[Gateway]) -> None:
    """Two without a date are both saved, one after the other; ids of elements come from one counter."""
    mine, theirs = await race(shop, ask(shop[0], "PUT", DOOR, DOCUMENT), ask(shop[1], "PUT", DOOR, DOCUMENT))
    assert (mine.status, theirs.status) == (200, 200)
    assert shop[0].ledger.get("tenantConfiguration", "shop").version == 2  # type: ignore[union-attr]


def _built(shape: type[Request], members: dict[str, Any]) -> Request:
    return build(shape, decode_members(encode(members)))


def _id(reply: Any, member: str) -> int:
    """The id in the reply to an insert."""
    return int(getattr(reply, member).id)
