"""Which networks and device types a user belongs to (core protocol, section 6.3)."""

from typing import Annotated

from msgspec import Struct

from hivewire_protocol.errors import NotAllowed, NotFound, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WriteReply, says
from hivewire_protocol.nouns.devicetype import DeviceTypeListed
from hivewire_protocol.nouns.network import NetworkListed
from hivewire_protocol.permissions import Permission

_UserId = Annotated[Integer | None, says("The user's number.")]


class MemberNetwork(Struct):
    """A network of a user."""

    network: Annotated[NetworkListed, says("The network.")]


class MemberDeviceType(Struct):
    """A device type of a user."""

    deviceType: Annotated[DeviceTypeListed, says("The device type.")]


class UserNetworkReply(Reply):
    """A network of the user."""

    network: Annotated[MemberNetwork, says("An object that has the network, as in DeviceHive.")]


class UserDeviceTypeReply(Reply):
    """A device type of the user."""

    deviceType: Annotated[MemberDeviceType, says("An object that has the device type, as in DeviceHive.")]


class UserDeviceTypesReply(Reply):
    """The device types of the user."""

    deviceTypes: Annotated[list[DeviceTypeListed], says("All that exist, or those that the user is assigned.")]


class UserGetNetwork(Request, tag="user/getNetwork"):
    """One network of a user. A client finds only networks that it belongs to itself."""

    permission = Permission.GET_NETWORK
    read_only = True
    required = ("userId", "networkId")
    reply = UserNetworkReply
    errors = (NotFound,)

    userId: _UserId = None


class UserAssignNetwork(Request, tag="user/assignNetwork"):
    """Make a user a member of a network. A client can do that only in networks that it reaches itself."""

    permission = Permission.MANAGE_NETWORK
    required = ("userId", "networkId")
    reply = WriteReply
    errors = (NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None


class UserUnassignNetwork(Request, tag="user/unassignNetwork"):
    """End the membership of a user in a network. A client can do that only in networks that it reaches itself."""

    permission = Permission.MANAGE_NETWORK
    required = ("userId", "networkId")
    reply = WriteReply
    errors = (NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None


class UserGetDeviceType(Request, tag="user/getDeviceType"):
    """One device type that a user is assigned; over HTTP also one of a user that has all of them. A client finds only
    device types that it has itself."""

    permission = Permission.GET_DEVICE_TYPE
    read_only = True
    required = ("userId", "deviceTypeId")
    reply = UserDeviceTypeReply
    errors = (NotFound,)

    userId: _UserId = None


class UserGetDeviceTypes(Request, tag="user/getDeviceTypes"):
    """The device types of a user: all that exist when it has all of them, else those that it is assigned."""

    permission = Permission.MANAGE_DEVICE_TYPE
    read_only = True
    required = ("userId",)
    reply = UserDeviceTypesReply
    errors = (NotFound,)

    userId: _UserId = None


class UserAssignDeviceType(Request, tag="user/assignDeviceType"):
    """Assign a device type to a user that does not have all of them. A client can assign only those that it has."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("userId", "deviceTypeId")
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None


class UserUnassignDeviceType(Request, tag="user/unassignDeviceType"):
    """Take a device type away from a user that does not have all of them. A client can do that only with its own."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("userId", "deviceTypeId")
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None


class UserAllowAllDeviceTypes(Request, tag="user/allowAllDeviceTypes"):
    """Give a user all device types, later ones included; its assignments end. A client must have all of them itself."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("userId",)
    reply = WriteReply
    errors = (NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None


class UserDisallowAllDeviceTypes(Request, tag="user/disallowAllDeviceTypes"):
    """Leave a user only the device types that it is assigned."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("userId",)
    reply = WriteReply
    errors = (NotFound, Unavailable)

    userId: _UserId = None
    dryRun: DryRun = None
