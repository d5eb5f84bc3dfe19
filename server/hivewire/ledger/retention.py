"""Retention: the last changes of each record, and a log of the last changes of all (configuration contract, 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from hivewire.ledger.records import Change

DAY = 86_400_000
SECTIONS = 1_000
"""Sections in a full log, counted by changes or by age: the log is cut to a thousandth of its length exactly."""


class Retention(Struct, frozen=True):
    """A change is needed as long as it is one of the last `history` of its record, or within the log.

    The log is the last `log_changes` changes or those of the last `log_days`, whichever is less. So is the audit the
    last `audit_rows` rows or those of the last `audit_days`, activities and all others each for themselves.
    """

    history: int = 100
    log_changes: int = 1_000_000
    log_days: float = 7.0
    audit_rows: int = 100_000
    audit_days: float = 90.0


class Section(Struct):
    """Consecutive transactions of about the same time: revision and time of the first, and the number of changes."""

    first: int
    time: int
    changes: int


class Log:
    """The log in sections, oldest first, to know where to cut it without asking the engine."""

    def __init__(self, retention: Retention) -> None:
        self.changes = 0
        """How many changes are in it."""
        self.left = 0
        """How many changes have left it."""
        self._most = retention.log_changes
        self._age = round(retention.log_days * DAY)
        self._length = max(1, self._most // SECTIONS)
        self._span = max(1, self._age // SECTIONS)
        self._sections: deque[Section] = deque()
        self._end = 0

    def add(self, changes: Sequence[Change]) -> None:
        """Add the next changes. Sections beyond the greatest number of changes leave the log at once."""
        section = self._sections[-1] if self._sections else Section(0, 0, self._length)
        count, end, length, span = section.changes, self._end, self._length, self._span
        for change in changes:
            # A section begins with a revision, because the log is cut between transactions.
            if change.revision > end and (count >= length or change.time - section.time >= span):
                section.changes, count = count, 0
                section = Section(change.revision, change.time, 0)
                self._sections.append(section)
            count += 1
            end = change.revision
        section.changes, self._end = count, end
        self.changes += len(changes)
        # The oldest section leaves when the others alone have enough changes.
        while self._sections and self.changes - self._sections[0].changes >= self._most:
            self._drop()

    def cut(self, now: int) -> int | None:
        """The first revision that is still within the log at this time, None when there is none.

        Only the oldest sections are compared with the time. So a clock that was wrong for a while does not shorten the
        log at old changes that come after younger ones.
        """
        latest = now - self._age - self._span  # a section leaves when its last change is old enough
        while self._sections and self._sections[0].time <= latest:
            self._drop()
        return self._sections[0].first if self._sections else None

    def _drop(self) -> None:
        section = self._sections.popleft()
        self.changes -= section.changes
        self.left += section.changes
