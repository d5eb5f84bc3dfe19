"""Subscribing, over every connection that can be pushed to (configuration contract, sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Coroutine
from operator import attrgetter
from typing import Any

from msgspec import UNSET

from hivewire.actions.feeds import begin, unsubscribe
from hivewire.actions.following import KINDS, items
from hivewire.actions.topics import FOLLOWED
from hivewire.actions.waiting import resuming, when_current
from hivewire.caller import Caller
from hivewire.dispatch import Handler
from hivewire.hub.feed import Subscription
from hivewire.resources import KIND, LAYERED
from hivewire.services import Services
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.subscription import (
    ConfigurationSubscribe,
    ConfigurationUnsubscribe,
    DeviceTypeUnsubscribe,
    DeviceUnsubscribe,
    NetworkUnsubscribe,
    SubscriptionItem,
    SubscriptionList,
    SubscriptionListReply,
)
from hivewire_protocol.permissions import Permission

ROOM = 1 << 10
"""Bytes of a reply for what is around its list."""


def subscribe(services: Services, caller: Caller, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Begin the requested subscription. Raises what its row of the table does, and as `begin`."""
    if isinstance(request, ConfigurationSubscribe) and (request.atLeast is not None or request.fresh):
        return when_current(subscribe, services, caller, request)
    return begin(services, caller, FOLLOWED[type(request)](services, caller, request))


def list_(services: Services, caller: Caller, request: SubscriptionList) -> Reply:
    """The subscriptions of this connection whose kind the caller may follow; none for an unknown type."""
    subscriptions = caller.feed.subscriptions if caller.feed is not None else []
    found = [
        _item(sub)
        for sub in subscriptions
        if sub.topic.name not in KINDS
        and (sub.topic.kind not in (KIND, LAYERED) or caller.identity.may(Permission.GET_CONFIGURATION))
    ]
    found += items(caller)
    found.sort(key=attrgetter("subscriptionId"))
    after = request.after or 0
    return _page([item for item in found if request.type in (None, item.type) and item.subscriptionId > after])


def _page(items: list[SubscriptionItem]) -> SubscriptionListReply:
    """As many as fit into a reply: one always does."""
    room = MAX_REPLY - ROOM
    for count, item in enumerate(items):
        room -= len(encode(item)) + 1
        if room < 0:
            return SubscriptionListReply(items[:count], more=True)
    return SubscriptionListReply(items)


def _item(sub: Subscription) -> SubscriptionItem:
    paused, noted = not sub.served.patterns, sub.noted
    if noted is None:
        return SubscriptionItem(sub.id, sub.topic.name, list(sub.wanted.patterns), paused=paused)
    device, networks, types = (getattr(noted, name, UNSET) for name in ("deviceId", "networkIds", "deviceTypeIds"))
    names, layer = getattr(noted, "names", None), getattr(noted, "layer", None) or UNSET
    return SubscriptionItem(sub.id, sub.topic.name, names, device, networks, types, layer=layer, paused=paused)


READS: dict[type[Request], Handler] = {
    **dict.fromkeys(FOLLOWED, resuming(subscribe)),
    ConfigurationUnsubscribe: unsubscribe,
    DeviceUnsubscribe: unsubscribe,
    NetworkUnsubscribe: unsubscribe,
    DeviceTypeUnsubscribe: unsubscribe,
    SubscriptionList: list_,
}
