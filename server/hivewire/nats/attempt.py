"""The append of one entry to a log: it is sent again until it is known which entry is at the wanted place."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

from hivewire.nats.connection import UNAVAILABLE, Connection, Message, NotStored, Refused, Silent, Unknown
from hivewire.nats.entry import pieces_of
from hivewire.telemetry import log

WRONG_LAST = frozenset({10071, 10164})
"""The error codes of an entry whose place is taken already."""

FINAL = frozenset({0, 10047, 10054, 10077})
"""The error codes of what the stream will not take later either: no room, too large."""

RIVAL_SECONDS, RIVAL_STEP = 1.0, 0.1
"""How long to wait for the entry that took our place, and how often to ask for it, before the same is sent again."""

LEADER_PAUSE = 0.05
"""Seconds before the same is sent again to a cluster without a leader."""


class Reader(Protocol):
    """Reads the log, and gives `Attempt.decisive` the id of the entry at the place."""

    def hear(self, message: Message) -> None:
        """A message of the log."""

    def read_soon(self) -> None:
        """Read the log at once: something may be there that was not heard."""

    def doubt(self) -> None:
        """The log may be another one than that of which something was applied."""


class Attempt:
    """An entry that demands to stand directly behind another one.

    `decisive` gets the id of the entry that stands there, which may be another one.
    """

    def __init__(self, connection: Connection, subject: str, sealed: bytes, behind: int, reader: Reader) -> None:
        self.place = behind + 1
        self.began = perf_counter()
        self.decisive: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._subject = subject
        self._pieces: Sequence[bytes] = pieces_of(sealed)
        self._reader = reader

    async def decide(self, seconds: float) -> bytes:
        """The id of what stands at the place. Raises NotStored, and Unknown when that is not known in time."""
        until = self.began + seconds
        open_copies = False
        while not self.decisive.done():
            if perf_counter() > until:
                raise Unknown(f"the log has not answered for {seconds:g} s")
            try:
                stored = await self._send()
            except Silent:
                open_copies = True
                self._reader.read_soon()
                await asyncio.sleep(LEADER_PAUSE)
            except Refused as refused:
                await self._refused(refused, open_copies)
            else:
                if stored:
                    self._hear()
                    await asyncio.wait({self.decisive}, timeout=max(0.0, until - perf_counter()))
        return self.decisive.result()

    async def _refused(self, refused: Refused, open_copies: bool) -> None:
        """Wait until the same can be sent again. Raises NotStored when it never will be stored."""
        if refused.code in WRONG_LAST:
            # A log that is shorter than what was applied here may be another one.
            told = re.search(r"(\d+)$", str(refused))
            if told is not None and int(told.group()) < self.place - 1:
                self._reader.doubt()
            await self._hear_rival()
        elif refused.code == UNAVAILABLE:
            await asyncio.sleep(LEADER_PAUSE)
        elif refused.code in FINAL and not open_copies:
            raise NotStored(f"the log does not take it: {refused}") from refused
        else:
            log.warning("the log refused an entry; trying again", code=refused.code, reason=str(refused))
            await asyncio.sleep(RIVAL_STEP)

    async def _hear_rival(self) -> None:
        """Wait for the entry that the server says took our place; it is nowhere if a leader fell with it."""
        until = perf_counter() + RIVAL_SECONDS
        while not self.decisive.done() and perf_counter() < until:
            await asyncio.wait({self.decisive}, timeout=RIVAL_STEP)
            self._reader.read_soon()

    async def _send(self) -> bool:
        """Send the entry. True when the server says that it is stored; False when the place was decided before that.

        Raises Silent and Refused.
        """
        reply = asyncio.ensure_future(self._publish())
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may come when nobody waits
        try:
            either: set[asyncio.Future[Any]] = {reply, self.decisive}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                return False
            return bool(reply.result())
        finally:
            reply.cancel()

    async def _publish(self) -> dict[str, Any]:
        pieces = self._pieces
        expected = {"Nats-Expected-Last-Sequence": str(self.place - 1)}
        if len(pieces) == 1:
            return await self._connection.request(self._subject, pieces[0], expected)
        batch = os.urandom(8).hex()  # another one for each copy: the server may have a part of the one before
        for number, piece in enumerate(pieces, 1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == 1:
                headers |= expected
            if number < len(pieces):
                await self._connection.publish(self._subject, piece, headers)
        return await self._connection.request(
            self._subject, pieces[-1], headers | {"Nats-Batch-Commit": "1"}, seconds=5.0
        )

    def _hear(self) -> None:
        """The server stored the entry: it need not come over the feed."""
        for number, piece in enumerate(self._pieces):
            headers = {} if len(self._pieces) == 1 else {"Nats-Batch-Id": "own"}
            if number == len(self._pieces) - 1 > 0:
                headers["Nats-Batch-Commit"] = "1"
            self._reader.hear(Message(self.place + number, headers, piece))
