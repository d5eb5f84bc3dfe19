"""The row of the table of engines for a gateway that a parent process started, `parent://FOLDER/NUMBER`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hivewire.settings import Settings

if TYPE_CHECKING:
    from hivewire.ledger.engines.parent.journal import ParentJournal


class ParentEngine:
    """The ledger of the parent, at the socket `ledger` of the folder."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.data
        self.file = None

    def require_free(self) -> None:
        """The parent has it, and shares it."""

    def journal(self, *, existing: bool = False, accept_loss: bool = False) -> ParentJournal:
        """A log at the socket. The process ends when the parent does: what it knows may be old from then on."""
        from hivewire.ledger.engines.parent.journal import ParentJournal
        from hivewire.link import end_without_parent, socket_of

        return ParentJournal(str(socket_of(self.address, "ledger")), on_lost=end_without_parent)
