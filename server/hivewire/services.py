"""Everything that handlers may use, and the one function that wires it, for a gateway and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from msgspec import Struct, field

from hivewire.access.identity import Identity
from hivewire.access.keys import Key
from hivewire.access.passwords import Passwords
from hivewire.access.revocations import REVOCATION
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import AnonymousRate, Throttle
from hivewire.access.tokens import Tokens
from hivewire.access.users import Users
from hivewire.broadcast import Alone, Broadcast
from hivewire.clocks import elapsed
from hivewire.component import Component
from hivewire.connections import Connections
from hivewire.devices.neighbours import Neighbours
from hivewire.devices.presence import Presence
from hivewire.devices.registry import Registry
from hivewire.documents import Documents
from hivewire.fleet.census import Asked, Query, query_of
from hivewire.fleet.device_topics import DeviceTopics
from hivewire.fleet.effective import EffectiveRows
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.layer_topic import LayerTopics
from hivewire.fleet.notes import Notes
from hivewire.fleet.progress import Progress
from hivewire.fleet.watch import FleetWatch
from hivewire.freshness import Freshness
from hivewire.hub.hub import Hub
from hivewire.hub.message_source import MessageSource
from hivewire.ledger.digest import Digests
from hivewire.ledger.ledger import Ledger
from hivewire.polls import Polls
from hivewire.process_pool import ProcessPool
from hivewire.resources import Resources
from hivewire.schemas.schemas import Schemas
from hivewire.settings import Settings
from hivewire.streams.messages import Messages
from hivewire.telemetry import FIELDS, Telemetry


class Services(Struct, kw_only=True):
    """The services that actions use."""

    settings: Settings
    ledger: Ledger
    users: Users
    tokens: Tokens
    passwords: Passwords
    throttle: Throttle
    telemetry: Telemetry
    hub: Hub
    tenants: Tenants
    resources: Resources
    pool: ProcessPool
    documents: Documents
    registry: Registry
    presence: Presence
    neighbours: Neighbours
    connections: Connections
    digests: Digests
    device_topics: DeviceTopics
    fleet: Fleet
    effective: EffectiveRows
    notes: Notes
    progress: Progress
    fleet_query: Callable[[Identity, Asked], Query | None]
    fleet_watch: FleetWatch
    layer_topics: LayerTopics
    messages: Messages
    polls: Polls
    freshness: Freshness
    schemas: Schemas
    anonymous_rate: AnonymousRate = field(default_factory=lambda: AnonymousRate(time.monotonic))

    @property
    def components(self) -> tuple[Component, ...]:
        """Those with work of their own, in the order in which they start: each after those that it uses."""
        return (
            self.pool,
            self.ledger,
            self.users,
            self.registry,
            self.schemas,
            self.fleet,
            self.notes,
            self.progress,
            self.fleet_watch,
            self.presence,
            self.neighbours,
            self.connections,
            self.digests,
            self.messages,
            self.polls,
            self.freshness,
            self.hub,
        )

    def drain(self) -> None:
        """The gateway stops: no request waits any longer."""
        self.polls.drain()
        self.freshness.drain()


def wire(
    settings: Settings,
    ledger: Ledger,
    users: Users,
    tenants: Tenants,
    passwords: Passwords,
    key: Key,
    messages: Messages,
    *,
    broadcast: Broadcast | None = None,
    clock: Callable[[], int] = elapsed,
    unexpected: Callable[[str, BaseException], None] | None = None,
) -> Services:
    """Build what handlers use over an open store. `key` signs tokens; `messages` are those of devices; `broadcast`
    carries facts to other gateways.

    `clock` gives milliseconds for the throttle. `unexpected` is called with bugs that the hub
    meets; by default they are logged.
    """
    access, refresh = settings.access_token_lifetime * 1_000, settings.refresh_token_lifetime * 1_000
    tokens = Tokens(key, users, tenants, access, refresh)
    users.on_end = lambda user_id: messages.end_by(lambda by: by.user_id == user_id)
    tokens.on_revoked = lambda: messages.end_by(tokens.revoked)
    telemetry, pool = Telemetry(), ProcessPool()
    ledger.measure(telemetry.committed)
    telemetry.on_failure = ledger.audit.note_failure
    schemas = Schemas(ledger, pool)  # before the hub, which must know what is secret when it pushes
    hub = Hub(ledger, tokens, settings.conflate_after, unexpected or telemetry.unexpected, settings.bookmark_seconds)
    schemas.on_secrets.append(hub.forget_encoded)
    hub.add("commands", MessageSource(messages.commands, "command"))
    hub.add("notifications", MessageSource(messages.notifications, "notification"))
    registry = Registry(ledger, users)
    broadcast = broadcast or Alone()
    presence = Presence(ledger.now, registry)
    hub.leave = presence.leave
    neighbours = Neighbours(broadcast, presence, ledger.now)
    connections = Connections(broadcast, neighbours, str(FIELDS["gateway"]) if "gateway" in FIELDS else None)
    ledger.observe(connections.end_revoked, REVOCATION)
    resources, fleet = Resources(ledger, schemas), Fleet(ledger, registry, hub)
    notes = Notes(fleet, broadcast, ledger.now)
    query = partial(query_of, fleet, registry, schemas.is_secret)
    progress = Progress(fleet, notes, users, tokens, schemas, ledger.now)
    return Services(
        settings=settings,
        ledger=ledger,
        users=users,
        tokens=tokens,
        passwords=passwords,
        throttle=Throttle(clock),
        telemetry=telemetry,
        hub=hub,
        tenants=tenants,
        resources=resources,
        pool=pool,
        documents=Documents(ledger, tenants, pool, settings),
        registry=registry,
        presence=presence,
        neighbours=neighbours,
        connections=connections,
        digests=Digests(ledger, broadcast, settings.gateway),
        device_topics=DeviceTopics(registry, presence, hub),
        fleet=fleet,
        effective=EffectiveRows(schemas),
        notes=notes,
        fleet_query=query,
        fleet_watch=FleetWatch(fleet, progress, query, registry.scope),
        progress=progress,
        layer_topics=LayerTopics(ledger, registry, hub),
        messages=messages,
        polls=Polls(messages, ledger, registry, presence),
        freshness=Freshness(ledger),
        schemas=schemas,
    )
