"""What commands and notifications have in common: their device, times, objects, lists, errors of their store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, Protocol, TypeAlias, TypeVar
from urllib.parse import unquote

from msgspec import UNSET, Raw, UnsetType

from hivewire.actions.checks import NULL, json_object
from hivewire.actions.listing import Listing, LongListing, Paged, search
from hivewire.caller import Caller
from hivewire.devices.index import Device
from hivewire.services import Services
from hivewire.streams.filters import Filter
from hivewire.streams.log import Log
from hivewire.streams.message import Message, StreamError
from hivewire.streams.page import Selection
from hivewire.streams.pending import wire_error
from hivewire_protocol import coercion
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.errors import (
    InvalidParameters,
    MalformedJson,
    NotFound,
    OutOfBounds,
    WireError,
)
from hivewire_protocol.messages import Reply

TAKE_OVER_SOCKET, TAKE_OVER_HTTP = 20, 100

MAX_KEY = 64
"""Characters of an idempotency key."""

T = TypeVar("T")

Sorts: TypeAlias = Mapping[str, Callable[[Message], str]]
"""What to sort by besides the time, for each `sortField` in lower case."""


class Encoded(Reply):
    """A reply whose only member is encoded already."""

    encoded: bytes
    """The member as JSON with its name, without braces around it."""

    def members(self) -> bytes:
        """The member."""
        return self.encoded

    def member(self, name: str) -> bytes:
        """The member without its name."""
        return self.encoded[len(f'"{name}":') :]


def refuse(services: Services, caller: Caller, device_id: str | None, complaint: WireError) -> NoReturn:
    """Raise the complaint about a request, or AccessDenied: rights come first, and a device's existence last."""
    if device_id is not None:
        with suppress(NotFound):
            services.registry.reach(caller.identity, device_id)
    raise complaint


def check_device_in_path(
    services: Services, caller: Caller, parameters: Mapping[str, str], *, follows: bool = False
) -> None:
    """Raise for a device in a path that the caller does not reach: rights and existence come before the rest of a
    request (addendum, section 3). `follows`: the request waits for messages of the device."""
    services.registry.reach(caller.identity, unquote(parameters["deviceId"]), follows=follows)


def check_scope_in_path(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
    """The same for an insert, whose body must be there before it matters whether the device exists."""
    with suppress(NotFound):
        check_device_in_path(services, caller, parameters)


def moment(given: Raw | None, caller: Caller, *, in_body: bool = False) -> int | None:
    """The time that a request names: milliseconds since 1970, or None without one. Raises InvalidParameters or
    MalformedJson. `in_body`: a request over HTTP has it in its body, and not in its query."""
    if given is None:
        return None
    try:
        return coercion.timestamp(given)
    except ValueError:
        # Devices, section 0.6: the text is that of the reference for each kind of request.
        over_http = InvalidParameters() if in_body else InvalidParameters("Unparseable timestamp")
        raise (over_http if caller.http else MalformedJson()) from None


async def stored(result: Awaitable[T]) -> T:
    """The result of reading the store. Its errors become those of the wire."""
    try:
        return await result
    except StreamError as error:
        raise wire_error(error) from None


async def replayed(services: Services, log: Log, wanted: Filter, **bounds: Any) -> list[Message]:
    """The stored messages that are wanted, within the bounds of `Log.replay`, of devices that exist: messages of a
    deleted device are not shown (addendum, section 1)."""
    registry = services.registry

    def exists(message: Message) -> bool:
        device = registry.device(message.device_id)
        return device is not None and device.record_id == message.device

    found = await stored(log.replay(lambda message: wanted.accepts(message) and exists(message), **bounds))
    return await search(found, exists)  # some may have been deleted while this was read


class ListRequest(Paged, Protocol):
    """The members that both lists have."""

    @property
    def start(self) -> Raw | None: ...  # noqa: D102 - named as on the wire
    @property
    def end(self) -> Raw | None: ...  # noqa: D102
    @property
    def names(self) -> list[str] | None: ...  # noqa: D102


async def page(
    log: Log,
    device: Device,
    caller: Caller,
    request: ListRequest,
    what: str,
    name: str | None,
    sorts: Sorts,
    status: str | None = None,
) -> Listing:
    """A list of a device's messages (devices, sections 2.3 and 3.3; its addendum, section 1).

    In the order of time, and of inserts within a millisecond, which is turned around where the order is descending.
    """
    after, before = moment(request.start, caller), moment(request.end, caller)
    take = request.take if request.take is not None else TAKE_OVER_HTTP if caller.http else TAKE_OVER_SOCKET
    skip = request.skip or 0
    if skip < 0 or take <= 0:
        return Listing(what, [], _shown)
    given = request.names if name is None else [name]
    names = None if given is None else frozenset(given)  # there may be a hundred thousand

    def wanted(message: Message) -> bool:
        return (names is None or message.name in names) and (status is None or message.status == status)

    field = (request.sortField or ("timestamp" if caller.http else "")).lower()
    selection = Selection(
        after,
        before,
        matches=wanted if names is not None or status is not None else None,
        key=sorts.get(field),
        descending=(field in sorts or field == "timestamp") and (request.sortOrder or "desc").lower() == "desc",
        skip=skip,
        take=take,
    )
    portions = log.portions_of(device.record_id, selection)
    items, more = [await stored(anext(portions, [])) for _ in range(2)]
    if more and caller.http:
        return LongListing(what, items + more, _shown, portions)
    size = sum([len(message.body) for message in items + more])
    while more and size <= MAX_REPLY:  # over a socket a longer list is refused, so no more of it is read
        items += more
        more = await stored(anext(portions, []))
        size += sum([len(message.body) for message in more])
    return Listing(what, items + more, _shown)


def _shown(message: Message) -> Raw:
    return Raw(message.body)


def text_of(value: str | None) -> str:
    """A text to sort by."""
    return value or ""


def given_object(value: UnsetType | Raw) -> Raw | None:
    """A JSON object that replaces another; None when it is absent or null. Raises InvalidParameters."""
    return None if value is UNSET or value == NULL else json_object(value)


def one_of(what: str, asked: T | None, own: T | None) -> T | None:
    """A member that is in the request or in the message itself. Raises OutOfBounds when both have one, and differ."""
    if asked is not None and own is not None and asked != own:
        raise OutOfBounds(f"{what} is there twice, and differs.")
    return asked if own is None else own


def key_of(asked: str | None, own: str | None) -> str | None:
    """The idempotency key of a message. Raises OutOfBounds."""
    if asked is None is own:
        return None
    key = one_of("idempotencyKey", asked, own)
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise OutOfBounds(f"The length of idempotencyKey should be from 1 to {MAX_KEY} symbols.")
    return key


def content_of(*members: object) -> bytes:
    """What inserts under one key must have in common, however their JSON is spaced and ordered."""
    return repr([_parsed(each) if isinstance(each, Raw) else each for each in members]).encode()


def _parsed(value: Raw) -> object:
    """JSON as a value whose `repr` is the same for equal JSON. Numbers are as they were written, of any size."""
    number, members = str.encode, _sorted_members
    return json.loads(bytes(value), parse_int=number, parse_float=number, object_pairs_hook=members)


def _sorted_members(pairs: list[tuple[str, object]]) -> object:
    return tuple(sorted(dict(pairs).items()))


def check_bound(text: str, most: int, what: str) -> None:
    """Raise OutOfBounds for a text that is too long."""
    if len(text) > most:
        raise OutOfBounds(f"The length of {what} should not be more than {most} symbols.")
