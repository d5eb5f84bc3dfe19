"""Subscribing, over every connection that can be pushed to (configuration contract, sections 4 and 6)."""

from __future__ import annotations

from hivewire.actions.following import check_room, items, numbers
from hivewire.actions.topics import CONFIGURATION, FOLLOWED
from hivewire.caller import Caller
from hivewire.dispatch import Handler
from hivewire.hub.feed import Feed
from hivewire.services import Services
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds
from hivewire_protocol.messages import NOTHING, Reply, Request
from hivewire_protocol.nouns.subscription import (
    ConfigurationUnsubscribe,
    SubscribeReply,
    SubscriptionItem,
    SubscriptionList,
    SubscriptionListReply,
    parse_position,
)
from hivewire_protocol.permissions import Permission


def subscribe(services: Services, caller: Caller, request: Request) -> Reply:
    """Begin the requested subscription; the reply says which pushes follow it (configuration contract, section 4).

    Raises OutOfBounds when the connection has reached a limit, NotAllowed when nothing can be pushed over it.
    """
    wanted = FOLLOWED[type(request)](services, caller, request)
    since = _since(wanted.since)
    feed = _feed(services, caller)
    check_room(services, caller, len(wanted.patterns.patterns))
    sub = feed.subscribe(wanted.topic, wanted.patterns)
    sub.conflate = wanted.conflate
    mode = sub.start(since, wanted.snapshot)
    if mode in ("live", "resumed"):
        return SubscribeReply(sub.id, mode, sub.position)
    if mode == "reset":
        return SubscribeReply(sub.id, mode, oldest=sub.channel.tail.source.oldest)
    return SubscribeReply(sub.id, mode)


def _since(text: str | None) -> tuple[str, int] | None:
    try:
        return parse_position(text) if text is not None else None
    except ValueError:
        raise OutOfBounds("since is not a position: take it from a push or a reply of this gateway") from None


def _feed(services: Services, caller: Caller) -> Feed:
    if caller.feed is None:
        if caller.listener is None:
            raise NotAllowed("this connection cannot receive pushes")
        caller.feed = services.hub.feed(caller.listener, caller.identity, numbers(caller))
    return caller.feed


def unsubscribe(services: Services, caller: Caller, request: ConfigurationUnsubscribe) -> Reply:
    """End a subscription: nothing is pushed after this reply. Raises NotFound for a number that is not in use here."""
    number = request.subscriptionId
    if number is None:
        raise InvalidParameters("subscriptionId is required")
    sub = caller.feed.find(number) if caller.feed is not None else None
    if caller.feed is None or sub is None:
        raise NotFound(f"Subscription with id {number} was not found")
    caller.feed.end(sub)
    return NOTHING


def list_(services: Services, caller: Caller, request: SubscriptionList) -> Reply:
    """The subscriptions of this connection whose kind the caller may follow; none for an unknown type."""
    subscriptions = caller.feed.subscriptions if caller.feed is not None else []
    found = [
        SubscriptionItem(sub.id, sub.topic.name, list(sub.wanted.patterns), paused=not sub.served.patterns)
        for sub in subscriptions
        if sub.topic is not CONFIGURATION or caller.identity.may(Permission.GET_CONFIGURATION)
    ]
    found += items(caller)
    return SubscriptionListReply([item for item in found if request.type in (None, item.type)])


READS: dict[type[Request], Handler] = {
    **dict.fromkeys(FOLLOWED, subscribe),
    ConfigurationUnsubscribe: unsubscribe,
    SubscriptionList: list_,
}
