"""Digests of the state of gateways in memory, by which `hivewire cluster check` compares it with the log.

A digest is the sum of a number for each record, so that it needs no order, and follows an entry without a new start.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import TypeAlias

import msgspec
from msgspec import Struct

from hivewire.broadcast import Broadcast, Facts
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.slices import in_slices
from hivewire.telemetry import Gauges
from hivewire_protocol.tenant.steps import Steps

SUBJECT = "digest"
"""What these facts are about."""

MOST = 1 << 64

_encode = msgspec.msgpack.Encoder().encode


class Ask(Struct, array_like=True, tag=True):
    """What state has each of you?"""


class Digest(Struct, array_like=True, tag=True, frozen=True):
    """The state of a gateway after the entry at a place of the log: how many records there are, and the sum."""

    gateway: str
    place: int
    records: int
    sum: int


Fact: TypeAlias = Ask | Digest
fact_of = msgspec.msgpack.Decoder(Fact).decode


def part_of(change: Change) -> int:
    """The number for a record, from all members of its last change."""
    return int.from_bytes(blake2b(_encode(change), digest_size=8).digest())


class Digests:
    """Answers for this gateway. Requests that come while one is being made share it."""

    def __init__(self, ledger: Ledger, broadcast: Broadcast, gateway: str) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._facts = Facts(broadcast, SUBJECT, fact_of, self._hear)
        self._making: asyncio.Task[None] | None = None

    def _hear(self, name: str, fact: Fact) -> None:
        if isinstance(fact, Ask) and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        self._facts.tell(await in_slices(self._steps()))

    def _steps(self) -> Steps[Digest]:
        place, changes = self._ledger.current()
        total = 0
        for change in changes:
            total += part_of(change)
            yield
        return Digest(self._gateway, place, len(changes), total % MOST)

    # The life of the component.

    def start(self) -> None:
        """Does nothing: it works when it is asked."""

    async def close(self) -> None:
        """Answer no more."""
        if self._making is not None:
            self._making.cancel()

    def gauges(self) -> Gauges:
        """None."""
        return {}
