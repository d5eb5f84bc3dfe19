"""Scheduled transactions, and configurations that expire, as records of kind `schedule`.

The key of a scheduled transaction is its number. That of an expiry is the kind and the key of the record that expires,
and both are written in one transaction: while the configuration has the revision of its expiry, it still expires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, EvaluatedState, Write, version_of
from hivewire_protocol import times
from hivewire_protocol.errors import Conflict, InvalidParameters, NotAllowed, OutOfBounds, WireError
from hivewire_protocol.nouns.configuration import ConfigurationPut, TransactChange
from hivewire_protocol.nouns.layer import split
from hivewire_protocol.patterns import Patterns

KIND = "schedule"

MAX_SCHEDULES = 10_000
"""Scheduled transactions and configurations that expire, in one ledger."""

LONGEST = 100 * 366 * 86_400_000
"""Milliseconds that a time may be ahead: a hundred years. Longer ones are mistakes, such as microseconds."""


class Rights(Struct, omit_defaults=True):
    """The rights of an author's token. Whether its user still has them is checked when the schedule is carried out."""

    user: int
    permissions: str
    names: list[str]
    networks: list[int] | None = None
    device_types: list[int] | None = None
    administers: bool = False
    generation: int = 0
    token: str = ""
    issued: int = 0
    devices: list[str] = []

    @classmethod
    def of(cls, identity: Identity) -> Rights:
        """Those of a caller."""
        return cls(
            identity.user_id,
            str(identity.permissions),
            list(identity.names.patterns),
            None if identity.networks is None else sorted(identity.networks),
            None if identity.device_types is None else sorted(identity.device_types),
            identity.administers,
            identity.generation,
            identity.token,
            identity.issued,
            sorted(identity.devices),
        )

    def identity(self, login: str, expires: int) -> Identity:
        """A caller who has them until a time."""
        return Identity(
            self.user,
            login,
            expires,
            int(self.permissions),
            None if self.networks is None else frozenset(self.networks),
            None if self.device_types is None else frozenset(self.device_types),
            Patterns(self.names),
            None if self.administers else {},
            issued=self.issued,
            token=self.token,
            generation=self.generation,
            devices=frozenset(self.devices),
        )


class Scheduled(Struct, omit_defaults=True):
    """The content of a schedule's record. Without `changes` it is an expiry. One that failed keeps its author, and when
    it was made: the record has the failure's. `devices` are the records of the devices in whose layers it writes."""

    at: int
    changes: list[TransactChange] = []
    rights: Rights | None = None
    failed: str | None = None
    author: str | None = None
    created: int = 0
    devices: dict[str, int] = {}


def scheduled_of(change: Change) -> Scheduled:
    """What a record holds that is not deleted."""
    return msgspec.json.decode(change.content or b"", type=Scheduled)


def is_expiry(change: Change) -> bool:
    """Whether a record is the expiry of another one."""
    return not change.key.isdecimal()


def expiring(ledger: Ledger, change: Change) -> Change | None:
    """The record that an expiry is about, if it has not been written since."""
    kind, _, key = change.key.partition("/")
    found = ledger.get(kind, key)
    return found if found is not None and found.revision == change.revision else None


def waiting(ledger: Ledger) -> Iterator[tuple[Change, Scheduled]]:
    """All schedules of the time of the call, those that failed included, in no order."""
    for change in list(ledger.kind(KIND).live.values()):
        if not is_expiry(change) or expiring(ledger, change) is not None:
            yield change, scheduled_of(change)


def moment(name: str, given: str, now: int, then: str = "in the future") -> int:
    """The time of a member, milliseconds since 1970. Raises InvalidParameters, and OutOfBounds if it is not later than
    `now`, or too late; `then` says the former in words."""
    try:
        at = times.parse(given)
    except ValueError:
        raise InvalidParameters(f"{name} must be a time such as 2026-03-01T09:30:00Z") from None
    if not now < at <= now + LONGEST:
        raise OutOfBounds(f"{name} must be {then}, a hundred years ahead at most")
    return at


class Room(Struct):
    """The condition that there is room for another schedule."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it takes the place of another one, or there are fewer than MAX_SCHEDULES."""
        return version_of(last) > 0 or state.count(KIND) < MAX_SCHEDULES

    def error(self, last: Change | None) -> WireError:
        """The error when there are that many."""
        return NotAllowed(f"There are {MAX_SCHEDULES:,} schedules and expiring configurations already")


class Lasting(Struct, gc=False):
    """The condition that a record of a layer does not expire, so that it is not deleted during a rollout."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it stays."""
        end = None if last is None or last.content is None else state.last(KIND, f"{last.kind}/{last.key}")
        return end is None or end.content is None or last is None or end.revision != last.revision

    def error(self, last: Change | None) -> WireError:
        """The error for one that expires."""
        layer, name = ("", "") if last is None else split(last.key)
        return Conflict(f"Configuration '{name}' of layer '{layer}' expires")


def later(
    at: int,
    rights: Rights | None = None,
    changes: list[TransactChange] | None = None,
    key: str = "",
    devices: Mapping[str, int] = MappingProxyType({}),
) -> Write:
    """The write of a schedule, or of the expiry with a key."""
    content = msgspec.json.encode(Scheduled(at, changes or [], rights, devices=dict(devices)))
    return Write(KIND, key, content, "application/json", None, (Room(),))


def expiry(write: Write, asked: ConfigurationPut | TransactChange, now: int) -> Write:
    """The write that lets a put expire as it asks for, in the same transaction. Raises InvalidParameters and
    OutOfBounds."""
    if write.content is None:
        raise InvalidParameters("only a put has ttl or expires")
    if asked.ttl is not None and asked.expires is not None:
        raise InvalidParameters("give either ttl or expires")
    if asked.expires is not None:
        at = moment("expires", asked.expires, now)
    elif asked.ttl is None or not 1 <= asked.ttl * 1_000 <= LONGEST:
        raise OutOfBounds("ttl must be a number of seconds, from 1 to a hundred years")
    else:
        at = now + asked.ttl * 1_000
    return later(at, key=f"{write.kind}/{write.key}")
