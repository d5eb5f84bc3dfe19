"""The command `hivewire` with one more engine: all that it takes is this class, and the row that `main` puts in."""

from __future__ import annotations

from hivewire import cli
from hivewire.ledger.engines import ENGINES
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.journal import Journal
from hivewire.ledger.records import JournalError
from hivewire.settings import Settings


class Elsewhere:
    """Keeps a ledger in memory, for as long as the process lives. The place `elsewhere://taken` is never free."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.data
        self.file = None

    def require_free(self) -> None:
        if self.address.endswith("taken"):
            raise JournalError(f"{self.address} is taken")

    def journal(self, *, existing: bool = False, accept_loss: bool = False) -> Journal:
        return MemoryJournal()


def main() -> None:
    ENGINES["elsewhere://"] = f"{__name__}:Elsewhere"
    cli.main()
