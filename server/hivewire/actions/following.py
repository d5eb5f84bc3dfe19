"""Following commands and notifications (devices, sections 2.5 to 2.7, 3.4 to 3.6, 6; its addendum).

Plain subscriptions are those that DeviceHive's clients make. Resumable ones and event streams have positions (messages,
section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from hivewire.access.identity import Identity
from hivewire.actions.checks import MAX_NAME
from hivewire.actions.device_messages import check_bound, moment, replayed
from hivewire.actions.feeds import Wanted, attend, begin, check_room, numbers
from hivewire.actions.filtering import (
    device_of_filter,
    narrowed,
    numbers_of,
    reach_of,
    reached,
    resolve,
    texts_of,
)
from hivewire.caller import Caller
from hivewire.hub.feed import MAX_HELD_KEYS, Feed, Replay, Subscription
from hivewire.hub.feed import NOTHING as NO_KEYS
from hivewire.hub.source import Event, Topic
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire.streams.filters import Filter, Keys, keys_of
from hivewire.streams.log import Log
from hivewire.streams.message import Message
from hivewire_protocol import times
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import NOTHING, Reply, noun_of
from hivewire_protocol.nouns.command import CommandStream, CommandSubscribe, CommandUnsubscribe
from hivewire_protocol.nouns.notification import NotificationStream, NotificationSubscribe, NotificationUnsubscribe
from hivewire_protocol.nouns.subscription import MessageSubscribeReply, SubscriptionItem
from hivewire_protocol.patterns import MAX_PATTERNS, Patterns
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenant.steps import Steps

REPLAY_BYTES = 64 << 20
"""Most bytes of stored messages that wait to be read by all connections together."""

COMMANDS, NOTIFICATIONS = 20, 100
"""The most stored messages that a subscription begins with, unless it asks for another number."""

Subscribe: TypeAlias = CommandSubscribe | NotificationSubscribe
Stream: TypeAlias = CommandStream | NotificationStream
Unsubscribe: TypeAlias = CommandUnsubscribe | NotificationUnsubscribe


class Followed(NamedTuple):
    """What a subscription is about: its filter, whether it is for updates, and the values of its request."""

    filter: Filter
    updated: bool
    deviceId: str | None
    networkIds: list[int] | None
    deviceTypeIds: list[int] | None
    names: list[str] | None
    timestamp: str | None = None

    @property
    def elements(self) -> int:
        """How many its lists have together; repeated ones count, because they are shown as they were requested."""
        return sum([len(each) for each in (self.networkIds, self.deviceTypeIds, self.names) if each is not None])


def _command(message: Message) -> bytes:
    return b'"command":' + message.body


def _notification(message: Message) -> bytes:
    return b'"notification":' + message.body


def _what(message: Message) -> str:
    return "insert" if message.changed == message.timestamp else "update"


class Topics(NamedTuple):
    """The topics of a kind of messages, and the right to follow it."""

    permission: Permission
    plain: Topic
    resumable: Topic


class Reaching(Keys):
    """The keys of a filter, and `now`: those that an identity reaches now of what was asked for."""

    __slots__ = ("now",)

    def __init__(self, filter: Filter, now: Callable[[Identity], Patterns], *, updated: bool) -> None:
        super().__init__(filter, updated=updated)
        self.now = now


def _topics(kind: str, members: Callable[[Message], bytes], permission: Permission) -> Topics:
    def served(identity: Identity, wanted: Patterns) -> Patterns:
        return wanted if identity.may(permission) else NO_KEYS

    def reached(identity: Identity, wanted: Any) -> Patterns:
        now: Patterns = wanted.now(identity) if identity.may(permission) else NO_KEYS
        return now

    # A body is encoded already, so what is pushed of it is not kept beside it.
    topic = Topic(kind, kind, members, keys_of, served, source=f"{kind}s", what=_what, passing=True)
    plain = topic._replace(tells_expiry=False, plain=True)
    return Topics(permission, plain, topic._replace(served=reached, scoped=True))


KINDS = {
    "command": _topics("command", _command, Permission.GET_DEVICE_COMMAND),
    "notification": _topics("notification", _notification, Permission.GET_DEVICE_NOTIFICATION),
}
"""The kinds of messages, as the nouns of their requests."""


def subscribe(services: Services, caller: Caller, request: Subscribe) -> Reply | Coroutine[Any, Any, Reply]:
    """Follow messages. What is stored comes right after the reply, oldest first, and then each new one once.

    Raises InvalidParameters, OutOfBounds, AccessDenied, NotAllowed, NotFound or Unavailable (devices, section 2.5).
    """
    updated = isinstance(request, CommandSubscribe) and bool(request.returnUpdatedCommands)
    topics = KINDS[noun_of(type(request))]
    followed = _followed(
        services, caller, updated, request.deviceId, request.networkIds, request.deviceTypeIds, request.names
    )
    since, most = moment(request.timestamp, caller), _limit(request)
    if request.resumable or request.since is not None:
        if since is not None or (isinstance(request, CommandSubscribe) and request.limit is not None):
            raise InvalidParameters("timestamp and limit cannot be combined with resumable or since")
        return begin(services, caller, _resumable(services, caller, topics.resumable, followed, request.since))
    feed, found = _feed(services, caller), followed.filter
    _check_bounds(services, caller, followed)
    replays = since is not None and not found.is_global
    if replays and services.hub.replay_bytes() >= REPLAY_BYTES:
        raise Unavailable.because("too many subscriptions are still reading stored messages")
    sub = feed.subscribe(topics.plain, Patterns(found.keys(updated=updated)))
    sub.conflate = False  # if messages expire before it has read them, its connection is closed
    sub.noted = followed._replace(timestamp=times.render(since)) if since is not None else followed
    attend(services, sub, _online(topics.plain, followed))
    if since is None or not replays:
        return MessageSubscribeReply(sub.id)
    return _replay(services, feed, sub, since, most)


def streamed(services: Services, caller: Caller, request: Stream) -> Wanted:
    """What an event stream follows. Raises as `subscribe`."""
    updated = isinstance(request, CommandStream) and bool(request.returnUpdatedCommands)
    topics = KINDS[noun_of(type(request))]
    networks, types = numbers_of(request.networkIds), numbers_of(request.deviceTypeIds)
    followed = _followed(services, caller, updated, request.deviceId, networks, types, texts_of(request.names))
    return _resumable(services, caller, topics.resumable, followed, request.since)


def _followed(
    services: Services,
    caller: Caller,
    updated: bool,
    device_id: str | None,
    networks: list[int] | None,
    types: list[int] | None,
    names: list[str] | None,
) -> Followed:
    device = device_of_filter(services, caller.identity, device_id)
    found = resolve(reach_of(services, caller.identity), device, networks, types, names)
    if found is None:
        raise NotAllowed("No access to any device type or network")
    shown = device_id if device is None else device.id  # the same text, which is in memory already
    return Followed(found, updated, shown, networks, types, names)


def _resumable(services: Services, caller: Caller, topic: Topic, followed: Followed, since: str | None) -> Wanted:
    _check_bounds(services, caller, followed)
    keys = Reaching(followed.filter, partial(_reached, services, followed), updated=followed.updated)
    return Wanted(topic, keys, since, noted=followed, device=_online(topic, followed))


def _reached(services: Services, followed: Followed, identity: Identity) -> Patterns:
    """What an identity reaches now of the requested messages. It may be more than at the beginning."""
    found, reach = followed.filter, reach_of(services, identity)
    now: Filter | None
    if found.device is not None:
        now = narrowed(found, reach)
    else:
        now = reached(reach, followed.networkIds, followed.deviceTypeIds, followed.names)
    return NO_KEYS if now is None or len(now) > MAX_HELD_KEYS else Keys(now, updated=followed.updated)


def _online(topic: Topic, followed: Followed) -> int:
    """The device that follows; 0 for none. A follower of the new commands of one device counts as that device."""
    return followed.filter.device or 0 if topic.name == "command" and not followed.updated else 0


async def _replay(services: Services, feed: Feed, sub: Subscription, after: int, most: int | None) -> Reply:
    """Give a new subscription the stored messages up to the place from which it follows the log."""
    wanted: Followed = sub.noted
    log = _log(services, sub)
    try:
        async with services.hub.replays:
            bounds = {"after": after, "upto": sub.offset, "most": most, "updated": wanted.updated}
            found = await in_slices(_events(sub, await replayed(services, log, wanted.filter, **bounds)))
    except BaseException:
        if not sub.ended:
            feed.end(sub)
        raise
    if found:
        services.hub.hold(sub, Replay(found))
    return MessageSubscribeReply(sub.id)


def _events(sub: Subscription, messages: Sequence[Message]) -> Steps[list[Event]]:
    """Stored messages as events. A subscription to inserts gets commands in their current state, as inserts."""
    found, as_event = list[Event](), sub.channel.tail.source.as_event
    for message in messages:
        if not sub.noted.updated and message.updated:
            message = structs.replace(message, changed=message.timestamp)
        found.append(as_event(message))
        yield
    return found


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


def _check_bounds(services: Services, caller: Caller, followed: Followed) -> None:
    """Raise OutOfBounds for a request that asks for too much, or on a connection that has too much."""
    for wanted in (followed.networkIds, followed.deviceTypeIds, followed.names):
        if wanted is not None and len(wanted) > MAX_PATTERNS:
            raise OutOfBounds(f"a list has more than {MAX_PATTERNS} elements")
    for name in followed.names or ():
        check_bound(name, MAX_NAME, "a name")
    if elements := followed.elements:
        noted = [sub.noted for feed in caller.feeds for sub in feed.subscriptions]
        held = sum([each.elements for each in noted if isinstance(each, Followed)])
        if held + elements > MAX_HELD_KEYS:
            raise OutOfBounds(
                f"more than {MAX_HELD_KEYS} elements in the lists of all subscriptions of this connection"
            )
    check_room(services, caller, len(followed.filter))


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


def unsubscribe(services: Services, caller: Caller, request: Unsubscribe) -> Reply:
    """End a subscription, or all of the same kind. Raises NotFound for a number that is not one of them here."""
    number, kind = request.subscriptionId, noun_of(type(request))
    own = [sub for feed in caller.feeds for sub in feed.subscriptions if sub.topic.name == kind]
    if number is not None:
        own = [sub for sub in own if sub.id == number]
        if not own:
            raise NotFound(f"Subscription with id {number} was not found")
    for sub in own:
        sub.feed.end(sub)
    return NOTHING


def items(caller: Caller) -> Sequence[SubscriptionItem]:
    """The subscriptions to messages that a connection has and may see, as they were requested."""
    subs = [sub for feed in caller.feeds for sub in feed.subscriptions if sub.topic.name in KINDS]
    return [_item(sub) for sub in subs if caller.identity.may(KINDS[sub.topic.name].permission)]


def _item(sub: Subscription) -> SubscriptionItem:
    followed: Followed = sub.noted
    resumable = not sub.topic.plain
    return SubscriptionItem(
        sub.id,
        sub.topic.name,
        followed.names,
        followed.deviceId,
        followed.networkIds,
        followed.deviceTypeIds,
        followed.timestamp,
        resumable=resumable,
        paused=resumable and not sub.served.patterns,
    )
