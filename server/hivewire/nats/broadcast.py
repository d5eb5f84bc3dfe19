"""Facts between gateways, over NATS without a stream: nothing is stored, and a gateway that is not connected gets
none."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from contextlib import suppress

import msgspec
from msgspec import Struct

from hivewire.broadcast import Hear, understand
from hivewire.nats.connection import Connection, Message, Silent

WAITING = 10_000
"""Most facts that wait to be sent; beyond that, the oldest are lost."""


class Told(Struct, array_like=True, gc=False):
    """A fact on its way."""

    gateway: str
    subject: str
    fact: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode


class NatsBroadcast:
    """The facts of the gateways of a site."""

    def __init__(self, connection: Connection) -> None:
        self.name = secrets.token_hex(8)
        self.connection = connection
        self._subject = f"hw.{connection.address.site}.live.facts"
        self._hear: dict[str, Hear] = {}
        self._waiting: deque[Told] = deque(maxlen=WAITING)
        self._sending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to receive facts. Raises Silent."""
        await self.connection.subscribe(self._subject, self._heard)

    def tell(self, subject: str, fact: bytes) -> None:
        """Queue a fact; facts are sent in order."""
        self._waiting.append(Told(self.name, subject, fact))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            with suppress(Silent):
                await self.connection.publish(self._subject, _encode(self._waiting.popleft()))

    def hear(self, subject: str, hear: Hear) -> None:
        """When it is open."""
        self._hear[subject] = hear

    def _heard(self, message: Message) -> None:
        told = understand(_decode, message.data)
        if told is not None and told.gateway != self.name and (hear := self._hear.get(told.subject)) is not None:
            hear(told.gateway, told.fact)

    async def close(self) -> None:
        """Send the queue."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=1.0)
