"""The rows of the audit about the gateway's own work, and the right to read them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from msgspec import Raw, structs

from hivewire.caller import Caller
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.records import Transaction
from hivewire_protocol.errors import AccessDenied, OutOfBounds, WireError
from hivewire_protocol.nouns.audit import AuditList
from hivewire_protocol.nouns.client import ClientInsert
from hivewire_protocol.nouns.identity import Token, TokenCreate, TokenPayload, TokenRevoke
from hivewire_protocol.nouns.membership import (
    UserAllowAllDeviceTypes,
    UserAssignDeviceType,
    UserAssignNetwork,
    UserDisallowAllDeviceTypes,
    UserUnassignNetwork,
)
from hivewire_protocol.nouns.tenant import TenantInsert
from hivewire_protocol.nouns.user import UserUpdate, UserUpdateFields
from hivewire_protocol.permissions import Permission
from tests.world import JOHN, STAFF, World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A gateway with its staff."""
    async with opened() as world:
        yield world


async def test_the_audit_says_what_of_a_user_was_changed(world: World) -> None:
    """Roles, statuses, passwords and revocations, so that everybody can see who made whom an administrator."""
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0, password="another one")))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=1, data={"a": "b"})))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(data={"a": "b"})))
    await world.ask(TokenRevoke(userId=JOHN))
    rows = (await world.ask(AuditList(kind="user", subject="john"))).rows
    details = [json.loads(bytes(row.detail)) for row in rows]
    assert [detail.get("description") for detail in details] == [
        "tokens revoked",
        None,
        "status locked out, data",
        "role admin, password",
        "role client, status active",
    ]


async def test_the_audit_says_which_memberships_were_changed(world: World) -> None:
    """With the ids, and in which direction; many at once are counted."""
    for kind in (NETWORK, DEVICE_TYPE):
        await world.ledger.commit(Transaction(insert(kind, GroupingContent("a"))))
    await world.ask(UserAssignNetwork(userId=JOHN, networkId=1))
    await world.ask(UserDisallowAllDeviceTypes(userId=JOHN))
    await world.ask(UserAssignDeviceType(userId=JOHN, deviceTypeId=1))
    await world.ask(UserUnassignNetwork(userId=JOHN, networkId=1))
    await world.ask(UserAllowAllDeviceTypes(userId=JOHN))
    user = world.users.by_id(JOHN)
    assert user is not None
    many = structs.replace(user.content, networks=list(range(1, 100)))
    await world.ledger.commit(world.users.replace(user, many, None))
    rows = (await world.ask(AuditList(kind="user", subject="john", take=6))).rows
    assert [json.loads(bytes(row.detail))["description"] for row in rows] == [
        "99 networks assigned",
        "device type 1 unassigned, all device types",
        "network 1 unassigned",
        "device type 1 assigned",
        "not all device types",
        "network 1 assigned",
    ]


async def test_logins_tokens_and_changes_are_in_the_audit(world: World) -> None:
    """Newest first, with who and from where, for those who manage users; no secret is in it."""
    login = await world.ask(Token(login="john", password="john's"), Caller("10.0.0.7", "h"))
    actions, networks, types = [Raw(b'"GetConfiguration"')], [Raw(b"1"), Raw(b"2")], [Raw(b'"*"')]
    await world.ask(TokenCreate(payload=TokenPayload(JOHN, actions, networks, types)))
    await world.ask(TenantInsert(tenantId="t1"))
    made = await world.ask(ClientInsert(clientId="sync", tenants={"t1": ["READ"]}))
    with pytest.raises(WireError):
        await world.ask(Token(login="john", password="wrong"), Caller("10.0.0.8", "h"))
    rows = (await world.ask(AuditList(take=20))).rows
    assert [(row.kind, row.subject, row.user, row.address) for row in rows if row.user or row.address] == [
        ("failure", "john", None, "10.0.0.8"),
        ("token", "john", "admin", "10.0.0.1"),
        ("login", "john", "john", "10.0.0.7"),
        ("client", "sync", "admin", None),
        ("tenant", "t1", "admin", None),
    ]
    made_for = json.loads(bytes(rows[1].detail))
    assert (made_for["actions"], made_for["names"]) == (["GetConfiguration"], [])
    assert (made_for["networkIds"], made_for["deviceTypeIds"]) == (["1", "2"], ["*"])
    assert [row.subject for row in (await world.ask(AuditList(kind="user"))).rows] == [*STAFF][::-1]
    assert [row.kind for row in (await world.ask(AuditList(user="john"))).rows] == ["login"]
    shown = b"".join(bytes(row.detail) for row in rows)
    assert not any(secret.encode() in shown for secret in (login.accessToken, made.clientSecret, "john's", "argon2"))
    with pytest.raises(AccessDenied):
        await world.ask(AuditList(), world.caller(JOHN, [Permission.GET_CONFIGURATION]))
    with pytest.raises(OutOfBounds):
        await world.ask(AuditList(take=1_001))
