"""Notifications from devices (devices, section 3). They expire, and cannot be changed."""

from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    KeyReused,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TooManyMessages,
    Unavailable,
)
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

_Id = Annotated[int, says("The number of the notification, which no other of its device has.")]
_Timestamp = Annotated[str, says("The time that its client gave it, or when it was inserted.")]


class NotificationView(Struct, gc=False):
    """A notification."""

    id: _Id
    notification: Annotated[str | None, says("Its name.")]
    deviceId: Annotated[str, says("The device that it is about.")]
    networkId: Annotated[int | None, says("The network of the device when it was inserted.")]
    deviceTypeId: Annotated[int | None, says("The type of the device when it was inserted.")]
    timestamp: _Timestamp
    parameters: Annotated[Raw, says("Any JSON object, or null.")]

    def stamped(self, number: int, timestamp: int, changed: int) -> bytes:
        """Its JSON, with this number and this time in milliseconds."""
        self.id, self.timestamp = number, times.render(timestamp)
        return encode(self)


class NotificationFields(Struct, gc=False):
    """A notification as its client describes it. Unknown members, and those that the gateway sets, are ignored."""

    notification: Annotated[str | None, says("Its name.")] = None
    timestamp: Annotated[Raw | None, says("Its time, any; default: now.")] = None
    parameters: Annotated[Raw | UnsetType, says("Any JSON object, at most `parameters_bytes`.")] = UNSET
    idempotencyKey: Annotated[str | None, says("As in the request; it may be here or there.")] = None


class NotificationCreated(Struct, gc=False):
    """What the gateway has set."""

    id: _Id
    timestamp: _Timestamp


class NotificationInsertReply(Reply):
    """What the gateway has set; the notification is durable."""

    bounded = False

    notification: Annotated[NotificationCreated, says("The number and the time of the notification.")]


class NotificationInsert(Request, tag="notification/insert"):
    """Insert a notification of a device."""

    permission = Permission.CREATE_DEVICE_NOTIFICATION
    of_device = True
    log = "notifications"
    required = ("deviceId", "notification")
    reply = NotificationInsertReply
    errors = (NotAllowed, NotFound, OutOfBounds, KeyReused, TooManyMessages, Unavailable)

    notification: Annotated[NotificationFields | UnsetType | None, says("The notification; it needs a name.")] = UNSET
    idempotencyKey: IdempotencyKey = None


class NotificationReply(Reply):
    """The notification."""

    notification: Annotated[NotificationView, says("The notification.")]


class NotificationGet(Request, tag="notification/get"):
    """One notification of a device."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    of_device = True
    read_only = True
    required = ("deviceId", "notificationId")
    reply = NotificationReply
    errors = (NotFound, Unavailable)

    notificationId: Annotated[Raw | None, says("The number of the notification.")] = None


class NotificationListReply(Reply):
    """Notifications of a device."""

    notifications: Annotated[list[NotificationView], says("The notifications that match.")]


class NotificationList(Request, tag="notification/list"):
    """List the notifications of a device that have not expired, filtered, sorted and paged (devices, section 3.3)."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    of_device = True
    read_only = True
    required = ("deviceId",)
    reply = NotificationListReply
    errors = (NotFound, OutOfBounds, Unavailable)

    start: Annotated[Raw | None, says("Only those after this time.")] = None
    end: Annotated[Raw | None, says("Only those before this time.")] = None
    notification: Annotated[str | None, says("Only those with this name.")] = None
    names: Annotated[list[str] | None, says("Only those with one of these names.")] = None
    sortField: Annotated[
        str | None,
        says("`timestamp` or `notification`; when absent `timestamp` over HTTP, oldest first over a socket."),
    ] = None
    sortOrder: Annotated[
        str | None, says("`desc`, as when absent, or `asc`; over a socket only with a `sortField`.")
    ] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, 100 over HTTP.")] = None
    skip: Annotated[Integer | None, says("The number to skip at the beginning.")] = None


class NotificationSubscribe(Request, tag="notification/subscribe"):
    """Follow the notifications of a device, of networks and device types, or of all that the token reaches."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    heeds = ("deviceId",)
    of_device = True
    reply = MessageSubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    networkIds: Networks = None
    deviceTypeIds: DeviceTypes = None
    names: Annotated[list[str] | None, says("Only notifications with one of these names.")] = None
    timestamp: After = None
    resumable: Resumable = None
    since: Since = None


class NotificationStream(Request, tag="notification/stream"):
    """Follow notifications as an event stream: of a device, of networks and device types, or of all that the token
    reaches."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    http_only = True
    heeds = ("deviceId",)
    reply = SubscribeReply
    errors = (NotAllowed, NotFound, OutOfBounds, Unavailable)

    networkIds: StreamedNetworks = None
    deviceTypeIds: StreamedTypes = None
    names: Annotated[list[str] | None, says("Only notifications with one of these names.")] = None
    since: StreamedSince = None


class NotificationUnsubscribe(Request, tag="notification/unsubscribe"):
    """End one subscription to notifications, or all of this socket."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    reply = Reply
    errors = (NotFound,)

    subscriptionId: Annotated[Integer | None, says("Its number; absent: all subscriptions to notifications.")] = None


class NotificationInserted(Push, tag="notification/insert", kw_only=True):
    """A notification was inserted."""

    position: Position = UNSET
    reset: Reset = UNSET
    notification: Annotated[NotificationView, says("The notification.")]


class NotificationBookmark(Push, tag="notification/bookmark", kw_only=True):
    """A newer position, when nothing matched for a while; for resumable subscriptions."""

    position: Reached
    reset: Reset = UNSET
    live: Live = UNSET
