"""Networks: groups of devices, whose members may reach them (core protocol, sections 6.1, 6.2 and 6.4)."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.permissions import Permission

_Id = Annotated[int, says("The network's number.")]
_Name = Annotated[str, says("The network's name; no other network has it.")]
_Description = Annotated[str | None, says("Its description, or null.")]
_WantedName = Annotated[str | None, says("Only the network with this name.")]
_WantedPattern = Annotated[
    str | None, says("Only names like this: `%` is any characters, `_` is one; applies together with `name`.")
]


class DeviceBrief(Struct):
    """A device as a member of its network or type."""

    id: Annotated[str, says("The id that the client chose.")]
    name: Annotated[str, says("Its name.")]
    data: Annotated[Raw, says("Any JSON object that applications keep with the device, or null.")]
    isBlocked: Annotated[bool, says("A mark for applications; the gateway does not act on it.")]


class NetworkListed(Struct):
    """A network without its devices."""

    id: _Id
    name: _Name
    description: _Description


class NetworkFull(Struct):
    """A network with its devices."""

    devices: Annotated[list[DeviceBrief], says("Its devices that the token reaches, by creation.")]
    id: _Id
    name: _Name
    description: _Description


class NetworkCreated(Struct):
    """A new network."""

    id: _Id


class NetworkListReply(Reply):
    """The networks."""

    networks: Annotated[list[NetworkListed], says("The networks that match and that the caller may see.")]


class NetworkCountReply(Reply):
    """The number of networks."""

    count: Annotated[int, says("How many match.")]


class NetworkReply(Reply):
    """A network."""

    network: Annotated[NetworkFull, says("The network.")]


class NetworkInsertReply(Reply):
    """The new network's number."""

    network: Annotated[NetworkCreated, says("The new network.")]
    dryRun: WasDryRun = UNSET


class NetworkList(Request, tag="network/list"):
    """List the networks that the caller may see, filtered, sorted and paged; by number when not sorted.

    They are those that the token names; for a client only those that it belongs to.
    """

    permission = Permission.GET_NETWORK
    read_only = True
    reply = NetworkListReply
    errors = (OutOfBounds,)

    name: _WantedName = None
    namePattern: _WantedPattern = None
    sortField: Annotated[str | None, says("`id` or `name`.")] = None
    sortOrder: Annotated[str | None, says("`asc`, as when absent, or `desc`.")] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, all over HTTP.", minimum=0)] = (
        None
    )
    skip: Annotated[Integer | None, says("The number to skip at the beginning.", minimum=0)] = None


class NetworkCount(Request, tag="network/count"):
    """Count the networks that match.

    A token that does not say anything of networks counts like one for all of them, as in DeviceHive.
    """

    permission = Permission.GET_NETWORK
    read_only = True
    reply = NetworkCountReply
    errors = (OutOfBounds,)

    name: _WantedName = None
    namePattern: _WantedPattern = None


class NetworkGet(Request, tag="network/get"):
    """One network with its devices. For a client it exists only while the client belongs to it."""

    permission = Permission.GET_NETWORK
    read_only = True
    required = ("networkId",)
    reply = NetworkReply
    errors = (NotFound,)


class NetworkFields(Struct):
    """A network. Unknown members are ignored."""

    required: ClassVar[tuple[str, ...]] = ()

    id: Annotated[Raw | UnsetType, says("Refused in a new one over a socket, ignored otherwise.")] = UNSET
    name: Annotated[str | None, says("1 to 128 characters, which no other network has; required in a new one.")] = None
    description: Annotated[str | None, says("Up to 128 characters. It can be emptied, but not be made null again.")] = (
        None
    )


class NetworkInsert(Request, tag="network/insert"):
    """Create a network. Nobody belongs to it until an administrator assigns users."""

    permission = Permission.MANAGE_NETWORK
    required = ("network",)
    reply = NetworkInsertReply
    errors = (NotAllowed, Unavailable)

    network: Annotated[NetworkFields | UnsetType | None, says("The new network.")] = UNSET
    dryRun: DryRun = None


class NetworkUpdate(Request, tag="network/update"):
    """Change the name or the description of a network; an absent or null one stays as it is."""

    permission = Permission.MANAGE_NETWORK
    required = ("networkId", "network")
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    network: Annotated[NetworkFields | UnsetType | None, says("What to change.")] = UNSET
    dryRun: DryRun = None


class NetworkDelete(Request, tag="network/delete"):
    """Delete a network. Its devices go with it if `force` is true; else it is refused while the caller sees any."""

    permission = Permission.MANAGE_NETWORK
    required = ("networkId",)
    reply = WriteReply
    errors = (NotFound, Unavailable)

    force: Annotated[bool | None, says("Whether to delete its devices too; default false.")] = None
    dryRun: DryRun = None
