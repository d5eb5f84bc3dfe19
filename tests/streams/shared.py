"""Messages that several gateways share, in memory: one store, an engine on it for each gateway, and scripts of what
goes wrong. It is for messages what `tests/ledger/shared.py` is for the ledger."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, nullcontext

from hivewire.stopped import Stopped
from hivewire.streams.contract import LOGS, Follower, Loaded, LogName
from hivewire.streams.memory import MemoryLog
from hivewire.streams.message import NotStored, Undecided
from hivewire.telemetry import Gauges
from tests.ledger.shared import UNDECIDED, Fault, Step


class SharedLog:
    """One log, and who follows it. `entries` are all that ever were; the store drops what has expired."""

    def __init__(self) -> None:
        self.store = MemoryLog()
        self.entries: list[bytes] = []
        self.late: list[tuple[int, bytes]] = []
        self.views: list[SharedView] = []  # the first one is the keeper

    async def put(self, number: int, entry: bytes) -> bool:
        """Store an entry, unless another one is there; the feed tells everybody, in its time."""
        if number != len(self.entries) + 1:
            return False
        self.entries.append(entry)
        await self.store.append(number, entry)
        for view in self.views:
            asyncio.get_running_loop().call_soon(view.hear, number)
        return True

    async def deliver_late(self) -> None:
        """Deliver the entries that were delayed."""
        late, self.late = self.late, []
        for number, entry in late:
            await self.put(number, entry)


class SharedView:
    """A log as one gateway has it.

    `script` has a step for each of the next appends; `lose` is how many of the next announcements of the feed get lost.
    """

    shared = True
    stopped: Stopped | None = None

    def __init__(self, log: SharedLog) -> None:
        self.log = log
        self.epoch = log.store.epoch
        self.script: deque[Step] = deque()
        self.lose = 0
        self.open = True
        self._tip = 0
        self._follower: Follower | None = None
        store = log.store
        self.forward, self.pick, self.postings = store.forward, store.pick, store.postings

    @property
    def keeper(self) -> bool:
        """Whether it is the one that has been there for longest."""
        return self.log.views[0] is self

    async def load(self) -> Loaded:
        """What is there by now; the feed is heard from `follow` on."""
        self._tip = len(self.log.entries)
        return await self.log.store.load()

    async def follow(self, follower: Follower) -> None:
        """The entries since `load`, and then the feed."""
        self._follower = follower
        self.log.views.append(self)
        self._read_on()

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """The others are told behind the entries."""
        await self.log.store.seal(first, last, header, postings)
        for follower in self._others():
            follower.closed(header)

    async def drop(self, oldest: int, clock: int) -> None:
        """The others are told."""
        await self.log.store.drop(oldest, clock)
        for follower in self._others():
            follower.dropped(oldest)

    def _others(self) -> Iterator[Follower]:
        for view in self.log.views:
            if view is not self and view._follower is not None:
                view._read_on()
                yield view._follower

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Not waited for."""
        return nullcontext()

    async def append(self, number: int, entry: bytes) -> bool:
        """As the script says; without one, what stands at the number decides."""
        if not self.open:
            raise NotStored("closed")
        await asyncio.sleep(0)
        step = self.script.popleft() if self.script else None
        if isinstance(step, Fault):
            await self._fail(step, number, entry)
        elif step is not None:
            await step()
        stored = await self.log.put(number, entry)
        await asyncio.sleep(0)  # the feed may be faster than the answer
        self._read_on()
        return stored

    async def _fail(self, fault: Fault, number: int, entry: bytes) -> None:
        if fault is Fault.REFUSED:
            raise NotStored("the log is full")
        if fault is Fault.SILENT:
            await self.log.put(number, entry)
        elif fault is Fault.LATE:
            self.log.late.append((number, entry))
        raise Undecided(UNDECIDED)

    async def confirm(self) -> None:
        """Read on to where the log ends now."""
        await asyncio.sleep(0)
        self._read_on()

    def hear(self, number: int) -> None:
        """The feed brings an entry: the next one, one that is there already, or one behind a gap."""
        if self.lose:
            self.lose -= 1
        elif self.open:
            self._read_on()

    def _read_on(self) -> None:
        while self._follower is not None and self._tip < len(self.log.entries):
            self._tip += 1
            self._follower.take(self._tip, self.log.entries[self._tip - 1])


class SharedEngine:
    """Both logs as one gateway has them."""

    def __init__(self, logs: dict[LogName, SharedLog]) -> None:
        self._logs = {name: SharedView(log) for name, log in logs.items()}

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Nothing to open."""

    def log(self, name: LogName) -> SharedView:
        """One of them."""
        return self._logs[name]

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def close(self) -> None:
        """Hear nothing more."""
        for view in self._logs.values():
            view.open = False
            if view in view.log.views:
                view.log.views.remove(view)


class SharedStore:
    """Both logs, for any number of gateways."""

    def __init__(self) -> None:
        self.logs: dict[LogName, SharedLog] = {name: SharedLog() for name in LOGS}

    def engine(self) -> SharedEngine:
        """What one more gateway has of it."""
        return SharedEngine(self.logs)
