"""Subscriptions: live changes over a socket, and the positions to resume from (configuration contract, sections 4-6).

A position is opaque to clients. Inside it are the epoch of the ledger and a revision, so that a position of another
ledger, or from before a restored backup, is recognised.
"""

import re
from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import Integer, Push, Reply, Request, says
from hivewire_protocol.nouns.configuration import AtLeast, ChangeInfo, Detail, Fresh, Inline, Reveal
from hivewire_protocol.nouns.device import DeviceView
from hivewire_protocol.nouns.devicetype import DeviceTypeListed
from hivewire_protocol.nouns.network import NetworkListed
from hivewire_protocol.permissions import Permission

_POSITION = re.compile(r"([0-9a-zA-Z]{1,64})-(\d{1,18})", re.ASCII)


def render_position(epoch: str, revision: int) -> str:
    """The position after a revision of an epoch."""
    return f"{epoch}-{revision}"


def parse_position(text: str) -> tuple[str, int]:
    """The epoch and the revision of a position. Raises ValueError when the text is not a position."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError("not a position")
    return match[1], int(match[2])


_Begin = Annotated[
    str | UnsetType, says("The position at which `live` and `resumed` begin, and with messages a `reset`.")
]
_Oldest = Annotated[
    int | UnsetType, says("With `reset`: the first revision, or place of a message, from which the log is complete.")
]


class SubscribeReply(Reply):
    """The new subscription, and what its connection gets next."""

    subscriptionId: Annotated[int, says("The number of the subscription, from 1 in each connection.")]
    mode: Annotated[str, says("`snapshot`, `live`, `resumed` or `reset`: what follows.")]
    position: _Begin = UNSET
    oldest: _Oldest = UNSET


class SubscriptionItem(Struct, gc=False, omit_defaults=True):
    """One subscription of this socket."""

    subscriptionId: Annotated[int, says("Its number.")]
    type: Annotated[str, says("Its topic, the first word of its pushes, such as `configuration`.")]
    names: Annotated[
        list[str] | None,
        says("What it follows of its topic: name patterns, or a tenant; the `names` of a request for messages."),
    ]
    deviceId: Annotated[str | UnsetType | None, says("The `deviceId` of the request.")] = UNSET
    networkIds: Annotated[list[int] | UnsetType | None, says("Of messages: those of the request.")] = UNSET
    deviceTypeIds: Annotated[list[int] | UnsetType | None, says("Of messages: those of the request.")] = UNSET
    timestamp: Annotated[str | UnsetType | None, says("Of messages: that of the request.")] = UNSET
    layer: Annotated[str | UnsetType, says("Of configurations in layers: that of the request.")] = UNSET
    resumable: Annotated[bool, says("True if its pushes of messages have positions; absent otherwise.")] = False
    paused: Annotated[
        bool, says("True if the rights of the socket cover none of it, or too much; absent otherwise.")
    ] = False


class SubscriptionListReply(Reply):
    """The subscriptions of this socket."""

    subscriptions: Annotated[list[SubscriptionItem], says("The subscriptions, by number.")]
    more: Annotated[
        bool | UnsetType, says("True if there are more than an answer can have: ask again, with the last as `after`.")
    ] = UNSET


class ConfigurationSubscribe(Request, tag="configuration/subscribe"):
    """Follow configurations, or the document of a `tenant`: the state and every change, or the changes after `since`.

    `tenant` takes the place of `names` and needs the privilege READ in that tenant, not the permission. With `deviceId`
    it is what this device should have: the token must be one of the device, with the permission `SyncConfiguration`.
    """

    permission = Permission.GET_CONFIGURATION
    or_one_of = (Permission.SYNC_CONFIGURATION,)
    or_tenant = True
    heeds = ("deviceId",)
    reply = SubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    names: Annotated[
        list[str] | None, says("Up to 1,000 exact names, or prefixes that end in `*`; all when absent.", maxItems=1_000)
    ] = None
    layer: Annotated[
        str | None,
        says("Those of this layer; `*` for those of all, in the order of the layers' names; plain ones when absent."),
    ] = None
    tenant: Annotated[str | None, says("A tenant whose document to follow, in place of `names`.")] = None
    since: Annotated[str | None, says("The last `position` that the client has: resume after it.")] = None
    snapshot: Annotated[bool | None, says("False: only changes, without the state at the beginning.")] = None
    conflate: Annotated[
        bool | None, says("False: do not leave out changes for a slow reader, but close the connection (4008).")
    ] = None
    frameBytes: Annotated[
        Integer | None,
        says("With `deviceId`: the longest snapshot frame, 1,024 to 262,144 bytes; a longer value is left out."),
    ] = None
    inline: Inline = None
    detail: Detail = None
    reveal: Reveal = None
    atLeast: AtLeast = None
    fresh: Fresh = None


class ConfigurationUnsubscribe(Request, tag="configuration/unsubscribe"):
    """End a subscription: nothing more is pushed after the reply."""

    permission = Permission.GET_CONFIGURATION
    or_one_of = (Permission.SYNC_CONFIGURATION,)
    or_tenant = True
    required = ("subscriptionId",)
    reply = Reply
    errors = (NotFound,)

    subscriptionId: Annotated[Integer | None, says("The number of the subscription.")] = None


class SubscriptionList(Request, tag="subscription/list"):
    """The subscriptions of this socket."""

    permission = Permission.GET_CONFIGURATION
    or_one_of = (
        Permission.GET_DEVICE_COMMAND,
        Permission.GET_DEVICE_NOTIFICATION,
        Permission.SYNC_CONFIGURATION,
    )
    or_tenant = True
    read_only = True
    reply = SubscriptionListReply

    type: Annotated[str | None, says("Only those of this topic, such as `configuration`.")] = None
    after: Annotated[Integer | None, says("Only those with a greater number.")] = None


# What subscriptions to commands and notifications have in common (devices, sections 2.5 and 3.4).


class MessageSubscribeReply(Reply):
    """The new subscription. What was stored follows, then what is new. A resumable one has the other members too."""

    subscriptionId: Annotated[int, says("The number of the subscription.")]
    mode: Annotated[str | UnsetType, says("`live`, `resumed` or `reset`: what follows.")] = UNSET
    position: _Begin = UNSET
    oldest: _Oldest = UNSET


Networks = Annotated[list[Integer] | None, says("Only of devices in these networks.")]
DeviceTypes = Annotated[list[Integer] | None, says("Only of devices of these types.")]
After = Annotated[Raw | None, says("Begin with what is stored and later than this; absent: only what is new.")]


Resumable = Annotated[
    bool | None, says("True: the pushes have positions to resume from; not together with `timestamp` or `limit`.")
]
Since = Annotated[str | None, says("The last `position` that the client has: resume after it. It implies `resumable`.")]
Position = Annotated[
    str | UnsetType, says("Of a resumable subscription: the position to resume from after this message.")
]
Reset = Annotated[
    bool | UnsetType, says("True: messages may be missing before this; all that are kept and match follow.")
]
Reached = Annotated[str, says("The position to resume from: every matching message up to it was pushed.")]
Live = Annotated[
    bool | UnsetType, says("True: a subscription that was resumed, paused or behind has reached the present.")
]

# Members of the requests for event streams, whose lists may be separated by commas.
StreamedNetworks = Annotated[list[str] | None, says("Only of devices in these networks; the token's when absent.")]
StreamedTypes = Annotated[list[str] | None, says("Only of devices of these types; the token's when absent.")]
StreamedSince = Annotated[
    str | None, says("The position to resume after; the header `Last-Event-ID` takes precedence.")
]


# Following devices, networks and device types, which is not part of DeviceHive.

_Networks = Annotated[list[Integer] | None, says("Only those in these networks; in all that are reached when absent.")]
_Types = Annotated[list[Integer] | None, says("Only those of these types; of all that are reached when absent.")]
_Since = Annotated[str | None, says("The last `position` that the client has: resume after it.")]
_Snapshot = Annotated[bool | None, says("False: only changes, without the state at the beginning.")]
_Number = Annotated[Integer | None, says("The number of the subscription.")]


class DeviceSubscribe(Request, tag="device/subscribe"):
    """Follow the devices that the caller may see: the state and every change, or the changes after `since`.

    A device that comes within reach is a put, one that goes out of reach a delete. With `deviceId` only that one, also
    while there is none.
    """

    permission = Permission.GET_DEVICE
    heeds = ("deviceId",)
    reply = SubscribeReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    networkIds: _Networks = None
    deviceTypeIds: _Types = None
    since: _Since = None
    snapshot: _Snapshot = None
    presence: Annotated[
        bool | None,
        says("True: show `online` and `lastSeen` too, and push `device/presence`. Then `since` is always a reset."),
    ] = None


class DeviceUnsubscribe(Request, tag="device/unsubscribe"):
    """End a subscription to devices."""

    permission = Permission.GET_DEVICE
    required = ("subscriptionId",)
    reply = Reply
    errors = (NotFound,)

    subscriptionId: _Number = None


class NetworkSubscribe(Request, tag="network/subscribe"):
    """Follow the networks that the caller may see: the state and every change, or the changes after `since`."""

    permission = Permission.GET_NETWORK
    reply = SubscribeReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    networkIds: Annotated[list[Integer] | None, says("Only these; all that are reached when absent.")] = None
    since: _Since = None
    snapshot: _Snapshot = None


class NetworkUnsubscribe(Request, tag="network/unsubscribe"):
    """End a subscription to networks."""

    permission = Permission.GET_NETWORK
    required = ("subscriptionId",)
    reply = Reply
    errors = (NotFound,)

    subscriptionId: _Number = None


class DeviceTypeSubscribe(Request, tag="devicetype/subscribe"):
    """Follow the device types that the caller may see: the state and every change, or the changes after `since`."""

    permission = Permission.GET_DEVICE_TYPE
    reply = SubscribeReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    deviceTypeIds: Annotated[list[Integer] | None, says("Only these; all that are reached when absent.")] = None
    since: _Since = None
    snapshot: _Snapshot = None


class DeviceTypeUnsubscribe(Request, tag="devicetype/unsubscribe"):
    """End a subscription to device types."""

    permission = Permission.GET_DEVICE_TYPE
    required = ("subscriptionId",)
    reply = Reply
    errors = (NotFound,)

    subscriptionId: _Number = None


# The pushes.


class SubscriptionPaused(Push, tag="subscription/paused", kw_only=True):
    """The token of the socket is no longer accepted: it has expired or was revoked, or its user was locked. Nothing
    more is pushed until `authenticate` gives the socket another token, or the user is active again."""

    reason: Annotated[str, says("Why: the text of the error that a request would get.")]


# Members that several pushes share.
_Position = Annotated[
    str | UnsetType, says("The position to resume from after this message; absent while a group continues.")
]
_More = Annotated[bool | UnsetType, says("True in place of a position: the group continues; apply it as a whole.")]
_Conflated = Annotated[bool | UnsetType, says("True: a slow reader gets only the latest change of each name.")]
_Last = Annotated[bool, says("True in the last frame of the snapshot, the one with the position.")]
_Reset = Annotated[bool | UnsetType, says("True in the first frame of a snapshot that replaces the client's state.")]
_Caught = Annotated[str, says("The position to resume from: every matching change up to it was pushed.")]


class PushedConfiguration(Struct, gc=False):
    """A configuration. To a device it has a `tag` in place of `entityVersion`, and no `layer`."""

    name: Annotated[str, says("Its name.")]
    value: Annotated[str | None, says("Its content; null if deleted, binary, or too long.")]
    entityVersion: Annotated[int | UnsetType, says("1 at creation, one more with every change.")] = UNSET
    tag: Annotated[str | UnsetType | None, says("12 characters that stand for the content; null if deleted.")] = UNSET
    contentType: Annotated[str | UnsetType, says("The media type of the content.")] = UNSET
    size: Annotated[int | UnsetType, says("The length of the content in bytes.")] = UNSET
    secret: Annotated[bool | UnsetType, says("True: the value is secret, so it is null here.")] = UNSET
    layer: Annotated[str | UnsetType, says("The layer that it is in; absent of a plain configuration.")] = UNSET


class ConfigurationUpdate(Push, tag="configuration/update", kw_only=True):
    """A configuration changed; the members after the position are those of a change."""

    position: _Position = UNSET
    more: _More = UNSET
    conflated: _Conflated = UNSET
    revision: Annotated[int, says("The ledger-wide number of the change.")]
    operation: Annotated[str, says("`put` or `delete`.")]
    modified: Annotated[
        str | UnsetType, says("When, in UTC: `2026-03-01T09:30:00.123`; absent with `deviceId`, like the next two.")
    ] = UNSET
    modifiedBy: Annotated[str | UnsetType | None, says("The login of the writer.")] = UNSET
    description: Annotated[str | UnsetType | None, says("The writer's reason.")] = UNSET
    configuration: Annotated[PushedConfiguration, says("The configuration after the change.")]


class ConfigurationSnapshot(Push, tag="configuration/snapshot", kw_only=True):
    """A part of the state, in the order of names."""

    position: _Position = UNSET
    reset: _Reset = UNSET
    configurations: Annotated[list[PushedConfiguration] | UnsetType, says("Configurations in their current state.")] = (
        UNSET
    )
    changes: Annotated[list[ChangeInfo] | UnsetType, says("With `detail`: the last change of each.")] = UNSET
    last: _Last


class ConfigurationBookmark(Push, tag="configuration/bookmark", kw_only=True):
    """A newer position: nothing matched for a while, or the present is reached."""

    position: _Caught
    live: Live = UNSET


class TenantUpdate(Push, tag="tenant/update", kw_only=True):
    """The document of a tenant changed. The lists have at most 1,000 URIs each."""

    position: _Position = UNSET
    more: _More = UNSET
    conflated: _Conflated = UNSET
    revision: Annotated[int, says("The ledger-wide number of the change.")]
    modified: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    modifiedBy: Annotated[str | None, says("The login or client id of the writer.")]
    tenant: Annotated[str, says("The tenant's id.")]
    updatedTime: Annotated[
        int | None, says("The document's `updatedTime`, milliseconds since 1970; null when the tenant was deleted.")
    ]
    added: Annotated[list[str], says("URIs of elements that are new.")]
    removed: Annotated[list[str], says("URIs of elements that are gone.")]
    modifiedUris: Annotated[list[str], says("URIs of elements whose own members changed.")]
    truncated: Annotated[bool, says("Whether a list had more than 1,000 URIs.")]
    warnings: Annotated[int, says("The number of warnings about the document.")]


class TenantState(Struct):
    """The version of a tenant's document."""

    tenant: Annotated[str, says("The tenant's id.")]
    updatedTime: Annotated[int, says("The document's `updatedTime`, milliseconds since 1970.")]
    revision: Annotated[int, says("The revision of its last change.")]


class TenantSnapshot(Push, tag="tenant/snapshot", kw_only=True):
    """The state of the tenant's document."""

    position: _Position = UNSET
    reset: _Reset = UNSET
    tenants: Annotated[list[TenantState], says("The tenant; empty if it has no document yet.")]
    last: _Last


class TenantBookmark(Push, tag="tenant/bookmark", kw_only=True):
    """A newer position: nothing matched for a while, or the present is reached."""

    position: _Caught
    live: Live = UNSET


# Of devices, networks and device types.

_Revision = Annotated[int, says("The ledger-wide number of the change.")]
_Operation = Annotated[str, says("`put`, or `delete` for what is gone or out of reach.")]
_Modified = Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
_ModifiedBy = Annotated[str | None, says("The login of the user who changed it; null for the gateway itself.")]


class DeviceChange(Push, tag="device/change", kw_only=True):
    """A device was saved or deleted, or has come within reach or gone out of it."""

    position: _Position = UNSET
    more: _More = UNSET
    revision: _Revision
    operation: _Operation
    modified: _Modified
    modifiedBy: _ModifiedBy
    deviceId: Annotated[str, says("The id of the device.")]
    device: Annotated[DeviceView | None, says("The device after the change; null after a delete.")]


class DevicePresence(Push, tag="device/presence", kw_only=True):
    """With `presence`: a device is online, or offline, from now on. This has no position, because it is in no log."""

    deviceId: Annotated[str, says("The id of the device.")]
    online: Annotated[bool, says("Whether something waits for its commands.")]
    lastSeen: Annotated[str | None, says("When something last did.")]


class NetworkChange(Push, tag="network/change", kw_only=True):
    """A network was created, changed or deleted."""

    position: _Position = UNSET
    more: _More = UNSET
    conflated: _Conflated = UNSET
    revision: _Revision
    operation: _Operation
    modified: _Modified
    modifiedBy: _ModifiedBy
    networkId: Annotated[int, says("The number of the network.")]
    network: Annotated[NetworkListed | None, says("The network after the change; null after a delete.")]


class DeviceTypeChange(Push, tag="devicetype/change", kw_only=True):
    """A device type was created, changed or deleted."""

    position: _Position = UNSET
    more: _More = UNSET
    conflated: _Conflated = UNSET
    revision: _Revision
    operation: _Operation
    modified: _Modified
    modifiedBy: _ModifiedBy
    deviceTypeId: Annotated[int, says("The number of the device type.")]
    deviceType: Annotated[DeviceTypeListed | None, says("The device type after the change; null after a delete.")]


class DeviceSnapshot(Push, tag="device/snapshot", kw_only=True):
    """A part of the state, in the order of ids."""

    position: _Position = UNSET
    reset: _Reset = UNSET
    devices: Annotated[list[DeviceView], says("Devices as they are.")]
    last: _Last


class NetworkSnapshot(Push, tag="network/snapshot", kw_only=True):
    """A part of the state."""

    position: _Position = UNSET
    reset: _Reset = UNSET
    networks: Annotated[list[NetworkListed], says("Networks as they are.")]
    last: _Last


class DeviceTypeSnapshot(Push, tag="devicetype/snapshot", kw_only=True):
    """A part of the state."""

    position: _Position = UNSET
    reset: _Reset = UNSET
    deviceTypes: Annotated[list[DeviceTypeListed], says("Device types as they are.")]
    last: _Last


class DeviceBookmark(Push, tag="device/bookmark", kw_only=True):
    """A newer position: nothing matched for a while, or the present is reached."""

    position: _Caught
    live: Live = UNSET


class NetworkBookmark(Push, tag="network/bookmark", kw_only=True):
    """A newer position: nothing matched for a while, or the present is reached."""

    position: _Caught
    live: Live = UNSET


class DeviceTypeBookmark(Push, tag="devicetype/bookmark", kw_only=True):
    """A newer position: nothing matched for a while, or the present is reached."""

    position: _Caught
    live: Live = UNSET
