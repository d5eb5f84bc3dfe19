"""Removing what is no longer needed: `shorten` moves `oldest` on, `sweep` removes changes step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from hivewire.ledger.journal import Journal
from hivewire.ledger.records import Change, Outline
from hivewire.ledger.retention import Log, Retention
from hivewire.ledger.state import State

SWEEP_TAKE = 1_000
SWEEP_BYTES = 1 << 20
"""Changes that one step of a sweep looks at, and content that it removes: a write waits for one such step at most."""

SWEEP_CHANGES = 1_000
SWEEP_MILLISECONDS = 3_600_000
"""A sweep reads all that is older than the log, so it waits until so many changes have left the log, or so long."""


class Sweep:
    """Knows how far the log reaches back, and removes what neither it nor a history needs."""

    def __init__(self, state: State, journal: Journal, now: Callable[[], int], retention: Retention) -> None:
        self.log = Log(retention)
        self._state = state
        self._journal = journal
        self._now = now
        self._history = retention.history
        self._left = self._swept = 0  # changes that left the log until `oldest`, and until the last sweep
        self._older = 0  # changes older than the log that the last sweep found needed
        self._swept_at = 0

    # At start.

    def recall(self, notes: Mapping[str, str]) -> None:
        """Read what `shorten` noted, because the rest of the log cannot tell it any more."""
        for name, note in notes.items():
            if name == "oldest":
                self._state.oldest = int(note)
            elif name == "revision":
                self._state.revision = int(note)
            elif name.startswith("lastId:"):
                self._state.kind(name.removeprefix("lastId:")).last_id = int(note)

    def load(self, changes: Sequence[Change]) -> None:
        """Count the next changes of the log."""
        within = [change for change in changes if change.revision >= self._state.oldest]
        self.log.add(within)
        self.log.left += len(changes) - len(within)

    def begin(self) -> None:
        """Remember where the log stands when all is loaded."""
        self._left, self._swept_at = self.log.left, self._now()

    # While the ledger is open.

    async def compact(self, rest: float, at_once: bool) -> None:
        """Shorten the log, and sweep when enough has left it or `at_once`. Raises NotDurable."""
        await self.shorten()
        left = self._left - self._swept
        late = left > 0 and self._now() - self._swept_at >= SWEEP_MILLISECONDS
        if at_once or late or left >= max(SWEEP_CHANGES, self._older // 10):
            await self.sweep(rest)

    async def shorten(self) -> None:
        """Move `oldest` to where the log begins now, by its retention. Raises NotDurable."""
        first = self.log.cut(self._now())
        first = self._state.revision + 1 if first is None else first
        left = self.log.left
        if first > self._state.oldest:
            # Before anything is removed, and with everything that could not be worked out from the rest of the log.
            notes = {"oldest": str(first), "revision": str(self._state.revision)}
            notes |= {f"lastId:{name}": str(kind.last_id) for name, kind in self._state.kinds.items()}
            await self._journal.remember(notes)
            self._state.oldest, self._left = first, left

    async def sweep(self, rest: float) -> None:
        """Look through what is older than the log and remove what no history needs, step by step. Raises NotDurable."""
        oldest, left = self._state.oldest, self._left
        place = kept = 0
        started = perf_counter()
        while outlines := await self._journal.outline(place, before=oldest, take=SWEEP_TAKE):
            unneeded: list[Outline] = []
            size = 0
            for outline in outlines:
                place = outline.place
                if self._needs(outline, oldest):
                    kept += 1
                    continue
                unneeded.append(outline)
                size += outline.size
                if size >= SWEEP_BYTES:
                    break
            if unneeded:
                await self._journal.remove([outline.place for outline in unneeded])
                self._forget(unneeded)
            await asyncio.sleep(rest * (perf_counter() - started))
            started = perf_counter()
        self._swept, self._older, self._swept_at = left, kept, self._now()

    def _needs(self, outline: Outline, oldest: int) -> bool:
        """Whether a change older than the log is needed all the same.

        This is decided before the removal, and a commit may come between the two. It can only make a change less
        needed, never more.
        """
        last = self._state.kind(outline.kind).last(outline.key)
        if last is None:
            return True  # cannot be; what is not understood is not removed
        if last.content is None and last.revision < oldest:
            return False
        # Below 0: it is of a life before the key was forgotten, which a crash left behind.
        return 0 <= last.ordinal - outline.ordinal < self._history

    def _forget(self, removed: Sequence[Outline]) -> None:
        """Forget a key with its last tombstone, which stands behind all its other changes."""
        for outline in removed:
            kind = self._state.kind(outline.kind)
            last = kind.tombstones.get(outline.key)
            if last is not None and last.revision == outline.revision:
                kind.forget(outline.key)
