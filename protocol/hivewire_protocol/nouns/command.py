"""Commands to devices, and their results (devices, section 2). They expire."""

from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import KeyReused, NotAllowed, NotFound, OutOfBounds, TooManyMessages, Unavailable
from hivewire_protocol.messages import IdempotencyKey, Integer, Push, Reply, Request, says
from hivewire_protocol.nouns.subscription import (
    After,
    DeviceTypes,
    Live,
    MessageSubscribeReply,
    Networks,
    Position,
    Reached,
    Reset,
    Resumable,
    Since,
    StreamedNetworks,
    StreamedSince,
    StreamedTypes,
    SubscribeReply,
)
from hivewire_protocol.permissions import Permission

_Id = Annotated[int, says("The number of the command, which no other of its device has.")]
_Timestamp = Annotated[str, says("The time that its client gave it, or when it was inserted.")]
_LastUpdated = Annotated[str, says("The time of its last update; `timestamp` before the first one.")]
_UserId = Annotated[int, says("The user who inserted it.")]


class CommandView(Struct, gc=False):
    """A command."""

    id: _Id
    command: Annotated[str | None, says("Its name.")]
    timestamp: _Timestamp
    lastUpdated: _LastUpdated
    userId: _UserId
    deviceId: Annotated[str, says("The device that it is for.")]
    networkId: Annotated[int | None, says("The network of the device when it was inserted.")]
    deviceTypeId: Annotated[int | None, says("The type of the device when it was inserted.")]
    parameters: Annotated[Raw, says("Any JSON object, or null.")]
    lifetime: Annotated[int | None, says("A number of seconds for applications; the gateway does not act on it.")]
    status: Annotated[str | None, says("How it went, in the device's words.")]
    result: Annotated[Raw, says("What came of it: any JSON object, or null.")]
    expires: Annotated[
        str | UnsetType, says("From when on it is not delivered any more, if it was inserted with `expiresIn`.")
    ] = UNSET

    def stamped(self, number: int, timestamp: int, changed: int) -> bytes:
        """Its JSON, with this number and these times in milliseconds."""
        self.id, self.timestamp, self.lastUpdated = number, times.render(timestamp), times.render(changed)
        return encode(self)


class CommandFields(Struct, gc=False):
    """A command as its client describes it. Unknown members, and those that the gateway sets, are ignored."""

    command: Annotated[str | None, says("Its name.")] = None
    timestamp: Annotated[Raw | None, says("Its time, any; default: now.")] = None
    parameters: Annotated[Raw | UnsetType, says("Any JSON object, at most `parameters_bytes`.")] = UNSET
    lifetime: Annotated[Integer | None, says("A number of seconds that is kept with it.")] = None
    status: Annotated[str | None, says("Its status.")] = None
    result: Annotated[Raw | UnsetType, says("Any JSON object, at most `parameters_bytes`.")] = UNSET
    idempotencyKey: Annotated[str | None, says("As in the request; it may be here or there.")] = None
    expiresIn: Annotated[Integer | None, says("As in the request; it may be here or there.")] = None


class CommandCreated(Struct, gc=False):
    """What the gateway has set."""

    id: _Id
    timestamp: _Timestamp
    lastUpdated: _LastUpdated
    userId: _UserId


class CommandInsertReply(Reply):
    """What the gateway has set; the command is durable."""

    bounded = False

    command: Annotated[CommandCreated, says("The number, the times and the user of the command.")]


class CommandInsert(Request, tag="command/insert"):
    """Insert a command for a device."""

    permission = Permission.CREATE_DEVICE_COMMAND
    of_device = True
    log = "commands"
    required = ("deviceId", "command")
    reply = CommandInsertReply
    errors = (NotFound, OutOfBounds, KeyReused, TooManyMessages, Unavailable)

    command: Annotated[CommandFields | UnsetType | None, says("The command.")] = UNSET
    idempotencyKey: IdempotencyKey = None
    expiresIn: Annotated[
        Integer | None,
        says(
            "Seconds, at least 1, after which it is not delivered any more, though it can be read; default: no limit."
        ),
    ] = None


class CommandChange(Struct):
    """The result of a command. Other members are ignored, so that clients may send all of the command."""

    status: Annotated[str | None, says("Its new status; absent: as it was.")] = None
    result: Annotated[Raw | UnsetType, says("Its new result, any JSON object; absent: as it was.")] = UNSET


class CommandUpdate(Request, tag="command/update"):
    """Say how a command went."""

    permission = Permission.UPDATE_DEVICE_COMMAND
    concurrent = True
    of_device = True
    required = ("commandId", "deviceId", "command")
    reply = Reply
    errors = (NotFound, OutOfBounds, TooManyMessages, Unavailable)

    commandId: Annotated[Integer | None, says("The number of the command.")] = None
    command: Annotated[CommandChange | UnsetType | None, says("What is new.")] = UNSET


class CommandReply(Reply):
    """The command."""

    command: Annotated[CommandView, says("The command.")]


class CommandGet(Request, tag="command/get"):
    """One command of a device."""

    permission = Permission.GET_DEVICE_COMMAND
    of_device = True
    read_only = True
    required = ("deviceId", "commandId")
    reply = CommandReply
    errors = (NotFound, Unavailable)

    commandId: Annotated[Integer | None, says("The number of the command.")] = None
    returnUpdatedCommands: Annotated[bool | None, says("True: a command without an update is not found.")] = None


class CommandListReply(Reply):
    """Commands of a device."""

    commands: Annotated[list[CommandView], says("The commands that match.")]


class CommandList(Request, tag="command/list"):
    """List the commands of a device that have not expired, filtered, sorted and paged (devices, section 2.3)."""

    permission = Permission.GET_DEVICE_COMMAND
    of_device = True
    read_only = True
    required = ("deviceId",)
    reply = CommandListReply
    errors = (NotFound, OutOfBounds, Unavailable)

    start: Annotated[Raw | None, says("Only those after this time.")] = None
    end: Annotated[Raw | None, says("Only those before this time.")] = None
    command: Annotated[str | None, says("Only those with this name.")] = None
    names: Annotated[list[str] | None, says("Only those with one of these names.")] = None
    status: Annotated[str | None, says("Only those with this status.")] = None
    sortField: Annotated[
        str | None,
        says("`timestamp`, `command` or `status`; when absent `timestamp` over HTTP, oldest first over a socket."),
    ] = None
    sortOrder: Annotated[
        str | None, says("`desc`, as when absent, or `asc`; over a socket only with a `sortField`.")
    ] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, 100 over HTTP.")] = None
    skip: Annotated[Integer | None, says("The number to skip at the beginning.")] = None


class CommandSubscribe(Request, tag="command/subscribe"):
    """Follow the commands of a device, of networks and device types, or of all that the token reaches."""

    permission = Permission.GET_DEVICE_COMMAND
    heeds = ("deviceId",)
    of_device = True
    reply = MessageSubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    networkIds: Networks = None
    deviceTypeIds: DeviceTypes = None
    names: Annotated[list[str] | None, says("Only commands with one of these names.")] = None
    timestamp: After = None
    returnUpdatedCommands: Annotated[bool | None, says("True: follow updates of commands, and not their inserts.")] = (
        None
    )
    limit: Annotated[Integer | None, says("The most stored commands to begin with; default 20, 0 for all.")] = None
    resumable: Resumable = None
    since: Since = None


class CommandStream(Request, tag="command/stream"):
    """Follow commands as an event stream: of a device, of networks and device types, or of all that the token
    reaches."""

    permission = Permission.GET_DEVICE_COMMAND
    http_only = True
    heeds = ("deviceId",)
    reply = SubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    networkIds: StreamedNetworks = None
    deviceTypeIds: StreamedTypes = None
    names: Annotated[list[str] | None, says("Only commands with one of these names.")] = None
    returnUpdatedCommands: Annotated[bool | None, says("True: follow updates of commands, and not their inserts.")] = (
        None
    )
    since: StreamedSince = None


class CommandUnsubscribe(Request, tag="command/unsubscribe"):
    """End one subscription to commands, or all of this socket."""

    permission = Permission.GET_DEVICE_COMMAND
    reply = Reply
    errors = (NotFound,)

    subscriptionId: Annotated[Integer | None, says("Its number; absent: all subscriptions to commands.")] = None


class CommandInserted(Push, tag="command/insert", kw_only=True):
    """A command was inserted."""

    position: Position = UNSET
    reset: Reset = UNSET
    command: Annotated[CommandView, says("The command.")]


class CommandUpdated(Push, tag="command/update", kw_only=True):
    """A command was updated; for subscriptions with `returnUpdatedCommands`."""

    position: Position = UNSET
    reset: Reset = UNSET
    command: Annotated[CommandView, says("The command after the update.")]


class CommandBookmark(Push, tag="command/bookmark", kw_only=True):
    """A newer position, when nothing matched for a while; for resumable subscriptions."""

    position: Reached
    reset: Reset = UNSET
    live: Live = UNSET
