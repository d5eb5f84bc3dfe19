"""Storage engines, one per file, all behind `journal.py`. They depend neither on one another nor on the ledger."""

from __future__ import annotations

import os
from pathlib import Path

from hivewire.ledger.engines import file_lock
from hivewire.ledger.journal import Journal


def journal_at(data: Path, *, accept_loss: bool = False) -> Journal:
    """The engine that keeps a ledger at this place, not open yet. The one place that chooses an engine.

    `accept_loss` opens it even if the last changes are known to be missing.
    """
    from hivewire.ledger.engines.sqlite import SqliteJournal  # here, so that `require_free` need not load SQLite

    return SqliteJournal(data, accept_loss=accept_loss)


def require_free(data: Path) -> None:
    """Raise JournalError, quickly, when another process has the ledger at this place. Opening it looks again."""
    file_lock.require_free(Path(os.path.realpath(data)))
