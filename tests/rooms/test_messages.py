"""Every action requires and answers what its struct says. (`World.ask` holds the replies and errors of all tests.)

A request with a new required member needs an example of it in EXAMPLES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import structs

from hivewire.access.tokens import ACCESS, REFRESH, Claims
from hivewire.clocks import now
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.records import Transaction
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotAllowed,
    OutOfBounds,
    Unauthorized,
    WireError,
)
from hivewire_protocol.nouns.configuration import ConfigurationPut, TransactChange
from hivewire_protocol.nouns.device import DeviceFields
from hivewire_protocol.nouns.identity import Authenticate, Token, TokenPayload
from hivewire_protocol.nouns.user import UserInsertFields
from hivewire_protocol.schemas import ADDRESS, member, members_of
from tests.contract import hold_error, hold_reply
from tests.world import ADMIN, HOUR, JOHN, World, opened

EXAMPLES: dict[str, Any] = {
    "name": "kept",
    "value": "v",
    "names": "kept",
    "schedule": 1,
    "changes": [{"operation": "delete", "name": "kept"}],
    "subscriptionId": 1,
    "login": "john",
    "password": "john's",
    "payload": {"userId": JOHN},
    "userId": JOHN,
    "user": {},
    "tenantId": "T1",
    "tenants": {"T0": ["READ"]},
    "clientId": "c1",
    "connectionId": "0123abcd-1",
    "deviceId": "lamp",
    "device": {"name": "Lamp"},
    "command": {},
    "commandId": 1,
    "notification": {"notification": "n"},
    "notificationId": 1,
    "networkId": 1,
    "network": {"name": "n"},
    "deviceTypeId": 1,
    "deviceType": {"name": "t"},
    "layer": "cold",
    "target": {},
    "rank": 5,
    "steps": [{"percent": 100}],
    "rollout": 1,
    "report": [{"name": "n", "tag": "t"}],
}
"""A good value for each member that some request requires, unless it is a token."""

ALSO: dict[str, dict[str, Any]] = {
    "configuration/rollback": {"to": 1},
    "rollout/start": {"changes": [{"operation": "put", "name": "kept", "value": "v"}]},
    "schema/put": {"schema": True},
    "schema/check": {"name": "kept", "value": "v"},
    "device/report": {"deviceId": "kept"},
    "user/insert": {"user": {"login": "jane", "password": "jane's password", "role": 1}},
    **{action: {"deviceId": "kept"} for action in REQUESTS if action.startswith(("command/", "notification/"))},
}
"""What a request needs besides: one of several members, or members of a member."""

PARTS: dict[str, tuple[str, Any]] = {
    "configuration/transact": ("changes", TransactChange),
    "token/create": ("payload", TokenPayload),
    "user/insert": ("user", UserInsertFields),
    "device/save": ("device", DeviceFields),
}
"""The structs inside of requests that require something themselves, by the member that holds them."""

CASES = [(action, member) for action, shape in REQUESTS.items() for member in shape.required]
CASES_OF_PARTS = [(action, member) for action, (_, shape) in PARTS.items() for member in shape.required]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One in which the examples exist, as far as they have to."""
    async with opened() as world:
        await world.store("kept")
        await world.ledger.commit(world.tenants.insert_tenant("T0", "admin"))
        for kind in (NETWORK, DEVICE_TYPE):
            for name in ("first", "second"):
                await world.ledger.commit(Transaction(insert(kind, GroupingContent(name))))
        await world.ledger.commit(world.users.write("admin", structs.replace(world.staff["admin"], networks=[1]), None))
        kept = {"deviceId": "kept", "device": {"name": "Kept", "networkId": 2, "deviceTypeId": 2}}
        assert await refused(world, "device/save", kept) is None
        yield world


def example(world: World, action: str) -> dict[str, Any]:
    """The members that a request needs, with good values."""
    claims = {"token": ACCESS, "refreshToken": REFRESH}
    given = {
        member: world.tokens.mint(Claims([0], now() + HOUR, claims[member], ADMIN, ["*"], ["*"]))
        if member in claims
        else EXAMPLES[member]
        for member in REQUESTS[action].required
    }
    return given | ALSO.get(action, {})


async def refused(world: World, action: str, members: dict[str, Any]) -> WireError | None:
    """The error that the request gets, if it gets one."""
    try:
        await world.ask(build(REQUESTS[action], decode_members(msgspec.json.encode(members))))
    except WireError as error:
        return error
    return None


@pytest.mark.parametrize(("action", "member"), CASES)
async def test_a_required_member_is_required(world: World, action: str, member: str) -> None:
    """Without it the answer is 400; only a missing token is 401, as in DeviceHive."""
    members = example(world, action)
    del members[member]
    expected = Unauthorized if REQUESTS[action] is Authenticate else (InvalidParameters, OutOfBounds)
    assert isinstance(error := await refused(world, action, members), expected), error or f"{member} is not required"


BOUNDED = [
    (action, name, bound, schema[bound])
    for action, request in REQUESTS.items()
    for name in members_of(request)
    if name not in ADDRESS
    for schema in [member(request, name)]
    for bound in ("minimum", "maximum", "maxItems")
    if abs(schema.get(bound, 2**63)) < 2**62
]


@pytest.mark.parametrize(("action", "name", "bound", "most"), BOUNDED)
async def test_the_documents_have_the_bounds_of_members(
    world: World, action: str, name: str, bound: str, most: int
) -> None:
    """What a schema says to be the least or the most is taken, and what is beyond it is refused."""
    good, bad = {
        "minimum": (most, most - 1),
        "maximum": (most, most + 1),
        "maxItems": (most * ["kept"], (most + 1) * ["kept"]),
    }[bound]
    needed = example(world, action)
    members = needed | ({"deviceId": "kept"} if "deviceId" in needed else {})
    assert isinstance(await refused(world, action, {**members, name: bad}), OutOfBounds)
    assert not isinstance(error := await refused(world, action, {**members, name: good}), OutOfBounds), error


@pytest.mark.parametrize("action", REQUESTS)
async def test_nothing_else_is_required(world: World, action: str) -> None:
    """A request with its required members gets no error about a missing one, nor about rights."""
    world.admin = world.caller(d=["kept"])  # of which a report is
    error = await refused(world, action, example(world, action))
    assert not isinstance(error, (InvalidParameters, OutOfBounds, Unauthorized, AccessDenied)), error


@pytest.mark.parametrize(("action", "member"), CASES_OF_PARTS)
async def test_a_required_member_of_a_part_is_required(world: World, action: str, member: str) -> None:
    """The entries of a transaction, the claims of a token and a new user have required members, and need no others."""
    members = example(world, action)
    holder, shape = PARTS[action]
    part = members[holder][0] if isinstance(members[holder], list) else members[holder]
    assert {*part} == {*shape.required}
    without = {name: value for name, value in part.items() if name != member}
    members[holder] = without if part is members[holder] else [without]
    assert isinstance(error := await refused(world, action, members), (InvalidParameters, OutOfBounds)), error


async def test_what_a_struct_does_not_say_is_noticed(world: World) -> None:
    """The checks that every other test relies on go red for a reply or an error of another request."""
    put = {"action": "configuration/put", **example(world, "configuration/put")}
    reply = await world.ask(msgspec.convert(put, ConfigurationPut))
    with pytest.raises(msgspec.ValidationError, match="missing required field `accessToken`"):
        hold_reply(Token, reply)
    with pytest.raises(AssertionError, match="Token does not name NotAllowed"):
        hold_error(Token, NotAllowed())
