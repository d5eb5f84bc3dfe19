"""Several gateways on one log, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.ledger.shared import SharedJournal, SharedLog
from tests.rooms.test_hub import Peer
from tests.world import World


class Gateway(World):
    """One of them. `journal` says what its feed loses and how its appends end."""

    journal: SharedJournal

    def __init__(self, log: SharedLog, **changed: Any) -> None:
        super().__init__(log.journal(), **changed)

    def peer(self) -> Peer:
        """A socket of the administrator."""
        return Peer(self, self.admin.identity)  # type: ignore[arg-type]

    def miss(self, entries: int = 1, *, misled: bool = False) -> None:
        """Do not hear of the next entries; when `misled`, not when asking for them either, but for a commit."""
        self.journal.lose, self.journal.misled = entries, misled

    def hear(self) -> None:
        """Hear of everything now."""
        self.journal.lose = 0
        self.journal.hear(len(self.journal.log.entries))


@asynccontextmanager
async def site(gateways: int = 2, **changed: Any) -> AsyncIterator[list[Gateway]]:
    """So many gateways on one log. The first one has written the staff, and all have heard of it."""
    log = SharedLog()
    found = [Gateway(log, **changed) for _ in range(gateways)]
    try:
        for gateway in found[1:]:
            await gateway.load()
        await found[0].open()
        await asyncio.sleep(0)
        for gateway in found[1:]:
            gateway.admin = gateway.caller()
        yield found
    finally:
        for gateway in found:
            await gateway.close()
