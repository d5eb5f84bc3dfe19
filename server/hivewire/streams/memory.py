"""An engine that keeps messages in memory only: the setting `messages = memory`, and the reference for the contract."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from hivewire.stopped import Stopped
from hivewire.streams.contract import READ_BYTES, Follower, Loaded, LogName
from hivewire.streams.message import NotStored
from hivewire.telemetry import Gauges


class MemoryLog:
    """A dictionary of entries. `broken`, when set, is the text of the NotStored that every write raises."""

    shared = False
    keeper = True
    stopped: Stopped | None = None

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.broken: str | None = None
        self._oldest, self._clock = 1, 0
        self._entries: dict[int, bytes] = {}
        self._segments: dict[int, tuple[bytes, bytes]] = {}
        self._sealed = 0
        self._follower: Follower | None = None

    async def load(self) -> Loaded:
        """What an earlier user of this object left."""
        open_ = [(number, self._entries[number]) for number in range(max(self._oldest, self._sealed), self._next)]
        return Loaded(self._oldest, self._clock, [header for header, _ in self._segments.values()], open_)

    async def follow(self, follower: Follower) -> None:
        """Nobody else appends."""
        self._follower = follower

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else appends."""
        return nullcontext()

    async def append(self, number: int, entry: bytes) -> bool:
        """Into the dictionary, unless `broken`."""
        self._fail_if_broken()
        self.put(number, entry)
        return True

    def put(self, number: int, entry: bytes) -> None:
        """The next entry, own or foreign."""
        self._entries[number] = entry
        if self._follower is not None:
            self._follower.take(number, entry)

    async def confirm(self) -> None:
        """Nothing to test but `broken`."""
        self._fail_if_broken()

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """Number by number."""
        found: list[tuple[int, bytes]] = []
        size = 0
        number = max(number, self._oldest)
        while len(found) < take and size < READ_BYTES and (entry := self._entries.get(number)) is not None:
            found.append((number, entry))
            size += len(entry)
            number += 1
        return found

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """By number."""
        return [(number, entry) for number in numbers if (entry := self._entries.get(number)) is not None]

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """Only the header and the postings: the entries are there."""
        self._fail_if_broken()
        self._segments[first] = header, postings
        self._sealed = last + 1

    async def postings(self, first: int) -> bytes | None:
        """By first entry."""
        return self._segments[first][1] if first in self._segments else None

    async def drop(self, oldest: int, clock: int) -> None:
        """Out of the dictionaries."""
        self._fail_if_broken()
        for number in range(self._oldest, min(oldest, self._next)):
            del self._entries[number]
        for first in [first for first in self._segments if first < oldest]:
            del self._segments[first]
        self._oldest, self._clock = oldest, clock

    @property
    def _next(self) -> int:
        """The number of the next entry: there are no gaps."""
        return self._oldest + len(self._entries)

    def _fail_if_broken(self) -> None:
        if self.broken is not None:
            raise NotStored(self.broken)


class MemoryEngine:
    """Both logs. Opening it again finds what it had: the epoch of the ledger does not matter."""

    def __init__(self) -> None:
        self._logs: Mapping[LogName, MemoryLog] = {"commands": MemoryLog(), "notifications": MemoryLog()}

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Nothing to open."""

    def log(self, name: LogName) -> MemoryLog:
        """One of the dictionaries."""
        return self._logs[name]

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def close(self) -> None:
        """Nothing to release."""
