"""The form of an entry: an envelope of MessagePack, cut into messages when it is large."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from hivewire.nats.connection import Connection

PIECE_BYTES = 512 << 10
"""The most of an entry in one message; a server takes 1 MiB by itself."""

PIECES = 128
"""The most messages of one entry, so that one which is not complete yet has a bound. A server takes 1,000."""

EMPTY = Raw(msgspec.msgpack.encode(None))
"""The body of an entry that has nothing in it: it shows that the log takes entries."""


class Envelope(Struct, array_like=True, gc=False):
    """An entry as it travels: MessagePack, an array. The format is first, whatever it is."""

    format: int
    epoch: str
    id: bytes
    before: bytes
    gateway: str
    body: Raw


class _Format(Struct, array_like=True):
    format: int


class LogEntry(Struct, gc=False):
    """An entry of the log. `first` and `place` are the sequences of its first and its last message.

    `body` is MessagePack. `own` is what `append` was given for it, None for an entry of somebody else.
    """

    first: int
    place: int
    id: bytes
    before: bytes
    gateway: str
    body: Raw
    own: Any = None


async def entry_id(connection: Connection, stream: str, place: int) -> bytes | None:
    """The id of the entry whose last message is at this place, by the leader; None when that cannot be read there.

    Raises Silent and Refused when no leader answers.
    """
    found = await connection.get(stream, {"seq": place})
    try:
        return None if found is None else msgspec.msgpack.decode(found.data, type=Envelope).id
    except msgspec.DecodeError:
        return None  # the last piece of a large entry


def pieces_of(data: bytes) -> list[bytes]:
    """An entry, cut into messages."""
    return [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]


def unreadable(data: bytes, place: int, known: int) -> str:
    """Why an entry cannot be read here, and what to do."""
    try:
        found = msgspec.msgpack.decode(data, type=_Format).format
    except msgspec.DecodeError:
        return f"the message at {place} of the log is no entry of Hivewire"
    return (
        f"the entry at {place} has the format {found}, and this version of Hivewire reads {known}:"
        " a newer gateway wrote it; upgrade this one"
    )
