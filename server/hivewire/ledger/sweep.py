"""Removing what is no longer needed: `shorten` moves `oldest` on, `sweep` removes changes step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from msgspec import json, structs

from hivewire.ledger.journal import Journal
from hivewire.ledger.records import Change, Outline
from hivewire.ledger.retention import Log, Retention
from hivewire.ledger.state import State

SWEEP_TAKE = 1_000
SWEEP_BYTES = 1 << 20
"""Changes that one step of a sweep looks at, and bytes of content that it removes. A write waits for one step at
most."""

SWEEP_CHANGES = 1_000
SWEEP_MILLISECONDS = 3_600_000
"""A sweep reads everything older than the log, so it waits until this many changes have left the log, or this long."""

SWEEP_MOST = 4_000
"""Changes that one step removes when the sweep is behind."""

SWEEP_BEHIND = 100_000
"""Changes that may leave the log during a sweep before it pauses no more, if no more are kept."""


class Sweep:
    """Shortens the log, and removes changes that neither the log nor a history needs."""

    def __init__(self, state: State, journal: Journal, now: Callable[[], int], retention: Retention) -> None:
        self.log = Log(retention)
        self._state = state
        self._journal = journal
        self._now = now
        self._history = retention.history
        self._retention = retention
        self._noted = False  # whether `_retention` is
        self._retained = retention  # what the gateways before this one kept
        self._left = self._swept = 0  # changes that left the log until `oldest`, and until the last sweep
        self._older = 0  # changes older than the log that the last sweep found needed
        self._swept_at = self._swept_to = 0

    def recall(self, notes: Mapping[str, str]) -> None:
        """Take the notes of `shorten`, at start or from another gateway that keeps the same storage.

        They hold what cannot be derived from the rest of the log.
        """
        state = self._state
        for name, note in notes.items():
            if name == "oldest":
                state.oldest = max(state.oldest, int(note))
            elif name == "revision":
                state.revision = max(state.revision, int(note))
            elif name == "retention":
                self._retained = json.decode(note, type=Retention)
            elif name == "swept":
                state.forget(int(note))
            elif name.startswith("lastId:") and (kind := state.kinds.get(name.removeprefix("lastId:"))):
                kind.last_id = max(kind.last_id, int(note))  # another version may know more kinds

    # At start.

    def lowered(self) -> dict[str, str]:
        """The settings by which less is kept than before, with both numbers."""
        before, now = structs.asdict(self._retained), structs.asdict(self._retention)
        return {name: f"{before[name]:,.12g} -> {most:,.12g}" for name, most in now.items() if most < before[name]}

    def load(self, changes: Sequence[Change]) -> None:
        """Count the next changes of the log."""
        within = [change for change in changes if change.revision >= self._state.oldest]
        self.log.add(within)
        self.log.left += len(changes) - len(within)

    def begin(self) -> None:
        """Begin counting, after everything was loaded."""
        self._left, self._swept_at = self.log.left, self._now()

    # While the ledger is open.

    async def compact(self, rest: float, at_once: bool) -> None:
        """Shorten the log, and sweep when enough has left it or `at_once`. Raises NotDurable."""
        if not self._noted:
            await self._journal.remember({"retention": json.encode(self._retention).decode()})
            self._noted = True
        await self.shorten()
        left = self._left - self._swept
        # A sweep costs as much as there are older changes, so it waits until a tenth as many have left: the cost for
        # each change stays constant however long the histories are.
        late = left > 0 and self._now() - self._swept_at >= SWEEP_MILLISECONDS
        if at_once or late or left >= max(SWEEP_CHANGES, self._older // 10):
            await self.sweep(rest)

    async def shorten(self) -> None:
        """Move `oldest` to where the log begins by its retention. Raises NotDurable."""
        first = self.log.cut(self._now())
        first = self._state.revision + 1 if first is None else first
        left = self.log.left  # before the pause below, in which a commit may push more changes out of the log
        if first > self._state.oldest:
            # Durable before anything is removed: a restart has to know `oldest`, and revisions and ids that the rest of
            # the log may no longer contain.
            notes = {"oldest": str(first), "revision": str(self._state.revision)}
            notes["swept"] = str(self._swept_to)
            notes |= {f"lastId:{name}": str(kind.last_id) for name, kind in self._state.kinds.items() if kind.last_id}
            await self._journal.remember(notes)
            self._state.oldest, self._left = first, left

    async def sweep(self, rest: float) -> None:
        """Remove changes older than the log that no history needs, step by step. Raises NotDurable.

        After each step it pauses for `rest` times the step's duration, so that it does not take the engine for itself,
        or for less when it is behind.
        """
        oldest, left = self._state.oldest, self._left  # as of now: what leaves the log meanwhile is for the next sweep
        place = kept = size = 0
        unneeded: list[Outline] = []
        started = perf_counter()
        while outlines := await self._journal.outline(place, before=oldest, take=SWEEP_TAKE):
            for outline in outlines:
                place = outline.place
                if self._needs(outline, oldest):
                    kept += 1
                    continue
                unneeded.append(outline)
                size += outline.size
                if size >= SWEEP_BYTES:
                    break
            behind = self._behind(left)
            if size >= SWEEP_BYTES or len(unneeded) >= SWEEP_MOST * behind:
                await self._remove(unneeded)
                unneeded, size = [], 0
            await asyncio.sleep(rest * (1 - behind) * (perf_counter() - started))
            started = perf_counter()
        await self._remove(unneeded)
        self._state.forget(oldest)  # also what a keeper before this one removed
        self._swept, self._older, self._swept_at, self._swept_to = left, kept, self._now(), oldest

    def _behind(self, left: int) -> float:
        """How far behind a sweep is that began when `left` changes had left the log: 0 to 1.

        It is 1 when as many have left since as are kept. The more it is, the shorter are the pauses and the more is
        removed at once: else the file would grow without end while more is written than a sweep with pauses removes.
        """
        return min(1.0, (self.log.left - left) / max(SWEEP_BEHIND, self.log.changes + self._older))

    async def _remove(self, unneeded: Sequence[Outline]) -> None:
        if unneeded:
            await self._journal.remove([outline.place for outline in unneeded])
            self._forget(unneeded)

    def _needs(self, outline: Outline, oldest: int) -> bool:
        """Whether a history needs a change that is older than the log.

        A commit may come between this decision and the removal. That is safe, because a commit never makes an older
        change needed again.
        """
        last = self._state.kind(outline.kind).last(outline.key)
        if last is None:
            return True  # should not happen; keep what cannot be explained
        # The key was deleted and its tombstone has left the log: neither a history nor a resuming client needs it.
        if last.content is None and last.revision < oldest:
            return False
        # Negative for leftovers of a crash, from before the key was forgotten and created again.
        return 0 <= last.ordinal - outline.ordinal < self._history

    def _forget(self, removed: Sequence[Outline]) -> None:
        """Forget keys whose last tombstone was removed. It comes after all their other changes, so nothing is left."""
        for outline in removed:
            kind = self._state.kind(outline.kind)
            last = kind.tombstones.get(outline.key)
            if last is not None and last.revision == outline.revision:
                kind.forget(outline.key)
