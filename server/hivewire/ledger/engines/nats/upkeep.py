"""The task that makes checkpoints when enough has been written since the last one, by whichever gateway."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from hivewire.component import end
from hivewire.ledger.engines.nats.checkpoint import Checkpoints, Manifest
from hivewire.ledger.journal import Cache, Copied
from hivewire.nats.connection import NatsError
from hivewire.nats.log import Log
from hivewire.telemetry import log

CHANGES, BYTES, SECONDS = 100_000, 64 << 20, 3_600.0
"""What has to be written since the last checkpoint, or how old it has to be while anything was."""

LOOK_SECONDS = 5.0
"""How often that is looked at."""

SPREAD_SECONDS = 30.0
"""The longest random pause before one is made, so that mostly one gateway makes it."""


class Upkeep:
    """Makes checkpoints of the copy of a gateway."""

    def __init__(self, checkpoints: Checkpoints, cache: Cache) -> None:
        self._checkpoints = checkpoints
        self._cache = cache
        self._last: Manifest | None = None
        self._changes = self._bytes = 0  # since the last checkpoint, as far as it is known here
        self._task: asyncio.Task[None] | None = None

    def note(self, entries: Sequence[Copied]) -> None:
        """Entries were applied."""
        for entry in entries:
            self._changes += len(entry.changes) + len(entry.rows)
            for change in entry.changes:
                self._bytes += len(change.content or b"")

    def age(self) -> float:
        """Seconds since the last checkpoint was made; 0 without one."""
        return 0.0 if self._last is None else max(0.0, time.time() - self._last.made / 1_000)

    async def start(self, shared: Log) -> None:
        """Begin to look."""
        await self._hear(shared)
        self._task = asyncio.create_task(self._run(shared))

    async def _run(self, shared: Log) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            seconds = time.monotonic() - began if self._last is None else self.age()
            if self._changes and (self._changes >= CHANGES or self._bytes >= BYTES or seconds >= SECONDS):
                await asyncio.sleep(random.random() * SPREAD_SECONDS)  # noqa: S311 - no secret
                try:
                    await self.make(shared)
                except Exception as error:  # whatever it is, trying again does no harm
                    log.warning("no checkpoint was made; trying again later", reason=repr(error))

    async def make(self, shared: Log) -> None:
        """Make a checkpoint now, unless another gateway has just made one. Raises NatsError and what the file does."""
        if await self._hear(shared):
            return
        started = time.monotonic()
        async with self._cache.snapshot() as snapshot:
            made = await self._checkpoints.make(snapshot, shared.epoch)
        if made is None:
            await self._hear(shared)
            return
        self._last, self._changes, self._bytes = made, 0, 0
        seconds = round(time.monotonic() - started, 1)
        log.info("made a checkpoint", place=made.place, frames=made.frames, seconds=seconds)

    async def _hear(self, shared: Log) -> bool:
        """Look for a checkpoint that another gateway made; whether there is a new one."""
        try:
            found = await self._checkpoints.newest()
        except NatsError:
            return False
        if found is None or found[0].epoch != shared.epoch or found[0] == self._last:
            return False
        self._last, self._changes, self._bytes = found[0], shared.tip - found[0].place, 0
        return True

    async def close(self) -> None:
        """Stop looking. May be called twice."""
        await end(self._task)
