"""The members that a request declares as required are the ones that it cannot do without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hivewire.access.tokens import ACCESS, REFRESH, Claims
from hivewire.services import now
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.nouns.configuration import TransactChange
from hivewire_protocol.nouns.identity import TokenPayload
from hivewire_protocol.nouns.user import UserInsertFields
from tests.world import ADMIN, HOUR, JOHN, World

EXAMPLES: dict[str, Any] = {
    "name": "kept",
    "value": "v",
    "operation": "delete",
    "changes": [{"operation": "delete", "name": "kept"}],
    "subscriptionId": 1,
    "login": "john",
    "password": "john's",
    "role": 1,
    "payload": {"userId": JOHN},
    "userId": JOHN,
    "user": {},
    "tenantId": "T1",
    "tenants": {"T0": ["READ"]},
    "clientId": "c1",
}
"""A value of each member that some request requires, unless it is a token."""

NEW = {"login": "jane", "password": "jane's password", "role": 1}
ALSO = {"configuration/rollback": {"to": 1}}
"""Of these members the request needs one, whichever it is."""

NESTED = [
    ("configuration/transact", "changes", TransactChange),
    ("token/create", "payload", TokenPayload),
    ("user/insert", "user", UserInsertFields),
]
REFUSED = (400, 401, 403)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    await world.store("kept")
    await world.ledger.commit(world.tenants.insert_tenant("T0", "admin"))
    yield world
    await world.close()


def example(world: World, action: str, members: tuple[str, ...]) -> dict[str, Any]:
    """Good values of these members of a request."""
    given = {member: EXAMPLES[member] for member in members if member in EXAMPLES}
    for member, kind in (("token", ACCESS), ("refreshToken", REFRESH)):
        if member in members:
            given[member] = world.tokens.mint(Claims([0], now() + HOUR, kind, ADMIN, ["*"], ["*"]))
    return given | ({"user": NEW} if action == "user/insert" else {}) | ALSO.get(action, {})


async def ask(world: World, action: str, members: dict[str, Any]) -> int:
    """The code of the answer."""
    session, outbox = world.connect()
    session.receive(json.dumps({"action": action, **members}).encode())
    while session.pending:
        await asyncio.sleep(0)
    return int(json.loads(outbox[0]).get("code", 200))


@pytest.mark.parametrize("action", REQUESTS)
async def test_a_request_needs_its_required_members_and_no_others(world: World, action: str) -> None:
    """It is refused when one of them is missing, and not when they are all that it has."""
    required = REQUESTS[action].required
    members = example(world, action, required)
    for missing in required:
        without = {member: value for member, value in members.items() if member != missing}
        assert await ask(world, action, without) in REFUSED, missing
    if action != "configuration/subscribe":  # nothing can be pushed here
        assert await ask(world, action, members) not in REFUSED


@pytest.mark.parametrize(("action", "member", "shape"), NESTED, ids=lambda each: each if isinstance(each, str) else "")
async def test_the_parts_of_a_request_need_theirs(world: World, action: str, member: str, shape: Any) -> None:
    """The same for the objects in a request."""
    members = example(world, action, REQUESTS[action].required)
    whole = members[member]
    part = whole[0] if isinstance(whole, list) else whole
    assert set(part) == set(shape.required)
    for missing in shape.required:
        without = {name: value for name, value in part.items() if name != missing}
        assert await ask(world, action, {**members, member: [without] if whole is not part else without}) in REFUSED
