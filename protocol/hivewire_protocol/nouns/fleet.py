"""Watching a fleet: how many devices have applied their configurations (fleet.md, section 9)."""

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import Integer, Push, Reply, Request, says
from hivewire_protocol.nouns.layer import Target
from hivewire_protocol.nouns.subscription import Reached, SubscribeReply
from hivewire_protocol.permissions import Permission

_Target = Annotated[
    Target | None,
    says(
        "Only these devices; all that the caller reaches when absent. With `rollout`, `percent` selects those that it "
        "takes first; otherwise a sample that is neither that of a layer nor of a rollout."
    ),
]
_Names = Annotated[
    list[str] | None, says("Only these names, up to 1,000: exact ones, or prefixes that end in `*`.", maxItems=1_000)
]
_Rollout = Annotated[Integer | None, says("Only the devices that see this rollout, and its names.")]
_Devices = Annotated[int, says("All of them.")]
_Online = Annotated[int, says("Those that follow their configurations, at any gateway.")]
_Applied = Annotated[int, says("Those that have applied all that they should.")]
_Refused = Annotated[int, says("Those that have refused something.")]
_Pending = Annotated[int, says("Those that have not answered to something.")]
_Local = Annotated[int, says("Those that have something of their own.")]
_Reached = Annotated[int | UnsetType, says("With `rollout`: those that were sent its values.")]
_Waiting = Annotated[int | UnsetType, says("With `rollout`: those that are offline and were not.")]
_Silent = Annotated[int | UnsetType, says("With `rollout`: those that have not answered for too long.")]
_Overridden = Annotated[int | UnsetType, says("With `rollout`: for which a higher layer has all names.")]


class NameCounts(Struct):
    """The devices that should have a name, by its state."""

    name: Annotated[str, says("The name.")]
    applied: _Applied
    refused: _Refused
    pending: _Pending
    local: _Local


class ErrorCount(Struct):
    """An error that devices reported."""

    name: Annotated[str, says("The name that they refused.")]
    error: Annotated[str, says("Why.")]
    devices: Annotated[int, says("How many.")]


_Errors = Annotated[list[ErrorCount], says("The five most frequent errors.")]


class FleetCountReply(Reply, kw_only=True):
    """How many devices there are, by the worst state of their names."""

    devices: _Devices
    online: _Online
    applied: _Applied
    refused: _Refused
    pending: _Pending
    local: _Local
    names: Annotated[list[NameCounts] | UnsetType, says("With `names`: the counts of each name, up to 1,000.")] = UNSET
    errors: _Errors
    reached: _Reached = UNSET
    waiting: _Waiting = UNSET
    silent: _Silent = UNSET
    overridden: _Overridden = UNSET


class FleetRow(Struct):
    """A device of the fleet."""

    deviceId: Annotated[str, says("Its id.")]
    networkId: Annotated[int, says("Its network.")]
    deviceTypeId: Annotated[int, says("Its device type.")]
    labels: Annotated[dict[str, str], says("Its labels.")]
    online: Annotated[bool, says("Whether it follows its configurations, at any gateway.")]
    state: Annotated[str, says("`applied`, `refused`, `pending` or `local`: the worst of its names.")]
    errors: Annotated[dict[str, str], says("What it has refused, and why, by name.")]


class FleetListReply(Reply):
    """Devices by id."""

    devices: Annotated[list[FleetRow], says("The devices.")]


class FleetCount(Request, tag="fleet/count"):
    """Count the devices that the caller reaches, by the states of their names."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = FleetCountReply
    errors = (NotFound, OutOfBounds)

    target: _Target = None
    names: _Names = None
    rollout: _Rollout = None


class FleetList(Request, tag="fleet/list"):
    """List the devices that the caller reaches with their states."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = FleetListReply
    errors = (NotFound, OutOfBounds)

    target: _Target = None
    names: _Names = None
    rollout: _Rollout = None
    state: Annotated[str | None, says("Only those in this state.")] = None
    take: Annotated[Integer | None, says("The most to return: 0 to 1,000, default 100.", minimum=0, maximum=1_000)] = (
        None
    )
    after: Annotated[str | None, says("Start after this device: the last one of the previous page.")] = None


class FleetSubscribe(Request, tag="fleet/subscribe"):
    """Follow the counts, and perhaps the rows, of the devices that the caller reaches; at most once a second."""

    permission = Permission.GET_CONFIGURATION
    reply = SubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    target: _Target = None
    names: _Names = None
    rollout: Annotated[
        Integer | None,
        says(
            "Only the devices that see this rollout, and its names. Nothing more is pushed when it is over;"
            " `rollout/get` still shows it."
        ),
    ] = None
    state: Annotated[str | None, says("Only rows in this state.")] = None
    rows: Annotated[
        Integer | None,
        says("The number of rows to follow too, the first by id: 0 to 200, default none.", minimum=0, maximum=200),
    ] = None


class FleetUnsubscribe(Request, tag="fleet/unsubscribe"):
    """End a subscription to the fleet."""

    permission = Permission.GET_CONFIGURATION
    required = ("subscriptionId",)
    reply = Reply
    errors = (NotFound,)

    subscriptionId: Annotated[Integer | None, says("The number of the subscription.")] = None


class FleetCounts(Push, tag="fleet/count", kw_only=True):
    """The counts have changed; the first one comes within a second."""

    devices: _Devices
    online: _Online
    applied: _Applied
    refused: _Refused
    pending: _Pending
    local: _Local
    names: Annotated[list[NameCounts] | UnsetType, says("With `names`: the counts of each name.")] = UNSET
    errors: _Errors
    reached: _Reached = UNSET
    waiting: _Waiting = UNSET
    silent: _Silent = UNSET
    overridden: _Overridden = UNSET


class FleetLeft(Struct):
    """A device that is not among the rows any more."""

    deviceId: Annotated[str, says("Its id.")]
    why: Annotated[str, says("`state`, `target` or `deleted`.")]


class FleetRows(Push, tag="fleet/rows", kw_only=True):
    """Rows have changed."""

    entered: Annotated[list[FleetRow], says("Those that are new.")]
    changed: Annotated[list[FleetRow], says("Those that have changed.")]
    left: Annotated[list[FleetLeft], says("Those that have left.")]


class FleetBookmark(Push, tag="fleet/bookmark", kw_only=True):
    """A subscription that was paused continues."""

    position: Reached
    live: Annotated[bool | UnsetType, says("True: it has reached the present.")] = UNSET
