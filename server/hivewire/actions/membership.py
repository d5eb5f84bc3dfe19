"""Which networks and device types a user belongs to (core protocol, section 6.3).

In DeviceHive every caller that may manage networks may assign any of them to any user, itself included. Here a client
cannot assign or take away what it does not reach itself; that is checked after all of DeviceHive's checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from msgspec import structs

from hivewire.access.user_changes import change_user, existing
from hivewire.access.users import User, UserContent
from hivewire.actions import devicetype, network
from hivewire.actions.checks import check_token
from hivewire.actions.listing import Listing
from hivewire.caller import Caller
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, exists
from hivewire.ledger.records import Transaction
from hivewire.services import Services
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotAllowed, NotFound
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.membership import (
    MemberDeviceType,
    MemberNetwork,
    UserAllowAllDeviceTypes,
    UserAssignDeviceType,
    UserAssignNetwork,
    UserDeviceTypeReply,
    UserDisallowAllDeviceTypes,
    UserGetDeviceType,
    UserGetDeviceTypes,
    UserGetNetwork,
    UserNetworkReply,
    UserUnassignDeviceType,
    UserUnassignNetwork,
)
from hivewire_protocol.nouns.user import Role

Assignment: TypeAlias = UserAssignNetwork | UserUnassignNetwork | UserAssignDeviceType | UserUnassignDeviceType


class Side(NamedTuple):
    """What differs between networks and device types: the kind of the records, the title in errors, and the member of
    a user's content that has the ids."""

    kind: str
    title: str
    member: str

    def ids(self, content: UserContent) -> list[int]:
        """Those that a user is assigned."""
        found: list[int] = getattr(content, self.member)
        return found

    def belongs(self, content: UserContent, number: int) -> bool:
        """Whether a user has one: by its role, by having all device types, or because it is assigned."""
        has_all = content.role == Role.ADMIN or (self.kind == DEVICE_TYPE and content.all_device_types_available)
        return has_all or number in self.ids(content)


NETWORKS = Side(NETWORK, "Network", "networks")
DEVICE_TYPES = Side(DEVICE_TYPE, "Device type", "device_types")


def _checked(services: Services, side: Side, user_id: int | None, number: int | None) -> tuple[User, int]:
    """The user, and the id of a network or device type. Raises InvalidParameters and NotFound."""
    if user_id is not None and number is None:
        raise InvalidParameters(f"{side.title} id is wrong or empty")
    return existing(services.users, user_id), number or 0


def _own(services: Services, caller: Caller) -> UserContent:
    return existing(services.users, caller.identity.user_id).content


# Reading.


def get_network(services: Services, caller: Caller, request: UserGetNetwork) -> Reply:
    """A network that the user belongs to."""
    user, number = _checked(services, NETWORKS, request.userId, request.networkId)
    found = services.registry.networks.get(number)
    if found is None or number not in user.content.networks or not NETWORKS.belongs(_own(services, caller), number):
        raise NotFound(f"Network with id {number} for user with id {user.id} was not found")
    return UserNetworkReply(MemberNetwork(network.view(found)))


def get_device_type(services: Services, caller: Caller, request: UserGetDeviceType) -> Reply:
    """A device type that the user is assigned; over HTTP, as in DeviceHive, also one of all that it has."""
    user, number = _checked(services, DEVICE_TYPES, request.userId, request.deviceTypeId)
    found, content = services.registry.device_types.get(number), user.content
    has = number in content.device_types or (caller.http and content.all_device_types_available)
    if found is None or not has or not DEVICE_TYPES.belongs(_own(services, caller), number):
        raise NotFound(f"Device type with id {number} for user with id {user.id} not found")
    return UserDeviceTypeReply(MemberDeviceType(devicetype.view(found)))


def get_device_types(services: Services, caller: Caller, request: UserGetDeviceTypes) -> Reply:
    """All device types, or those that the user is assigned, by id."""
    content, types = existing(services.users, request.userId).content, services.registry.device_types
    assigned = types if content.all_device_types_available else frozenset(content.device_types)
    found = [each for number, each in types.items() if number in assigned]
    return Listing("deviceTypes", found, devicetype.view)


# Writing.


def _check_reach(services: Services, caller: Caller, side: Side, number: int) -> None:
    """Raise AccessDenied for a client that does not reach it itself, by its token and as a member."""
    content, identity = _own(services, caller), caller.identity
    if content.role == Role.ADMIN:
        return
    granted = identity.networks if side is NETWORKS else services.registry.scope(identity).types
    if not side.belongs(content, number) or (granted is not None and number not in granted):
        raise AccessDenied.because(f"{side.title.lower()} {number} is not within reach of the token")


async def _assign(
    services: Services, caller: Caller, side: Side, request: Assignment, number: int | None, *, member: bool
) -> Reply:
    """Make a user a member, or end its membership. Nothing is written if that is so already."""
    found, wanted = _checked(services, side, request.userId, number)

    def change(user: User) -> Transaction | None:
        check_token(services, caller)
        if side is DEVICE_TYPES and user.content.all_device_types_available:
            raise NotAllowed("Cannot assign device type to user with all device types allowed")
        there = services.registry.groupings(side.kind)
        if wanted not in there:
            raise NotFound(f"{side.title} with id = {wanted} not found")
        _check_reach(services, caller, side, wanted)
        ids = side.ids(user.content)
        if (wanted in ids) is member:
            return None
        others = {each for each in ids if each in there and each != wanted}  # forgets those that were deleted
        new = sorted(others | {wanted} if member else others)
        content = structs.replace(user.content, **{side.member: new})
        transaction = services.users.replace(user, content, caller.identity.login)
        transaction.guards = [exists(side.kind, wanted)]
        return transaction

    return await change_user(services.users, caller.identity, found.id, change, request.dryRun)


async def assign_network(services: Services, caller: Caller, request: UserAssignNetwork) -> Reply:
    """Make the user a member of a network."""
    return await _assign(services, caller, NETWORKS, request, request.networkId, member=True)


async def unassign_network(services: Services, caller: Caller, request: UserUnassignNetwork) -> Reply:
    """End the user's membership in a network."""
    return await _assign(services, caller, NETWORKS, request, request.networkId, member=False)


async def assign_device_type(services: Services, caller: Caller, request: UserAssignDeviceType) -> Reply:
    """Assign a device type to the user."""
    return await _assign(services, caller, DEVICE_TYPES, request, request.deviceTypeId, member=True)


async def unassign_device_type(services: Services, caller: Caller, request: UserUnassignDeviceType) -> Reply:
    """Take a device type away from the user."""
    return await _assign(services, caller, DEVICE_TYPES, request, request.deviceTypeId, member=False)


async def allow_all(services: Services, caller: Caller, request: UserAllowAllDeviceTypes) -> Reply:
    """Give the user all device types, which ends its assignments."""

    def widened(content: UserContent) -> UserContent:
        own = _own(services, caller)
        if own.role != Role.ADMIN and not own.all_device_types_available:
            raise AccessDenied.because("the caller does not have all device types")
        return structs.replace(content, all_device_types_available=True, device_types=[])

    return await _change(services, caller, request, widened)


async def disallow_all(services: Services, caller: Caller, request: UserDisallowAllDeviceTypes) -> Reply:
    """Leave the user the device types that it is assigned."""

    def narrowed(content: UserContent) -> UserContent:
        return structs.replace(content, all_device_types_available=False)

    return await _change(services, caller, request, narrowed)


async def _change(
    services: Services,
    caller: Caller,
    request: UserAllowAllDeviceTypes | UserDisallowAllDeviceTypes,
    made: Callable[[UserContent], UserContent],
) -> Reply:
    found = existing(services.users, request.userId)

    def change(user: User) -> Transaction | None:
        check_token(services, caller)
        content = made(user.content)
        return None if content == user.content else services.users.replace(user, content, caller.identity.login)

    return await change_user(services.users, caller.identity, found.id, change, request.dryRun)


READS = {
    UserGetNetwork: get_network,
    UserAssignNetwork: assign_network,
    UserUnassignNetwork: unassign_network,
    UserGetDeviceType: get_device_type,
    UserGetDeviceTypes: get_device_types,
    UserAssignDeviceType: assign_device_type,
    UserUnassignDeviceType: unassign_device_type,
    UserAllowAllDeviceTypes: allow_all,
    UserDisallowAllDeviceTypes: disallow_all,
}
