"""An engine that keeps its log in memory: the reference for the contract, and what fast tests run on."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence

from hivewire.ledger.journal import NO_HISTORY
from hivewire.ledger.records import Change, NotDurable


class MemoryJournal:
    """The log is a list. `broken`, when set, is the text of the NotDurable that every append raises."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.broken: str | None = None
        self._log: list[Change] = []
        self._notes: dict[str, str] = {}

    @property
    def read_only(self) -> bool:
        """Never."""
        return False

    async def load(self) -> None:
        """Nothing to open."""

    async def changes(self) -> AsyncIterator[list[Change]]:
        """All in one portion."""
        yield list(self._log)

    async def append(self, changes: Sequence[Change]) -> None:
        """To the end of the list, unless `broken`."""
        if self.broken is not None:
            raise NotDurable(self.broken)
        self._log += changes
        for place in {(change.kind, change.key) for change in changes if change.kind in NO_HISTORY}:
            older = [change for change in self._log if (change.kind, change.key) == place][:-1]
            self._log = [change for change in self._log if change not in older]

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """Walk the list backwards."""
        found = [change for change in reversed(self._log) if (change.kind, change.key) == (kind, key)]
        start = next((n for n, change in enumerate(found) if change.revision == revision), len(found))
        return found[start : start + take]

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """Walk the list forwards, to the end of a transaction."""
        later = [change for change in self._log if change.revision > revision]
        if len(later) <= take:
            return later
        edge = later[take - 1].revision
        return [change for change in later if change.revision <= edge]

    async def notes(self) -> dict[str, str]:
        """A copy."""
        return dict(self._notes)

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Into the dict, unless `broken`."""
        if self.broken is not None:
            raise NotDurable(self.broken)
        self._notes.update(notes)

    async def close(self) -> None:
        """Nothing to let go of: a ledger opened on this object again finds everything."""
