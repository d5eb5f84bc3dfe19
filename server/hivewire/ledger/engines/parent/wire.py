"""What a gateway asks its parent about the ledger, and what the parent tells it. Both are the same version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from hivewire.ledger.records import AuditFilter, AuditRow, Change, share
from hivewire.link import Keep, Turn

# Requests: the members of `Journal`, by name. What they answer is what those return.


class Open(Struct, array_like=True, tag=True):
    """Begin: answered with `Opened`. Entries and notes are told from now on."""


class Opened(Struct, array_like=True):
    """What is known of the log at once."""

    epoch: str
    read_only: bool
    tip: int
    batch_bytes: int


class Begin(Struct, array_like=True, tag=True):
    """Begin to read all changes: answered with the tip that they reach to."""


class More(Struct, array_like=True, tag=True):
    """The next of these changes; none at the end."""


class Append(Struct, array_like=True, tag=True):
    """If it is stored, `Stored` is told before the answer."""

    changes: Raw
    behind: int


class Confirm(Struct, array_like=True, tag=True):
    """Its answer comes after all entries that were durable."""

    quorum: bool


class History(Struct, array_like=True, tag=True):
    """Answered with changes."""

    kind: str
    key: str
    revision: int
    take: int


class Since(Struct, array_like=True, tag=True):
    """Answered with changes."""

    revision: int
    take: int


class Outlines(Struct, array_like=True, tag=True):
    """`outline`, answered with outlines."""

    after: int
    before: int
    take: int


class Remove(Struct, array_like=True, tag=True):
    """Answered when it is done."""

    places: Sequence[int]


class AppendAudit(Struct, array_like=True, tag=True):
    """Answered when they are durable."""

    rows: Sequence[AuditRow]


class ReadAudit(Struct, array_like=True, tag=True):
    """Answered with rows."""

    wanted: AuditFilter
    before: int
    take: int
    skip: int


class RemoveAudit(Struct, array_like=True, tag=True):
    """Answered when it is done."""

    numbers: Sequence[int]


class Notes(Struct, array_like=True, tag=True):
    """Answered with all of them."""


class Remember(Struct, array_like=True, tag=True):
    """Answered when they are durable; the other gateways are told."""

    notes: Mapping[str, str]


Request: TypeAlias = (
    Open
    | Begin
    | More
    | Turn
    | Append
    | Confirm
    | History
    | Since
    | Outlines
    | Remove
    | AppendAudit
    | ReadAudit
    | RemoveAudit
    | Notes
    | Remember
)
request_of = msgspec.msgpack.Decoder(Request).decode


# What the parent tells, in the order in which it happened.


class Stored(Struct, array_like=True, tag=True):
    """The entry that this gateway is appending is durable."""

    place: int


class Others(Struct, array_like=True, tag=True):
    """An entry of another gateway is durable."""

    place: int
    changes: Raw


class Told(Struct, array_like=True, tag=True):
    """Another gateway has stored these notes."""

    notes: dict[str, str]


Message: TypeAlias = Stored | Others | Told
message_of = msgspec.msgpack.Decoder(Message | Keep).decode

encode = msgspec.msgpack.Encoder().encode
passing_changes_of = msgspec.msgpack.Decoder(list[Change]).decode
"""The changes in these bytes, for a caller that does not keep them."""


def changes_of(encoded: bytes | Raw) -> list[Change]:
    """The changes in these bytes."""
    return [share(change) for change in passing_changes_of(encoded)]


def portions(changes: list[Change], most: int) -> Iterable[list[Change]]:
    """The same changes in lists of about this number of bytes of content."""
    portion: list[Change] = []
    size = 0
    for change in changes:
        portion.append(change)
        size += len(change.content or b"")
        if size >= most:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
