"""Every action requires and answers what its struct says. (`World.ask` holds the replies and errors of all tests.)"""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest

from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.errors import InvalidParameters, NotAllowed, OutOfBounds, Unauthorized, WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import TransactChange
from hivewire_protocol.nouns.identity import Authenticate, Token, TokenPayload
from hivewire_protocol.nouns.user import UserInsertFields
from tests.contract import hold_error, hold_reply
from tests.world import ADMIN, World

MEMBERS: dict[str, Any] = {
    "name": "n",
    "value": "v",
    "token": "t",
    "login": "john",
    "password": "john's",
    "refreshToken": "t",
    "clientId": "c",
    "tenantId": "shop",
    "tenants": {"shop": ["READ"]},
    "subscriptionId": 1,
    "userId": ADMIN,
    "user": {"introReviewed": True},
    "payload": {"userId": ADMIN},
    "changes": [{"operation": "delete", "name": "n"}],
}
"""A good value for every required member."""

ALTERNATIVES: dict[str, dict[str, Any]] = {
    "configuration/rollback": {"to": 1},
    "user/insert": {"user": {"login": "mary", "password": "mary's one", "role": 1}},
}
"""What is asked for besides required members: one of several, or members of a member."""

CASES = [(action, member) for action, request_type in REQUESTS.items() for member in request_type.required]


def _request(action: str, without: str | None = None) -> Request:
    whole = {member: MEMBERS[member] for member in REQUESTS[action].required} | ALTERNATIVES.get(action, {})
    given = {member: value for member, value in whole.items() if member != without}
    return msgspec.convert({"action": action, **given}, REQUESTS[action])


async def _error(world: World, request: Request) -> WireError | None:
    try:
        await world.ask(request)
    except WireError as error:
        return error
    return None


@pytest.mark.parametrize(("action", "member"), CASES)
async def test_a_required_member_is_required(world: World, action: str, member: str) -> None:
    """Without it the answer is 400; only a missing token is 401, as in DeviceHive."""
    error = await _error(world, _request(action, without=member))
    expected = Unauthorized if REQUESTS[action] is Authenticate else (InvalidParameters, OutOfBounds)
    assert isinstance(error, expected), error


@pytest.mark.parametrize("action", REQUESTS)
async def test_nothing_else_is_required(world: World, action: str) -> None:
    """A request with its required members gets no error about a missing one."""
    assert not isinstance(await _error(world, _request(action)), InvalidParameters)


PARTS: list[tuple[str, type[Any], str]] = [
    *(("configuration/transact", TransactChange, member) for member in TransactChange.required),
    *(("token/create", TokenPayload, member) for member in TokenPayload.required),
    *(("user/insert", UserInsertFields, member) for member in UserInsertFields.required),
]
"""The structs inside of requests that require something themselves."""


@pytest.mark.parametrize(("action", "shape", "member"), PARTS)
async def test_a_required_member_of_a_part_is_required(
    world: World, action: str, shape: type[Any], member: str
) -> None:
    """The entries of a transaction, the claims of a token and a new user have required members as well."""
    assert member in get_type_hints(shape)
    request: Any = _request(action)
    given = next(getattr(request, name) for name in ("changes", "payload", "user") if hasattr(request, name))
    setattr(given[0] if isinstance(given, list) else given, member, None)
    assert isinstance(await _error(world, request), (InvalidParameters, OutOfBounds))


async def test_what_a_struct_does_not_say_is_noticed(world: World) -> None:
    """The checks that every other test relies on go red for a reply or an error of another request."""
    reply = await world.ask(_request("configuration/put"))
    with pytest.raises(msgspec.ValidationError, match="missing required field `accessToken`"):
        hold_reply(Token, reply)
    with pytest.raises(AssertionError, match="Token does not name NotAllowed"):
        hold_error(Token, NotAllowed())
