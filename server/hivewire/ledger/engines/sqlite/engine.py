"""SQLite as a row of the table of engines: the ledger is the file that the settings name.

The file is checked before the gateway is loaded, so this module loads neither asyncio nor SQLite.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hivewire.ledger.engines.sqlite import file_lock
from hivewire.settings import Settings

if TYPE_CHECKING:
    from hivewire.ledger.engines.sqlite.cache import SqliteCache
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal


class SqliteEngine:
    """The file at `data`."""

    def __init__(self, settings: Settings) -> None:
        self.address = os.path.abspath(settings.data)
        self.file = Path(settings.data)

    def require_free(self) -> None:
        """Check the lock of the file."""
        file_lock.require_free(Path(os.path.realpath(self.file)))

    def journal(self, *, existing: bool = False, accept_loss: bool = False) -> SqliteJournal:
        """A log in the file."""
        from hivewire.ledger.engines.sqlite.journal import SqliteJournal

        return SqliteJournal(self.file, existing=existing, accept_loss=accept_loss)

    def cache(self) -> SqliteCache:
        """The copy of a shared log in the file."""
        from hivewire.ledger.engines.sqlite.cache import SqliteCache

        return SqliteCache(self.file)
