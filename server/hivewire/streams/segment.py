"""Segments: a stretch of a log, either in memory (`Recent`) or in the storage, with its `Header` in memory.

The newest segment is open: it grows. Closing it makes a header and postings of it. What a reader looks for is skipped
by the header of a segment, found by the postings, and read by its place.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct, msgpack

from hivewire.streams.message import RANDOM_BITS, ROOM, Draft, Message
from hivewire_protocol.tenant.steps import Steps

SEGMENT_BYTES = 4 << 20
SEGMENT_MESSAGES = 8_192
"""An open segment is closed when it has this much, and when it has lasted for a part of the retention."""

OVERHEAD = 100
"""About how many bytes a stored message takes beside its body."""

_place = attrgetter("place")
_clock = attrgetter("clock")


class Known(NamedTuple):
    """What is known of an idempotency key: a digest of its content, and the place and the id of its message."""

    content: int
    place: int
    id: int


def digest(*parts: bytes) -> int:
    """64 bits, signed as in the arrays of a header."""
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=8).digest(), "little", signed=True)


def key_of(draft: Draft) -> int:
    """The digest of an idempotency key: of its author, for its device."""
    return digest(f"{draft.author} {draft.device.record_id} {draft.key}".encode())


class Recent:
    """A segment in memory: the open one, or the one that was closed last.

    `peaks` has for each entry the index behind its last message, the greatest `changed` up to there (readers who go
    backwards stop there), and the bytes up to there. `began` and `ended` are the times of its first and last commit, on
    the monotonic clock.
    """

    def __init__(self, first: int, now: int) -> None:
        self.first = first
        self.last = first - 1
        self.bytes = 0
        self.began = self.ended = now
        self.messages: list[Message] = []
        self.peaks: list[tuple[int, int, int]] = []
        self.keys: dict[int, Known] = {}
        self._devices: dict[int, list[Message]] = {}
        self._grouped = 0  # how many messages are in it

    def add(self, messages: Sequence[Message], size: int, now: int) -> None:
        """Add the messages of the next entry, which has `size` bytes."""
        if not self.messages:
            self.began = now
        self.ended = now
        self.last += 1
        self.bytes += size
        self.messages += messages
        peak = max([message.changed for message in messages])
        if self.peaks:
            peak = max(peak, self.peaks[-1][1])
        self.peaks.append((len(self.messages), peak, self.bytes))

    def split(self, last: int) -> tuple[Recent, Recent]:
        """The segment up to an entry, and one with the entries behind that. Readers of this one are not disturbed."""
        head, rest = self, Recent(last + 1, self.ended)
        if last < self.last:
            head = Recent(self.first, self.began)
            start = size = 0
            for number, (end, _, total) in enumerate(self.peaks, self.first):
                part = head if number <= last else rest
                part.add(self.messages[start:end], total - size, self.ended)
                start, size = end, total
            for key, known in self.keys.items():
                (head if known.place < rest.first * ROOM else rest).keys[key] = known
        return head, rest

    @property
    def fill(self) -> float:
        """How full it is: from 1 on it should be closed because of its size."""
        return max(self.bytes / SEGMENT_BYTES, len(self.messages) / SEGMENT_MESSAGES)

    def after(self, place: int) -> int:
        """The index of the first message after a place."""
        return bisect_right(self.messages, place, key=_place)

    def of(self, device: int) -> Sequence[Message]:
        """The messages of a device. They are grouped when somebody asks: nobody ever asks for most."""
        groups = self._devices
        for message in self.messages[self._grouped :]:
            groups.setdefault(message.device, []).append(message)
        self._grouped = len(self.messages)
        return groups.get(device, ())

    def last_of(self, device: int, id: int) -> Message | None:
        """The last event of a message."""
        events = self.of(device)
        # The clocks of a device ascend, and no event of a message is before its insert.
        for index in range(len(events) - 1, bisect_left(events, id >> RANDOM_BITS, key=_clock) - 1, -1):
            if events[index].id == id:
                return events[index]
        return None


class Header(Struct, array_like=True, frozen=True):
    """What is in memory of a closed segment. The members of bytes are arrays of 64-bit integers.

    `first` and `last` are its entries, `count` its messages, `size` their bytes. `earliest` and `latest` bound their
    clocks, `low` their timestamps, `peak` their timestamps and `changed`. `devices` are sorted, and `sizes` are their
    bytes. `updated` are the sorted ids of all updates. `keys` are the sorted digests of idempotency keys, with
    `contents`, `places` and `ids`.
    """

    first: int
    last: int
    count: int
    size: int
    earliest: int
    latest: int
    low: int
    peak: int
    devices: bytes
    sizes: bytes
    updated: bytes
    keys: bytes
    contents: bytes
    places: bytes
    ids: bytes = b""  # absent where there are no keys


def integers(data: bytes) -> Sequence[int]:
    """The array in these bytes, without a copy."""
    return memoryview(data).cast("q")


def index_of(values: Sequence[int], value: int) -> int:
    """The index of a value in a sorted array; -1 when it is not there."""
    index = bisect_left(values, value)
    return index if index < len(values) and values[index] == value else -1


class Closed:
    """A closed segment, by its header. `ended` is the time of its last commit on the monotonic clock."""

    __slots__ = ("_devices", "_keys", "_updated", "ended", "header")

    def __init__(self, header: Header, ended: int) -> None:
        self.header = header
        self.ended = ended
        self._devices = integers(header.devices)
        self._updated = integers(header.updated)
        self._keys = integers(header.keys)

    def has(self, device: int) -> int:
        """The index of a device for `Postings`; -1 when it has nothing here."""
        return index_of(self._devices, device)

    def may_have(self, id: int) -> bool:
        """Whether a message with this id can have an event here."""
        header = self.header
        return header.earliest <= id >> RANDOM_BITS <= header.latest or self.updates(id)

    def updates(self, id: int) -> bool:
        """Whether an event of this message here is an update."""
        return index_of(self._updated, id) >= 0

    def sizes(self) -> Iterator[tuple[int, int]]:
        """The devices, and the bytes that each has here."""
        return zip(self._devices, integers(self.header.sizes), strict=True)

    def known(self, key: int) -> Known | None:
        """What is known of an idempotency key."""
        index = index_of(self._keys, key)
        if index < 0:
            return None
        header = self.header
        content, place, id = (integers(each)[index] for each in (header.contents, header.places, header.ids))
        return Known(content, place, id)


class Postings(Struct, array_like=True, frozen=True):
    """Where the events of each device are: for the device at an index, from one of `starts` to the next.

    `ids`, `timestamps` and `places` are theirs, in the order of places.
    """

    starts: bytes
    ids: bytes
    timestamps: bytes
    places: bytes

    def of(self, index: int) -> Iterator[tuple[int, int, int]]:
        """The id, timestamp and place of each event of a device, the last one first."""
        start, end = integers(self.starts)[index : index + 2]
        arrays = (self.ids, self.timestamps, self.places)
        return zip(*(reversed(integers(one)[start:end]) for one in arrays), strict=True)

    def last_of(self, index: int, id: int) -> int | None:
        """The place of the last event of a message of a device."""
        start, end = integers(self.starts)[index : index + 2]
        ids = integers(self.ids)
        return next((integers(self.places)[at] for at in range(end - 1, start - 1, -1) if ids[at] == id), None)


_encode = msgpack.Encoder().encode
_headers = msgpack.Decoder(Header)
_postings = msgpack.Decoder(Postings)


def close(segment: Recent) -> Steps[tuple[Header, bytes, bytes]]:
    """The header of a segment, and the bytes of its header and postings, of what is in it when this begins.

    A step takes a millisecond or two of the event loop. The messages are read in the order in which they are in memory:
    read in the order of devices they took twice as long.
    """
    first, last, size, peak = segment.first, segment.last, segment.bytes, segment.peaks[-1][1]
    events, known = segment.messages.copy(), list(segment.keys.items())
    devices = [event.device for event in events]
    yield
    order = sorted(range(len(events)), key=devices.__getitem__)  # those of a device stay in the order of places
    yield

    def by_device(values: list[int]) -> list[int]:
        return [values[index] for index in order]

    counts = Counter(by_device(devices))
    starts = list(accumulate(counts.values(), initial=0))
    sizes = list(accumulate(by_device([len(event.body) + OVERHEAD for event in events]), initial=0))
    yield
    timestamps = [event.timestamp for event in events]
    clocks = [event.clock for event in events]
    updated = sorted([event.id for event in events if event.changed != event.timestamp])
    yield
    postings = Postings(
        starts=_array(starts),
        ids=_array(by_device([event.id for event in events])),
        timestamps=_array(by_device(timestamps)),
        places=_array(by_device([event.place for event in events])),
    )
    yield
    keyed = sorted((key, *each) for key, each in known)
    keys: list[bytes] = []
    for column in range(4):
        yield
        keys.append(_array([each[column] for each in keyed]))
    yield
    header = Header(
        first=first,
        last=last,
        count=len(events),
        size=size,
        earliest=min(clocks),
        latest=max(clocks),
        low=min(timestamps),
        peak=peak,
        devices=_array(list(counts)),
        sizes=_array([sizes[end] - sizes[start] for start, end in pairwise(starts)]),
        updated=_array(updated),
        keys=keys[0],
        contents=keys[1],
        places=keys[2],
        ids=keys[3],
    )
    return header, _encode(header), _encode(postings)


def _array(values: list[int]) -> bytes:
    return array("q", values).tobytes()


def header_of(data: bytes) -> Header:
    """A header from its bytes. Raises msgspec.MsgspecError."""
    return _headers.decode(data)


def postings_of(data: bytes) -> Postings:
    """Postings from their bytes. Raises msgspec.MsgspecError."""
    return _postings.decode(data)


def entry_of(place: int) -> int:
    """The number of the entry of a place."""
    return place // ROOM
