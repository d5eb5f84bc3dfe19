"""NATS JetStream as a row of the table of engines: the ledger is the log of a site, and `data` a copy of it.

Like that of SQLite, this module is loaded before the gateway, so it loads neither asyncio nor the client of NATS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hivewire.ledger.journal import LocalEngine
from hivewire.settings import Settings

if TYPE_CHECKING:
    from hivewire.ledger.engines.nats.journal import NatsJournal


class NatsEngine:
    """The log at `store`."""

    def __init__(self, settings: Settings, local: LocalEngine) -> None:
        self.address = (settings.store or "").partition("?")[0]
        scheme, mark, rest = self.address.partition("://")
        self.address = scheme + mark + rest.rpartition("@")[2]
        self.file = local.file
        self._settings = settings
        self._local = local

    def require_free(self) -> None:
        """Check the local file: the log is for everybody."""
        self._local.require_free()

    def journal(self, *, existing: bool = False, accept_loss: bool = False) -> NatsJournal:
        """The log, as this gateway has it. Nothing of it is lost with the local file, so there is no loss to accept."""
        from hivewire.ledger.engines.nats.journal import NatsJournal

        return NatsJournal(self._settings, self._local.cache(), existing=existing)
