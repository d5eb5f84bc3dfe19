"""A replicated log in memory: one log, a journal on it for each gateway, and scripts of what goes wrong.

It stands in for an engine over a network. Entries that others appended come over a feed that may lose some; an append
may find the place taken, may be told nothing, or may fail.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum

from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.journal import Recall, Take
from hivewire.ledger.records import Change, NotDurable, Undecided

UNDECIDED = "no answer for 15 seconds"


class Fault(Enum):
    """The fate of one append."""

    REFUSED = "the log says that it did not take it"
    SILENT = "it is stored, and nobody says so"
    LOST = "it is not stored, and nobody says so"
    LATE = "it is stored later, if the place is still free by then, and nobody says so"


Step = Fault | Callable[[], Awaitable[object]] | None
"""A fault, or something that others do while the append is on its way, or nothing."""


class SharedLog:
    """The entries, each at its number from 1 on, and the journals that are on this log."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.entries: list[list[Change]] = []
        self.late: list[tuple[int, list[Change]]] = []
        self.journals: list[SharedJournal] = []

    def journal(self) -> SharedJournal:
        """One more journal on this log, which knows nothing of it yet."""
        return SharedJournal(self)

    def store(self, changes: Sequence[Change], behind: int) -> bool:
        """Append an entry, unless another one is there; the feed tells everybody, in its time."""
        if behind != len(self.entries):
            return False
        self.entries.append(list(changes))
        for journal in self.journals:
            asyncio.get_running_loop().call_soon(journal.hear, len(self.entries))
        return True

    def deliver_late(self) -> None:
        """Deliver the entries that were delayed."""
        late, self.late = self.late, []
        for behind, changes in late:
            self.store(changes, behind)

    def changes(self) -> list[Change]:
        """All changes of all entries."""
        return [change for entry in self.entries for change in entry]


class SharedJournal(MemoryJournal):
    """A journal on a SharedLog. What it had of the log is kept locally, as in a MemoryJournal.

    `script` has a step for each of the next appends; `lose` is how many of the next announcements of the feed get lost.
    While it is `misled`, it asks a part of the log that knows nothing newer; only a commit finds out.
    """

    def __init__(self, log: SharedLog) -> None:
        super().__init__()
        self.log = log
        self.epoch = log.epoch
        self.shared = True
        self.script: deque[Step] = deque()
        self.lose = 0
        self.misled = False
        self.confirms = 0

    async def open(self) -> None:
        """Read everything that is in the log by now; the feed is heard from `follow` on."""
        self._read_on()

    async def follow(self, take: Take, recall: Recall) -> None:
        """The entries since `changes` were read, and then the feed."""
        self._take = take
        self.log.journals.append(self)
        self._read_on()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """As the script says; without one, what stands behind `behind` decides."""
        await asyncio.sleep(0)
        step = self.script.popleft() if self.script else None
        if isinstance(step, Fault):
            return self._fail(step, changes, behind)
        if step is not None:
            await step()
        self._fail_if_broken()
        stored = self.log.store(changes, behind)
        await asyncio.sleep(0)  # the feed may be faster than the answer
        self._read_on()
        return stored

    def _fail(self, fault: Fault, changes: Sequence[Change], behind: int) -> bool:
        if fault is Fault.REFUSED:
            raise NotDurable("the log is full")
        if fault is Fault.SILENT:
            self.log.store(changes, behind)
        elif fault is Fault.LATE:
            self.log.late.append((behind, list(changes)))
        raise Undecided(UNDECIDED)

    async def confirm(self, *, quorum: bool = False) -> None:
        """Read on to where the log ends now; with `quorum` to an empty entry, which is stored for that."""
        self.confirms += 1
        self._fail_if_broken()
        await asyncio.sleep(0)
        while quorum and not self.log.store([], self.tip):
            self._read_on()
        if quorum or not self.misled:
            self._read_on()

    def hear(self, place: int) -> None:
        """The feed brings an entry: the next one, one that is there already, or one behind a gap."""
        if self.lose:
            self.lose -= 1
        elif place > self.tip:
            self._read_on()

    def _read_on(self) -> None:
        while self.tip < len(self.log.entries):
            changes = self.log.entries[self.tip]
            self._store(changes)
            self._announce(changes)

    async def close(self) -> None:
        """Stop following."""
        if self in self.log.journals:
            self.log.journals.remove(self)
