"""Storage engines, one per file, all behind `journal.py`. They depend neither on one another nor on the ledger."""

from __future__ import annotations

from pathlib import Path

from hivewire.ledger.engines.sqlite import SqliteJournal
from hivewire.ledger.journal import Journal


def journal_at(data: Path, *, accept_loss: bool = False) -> Journal:
    """The engine that keeps a ledger at this place, not open yet. The one place that chooses an engine.

    `accept_loss` opens it also when it is known that the last changes are missing.
    """
    return SqliteJournal(data, accept_loss=accept_loss)
