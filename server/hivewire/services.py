"""Everything that handlers may use."""

from __future__ import annotations

import time

from msgspec import Struct, field

from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import AnonymousRate, Throttle
from hivewire.access.tokens import Tokens
from hivewire.access.users import Users
from hivewire.documents import Documents
from hivewire.hub.hub import Hub
from hivewire.ledger.ledger import Ledger
from hivewire.resources import Resources
from hivewire.settings import Settings
from hivewire.telemetry import Telemetry
from hivewire.workers import Workers


class Services(Struct):
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
    workers: Workers
    documents: Documents
    anonymous_rate: AnonymousRate = field(default_factory=lambda: AnonymousRate(time.monotonic))


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def elapsed() -> int:
    """Milliseconds of the monotonic clock, for durations, not for the time of day."""
    return time.monotonic_ns() // 1_000_000
