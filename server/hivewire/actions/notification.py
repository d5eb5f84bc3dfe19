"""Notifications of devices (devices, section 3, and its addendum)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import unquote

from msgspec import Raw

from hivewire.actions.checks import MAX_NAME, json_object
from hivewire.actions.device_messages import (
    Encoded,
    Sorts,
    check_bound,
    check_device_in_path,
    content_of,
    device_of,
    key_of,
    moment,
    page,
    stored,
    text_of,
)
from hivewire.actions.following import subscribe, unsubscribe
from hivewire.actions.waiting import resuming
from hivewire.caller import Caller
from hivewire.devices.index import Device
from hivewire.devices.scope import SHOWN, required
from hivewire.services import Services
from hivewire.streams.message import Draft, Message
from hivewire.streams.pending import PendingMessage
from hivewire_protocol import coercion, times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, MalformedJson, NotAllowed, NotFound
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.notification import (
    NotificationCreated,
    NotificationFields,
    NotificationGet,
    NotificationInsert,
    NotificationInsertReply,
    NotificationList,
    NotificationSubscribe,
    NotificationUnsubscribe,
    NotificationView,
)

SPECIAL = ("$device-update", "$device-add")
"""Names that only the gateway gives."""

_SORTS: Sorts = {"notification": lambda message: text_of(message.name)}


def insert(services: Services, caller: Caller, request: NotificationInsert) -> PendingMessage[Reply]:
    """Insert a notification. Raises InvalidParameters, NotAllowed, AccessDenied, NotFound, or TooLarge
    (devices, section 3.1)."""
    fields = request.notification
    name = fields.notification if isinstance(fields, NotificationFields) else None
    complaint: InvalidParameters | NotAllowed | None = None
    if not caller.http and not name:
        complaint = InvalidParameters("Notification is required")
    if caller.http and name in SPECIAL:
        complaint = NotAllowed("It's forbidden to insert these special notifications: $device-update, $device-add.")
    device = device_of(services, caller, request.deviceId, complaint)
    if not isinstance(fields, NotificationFields) or not name:
        raise InvalidParameters
    parameters = json_object(fields.parameters)
    check_bound(name, MAX_NAME, "notification")
    timestamp = moment(fields.timestamp, caller, in_body=True)
    key = key_of(fields.idempotencyKey, request.idempotencyKey)

    make = partial(_body, name, device, parameters)
    draft = Draft(device, name, caller.identity.user_id, make, timestamp=timestamp, size=len(parameters))
    if key is not None:
        draft.key, draft.content = key, content_of(name, timestamp, parameters)
    return PendingMessage(services.messages.notifications, draft, _created)


def _body(name: str, device: Device, parameters: Raw, number: int, timestamp: int, changed: int) -> bytes:
    moment = times.render(timestamp)
    return encode(NotificationView(number, name, device.id, device.network, device.type, moment, parameters))


def _created(message: Message) -> Reply:
    return NotificationInsertReply(NotificationCreated(message.id, times.render(message.timestamp)))


async def get(services: Services, caller: Caller, request: NotificationGet) -> Reply:
    """One notification. Raises InvalidParameters, AccessDenied or NotFound (devices, section 3.2)."""
    device = _device(services, caller, request.deviceId)
    number = _number(request.notificationId)
    found: Message | None = await stored(services.messages.notifications.get(device.record_id, number))
    if found is None:
        raise NotFound("Requested notification not found")
    return Encoded("notification", found.body)


def _device(services: Services, caller: Caller, device_id: str | None) -> Device:
    """The device whose notifications are read. Over a socket one that does not exist is NotFound for everybody
    (addendum, section 4)."""
    wanted = required(device_id)
    if not caller.http and services.registry.device(wanted) is None:
        raise NotFound(f"Device with such deviceId = {wanted[:SHOWN]} not found")
    return services.registry.reach(caller.identity, wanted)


def _number(given: Raw | None) -> int:
    try:
        number = coercion.integer(bytes(given)) if given is not None else None
    except MalformedJson:
        raise InvalidParameters("Notification id should be an integer value.") from None
    if number is None:
        raise InvalidParameters("Notification id is wrong or empty")
    return number


def check_number_in_path(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
    """Raise for a device in a path that the caller does not reach, and NotFound for a number that is none."""
    check_device_in_path(services, caller, parameters)
    if not unquote(parameters["notificationId"]).isdecimal():
        raise NotFound("Requested notification not found")


async def list_(services: Services, caller: Caller, request: NotificationList) -> Reply:
    """Notifications of a device that match, sorted and paged. Raises as `get`."""
    device = _device(services, caller, request.deviceId)
    log = services.messages.notifications
    return await page(log, device, caller, request, "notifications", request.notification, _SORTS)


READS = {
    NotificationGet: get,
    NotificationList: list_,
    NotificationSubscribe: resuming(subscribe),
    NotificationUnsubscribe: unsubscribe,
}
WRITES = {NotificationInsert: insert}
