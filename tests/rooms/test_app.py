"""What the gateway does by itself, beside serving."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Transaction, Write
from hivewire.ledger.retention import Retention


async def test_the_log_is_shortened_again_and_again() -> None:
    """The gateway compacts by itself, and an attempt that fails in whatever way is followed by another one."""

    class Failing(MemoryJournal):
        attempts = 0

        async def remember(self, notes: Mapping[str, str]) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise OSError("gone for a moment")
            await super().remember(notes)

    ledger = Ledger(Failing(), lambda: 1, retention=Retention(1, 1), compact_seconds=0)
    await ledger.open()
    ledger.start()
    for _ in range(3):
        (change,) = await ledger.commit(Transaction([Write("configuration", "a", b"")]))
        while ledger.oldest < change.revision:
            await asyncio.sleep(0)
    assert ledger.oldest == 3
    await ledger.close()
