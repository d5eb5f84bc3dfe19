"""What all subscriptions of a connection have in common: ids, bounds, and how those with positions begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from hivewire.caller import Caller
from hivewire.hub.feed import MAX_HELD_KEYS, Subscription, size_of
from hivewire.hub.source import Topic
from hivewire.services import Services
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds
from hivewire_protocol.messages import NOTHING, Reply, noun_of
from hivewire_protocol.nouns.subscription import SubscribeReply, parse_position
from hivewire_protocol.patterns import Patterns


class Wanted(NamedTuple):
    """What a request asks to follow: a topic and patterns over its keys.

    `since` is the position to resume after. `snapshot`: begin with the state, if the topic has one. `conflate`: a slow
    reader may get only the latest item of each key. `noted` is kept with the subscription. `device` is the record of a
    device that is online while it exists, 0 for none. A subscription that resumes from before the offset `earliest`
    starts over, because what it may get has changed there.
    """

    topic: Topic
    patterns: Patterns
    since: str | None = None
    snapshot: bool = True
    conflate: bool = True
    noted: Any = None
    device: int = 0
    earliest: int = 0


def begin(services: Services, caller: Caller, wanted: Wanted) -> SubscribeReply:
    """Begin a subscription with positions; the reply says which pushes follow it (configuration contract, section 4).

    Raises OutOfBounds when the connection has reached a limit, NotAllowed when nothing can be pushed over it.
    """
    since = _since(wanted.since)
    if caller.listener is None:
        raise NotAllowed("this connection cannot receive pushes")
    served = wanted.topic.served(caller.identity if caller.feed is None else caller.feed.identity, wanted.patterns)
    check_room(services, caller, size_of(wanted.patterns, served))
    # Not before: an event stream that is refused has nobody who would close the feed.
    if caller.feed is None:
        caller.feed = services.hub.feed(caller.listener, caller.identity, numbers(caller))
    sub = caller.feed.subscribe(wanted.topic, wanted.patterns, served)
    sub.conflate, sub.noted = wanted.conflate, wanted.noted
    attend(services, sub, wanted.device)
    mode, oldest = sub.start(since, wanted.snapshot, wanted.earliest), sub.channel.tail.source.oldest
    if mode == "reset":
        reply = SubscribeReply(sub.id, mode, oldest=oldest)
        if not sub.channel.stateful:
            reply.position = sub.position
        return reply
    if mode == "snapshot":
        return SubscribeReply(sub.id, mode)
    # What was missed is not sent yet: whoever gets no more than this reply has to resume from the same position again.
    return SubscribeReply(sub.id, mode, sub.resumable)


def unsubscribe(services: Services, caller: Caller, request: Any) -> Reply:
    """End a subscription with positions: nothing is pushed after this reply. The request has its `subscriptionId`.

    Raises InvalidParameters without one, and NotFound for a number that is none of the request's noun here.
    """
    number, noun = request.subscriptionId, noun_of(type(request))
    if number is None:
        raise InvalidParameters("subscriptionId is required")
    sub = caller.feed.find(number) if caller.feed is not None else None
    if caller.feed is None or sub is None or _NOUNS.get(name := sub.topic.name, name) != noun:
        raise NotFound(f"Subscription with id {number} was not found")
    caller.feed.end(sub)
    return NOTHING


_NOUNS = {"tenant": "configuration"}
"""The nouns of requests whose topics are called otherwise."""


def _since(text: str | None) -> tuple[str, int] | None:
    try:
        return parse_position(text) if text is not None else None
    except ValueError:
        raise OutOfBounds("since is not a position: take it from a push or a reply of this gateway") from None


def attend(services: Services, sub: Subscription, device: int) -> None:
    """Keep a device, by the id of its record, online as long as the subscription exists; 0 for none."""
    if device:
        services.presence.enter(device)
        sub.device = device


def numbers(caller: Caller) -> Iterator[int]:
    """The ids of subscriptions on a connection, of whatever kind."""
    if caller.numbers is None:
        caller.numbers = count(1)
    return caller.numbers


def check_room(services: Services, caller: Caller, keys: int) -> None:
    """Raise OutOfBounds when a connection cannot have another subscription with this number of keys or patterns."""
    most = services.settings.subscriptions
    if sum(len(feed.subscriptions) for feed in caller.feeds) >= most:
        raise OutOfBounds(f"this connection already has {most} subscriptions, the maximum")
    if sum(feed.patterns for feed in caller.feeds) + keys > MAX_HELD_KEYS:
        what = "name patterns, networks or types in all subscriptions of this connection"
        raise OutOfBounds(f"more than {MAX_HELD_KEYS} {what}")
