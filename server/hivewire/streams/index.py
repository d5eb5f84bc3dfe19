"""The index of a log in memory: its segments, the bytes of each device, and the messages of the newest two segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from hivewire.streams.message import ROOM, Message
from hivewire.streams.segment import OVERHEAD, Closed, Header, Known, Recent


class Index:
    """`closed` and `open` are the segments in order; `recent` is the last of `closed`, still in memory.

    `oldest` and `next` are entries: the first one that is kept, and the one that comes next. `tip` is the place of the
    last message, `foreign` that of the last one of another gateway. `bytes` and `messages` are what is kept, `devices`
    the bytes of each device.
    """

    def __init__(self, oldest: int, now: int) -> None:
        self.oldest = oldest
        self.tip = oldest * ROOM - 1
        self.foreign = 0
        self.closed: list[Closed] = []
        self.recent: Recent | None = None
        self.open = Recent(oldest, now)
        self.bytes = self.messages = 0
        self.devices: dict[int, int] = {}

    @property
    def next(self) -> int:
        """The number of the next entry."""
        return self.open.last + 1

    def load(self, segment: Closed) -> None:
        """Add a closed segment that is not in memory."""
        header = segment.header
        self.closed.append(segment)
        self.bytes += header.size
        self.messages += header.count
        for device, size in segment.sizes():
            self.devices[device] = self.devices.get(device, 0) + size
        self.open = Recent(header.last + 1, segment.ended)
        self.tip = (header.last + 1) * ROOM - 1

    def add(self, messages: Sequence[Message], size: int, now: int) -> None:
        """Add the messages of the next entry."""
        self.open.add(messages, size, now)
        self.bytes += size
        self.messages += len(messages)
        sizes = self.devices
        for message in messages:
            device = message.device
            sizes[device] = sizes.get(device, 0) + len(message.body) + OVERHEAD
            if message.key is not None:
                key, content = message.key
                self.open.keys[key] = Known(content, message.place, message.id)
        self.tip = messages[-1].place

    @property
    def weight(self) -> int:
        """The bytes of all devices together."""
        return self.bytes + OVERHEAD * self.messages

    def close(self, header: Header) -> None:
        """The open segment is closed as far as the header says; it stays in memory until the next one is."""
        self.recent, self.open = self.open.split(header.last)
        self.closed.append(Closed(header, self.recent.ended))

    def drop_to(self, oldest: int, now: int) -> None:
        """Forget everything before this entry, which is the first of a segment or behind all that is known."""
        while self.closed and self.closed[0].header.last < oldest:
            self._drop()
        if oldest > self.next:
            self.oldest, self.recent, self.open = oldest, None, Recent(oldest, now)
            self.foreign = self.tip = oldest * ROOM - 1
            self.bytes = self.messages = 0
            self.devices.clear()

    def _drop(self) -> None:
        """The oldest segment is dropped."""
        segment = self.closed.pop(0)
        self.oldest = segment.header.last + 1
        self.tip = max(self.tip, self.oldest * ROOM - 1)  # when nothing is left, as after a restart
        self.bytes -= segment.header.size
        self.messages -= segment.header.count
        for device, size in segment.sizes():
            left = self.devices[device] - size
            if left:
                self.devices[device] = left
            else:
                del self.devices[device]
        if not self.closed:
            self.recent = None

    def known(self, key: int) -> Known | None:
        """What is known of an idempotency key."""
        found = self.open.keys.get(key)
        if found is None:
            found = next((found for segment in reversed(self.closed) if (found := segment.known(key))), None)
        return found

    def has_event(self, device: int, id: int, after: int) -> bool:
        """Whether a message has, or may have, an event after a place."""
        recents = list(self.in_memory())
        if after < recents[0].first * ROOM - 1:
            return True
        events = (event for recent in recents for event in islice(recent.messages, recent.after(after), None))
        return any(event.id == id and event.device == device for event in events)

    def stored(self) -> list[Closed]:
        """The segments that have to be read from the storage, in order."""
        return self.closed[:-1] if self.recent is not None else list(self.closed)

    def in_memory(self) -> Iterator[Recent]:
        """The segments whose messages are in memory, in order."""
        if self.recent is not None:
            yield self.recent
        yield self.open
