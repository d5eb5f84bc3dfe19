"""Dry runs of the writes of users, tenants, clients, networks, types and devices: judged alike, and nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import structs

from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.client import ClientDelete, ClientInsert, ClientUpdate
from hivewire_protocol.nouns.device import DeviceDelete, DeviceFields, DeviceSave
from hivewire_protocol.nouns.devicetype import DeviceTypeDelete, DeviceTypeFields, DeviceTypeInsert, DeviceTypeUpdate
from hivewire_protocol.nouns.membership import (
    UserAllowAllDeviceTypes,
    UserAssignDeviceType,
    UserAssignNetwork,
    UserDisallowAllDeviceTypes,
    UserUnassignDeviceType,
    UserUnassignNetwork,
)
from hivewire_protocol.nouns.network import NetworkDelete, NetworkFields, NetworkInsert, NetworkUpdate
from hivewire_protocol.nouns.tenant import TenantDelete, TenantInsert
from hivewire_protocol.nouns.user import (
    UserDelete,
    UserInsert,
    UserInsertFields,
    UserUpdate,
    UserUpdateCurrent,
    UserUpdateFields,
)
from tests.world import ADMIN, BOUND, HELPER, JOHN, World

PREPARED: list[Request] = [
    TenantInsert(tenantId="shop"),
    ClientInsert(clientId="sync", tenants={"shop": ["READ"]}),
    NetworkInsert(network=NetworkFields(name="home")),
    NetworkInsert(network=NetworkFields(name="empty")),
    DeviceTypeInsert(deviceType=DeviceTypeFields(name="lamp")),
    DeviceTypeInsert(deviceType=DeviceTypeFields(name="none")),
    UserAssignNetwork(userId=ADMIN, networkId=1),
    UserAssignNetwork(userId=JOHN, networkId=1),
    UserAssignDeviceType(userId=BOUND, deviceTypeId=1),
    DeviceSave(deviceId="lamp-1", device=DeviceFields(name="Lamp", networkId=1, deviceTypeId=1)),
]
NEW = UserInsertFields(login="carol", password="secret-1", role=1)
TRIED: list[Request] = [
    UserInsert(user=NEW),
    UserInsert(user=structs.replace(NEW, login="john")),
    UserUpdate(userId=JOHN, user=UserUpdateFields(login="johnny", status=1)),
    UserUpdate(userId=ADMIN, user=UserUpdateFields(role=1)),
    UserUpdateCurrent(user=UserUpdateFields(password="secret-2")),
    UserDelete(userId=JOHN),
    UserDelete(userId=ADMIN),
    UserDelete(userId=99),
    UserAssignNetwork(userId=HELPER, networkId=1),
    UserAssignNetwork(userId=HELPER, networkId=9),
    UserAssignNetwork(userId=JOHN, networkId=1),
    UserUnassignNetwork(userId=JOHN, networkId=1),
    UserAssignDeviceType(userId=BOUND, deviceTypeId=2),
    UserAssignDeviceType(userId=JOHN, deviceTypeId=1),
    UserUnassignDeviceType(userId=BOUND, deviceTypeId=1),
    UserAllowAllDeviceTypes(userId=BOUND),
    UserDisallowAllDeviceTypes(userId=JOHN),
    TenantInsert(tenantId="store2"),
    TenantInsert(tenantId="shop"),
    TenantInsert(tenantId="no/slash"),
    TenantDelete(tenantId="shop"),
    TenantDelete(tenantId="nowhere"),
    ClientInsert(clientId="report", tenants={"shop": ["UPDATE"]}),
    ClientInsert(clientId="sync", tenants={"shop": ["UPDATE"]}),
    ClientUpdate(clientId="sync", tenants={"shop": ["UPDATE"]}),
    ClientDelete(clientId="sync"),
    ClientDelete(clientId="nobody"),
    NetworkInsert(network=NetworkFields(name="office")),
    NetworkInsert(network=NetworkFields(name="home")),
    NetworkUpdate(networkId=1, network=NetworkFields(name="house")),
    NetworkUpdate(networkId=1, network=NetworkFields(name="empty")),
    NetworkDelete(networkId=2),
    NetworkDelete(networkId=1),
    DeviceTypeInsert(deviceType=DeviceTypeFields(name="door")),
    DeviceTypeUpdate(deviceTypeId=1, deviceType=DeviceTypeFields(description="shines")),
    DeviceTypeDelete(deviceTypeId=1, force=True),
    DeviceSave(deviceId="lamp-2", device=DeviceFields(name="Lamp 2", networkId=1, deviceTypeId=1)),
    DeviceSave(deviceId="lamp-1", device=DeviceFields(name="")),
    DeviceDelete(deviceId="lamp-1"),
    DeviceDelete(deviceId="lamp-9"),
]
"""Accepted and refused ones of each action."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    for request in PREPARED:
        await world.ask(request)
    yield world
    await world.close()


async def outcome(world: World, request: Request) -> dict[str, Any]:
    """The members of the reply, without secrets that are made for it; or the code and the text of the error."""
    try:
        reply = await world.ask(request)
    except WireError as error:
        return {"code": error.code, "error": str(error)}
    members: dict[str, Any] = msgspec.json.decode(b"{%b}" % reply.members())
    return members | ({"clientSecret": None} if "clientSecret" in members else {})


@pytest.mark.parametrize("request_", TRIED, ids=lambda request: request.__struct_config__.tag)
async def test_a_dry_run_is_judged_like_the_write_and_leaves_nothing(world: World, request_: Any) -> None:
    """The reply is that of the write, and says that it was a dry run; or the error is the same."""
    heard: list[Any] = []
    world.ledger.observe(heard.append)
    revision, logged = world.ledger.revision, world.messages.notifications.tip
    tried = await outcome(world, structs.replace(request_, dryRun=True))
    assert (world.ledger.revision, heard) == (revision, [])
    assert world.messages.notifications.tip == logged
    done = await outcome(world, request_)
    assert tried.pop("dryRun", None) is (None if "code" in done else True)
    assert tried == done


def test_every_write_of_these_can_be_tried() -> None:
    """A new write without `dryRun` fails here. Messages, reports and tokens have none."""
    nouns = ("configuration/", "user/", "tenant/", "client/", "network/", "devicetype/", "device/")
    others = ("ubscribe", "/report")
    without = {
        action
        for action, request in REQUESTS.items()
        if action.startswith(nouns) and not request.read_only and "dryRun" not in request.__struct_fields__
    }
    assert {action for action in without if not action.endswith(others)} == set()


def test_each_of_them_is_tried_here() -> None:
    """A new one needs an example above; those of configurations, schemas, schedules and fleets have their own tests."""
    others = ("configuration/", "schema/", "schedule/", "layer/", "rollout/", "device/label", "device/revoke")
    able = {
        request
        for action, request in REQUESTS.items()
        if "dryRun" in request.__struct_fields__ and not action.startswith(others)
    }
    assert able == {type(request) for request in TRIED}


async def test_a_user_who_is_only_tried_to_be_unlocked_stays_locked(world: World) -> None:
    """Neither its status nor the count of its wrong passwords changes."""
    throttle = world.services.throttle
    for _ in range(11):
        throttle.fail("locked", "10.0.0.9")
    await world.ask(UserUpdate(userId=3, user=UserUpdateFields(status=0), dryRun=True))
    assert throttle.wait("locked", "10.0.0.9") > 0
    user = world.users.by_id(3)
    assert user is not None
    assert not user.active


async def test_a_client_that_is_only_tried_gets_no_secret(world: World) -> None:
    """It would be worth nothing."""
    reply = await world.ask(ClientInsert(clientId="report", tenants={"shop": ["READ"]}, dryRun=True))
    assert (reply.clientSecret, reply.tenants) == ("", {"shop": ["READ"]})
    assert (await world.ask(ClientUpdate(clientId="sync", newSecret=True, dryRun=True))).clientSecret is None
