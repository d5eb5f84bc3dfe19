"""Notifications of devices (devices, section 3, and its addendum)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import unquote

from msgspec import Raw

from hivewire.actions.checks import MAX_NAME, json_object
from hivewire.actions.device_messages import (
    Encoded,
    Sorts,
    check_bound,
    check_device_in_path,
    content_of,
    key_of,
    moment,
    page,
    refuse,
    stored,
    text_of,
)
from hivewire.actions.following import subscribe, unsubscribe
from hivewire.actions.waiting import resuming
from hivewire.caller import Caller
from hivewire.devices.index import Device
from hivewire.devices.scope import no_device, required
from hivewire.services import Services
from hivewire.streams.message import Message
from hivewire.streams.pending import PendingMessage
from hivewire_protocol import coercion, times
from hivewire_protocol.errors import InvalidParameters, MalformedJson, NotAllowed, NotFound
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.notification import (
    NotificationFields,
    NotificationGet,
    NotificationInsert,
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
    if not isinstance(fields, NotificationFields) or not (name := fields.notification):
        _refuse_unnamed(services, caller, request)
    if caller.http and name in SPECIAL:
        special = NotAllowed("It's forbidden to insert these special notifications: $device-update, $device-add.")
        refuse(services, caller, request.deviceId, special)
    device = services.registry.reach(caller.identity, request.deviceId)
    parameters = json_object(fields.parameters)
    check_bound(name, MAX_NAME, "notification")
    timestamp = moment(fields.timestamp, caller, in_body=True)
    view = NotificationView(0, name, device.id, device.network, device.type, "", parameters)
    draft: PendingMessage[Reply] = PendingMessage(
        device,
        name,
        caller.identity.user_id,
        view.stamped,
        timestamp=timestamp,
        size=len(parameters),
        log=services.messages.notifications,
        answer=_created,
    )
    key = key_of(request.idempotencyKey, fields.idempotencyKey)
    if key is not None:
        draft.key, draft.content = key, content_of(name, timestamp, parameters)
    return draft


def _refuse_unnamed(services: Services, caller: Caller, request: NotificationInsert) -> NoReturn:
    if not caller.http:
        refuse(services, caller, request.deviceId, InvalidParameters("Notification is required"))
    services.registry.reach(caller.identity, request.deviceId)
    raise InvalidParameters


def _created(message: Message) -> Reply:
    """As NotificationInsertReply, encoded."""
    time = times.render(message.timestamp).encode()
    return Encoded(b'"notification":{"id":%d,"timestamp":"%b"}' % (message.id, time))


async def get(services: Services, caller: Caller, request: NotificationGet) -> Reply:
    """One notification. Raises InvalidParameters, AccessDenied or NotFound (devices, section 3.2)."""
    device = _device(services, caller, request.deviceId)
    number = _number(request.notificationId)
    found: Message | None = await stored(services.messages.notifications.get(device.record_id, number))
    if found is None:
        raise NotFound("Requested notification not found")
    return Encoded(b'"notification":' + found.body)


def _device(services: Services, caller: Caller, device_id: str | None) -> Device:
    """The device whose notifications are read. One that does not exist is NotFound for everybody (addendum, section 4);
    over HTTP the path was checked before."""
    wanted = required(device_id)
    if services.registry.device(wanted) is None:
        raise no_device(wanted)
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
