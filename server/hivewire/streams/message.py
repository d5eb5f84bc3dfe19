"""The data of the logs (messages), their input (drafts and updates), and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, final

from msgspec import Raw, Struct, msgpack

ROOM = 1_024
"""Places of an entry: the most messages of one group commit."""

RANDOM_BITS = 11
"""The lower bits of an id; the others are the clock of its insert. So ids stay below 2^53 until the year 2109."""

LATEST = 1 << 50
"""Times are clipped to this many milliseconds, 36,000 years, so that everything computed from them can be stored."""


def end_of(id: int, expires_in: int) -> int:
    """The clock from which the message with this id is not delivered any more."""
    return min((id >> RANDOM_BITS) + expires_in, LATEST)


@final
class Message(Struct, gc=False, array_like=True):
    """One event of a log: a message that was inserted, or a command as an update left it.

    `place` is entry * ROOM + its index there: the order of the log. `id` is unique for a device. Times are milliseconds
    since 1970: `clock` is the server's and grows with every event of a device; `timestamp` is the client's, or else the
    clock at insert; `changed` is what clients know as lastUpdated, equal to `timestamp` at insert and greater after
    every update. `device` is the id of the device's record, which no other device ever gets. `body` is the message as
    its clients see it: one JSON object. From the clock `expires` on a command is not delivered any more. `key` has
    digests of the idempotency key of an insert, and of what all inserts under it must have in common.

    Write it with keywords: several members have the same type. The garbage collector does not track messages.
    """

    place: int
    id: int
    clock: int
    timestamp: int
    changed: int
    device: int
    device_id: str
    network: int | None
    type: int | None
    name: str | None
    author: int
    body: bytes
    status: str | None = None
    expires: int | None = None
    key: tuple[int, int] | None = None

    @property
    def updated(self) -> bool:
        """Whether this event is an update, which makes `changed` greater than `timestamp`."""
        return self.changed != self.timestamp


class Addressee(Protocol):
    """The device of a draft."""

    @property
    def record_id(self) -> int:
        """The id of its record."""

    @property
    def id(self) -> str:
        """The id that its clients know."""

    @property
    def network(self) -> int | None:
        """Copied into the message; None of a system notification."""

    @property
    def type(self) -> int | None:
        """Copied into the message; None of a system notification."""


Make: TypeAlias = Callable[[int, int, int], bytes]
"""Encodes the body of a message from its `id`, `timestamp` and `changed`. Called shortly before a commit, and again if
another gateway's entry is there first."""


class Draft(Struct, gc=False):
    """A message to insert. `timestamp` is the client's, None: the clock.

    With a `key` (of this author, for this device) the first message under it is the outcome of all inserts, as long as
    it is kept; `content` is what they must have in common, else the outcome is KeyReused. A message is not delivered
    any more `expires_in` milliseconds after its insert. `by` is the identity of the caller who asks for it, if anybody.
    """

    device: Addressee
    name: str | None
    author: int
    make: Make
    status: str | None = None
    timestamp: int | None = None
    key: str | None = None
    content: bytes = b""
    expires_in: int | None = None
    size: int = 0
    by: Any = None


class Update(Struct, gc=False):
    """What an update makes of a command: its body and its status. All else stays as it was. `size` and `by` are as in a
    draft. `device` is the device as it is now: who follows its network or type gets the update. None: as it was."""

    make: Make
    status: str | None
    size: int = 0
    by: Any = None
    device: Addressee | None = None


Outcome: TypeAlias = "Message | StreamError"
"""The outcome of a draft: the message, or the error."""

Done: TypeAlias = Callable[..., None]
"""Gets whatever was submitted with a draft, and its outcome once the message is durable."""

Observer: TypeAlias = Callable[[Sequence[Message]], None]
"""Gets the messages of each commit, in the order of their places, before they are answered."""


class StreamError(Exception):
    """The base of what can go wrong here.

    ```text
    StreamError
        Refused             this draft is not possible
            NotFound        no such message: never inserted, or expired
            Outdated        another gateway has updated the command meanwhile; seen by nobody outside of the log
            KeyReused       other content under an idempotency key
            TooLarge        its parameters and result are larger than allowed
            TooMany         its device inserts too fast, or has too much stored
        NotKept             the log does not reach back so far
        NotStored           the storage did not take it: it was not written
            Overloaded      too much is waiting, or everything is too young to make room
            Unsynced        it may be there after a crash, until something else is written
            Undecided       nobody knows whether it was written
        Unreadable          the storage could not read it
    ```
    """


class Refused(StreamError):
    """This draft is not possible; nothing was written."""


class NotFound(Refused):
    """There is no such message: it was never inserted, or it has expired."""


class Outdated(Refused):
    """Another gateway has updated the command meanwhile: the update has to be made of what it is now."""


class KeyReused(Refused):
    """There is a message with other content under this idempotency key."""


class TooLarge(Refused):
    """The parameters and the result are larger than allowed."""


class TooMany(Refused):
    """The device inserts too fast, or has too much stored."""


class NotKept(StreamError):
    """The log does not reach back so far."""


class NotStored(StreamError):
    """The storage could not take the message: it was not written."""


class Overloaded(NotStored):
    """Too much is waiting for the storage, or stored and too young to be dropped: it was not written."""


class Unsynced(NotStored):
    """The storage failed to sync the entry: until a later one overwrites it, a start may find it."""


class Undecided(NotStored):
    """It is not known whether it was written: the storage did not answer in time, or failed to sync. If it was,
    observers get it later."""


class Unreadable(StreamError):
    """The storage failed to read messages, or they are damaged."""


_encoder = msgpack.Encoder()
_entry = msgpack.Decoder(list[Message])
_parts = msgpack.Decoder(list[Raw])
_message = msgpack.Decoder(Message)


def pack(messages: Sequence[Message]) -> bytes:
    """The bytes of an entry."""
    return _encoder.encode(messages)


def unpack(entry: bytes) -> list[Message]:
    """The messages of an entry. Raises msgspec.MsgspecError."""
    return _entry.decode(entry)


def pick(entry: bytes, indexes: Sequence[int]) -> list[Message]:
    """Some messages of an entry, for a fraction of the cost of all. Raises msgspec.MsgspecError."""
    parts = _parts.decode(entry)
    return [_message.decode(parts[index]) for index in indexes]
