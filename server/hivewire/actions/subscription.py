"""Subscribing, over every connection that can be pushed to (configuration contract, sections 4 and 6)."""

from __future__ import annotations

from hivewire import documents
from hivewire.access.identity import Identity
from hivewire.actions.configuration import checked_patterns
from hivewire.caller import Caller
from hivewire.dispatch import check_tenant
from hivewire.hub.feed import Feed
from hivewire.hub.ledger_source import key_of
from hivewire.hub.source import Topic
from hivewire.ledger.records import Change
from hivewire.resources import change_of, resource_of
from hivewire.services import Services
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotAllowed, NotFound, OutOfBounds
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.subscription import (
    ConfigurationSubscribe,
    ConfigurationUnsubscribe,
    SubscribeReply,
    SubscriptionItem,
    SubscriptionList,
    SubscriptionListReply,
    parse_position,
)
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

MAX_HELD_PATTERNS = 10_000
"""The most name patterns in all subscriptions of one connection; they take a few MiB."""


def _update(change: Change) -> bytes:
    return encode(change_of(change))[1:-1]


def _entry(change: Change) -> bytes:
    return encode(resource_of(change))


def _served(identity: Identity, wanted: Patterns) -> Patterns:
    if not identity.may(Permission.GET_CONFIGURATION):
        return NO_NAMES
    return wanted if identity.names is EVERYTHING else wanted & identity.names


NO_NAMES = Patterns(())

CONFIGURATION = Topic("configuration", "configuration", _update, key_of, _served, "configurations", _entry)


def subscribe(services: Services, caller: Caller, request: ConfigurationSubscribe) -> Reply:
    """Follow names or a tenant: the state and its changes, or the changes after a position (see `follow`)."""
    topic, wanted = _wanted(services, caller, request)
    snapshot, conflate = request.snapshot is not False, request.conflate is not False
    return follow(services, caller, topic, wanted, _since(request.since), snapshot, conflate)


def follow(
    services: Services,
    caller: Caller,
    topic: Topic,
    wanted: Patterns,
    since: tuple[str, int] | None,
    snapshot: bool,
    conflate: bool,
) -> SubscribeReply:
    """Subscribe the caller to a topic; the reply says what follows it (configuration contract, section 4).

    Raises OutOfBounds when the connection has reached a limit, NotAllowed when nothing can be pushed over it.
    """
    feed, most = _feed(services, caller), services.settings.subscriptions
    if len(feed.subscriptions) >= most:
        raise OutOfBounds(f"this connection already has {most} subscriptions, the maximum")
    if feed.patterns + len(wanted.patterns) > MAX_HELD_PATTERNS:
        raise OutOfBounds(f"more than {MAX_HELD_PATTERNS} name patterns in all subscriptions of this connection")
    sub = feed.subscribe(topic, wanted)
    sub.conflate = conflate
    mode = sub.start(since, snapshot)
    if mode in ("live", "resumed"):
        return SubscribeReply(sub.id, mode, sub.position)
    if mode == "reset":
        return SubscribeReply(sub.id, mode, oldest=sub.channel.tail.source.oldest)
    return SubscribeReply(sub.id, mode)


def _wanted(services: Services, caller: Caller, request: ConfigurationSubscribe) -> tuple[Topic, Patterns]:
    """The topic and patterns of a request: configurations by name, or a tenant's document. Checks the rights."""
    identity = caller.identity
    if request.tenant is not None:
        if request.names is not None:
            raise InvalidParameters("give either names or tenant")
        check_tenant(services, identity, request.tenant, Privilege.READ)
        return documents.TOPIC, Patterns((request.tenant,))
    if not identity.may(Permission.GET_CONFIGURATION):
        raise AccessDenied(f"{AccessDenied.text}: this needs {Permission.GET_CONFIGURATION.wire_name}")
    return CONFIGURATION, EVERYTHING if request.names is None else checked_patterns(request.names)


def _since(text: str | None) -> tuple[str, int] | None:
    try:
        return parse_position(text) if text is not None else None
    except ValueError:
        raise OutOfBounds("since is not a position: take it from a push or a reply of this gateway") from None


def _feed(services: Services, caller: Caller) -> Feed:
    if caller.feed is None:
        if caller.listener is None:
            raise NotAllowed("this connection cannot receive pushes")
        caller.feed = services.hub.feed(caller.listener, caller.identity)
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
    """The subscriptions of this connection; none for an unknown type."""
    subscriptions = caller.feed.subscriptions if caller.feed is not None else []
    return SubscriptionListReply(
        [
            SubscriptionItem(sub.id, sub.topic.name, list(sub.wanted.patterns), paused=not sub.served.patterns)
            for sub in subscriptions
            if request.type in (None, sub.topic.name)
        ]
    )


READS = {ConfigurationSubscribe: subscribe, ConfigurationUnsubscribe: unsubscribe, SubscriptionList: list_}
