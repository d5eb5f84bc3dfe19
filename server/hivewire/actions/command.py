"""Commands of devices (devices, section 2, and its addendum)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from hivewire.actions.checks import MAX_NAME, check_token, json_object
from hivewire.actions.device_messages import (
    Encoded,
    Sorts,
    check_bound,
    check_device_in_path,
    content_of,
    given_object,
    key_of,
    moment,
    one_of,
    page,
    refuse,
    stored,
    text_of,
)
from hivewire.actions.following import subscribe, unsubscribe
from hivewire.actions.waiting import resuming
from hivewire.caller import Caller
from hivewire.devices.scope import SHOWN
from hivewire.services import Services
from hivewire.streams.message import Make, Message, Update, end_of
from hivewire.streams.pending import PendingMessage
from hivewire_protocol import times
from hivewire_protocol.errors import InvalidParameters, NotFound, OutOfBounds
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.command import (
    CommandChange,
    CommandFields,
    CommandGet,
    CommandInsert,
    CommandList,
    CommandSubscribe,
    CommandUnsubscribe,
    CommandUpdate,
    CommandView,
)

_SORTS: Sorts = {
    "command": lambda message: text_of(message.name),
    "status": lambda message: text_of(message.status),
}

_view = msgspec.json.Decoder(CommandView)


def insert(services: Services, caller: Caller, request: CommandInsert) -> PendingMessage[Reply]:
    """Insert a command. Raises InvalidParameters, OutOfBounds, AccessDenied, NotFound or TooLarge (devices, 2.1)."""
    device = services.registry.reach(caller.identity, request.deviceId)
    fields = request.command
    if not isinstance(fields, CommandFields):
        raise InvalidParameters("Command is required")
    user, name, lifetime, status = caller.identity.user_id, fields.command, fields.lifetime, fields.status
    parameters, result = json_object(fields.parameters), json_object(fields.result)
    check_bound(text_of(name), MAX_NAME, "command")
    check_bound(text_of(status), MAX_NAME, "status")
    timestamp = moment(fields.timestamp, caller, in_body=True)
    key = key_of(request.idempotencyKey, fields.idempotencyKey)
    seconds = one_of("expiresIn", request.expiresIn, fields.expiresIn)
    if seconds is not None and seconds < 1:
        raise OutOfBounds("expiresIn should be at least 1.")

    view = CommandView(
        0, name, "", "", user, device.id, device.network, device.type, parameters, lifetime, status, result
    )
    draft: PendingMessage[Reply] = PendingMessage(
        device,
        name,
        user,
        view.stamped,
        status,
        timestamp=timestamp,
        size=len(parameters) + len(result),
        log=services.messages.commands,
        answer=_created,
    )
    if key is not None:
        draft.key = key
        draft.content = content_of(name, timestamp, parameters, lifetime, status, result, seconds)
    if seconds is not None:
        draft.expires_in = seconds * 1_000
        draft.make = _expiring(view, draft.expires_in)
    return draft


def _expiring(view: CommandView, expires_in: int) -> Make:
    """What encodes a command with the time from which it is not delivered any more."""

    def make(number: int, timestamp: int, changed: int) -> bytes:
        view.expires = times.render(end_of(number, expires_in))
        return view.stamped(number, timestamp, changed)

    return make


def _created(message: Message) -> Reply:
    """As CommandInsertReply, encoded."""
    time = times.render(message.timestamp).encode()
    created = b'"command":{"id":%d,"timestamp":"%b","lastUpdated":"%b","userId":%d}'
    return Encoded(created % (message.id, time, time, message.author))


async def update(services: Services, caller: Caller, request: CommandUpdate) -> Reply:
    """Store the outcome of a command. Raises InvalidParameters, AccessDenied, NotFound, TooLarge,
    TooManyMessages or Unavailable (devices, section 2.4)."""
    number = request.commandId
    if number is None:
        refuse(services, caller, request.deviceId, InvalidParameters("Command id is wrong or empty"))
    device = services.registry.reach(caller.identity, request.deviceId)
    fields = request.command
    if not isinstance(fields, CommandChange):
        raise InvalidParameters("Command is required")
    status, result = fields.status, given_object(fields.result)
    check_bound(text_of(status), MAX_NAME, "status")

    def change(last: Message) -> Update:  # once earlier updates of the command are over, and it has been read
        check_token(services, caller)
        device = services.registry.reach(caller.identity, request.deviceId)
        view = _view.decode(last.body)
        view.status = view.status if status is None else status
        view.result = view.result if result is None else result
        size = len(view.parameters) + len(view.result)
        return Update(view.stamped, view.status, size, caller.identity, device)

    try:
        await stored(services.messages.commands.update(device.record_id, number, change))
    except NotFound:
        raise _unknown(number) from None
    return NOTHING


async def get(services: Services, caller: Caller, request: CommandGet) -> Reply:
    """One command. Raises InvalidParameters, AccessDenied or NotFound (devices, section 2.2)."""
    device = services.registry.reach(caller.identity, request.deviceId)
    if request.commandId is None:
        raise InvalidParameters("Command id is wrong or empty")
    found = await stored(services.messages.commands.get(device.record_id, request.commandId))
    if found is None or (request.returnUpdatedCommands and not found.updated):
        raise _unknown(request.commandId)
    return Encoded(b'"command":' + found.body)


def _unknown(number: int) -> NotFound:
    return NotFound(f"Command with id = {number} not found")


def check_in_path(services: Services, caller: Caller, parameters: Mapping[str, str], *, follows: bool = False) -> None:
    """Raise for a device in a path that the caller does not reach, and NotFound for a number that is none.

    `follows`: the request waits for updates of the command.
    """
    check_device_in_path(services, caller, parameters, follows=follows)
    number = unquote(parameters["commandId"])
    if not number.isdecimal():
        raise NotFound(f"Command with id = {number[:SHOWN]} not found")


async def list_(services: Services, caller: Caller, request: CommandList) -> Reply:
    """Commands of a device that match, sorted and paged. Raises as `get`."""
    device = services.registry.reach(caller.identity, request.deviceId)
    log, name, status = services.messages.commands, request.command, request.status
    return await page(log, device, caller, request, "commands", name, _SORTS, status)


READS = {
    CommandUpdate: update,
    CommandGet: get,
    CommandList: list_,
    CommandSubscribe: resuming(subscribe),
    CommandUnsubscribe: unsubscribe,
}
WRITES = {CommandInsert: insert}
