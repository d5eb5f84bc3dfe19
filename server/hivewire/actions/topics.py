"""What can be followed: the topics, and the requests that follow them, with a table at the end.

Sockets and event streams serve every request of the table. Its struct, and the pushes of its topic, are in the nouns of
the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.access.tenants import DOCUMENT
from hivewire.actions import fleet, following
from hivewire.actions.checks import checked_patterns, inline_of
from hivewire.actions.configuration import note_reveal
from hivewire.actions.feeds import Wanted
from hivewire.actions.layered import check_read
from hivewire.caller import Caller
from hivewire.dispatch import check_permission, check_tenant
from hivewire.documents import stored_of
from hivewire.fleet.device_topics import PLACES, Sight
from hivewire.fleet.followers import check_follows
from hivewire.fleet.layer_topic import EVERY, Selection
from hivewire.hub.catchup import SNAPSHOT_BYTES
from hivewire.hub.ledger_source import key_of
from hivewire.hub.source import Topic
from hivewire.ledger.records import Change
from hivewire.resources import KIND
from hivewire.services import Services
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, OutOfBounds
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.command import CommandStream
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS
from hivewire_protocol.nouns.fleet import FleetSubscribe
from hivewire_protocol.nouns.layer import OF_DEVICE
from hivewire_protocol.nouns.notification import NotificationStream
from hivewire_protocol.nouns.subscription import (
    ConfigurationSubscribe,
    DeviceSubscribe,
    DeviceTypeSubscribe,
    NetworkSubscribe,
)
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.patterns import EVERYTHING, MAX_PATTERNS, Patterns
from hivewire_protocol.permissions import Permission

# Configurations, by name.


def configurations(
    services: Services,
    inline: int = INLINE_CHARACTERS,
    *,
    detail: bool = False,
    reveal: bool = False,
    layered: bool = False,
) -> Topic:
    """The topic of plain configurations, or of those in layers, without values of more than `inline` characters; with
    `detail` a snapshot has their changes. Secret values are left out unless it reveals them."""
    made = services.resources.topics
    if (topic := made.get((inline, detail, reveal, layered))) is None:
        if len(made) >= MOST_FORMS:
            del made[next(form for form in made if form[:3] != DEFAULT)]
        topic = made[inline, detail, reveal, layered] = _topic(services, inline, detail, reveal, layered)
    return topic


DEFAULT, MOST_FORMS = (INLINE_CHARACTERS, False, False), 64
"""The form that nearly all follow, whose pushes are kept; and how many are remembered."""


def _topic(services: Services, inline: int, detail: bool, reveal: bool, layered: bool) -> Topic:
    resources = services.resources

    def info(change: Change) -> bytes:
        return encode(resources.change(change, inline, reveal=reveal))

    def update(change: Change) -> bytes:
        return info(change)[1:-1]

    def element(change: Change) -> bytes:
        return encode(resources.of(change, inline, reveal=reveal))

    plain = Topic("configuration", KIND, update, key_of, _served)
    topic = services.layer_topics.topic(update) if layered else plain
    elements, encoded = ("changes", info) if detail else ("configurations", element)
    served = partial(_served_secrets, topic.served) if reveal else topic.served
    passing = (inline, detail, reveal) != DEFAULT
    return topic._replace(elements=elements, element=encoded, served=served, passing=passing)


def _served_secrets(served: Callable[[Identity, Patterns], Patterns], identity: Identity, wanted: Patterns) -> Patterns:
    return served(identity if identity.may(Permission.REVEAL_SECRET) else ANONYMOUS, wanted)


def _served(identity: Identity, wanted: Patterns) -> Patterns:
    if not identity.may(Permission.GET_CONFIGURATION):
        return NO_NAMES
    return wanted & identity.names


NO_NAMES = Patterns(())

# Documents, by tenant. A push says what changed and does not carry the document.


def _document_update(change: Change) -> bytes:
    """The members of a push. A delete, which only happens with the tenant, has `updatedTime` null."""
    members = {
        "revision": change.revision,
        "modified": times.render(change.time),
        "modifiedBy": change.author,
        "tenant": change.key,
    }
    if change.content is None:
        return encode(members | {"updatedTime": None} | _NOTHING)[1:-1]
    stored = stored_of(change)
    head = encode(members | {"updatedTime": stored.header.updatedTime})[1:-1]
    return b'%b,%b,"warnings":%d' % (head, stored.differences[1:-1], stored.header.warnings)


_NOTHING = {"added": [], "removed": [], "modifiedUris": [], "truncated": False, "warnings": 0}


def _document_element(change: Change) -> bytes:
    time = stored_of(change).header.updatedTime
    return encode({"tenant": change.key, "updatedTime": time, "revision": change.revision})


def _documents_served(identity: Identity, wanted: Patterns) -> Patterns:
    return Patterns(tuple(name for name in wanted.exact if identity.may_tenant(name, Privilege.READ)))


TENANT = Topic("tenant", DOCUMENT, _document_update, key_of, _documents_served, "tenants", _document_element)


# The requests.


def _configuration(services: Services, caller: Caller, request: ConfigurationSubscribe) -> Wanted:
    """Configurations by name, also those in layers, or a tenant's document."""
    identity, how = caller.identity, (request.since, request.snapshot is not False, request.conflate is not False)
    if request.deviceId is not None:
        return _desired(services, caller, request)
    if request.frameBytes is not None:
        raise InvalidParameters("frameBytes needs deviceId")
    if request.tenant is not None:
        if request.names is not None or request.layer is not None:
            raise InvalidParameters("give either names or tenant")
        check_tenant(services, identity, request.tenant, Privilege.READ)
        return Wanted(TENANT, Patterns((request.tenant,)), *how)
    check_permission(identity, Permission.GET_CONFIGURATION)
    inline, names, layer = inline_of(request.inline), checked_patterns(request.names), request.layer
    if layer is not None and layer != EVERY:
        check_read(services, caller, layer)
    if request.reveal:
        note_reveal(services, caller, *sorted(request.names or ["*"]))
    form = {"detail": bool(request.detail), "reveal": bool(request.reveal), "layered": layer is not None}
    topic = configurations(services, inline, **form)
    if layer is None:
        return Wanted(topic, names, *how)
    earliest = _resumable_from(services, identity, layer)
    return Wanted(topic, Selection(layer, names), *how, noted=request, earliest=earliest)


def _resumable_from(services: Services, identity: Identity, layer: str) -> int:
    """The revision before which the layer of a device is not resumed: that of a deleted one had the same name."""
    scope, device = services.registry.scope(identity), services.registry.device(layer.removeprefix(OF_DEVICE))
    return 0 if device is None or scope.everything or not layer.startswith(OF_DEVICE) else device.change.revision


def _desired(services: Services, caller: Caller, request: ConfigurationSubscribe) -> Wanted:
    """What a device should have, by name."""
    for name in ("tenant", "layer", "snapshot", "conflate", "inline", "detail", "reveal"):
        if getattr(request, name) is not None:
            raise InvalidParameters(f"{name} cannot be combined with deviceId")
    device = services.registry.reach(caller.identity, request.deviceId, follows=True)
    check_permission(caller.identity, Permission.SYNC_CONFIGURATION)
    check_follows(caller.identity, device.id)
    if request.frameBytes is not None and not LEAST_FRAME <= request.frameBytes <= SNAPSHOT_BYTES:
        raise OutOfBounds(f"frameBytes must be between {LEAST_FRAME:,} and {SNAPSHOT_BYTES:,}")
    followers = services.fleet.followers
    wanted = followers.sight(device.id, checked_patterns(request.names))
    earliest = services.fleet.resumable_from(device.id)
    noted = Followed(device.id, request.names)
    return Wanted(followers.topic_of(request.frameBytes), wanted, request.since, noted=noted, earliest=earliest)


class Followed(Struct, frozen=True, gc=False):
    """What a device asked to follow. Thousands are kept, each a third of the request."""

    deviceId: str
    names: list[str] | None


LEAST_FRAME = 1_024
"""Bytes of the shortest limit that a device can set on frames."""


def _devices(services: Services, caller: Caller, request: DeviceSubscribe) -> Wanted:
    """Devices by id, network and type. Those that the caller does not reach are not there for it."""
    networks, types = request.networkIds or None, request.deviceTypeIds or None
    _check(networks, types)
    if request.deviceId == "":
        raise InvalidParameters("Device id is wrong or empty")
    if services.device_topics.sees_too_much(caller.identity, networks, types):
        raise OutOfBounds(f"more than {PLACES} pairs of a network and a type: name fewer of them")
    if request.presence and request.snapshot is False:
        raise InvalidParameters("presence needs the state, so snapshot must not be false")
    topic = services.device_topics.devices_with_presence if request.presence else services.device_topics.devices
    return _wanted(services, caller, topic, Sight(request.deviceId, networks, types), request)


def _networks(services: Services, caller: Caller, request: NetworkSubscribe) -> Wanted:
    return _wanted(services, caller, services.device_topics.networks, _only(request.networkIds), request)


def _device_types(services: Services, caller: Caller, request: DeviceTypeSubscribe) -> Wanted:
    return _wanted(services, caller, services.device_topics.device_types, _only(request.deviceTypeIds), request)


def _wanted(
    services: Services,
    caller: Caller,
    topic: Topic,
    patterns: Patterns,
    request: DeviceSubscribe | NetworkSubscribe | DeviceTypeSubscribe,
) -> Wanted:
    """The log does not say what was reached at a position, so a client whose user has changed since starts over."""
    user, state = services.users.by_id(caller.identity.user_id), request.snapshot is not False
    earliest = 0 if user is None else user.revision
    return Wanted(topic, patterns, request.since, state, noted=request, earliest=earliest)


def _only(ids: Sequence[int] | None) -> Patterns:
    _check(ids)
    return Patterns(map(str, ids)) if ids else EVERYTHING


def _check(*lists: Sequence[int] | None) -> None:
    if any(ids is not None and len(ids) > MAX_PATTERNS for ids in lists):
        raise OutOfBounds(f"a list has more than {MAX_PATTERNS} elements")


FOLLOWED: dict[type[Request], Callable[[Services, Caller, Any], Wanted]] = {
    ConfigurationSubscribe: _configuration,
    CommandStream: following.streamed,
    NotificationStream: following.streamed,
    DeviceSubscribe: _devices,
    FleetSubscribe: fleet.watched,
    NetworkSubscribe: _networks,
    DeviceTypeSubscribe: _device_types,
}
"""What each request follows. The function checks rights that depend on the request; it raises WireError."""
