"""Following commands and notifications over a socket (devices, sections 2.5 to 2.7, 3.4 to 3.6, 6; its addendum)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import count
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from hivewire.access.identity import Identity
from hivewire.actions.device_messages import moment, stored
from hivewire.actions.filtering import device_of_filter, narrowed, reach_of, resolve
from hivewire.caller import Caller
from hivewire.hub.feed import NOTHING as NO_KEYS
from hivewire.hub.feed import Backlog, Feed, Subscription
from hivewire.hub.source import Event, Topic
from hivewire.services import Services
from hivewire.streams.filters import Filter, keys_of
from hivewire.streams.log import Log
from hivewire.streams.message import Message
from hivewire_protocol import times
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import NOTHING, Reply, Request
from hivewire_protocol.nouns.command import CommandSubscribe, CommandUnsubscribe
from hivewire_protocol.nouns.notification import NotificationSubscribe, NotificationUnsubscribe
from hivewire_protocol.nouns.subscription import MessageSubscribeReply, SubscriptionItem
from hivewire_protocol.patterns import MAX_PATTERNS, Patterns
from hivewire_protocol.permissions import Permission

MAX_HELD_KEYS = 10_000
"""The most keys and name patterns in all subscriptions of one connection; they take a few MiB."""

BACKLOG_BYTES = 64 << 20
"""The most bytes that all connections together have yet to read of what is stored."""

COMMANDS, NOTIFICATIONS = 20, 100
"""The most stored messages that a subscription begins with, unless it asks for another number."""

Subscribe: TypeAlias = CommandSubscribe | NotificationSubscribe
Unsubscribe: TypeAlias = CommandUnsubscribe | NotificationUnsubscribe


class Followed(NamedTuple):
    """What a subscription is about: its filter, and what `subscription/list` shows of its request."""

    filter: Filter
    updated: bool
    deviceId: str | None
    networkIds: list[int] | None
    deviceTypeIds: list[int] | None
    names: list[str] | None
    timestamp: str | None


def _command(message: Message) -> bytes:
    return b'"command":' + message.body


def _notification(message: Message) -> bytes:
    return b'"notification":' + message.body


def _what(message: Message) -> str:
    return "update" if message.updated else "insert"


def _served(permission: Permission) -> Callable[[Identity, Patterns], Patterns]:
    return lambda identity, wanted: wanted if identity.may(permission) else NO_KEYS


def _topic(name: str, members: Callable[[Message], bytes], permission: Permission) -> Topic:
    served = _served(permission)
    return Topic(name, name, members, keys_of, served, source=f"{name}s", tells_expiry=False, what=_what, plain=True)


TOPICS: dict[type[Request], Topic] = {
    CommandSubscribe: _topic("command", _command, Permission.GET_DEVICE_COMMAND),
    NotificationSubscribe: _topic("notification", _notification, Permission.GET_DEVICE_NOTIFICATION),
}


def subscribe(services: Services, caller: Caller, request: Subscribe) -> Reply | Coroutine[Any, Any, Reply]:
    """Follow messages. What is stored comes right after the reply, oldest first, and then each new one once.

    Raises InvalidParameters, OutOfBounds, AccessDenied, NotAllowed, NotFound or Unavailable (devices, section 2.5).
    """
    device = device_of_filter(services, caller.identity, request.deviceId)
    reach = reach_of(services, caller.identity)
    found = resolve(reach, device, request.networkIds, request.deviceTypeIds, request.names)
    if found is None:
        raise NotAllowed("No access to any device type or network")
    since, most = moment(request.timestamp, caller), _limit(request)
    updated = isinstance(request, CommandSubscribe) and bool(request.returnUpdatedCommands)
    feed = _feed(services, caller)
    _check_bounds(services, caller, request, found)
    replays = since is not None and not found.is_global
    if replays and services.hub.backlog() >= BACKLOG_BYTES:
        raise Unavailable(f"{Unavailable.text}: too many subscriptions have yet to read what is stored")
    sub = feed.subscribe(TOPICS[type(request)], Patterns(found.keys(updated=updated)))
    sub.conflate = False  # if messages are dropped before it has read them, it loses its connection
    timestamp = times.render(since) if since is not None else None
    shown = request.deviceId, request.networkIds, request.deviceTypeIds, request.names, timestamp
    sub.noted = Followed(found, updated, *shown)
    attend(services, sub)
    if since is None or not replays:
        return MessageSubscribeReply(sub.id)
    return _replay(services, feed, sub, since, most)


def attend(services: Services, sub: Subscription) -> None:
    """Who follows the new commands of one device is that device: it is online as long as the subscription is there."""
    wanted: Followed = sub.noted
    device = wanted.filter.device
    if device is not None and not wanted.updated and sub.topic.kind == "command":
        services.presence.enter(device)
        sub.device = device


async def _replay(services: Services, feed: Feed, sub: Subscription, after: int, most: int | None) -> Reply:
    """Give a new subscription what is stored up to the place from which it follows the log."""
    wanted: Followed = sub.noted
    log = _log(services, sub)
    try:
        async with services.hub.replays:
            matches, upto = wanted.filter.accepts, sub.offset
            found = await stored(log.replay(matches, after=after, upto=upto, most=most, updated=wanted.updated))
    except BaseException:
        if not sub.ended:
            feed.end(sub)
        raise
    if found and not sub.ended:
        services.hub.hold(sub, Backlog(_replayed(sub, message) for message in found))
    return MessageSubscribeReply(sub.id)


def _replayed(sub: Subscription, message: Message) -> Event:
    """A stored message as an event. Who follows inserts gets a command as it is now, as an insert."""
    if not sub.noted.updated:
        message = structs.replace(message, changed=message.timestamp)
    return sub.channel.tail.source.as_event(message)


def _log(services: Services, sub: Subscription) -> Log:
    messages = services.messages
    return messages.commands if sub.topic.name == "command" else messages.notifications


def _limit(request: Subscribe) -> int | None:
    """The most stored messages that are asked for; None for all."""
    if isinstance(request, NotificationSubscribe):
        return NOTIFICATIONS
    limit = request.limit if request.limit is not None else COMMANDS
    if limit < 0:
        raise InvalidParameters("Limit can't be less than 0.")
    return limit or None


def _check_bounds(services: Services, caller: Caller, request: Subscribe, found: Filter) -> None:
    """Raise OutOfBounds for a request that asks for too much, or on a connection that has too much."""
    for wanted in (request.networkIds, request.deviceTypeIds, request.names):
        if wanted is not None and len(wanted) > MAX_PATTERNS:
            raise OutOfBounds(f"a list has more than {MAX_PATTERNS} elements")
    check_room(services, caller, len(found))


def check_room(services: Services, caller: Caller, keys: int) -> None:
    """Raise OutOfBounds when a connection cannot have another subscription with so many keys or patterns."""
    most = services.settings.subscriptions
    if sum(len(feed.subscriptions) for feed in caller.feeds) >= most:
        raise OutOfBounds(f"this connection already has {most} subscriptions, the maximum")
    if sum(feed.patterns for feed in caller.feeds) + keys > MAX_HELD_KEYS:
        raise OutOfBounds(f"more than {MAX_HELD_KEYS} name patterns in all subscriptions of this connection")


def _feed(services: Services, caller: Caller) -> Feed:
    if caller.plain is None:
        if caller.listener is None:
            raise NotAllowed("this connection cannot receive pushes")
        within = MethodType(_within, services)  # a third of a partial, and each device has one
        caller.plain = services.hub.plain_feed(caller.listener, caller.identity, numbers(caller), within)
    return caller.plain


def _within(services: Services, identity: Identity, sub: Subscription) -> Patterns:
    """What an identity still reaches of what a subscription asked for."""
    wanted: Followed = sub.noted
    left = narrowed(wanted.filter, reach_of(services, identity))
    return sub.topic.served(identity, Patterns(left.keys(updated=wanted.updated)))


def numbers(caller: Caller) -> Iterator[int]:
    """The ids of subscriptions on a connection, of whatever kind."""
    if caller.numbers is None:
        caller.numbers = count(1)
    return caller.numbers


def unsubscribe(services: Services, caller: Caller, request: Unsubscribe) -> Reply:
    """End a subscription, or all of the same kind. Raises NotFound for a number that is not one of them here."""
    number, kind = request.subscriptionId, _KINDS[type(request)]
    feed = caller.plain
    own = [sub for sub in feed.subscriptions if sub.topic.name == kind] if feed is not None else []
    if number is not None:
        own = [sub for sub in own if sub.id == number]
        if not own:
            raise NotFound(f"Subscription with id {number} was not found")
    for sub in own:
        sub.feed.end(sub)
    return NOTHING


_KINDS: dict[type[Request], str] = {CommandUnsubscribe: "command", NotificationUnsubscribe: "notification"}


def items(caller: Caller) -> Sequence[SubscriptionItem]:
    """The subscriptions to messages that a connection has and may see, as they were requested."""
    found = []
    for sub in caller.plain.subscriptions if caller.plain is not None else ():
        if sub.topic.served(caller.identity, sub.wanted) == sub.wanted:
            _, _, device, networks, types, names, timestamp = sub.noted
            found.append(SubscriptionItem(sub.id, sub.topic.name, names, device, networks, types, timestamp))
    return found
